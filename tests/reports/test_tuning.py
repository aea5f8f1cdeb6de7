"""Tuning trials are in no number of the report but those of their own section, which says what was not equal."""

import csv
import io
import json

import pandas as pd
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports import downloads, page, reading, table
from zoombench.reports.claims import cells, family_size
from zoombench.reports.listing import listing
from zoombench.reports.merging import merge
from zoombench.reports.tuning import tuned, unequal
from zoombench.tests.reports.conftest import row

FINALS = [row(name, seed, 0.5 + 0.01 * seed + 0.1 * (name == "new")) for name in ("old", "new") for seed in range(3)]
ABOUT = page.About(sweep="s", reference="old", command="c", resolved="", versions={}, commit="")


def draw(method: str, number: int, value: float | None, *, rate: float | None = 0.1, **other):
    """One tuning trial; None is one that failed."""
    filled = {"purpose": "tuning", "draw": number, "split": "validation", "n_test": None, "train_seconds": 36.0}
    filled |= {"settings": json.dumps({"rate": rate * (number + 1)}) if rate else "", "trial_id": f"{method}{number}"}
    filled |= {"gpu_hours": 0.0, "seed": 1000} | other
    if value is None:
        filled |= {"status": "failed", "error_class": "NonFiniteLoss", "train_seconds": None, "gpu_hours": None}
        filled |= {"epoch": None}
    return row(method, value=value, **filled)


def searched(**values):
    return [draw(method, number, value) for method, given in values.items() for number, value in enumerate(given)]


def test_no_comparison_sees_a_tuning_trial():
    plain = table.from_rows(FINALS)
    both = table.from_rows(FINALS + searched(old=[0.1, 0.99, 0.98], new=[0.2, None, 0.3]))
    assert cells(both, "old") == cells(plain, "old")
    assert page.claimed(both, ABOUT) == page.claimed(plain, ABOUT)
    pd.testing.assert_frame_equal(table.finals(both), plain)


def test_the_page_without_its_section_says_the_same_with_and_without_tuning_trials():
    plain = page.render(table.from_rows(FINALS), ABOUT)
    both = page.render(table.from_rows(FINALS + searched(old=[0.1, 0.99, 0.98], new=[0.2, 0.9, 0.3])), ABOUT)
    assert 'id="tuning"' not in plain
    start, end = both.index('<section id="tuning"'), both.index('<section id="looked"')
    rest = (both[:start] + both[end:]).replace('<li><a href="#tuning">Tuning</a></li>', "")

    def without_table(text):  # results.csv as a link holds every trial
        head, tail = text.split('download="results.csv"', 1)
        return head + tail.split(">", 1)[1]

    assert without_table(rest) == without_table(plain)


def test_a_method_that_found_no_settings_stays_in_the_family():
    skipped = [row("new", seed, None, status="skipped", reason="tuning found no settings") for seed in range(3)]
    finals = [one for one in FINALS if one["method"] == "old"]
    assert family_size(table.from_rows(finals + skipped), "old") == 0  # never planned
    both = table.from_rows(finals + skipped + searched(new=[None, None]))
    assert family_size(both, "old") == cells(both, "old")[0].m == 1
    assert "Family: m = 1 planned" in page.render(both, ABOUT)


def test_a_search_says_what_it_spent_and_what_it_found():
    made = table.from_rows(FINALS + searched(old=[0.5, 0.7, None, 0.7], new=[0.4, 0.3]))
    new, old = tuned(made)
    assert (old.asked, old.done, old.failed, old.open, old.different) == (4, 3, 1, 0, 4)
    assert (old.default, old.winner, old.draw, old.settings) == (0.5, 0.7, 1, "rate 0.2")
    assert (old.epochs, old.on_gpu) == (30, False)
    assert old.hours == pytest.approx(0.03)
    assert (new.draw, new.default_settings, new.spent) == (0, "rate 0.1", "2 draws, 0.02 h")
    assert old.spent == "4 draws, 1 failed, 0.03 h"


def test_the_lowest_error_wins_and_seeds_of_a_draw_are_averaged():
    error = {"metric": "error", "unit": "cm", "higher_is_better": False}
    rows = [
        draw("old", n, v, seed=s, **error) for n, v, s in ((0, 3, 1000), (0, 1, 1001), (1, 1.5, 1000), (1, 1.7, 1001))
    ]
    (one,) = tuned(table.from_rows(rows))
    assert (one.draw, one.default, one.winner, one.asked) == (1, 2.0, pytest.approx(1.6), 2)


def test_a_search_that_goes_on_has_no_winner_and_gpu_hours_go_before_seconds():
    rows = [draw("old", 0, 0.5, gpu_hours=2.0), draw("old", 1, None, status="missing", error_class="")]
    (one,) = tuned(table.from_rows([rows[0], {**rows[1], "status": "missing", "error_class": ""}]))
    assert (one.open, one.winner, one.draw, one.hours, one.on_gpu) == (1, None, None, 2.0, True)
    assert one.spent == "2 draws, 1 open, 2 GPU-h"


def test_unequal_budgets_failures_and_seeds_that_are_not_fresh_are_cautions():
    def told(rows):
        made = table.from_rows(FINALS + rows)
        return " ".join(unequal(tuned(made), made))

    assert told(searched(old=[0.1, 0.2], new=[0.1, 0.2])) == ""
    assert "Tuning was not equal on digits, small: configurations that were tried are new 3, old 2." in told(
        searched(old=[0.1, 0.2], new=[0.1, 0.2, 0.3])
    )
    assert "are new 2, old 0" in told(searched(new=[0.1, 0.2]))
    idle = told([*searched(new=[0.1, 0.2]), draw("old", 0, 0.1, rate=None)])
    assert idle == "old had nothing to tune on digits, small: its only configuration counts as all."
    assert "1 of 2 draws of new failed on digits, small, and lost." in told(searched(old=[0.1, 0.2], new=[0.1, None]))
    assert "no settings for new on digits, small: all its draws failed." in told(
        searched(old=[0.1, 0.2], new=[None, None])
    )
    stale = [draw("old", 0, 0.1, seed=2), draw("old", 1, 0.2, seed=2)]
    assert "Final trials of old have seeds that tuning chose their settings with" in told(stale + searched(new=[1, 1]))


def test_the_page_shows_each_search_and_its_cautions():
    shown = page.render(table.from_rows(FINALS + searched(old=[0.5, 0.7, None], new=[0.4, 0.3])), ABOUT)
    section = shown[shown.index('<section id="tuning"') : shown.index('<section id="looked"')]
    for text in ("70.00% (draw 1)", "rate 0.2 (rate 0.1)", "40.00% (draw 0)", ">rate 0.1<", "validation accuracy (%"):
        assert text in section
    assert "Tuning was not equal on digits, small" in shown
    assert shown == page.render(table.from_rows((FINALS + searched(old=[0.5, 0.7, None], new=[0.4, 0.3]))[::-1]), ABOUT)


def test_names_and_settings_of_strangers_stay_text():
    hostile = "<script>alert(1)</script>"
    rows = [draw(hostile, 0, 0.5, settings=hostile), draw(hostile, 1, 0.6, settings=json.dumps({hostile: hostile}))]
    shown = page.render(table.from_rows(FINALS + rows), ABOUT)
    assert hostile not in shown
    assert "&lt;script&gt;" in shown


def test_listings_have_a_column_for_tuning_where_something_was_tuned():
    plain, both = table.from_rows(FINALS), table.from_rows(FINALS + searched(old=[0.5, 0.7, None]))
    found = cells(plain, "old")
    for kind in ("md", "tex", "csv"):
        assert listing(found, kind, title="t", tuned=tuned(plain)) == listing(found, kind, title="t")
    assert "| 3 draws, 1 failed, 0.02 h |" in listing(found, "md", title="t", tuned=tuned(both))
    assert "| none |" in listing(found, "md", title="t", tuned=tuned(both))
    assert r"& 3 draws, 1 failed, 0.02 h \\" in listing(found, "tex", title="t", tuned=tuned(both))
    old, new = csv.DictReader(io.StringIO(listing(found, "csv", title="t", tuned=tuned(both))))
    assert (old["tuning_draws"], old["tuning_winner"], old["tuning_settings"]) == ("3", "0.7", "rate 0.2")
    assert new["tuning_draws"] == ""
    assert downloads.tuning(tuned(both))[0]["failed"] == 1


def test_a_table_survives_the_way_to_disk_and_one_without_the_columns_reads(tmp_path):
    made = table.from_rows(FINALS + searched(old=[0.5, None]))
    table.write(made, tmp_path)
    for name in ("results.csv", "results.parquet"):
        pd.testing.assert_frame_equal(table.read(tmp_path / name), made)
    strangers = pd.read_csv(tmp_path / "results.csv").drop(columns=["purpose", "draw", "settings", "trial_id"])
    strangers[strangers["split"] == "test"].to_csv(tmp_path / "theirs.csv", index=False)
    read = reading.read(tmp_path / "theirs.csv").table
    assert (read["purpose"] == "final").all()
    assert len(cells(read, "old")[0].entries) == 2


def test_two_draws_of_one_seed_are_two_rows_and_one_twice_is_refused():
    made = table.from_rows(searched(old=[0.5, 0.6]))
    assert len(made) == 2
    with pytest.raises(TableError, match="duplicate keys"):
        table.from_rows([draw("old", 0, 0.5), draw("old", 0, 0.6)])
    with pytest.raises(TableError, match=r"found an unknown purpose in 1 rows.*purpose trial"):
        table.from_rows([row(purpose="trial")])


def test_merging_keeps_draws_apart_and_names_the_one_in_conflict():
    first, second = (table.from_rows(FINALS + searched(old=[0.5, value])) for value in (0.6, 0.7))
    merged, conflicts = merge({"a": first, "b": first})
    pd.testing.assert_frame_equal(merged, first)
    assert not conflicts
    _, (conflict,) = merge({"a": first, "b": second})
    assert str(conflict) == "old on digits, small, seed 1000, draw 1, accuracy: value is 0.6 in a, 0.7 in b"
