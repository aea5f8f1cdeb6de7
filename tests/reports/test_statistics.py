"""Statistics against scipy, brute force, simulation and invariances."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from zoombench.harness.errors import TableError
from zoombench.reports.statistics import (
    Outcomes,
    clopper_pearson,
    compare,
    holm,
    pareto,
    sign_flip,
    signed_rank,
    summarise,
    t_interval,
)

quick = settings(max_examples=40, deadline=None)
scores = st.lists(st.integers(0, 200), min_size=3, max_size=9)
pairs = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=3, max_size=9)


def outcomes(values, seeds=None):
    values = [np.nan if v is None else v for v in values]
    seeds = range(len(values)) if seeds is None else seeds
    array = np.array(values, dtype=float)
    return Outcomes(np.array(list(seeds), dtype=np.int64), array, np.isnan(array))


def test_pairs_by_seed_and_not_by_row():
    a, b = outcomes([0.7, 0.5, 0.9], seeds=[3, 1, 2]), outcomes([0.4, 0.8, 0.6], seeds=[1, 2, 3])
    assert compare(a, b, higher_is_better=True).differences == pytest.approx((0.1, 0.1, 0.1))


def test_seeds_that_only_one_method_has_are_left_out():
    c = compare(outcomes([1, 2, 3, 4], seeds=[0, 1, 2, 9]), outcomes([1, 1, 1], seeds=[2, 1, 5]), higher_is_better=True)
    assert (c.seeds, c.n) == ((1, 2), 2)


def test_the_paired_t_test_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.1, 1, 7), rng.normal(0, 1, 7)
    c, expected = compare(outcomes(a), outcomes(b), higher_is_better=True), stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert c.p_t == pytest.approx(expected.pvalue)
    assert (c.interval.low, c.interval.high) == pytest.approx((interval.low, interval.high))
    assert c.p_wilcoxon == pytest.approx(stats.wilcoxon(a, b, zero_method="pratt").pvalue)
    many = rng.normal(0.2, 1, 50)
    assert signed_rank(many) == pytest.approx(stats.wilcoxon(many, zero_method="pratt", method="approx").pvalue)
    assert c.correlation == pytest.approx(stats.pearsonr(a, b).statistic)


@quick
@given(st.lists(st.integers(-9, 9), min_size=3, max_size=8))
def test_sign_flip_is_the_count_over_all_signs(differences):
    d = np.array(differences, dtype=float)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=len(d))]
    assert sign_flip(d) == pytest.approx(np.mean([s >= abs(d.sum()) - 1e-9 for s in sums]))


def test_sign_flip_agrees_with_scipy_on_real_numbers():
    d = np.random.default_rng(1).normal(0.4, 1, 9)
    test = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(d) == pytest.approx(test.pvalue)


def test_sign_flip_reaches_its_floor_and_stays_exact_for_thirty_pairs():
    assert (
        sign_flip(np.ones(5)) == compare(outcomes([1] * 5), outcomes([0] * 5), higher_is_better=True).p_sign_flip_floor
    )
    assert sign_flip(np.ones(30)) == 2 / 2**30


@pytest.mark.parametrize("n", [1, 3, 5, 10])
def test_clopper_pearson_is_that_of_scipy_and_statsmodels(n):
    for k in range(n + 1):
        mine = clopper_pearson(k, n)
        theirs = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
        low, high = proportion_confint(k, n, method="beta")
        assert (mine.low, mine.high) == pytest.approx((low, high))


def test_half_a_win_widens_the_interval_at_both_ends():
    assert clopper_pearson(2.5, 5).low == clopper_pearson(2, 5).low
    assert clopper_pearson(2.5, 5).high == clopper_pearson(3, 5).high


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_that_of_statsmodels(p):
    assert holm(p, len(p)) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_a_comparison_without_a_p_still_counts_in_holm():
    assert holm([0.01, None, 0.02], 3) == pytest.approx([0.03, None, 0.04])
    assert holm([0.01], 19) == pytest.approx([0.19])
    with pytest.raises(TableError, match="at most the 1 planned"):
        holm([0.1, 0.2], 1)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_t_interval_covers_95_percent_within_simulation_error(n):
    draws = np.random.default_rng(5).normal(size=(3000, n))
    covered = np.mean([t_interval(row).low <= 0 <= t_interval(row).high for row in draws])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 3000)


@pytest.mark.parametrize(("values", "interval"), [([], False), ([0.5], False), ([0.5, 0.6], False), ([1, 2, 4], True)])
def test_no_interval_below_three_seeds(values, interval):
    s = summarise(outcomes(values))
    assert (s.interval is not None) == interval
    assert s.n == len(values)
    c = compare(outcomes(values), outcomes([0.0] * len(values)), higher_is_better=True)
    assert (c.interval is not None, c.p_t is not None) == (interval, interval)


@quick
@given(pairs, st.randoms())
def test_the_order_of_rows_changes_nothing(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    a, b = zip(*rows, strict=True)
    one = compare(outcomes(a), outcomes(b), higher_is_better=True)
    two = compare(outcomes([a[i] for i in order], seeds=order), outcomes(b), higher_is_better=True)
    assert one == two


@quick
@given(pairs)
def test_swapping_the_methods_turns_every_sign(rows):
    a, b = (outcomes(side) for side in zip(*rows, strict=True))
    one, two = compare(a, b, higher_is_better=True), compare(b, a, higher_is_better=True)
    assert one.effect == pytest.approx(-two.effect)
    assert (one.wins, one.losses, one.ties) == (two.losses, two.wins, two.ties)
    assert (one.p_t, one.p_sign_flip, one.p_wilcoxon) == pytest.approx((two.p_t, two.p_sign_flip, two.p_wilcoxon))


@quick
@given(pairs)
def test_flipping_the_direction_and_the_sign_changes_nothing(rows):
    a, b = (np.array(side, dtype=float) for side in zip(*rows, strict=True))
    one = compare(outcomes(a), outcomes(b), higher_is_better=True)
    two = compare(outcomes(-a), outcomes(-b), higher_is_better=False)
    assert (one.differences, one.p_t, one.wins) == (two.differences, two.p_t, two.wins)


@quick
@given(pairs, st.sampled_from([0.01, 10.0, 1000.0]))
def test_other_units_scale_the_effect_and_leave_every_p(rows, factor):
    a, b = (np.array(side, dtype=float) for side in zip(*rows, strict=True))
    one = compare(outcomes(a), outcomes(b), higher_is_better=True)
    two = compare(outcomes(factor * a), outcomes(factor * b), higher_is_better=True)
    assert two.effect == pytest.approx(factor * one.effect, abs=1e-9 * factor)
    for name in ("p_t", "p_sign_flip", "p_wilcoxon", "wins", "ties"):
        assert getattr(two, name) == pytest.approx(getattr(one, name))


def test_float_noise_below_the_resolution_is_a_tie():
    a, b = [0.1 + 0.2, 0.7, 0.5], [0.3, 0.7, 0.5 + 1e-12]
    c = compare(outcomes(a), outcomes(b), higher_is_better=True, resolution=1 / 1000)
    assert (c.wins, c.ties, c.losses, c.p_t) == (0, 3, 0, 1.0)


def test_equal_differences_give_no_t_test_and_say_why():
    c = compare(outcomes([0.5, 0.6, 0.7]), outcomes([0.4, 0.5, 0.6]), higher_is_better=True)
    assert (c.p_t, c.interval, c.spread) == (None, None, 0.0)
    assert "no spread" in c.notes[0]
    assert c.p_sign_flip == 0.25


def test_a_failure_loses_and_two_failures_tie():
    c = compare(outcomes([None, None, 0.9, 0.8]), outcomes([0.5, None, None, 0.7]), higher_is_better=True)
    assert (c.wins, c.ties, c.losses, c.failed, c.complete) == (2, 1, 1, 3, 1)
    assert c.superiority.value == 2.5 / 4


def test_failures_that_turn_the_sign_are_noticed():
    a, b = outcomes([None, None, None, 0.9, 0.8]), outcomes([0.5] * 5)
    assert compare(a, b, higher_is_better=True).depends_on_failures
    assert not compare(outcomes([0.9] * 5), b, higher_is_better=True).depends_on_failures


def test_all_failed_is_all_lost_and_has_no_effect():
    c = compare(outcomes([None] * 4), outcomes([0.5] * 4), higher_is_better=True)
    assert (c.effect, c.interval, c.p_t, c.losses, c.p_sign) == (None, None, None, 4, 0.125)
    assert summarise(outcomes([None] * 4)).failures.value == 1


def test_less_error_is_relative_to_the_reference():
    up = compare(outcomes([0.9] * 3), outcomes([0.8] * 3), higher_is_better=True, ceiling=1.0)
    down = compare(outcomes([1.0] * 3), outcomes([2.0] * 3), higher_is_better=False)
    assert (up.error_reduction, down.error_reduction) == pytest.approx((0.5, 0.5))
    assert compare(outcomes([3]), outcomes([1]), higher_is_better=True).error_reduction is None


def test_a_seed_that_comes_twice_and_a_nan_that_is_no_failure_are_refused():
    with pytest.raises(TableError, match="expected each once"):
        outcomes([1, 2], seeds=[1, 1])
    with pytest.raises(TableError, match="nan or infinite"):
        Outcomes(np.array([0]), np.array([np.inf]), np.array([False]))
    with pytest.raises(TableError, match="different lengths"):
        Outcomes(np.array([0]), np.array([]), np.array([False]))


@quick
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=8))
def test_the_front_is_what_no_other_point_beats(points):
    cost, score = (np.array(side, dtype=float) for side in zip(*points, strict=True))
    for i, chosen in enumerate(pareto(cost, score)):
        beaten = any(
            c <= cost[i] and s >= score[i] and (c < cost[i] or s > score[i]) for c, s in zip(cost, score, strict=True)
        )
        assert chosen == (not beaten)


def test_equal_score_at_higher_cost_is_beaten_and_duplicates_stay():
    assert pareto(np.array([1.0, 2, 1, 3]), np.array([5.0, 5, 5, 6])).tolist() == [True, False, True, True]


def test_infinite_cost_and_missing_score_are_never_on_the_front():
    assert pareto(np.array([np.inf, 1, np.nan, 0.5]), np.array([9.0, 1, 9, np.nan])).tolist() == [
        False,
        True,
        False,
        False,
    ]
