"""Calibration against scikit-learn, plain loops and what is known of calibrated answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from zoombench.harness.errors import TableError
from zoombench.reports.calibration import of_answers, of_classes

quick = settings(max_examples=40, deadline=None)


def answers(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.3, 1, n)
    return p, rng.random(n) < p


def test_brier_and_log_loss_are_those_of_scikit_learn():
    p, hit = answers()
    found = of_answers(p, hit)
    assert found.brier == pytest.approx(brier_score_loss(hit, p))
    assert found.nll == pytest.approx(log_loss(hit, p))
    rng = np.random.default_rng(1)
    classes = rng.dirichlet(np.ones(4), size=300)
    target = rng.integers(0, 4, 300)
    found = of_classes(classes, target)
    assert found.nll == pytest.approx(log_loss(target, classes, labels=range(4)))
    assert found.brier == pytest.approx(np.mean(((classes - np.eye(4)[target]) ** 2).sum(axis=1)))


def test_equal_mass_bins_are_sorted_slices():
    p, hit = answers(900)
    found = of_answers(p, hit, bins=9)
    order = np.argsort(p)
    slices = order.reshape(9, 100)
    assert [b.n for b in found.bins] == [100] * 9
    assert [b.confidence for b in found.bins] == pytest.approx(p[slices].mean(axis=1).tolist())
    assert [b.accuracy for b in found.bins] == pytest.approx(hit[slices].mean(axis=1).tolist())
    assert found.ece == pytest.approx(np.abs(p[slices].mean(axis=1) - hit[slices].mean(axis=1)).mean())


def test_calibrated_answers_have_little_error_and_overconfident_ones_much():
    p, hit = answers(50_000)
    assert of_answers(p, hit).ece < 0.01
    assert of_answers(np.minimum(p + 0.2, 1), hit).ece > 0.1


@quick
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_the_order_of_examples_changes_nothing_even_where_confidences_tie(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, two = (
        of_answers(np.array([p / 4 for p, _ in some]), np.array([hit for _, hit in some]), bins=4)
        for some in (rows, shuffled)
    )
    assert (one.ece, one.brier, one.nll) == pytest.approx((two.ece, two.brier, two.nll))
    assert [b.n for b in one.bins] == [b.n for b in two.bins]
    assert sum(b.n for b in one.bins) == len(rows)


def test_a_probability_of_zero_for_what_happened_stays_finite():
    assert np.isfinite(of_answers(np.array([1.0, 0.9]), np.array([False, True])).nll)


def test_what_are_no_probabilities_is_refused():
    with pytest.raises(TableError, match="Pass probabilities, not logits"):
        of_answers(np.array([2.0]), np.array([True]))
    with pytest.raises(TableError, match="nan or outside"):
        of_classes(np.array([[np.nan, 1.0]]), np.array([0]))
    with pytest.raises(TableError, match="expected one of each per example"):
        of_answers(np.array([0.5]), np.array([True, False]))
    with pytest.raises(TableError, match="expected rows that sum to one"):
        of_classes(np.array([[0.5, 0.4]]), np.array([0]))
    with pytest.raises(TableError, match="found target 2 for 2 classes"):
        of_classes(np.array([[0.5, 0.5]]), np.array([2]))
