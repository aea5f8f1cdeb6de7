"""Interquartile mean, ranks and cliques against scipy, scikit-posthocs and a loop."""

import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoombench.harness.errors import TableError
from zoombench.reports.aggregates import interquartile_means, leave_one_out, ranks, too_few

quick = settings(max_examples=20, deadline=None)


def scores(methods=4, data_sets=3, seeds=5, seed=0):
    return np.random.default_rng(seed).normal(size=(methods, data_sets, seeds))


@quick
@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 99))
def test_the_interquartile_mean_is_scipys_trimmed_mean(data_sets, seeds, seed):
    x = scores(2, data_sets, seeds, seed)
    found = interquartile_means(x, rng=np.random.default_rng(0), draws=10)
    assert [one.value for one in found] == pytest.approx([stats.trim_mean(m, 0.25, axis=None) for m in x])


def test_its_interval_is_that_of_a_loop_over_resamples():
    x, draws = scores(), 400
    found = interquartile_means(x, rng=np.random.default_rng(0), draws=draws)
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 5, size=(3, 5, draws))
    for method, one in enumerate(found):
        values = [
            stats.trim_mean(np.concatenate([x[method, d][picks[d, :, b]] for d in range(3)]), 0.25)
            for b in range(draws)
        ]
        assert (one.interval.low, one.interval.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_more_than_255_values_are_counted_too():
    x = scores(1, 20, 15)
    found = interquartile_means(x, rng=np.random.default_rng(0), draws=200)[0]
    assert found.value == pytest.approx(stats.trim_mean(x[0], 0.25, axis=None))
    assert found.interval.low < found.value < found.interval.high


def test_the_same_rng_gives_the_same_interval_and_company_does_not_matter():
    x = scores()
    one, same, other = (interquartile_means(x, rng=np.random.default_rng(s), draws=500) for s in (0, 0, 1))
    assert one == same != other
    assert interquartile_means(x[:2], rng=np.random.default_rng(0), draws=500) == one[:2]


def test_a_method_that_fails_on_few_data_sets_can_have_the_same_interquartile_mean():
    x = np.repeat([[[0.5], [0.6], [0.7], [0.8]]], 5, axis=2)
    worse = x.copy()
    worse[0, 0] -= 0.3  # one of four data sets, 30 points worse
    one, two = (interquartile_means(y, rng=np.random.default_rng(0), draws=10)[0].value for y in (x, worse))
    assert one == two
    assert "would drop whole data sets" in too_few(4)
    assert too_few(10) == ""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ranks_and_holm_are_those_of_scikit_posthocs(seed):
    x = np.random.default_rng(seed).normal(size=(12, 5)) + np.array([0, 0.4, 0.8, 1.6, 3.0])
    found = ranks(x)
    assert found.mean_ranks == pytest.approx(stats.rankdata(-x, axis=1).mean(axis=0))
    theirs = scikit_posthocs.posthoc_wilcoxon(list(x.T), zero_method="pratt", p_adjust="holm").to_numpy()
    assert np.array(found.p_holm) == pytest.approx(theirs)


def test_the_critical_difference_is_where_nemenyi_reaches_alpha():
    found = ranks(np.random.default_rng(3).normal(size=(10, 6)))
    z = found.critical_difference / np.sqrt(6 * 7 / (6 * 10))
    assert stats.studentized_range.sf(z * np.sqrt(2), 6, np.inf) == pytest.approx(0.05)
    assert found.critical_difference == pytest.approx(2.850 * np.sqrt(6 * 7 / 60), abs=1e-3)  # Demsar 2006, table 5


def test_cliques_are_neighbours_that_nothing_tells_apart():
    x = np.random.default_rng(4).normal(0, 0.1, size=(14, 5)) + np.array([5.0, 0.0, 0.01, 3.0, 3.01])
    found = ranks(x)
    assert {frozenset(c) for c in found.cliques} == {frozenset({1, 2}), frozenset({3, 4})}
    for clique in found.cliques:
        for i in clique:
            assert all(found.p_holm[i][j] >= 0.05 for j in clique)
    apart = ranks(np.random.default_rng(5).normal(0, 0.1, size=(14, 3)) + np.array([0.0, 5, 9]))
    assert apart.cliques == ()


@quick
@given(st.permutations(range(5)))
def test_the_order_of_methods_moves_ranks_and_cliques_with_them(order):
    x = np.random.default_rng(6).normal(size=(12, 5)) + np.array([0, 0.4, 0.8, 1.6, 3.0])
    one, two = ranks(x), ranks(x[:, list(order)])
    assert two.mean_ranks == pytest.approx([one.mean_ranks[place] for place in order])
    assert {frozenset(order[i] for i in c) for c in two.cliques} == {frozenset(c) for c in one.cliques}


def test_leaving_one_out_is_a_loop():
    means = np.array([0.1, 0.5, 0.2, -0.3])
    rest = [np.delete(means, i).mean() for i in range(4)]
    found = leave_one_out(means)
    assert (found.low, found.high) == pytest.approx((min(rest), max(rest)))
    assert leave_one_out(means[:1]) is None


def test_gaps_and_few_data_sets_are_refused():
    gap = scores()
    gap[0, 0, 0] = np.nan
    with pytest.raises(TableError, match="with 1 gaps"):
        interquartile_means(gap, rng=np.random.default_rng(0))
    with pytest.raises(TableError, match="found 9 data sets, 3 methods and 0 gaps"):
        ranks(np.random.default_rng(0).normal(size=(9, 3)))
