"""The diagram of mean ranks: from ten data sets on, its labels in the figure, its bars over those not told apart."""

import re
from xml.etree import ElementTree

import pytest

from zoombench.reports import figures, page
from zoombench.reports.across_claims import across
from zoombench.reports.claims import cells
from zoombench.reports.rank_diagram import rank_diagram
from zoombench.reports.table import from_rows

FACTORS = {"old": 1.0, "alike": 1.0, "better <b>": 0.5, "by far the best of all methods that were ever tried": 0.2}


def rows(made, data_sets, *, seeds=3):
    found = []
    for place in range(data_sets):
        for seed in range(seeds):
            for number, (method, factor) in enumerate(FACTORS.items()):
                wobble = 1 + 0.02 * ((7 * place + 3 * seed + 5 * number) % 11 - 5) / 5
                error = 0.3 * factor * wobble
                found.append(made.row(method, seed, 1 - error, dataset=f"d{place}", n_test=10**9))
    return found


def drawn(made, data_sets):
    found = cells(from_rows(rows(made, data_sets)), "old")
    (one,) = across(found)
    return one, rank_diagram(one, figures.looks(found), prefix="ranks0")


@pytest.fixture
def about():
    return page.About(sweep="s", reference="old", command="c", resolved="", versions={}, commit="")


@pytest.fixture
def diagram(made):
    return drawn(made, 12)


def test_below_ten_data_sets_there_is_none_and_the_page_says_why(made, about):
    assert drawn(made, 9)[1] is None
    said = page.render(from_rows(rows(made, 9)), about)
    assert "too few for an interquartile mean or a diagram of mean ranks" in said
    assert "Mean ranks over" not in said


def test_every_method_stands_at_its_mean_rank(diagram):
    one, svg = diagram
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    words = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
    best = one.ranked.index("by far the best of all methods that were ever tried")
    assert one.ranks.mean_ranks[best] == 1
    assert any(text.endswith("… 1.00") for text in words), "a long name is cut, its rank is not"
    assert "better <b> 2.00" in words
    for text in root.iter(f"{space}text"):
        assert 0 <= float(text.get("x")) <= 620


def test_a_bar_joins_those_that_nothing_tells_apart(diagram):
    one, svg = diagram
    (clique,) = one.ranks.cliques
    assert {one.ranked[index] for index in clique} == {"old", "alike"}
    assert svg.count('stroke-width="3.5"') == 1
    left, right = map(float, re.search(r'd="M([\d.]+) [\d.]+H([\d.]+)" [^>]*stroke-width="3.5"', svg).groups())
    ends = sorted(190 + 240 * (one.ranks.mean_ranks[index] - 1) / 3 for index in clique)
    assert (left, right) == pytest.approx((ends[0] - 3, ends[1] + 3), abs=0.11)
    assert "Not told apart: " in svg


def test_the_page_shows_the_diagram_its_table_and_its_csv(made, about):
    said = page.render(from_rows(rows(made, 10)), about)
    assert "Mean ranks over 10 data sets, " in said
    assert "mean ranks" in said
    assert re.search(r'download="mean ranks [^"]*\.csv"', said)
    assert "it depends on who else is in the table and is no evidence" in said
