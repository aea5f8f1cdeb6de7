"""From rows to verdicts: the family, failures, margins and words."""

import pytest

from zoombench.harness.errors import TableError
from zoombench.reports.claims import cells, family_size
from zoombench.reports.table import from_rows
from zoombench.reports.wording import p_value

BETTER = [0.70, 0.72, 0.71, 0.73, 0.70]
BASE = [0.60, 0.61, 0.62, 0.61, 0.60]


def claim(rows, margins=None):
    (cell,) = cells(from_rows(rows), "old", margins)
    return cell.claims[0]


def test_a_clear_difference_is_better_and_says_scope_and_n(made):
    found = claim(made.pair(BETTER, BASE))
    assert found.verdict.word == "better"
    assert "better by 10.40 points, 95% interval [+8.98, +11.82]" in found.verdict.sentence
    assert "new seeds, this data set; n = 5 paired seeds; Holm p < .001, m = 1" in found.verdict.sentence


def test_lower_is_better_turns_the_verdict(made):
    rows = made.pair(BETTER, BASE, metric="error", unit="cm", higher_is_better=False)
    found = claim(rows)
    assert (found.verdict.word, found.comparison.losses) == ("worse", 5)


def test_an_undecided_pair_says_what_the_design_could_find_and_how_many_seeds(made):
    found = claim(made.pair([0.60, 0.64, 0.58, 0.65, 0.61], BASE))
    assert found.verdict.word == "undecided"
    assert "this design would detect ≥ " in found.verdict.sentence
    assert "80% power" in found.verdict.sentence
    assert "seeds would be needed" in found.verdict.sentence
    assert found.design.detectable == pytest.approx(1.68 * found.comparison.spread, rel=0.01)


def test_the_family_is_everything_planned_even_what_never_ran(made):
    rows = made.pair(BETTER, BASE) + [
        made.row("lost", s, None, status="missing", dataset="digits", budget="large") for s in range(5)
    ]
    table = from_rows(rows)
    assert family_size(table, "old") == 2 * 1 * 2
    small = next(cell for cell in cells(table, "old") if cell.budget == "small")
    assert small.claims[0].p_holm == pytest.approx(4 * small.claims[0].p)


def test_an_upper_bound_is_outside_the_family_and_has_no_claim(made):
    rows = made.pair(BETTER, BASE) + [made.row("bound", s, 0.99, competes=False) for s in range(5)]
    (cell,) = cells(from_rows(rows), "old")
    bound = next(c for c in cell.claims if c.method == "bound")
    assert (cell.m, bound.p, bound.p_holm, bound.verdict.word) == (1, None, None, "upper bound")
    assert bound.comparison.effect > 0.3
    assert "bound" not in cell.front("gflops")


def test_adding_a_method_leaves_the_raw_comparison_alone(made):
    rows = made.pair(BETTER, BASE)
    (more,) = cells(from_rows(rows + [made.row("third", s, 0.1 * s) for s in range(5)]), "old")
    assert claim(rows).comparison == next(c for c in more.claims if c.method == "new").comparison


def test_renaming_a_method_changes_only_its_name(made):
    rows = made.pair(BETTER, BASE)
    renamed = [{**row, "method": "zzz" if row["method"] == "new" else "old"} for row in rows]
    assert claim(renamed).comparison == claim(rows).comparison


def test_a_failure_leads_with_the_sign_test_and_counts_as_a_loss(made):
    found = claim(made.pair([None, *BETTER[1:]], BASE))
    assert found.test == "sign test, failures as losses"
    assert (found.comparison.wins, found.comparison.losses) == (4, 1)
    assert found.verdict.word == "undecided"
    assert "failures as losses" in found.verdict.sentence


def test_a_lost_worker_is_missing_and_not_a_failure(made):
    rows = made.pair(BETTER, BASE)
    rows[0] = made.failed("new", 0, error="WorkerLost")
    found = claim(rows)
    assert (found.test, found.comparison.n, found.comparison.failed) == ("paired t", 4, 0)


def test_enough_agreeing_seeds_decide_even_with_failures(made):
    found = claim(made.pair([0.7 + 0.001 * s for s in range(10)], [None] + [0.5] * 9))
    assert found.verdict.word == "better"
    assert "in more seeds" in found.verdict.sentence


SMALL = [0.605, 0.616, 0.624, 0.615, 0.606]
SAME = [0.601, 0.610, 0.621, 0.609, 0.600]


@pytest.mark.parametrize(
    ("values", "margin", "word"),
    [
        (SMALL, None, "better"),
        (SMALL, 0.02, "too small to matter"),
        (SMALL, 0.001, "better"),
        (SAME, None, "undecided"),
        (SAME, 0.02, "equivalent"),
        (SAME, 0.0001, "undecided"),
    ],
)
def test_equivalence_needs_a_declared_margin(made, values, margin, word):
    assert claim(made.pair(values, BASE), margin and {"accuracy": margin}).verdict.word == word


def test_an_interval_that_reaches_below_the_margin_is_said(made):
    found = claim(made.pair(SMALL, BASE), {"accuracy": 0.0049})
    assert found.verdict.word == "better"
    assert "perhaps by less than the declared margin" in found.verdict.sentence


def test_two_seeds_and_identical_seeds_are_undecided(made):
    assert "an interval needs three" in claim(made.pair(BETTER[:2], BASE[:2])).verdict.sentence
    assert "identical on every seed" in claim(made.pair(BASE, BASE)).verdict.sentence
    assert "no spread" in claim(made.pair([v + 0.1 for v in BASE], BASE)).verdict.sentence


def test_costs_are_medians_and_training_is_a_mean_with_its_sum(made):
    rows = [made.row("old", s, 0.5, gflops=g, train_seconds=10.0) for s, g in enumerate((1.0, 2.0, 9.0))]
    (cell,) = cells(from_rows(rows), "old")
    cost = cell.entry("old").cost
    assert (cost.gflops, cost.train_seconds, cost.parameters) == (2.0, 10.0, None)
    assert cost.gpu_hours_total is None
    timed = [{**one, "gpu_hours": 2.0 if one["seed"] else None} for one in rows]
    cost = cells(from_rows(timed), "old")[0].entry("old").cost
    assert (cost.gpu_hours, cost.gpu_hours_total) == (2.0, 4.0)  # of two trials, though three had GFLOPs


def test_the_front_holds_competing_methods_from_cheap_to_dear(made):
    table = from_rows(
        [
            made.row(name, s, v + 0.001 * s, gflops=g)
            for name, v, g in (("old", 0.5, 1), ("dear", 0.7, 3), ("waste", 0.4, 2))
            for s in range(3)
        ]
    )
    assert cells(table, "old")[0].front("gflops") == ("old", "dear")


def test_a_wrong_reference_or_margin_is_refused(made):
    table = from_rows(made.pair(BETTER, BASE))
    with pytest.raises(TableError, match="no trial of the reference 'uniform', expected one of: new, old"):
        cells(table, "uniform")
    with pytest.raises(TableError, match="margin -1 for accuracy"):
        cells(table, "old", {"accuracy": -1})


@pytest.mark.parametrize("status", ["failed", "missing"])
def test_a_table_without_a_single_score_still_makes_cells(made, status):
    rows = [
        made.row(m, s, None, status=status, metric=None, unit=None, higher_is_better=None)
        for m in ("old", "new")
        for s in range(3)
    ]
    assert claim(rows).verdict.word == "undecided"


def test_a_method_that_cannot_serve_a_dataset_was_never_planned_there(made):
    skipped = [made.row("unfit", s, None, status="skipped", reason="needs boxes") for s in range(5)]
    elsewhere = [made.row(m, s, 0.5, dataset="faces") for m in ("unfit", "new", "old") for s in range(5)]
    with_it = from_rows(made.pair(BETTER, BASE) + skipped + elsewhere)
    assert family_size(with_it, "old") == 3
    digits = next(cell for cell in cells(with_it, "old") if cell.dataset == "digits")
    assert [one.method for one in digits.claims] == ["new"]
    assert {entry.method: entry.skipped for entry in digits.entries}["unfit"] == 5


def test_a_table_of_skipped_trials_makes_no_claim(made):
    rows = [
        made.row(m, 0, None, status="skipped", metric=None, unit=None, higher_is_better=None) for m in ("old", "new")
    ]
    (cell,) = cells(from_rows(rows), "old")
    assert cell.claims == ()


def test_an_empty_table_has_no_cells():
    assert cells(from_rows([]), "old") == ()


def test_the_claims_do_not_depend_on_the_order_of_rows(made):
    rows = made.sweep()
    assert cells(from_rows(rows), "uniform") == cells(from_rows(rows[::-1]), "uniform")


def test_alpha_sets_the_levels_the_family_error_and_the_words(made):
    rows = made.pair([0.62, 0.66, 0.64, 0.65, 0.63], BASE)
    (loose,) = cells(from_rows(rows), "old", alpha=0.05)
    (strict,) = cells(from_rows(rows), "old", alpha=0.001)
    assert 0.001 < strict.claims[0].p < 0.05
    assert (loose.claims[0].verdict.word, strict.claims[0].verdict.word) == ("better", "undecided")
    assert "95% interval" in loose.claims[0].verdict.sentence
    assert "alpha .001/1" in strict.claims[0].verdict.sentence
    c = strict.claims[0].comparison
    assert c.interval.low < loose.claims[0].comparison.interval.low
    assert c.superiority.interval.low == pytest.approx(0.0005 ** (1 / 5))  # Clopper-Pearson of 5/5 at 99.9%
    with pytest.raises(TableError, match=r"found alpha 1, expected a number above 0 and below 0.5"):
        cells(from_rows(rows), "old", alpha=1)


def test_methods_keep_the_order_they_are_given(made):
    rows = [made.row(m, s, 0.5 + 0.01 * s) for m in ("a", "b", "c", "old") for s in range(3)]
    (cell,) = cells(from_rows(rows), "old", order=("old", "c", "a"))
    assert [entry.method for entry in cell.entries] == ["old", "c", "a", "b"]
    assert [claim.method for claim in cell.claims] == ["c", "a", "b"]


def test_a_stopped_trial_belongs_to_a_search_and_to_no_comparison(made):
    rows = made.pair(BETTER, BASE)
    rows[0] |= {"status": "stopped", "value": 0.1}
    (cell,) = cells(from_rows(rows), "old")
    assert (cell.claims[0].comparison.n, cell.claims[0].comparison.failed) == (4, 0)
    assert cell.entry("new").stopped == 1
    assert cell.entry("new").summary.n == 4


@pytest.mark.parametrize(
    ("p", "shown"), [(None, "–"), (0.0004, "<.001"), (0.0496, ".0496"), (0.049999, ".0499"), (0.05, ".050"), (1.0, "1")]
)
def test_a_p_value_is_never_rounded_up_to_the_level(p, shown):
    assert p_value(p) == shown
