"""What can be said before a sweep starts: devices, data, settings and weights that it asks for and cannot have.

Every `refuse_` raises UsageError, so that nothing has started and no folder was made.
"""

import os
from collections.abc import Sequence

from . import contents, lookup
from .errors import UsageError, WeightsError
from .spec import Choice, TrialSpec
from .sweepfile import Data, Settings


def refuse_absent_devices(trials: Sequence[TrialSpec], settings: Settings) -> None:
    """Refuse a GPU or a CPU that this machine does not have."""
    wanted = max((trial.budget.gpus or 0 for trial in trials), default=0)
    if (wanted and settings.device != "cpu") or settings.device == "cuda":
        import torch

        there = torch.cuda.device_count()
        if there < max(wanted, 1e-9):
            source = "settings.device: cuda" if settings.device == "cuda" else f"a budget with gpus: {wanted:g}"
            raise UsageError(
                f"{source} asks for a GPU, and this machine has {there or 'none'}. "
                "Leave gpus out (0 is used where there is none), or give --address of a cluster."
            )
    cpus = os.cpu_count() or 1
    for trial in trials:
        budget = trial.budget
        if budget.cpus_taken > cpus:
            asked = f"cpus: {budget.cpus}" if budget.cpus == budget.cpus_taken else f"processes: {budget.processes}"
            raise UsageError(
                f"budget {trial.budget_label}: {asked}, and this machine has {cpus}"
                f"{'' if budget.cpus == budget.cpus_taken else ' CPUs'}. Lower it, or give --address of a cluster."
            )


def absent_data(trials: Sequence[TrialSpec], data: Data) -> list[str]:
    """One line for each dataset of these trials that is not there: what is missing, and how to get it."""
    lines = []
    for label, dataset in _datasets(trials).items():
        declared = lookup.declaration("dataset", dataset.name)
        absent = declared.missing(declared.config(**dataset.config), data.folder(label, dataset.name))
        if absent:
            lines.append(f"dataset {label}: {absent} data.root or ZOOMBENCH_DATA names the folder of datasets.")
    return lines


def refuse_absent_data(trials: Sequence[TrialSpec], data: Data) -> None:
    """Refuse datasets that are not there, all in one message."""
    absent = absent_data(trials, data)
    if absent:
        raise UsageError("\n".join(absent))


def untold(trials: Sequence[TrialSpec]) -> list[str]:
    """Labels of the datasets whose content belongs into the ids of these trials and could not be read."""
    datasets = _datasets(trials)
    return [label for label, one in datasets.items() if one.content is None and contents.is_told(one.name)]


def refuse_untold_data(trials: Sequence[TrialSpec], data: Data) -> None:
    """Refuse datasets whose content is not known here, where the ids are made; on a cluster too."""
    labels = untold(trials)
    if labels:
        named = ", ".join(f"{label} in {data.folder(label, _datasets(trials)[label].name)}" for label in labels)
        raise UsageError(
            f"the index files of {named} cannot be read on this machine, and the ids of trials hold their hash. "
            "Put them here (pictures are not needed where --address names a cluster), and name the folder by data.root "
            "or ZOOMBENCH_DATA."
        )


def _datasets(trials: Sequence[TrialSpec]) -> dict[str, Choice]:
    return {trial.dataset.label: trial.dataset for trial in trials}


def refuse_unfit(trials: Sequence[TrialSpec]) -> None:
    """Build every method once, to refuse settings and weights that cannot work.

    Weights of torchvision's are downloaded by torchvision here, if they are not there. A method that fails in another
    way than by what a user can mend ends its own trials, and not the sweep. So does a drawn configuration that cannot
    be built: it loses.
    """
    asked = [trial for trial in trials if not trial.draw]
    different = {(trial.method.label, trial.dataset.label, trial.budget_label): trial for trial in asked}
    for trial in different.values():
        try:
            module = lookup.load("method", trial.method.name)
            module.build(module.Config(**trial.method.config), trial.task, trial.budget)
        except (WeightsError, ValueError) as error:
            raise UsageError(f"{trial.method.label}, {trial.dataset.label}, {trial.budget_label}: {error}") from error
        except Exception:  # noqa: BLE001 - it becomes the error of each of its trials, and a row of the table
            continue
