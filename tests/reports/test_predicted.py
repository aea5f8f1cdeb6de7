"""Predicted beside actual cost, on the page and among its cautions."""

import re

import pytest

from zoombench.reports.page import About, render
from zoombench.reports.predicted import Predicted, far_off
from zoombench.reports.table import from_rows


def predicted(actual, label="uniform", **other):
    known = {"unit": "CPU-hours", "trials": 3, "value": 2.0, "low": 1.6, "high": 2.5}
    return Predicted(label, actual=actual, **(known | other))


@pytest.mark.parametrize(
    ("actual", "is_inside", "is_far"), [(2.4, True, False), (2.6, False, False), (3.1, False, True), (1.2, False, True)]
)
def test_far_off_is_outside_the_interval_and_by_half_and_more(actual, is_inside, is_far):
    one = predicted(actual)
    assert (one.is_inside, one.is_far_off) == (is_inside, is_far)


def test_a_wide_interval_that_holds_is_never_far_off():
    assert not predicted(9.0, high=10.0).is_far_off


def test_a_caution_names_what_was_predicted_and_what_it_took():
    assert far_off([predicted(2.4), predicted(4.0, label="all")]) == [
        "The cost of all was predicted badly: 4 CPU-hours for 3 trials, 2 times the 2 [1.6, 2.5] predicted."
    ]
    assert far_off([predicted(0.0, value=0.0, low=0.0, high=0.0)]) == []


def page(made, *rows):
    about = About("s", "old", "zoombench run s", resolved="", versions={}, commit="", predicted=rows)
    return render(from_rows(made.pair([0.5, 0.6, 0.8], [0.4, 0.5, 0.6])), about)


def test_the_page_shows_predicted_beside_actual(made):
    shown = page(made, predicted(5.0), predicted(2.1, label="run of <now>", unit="wall-clock, minutes"))
    section = shown[shown.index("Predicted and actual cost") :]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", section[section.index("<tbody>") :])
    assert cells[:7] == ["uniform", "CPU-hours", "3", "2 [1.6, 2.5]", "5", "2.50", "no"]
    assert cells[7:14] == ["run of &lt;now&gt;", "wall-clock, minutes", "3", "2 [1.6, 2.5]", "2.1", "1.05", "yes"]
    assert "The cost of uniform was predicted badly" in shown[: shown.index("Predicted and actual cost")]


def test_a_page_without_predictions_does_not_speak_of_them(made):
    assert "redicted" not in page(made)
