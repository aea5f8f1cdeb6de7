"""A table that is not dense says which cells are missing."""

from zoombench.reports.gaps import absent, gaps
from zoombench.reports.page import About, render
from zoombench.reports.table import from_rows


def test_a_dense_table_has_no_gaps(made):
    assert gaps(from_rows(made.pair([0.7, 0.8], [0.6, 0.5]))) == ()
    assert gaps(from_rows([])) == ()


def test_every_reason_is_named_with_its_seeds(made):
    rows = made.pair([0.7, None, 0.8, 0.9], [0.6, 0.5, 0.6, 0.5])
    rows[2] |= {"status": "stopped"}
    rows[3] |= {"status": "missing", "value": None, "metric": None}
    del rows[4]  # seed 0 of the reference was never planned
    found = gaps(from_rows(rows))
    assert [(g.method, g.seeds, g.why, g.whole) for g in found] == [
        ("new", (1,), "failed", False),
        ("new", (3,), "missing", False),
        ("new", (2,), "stopped", False),
        ("old", (0,), "not in the table", False),
    ]
    assert str(found[0]) == "new on digits, small, accuracy: seed 1 failed"


def test_a_method_without_any_score_on_a_data_set_is_a_whole_gap(made):
    rows = made.pair([0.7, 0.8], [0.6, 0.5]) + [made.row("old", s, 0.5, dataset="gaze") for s in range(12)]
    (gap,) = gaps(from_rows(rows))
    assert (gap.whole, gap.dataset, gap.why) == (True, "gaze", "not in the table")
    assert str(gap) == "new on gaze, small, accuracy: every seed not in the table"
    some = [made.row("new", 0, 0.5, dataset="gaze")]
    assert str(gaps(from_rows(rows + some))[0]).endswith("seeds 1, 2, 3, 4, 5, 6, 7, 8 and 3 more not in the table")


def test_the_sweep_of_the_tests_names_all_its_trouble(made):
    found = {(g.method, g.dataset, g.budget, g.why): g.seeds for g in gaps(from_rows(made.sweep()))}
    assert found[("saliency_sampler", "gaze", "large", "failed")] == (4,)
    assert found[("uniform", "gaze", "small", "missing")] == (4,)
    assert found[("oracle_crop", "gaze", "small", "skipped")] == (0, 1, 2, 3, 4)
    assert found[(made.hostile, "digits", "large", "failed")] == (1, 3)
    assert len(found) == 6


def test_the_page_lists_every_gap_that_no_row_speaks_of_under_not_finished(made):
    rows = [made.row(m, s, 0.5 + s / 100, dataset=d) for m in ("old", "new") for d in "abcdefg" for s in range(4)]
    rows = [row for row in rows if (row["method"], row["seed"]) != ("new", 2)]
    about = About("mine", "old", command="", resolved="", versions={}, commit="")
    html = render(from_rows(rows), about)
    unfinished = html[html.index('<section id="unfinished"') : html.index('<section id="published"')]
    assert "Not in the table: 7 gaps where other methods have a score" in unfinished
    assert unfinished.count('<th scope="row">new</th>') == 7
    assert "Every planned trial finished" not in unfinished
    assert "The table is not dense: new on a, small, accuracy: seed 2 not in the table; " in html
    assert "; and 2 more, under not finished." in html
    dense = render(from_rows([row for row in rows if row["seed"] != 2]), about)
    assert "Not in the table" not in dense
    assert "Every planned trial finished" in dense


def test_unpaired_seeds_that_others_lack_are_no_gap_and_a_method_without_a_score_is(made):
    rows = made.pair([0.7, 0.8, 0.9], [0.6, 0.5]) + [made.row("old", s, 0.5, dataset="gaze") for s in range(3)]
    assert len(absent(from_rows(rows))) == 2
    (gap,) = absent(from_rows(rows), paired=False)
    assert (gap.method, gap.dataset, gap.whole) == ("new", "gaze", True)
