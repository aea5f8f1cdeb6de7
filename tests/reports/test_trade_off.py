"""No worse and cheaper, the front's doubt and the speed-up, against scipy, loops, closed forms and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoombench.harness.errors import TableError
from zoombench.reports.statistics import pareto
from zoombench.reports.trade_off import mean_draws, no_worse_and_cheaper, p_on_front, speed_up

quick = settings(max_examples=30, deadline=None)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_both_halves_are_those_of_scipy_and_p_is_the_larger():
    d, cost, base = rng(0).normal(0.002, 0.01, 6), np.exp(rng(1).normal(0, 0.1, 5)), np.exp(rng(2).normal(0.3, 0.1, 7))
    found = no_worse_and_cheaper(d, cost, base, margin=0.01, counted=False)
    no_worse = stats.ttest_1samp(d, -0.01, alternative="greater")
    cheaper = stats.ttest_ind(np.log(cost), np.log(base), equal_var=False, alternative="less")
    assert found.p == pytest.approx(max(no_worse.pvalue, cheaper.pvalue))
    assert found.lower == pytest.approx(no_worse.confidence_interval(0.95).low)
    assert np.log(found.upper_ratio) == pytest.approx(cheaper.confidence_interval(0.95).high)
    assert (found.p < 0.05) == (found.lower > -0.01 and found.upper_ratio < 1)
    better = stats.ttest_1samp(d, 0, alternative="greater")
    assert found.p_dominates == pytest.approx(max(better.pvalue, cheaper.pvalue))


def test_a_counted_cost_is_a_fact_and_a_measured_one_without_spread_is_nothing():
    d, low, high = np.array([0.01, 0.0, 0.02]), np.full(3, 1.0), np.full(3, 2.0)
    cheap = no_worse_and_cheaper(d, low, high, margin=0.05, counted=True)
    assert cheap.p == pytest.approx(stats.ttest_1samp(d, -0.05, alternative="greater").pvalue)
    assert (cheap.ratio, cheap.upper_ratio) == pytest.approx((0.5, 0.5))
    assert no_worse_and_cheaper(d, high, low, margin=0.05, counted=True).p == 1.0
    assert no_worse_and_cheaper(d, low, low, margin=0.05, counted=True).p == 1.0
    assert no_worse_and_cheaper(d, low, high, margin=0.05, counted=False).p is None


@pytest.mark.parametrize(("effect", "log_cost"), [(-0.01, -1.0), (0.05, 0.0), (-0.01, 0.0)])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_claim_is_wrong_at_most_5_percent_of_the_time_anywhere_on_the_border(n, effect, log_cost):
    draw, runs = rng(n), 1500
    wrong = 0
    for _ in range(runs):
        cost, base = np.exp(log_cost + draw.normal(0, 0.1, n)), np.exp(draw.normal(0, 0.1, n))
        found = no_worse_and_cheaper(draw.normal(effect, 0.01, n), cost, base, margin=0.01, counted=False)
        wrong += found.p < 0.05
    assert wrong / runs < 0.05 + 4 * np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("n", "measured"), [(2, 5), (5, 2)])
def test_two_pairs_or_two_measurements_are_too_few(n, measured):
    cost = np.array([1.0, 1.1, 0.9, 1.0, 1.2])[:measured]
    assert no_worse_and_cheaper(np.arange(n) / 10, cost, 2 * cost, margin=0.1, counted=False) is None


def test_costs_and_margins_that_make_no_ratio_are_refused():
    d, cost = np.array([0.1, 0.2, 0.3]), np.array([1.0, 1.1, 0.9])
    for bad in (0.0, np.inf, np.nan, -1.0):
        with pytest.raises(TableError, match="expected finite costs above 0"):
            no_worse_and_cheaper(d, np.array([1.0, 1.1, bad]), cost, margin=0.1, counted=False)
        with pytest.raises(TableError, match="found a cost that is not a finite number above 0"):
            speed_up(np.array([1.0, bad]), np.ones((2, 3)), target_cost=1, target_scores=np.ones(3), rng=rng())
    with pytest.raises(TableError, match=r"found margin -0\.1"):
        no_worse_and_cheaper(d, cost, cost, margin=-0.1, counted=False)


def test_draws_have_the_quantiles_of_the_t_interval_and_keep_the_pairing():
    base = rng(1).normal(0, 1, 5)
    values = np.stack([base, base + 0.1, rng(2).normal(0, 1, 5)])
    values[2, 4] = np.nan
    drawn = mean_draws(values, rng=rng(3), draws=40_000)
    for row, sample in enumerate([values[0], values[1], values[2, :4]]):
        low, high = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
        width = high - low
        assert np.quantile(drawn[:, row], [0.025, 0.975]) == pytest.approx([low, high], abs=0.04 * width)
    assert np.ptp(drawn[:, 1] - drawn[:, 0]) < 1e-9
    with pytest.raises(TableError, match="found a row with 1 values"):
        mean_draws(np.array([[1.0, np.nan]]), rng=rng())


@quick
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=7))
def test_without_noise_the_chance_is_the_front_itself(points):
    cost, score = (np.array(side, dtype=float) for side in zip(*points, strict=True))
    chance = p_on_front(np.tile(cost, (3, 1)), np.tile(score, (3, 1)))
    assert chance.tolist() == pareto(cost, score).astype(float).tolist()


def test_thousands_of_seeds_are_drawn_for_with_the_same_mean_and_covariance():
    values = np.random.default_rng(0).normal([[0.0], [1.0]], 1.0, size=(2, 1500))
    values[1] += values[0]
    drawn = mean_draws(values, rng=np.random.default_rng(1), draws=20_000)
    assert drawn.mean(axis=0) == pytest.approx(values.mean(axis=1), abs=0.002)
    assert np.cov(drawn.T) == pytest.approx(np.cov(values) / 1500, rel=0.05)


def test_the_chance_of_two_equal_costs_is_the_chance_of_the_better_score():
    d = rng(4).normal(0.5, 1, 6)
    drawn = mean_draws(np.stack([d, np.zeros(6)]), rng=rng(5), draws=40_000)
    chance = p_on_front(np.ones_like(drawn), drawn)
    assert chance[1] == pytest.approx(stats.ttest_1samp(d, 0, alternative="greater").pvalue, abs=0.01)
    assert chance.sum() == pytest.approx(1.0)


def curve(draw, costs, seeds, shift, noise=0.02):
    """Score 0.5 + 0.1 log2(cost) + shift: the speed-up at equal score is 2^(shift / 0.1), seeds move all alike."""
    common = draw.normal(0, noise, (1, seeds))
    return 0.5 + 0.1 * np.log2(costs)[:, None] + shift + common + draw.normal(0, noise / 2, (len(costs), seeds))


def test_a_curve_without_noise_gives_the_exact_speed_up():
    costs = np.array([1.0, 4.0, 16.0])
    scores = curve(rng(), costs, 3, 0.05, noise=0.0)
    found = speed_up(costs, scores, target_cost=8.0, target_scores=np.full(3, 0.8), rng=rng())
    assert found.ratio == pytest.approx(np.sqrt(2))
    assert (found.interval.low, found.interval.high) == pytest.approx((np.sqrt(2), np.sqrt(2)))
    assert (found.at_least, found.reached) == (False, 1.0)
    shuffled = speed_up(costs[[2, 0, 1]], scores[[2, 0, 1]], target_cost=8.0, target_scores=np.full(3, 0.8), rng=rng())
    assert shuffled == found


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_of_the_speed_up_covers(seeds):
    draw, runs, costs, hit = rng(seeds), 300, 2.0 ** np.arange(-4, 9), 0
    for _ in range(runs):
        both = curve(draw, np.append(costs, 4.0), seeds, 0.0)
        both[:-1] += 0.05
        found = speed_up(costs, both[:-1], target_cost=4.0, target_scores=both[-1], rng=draw, draws=1000)
        hit += not found.interval.excludes(np.sqrt(2))
    assert hit / runs == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_a_score_that_is_not_reached_is_never_extrapolated():
    costs, scores = np.array([1.0, 2.0]), np.array([[0.5, 0.51, 0.52], [0.6, 0.61, 0.62]])
    never = speed_up(costs, scores, target_cost=1.0, target_scores=np.full(3, 0.9), rng=rng())
    assert (never.ratio, str(never)) == (None, "not reached")
    assert never.interval.low == 0.0
    cheap = speed_up(costs, scores, target_cost=4.0, target_scores=np.full(3, 0.1), rng=rng())
    assert (cheap.ratio, cheap.at_least) == (4.0, True)
    assert str(cheap) == "≥ 4 × [4, no bound]"
    doubtful = speed_up(costs, scores, target_cost=1.0, target_scores=np.array([0.6, 0.59, 0.63]), rng=rng())
    assert 0.2 < doubtful.reached < 0.999
    assert "[not reached, " in str(doubtful)
    few = speed_up(costs, scores[:, :2], target_cost=1.5, target_scores=np.full(2, 0.55), rng=rng())
    assert str(few).endswith("fewer than three seeds")


def test_a_dip_in_the_curve_costs_nothing():
    costs, scores = np.array([1.0, 2.0, 4.0]), np.array([[0.5] * 3, [0.4] * 3, [0.9] * 3])
    found = speed_up(costs, scores, target_cost=4.0, target_scores=np.full(3, 0.5), rng=rng())
    assert (found.ratio, found.at_least) == (4.0, True)
    dip_at_the_end = np.array([[0.5] * 3, [0.9] * 3, [0.6] * 3])
    found = speed_up(costs, dip_at_the_end, target_cost=4.0, target_scores=np.full(3, 0.7), rng=rng())
    assert found.ratio == pytest.approx(4 / np.sqrt(2))


def test_the_same_rng_gives_the_same_interval_and_another_does_not():
    costs = np.array([1.0, 4.0, 16.0])
    scores = curve(rng(), costs, 5, 0.05)
    one, same, other = (
        speed_up(costs, scores, target_cost=8.0, target_scores=scores[1] - 0.02, rng=rng(s)) for s in (0, 0, 1)
    )
    assert one == same
    assert one.interval != other.interval
