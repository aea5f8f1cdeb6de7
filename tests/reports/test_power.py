"""Detectable differences against the reference table, simulation and, where it is right, statsmodels."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from zoombench.reports.power import detectable, power_of, seeds_needed

SEEDS = (3, 4, 5, 6, 8, 10, 15, 20, 30)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.05, (3.26, 2.13, 1.68, 1.43, 1.16, 1.00, 0.78, 0.66, 0.53)),
        (0.05 / 19, (14.28, 5.84, 3.73, 2.82, 2.01, 1.63, 1.19, 0.98, 0.76)),
    ],
)
def test_detectable_differences_are_those_of_the_reference_table(alpha, expected):
    # From R: power.t.test(n, power = .8, sig.level = alpha, type = "paired"), and Monte Carlo.
    assert [round(detectable(n, alpha), 2) for n in SEEDS] == list(expected)


@pytest.mark.parametrize(("alpha", "expected"), [(0.05, (34, 15, 10, 6, 5)), (0.05 / 19, (64, 28, 20, 12, 9))])
def test_seeds_needed_are_those_of_the_reference_table(alpha, expected):
    assert tuple(seeds_needed(size, alpha) for size in (0.5, 0.8, 1.0, 1.5, 2.0)) == expected


def test_power_agrees_with_statsmodels_where_statsmodels_is_right():
    assert power_of(0.6, 20, 0.05) == pytest.approx(TTestPower().power(0.6, 20, 0.05), abs=1e-6)


def test_power_agrees_with_simulation_where_statsmodels_is_wrong():
    rng = np.random.default_rng(3)
    p = stats.ttest_1samp(rng.normal(14.28, 1, size=(4000, 3)), 0.0, axis=1).pvalue
    assert np.mean(p < 0.05 / 19) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000))


def test_the_power_of_no_difference_is_alpha():
    assert power_of(0.0, 5, 0.01) == pytest.approx(0.01, rel=1e-6)


def test_nothing_is_promised_for_one_seed_or_for_no_difference():
    assert detectable(1, 0.05) is None
    assert seeds_needed(0.0, 0.05) is None
    assert seeds_needed(1e-6, 0.05) is None
