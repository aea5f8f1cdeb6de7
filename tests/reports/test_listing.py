"""Plain tables: every row whole, every name harmless."""

import csv
import io
import re

import pytest

from zoombench.reports.claims import cells
from zoombench.reports.listing import FORMATS, HEADS, listing
from zoombench.reports.table import from_rows


@pytest.fixture(scope="module")
def found(made):
    return cells(from_rows(made.sweep()), "uniform", {"accuracy": 0.02})


def test_latex_has_the_same_number_of_columns_in_every_row(found):
    lines = listing(found, "tex", title="my_sweep").splitlines()
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", "\n".join(lines)).group(1)
    rows = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    assert len(rows) == 1 + sum(len(cell.entries) for cell in found)
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)} == {len(HEADS)}
    for rule in ("toprule", "midrule", "bottomrule"):
        assert f"\\{rule}" in lines
    assert r"\caption{my\_sweep." in "\n".join(lines)


def test_latex_names_cannot_become_commands(made):
    rows = [made.row(name, s, 0.5 + 0.01 * s) for name in ("uniform", r"\input{x}%^~#[1]", "[2]") for s in range(3)]
    text = listing(cells(from_rows(rows), "uniform"), "tex", title="t")
    assert r"\textbackslash{}input\{x\}\%\textasciicircum{}\textasciitilde{}\#[1] &" in text
    assert "\n{}[2] &" in text  # after a row's end, [2] would be its argument


def test_markdown_rows_have_every_cell_and_names_are_no_markup(made, found):
    text = listing(found, "md", title="t")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows} == {len(HEADS)}
    assert "<b>" not in text.replace(r"\<b>", "")
    piped = cells(from_rows([made.row("a|b", s, 0.5) for s in range(3)]), "a|b")
    assert r"| a\|b |" in listing(piped, "md", title="t")


def test_csv_holds_the_unrounded_numbers(found):
    rows = list(csv.DictReader(io.StringIO(listing(found, "csv", title="t"))))
    assert len(rows) == sum(len(cell.entries) for cell in found)
    for cell in found:
        mine = {r["method"]: r for r in rows if (r["dataset"], r["budget"]) == (cell.dataset, cell.budget)}
        for entry in cell.entries:
            assert mine[entry.method]["mean"] == ("" if entry.summary.mean is None else repr(entry.summary.mean))
        for claim in cell.claims:
            interval = claim.comparison.interval
            assert mine[claim.method]["difference_low"] == ("" if interval is None else repr(interval.low))
            assert mine[claim.method]["verdict"] == claim.verdict.word


@pytest.mark.parametrize("kind", FORMATS)
def test_a_listing_of_nothing_is_short_and_whole(kind):
    assert len(listing((), kind, title="t").splitlines()) < 12


def test_the_levels_of_intervals_are_said(made):
    found = cells(from_rows(made.sweep()), "uniform", alpha=0.1)
    assert "with 90% t intervals" in listing(found, "md", title="t")


def test_a_method_that_was_skipped_is_no_reference(made):
    rows = made.pair([0.6, 0.7, 0.8], [0.5, 0.6, 0.6])
    rows += [made.row("unfit", s, None, status="skipped", reason="needs boxes") for s in range(3)]
    text = listing(cells(from_rows(rows), "old"), "md", title="t")
    assert "| unfit | – | – | – | skipped |" in text
    assert text.count("| reference |") == 1
