"""A sweep as it stands in a results folder: what it is made of, and what its data held when it last ran.

A trial on data from disk has their content in its id. Where they are not (a laptop that reports what a cluster ran),
the content is what the sweep's last run found, so that finished trials are found again without them.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import spec, tuning
from .errors import ResultsError
from .ledger import Ledger, write_json, write_text
from .spec import Choice, Sweep, TrialSpec


def load(source: str | Path | None, ledger: Ledger) -> Sweep:
    """The sweep of a file; of data that are not here, the content that was recorded; tuned as far as trials ended."""
    sweep = spec.load(source)
    recorded = _recorded(ledger.sweep_folder(sweep.name) / "data.json")

    def recall(trial: TrialSpec) -> TrialSpec:
        known = recorded.get(trial.dataset.label)
        if trial.dataset.content is not None or known is None or known != _described(trial.dataset, known["content"]):
            return trial
        return replace(trial, dataset=replace(trial.dataset, content=known["content"]))

    return tuning.planned(replace(sweep, trials=tuple(map(recall, sweep.trials))), ledger)


def record(sweep: Sweep, ledger: Ledger) -> None:
    """Write the resolved sweep file, what tuning found, and what the data hold; of what is not here, what was known."""
    folder = ledger.sweep_folder(sweep.name)
    write_text(folder / "resolved.yaml", sweep.resolved())
    tuning.record(sweep, ledger)
    told = {trial.dataset.label: trial.dataset for trial in sweep.trials if trial.dataset.content is not None}
    if told:
        found = {label: _described(dataset, dataset.content) for label, dataset in told.items()}
        write_json(folder / "data.json", _recorded(folder / "data.json") | found)


def _recorded(path: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}. Delete the file: `run` writes it again.") from error
    return known


def _described(dataset: Choice, content: str | None) -> dict[str, object]:
    return {"dataset": dataset.name, "config": dataset.config, "content": content}
