"""Latency over processes and quantiles by order statistics, against scipy and simulation."""

import numpy as np
import pytest
from scipy import stats

from zoombench.harness.errors import TableError
from zoombench.reports.latency import latency, latency_ratio, quantile_interval


@pytest.mark.parametrize("n", [5, 64, 100, 662])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_order_statistics_are_those_of_scipy(n, quantile):
    values = np.random.default_rng(n).gamma(3, size=n)
    mine = quantile_interval(values, quantile)
    low, high = stats.quantile_test(values, p=quantile).confidence_interval(0.95)
    assert mine.low == (None if np.isnan(low) else low)
    assert mine.high == (None if np.isnan(high) else high)


def test_the_99th_percentile_of_100_calls_has_no_upper_bound():
    assert quantile_interval(np.arange(1.0, 101), 0.99).high is None
    assert quantile_interval(np.arange(1.0, 663), 0.99).high is not None
    ninety = quantile_interval(np.arange(1.0, 101), 0.9)
    assert (ninety.low, ninety.high) == (84, 96)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_over_processes_covers_where_one_over_calls_does_not(n):
    rng, runs, hit, calls_hit = np.random.default_rng(n), 1000, 0, 0
    for _ in range(runs):
        processes = [np.exp(rng.normal(1 + level, 0.05, 30)) for level in rng.normal(0, 0.1, n)]
        hit += not latency(processes).interval.excludes(np.e)
        logs = np.log(np.concatenate(processes))
        calls_hit += stats.ttest_1samp(logs, 1.0).pvalue >= 0.05
    assert hit / runs == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / runs))
    assert calls_hit / runs < 0.7


def test_alternating_runs_cancel_what_they_share():
    rng = np.random.default_rng(1)
    machine = rng.normal(0, 0.5, 6)
    a, b = np.exp(machine + rng.normal(0.1, 0.01, 6)), np.exp(machine)
    found, theirs = latency_ratio(a, b), stats.ttest_rel(np.log(a), np.log(b))
    assert found.p == pytest.approx(theirs.pvalue)
    assert np.exp(found.value) == pytest.approx(np.exp(0.1), rel=0.02)


def test_few_processes_have_no_interval_and_nonsense_is_refused():
    found = latency([np.array([1.0, 2, 3]), np.array([2.0, 4])])
    assert (found.interval, found.processes, found.calls) == (None, 2, 2)
    assert found.value == pytest.approx(np.sqrt(6))
    for bad in ([], [np.array([])], [np.array([1.0, 0.0])], [np.array([np.nan])]):
        with pytest.raises(TableError, match="found a process without timed calls"):
            latency(bad)
    with pytest.raises(TableError, match="found 2 and 1 processes, expected pairs"):
        latency_ratio(np.ones(2), np.ones(1))
