"""Both scopes over data sets against scipy, statsmodels, brute force and simulation."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.meta_analysis import combine_effects

from zoombench.harness.errors import TableError
from zoombench.reports.across import (
    iman_davenport,
    log_error,
    new_data_set,
    normalised,
    these_data_sets,
)
from zoombench.reports.statistics import holm, signed_rank

quick = settings(max_examples=30, deadline=None)
tables = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 6), st.integers(2, 5)), elements=st.integers(0, 4), fill=st.nothing()
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_one_data_set_is_the_paired_t_test():
    d = rng().normal(0.3, 1, 6)
    found = these_data_sets([d], rng=rng())
    assert found.estimate.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    assert found.estimate.df == 5


def test_two_data_sets_are_welch_with_the_second_turned_around():
    # mean(a)/2 + mean(b)/2 has the t statistic and degrees of freedom of Welch's test of a against -b.
    a, b = rng(1).normal(0.2, 1, 5), rng(2).normal(0.4, 3, 8)
    theirs = stats.ttest_ind(a, -b, equal_var=False)
    found = these_data_sets([a, b], rng=rng()).estimate
    assert (found.p, found.df) == pytest.approx((theirs.pvalue, theirs.df))


def test_the_stratified_error_is_that_of_a_fixed_effects_sum():
    strata = [rng(seed).normal(0.1 * seed, seed + 1, 4 + seed) for seed in range(4)]
    found = these_data_sets(strata, rng=rng()).estimate
    assert found.value == pytest.approx(sum(d.mean() for d in strata) / 4)
    assert found.error == pytest.approx(np.sqrt(sum(d.var(ddof=1) / len(d) for d in strata)) / 4)


def test_the_stratified_sign_flip_is_the_count_over_all_signs():
    strata = [rng(1).normal(0.5, 1, 3), rng(2).normal(0.2, 1, 4), rng(3).normal(0.6, 1, 2)]
    weighted = np.concatenate([d / len(d) for d in strata])
    sums = [abs(np.dot(signs, weighted)) for signs in itertools.product((-1, 1), repeat=9)]
    found = these_data_sets(strata, rng=rng())
    assert found.p_sign_flip == pytest.approx(np.mean([s >= abs(weighted.sum()) - 1e-12 for s in sums]))
    assert found.p_sign_flip_floor == 2 / 2**9


def test_drawn_flips_are_near_the_exact_ones_and_follow_their_rng():
    d = rng(4).normal(0.35, 1, 26)
    exact = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=50_000, rng=np.random.default_rng(9)
    ).pvalue
    one, same, other = (these_data_sets([d[:13], d[13:]], rng=rng(s)).p_sign_flip for s in (0, 0, 1))
    assert one == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))
    assert one == same
    assert one != other
    assert these_data_sets([np.ones(15)] * 2, rng=rng()).p_sign_flip == 1 / 10_001


@pytest.mark.parametrize(("count", "seeds"), [(1, 3), (2, 3), (4, 5), (8, 10)])
def test_the_stratified_t_interval_covers_95_percent(count, seeds):
    draw, runs = rng(seeds), 3000
    scale = np.array([1.0, 3.0, 0.5, 1.5, 1.0, 2.0, 1.0, 0.3])[:count, None]
    x = draw.normal(size=(runs, count, seeds)) * scale
    covered = [not these_data_sets(list(run), rng=draw, flips=1).estimate.interval().excludes(0) for run in x]
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / runs) + 0.005)


@pytest.mark.parametrize(("count", "seeds"), [(1, 3), (1, 5), (1, 10), (2, 5), (4, 10)])  # of one: paired t
def test_the_family_of_19_methods_with_one_reference_errs_at_most_5_percent(count, seeds):
    draw, runs = rng(10 * count + seeds), 400
    scores = draw.normal(size=(runs, 20, count, seeds))
    wrong = 0
    for run in scores:
        found = [these_data_sets(list(run[method] - run[0]), rng=draw, flips=1).estimate.p for method in range(1, 20)]
        wrong += min(holm(found, 19)) < 0.05
    assert wrong / runs < 0.05 + 4 * np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("count", [3, 5, 8])
def test_the_new_data_set_interval_covers_where_pooled_pairs_do_not(count):
    draw, runs = rng(count), 3000
    means = draw.normal(0, 1, size=(runs, count))  # methods really interact with data sets
    pairs = means[:, :, None] + draw.normal(0, 0.3, size=(runs, count, 5))
    error = 4 * np.sqrt(0.95 * 0.05 / runs)
    found = [new_data_set(run.mean(axis=1)) for run in pairs]
    assert np.mean([not one.estimate.interval().excludes(0) for one in found]) == pytest.approx(0.95, abs=error)
    one_more = draw.normal(size=runs) + draw.normal(0, 0.3 / np.sqrt(5), size=runs)
    inside = [not one.prediction.excludes(point) for one, point in zip(found, one_more, strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=error)
    pooled = stats.ttest_1samp(pairs.reshape(runs, -1), 0, axis=1).pvalue < 0.05
    assert pooled.mean() > 0.2


def test_the_new_data_set_t_is_that_of_statsmodels_with_equal_variances():
    # With equal variances within, the Hartung-Knapp t of a meta-analysis is the plain t on the means.
    means = np.array([0.1, 0.4, 0.3, 0.25, 0.6])
    theirs = combine_effects(means, np.full(5, 1e-8), method_re="dl", use_t=True)
    low, high = theirs.conf_int()[3]
    mine = new_data_set(means).estimate.interval()
    assert (mine.low, mine.high) == pytest.approx((low, high), rel=1e-5)


def test_few_data_sets_say_what_they_cannot_support():
    found = new_data_set(np.array([0.1, 0.2, 0.3]))
    assert (found.floor, found.p_signed_rank) == (0.25, 0.25)
    assert found.caution.startswith("3 data sets cannot support a distribution-free claim about new data sets")
    two = new_data_set(np.array([0.1, 0.2]))
    assert (two.estimate, two.prediction, two.p_signed_rank) == (None, None, None)
    assert new_data_set(np.array([])).floor == 1.0
    assert new_data_set(np.full(6, 0.1)).prediction is None
    assert new_data_set(np.arange(6.0)).caution == ""


@quick
@given(st.lists(st.integers(-4, 4), min_size=3, max_size=9))
def test_the_signed_rank_test_is_exact_with_ties_and_zeros(values):
    d = np.array(values, dtype=float)
    ranks = stats.rankdata(np.abs(d)) * (d != 0)  # Pratt: zeros are ranked, then dropped
    observed = abs((ranks * np.sign(d)).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=len(d))]
    assert signed_rank(d) == pytest.approx(np.mean([s >= observed - 1e-9 for s in sums]))


@quick
@given(tables)
def test_iman_davenport_is_scipys_friedman_and_statsmodels_anova_of_ranks(scores):
    n, k = scores.shape
    found = iman_davenport(scores)
    if found is None or np.isinf(found.statistic):
        return
    ranks = stats.rankdata(-scores, axis=1)
    frame = pd.DataFrame(
        [(d, m, ranks[d, m]) for d in range(n) for m in range(k)], columns=["data_set", "method", "rank"]
    )
    theirs = AnovaRM(frame, "rank", "data_set", within=["method"]).fit().anova_table
    assert found.statistic == pytest.approx(theirs["F Value"].iloc[0])
    assert found.p == pytest.approx(theirs["Pr > F"].iloc[0])
    if k > 2:
        chi2 = stats.friedmanchisquare(*scores.T).statistic
        assert found.statistic == pytest.approx((n - 1) * chi2 / (n * (k - 1) - chi2))


def test_full_agreement_of_ranks_has_the_exact_p_of_counting():
    found = iman_davenport(np.array([[3.0, 2, 1]] * 3))
    orders = list(itertools.permutations((1, 2, 3)))
    agree = [a == b == c for a in orders for b in orders for c in orders]
    assert found.p == pytest.approx(np.mean(agree)) == pytest.approx(1 / 36)
    assert found.mean_ranks == (1.0, 2.0, 3.0)


def test_iman_davenport_keeps_its_error_rate():
    draw, runs = rng(7), 1500
    p = [iman_davenport(draw.normal(size=(5, 6))).p for _ in range(runs)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs) + 0.005)


def test_a_failure_ranks_last_and_two_share_it():
    found = iman_davenport(np.array([[0.5, np.nan, np.nan, 0.2], [0.5, 0.1, 0.2, 0.4], [0.5, 0.3, 0.2, 0.4]]))
    assert found.mean_ranks == pytest.approx((1.0, (3.5 + 4 + 3) / 3, (3.5 + 3 + 4) / 3, (2 + 2 + 2) / 3))


def test_nothing_to_rank_is_no_omnibus():
    assert iman_davenport(np.ones((4, 3))) is None
    assert iman_davenport(np.ones((1, 3))) is None
    assert iman_davenport(np.array([[1.0, 1, 2]] * 3)) is None  # full agreement with ties has no exact p here


@quick
@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=6), st.floats(0.1, 100))
def test_the_log_error_ratio_has_no_unit_and_turns_with_the_methods(errors, factor):
    a, b = np.array(errors), np.array(errors[::-1])
    ratio = log_error(a) - log_error(b)
    assert ratio == pytest.approx(np.log(b / a))
    assert log_error(factor * a) - log_error(factor * b) == pytest.approx(ratio, abs=1e-9)


def test_an_error_of_zero_has_no_ratio_and_normalised_scores_run_either_way():
    with pytest.raises(TableError, match="found an error of 0, expected finite errors above zero"):
        log_error(np.array([0.1, 0.0]))
    assert normalised(np.array([0.1, 0.55]), floor=0.1, ceiling=1.0) == pytest.approx([0.0, 0.5])
    assert normalised(np.array([6.0, 0.0]), floor=6.0, ceiling=0.0) == pytest.approx([0.0, 1.0])
    with pytest.raises(TableError, match="found floor 1 and ceiling 1"):
        normalised(np.array([1.0]), floor=1.0, ceiling=1.0)


def test_a_data_set_with_one_pair_has_no_spread():
    assert these_data_sets([np.array([0.1, 0.2]), np.array([0.1])], rng=rng()) is None
    assert these_data_sets([], rng=rng()) is None


@quick
@given(st.permutations(range(4)))
def test_the_order_of_data_sets_and_seeds_changes_nothing(order):
    strata = [rng(seed).normal(0.2, 1, 9) for seed in range(4)]
    one = these_data_sets(strata, rng=rng())
    two = these_data_sets([strata[place][::-1] for place in order], rng=rng())
    assert (one.estimate.value, one.estimate.error) == pytest.approx((two.estimate.value, two.estimate.error))
    assert one.p_sign_flip == pytest.approx(two.p_sign_flip)
