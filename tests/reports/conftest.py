"""Rows of a made-up sweep, for the tests of the report."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

HOSTILE = "<b>thin</b> & plate $x_1$"
EFFECTS = {"uniform": 0.0, "saliency_sampler": 0.06, HOSTILE: 0.01, "oracle_crop": 0.2}
GFLOPS = {"uniform": 0.12, "saliency_sampler": 0.31, HOSTILE: 0.14, "oracle_crop": 0.12}


def row(method: str = "uniform", seed: int = 0, value: float | None = 0.5, **other: Any) -> dict[str, Any]:
    """One row, done unless told otherwise."""
    filled: dict[str, Any] = {
        "trial_id": f"{method}-{other.get('dataset', 'digits')}-{other.get('budget', 'small')}-{seed}",
        "method": method,
        "dataset": "digits",
        "budget": "small",
        "seed": seed,
        "competes": True,
        "status": "done",
        "split": "test",
        "metric": "accuracy",
        "value": value,
        "unit": "fraction",
        "higher_is_better": True,
        "n_test": 1000,
        "epoch": 10,
        "commit": "abc",
        "device": "cpu",
        "attempts": 1,
    }
    return {**filled, **other}


def failed(method: str, seed: int, error: str = "NonFiniteLoss", **other: Any) -> dict[str, Any]:
    """One failed trial."""
    return row(method, seed, None, status="failed", error_class=error, reason="loss is nan", **other)


def pair(method: list[float | None], reference: list[float | None], **other: Any) -> list[dict[str, Any]]:
    """Trials of `new` and `old`, seed by seed; None is a failure."""
    made = []
    for name, values in (("new", method), ("old", reference)):
        for seed, value in enumerate(values):
            made.append(failed(name, seed, **other) if value is None else row(name, seed, value, **other))
    return made


def sweep(seeds: int = 5) -> list[dict[str, Any]]:
    """Four methods, one an upper bound, on two data sets and two budgets; some failed, skipped, lost and missing."""
    rng = np.random.default_rng(0)
    made = []
    for dataset, metric, unit, up in (("digits", "accuracy", "fraction", True), ("gaze", "error", "cm", False)):
        for budget in ("small", "large"):
            for seed in range(seeds):
                base = rng.normal(0.6, 0.015)
                for method, effect in EFFECTS.items():
                    score = round(base + effect + rng.normal(0, 0.012), 3)
                    one = row(
                        method,
                        seed,
                        score if up else 3 * (1 - score),
                        dataset=dataset,
                        budget=budget,
                        metric=metric,
                        unit=unit,
                        higher_is_better=up,
                        competes=method != "oracle_crop",
                        parameters=100_000,
                        gflops=GFLOPS[method],
                        flop_coverage=0.98,
                        latency_ms_p50=GFLOPS[method] * 20 * float(np.exp(rng.normal(0, 0.05))),
                        latency_ms_p90=GFLOPS[method] * 25,
                        peak_memory_mib=300.0,
                        train_seconds=60.0,
                        gpu_hours=0.02,
                    )
                    made.append({**one, **_trouble(method, dataset, budget, seed)})
    return made


def _trouble(method: str, dataset: str, budget: str, seed: int) -> dict[str, Any]:
    if method == "oracle_crop" and dataset == "gaze":
        return {"status": "skipped", "reason": "a crop needs boxes, gaze has none", "value": None}
    if method == HOSTILE and budget == "large" and seed in (1, 3):
        reason = "nan <script>alert(1)</script>"
        return {"status": "failed", "error_class": "NonFiniteLoss", "reason": reason, "value": None}
    if (method, dataset, budget, seed) == ("saliency_sampler", "gaze", "large", 4):
        return {"status": "failed", "error_class": "WorkerLost", "reason": "node gone", "value": None}
    if (method, dataset, budget, seed) == ("uniform", "gaze", "small", 4):
        return {"status": "missing", "reason": "not run yet", "value": None}
    return {}


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """The makers of rows above, for tests to call."""
    return SimpleNamespace(row=row, failed=failed, pair=pair, sweep=sweep, hostile=HOSTILE)
