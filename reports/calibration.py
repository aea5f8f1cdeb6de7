"""Whether probabilities mean what they say: calibration error in bins of equal mass, Brier score, log loss.

Compare methods on Brier score or log loss, which reward honesty: the calibration error is biased upwards with few
examples, and its bins are a choice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..harness.errors import TableError
from .statistics import FloatArray

BINS = 15
LEAST = 1e-12
"""A probability of zero for what happened would cost infinity; it is taken as this much."""


@dataclass(frozen=True)
class Bin:
    """Examples of similar confidence."""

    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """One trial on its test examples."""

    n: int
    ece: float
    """Mean over examples of |confidence - accuracy| of their bin; 0 is calibrated."""
    brier: float
    """Mean squared distance of the probabilities from what happened; over all classes where they are known."""
    nll: float
    """Mean -ln of the probability of what happened, in nats."""
    bins: tuple[Bin, ...]
    """From the least confident; of equal mass, but equal confidences are never torn apart."""


def of_answers(confidence: FloatArray, correct: npt.NDArray[np.bool_], *, bins: int = BINS) -> Calibration:
    """From the probability of each chosen class and whether it was right: a binary Brier score and log loss."""
    p, hit = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    _probable(p)
    if p.ndim != 1 or p.shape != hit.shape or not len(p):
        raise TableError(f"found {p.shape} probabilities and {hit.shape} answers, expected one of each per example.")
    happened = np.where(hit > 0, p, 1 - p)
    return _calibration(p, hit, brier=float(((p - hit) ** 2).mean()), happened=happened, bins=bins)


def of_classes(probabilities: FloatArray, target: npt.NDArray[np.integer], *, bins: int = BINS) -> Calibration:
    """From the probabilities of all classes, (examples, classes), which sum to one; bins are those of the largest."""
    p, target = np.asarray(probabilities, np.float64), np.asarray(target)
    _probable(p)
    if p.ndim != 2 or len(p) != len(target) or not len(p) or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise TableError(
            f"found probabilities of shape {p.shape} for {len(target)} targets, expected rows that sum to one, one for "
            "each target."
        )
    if target.min() < 0 or target.max() >= p.shape[1]:
        raise TableError(f"found target {target.max()} for {p.shape[1]} classes, expected 0 to {p.shape[1] - 1}.")
    rows = np.arange(len(p))
    truth = np.zeros_like(p)
    truth[rows, target] = 1
    hit = (p.argmax(axis=1) == target).astype(np.float64)
    brier = float(((p - truth) ** 2).sum(axis=1).mean())
    return _calibration(p.max(axis=1), hit, brier=brier, happened=p[rows, target], bins=bins)


def _calibration(
    confidence: FloatArray, hit: FloatArray, *, brier: float, happened: FloatArray, bins: int
) -> Calibration:
    edges = np.unique(np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf"))
    place = np.searchsorted(edges, confidence, side="left")
    n = np.bincount(place, minlength=len(edges) + 1)
    sums = np.bincount(place, confidence, len(edges) + 1), np.bincount(place, hit, len(edges) + 1)
    found = tuple(
        Bin(int(count), float(sure / count), float(right / count))
        for count, sure, right in zip(n, *sums, strict=True)
        if count
    )
    ece = sum(one.n * abs(one.confidence - one.accuracy) for one in found) / len(confidence)
    nll = float(-np.log(np.maximum(happened, LEAST)).mean())
    return Calibration(len(confidence), ece, brier, nll, found)


def _probable(p: FloatArray) -> None:
    if not ((p >= 0) & (p <= 1)).all():
        raise TableError("found a probability that is nan or outside 0 to 1. Pass probabilities, not logits.")
