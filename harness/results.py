"""The ledger's records as rows of the results table (reports/table.py says what each column means)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import profiles, spending
from .ledger import Ledger
from .lookup import Kind, declaration
from .spec import Choice, Sweep, TrialSpec
from .tuning import deciding_score

_COPIED = (
    "n_test",
    "bad_files",
    "parameters",
    "gflops",
    "gflops_pointwise",
    "gflops_overhead",
    "gflops_refused",
    "flop_coverage",
    "latency_ms_p50",
    "latency_ms_p90",
    "peak_memory_mib",
    "train_seconds",
    "commit",
    "device",
    "precision",
    "compiled",
    "cpu_threads",
    "skipped_steps",
    "processes",
    "torch",
    "started",
    "attempts",
)


def rows(sweep: Sweep, ledger: Ledger, *, run_ids: dict[str, str]) -> list[dict[str, Any]]:
    """One row per planned trial: its score where it is done, else why there is none."""
    profiles.fetch(ledger)
    return [_row(trial, ledger) | {"run_id": run_ids.get(trial.id, "")} for trial in sweep.trials]


def curves(sweep: Sweep, ledger: Ledger) -> list[dict[str, Any]]:
    """Every training and validation score of the sweep's final trials, with what the trial is."""
    return [
        _identity(trial) | {key: score[key] for key in ("split", "epoch", "metric", "value")}
        for trial in sweep.runnable
        if trial.purpose == "final"
        for score in ledger.scores(trial.id)
        if score["split"] != "test"
    ]


def looks(sweep: Sweep, ledger: Ledger, *, of_all: bool = False) -> dict[str, Path]:
    """Folder of pictures of each trial that left some; `of_all` includes what terms forbid to show."""
    folders = {
        trial.id: ledger.folder(trial.id) / "looks" for trial in sweep.runnable if of_all or is_shareable(trial.dataset)
    }
    return {trial_id: folder for trial_id, folder in folders.items() if folder.is_dir()}


def is_shareable(dataset: Choice) -> bool:
    """Whether the terms of a data set let others see its pictures: a trial's own record has no say in it."""
    return declaration("dataset", dataset.name).shareable


def unshareable(sweep: Sweep) -> tuple[str, ...]:
    """Labels of the data sets whose pictures are for their holder's eyes alone."""
    return tuple(dict.fromkeys(one.dataset.label for one in sweep.runnable if not is_shareable(one.dataset)))


def predictions(sweep: Sweep, ledger: Ledger) -> dict[str, Path]:
    """What each finished trial answered, one row per test example."""
    files = {trial.id: ledger.folder(trial.id) / "predictions.parquet" for trial in sweep.runnable}
    return {trial_id: file for trial_id, file in files.items() if file.is_file()}


def tracebacks(sweep: Sweep, ledger: Ledger) -> dict[str, str]:
    """What each failed trial left."""
    failures = {trial.id: ledger.record(trial.id, "failed.json") for trial in sweep.runnable}
    return {trial_id: str(failure["traceback"]) for trial_id, failure in failures.items() if failure}


def changed_since(trials: Iterable[TrialSpec], ledger: Ledger) -> dict[str, list[TrialSpec]]:
    """The finished trials whose method or dataset file has other code today, by that file's name."""
    changed: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        record = ledger.record(trial.id, "done.json")
        for key, folder, choice in (
            ("method_code", "baselines", trial.method),
            ("dataset_code", "datasets", trial.dataset),
        ):
            if record and record.get(key) != choice.fingerprint:
                changed.setdefault(f"{folder}/{choice.name}.py", []).append(trial)
    return changed


def cautions(sweep: Sweep, ledger: Ledger) -> tuple[str, ...]:
    """What a reader of the report must know of how the trials were made."""
    notes = []
    for pick, key in (("method", "method_code"), ("dataset", "dataset_code")):
        made: dict[str, set[str]] = {}
        for trial in sweep.runnable:
            record = ledger.record(trial.id, "done.json")
            if record:
                made.setdefault(getattr(trial, pick).label, set()).add(record[key])
        notes += [
            f"The trials of {label} were made by {len(codes)} versions of its code, under one VERSION: their scores "
            "may not belong together."
            for label, codes in made.items()
            if len(codes) > 1
        ]
    kinds: tuple[Kind, ...] = ("method", "dataset")
    for kind in kinds:
        for label, choice in {getattr(one, kind).label: getattr(one, kind) for one in sweep.runnable}.items():
            declared = declaration(kind, choice.name)
            said = declared.remark(declared.config(**choice.config))
            notes += [f"{label}: {said}"] if said else []
    return tuple(notes)


def _identity(trial: TrialSpec) -> dict[str, Any]:
    return {
        "trial_id": trial.id,
        "method": trial.method.label,
        "dataset": trial.dataset.label,
        "budget": trial.budget_label,
        "seed": trial.seed,
    }


def _spent(trial: TrialSpec, ledger: Ledger) -> dict[str, Any]:
    """Over all attempts, whatever became of them."""
    spent = spending.of_trial(ledger.events(trial.id))
    if spent is None:
        return {}
    hours = spent.gpu_hours
    if hours is None and ledger.record(trial.id, "done.json").get("gpu_hours") == 0:
        hours = 0.0  # it held none, and so said nothing
    return {"attempt_seconds": spent.seconds, "gpu_hours_all": hours, "energy_trial_j": spent.joules}


def _row(trial: TrialSpec, ledger: Ledger) -> dict[str, Any]:
    metric = trial.task.metric
    row = _identity(trial) | {
        "data": trial.dataset.content or "",
        "competes": trial.competes,
        "purpose": trial.purpose,
        "draw": trial.draw if trial.purpose == "tuning" else None,
        "settings": json.dumps(trial.drawn) if trial.drawn else "",
        "split": trial.judged,
        "metric": metric.name,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "error_class": "",
        "reason": "",
    }
    if trial.skip is not None:
        return row | {"status": "skipped", "reason": trial.skip}
    if trial.waits is not None:
        return row | {"status": "missing", "reason": f"waits: {trial.waits}"}
    row |= _spent(trial, ledger)
    state = ledger.state(trial.id)
    if state == "failed":
        failure = ledger.record(trial.id, "failed.json")
        return row | {
            "status": "failed",
            "error_class": failure["error_class"],
            "reason": failure["message"].splitlines()[0],
            "attempts": failure.get("attempts"),
            "commit": failure.get("commit", ""),
        }
    if state != "done":
        epochs = len({s["epoch"] for s in ledger.scores(trial.id) if s["split"] == "train"})
        how_far = f"stopped after {epochs} of {trial.budget.epochs} epochs" if state == "started" else "not started"
        return row | {"status": "missing", "reason": how_far}
    record = ledger.record(trial.id, "done.json")
    score = deciding_score(trial, ledger)
    return (
        row
        | {"status": "done", "value": score["value"], "epoch": score["epoch"], "gpu_hours": record["gpu_hours"]}
        | {key: record.get(key) for key in _COPIED}
        | {"latency_source": "trial" if record.get("latency_ms_p50") is not None else ""}
        | profiles.columns_of(trial, ledger, device=record.get("device"))
    )
