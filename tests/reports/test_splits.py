"""Splits that are drawn again for each seed: what the table must say, and the corrected test everywhere."""

import json
import re
from html import unescape

import numpy as np
import pytest
from scipy import stats

from zoombench.harness.errors import TableError
from zoombench.reports.across_claims import across
from zoombench.reports.claims import cells
from zoombench.reports.estimates import corrected_resampled
from zoombench.reports.listing import listing
from zoombench.reports.page import About, render
from zoombench.reports.pairwise import matrices
from zoombench.reports.power import power_of, seeds_needed
from zoombench.reports.splits import Splits
from zoombench.reports.statistics import Outcomes, compare, summarise
from zoombench.reports.table import from_rows
from zoombench.reports.trade_off_claims import trade_offs

OLD = [0.601, 0.622, 0.615, 0.608, 0.611]
NEW = [0.655, 0.671, 0.662, 0.690, 0.668]


def rows(made, scores=None, *, split=lambda seed: f"s{seed}", **other):
    """Seeds with a split each, of 800 training and 200 test examples."""
    return [
        made.row(name, seed, value, **{"split_id": split(seed), "n_train": 800, "n_test": 200, "gflops": 1.0, **other})
        for name, values in (scores or {"old": OLD, "new": NEW}).items()
        for seed, value in enumerate(values)
    ]


def one(made, **other):
    (cell,) = cells(from_rows(rows(made, **other)), "old")
    return cell


def test_interval_and_p_are_those_of_nadeau_and_bengio(made):
    cell = one(made)
    (claim,) = cell.claims
    d = np.round((np.array(NEW) - OLD) * 200) / 200  # in steps of one test example
    error = np.sqrt(d.var(ddof=1) * (1 / 5 + 200 / 800))
    assert claim.test == "corrected resampled t"
    assert claim.p == pytest.approx(2 * stats.t.sf(d.mean() / error, 4), rel=1e-9)
    assert claim.p == pytest.approx(corrected_resampled(d, n_train=800, n_test=200).p, rel=1e-9)
    half = stats.t.isf(0.025, 4) * error
    c = claim.comparison
    assert (c.interval.low, c.interval.high) == pytest.approx((d.mean() - half, d.mean() + half))
    assert (c.p_sign_flip, c.p_sign_flip_floor, c.p_wilcoxon) == (None, None, None)
    assert "n = 5 paired seeds, each with a split of its own, corrected t; Holm p" in claim.verdict.sentence


def test_one_split_for_all_seeds_or_none_named_is_the_plain_paired_t(made):
    plain = one(made, split=lambda seed: None)
    same = one(made, split=lambda seed: "official")
    assert [cell.claims[0].test for cell in (plain, same)] == ["paired t", "paired t"]
    assert plain.claims == same.claims


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_where_overlapping_splits_correlate_the_seeds(n):
    # Correlation n_test / (n_test + n_train) between any two seeds, which is what the correction assumes.
    rng, splits = np.random.default_rng(n), Splits(800, 200)
    inside = plain = 0
    for _ in range(2000):
        d = np.sqrt(0.2) * rng.normal() + np.sqrt(0.8) * rng.normal(size=n)
        a, b = (Outcomes(np.arange(n), values, np.zeros(n, bool)) for values in (d, np.zeros(n)))
        found = (compare(a, b, higher_is_better=True, splits=s) for s in (splits, None))
        corrected, independent = (not one.interval.excludes(0.0) for one in found)
        inside, plain = inside + corrected, plain + independent
    assert 0.935 < inside / 2000 < 0.975
    assert plain / 2000 < 0.915  # the plain interval would be too narrow


def test_the_interval_of_a_single_score_is_corrected_too():
    of = Outcomes(np.arange(5), np.array(NEW), np.zeros(5, bool))
    plain, wide = (summarise(of, splits=splits).interval for splits in (None, Splits(800, 200)))
    assert (wide.high - wide.low) / (plain.high - plain.low) == pytest.approx(np.sqrt(1 + 5 * 0.25))


def test_power_and_seeds_needed_know_that_the_error_has_a_floor(made):
    assert seeds_needed(2.0, 0.05) == 5
    n = seeds_needed(2.0, 0.05, ratio=0.25)
    assert (
        power_of(2.0 / np.sqrt(1 + n * 0.25), n, 0.05) >= 0.8 > power_of(2.0 / np.sqrt(1 + (n - 1) * 0.25), n - 1, 0.05)
    )
    assert seeds_needed(1.0, 0.05, ratio=0.25) is None  # 1 / sqrt(0.25) = 2 standard errors at best
    plain, wide = (
        one(made, split=split).claims[0].design.detectable for split in (lambda seed: "s", lambda seed: f"s{seed}")
    )
    assert wide / plain == pytest.approx(np.sqrt(1 + 5 * 0.25))


def test_every_pair_and_every_cost_are_corrected_as_the_reference_is(made):
    table = from_rows(rows(made))
    (cell,) = cells(table, "old", {"accuracy": 0.01})
    pair = matrices([cell])[0].pairs[1][0]
    assert (pair.interval.low, pair.interval.high) == pytest.approx(
        (cell.claims[0].comparison.interval.low, cell.claims[0].comparison.interval.high)
    )
    (traded,) = trade_offs(table, [cell], "gflops")
    d = np.array(cell.claims[0].comparison.differences)
    assert traded.claims[0].trade_off.difference == corrected_resampled(d, n_train=800, n_test=200)


def test_all_data_sets_together_carry_the_correction(made):
    both = rows(made, dataset="a") + rows(made, dataset="b")
    plain = rows(made, dataset="a", split=lambda s: None) + rows(made, dataset="b", split=lambda s: None)
    (wide,), (narrow,) = (across(cells(from_rows(r), "old"))[0].claims for r in (both, plain))
    ratio = wide.evidence.these.estimate.error / narrow.evidence.these.estimate.error
    assert ratio == pytest.approx(np.sqrt(1 + 5 * 0.25))
    assert wide.evidence.these.p_sign_flip is None
    assert wide.evidence.test == "stratified t, corrected for redrawn splits"
    assert "stratified t, corrected for redrawn splits; Holm" in wide.verdict.sentence


WRONG = {
    "a seed with two splits": ({"method": "new", "seed": 0}, {"split_id": "x"}, "found the splits s0, x for seed 0 on"),
    "a trial without": ({"method": "new", "seed": 1}, {"split_id": None}, "none for new, seed 1; expected a split_id"),
    "splits for two seeds": (
        {"seed": 2},
        {"split_id": "s1"},
        "found 5 seeds on 4 splits on digits, small, expected one",
    ),
    "no size": ({"seed": 3}, {"n_train": None}, "found several splits on digits, small and not their sizes"),
    "nothing to train on": (
        {},
        {"n_train": 0},
        "found 0 training and 200 test examples, expected at least one of each",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_splits_that_make_no_sense_are_one_clear_error(made, what):
    which, change, message = WRONG[what]
    broken = [{**r, **change} if all(r[key] == value for key, value in which.items()) else r for r in rows(made)]
    with pytest.raises(TableError, match=re.escape(message)):
        cells(from_rows(broken), "old")


def test_the_page_and_the_listing_say_which_test_was_used(made):
    table = from_rows(rows(made) + rows(made, dataset="b"))
    told = {"command": "", "resolved": "", "versions": {}, "commit": ""}
    html = render(table, About("mine", "old", **told))
    seen = unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL))
    for words in (
        "with a split for each: corrected resampled t",
        "Each seed has a split of its own on digits, small (of 800 training and 200 test examples).",
        "Mean paired difference with its 95% corrected t interval over seeds",
        "the variance of a mean is s² (1/n + n_test/n_train) instead of s²/n (Nadeau and Bengio 2003)",
        "where each seed has a split of its own the corrected resampled t of Nadeau and Bengio",
        "told apart by the corrected resampled t test after Holm",
    ):
        assert words in seen, words
    assert "distribution-free test can reach" not in seen
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))
    assert [cell["ratio"] for cell in data["cells"]] == [0.25, 0.25]
    assert "95% corrected t intervals" in listing(cells(table, "old"), "md", title="mine")


def test_unpaired_seeds_with_splits_are_warned_of(made):
    told = {"command": "", "resolved": "", "versions": {}, "commit": ""}
    html = render(from_rows(rows(made)), About("mine", "old", paired=False, **told))
    assert "which Welch&#39;s t knows nothing of: its intervals are too narrow" in html


def test_splits_of_different_sizes_count_as_the_worst_and_have_no_common_step(made):
    some = [{**r, "n_test": 100 if r["seed"] else 200} for r in rows(made)]
    (cell,) = cells(from_rows(some), "old")
    assert (cell.splits, cell.n_test) == (Splits(800, 200), None)
