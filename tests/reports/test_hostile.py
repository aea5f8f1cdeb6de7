"""Whatever table comes, the statistics answer with dataclasses or with one clear TableError."""

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from zoombench.harness.errors import TableError
from zoombench.reports.across_claims import across
from zoombench.reports.claims import cells
from zoombench.reports.gaps import gaps
from zoombench.reports.page import About, render
from zoombench.reports.table import from_rows
from zoombench.reports.trade_off_claims import speed_ups, trade_offs

WORDS = {"better", "worse", "equivalent", "too small to matter", "undecided", "upper bound"}
TOLD = {"command": "", "resolved": "", "versions": {}, "commit": ""}
NAMES = ("old", "<script>alert(1)</script>", r"\textbf{x} & 100% $_", "ü 日本")


def everything(rows, axes=("gflops", "latency_ms_p50", "gpu_hours"), **options):
    """All that the page asks for; a claim without a word or a p outside 0 to 1 is a bug."""
    table = from_rows(rows)
    found = cells(table, "old", {"accuracy": 0.01}, **options)
    together = across(found, margin=0.05)
    for axis in axes:
        for one in trade_offs(table, found, axis):
            assert all(0 <= point.p_on_front <= 1 for point in one.front)
        speed_ups(found, axis)
    claims = [claim for cell in found for claim in cell.claims]
    for claim in claims:
        assert claim.verdict.word in WORDS
        assert claim.p_holm is None or claim.p <= claim.p_holm <= 1
        effect = claim.comparison.effect
        assert effect is None or math.isfinite(effect)
    for one in (claim for a in together for claim in a.claims):
        assert one.verdict.word in WORDS
        assert one.verdict_new.word in WORDS
        assert one.p_holm is None or 0 <= one.p_holm <= 1
    gaps(table)
    return found, together


def grid(made, value, *, methods=("old", "new"), data_sets=("a", "b", "c"), seeds=4, **other):
    return [
        made.row(m, s, value(m, d, s), dataset=d, **other) for m in methods for d in data_sets for s in range(seeds)
    ]


HOSTILE = {
    "one seed": {"seeds": 1},
    "two seeds": {"seeds": 2},
    "one method": {"methods": ("old",)},
    "one data set": {"data_sets": ("a",)},
    "names of HTML and LaTeX": {"methods": NAMES},
    "infinite costs": {"gflops": math.inf, "latency_ms_p50": math.inf, "gpu_hours": math.inf},
    "costs of nothing": {"gflops": 0.0, "latency_ms_p50": 0.0, "gpu_hours": 0.0},
    "every trial failed": {"status": "failed", "error_class": "NonFiniteLoss"},
    "every trial lost": {"status": "failed", "error_class": "WorkerLost"},
    "every trial missing": {"status": "missing"},
    "every trial stopped": {"status": "stopped"},
    "an unbounded metric": {"metric": "reward", "unit": "points"},
    "lower is better": {"metric": "error", "unit": "cm", "higher_is_better": False},
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("values", ["equal", "far apart", "tiny", "huge", "zero and one"])
def test_every_hostile_table_gets_an_answer(made, what, values):
    rng = np.random.default_rng(0)
    value = {
        "equal": lambda m, d, s: 0.5,
        "far apart": lambda m, d, s: float(rng.random()),
        "tiny": lambda m, d, s: 1e-300 * float(rng.random()),
        "huge": lambda m, d, s: 9e99 * float(rng.random()),
        "zero and one": lambda m, d, s: float(rng.integers(0, 2)),
    }[values]
    n_test = None if values in ("tiny", "huge") else 100
    everything(grid(made, value, n_test=n_test, **HOSTILE[what]))


VALUES = {
    "equal": lambda rng: 0.5,
    "tiny": lambda rng: 1e-300 * float(rng.random()),
    "huge": lambda rng: 9e99 * float(rng.random()),
    "two": lambda rng: float(rng.integers(0, 2)),
}


@pytest.mark.parametrize("paired", [True, False], ids=["paired", "unpaired"])
@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("values", VALUES)
def test_every_hostile_table_makes_a_page_that_can_be_drawn(made, what, values, paired):
    rng = np.random.default_rng(0)
    changed = {"n_test": None if values in ("tiny", "huge") else 100} | {"gflops": 1.0} | HOSTILE[what]
    rows = grid(made, lambda m, d, s: VALUES[values](rng), **{"data_sets": ("a", "b")} | changed)
    page = render(from_rows(rows), About("s", "old", paired=paired, **TOLD))
    for drawn in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(drawn)
        assert not re.search(r"\b(nan|inf|e[+-]\d\d)\b", " ".join(re.findall(r' (?:d|x|y|cx|cy)="([^"]*)"', drawn)))
    assert "<script>alert" not in page


def test_identical_methods_are_never_better_anywhere(made):
    found, together = everything(grid(made, lambda m, d, s: 0.5 + 0.01 * s))
    assert {claim.verdict.word for cell in found for claim in cell.claims} == {"undecided"}
    assert {claim.verdict.word for a in together for claim in a.claims} == {"undecided"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300, None])
def test_a_value_that_is_no_number_is_one_clear_error(made, bad):
    rows = grid(made, lambda m, d, s: 0.5)
    rows[3]["value"] = bad
    with pytest.raises(TableError, match="a done trial without a finite value"):
        everything(rows)


def test_mixed_directions_of_one_metric_are_refused_and_of_two_data_sets_are_fine(made):
    rows = grid(made, lambda m, d, s: 0.5 + 0.01 * s)
    turned = [{**r, "higher_is_better": False, "unit": "cm"} if r["dataset"] == "a" else r for r in rows]
    everything(turned)
    turned[0]["higher_is_better"] = True
    with pytest.raises(TableError, match="expected one"):
        everything(turned)


entry = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["done"] * 6 + ["failed", "diverged", "stopped", "missing", "skipped"]),
        "value": st.sampled_from([0.0, 0.2, 0.5, 0.51, 0.9, 1.0]),
        "gflops": st.sampled_from([None, 0.0, 1.0, 2.0, math.inf]),
        "latency_ms_p50": st.sampled_from([None, 1.0, 1.5, 3.0]),
    }
)


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4)),
        entry,
        min_size=1,
        max_size=50,
    ),
    st.booleans(),
    st.randoms(),
)
def test_any_table_gets_an_answer_and_the_order_of_its_rows_does_not_matter(made, entries, paired, random):
    rows = []
    for (method, dataset, budget, seed), cell in entries.items():
        kept = {**cell, "value": cell["value"] if cell["status"] in ("done", "stopped") else None}
        rows.append(made.row(method, seed, dataset=dataset, budget=budget, **kept))
    rows.append(made.row("old", 99, 0.5, dataset="a", budget="x"))
    one = everything(rows, ["latency_ms_p50"], paired=paired)
    random.shuffle(rows)
    assert everything(rows, [], paired=paired) == one


def a_million(made):
    place = np.arange(1_000_000)
    table = from_rows([made.row(gflops=1.0)]).take(np.zeros(len(place), dtype=int)).reset_index(drop=True)
    table["method"] = pd.Series(np.array([f"m{m:02}" for m in range(20)])[place % 20], dtype="string")
    table["dataset"] = pd.Series(np.array([f"d{d}" for d in range(10)])[place // 20 % 10], dtype="string")
    table["seed"] = pd.Series(place // 200, dtype="Int64")
    table["value"] = pd.Series(place * 7919 % 1000 / 1000, dtype="Float64")
    return table


def test_a_million_rows_are_checked_and_judged(made):
    found = cells(a_million(made), "m00")
    assert (len(found), found[0].claims[0].comparison.n) == (10, 5000)


@pytest.mark.slow
def test_a_million_rows_make_a_page(made):
    page = render(a_million(made), About("s", "m00", **TOLD))  # 25 CPU seconds and 1.5 GB
    assert "1000000 trials; 0 failed" in page
    assert (
        "No interquartile mean where seeds are not paired, failed, differ in number by data set or are thousands."
        in page
    )
    assert len(page.encode()) < 5_000_000
