"""Figures for a paper: what they say, the same bytes each time, and no table that they cannot take."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_hostile import HOSTILE, VALUES, grid

from zoombench.reports import paper, reading
from zoombench.reports.claims import cells
from zoombench.reports.paper_panels import _cost_ticks
from zoombench.reports.table import from_rows

QUICKSTART = Path(__file__).with_name("quickstart.csv")


def curves_of(table, epochs=6):
    """A curve to each finished trial's score; seed 1 of uniform ends early."""
    rows = [
        {
            **{
                name: getattr(row, name)
                for name in ("trial_id", "method", "dataset", "budget", "seed", "split", "metric")
            },
            "epoch": epoch,
            "value": row.value * epoch / epochs,
        }
        for row in table[table["status"] == "done"].itertuples()
        for epoch in range(1, epochs + 1 - 2 * (row.method == "uniform" and row.seed == 1))
    ]
    return pd.DataFrame(rows)


def draw(table, reference, folder, kind="svg", *, margin=0.02, curves=None, **options):
    """Each file's texts, the captions, and what is absent."""
    found = cells(table, reference, {"accuracy": margin} if margin else {}, **options)
    path, absent = paper.write(table, found, folder, kind, curves=curves)
    texts = {
        file.stem: [one.text for one in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")]
        for file in sorted(folder.glob("*.svg"))
    }
    return texts, path.read_text(), absent


@pytest.fixture(scope="module")
def sweep(made):
    return from_rows(made.sweep())


@pytest.fixture(scope="module")
def drawn(sweep, tmp_path_factory):
    return draw(sweep, "uniform", tmp_path_factory.mktemp("paper") / "figures", curves=curves_of(sweep))


def test_a_figure_for_each_cost_then_differences_then_curves(drawn):
    texts, captions, absent = drawn
    names = ["gflops", "latency-ms-p50", "peak-memory-mib", "gpu-hours", "differences", "learning-curves"]
    assert sorted(texts) == sorted(names)
    assert re.findall(r"\\includegraphics\{(.*)\}", captions) == names
    assert absent == ()


def test_score_against_cost_names_every_method_once_a_panel_with_axes_in_units(drawn, made):
    texts = drawn[0]["gflops"]
    for label in ("digits", "gaze", "accuracy (%, higher is better)", "error (cm, lower is better)"):
        assert texts.count(label) == 1
    assert texts.count("GFLOPs of one image, forward") == 2
    for label, panels in (("uniform", 2), ("saliency_sampler", 2), ("oracle_crop (bound)", 1)):
        assert texts.count(label) == panels
    assert texts.count("<b>thin</b> & plate $…, 2 failed") == 2


def test_the_forest_holds_the_numbers_of_the_claims(drawn, sweep):
    texts = drawn[0]["differences"]
    for cell in cells(sweep, "uniform", {"accuracy": 0.02}):
        assert cell.title in texts
        for claim in cell.claims:
            c, metric = claim.comparison, cell.metric
            assert f"{metric.difference(c.effect)} {metric.differences(c.interval)}" in texts
    assert "3 (+2 failed)" in texts
    assert "accuracy: difference from uniform (points, + is better)" in texts


def test_captions_say_n_intervals_margin_and_scope(drawn):
    captions = drawn[1]
    blocks = dict(
        zip(re.findall(r"\\label\{fig:(.*)\}", captions), re.findall(r"\\caption\{.*", captions), strict=True)
    )
    assert all("Scope: new seeds, this data set" in block and "95\\%" in block for block in blocks.values())
    assert "(n = 3 to 5 seeds a mark)" in blocks["gflops"]
    assert "that of the mean log latency" in blocks["latency-ms-p50"]
    assert "Holm p over m = 8 planned comparisons" in blocks["differences"]
    assert r"The grey band is the declared margin of $\pm$2.00 points of accuracy." in blocks["differences"]
    assert "Where seeds failed, the finished ones are shown" in blocks["differences"]


def test_captions_of_unpaired_seeds_say_so(sweep, tmp_path):
    texts, captions, _ = draw(sweep, "uniform", tmp_path, paired=False, margin=None)
    assert "effect [95% Welch interval]" in texts["differences"]
    assert (
        r"Differences of the means of unpaired seeds from uniform, positive is better, with unadjusted 95\% Welch t"
        in captions
    )
    assert "No margin was declared." in captions
    assert "a dot is a pair" not in captions


def test_learning_curves_name_each_method_and_mark_seeds_that_ended_early(drawn):
    texts, captions, _ = drawn
    assert texts["learning-curves"].count("saliency_sampler") == 4
    assert "digits, small, test" in texts["learning-curves"]
    assert "a cross where a seed ended early" in captions


def test_the_quickstart_is_one_column_wide_and_its_forest_as_wide_as_the_text(tmp_path):
    given = reading.read(QUICKSTART)
    draw(given.table, "uniform", tmp_path, order=given.methods)
    width = {
        name: float(re.search(r'width="([\d.]+)pt"', (tmp_path / f"{name}.svg").read_text()).group(1)) / 72
        for name in ("gflops", "differences")
    }
    assert width == pytest.approx({"gflops": paper.COLUMN, "differences": paper.TEXT})
    captions = (tmp_path / "figures.tex").read_text()
    assert captions.count(r"\begin{figure}") == captions.count(r"\end{figure}") == 4
    assert captions.count(r"\begin{figure*}") == captions.count(r"\end{figure*}") == 1


@pytest.mark.parametrize("kind", paper.KINDS)
def test_the_same_table_gives_the_same_bytes_whatever_the_user_set(sweep, tmp_path, kind):
    made = []
    for name, own in (("one", {}), ("two", {"font.size": 30, "text.usetex": True, "svg.fonttype": "path"})):
        with matplotlib.rc_context(own):
            shuffled = sweep.sample(frac=1, random_state=len(made))
            draw(shuffled, "uniform", tmp_path / name, kind, curves=curves_of(sweep))
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 7
    assert not any(re.search(rb"CreationDate|dc:date", content) for content in made[0].values())


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A process that writes a page and then figures: what it had loaded by then of what is heavy, and where."""
    folder = tmp_path_factory.mktemp("elsewhere")
    code = (
        "import sys; from zoombench.harness import cli; import zoombench.reports.paper\n"
        "for kind in ('html', 'pdf'):\n"
        "    cli.main([*sys.argv[1:], kind, '-o', kind])\n"
        "    print(sorted({'matplotlib', 'seaborn', 'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, "report", str(QUICKSTART), "--reference", "uniform", "--format"]
    other = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=folder, env=other)
    return [line for line in done.stdout.splitlines() if line.startswith("[")], folder


def test_neither_the_module_nor_a_page_loads_matplotlib_or_seaborn(elsewhere):
    assert elsewhere[0] == ["[]", "['matplotlib', 'seaborn']"]


def test_a_process_that_hashes_otherwise_writes_the_same_pdf(elsewhere, tmp_path):
    given = reading.read(QUICKSTART)
    draw(given.table, "uniform", tmp_path, "pdf", margin=None, order=given.methods)
    one, two = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (elsewhere[1] / "pdf", tmp_path))
    assert one == two
    assert len(one) == 6


def test_letters_of_a_pdf_are_embedded_as_letters(sweep, tmp_path):
    draw(sweep, "uniform", tmp_path, "pdf")
    content = (tmp_path / "gflops.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_names_of_html_and_latex_are_only_names(made, tmp_path):
    names = ("old", "<script>alert(1)</script>", r"\input{x}$_1$", "ü 日本\x07")
    rows = [made.row(m, s, 0.5 + 0.1 * s, dataset=r"$\alpha$_&%", gflops=1.0) for m in names for s in range(3)]
    texts, captions, absent = draw(from_rows(rows), "old", tmp_path)
    assert {*names[1:3], "ü □□□"} <= set(texts["differences"])
    assert {names[0], names[2], "ü □□□"} <= set(texts["gflops"])
    assert r"accuracy on \$\textbackslash{}alpha\$\_\&\%." in captions
    lacking = "that the font lacks, each a □ there: U+0007, 日, 本"
    assert absent == (f"letters of gflops {lacking}", f"letters of differences {lacking}")
    assert f"% Not drawn: {absent[0]}\n" in captions


@pytest.mark.parametrize("paired", [True, False], ids=["paired", "unpaired"])
@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("values", VALUES)
def test_every_hostile_table_draws_or_says_what_is_absent(made, tmp_path, what, values, paired):
    rng = np.random.default_rng(0)
    changed = {"n_test": None if values in ("tiny", "huge") else 100} | {"gflops": 1.0} | HOSTILE[what]
    table = from_rows(grid(made, lambda m, d, s: VALUES[values](rng), **{"data_sets": ("a",)} | changed))
    texts, captions, absent = draw(table, "old", tmp_path, paired=paired, curves=curves_of(table))
    assert ("gflops" in texts) == (not any("score against cost" in reason for reason in absent))
    assert ("differences" in texts) == (not any("differences from old on a, small" in reason for reason in absent))
    assert len(texts) == captions.count(r"\caption") > 0 or len(absent) > 1
    for reason in absent:
        assert f"% Not drawn: {reason}\n" in captions


def test_what_has_no_score_or_no_cost_is_named(made, tmp_path):
    rows = made.pair([0.6, 0.7, 0.8], [0.5, 0.6, 0.6], gflops=1.0)
    rows += [made.failed("lost", s, gflops=1.0) for s in range(3)] + [made.row("free", s, 0.5) for s in range(3)]
    rows += [made.row("old", s, 0.5, dataset="other") for s in range(3)]
    texts, captions, absent = draw(from_rows(rows), "old", tmp_path, margin=0.01)
    named = "not shown: free on digits, small, lost on digits, small."
    assert named in captions
    assert "free" not in texts["gflops"]
    assert absent == (
        "score against GFLOPs on other, small: no method has both there",
        "differences from old on other, small: no method finished beside it",
    )


def test_the_budgets_of_a_data_set_share_a_panel_and_its_front(made, tmp_path):
    rows = [
        made.row(m, s, v + 0.01 * s, budget=b, gflops=g)
        for m, b, g, v in (
            ("old", "a", 1.0, 0.5),
            ("old", "b", 8.0, 0.6),
            ("new", "a", 2.0, 0.7),
            ("new", "b", 16.0, 0.8),
        )
        for s in range(3)
    ]
    texts, captions, _ = draw(from_rows(rows), "old", tmp_path)
    assert texts["gflops"].count("old") == texts["gflops"].count("digits") == 1
    assert {"1", "2", "4", "8", "16"} <= set(texts["gflops"])
    assert "A thin line joins the budgets of a method." in captions
    assert "Of one budget alone, a hollow mark" in captions


def test_a_figure_is_not_taller_than_a_page_and_the_rest_follows(made, tmp_path):
    rows = [
        made.row(m, s, 0.5 + 0.01 * s, dataset=f"d{d}", gflops=1.0)
        for m in ("old", "new", "third")
        for d in range(12)
        for s in range(3)
    ]
    texts, captions, _ = draw(from_rows(rows), "old", tmp_path)
    assert sorted(texts) == ["differences", "differences-2", "gflops", "gflops-2"]
    assert "accuracy on d11" in captions
    for file in tmp_path.glob("*.svg"):
        assert float(re.search(r'height="([\d.]+)pt"', file.read_text()).group(1)) <= 72 * paper.TALLEST


def test_many_methods_are_named_once_in_a_legend(made, tmp_path):
    names = ["old", *(f"_m{place}" for place in range(7))]
    rows = [
        made.row(m, s, 0.5 + 0.01 * s, dataset=d, gflops=1.0 + len(m)) for m in names for d in "ab" for s in range(3)
    ]
    rows += [made.failed("_m0", 3, dataset="a", gflops=1.0)]
    texts = draw(from_rows(rows), "old", tmp_path)[0]["gflops"]
    assert texts.count("old") == texts.count("_m0, 1 failed") == texts.count("_m6") == 1


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.9, 9.0, ["1", "2", "4", "8"]),
        (0.002, 0.02, ["2⁻⁸", "2⁻⁷", "2⁻⁶"]),
        (0.0025, 0.0072, ["0.003", "0.005", "0.007"]),
        (1.0, 2.0**16, ["1", "8", "64", "512", "4096", "32768"]),
    ],
)
def test_costs_are_ticked_at_powers_of_two_or_round_numbers(low, high, words):
    ticks, found = _cost_ticks(low, high)
    assert found == words
    assert all(low <= tick <= high for tick in ticks)
