"""A table that is not dense says which cells are missing."""

from zoombench.reports.gaps import gaps
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
