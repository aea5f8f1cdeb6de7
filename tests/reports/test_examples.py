"""Seeds crossed with examples, clusters and two checkpoints, against statsmodels, brute force and simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from zoombench.harness.errors import TableError
from zoombench.reports.examples import cluster_sign_flip, crossed, mcnemar

quick = settings(max_examples=30, deadline=None)


def draw(rng, seeds, examples, *, seed=1.0, example=1.0, both=1.0):
    parts = rng.normal(0, seed, (seeds, 1)), rng.normal(0, example, examples), rng.normal(0, both, (seeds, examples))
    return parts[0] + parts[1] + parts[2]


def test_the_mean_squares_are_those_of_statsmodels():
    d = draw(np.random.default_rng(0), 4, 7, seed=2.0, example=2.0)
    frame = pd.DataFrame([(s, e, d[s, e]) for s in range(4) for e in range(7)], columns=["s", "e", "d"])
    squares = anova_lm(ols("d ~ C(s) + C(e)", frame).fit())["mean_sq"]
    found = crossed(d)
    assert found.interaction == pytest.approx(squares["Residual"])
    assert found.seed == pytest.approx((squares["C(s)"] - squares["Residual"]) / 7)
    assert found.example == pytest.approx((squares["C(e)"] - squares["Residual"]) / 4)
    variance = (squares["C(s)"] + squares["C(e)"] - squares["Residual"]) / 28
    assert found.estimate.error == pytest.approx(np.sqrt(variance))
    df = (28 * variance) ** 2 / (squares["C(s)"] ** 2 / 3 + squares["C(e)"] ** 2 / 6 + squares["Residual"] ** 2 / 18)
    assert found.estimate.df == pytest.approx(df)
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[0] == pytest.approx(found.seed / 4 / variance)


def test_without_examples_that_differ_it_is_the_t_test_over_seeds():
    d = np.random.default_rng(1).normal(0.2, 1, 5)[:, None] * np.ones((1, 30))
    found, theirs = crossed(d).estimate, stats.ttest_1samp(d[:, 0], 0)
    assert (found.p, found.df) == pytest.approx((theirs.pvalue, 4))


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("mix", [(0.2, 1, 1), (0, 1, 1), (1, 0.2, 1)])
def test_the_crossed_interval_covers_new_seeds_and_new_examples(seeds, mix):
    rng, runs = np.random.default_rng(seeds), 700
    runs_of = (draw(rng, seeds, 60, seed=mix[0], example=mix[1], both=mix[2]) for _ in range(runs))
    covered = np.mean([not crossed(d).estimate.interval().excludes(0) for d in runs_of])
    assert covered > 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs) - 0.01


def test_seeds_alone_do_not_cover_new_examples():
    rng, runs = np.random.default_rng(2), 400
    rows = [draw(rng, 5, 60, seed=0.1, example=1, both=0.3).mean(axis=1) for _ in range(runs)]
    assert np.mean([stats.ttest_1samp(row, 0).pvalue >= 0.05 for row in rows]) < 0.85


def test_a_plan_with_todays_numbers_is_today_and_more_of_either_narrows_it():
    found = crossed(draw(np.random.default_rng(3), 4, 40))
    assert found.planned(4, 40) == found.estimate
    wider = found.estimate.interval().high - found.estimate.interval().low
    for plan in (found.planned(5, 40), found.planned(4, 1040)):
        assert plan.error < found.estimate.error
    assert found.planned(5, 40).interval().high - found.planned(5, 40).interval().low < wider


def test_clusters_of_one_change_nothing_and_equal_clusters_are_their_means():
    d = draw(np.random.default_rng(4), 3, 12)
    assert crossed(d, np.arange(12)).estimate.error == pytest.approx(crossed(d).estimate.error)
    groups = np.repeat(np.arange(4), 3)
    by_hand = d.reshape(3, 4, 3).mean(axis=2)
    one, two = crossed(d, groups), crossed(by_hand)
    assert (one.value, one.seed, one.example, one.n_examples) == pytest.approx(
        (two.value, two.seed, two.example, two.n_examples)
    )


def test_unequal_clusters_keep_the_mean_over_rows_and_cover_it():
    rng, runs = np.random.default_rng(5), 600
    hit, naive = 0, 0
    for _ in range(runs):
        sizes = rng.integers(1, 9, size=40)
        subject = np.repeat(rng.normal(size=40), sizes)
        d = subject + rng.normal(0, 0.5, (5, sizes.sum())) + rng.normal(0, 0.1, (5, 1))
        found = crossed(d, np.repeat(np.arange(40), sizes))
        assert found.value == pytest.approx(d.mean())
        hit += not found.estimate.interval().excludes(0)
        naive += not crossed(d).estimate.interval().excludes(0)
    assert hit / runs > 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs) - 0.015
    assert naive / runs < 0.85


@quick
@given(st.permutations(range(6)), st.permutations(range(3)), st.sampled_from([-1.0, 0.01, 1000.0]))
def test_order_and_units_change_nothing(examples, seeds, factor):
    d = draw(np.random.default_rng(6), 3, 6)
    one, two = crossed(d), crossed(factor * d[list(seeds)][:, list(examples)])
    assert two.shares == pytest.approx(one.shares)
    assert (two.value, two.estimate.error) == pytest.approx((factor * one.value, abs(factor) * one.estimate.error))
    assert two.estimate.p == pytest.approx(one.estimate.p)


def test_differences_that_do_not_vary_have_no_error_and_no_shares():
    found = crossed(np.full((3, 4), 0.1))
    assert (found.estimate.error, found.shares, found.estimate.interval()) == (0.0, None, None)


@pytest.mark.parametrize("bad", [np.ones((1, 5)), np.ones((5, 1)), np.ones(5), np.array([[1, np.nan], [1, 2]])])
def test_what_is_not_seeds_by_examples_is_refused(bad):
    with pytest.raises(TableError, match=r"expected at least two seeds \(rows\) by two examples"):
        crossed(bad)


def test_clusters_that_do_not_fit_are_refused():
    with pytest.raises(TableError, match="found 3 clusters for 4 examples"):
        crossed(np.ones((2, 4)), [1, 2, 3])
    with pytest.raises(TableError, match="found one cluster, s1, for all examples"):
        crossed(np.ones((2, 4)), ["s1"] * 4)
    with pytest.raises(TableError, match="found 2 differences, 1 of them finite, and 2 clusters"):
        cluster_sign_flip(np.array([1.0, np.inf]), [1, 2], rng=np.random.default_rng(0))
    with pytest.raises(TableError, match="expected one each for the same examples"):
        mcnemar(np.array([True]), np.array([True, False]))


@quick
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3))
def test_mid_p_is_the_exact_p_less_the_observed_outcome(won, lost, same):
    first = np.array([True] * won + [False] * lost + [True] * same)
    second = np.array([False] * won + [True] * lost + [True] * same)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.n) == (won, lost, won + lost + same)
    both, fewer = won + lost, min(won, lost)
    if not both:
        assert found.p == 1.0
        return
    exact = statsmodels_mcnemar([[same, won], [lost, 0]], exact=True).pvalue
    expected = 1.0 if won == lost else exact - stats.binom.pmf(fewer, both, 0.5)
    assert found.p == pytest.approx(expected)
    assert found.p == mcnemar(second, first).p
    outcomes = [abs(k - both / 2) for k in range(both + 1)]  # the same from the definition: beyond, and half of equal
    weight = stats.binom.pmf(range(both + 1), both, 0.5)
    beyond = sum(w for o, w in zip(outcomes, weight, strict=True) if o > abs(won - both / 2) + 1e-9)
    equal = sum(w for o, w in zip(outcomes, weight, strict=True) if abs(o - abs(won - both / 2)) < 1e-9)
    assert found.p == pytest.approx(beyond + equal / 2 if won != lost else 1.0)


def test_cluster_sign_flip_is_the_count_over_all_signs_of_clusters():
    d = np.random.default_rng(7).normal(0.3, 1, 20)
    groups = np.arange(20) % 6
    sums = np.array([d[groups == g].sum() for g in range(6)])
    all_sums = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=6)]
    found = cluster_sign_flip(d, groups, rng=np.random.default_rng(0))
    assert found.p == pytest.approx(np.mean([s >= abs(sums.sum()) - 1e-9 for s in all_sums]))
    assert found.difference == pytest.approx(d.mean())
    assert cluster_sign_flip(d[:4], [0, 0, 1, 1], rng=np.random.default_rng(0)) is None


def test_many_clusters_are_drawn_and_follow_their_rng():
    d = np.random.default_rng(8).normal(0.1, 1, 300)
    p = [cluster_sign_flip(d, np.arange(300), rng=np.random.default_rng(s)).p for s in (0, 0, 1)]
    assert p[0] == p[1] != p[2]
    assert p[0] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.02)
