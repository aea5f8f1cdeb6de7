"""Weights against physical copies, scikit-learn, closed forms and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, jaccard_score

from zoombench.harness.errors import TableError
from zoombench.reports.resamples import average_precision, bootstrap, mean_iou, seeds_and_images

quick = settings(max_examples=40, deadline=None)
answers = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=12)
whole_weights = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@quick
@given(answers, whole_weights)
def test_weighted_average_precision_is_that_of_scikit_learn_and_of_physical_copies(rows, weight):
    scores, hits, image = (np.array(column) for column in zip(*rows, strict=True))
    found = average_precision(scores.astype(float), hits, image, images=4)(np.array([weight], dtype=float))[0]
    copies = np.repeat(np.arange(len(rows)), np.array(weight)[image])
    if not hits[copies].any():
        assert np.isnan(found)
        return
    assert found == pytest.approx(average_precision_score(hits[copies], scores[copies]))
    used = np.array(weight)[image].astype(float)
    assert found == pytest.approx(average_precision_score(hits, scores, sample_weight=used))


def test_true_objects_without_an_answer_lower_the_recall():
    scores, hits, image = np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), np.array([0, 0, 1])
    found = average_precision(scores, hits, image, np.array([2, 2]), images=2)(np.ones((1, 2)))[0]
    assert found == pytest.approx((1 / 1 + 2 / 3) / 4)
    nothing = average_precision(np.array([]), np.array([], bool), np.array([], int), np.array([1, 2]), images=2)
    assert nothing(np.ones((1, 2)))[0] == 0.0


@quick
@given(st.integers(0, 99), whole_weights)
def test_weighted_mean_iou_is_that_of_scikit_learn_on_physical_copies(seed, weight):
    rng = np.random.default_rng(seed)
    truth, answer = rng.integers(0, 3, (4, 10)), rng.integers(0, 3, (4, 10))
    confusions = np.zeros((4, 3, 3))
    np.add.at(confusions, (np.repeat(np.arange(4), 10), truth.ravel(), answer.ravel()), 1)
    found = mean_iou(confusions)(np.array([weight], dtype=float))[0]
    copies = np.repeat(np.arange(4), weight)
    if not len(copies):
        assert np.isnan(found)
        return
    t, a = truth[copies].ravel(), answer[copies].ravel()
    present = sorted(set(t) | set(a))
    assert found == pytest.approx(jaccard_score(t, a, labels=present, average="macro"))


def test_the_bootstrap_of_a_mean_has_its_known_error():
    x = np.random.default_rng(0).normal(size=400)
    found = bootstrap(lambda w: w @ x / 400, 400, rng=np.random.default_rng(1), draws=4000)
    assert found.value == pytest.approx(x.mean())
    assert found.error == pytest.approx(x.std() / 20, rel=0.05)
    assert found.interval.low == pytest.approx(x.mean() - 1.96 * x.std() / 20, abs=0.01)


def test_clusters_are_drawn_whole():
    x = np.repeat(np.random.default_rng(2).normal(size=40), 10)
    groups = np.repeat(np.arange(40), 10)
    whole = bootstrap(lambda w: (w @ x) / w.sum(axis=1), 400, rng=np.random.default_rng(3), clusters=groups)
    apart = bootstrap(lambda w: (w @ x) / w.sum(axis=1), 400, rng=np.random.default_rng(3))
    assert (whole.n, apart.n) == (40, 400)
    assert whole.error == pytest.approx(x.std() / np.sqrt(40), rel=0.08)
    assert apart.error < 0.5 * whole.error


def test_two_runs_see_the_same_weights():
    rng = np.random.default_rng(4)
    scores, hits = rng.normal(size=200), rng.random(200) < 0.5
    one = average_precision(scores + hits, hits, np.arange(200), images=200)
    found = bootstrap(lambda w: one(w) - one(w), 200, rng=np.random.default_rng(0))
    assert (found.value, found.error, found.interval.low) == (0.0, 0.0, 0.0)


def test_the_same_rng_gives_the_same_interval_whatever_the_chunk_and_another_does_not(monkeypatch):
    x = np.random.default_rng(5).normal(size=50)

    def interval(seed):
        return bootstrap(lambda w: w @ x / 50, 50, rng=np.random.default_rng(seed), draws=300).interval

    first = interval(0)
    monkeypatch.setattr("zoombench.reports.resamples.CHUNK", 500)
    assert (first.low, first.high) == pytest.approx((interval(0).low, interval(0).high))
    assert abs(first.low - interval(1).low) > 1e-6


@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_and_images_together_cover_both(seeds):
    rng, runs, hit, images_only = np.random.default_rng(seeds), 250, 0, 0
    for _ in range(runs):
        x = rng.normal(0, 0.15, (seeds, 1)) + rng.normal(size=80) + rng.normal(0, 0.5, (seeds, 80))
        statistics = [lambda w, row=row: w @ row / 80 for row in x]
        hit += not seeds_and_images(statistics, 80, rng=rng, draws=300).interval().excludes(0)
        mean = x.mean(axis=0)
        images_only += not bootstrap(lambda w, m=mean: w @ m / 80, 80, rng=rng, draws=300).interval.excludes(0)
    assert hit / runs > 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs)
    assert images_only <= hit


def test_what_cannot_be_resampled_is_refused():
    rng = np.random.default_rng(0)
    assert seeds_and_images([mean_iou(np.ones((3, 2, 2)))], 3, rng=rng) is None
    with pytest.raises(TableError, match="found 1 independent unit, expected at least two"):
        bootstrap(lambda w: w[:, 0], 1, rng=rng)
    with pytest.raises(TableError, match="found 2 clusters for 3 images"):
        bootstrap(lambda w: w[:, 0], 3, rng=rng, clusters=[1, 2])
    with pytest.raises(TableError, match="resamples in which the metric is not defined"):
        bootstrap(average_precision(np.arange(9.0), np.arange(9) == 4, np.arange(9), images=9), 9, rng=rng)
    with pytest.raises(TableError, match=r"expected counts \(images, classes, classes\)"):
        mean_iou(np.ones((3, 2)))
    with pytest.raises(TableError, match="expected one finite score, hit and image"):
        average_precision(np.array([np.nan]), np.array([True]), np.array([0]), images=1)
    with pytest.raises(TableError, match="found image 7 of 2, expected numbers from 0 to 1"):
        average_precision(np.array([0.5]), np.array([True]), np.array([7]), images=2)
