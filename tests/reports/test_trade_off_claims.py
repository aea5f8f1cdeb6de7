"""Claims of score against cost from a table: words, families, fronts, speed-ups and hostile costs."""

import numpy as np
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports.claims import cells
from zoombench.reports.table import from_rows
from zoombench.reports.trade_off_claims import speed_ups, trade_offs

BASE = [0.60, 0.61, 0.62, 0.61, 0.60]


def rows_of(made, scores, costs, **other):
    return [
        made.row(
            name, seed, value, n_test=10**6, gflops=costs[name], latency_ms_p50=costs[name] * (1 + seed / 50), **other
        )
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]


def shifted(by, noise=0.001, seed=0):
    return [round(v + by + e, 6) for v, e in zip(BASE, np.random.default_rng(seed).normal(0, noise, 5), strict=True)]


def only(rows, axis="gflops", margin=0.01):
    table = from_rows(rows)
    (found,) = trade_offs(table, cells(table, "old", {"accuracy": margin} if margin else None), axis)
    return found


@pytest.mark.parametrize("axis", ["gflops", "latency_ms_p50"])
@pytest.mark.parametrize(
    ("by", "cost", "margin", "word"),
    [
        (0.05, 0.5, 0.01, "better and cheaper"),
        (0.05, 0.5, None, "better and cheaper"),
        (-0.002, 0.5, 0.01, "no worse and cheaper"),
        (-0.002, 0.5, None, "undecided"),
        (-0.05, 0.5, 0.01, "undecided"),
        (0.05, 2.0, 0.01, "undecided"),
        (0.0, 1.0, 0.01, "undecided"),
    ],
)
def test_the_word_follows_the_rule(made, axis, by, cost, margin, word):
    found = only(rows_of(made, {"old": BASE, "new": shifted(by)}, {"old": 1.0, "new": cost}), axis, margin)
    (claim,) = found.claims
    assert claim.verdict.word == word
    assert "new seeds, this data set; n = 5 paired seeds" in claim.verdict.sentence
    assert f"{cost:.3g} × the {'GFLOPs' if axis == 'gflops' else 'latency'} (at most" in claim.verdict.sentence


def test_holm_counts_the_planned_family(made):
    scores = {"old": BASE, "new": shifted(-0.002, noise=0.004), "third": shifted(-0.05)}
    rows = rows_of(made, scores, {"old": 1.0, "new": 0.5, "third": 0.1})
    found = only(rows)
    claim = found.claims[0]
    assert (found.m, claim.method) == (2, "new")
    assert claim.p_holm == pytest.approx(2 * claim.trade_off.p)


def test_a_measured_cost_that_never_varies_is_no_evidence_where_a_counted_one_is(made):
    rows = rows_of(made, {"old": BASE, "new": shifted(0.05)}, {"old": 1.0, "new": 0.5})
    rows = [{**r, "latency_ms_p50": 1.0 if r["method"] == "old" else 0.5} for r in rows]
    assert only(rows, "latency_ms_p50").claims[0].verdict.word == "undecided"
    assert only(rows, "gflops").claims[0].verdict.word == "better and cheaper"


def test_failures_absent_costs_and_few_pairs_leave_it_undecided(made):
    scores, costs = {"old": BASE, "new": shifted(0.05)}, {"old": 1.0, "new": 0.5}
    rows = rows_of(made, scores, costs)
    failed = [made.failed("new", 0) if (r["method"], r["seed"]) == ("new", 0) else r for r in rows]
    assert "seeds failed" in only(failed).claims[0].verdict.sentence
    few = [r for r in rows if r["seed"] < 2]
    assert "fewer than three pairs or measurements of GFLOPs" in only(few).claims[0].verdict.sentence
    for hostile in (np.inf, 0.0, None):
        spoilt = [{**r, "gflops": hostile} if r["method"] == "new" else r for r in rows]
        found = only(spoilt)
        assert found.claims[0].trade_off is None
        assert [point.method for point in found.front] == ["old"]


def test_the_front_has_chances_that_follow_the_evidence(made):
    near = {"old": BASE, "better": shifted(0.05), "same": shifted(0.0, noise=0.01), "waste": shifted(-0.05)}
    found = only(rows_of(made, near, {"old": 1.0, "better": 2.0, "same": 1.0, "waste": 3.0}), margin=None)
    points = {point.method: point for point in found.front}
    assert (points["better"].p_on_front, points["waste"].p_on_front) == (1.0, 0.0)
    assert (points["better"].on_front, points["better"].undecided) == (True, False)
    assert points["same"].undecided
    assert points["old"].p_on_front + points["same"].p_on_front == pytest.approx(1.0)


def test_the_chances_do_not_depend_on_names_order_or_axis_units(made):
    scores = {"old": BASE, "a": shifted(0.002, noise=0.01), "b": shifted(0.004, noise=0.01, seed=1)}
    costs = {"old": 1.0, "a": 1.01, "b": 1.02}
    rows = rows_of(made, scores, costs)
    chance = {p.method: p.p_on_front for p in only(rows, "latency_ms_p50", None).front}
    renamed = [{**r, "method": {"a": "z", "b": "c"}.get(r["method"], r["method"])} for r in rows[::-1]]
    renamed = [
        {**r, "trial_id": f"{r['method']}{r['seed']}", "latency_ms_p50": r["latency_ms_p50"] * 1000} for r in renamed
    ]
    other = {p.method: p.p_on_front for p in only(renamed, "latency_ms_p50", None).front}
    assert (other["old"], other["z"], other["c"]) == (chance["old"], chance["a"], chance["b"])


def test_a_single_seed_is_held_at_its_mean_and_is_undecided(made):
    rows = [made.row(name, 0, value, gflops=1.0) for name, value in (("old", 0.5), ("new", 0.6))]
    points = only(rows).front
    assert [(p.p_on_front, p.certain, p.undecided) for p in points] == [(0.0, False, True), (1.0, False, True)]


def test_speed_ups_run_along_each_methods_own_budgets(made):
    rows = []
    for budget, cost, score in (("a", 1.0, 0.5), ("b", 4.0, 0.7), ("c", 16.0, 0.9)):
        for seed in range(4):
            rows.append(made.row("old", seed, score + 0.001 * seed, budget=budget, gflops=cost, n_test=10**6))
            rows.append(made.row("new", seed, score + 0.1 + 0.001 * seed, budget=budget, gflops=cost, n_test=10**6))
    found = {one.budget: dict(one.methods)["new"] for one in speed_ups(cells(from_rows(rows), "old"), "gflops")}
    assert found["b"].ratio == pytest.approx(2.0)
    assert (found["b"].interval.low, found["b"].interval.high) == pytest.approx((2.0, 2.0))
    assert (found["a"].at_least, found["a"].ratio) == (True, 1.0)
    other_way = {one.budget: dict(one.methods)["old"] for one in speed_ups(cells(from_rows(rows), "new"), "gflops")}
    assert str(other_way["c"]) == "not reached"
    error = [{**r, "value": 1 - r["value"], "metric": "error", "higher_is_better": False} for r in rows]
    turned = {one.budget: dict(one.methods)["new"] for one in speed_ups(cells(from_rows(error), "old"), "gflops")}
    assert turned["b"].ratio == pytest.approx(2.0)


def test_a_budget_with_a_failed_seed_is_no_point_and_one_budget_is_no_curve(made):
    rows = [
        made.row(m, s, 0.5 + 0.01 * s, budget=b, gflops=1.0) for m in ("old", "new") for b in "ab" for s in range(3)
    ]
    assert all(len(one.methods) == 1 for one in speed_ups(cells(from_rows(rows), "old"), "gflops"))
    rows[-1] |= {"status": "failed", "error_class": "NonFiniteLoss", "value": None}
    assert [one.methods for one in speed_ups(cells(from_rows(rows), "old"), "gflops")] == [(), ()]


def test_hours_of_a_trial_compare_methods_with_different_numbers_of_seeds(made):
    values = {"small": [0.60, 0.61, 0.60, 0.61, 0.60], "large": [0.70, 0.71, 0.70, 0.71, 0.70]}
    rows = [
        made.row(name, seed, value, budget=budget, gpu_hours=4.0 if budget == "large" else 1.0)
        for budget, scores in values.items()
        for name, seeds in (("old", 5), ("new", 4))
        for seed, value in enumerate(scores[:seeds])
    ]
    table = from_rows(rows)
    found = cells(table, "old")
    small = next(one for one in speed_ups(found, "gpu_hours") if one.budget == "small")
    assert small.methods[0][1].ratio == pytest.approx(1.0, abs=0.1)  # and not 5 / 4
    assert all(cell.entry("new").cost.gpu_hours == cell.entry("old").cost.gpu_hours for cell in found)


def test_a_trial_with_several_metrics_has_one_cost_and_not_one_each(made):
    rows = rows_of(made, {"old": BASE, "new": shifted(0.0)}, {"old": 1.0, "new": 0.95})
    more = [{**row, "metric": name, "trial_id": f"{row['trial_id']} {name}"} for row in rows for name in ("f1", "top5")]
    table = from_rows([*rows, *more])
    (alone,) = only(rows, "latency_ms_p50").claims
    among = trade_offs(table, cells(table, "old", {"accuracy": 0.01}), "latency_ms_p50")
    (beside,) = next(one for one in among if one.metric == "accuracy").claims
    assert beside.trade_off == alone.trade_off


def test_an_unknown_cost_is_refused(made):
    table = from_rows(made.pair(BASE, BASE))
    found = cells(table, "old")
    for ask in (lambda: trade_offs(table, found, "watts"), lambda: speed_ups(found, "watts")):
        with pytest.raises(TableError, match="found the cost 'watts', expected one of: parameters, gflops"):
            ask()
    assert trade_offs(table, (), "gflops") == ()


def test_costs_that_are_equal_tie_on_the_front_whatever_their_digits(made):
    rows = rows_of(made, {"old": BASE, "new": shifted(0.05)}, {"old": 1.0, "new": 1.0}, gpu_hours=0.02)
    points = {point.method: point.p_on_front for point in only(rows, "gpu_hours").front}
    assert points == {"old": 0.0, "new": 1.0}
