"""The expected best of n against the mean over all subsets."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoombench.harness.errors import TableError
from zoombench.reports.search import best_of_n

quick = settings(max_examples=40, deadline=None)
values = st.lists(st.integers(-20, 20), min_size=1, max_size=8)


@quick
@given(values, st.booleans())
def test_it_is_the_mean_of_the_best_over_all_subsets(scores, up):
    best = max if up else min
    found = best_of_n(np.array(scores, dtype=float), higher_is_better=up)
    for n in range(1, len(scores) + 1):
        subsets = [best(subset) for subset in itertools.combinations(scores, n)]
        assert found.expected[n - 1] == pytest.approx(np.mean(subsets))


def test_one_is_the_mean_all_is_the_best_and_the_curve_climbs():
    scores = np.random.default_rng(0).normal(size=200)
    found = best_of_n(scores)
    assert (found.expected[0], found.expected[-1]) == pytest.approx((scores.mean(), scores.max()))
    assert np.all(np.diff(found.expected) >= -1e-12)
    assert np.isfinite(best_of_n(np.arange(3000.0)).expected).all()


def test_it_is_unbiased_where_drawing_with_replacement_is_too_low():
    rng = np.random.default_rng(1)
    truth = rng.uniform(size=(200_000, 8)).max(axis=1).mean()
    samples = rng.uniform(size=(4000, 8))
    ours = np.mean([best_of_n(sample).expected[7] for sample in samples])
    places = np.arange(1, 9) / 8
    plug_in = np.mean([np.sort(sample) @ (places**8 - (places - 1 / 8) ** 8) for sample in samples])
    assert ours == pytest.approx(truth, abs=0.005)
    assert plug_in < truth - 0.02


def test_a_failed_configuration_counts_as_the_floor():
    found = best_of_n(np.array([0.5, np.nan, 0.7]), floor=0.1)
    assert found.expected == pytest.approx(best_of_n(np.array([0.5, 0.1, 0.7])).expected)
    assert (found.n, found.failed) == (3, 1)
    with pytest.raises(TableError, match="found 1 failed configurations and no floor"):
        best_of_n(np.array([0.5, np.nan]))
    with pytest.raises(TableError, match="found 0 scores"):
        best_of_n(np.array([]))


def test_how_many_configurations_reach_a_score():
    found = best_of_n(np.array([0.1, 0.2, 0.9, 0.3]))
    assert found.needed(0.375) == 1
    assert found.needed(0.6) == 3
    assert found.needed(1.0) is None
    assert best_of_n(np.array([3.0, 1.0]), higher_is_better=False).needed(1.0, higher_is_better=False) == 2
