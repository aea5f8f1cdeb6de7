"""Metrics that are not means of examples: average precision and mean IoU, resampled through weights.

Drawing images with replacement is giving each a whole-number weight, so nothing is copied and nothing sorted again. A
statistic here is a function from weights (draws, images) to values (draws,). Images are the independent unit; where
subjects or scenes are, their images are drawn together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..harness.errors import TableError
from .estimates import Estimate, combined, paired
from .statistics import ALPHA, FloatArray, Interval

Statistic = Callable[[FloatArray], FloatArray]
DRAWS = 2000
CHUNK = 2_000_000
"""Numbers held at once."""


@dataclass(frozen=True)
class Resampled:
    """A statistic under resampled images. Scope: these checkpoints, new test images; seeds are not in it."""

    value: float
    error: float
    """Standard deviation over the resamples."""
    interval: Interval
    """Percentile interval; for tens of images and more."""
    n: int
    """Independent units that were drawn."""
    draws: int


def bootstrap(
    statistic: Statistic,
    images: int,
    *,
    rng: np.random.Generator,
    clusters: npt.ArrayLike | None = None,
    draws: int = DRAWS,
    alpha: float = ALPHA,
) -> Resampled:
    """Resample images, or whole clusters of them, and apply the statistic to the weights.

    For a paired difference of two runs pass `lambda w: first(w) - second(w)`: both see the same weights. A resample
    in which the statistic is not defined (nan: no positive was drawn) is left out. Raises TableError below two units,
    or where more than one in ten resamples is not defined.
    """
    place = np.arange(images) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    if len(place) != images:
        raise TableError(f"found {len(place)} clusters for {images} images, expected one name for each.")
    units = int(place.max(initial=-1)) + 1
    if units < 2:
        raise TableError(f"found {units} independent {'unit' if units == 1 else 'units'}, expected at least two.")
    size = max(1, CHUNK // max(images, units))
    found = []
    for start in range(0, draws, size):
        count = min(size, draws - start)
        weights = rng.multinomial(units, np.full(units, 1 / units), size=count).astype(np.float64)
        found.append(statistic(weights[:, place]))
    values = np.concatenate(found)
    values = values[~np.isnan(values)]
    if len(values) < 0.9 * draws:
        raise TableError(
            f"found {draws - len(values)} of {draws} resamples in which the metric is not defined, expected few. There "
            "are too few positives for an interval over images."
        )
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    value = float(statistic(np.ones((1, images)))[0])
    return Resampled(value, float(values.std(ddof=1)), Interval(float(low), float(high)), units, len(values))


def mean_iou(confusions: npt.NDArray[np.number]) -> Statistic:
    """Mean IoU from one confusion matrix an image, (images, classes, classes), truth in rows: sum, then divide.

    Classes that neither occur nor are predicted are left out of the mean, resample by resample.
    """
    counts = np.asarray(confusions, dtype=np.float64)
    if counts.ndim != 3 or counts.shape[1] != counts.shape[2] or not (counts >= 0).all():
        raise TableError(f"found confusions of shape {counts.shape}, expected counts (images, classes, classes).")
    hits = np.diagonal(counts, axis1=1, axis2=2)
    unions = counts.sum(axis=1) + counts.sum(axis=2) - hits

    def statistic(weights: FloatArray) -> FloatArray:
        union = weights @ unions
        iou = np.divide(weights @ hits, union, out=np.zeros_like(union), where=union > 0)
        present = (union > 0).sum(axis=1)
        mean: FloatArray = np.where(present > 0, iou.sum(axis=1) / np.maximum(present, 1), np.nan)
        return mean

    return statistic


def average_precision(
    scores: FloatArray,
    hits: npt.NDArray[np.bool_],
    image: npt.NDArray[np.integer],
    truths: npt.NDArray[np.number] | None = None,
    *,
    images: int,
) -> Statistic:
    """Average precision of ranked answers: sum of precision times the step in recall, without interpolation.

    One entry an answer: its score, whether it is right, the number of its image. truths is the number of true objects
    of each image; without it every true one is among the answers, as in ranking. Equal scores enter together.
    """
    if not (len(scores) == len(hits) == len(image)) or not np.isfinite(scores).all():
        raise TableError(
            f"found {len(scores)} scores, {len(hits)} hits and {len(image)} images, expected one finite score, hit and "
            "image for each answer."
        )
    order = np.argsort(-np.asarray(scores), kind="stable")
    of, right = np.asarray(image)[order], np.asarray(hits, dtype=np.float64)[order]
    if len(of) and not (of.min() >= 0 and of.max() < images):
        raise TableError(f"found image {of.max()} of {images}, expected numbers from 0 to {images - 1}.")
    total = np.bincount(of, weights=right, minlength=images) if truths is None else np.asarray(truths, np.float64)
    ends = np.flatnonzero(np.append(np.diff(np.asarray(scores)[order]) != 0, True)) if len(of) else np.array([], int)

    def few(weights: FloatArray) -> FloatArray:
        positives = weights @ total
        answers = weights[:, of]
        true = np.cumsum(answers * right, axis=1)[:, ends]
        every = np.cumsum(answers, axis=1)[:, ends]
        precision = np.divide(true, every, out=np.zeros_like(true), where=every > 0)
        area = (precision * np.diff(true, axis=1, prepend=0.0)).sum(axis=1)
        value: FloatArray = np.where(positives > 0, area / np.maximum(positives, 1e-300), np.nan)
        return value

    def statistic(weights: FloatArray) -> FloatArray:
        size = max(1, CHUNK // max(len(of), 1))
        parts = [few(weights[start : start + size]) for start in range(0, len(weights), size)]
        return np.concatenate(parts)

    return statistic


def seeds_and_images(
    statistics: Sequence[Statistic],
    images: int,
    *,
    rng: np.random.Generator,
    clusters: npt.ArrayLike | None = None,
    draws: int = DRAWS,
) -> Estimate | None:
    """Mean over seeds of a statistic (or of a paired difference), for new seeds and new images together.

    Var = s^2 / S over seeds + variance of the seeds' mean under resampled images; what a seed does on single images is
    in both, which errs towards wide. None below two seeds.
    """
    everything = np.ones((1, images))
    seeds = paired(np.array([float(one(everything)[0]) for one in statistics]))
    if seeds is None:
        return None
    over = bootstrap(
        lambda weights: np.mean([one(weights) for one in statistics], axis=0),
        images,
        rng=rng,
        clusters=clusters,
        draws=draws,
    )
    return combined(seeds.value, np.array([seeds.error**2, over.error**2]), np.array([seeds.df, over.n - 1]))
