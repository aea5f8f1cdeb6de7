"""Latency over processes and quantiles by order statistics, against scipy and simulation."""

import numpy as np
import pytest
from scipy import stats

from zoombench.harness.errors import TableError
from zoombench.reports.cautions import cautions
from zoombench.reports.claims import cells
from zoombench.reports.latency import by_process, latency, latency_ratio, quantile_interval
from zoombench.reports.page import About, render
from zoombench.reports.table import from_rows
from zoombench.reports.trade_off_claims import trade_offs
from zoombench.tests.reports.conftest import row


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


def test_values_made_up_for_a_profile_have_its_mean_and_its_interval():
    made = by_process(2.0, 1.6, 2.5, 5)
    assert len(made) == 5
    assert np.exp(np.log(made).mean()) == pytest.approx(2)
    interval = latency([np.array([one]) for one in made]).interval
    assert (interval.low, interval.high) == pytest.approx((2 / 1.25, 2 * 1.25))


def profiled(method, value, half, **other):
    """Three trials of one method, all with the columns of one profile of five processes."""
    ends = {"latency_ms_p50_low": value / half, "latency_ms_p50_high": value * half}
    columns = {"latency_ms_p50": value, "latency_source": "profile", "latency_processes": 5, "latency_drift": 0.01}
    scores = {"old": (0.5, 0.51, 0.52), "new": (0.5, 0.52, 0.52)}[method]
    return [row(method, seed, score, **columns | ends | other) for seed, score in enumerate(scores)]


def test_the_interval_of_a_profile_is_over_its_processes_and_not_over_trials_that_copy_it():
    found = cells(from_rows([*profiled("old", 4.0, 1.25), *profiled("new", 2.0, 1.1)]), "old")[0]
    interval = found.entry("old").cost.intervals["latency_ms_p50"]
    assert (interval.low, interval.high) == pytest.approx((3.2, 5.0))
    assert found.entry("old").cost.profiled


def test_the_energy_of_a_profile_is_one_measurement_however_many_trials_copy_it():
    of_profile = cells(from_rows(profiled("old", 4.0, 1.25, energy_j=2.0)), "old")[0].entry("old").cost
    assert (of_profile.energy_j, "energy_j" in of_profile.intervals) == (2.0, False)
    own = [one | {"energy_j": 2.0 + i, "latency_source": "trial"} for i, one in enumerate(profiled("old", 4.0, 1.25))]
    assert "energy_j" in cells(from_rows(own), "old")[0].entry("old").cost.intervals


def test_cheaper_is_tested_over_the_processes_of_a_profile():
    claims = {}
    for half in (1.01, 3.0):
        table = from_rows([*profiled("old", 4.0, half), *profiled("new", 2.0, half)])
        claims[half] = trade_offs(table, cells(table, "old", {"accuracy": 0.1}), "latency_ms_p50")[0].claims[0]
    logs = np.log(by_process(2.0, 2 / 3, 6.0, 5)), np.log(by_process(4.0, 4 / 3, 12.0, 5))
    theirs = stats.ttest_ind(*logs, equal_var=False, alternative="less").pvalue
    assert claims[1.01].trade_off.p < 0.01
    assert theirs > 0.1
    assert claims[3.0].trade_off.p == pytest.approx(theirs), "though the copies on all trials are equal"


def caution(rows):
    table = from_rows(rows)
    return " ".join(cautions(table, cells(table, "old")))


def test_the_page_warns_of_latencies_that_do_not_compare():
    old, new = profiled("old", 4.0, 1.1), profiled("new", 2.0, 1.1)
    assert "atencies" not in caution([*old, *new])
    beside = [one | {"latency_source": "trial"} for one in new]
    assert "(of a profile: old; of a trial: new)" in caution([*old, *beside])
    assert "under different conditions: bf16; float32." in caution(
        [*(one | {"latency_conditions": "float32"} for one in old), *profiled("new", 2, 2, latency_conditions="bf16")]
    )
    other = profiled("new", 2.0, 1.1, latency_device="a cpu", device="a gpu")
    told = caution([*old, *other])
    assert "Latency and memory of new on digits, small were profiled on a cpu, and the trials ran on a gpu" in told
    for unknown in ({}, {"latency_device": "x", "device": ""}, {"latency_device": "x", "device": "x"}):
        assert "were profiled on" not in caution([*old, *profiled("new", 2.0, 1.1, **unknown)])
    assert "while it measured new on digits, small" in caution([*old, *profiled("new", 2.0, 1.1, latency_drift=0.031)])


def test_the_page_says_why_a_number_of_operations_is_absent():
    said = caution([*profiled("old", 4.0, 1.1), *profiled("new", 2.0, 1.1, gflops_refused="no formula for x.y")])
    assert said.count("No GFLOPs of new on digits, small: no formula for x.y.") == 1


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({}, "Latency was measured alone, by <code>zoombench profile</code> (float32)"),
        ({"latency_source": "trial"}, "Where a profile is named, latency was measured alone (float32)"),
    ],
)
def test_the_page_says_where_latency_comes_from(others, words):
    told = {"latency_ms_p99": 9.0, "latency_ms_p99_low": 7.0, "latency_conditions": "float32"}
    made = from_rows([*profiled("old", 4.0, 1.25, **told), *profiled("new", 2.0, 1.1, **told | others)])
    page = render(made, About(sweep="s", reference="old", command="c", resolved="", versions={}, commit=""))
    assert words in page
    assert "4 [3.2, 5]" in page
    assert "9 [7, no upper end]" in page
    assert "profile, 5 processes" in page
