"""Student's t for each design, against scipy, statsmodels, the textbook formula and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from statsmodels.stats.weightstats import ttest_ind as statsmodels_welch
from statsmodels.stats.weightstats import ttost_paired

from zoombench.harness.errors import TableError
from zoombench.reports.estimates import Estimate, combined, corrected_resampled, paired, standardised, welch

quick = settings(max_examples=40, deadline=None)
samples = arrays.arrays(np.float64, st.integers(3, 9), elements=st.integers(-50, 50))


@quick
@given(samples)
def test_paired_is_the_one_sample_t_test_of_scipy(d):
    mine = paired(d)
    if np.ptp(d) == 0:
        assert (mine.error, mine.interval()) == (0.0, None)
        return
    theirs = stats.ttest_1samp(d, 0.0)
    low, high = theirs.confidence_interval(0.95)
    assert mine.p == pytest.approx(theirs.pvalue)
    assert (mine.interval().low, mine.interval().high) == pytest.approx((low, high))
    assert mine.p_above(1.5) == pytest.approx(stats.ttest_1samp(d, 1.5, alternative="greater").pvalue)
    assert mine.p_below(1.5) == pytest.approx(stats.ttest_1samp(d, 1.5, alternative="less").pvalue)
    assert mine.lower(0.9) == pytest.approx(
        stats.ttest_1samp(d, 0.0, alternative="greater").confidence_interval(0.9).low
    )
    assert mine.upper(0.9) == pytest.approx(stats.ttest_1samp(d, 0.0, alternative="less").confidence_interval(0.9).high)


@quick
@given(samples, samples)
def test_welch_is_that_of_scipy_and_statsmodels(a, b):
    mine = welch(a, b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:  # scipy warns
        assert (mine.error == 0) == (np.ptp(a) == np.ptp(b))
        return
    theirs = stats.ttest_ind(a, b, equal_var=False)
    low, high = theirs.confidence_interval(0.95)
    assert (mine.p, mine.df) == pytest.approx((theirs.pvalue, theirs.df))
    assert (mine.interval().low, mine.interval().high) == pytest.approx((low, high))
    assert mine.p == pytest.approx(statsmodels_welch(a, b, usevar="unequal")[1])


@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
def test_equivalence_is_that_of_statsmodels_and_of_the_90_percent_interval(margin):
    rng = np.random.default_rng(0)
    for n in (3, 5, 10):
        d = rng.normal(0.1, 0.4, n)
        mine = paired(d)
        assert mine.p_equivalent(margin) == pytest.approx(ttost_paired(d, np.zeros(n), -margin, margin)[0])
        assert (mine.p_equivalent(margin) < 0.05) == mine.interval(0.9).within(margin)


def test_the_corrected_resampled_test_is_its_formula_and_widens_the_plain_one():
    d = np.random.default_rng(1).normal(0.3, 1, 10)
    mine = corrected_resampled(d, n_train=900, n_test=100)
    t = d.mean() / np.sqrt((1 / 10 + 100 / 900) * d.var(ddof=1))  # Nadeau and Bengio 2003
    assert mine.p == pytest.approx(2 * stats.t.sf(abs(t), 9))
    assert mine.error > paired(d).error
    assert corrected_resampled(d, n_train=10**9, n_test=1).error == pytest.approx(paired(d).error)


def test_the_corrected_resampled_interval_covers_where_splits_overlap():
    # Differences with correlation n_test / (n_test + n_train) between any two seeds, which is what the method assumes.
    rng, n, runs, rho = np.random.default_rng(2), 10, 2000, 0.2
    d = np.sqrt(rho) * rng.normal(size=(runs, 1)) + np.sqrt(1 - rho) * rng.normal(size=(runs, n))
    corrected = np.mean([not corrected_resampled(row, n_train=80, n_test=20).interval().excludes(0) for row in d])
    plain = np.mean([not paired(row).interval().excludes(0) for row in d])
    assert corrected == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / runs))
    assert plain < 0.8


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_and_equivalence_errs_as_promised(n):
    rng, runs = np.random.default_rng(n), 3000
    x, error = rng.normal(size=(runs, n)), 4 * np.sqrt(0.95 * 0.05 / 3000)
    y = rng.normal(0, 3, size=(runs, n + 2))
    assert np.mean([not paired(row).interval().excludes(0) for row in x]) == pytest.approx(0.95, abs=error)
    unpaired = np.mean([not welch(a, b).interval().excludes(0) for a, b in zip(x, y, strict=True)])
    assert unpaired == pytest.approx(0.95, abs=error + 0.01)  # Welch is approximate
    at_the_margin = np.mean([paired(row + 1.0).p_equivalent(1.0) < 0.05 for row in x])
    assert at_the_margin < 0.05 + error


def test_the_standardised_size_is_hedges_and_unbiased():
    rng = np.random.default_rng(3)
    draws = rng.normal(0.8, 1, size=(20_000, 5))
    assert np.mean([standardised(row) for row in draws]) == pytest.approx(0.8, abs=0.02)
    d = np.array([1.0, 2, 4])
    assert standardised(d) == pytest.approx(d.mean() / d.std(ddof=1) / np.sqrt(np.pi))  # J = Gamma(1) / Gamma(1/2)
    assert standardised(np.ones(4)) is None
    assert standardised(np.array([1.0, 2])) is None


@quick
@given(samples, samples, st.sampled_from([1e-9, 0.01, 1000.0]))
def test_other_units_change_no_p_and_scale_every_bound(a, b, factor):
    one, two = welch(a, b), welch(factor * a, factor * b)
    if one.error:
        assert (two.p, two.df) == pytest.approx((one.p, one.df))
        assert two.interval().low == pytest.approx(factor * one.interval().low, abs=1e-9 * factor)


def test_without_spread_nothing_is_claimed():
    same = paired(np.full(5, 0.1))
    assert (same.value, same.error) == (pytest.approx(0.1), 0.0)
    assert (same.p, same.interval(), same.p_above(0), same.p_below(0), same.p_equivalent(1)) == (None,) * 5
    assert (same.lower(), same.upper()) == (same.value, same.value)
    assert paired(np.zeros(3)).p == 1.0
    assert combined(1.0, np.zeros(2), np.ones(2)).error == 0.0


def test_too_little_is_no_estimate_and_nonsense_is_refused():
    one, some = np.array([1.0]), np.array([1.0, 2.0, 4.0])
    assert (paired(one), welch(one, some), welch(some, one)) == (None, None, None)
    assert corrected_resampled(one, n_train=1, n_test=1) is None
    with pytest.raises(TableError, match="found 0 training and 5 test examples"):
        corrected_resampled(some, n_train=0, n_test=5)
    with pytest.raises(TableError, match="found margin 0, expected a positive number"):
        Estimate(0.0, 1.0, 3).p_equivalent(0.0)
