"""From the predictions of trials to variance shares, what more seeds or test examples would buy, and calibration."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..harness.errors import TableError
from .calibration import Calibration, of_answers
from .estimates import Estimate
from .examples import Checkpoints, Crossed, cluster_sign_flip, crossed, mcnemar
from .statistics import ALPHA, FloatArray, Interval

MORE_EXAMPLES = 1000


@dataclass(frozen=True)
class VarianceShares:
    """A method against the reference, example by example. Scope: new seeds and new test examples, this data set."""

    method: str
    dataset: str
    budget: str
    unit: str
    """What is independent: test examples, or clusters of them."""
    crossed: Crossed
    interval: Interval | None
    """t interval of the difference at 1 - alpha, positive is better."""
    half_width: float | None
    half_width_one_more_seed: float | None
    half_width_more_examples: float | None
    """With 1000 more units of the same kind, and the seeds there are."""
    hours_per_seed: float | None
    """Hours of one more seed of both methods: GPU-hours, or hours of training where no GPU was used."""

    @property
    def advice(self) -> str:
        """Where the next hour is best spent, in one sentence."""
        shares = self.crossed.shares
        if shares is None or self.half_width is None:
            return "the differences do not vary, so there is nothing to buy"
        seed, example, both = (f"{100 * share:.0f}%" for share in shares)
        found = f"seeds {seed}, {self.unit} {example}, their interaction {both} of the variance"
        if self.half_width_one_more_seed is None or self.half_width_more_examples is None:
            return found
        with_seed = 1 - self.half_width_one_more_seed / self.half_width
        with_examples = 1 - self.half_width_more_examples / self.half_width
        hours = "" if self.hours_per_seed is None else f" for {self.hours_per_seed:.2g} hours"
        return (
            f"{found}; one more seed would narrow the interval by {100 * with_seed:.0f}%{hours}, "
            f"{MORE_EXAMPLES} more {self.unit} by {100 * with_examples:.0f}%"
        )


@dataclass(frozen=True)
class TrialCalibration:
    """How one trial's confidence in its answers agrees with how often it was right."""

    method: str
    dataset: str
    budget: str
    seed: int
    calibration: Calibration


def variance_shares(
    table: pd.DataFrame, predictions: Mapping[str, pd.DataFrame], reference: str, *, alpha: float = ALPHA
) -> tuple[VarianceShares, ...]:
    """Every method against the reference where both have three seeds or more with predictions, as for any interval.

    predictions holds, by trial_id, the columns example and score, whose mean is the trial's value, and cluster where
    examples are not independent (a subject, an image, a sequence). Trials without predictions are left out.

    Raises TableError where the mean of the scores is not the value in the table, and where two trials of a data set
    were not scored on the same examples.
    """
    done = table[(table["status"] == "done") & table["trial_id"].isin(list(predictions))]
    found = []
    for (dataset, budget, _), rows in done.groupby(["dataset", "budget", "metric"], sort=True):
        sign = 1.0 if bool(rows["higher_is_better"].iloc[0]) else -1.0
        trials = {(str(row["method"]), int(row["seed"])): row for row in rows.to_dict("records")}
        scores = {key: _scores(row, predictions[str(row["trial_id"])]) for key, row in trials.items()}
        first = next(iter(scores.values())).index
        for key, values in scores.items():
            if not values.index.equals(first):
                raise TableError(
                    f"found {len(values)} examples of {key[0]}, seed {key[1]} on {dataset}, and other {len(first)} of "
                    "another trial, expected the same examples for all trials of a data set."
                )
        clusters = _clusters(predictions[str(next(iter(trials.values()))["trial_id"])])
        base = {seed for method, seed in scores if method == reference}
        for method in sorted({method for method, _ in scores} - {reference}):
            seeds = sorted(base & {seed for name, seed in scores if name == method})
            if len(seeds) < 3 or len(first) < 2:
                continue
            d = np.stack([sign * (scores[method, s] - scores[reference, s]).to_numpy() for s in seeds])
            hours = _hours(rows[rows["method"].isin([method, reference])])
            unit = "test examples" if clusters is None else "clusters"
            found.append(_shares((method, str(dataset), str(budget), unit), crossed(d, clusters), hours, alpha))
    return tuple(found)


def two_checkpoints(
    rows: pd.DataFrame, predictions: Mapping[str, pd.DataFrame], first: str, second: str
) -> Checkpoints | None:
    """The only checkpoint of a method against the only one of another; None unless each has one, with predictions.

    rows are those of one data set, budget and metric. McNemar's mid-p where every score is 0 or 1 and examples are
    independent; else a sign-flip of whole clusters, or of examples, from a generator that starts anew. A positive
    difference is better. Raises TableError where the two did not answer the same examples.
    """
    done = rows[rows["status"].eq("done").fillna(False)]
    one, other = (done[done["method"] == name].to_dict("records") for name in (first, second))
    if not (len(one) == len(other) == 1 and all(row["trial_id"] in predictions for row in (*one, *other))):
        return None
    a, b = (_scores(row, predictions[row["trial_id"]]) for row in (one[0], other[0]))
    if not a.index.equals(b.index):
        raise TableError(
            f"found {len(a)} examples of {first} and other {len(b)} of {second} on {one[0]['dataset']}, expected the "
            "same examples for both."
        )
    clusters = _clusters(predictions[one[0]["trial_id"]])
    if clusters is None and a.isin([0, 1]).all() and b.isin([0, 1]).all():
        return mcnemar(a.to_numpy() > 0, b.to_numpy() > 0)
    sign = 1.0 if one[0]["higher_is_better"] else -1.0
    units = np.arange(len(a)) if clusters is None else clusters
    found = cluster_sign_flip(sign * (a - b).to_numpy(), units, rng=np.random.default_rng(0))
    return replace(found, unit="test examples") if found is not None and clusters is None else found


def calibrations(table: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> tuple[TrialCalibration, ...]:
    """Calibration of every finished trial whose predictions hold a probability beside the score of 0 or 1."""
    found = []
    rows = table[table["status"] == "done"].drop_duplicates("trial_id")
    for row in rows.sort_values(["dataset", "budget", "method", "seed"]).to_dict("records"):
        frame = predictions.get(row["trial_id"])
        if frame is None or "probability" not in frame or not frame["score"].isin([0, 1]).all():
            continue
        answers = of_answers(frame["probability"].to_numpy(float), frame["score"].to_numpy(float) > 0)
        found.append(TrialCalibration(row["method"], row["dataset"], row["budget"], int(row["seed"]), answers))
    return tuple(found)


def _shares(names: tuple[str, str, str, str], found: Crossed, hours: float | None, alpha: float) -> VarianceShares:
    s, e = found.n_seeds, found.n_examples
    return VarianceShares(
        *names,
        crossed=found,
        interval=found.estimate.interval(1 - alpha),
        half_width=_half(found.estimate, alpha),
        half_width_one_more_seed=_half(found.planned(s + 1, e), alpha),
        half_width_more_examples=_half(found.planned(s, e + MORE_EXAMPLES), alpha),
        hours_per_seed=hours,
    )


def _half(estimate: Estimate, alpha: float) -> float | None:
    interval = estimate.interval(1 - alpha)
    return None if interval is None else (interval.high - interval.low) / 2


def _scores(row: Mapping[Hashable, Any], frame: pd.DataFrame) -> "pd.Series":
    values = frame.set_index("example")["score"].astype(float).sort_index()
    where = f"trial {row['trial_id']} ({row['method']}, {row['dataset']}, seed {row['seed']})"
    if values.index.has_duplicates:
        raise TableError(f"found an example twice in the predictions of {where}, expected each once.")
    if not np.isclose(values.mean(), float(row["value"]), rtol=1e-4, atol=1e-6):
        raise TableError(
            f"found predictions with mean score {values.mean():.6g} for {where}, expected its value "
            f"{float(row['value']):.6g}. They belong to another trial, or the metric is no mean over examples."
        )
    return values


def _clusters(frame: pd.DataFrame) -> "np.ndarray | None":
    return frame.set_index("example")["cluster"].sort_index().to_numpy() if "cluster" in frame else None


def _hours(rows: pd.DataFrame) -> float | None:
    """Hours of one seed of all methods in these rows: the median of each, summed."""
    total = 0.0
    for _, part in rows.groupby("method"):
        gpu = _finite(part["gpu_hours"])
        hours = gpu if len(gpu) and gpu.max() > 0 else _finite(part["train_seconds"]) / 3600
        if not len(hours):
            return None
        total += float(np.median(hours))
    return total


def _finite(column: "pd.Series") -> FloatArray:
    values: FloatArray = column.to_numpy(dtype=float, na_value=np.nan)
    return values[np.isfinite(values)]
