"""A sweep file becomes trial specs: the cross product, with ids and reasons to skip. Imports no torch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from . import sweepfile, weights
from .budget import Budget, Training
from .contents import content, is_told
from .errors import SweepFileError, UnknownName, UsageError
from .lookup import Kind, closest, complaint, declaration, explain
from .sweepfile import Lines, Settings, SweepFile
from .tasks import Task

PROTOCOL = 1
"""Raised when harness/trial.py computes a trial's numbers differently: every trial then runs again."""
KEYS = ("method", "dataset", "budget", "seed", "purpose")
"""By what trials can be selected."""


@dataclass(frozen=True)
class Choice:
    """One entry under methods or datasets: a label, the file it names, and every setting resolved."""

    label: str
    name: str
    config: dict[str, Any]
    version: int
    fingerprint: str = field(compare=False)
    """Of the code of its file."""
    content: str | None = None
    """Hash of what a data set from disk holds: None for a method, for a set made by code, and where nobody knows it."""


@dataclass(frozen=True)
class TrialSpec:
    """One method, dataset, budget and seed: all that a trial's numbers depend on."""

    method: Choice
    dataset: Choice
    budget_label: str
    budget: Budget
    training: Training
    seed: int
    competes: bool = True
    skip: str | None = None
    """Why this trial cannot run; None for one that can."""
    weights: dict[str, str] = field(default_factory=dict)
    """Each checkpoint file that it starts from, with the hash of its content, which stands for it in the id."""
    purpose: Literal["final", "tuning"] = "final"
    """A tuning trial looks for settings, on the validation split; final ones are what a report compares."""
    draw: int | None = None
    """Of a tuning trial, which configuration it tries; of a tuned final one, which won."""
    drawn: dict[str, Any] = field(default_factory=dict)
    """What that configuration gives the hyper-parameters that are tuned, by name."""
    waits: str | None = None
    """What a final trial waits for, whose settings tuning has not found yet; its id is provisional."""

    @cached_property
    def id(self) -> str:
        """Twelve hex digits: the hash of everything that changes the trial's numbers and of nothing else."""
        identity = {
            "protocol": PROTOCOL,
            "method": [self.method.name, self.method.version, self._by_content(self.method.config)],
            "dataset": [self.dataset.name, self.dataset.version, self.dataset.config]
            + ([self.dataset.content] if self.dataset.content else []),
            "budget": self._by_content(self._of_budget()) | {"overview_size": self.budget.overview},
            "training": self.training.model_dump(),
            "seed": self.seed,
        } | ({"purpose": self.purpose} if self.purpose == "tuning" else {})
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    def _of_budget(self) -> dict[str, Any]:
        """What of the budget changes numbers by more than rounding."""
        unset = {"micro_batch"} if self.budget.micro_batch is None else set()  # as ids were before there was one
        return self.budget.model_dump(exclude={"cpus", "gpus", "processes"} | unset)

    def _by_content(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self.weights.get(value, value) if isinstance(value, str) else value for key, value in settings.items()
        }

    @property
    def title(self) -> str:
        """Words for messages: method, dataset, budget and seed, and of a tuning trial the draw."""
        tried = f", draw {self.draw}" if self.purpose == "tuning" else ""
        return f"{self.method.label}, {self.dataset.label}, {self.budget_label}, seed {self.seed}{tried}"

    @property
    def is_runnable(self) -> bool:
        """Whether nothing stands in its way."""
        return self.skip is None and self.waits is None

    @property
    def judged(self) -> Literal["test", "validation"]:
        """The split whose score counts."""
        return "validation" if self.purpose == "tuning" else "test"

    @property
    def task(self) -> Task:
        """What the dataset asks, under this trial's settings."""
        return task_of(self.dataset)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file or for another process."""
        plain = asdict(self)
        plain["budget"] = self.budget.model_dump()
        plain["training"] = self.training.model_dump()
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "TrialSpec":
        """What to_json wrote."""
        return cls(
            **plain
            | {
                "method": Choice(**plain["method"]),
                "dataset": Choice(**plain["dataset"]),
                "budget": Budget(**plain["budget"]),
                "training": Training(**plain["training"]),
            }
        )


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file and its trials."""

    name: str
    path: Path
    file: SweepFile
    trials: tuple[TrialSpec, ...]
    reference: str
    settings: Settings
    """How the trials run."""
    lines: Lines = field(compare=False)
    """For errors."""

    @property
    def runnable(self) -> tuple[TrialSpec, ...]:
        """The trials that are neither skipped nor wait for others, each id once."""
        return tuple({trial.id: trial for trial in self.trials if trial.is_runnable}.values())

    def resolved(self) -> str:
        """The sweep file again, as YAML with every default spelled out; running it gives the same trials."""
        content = self.file.model_dump(mode="json")
        content["reference"] = self.reference
        for section, pick in (("methods", "method"), ("datasets", "dataset")):
            asked = [trial for trial in self.trials if not trial.draw]  # with the settings of the file, not drawn ones
            chosen = {getattr(trial, pick).label: getattr(trial, pick) for trial in asked}
            content[section] = {label: {pick: choice.name} | choice.config for label, choice in chosen.items()}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def task_of(dataset: Choice) -> Task:
    """The task that a dataset asks under its settings."""
    declared = declaration("dataset", dataset.name)
    assert declared.task is not None
    return declared.task(declared.config(**dataset.config))


def load(source: str | Path | None) -> Sweep:
    """Read a sweep file and spell out its trials; raises UsageError before anything has started.

    The ids of trials on data whose index is not here are provisional: they lack its content.
    """
    path = sweepfile.locate(source)
    file, lines = sweepfile.read(path)
    budgets = {label: _locate_task_weights(label, budget, lines) for label, budget in file.budgets.items()}
    file = file.model_copy(update={"budgets": budgets})
    methods = [choose("method", label, entry, lines) for label, entry in file.methods.items()]
    data = file.data.located()
    datasets = [
        replace(choice, content=content(choice.name, choice.config, data.folder(choice.label, choice.name)))
        for label, entry in file.datasets.items()
        for choice in [choose("dataset", label, entry, lines)]
    ]
    names = {name for choice in datasets for name in (choice.label, choice.name)}
    for key in file.data.roots.keys() - names:
        raise lines.error(("data", "roots", key), f"no dataset of this label or name.{closest(key, names)}")
    reference = file.reference or next(iter(file.methods))
    if reference not in file.methods:
        raise lines.error(
            ("reference",), f"no method labelled {reference!r} in this file.{closest(reference, file.methods)}"
        )
    for choice in methods:
        if choice.label == reference and not declaration("method", choice.name).competes:
            raise lines.error(("reference",), f"{reference} is an upper bound and cannot be the reference.")
    metrics = {task_of(dataset).metric.name: task_of(dataset).metric for dataset in datasets}
    for name, margin in file.margins.items():
        if name not in metrics:
            known = ", ".join(sorted(metrics))
            raise lines.error(
                ("margins", name), f"no dataset here is judged by {name!r}.{closest(name, metrics)} Known: {known}."
            )
        if metrics[name].unit == "fraction" and margin >= 1:
            raise lines.error(("margins", name), f"{margin:g} is all of the scale: one point of {name} is 0.01.")
    trials = tuple(
        TrialSpec(
            method=method,
            dataset=dataset,
            budget_label=label,
            budget=budget,
            training=file.training,
            seed=seed,
            competes=declaration("method", method.name).competes,
            skip=_reason_to_skip(method, dataset, budget),
            weights=checkpoints(method, budget),
        )
        for seed in file.seeds  # seeds outermost: a sweep that is stopped early is balanced over methods
        for dataset in datasets
        for label, budget in file.budgets.items()
        for method in methods
    )
    _refuse_twins(trials, lines, file.tuning.space if file.tuning else {})
    settings = Settings(**file.settings.model_dump(), data=data)
    return Sweep(file.name, path, file=file, trials=trials, reference=reference, settings=settings, lines=lines)


def select(trials: Sequence[TrialSpec], only: Sequence[str]) -> tuple[TrialSpec, ...]:
    """The trials that match every `key=label`, with keys of KEYS; raises UsageError on others.

    A seed is one of final trials: the tuning trials that these need stay in.
    """
    kept = tuple(trials)
    for term in only:
        key, separator, wanted = term.partition("=")
        if key not in KEYS or not separator:
            raise UsageError(
                f"--only {term}: expected {'=, '.join(KEYS[:-1])}= or {KEYS[-1]}= and a label, "
                f"such as --only method=uniform.{closest(key, KEYS)}"
            )
        of_finals = key == "seed"
        labels = {_label(trial, key) for trial in trials if not (of_finals and trial.purpose == "tuning")}
        missing = [one for one in wanted.split(",") if one not in labels]
        if missing:
            raise UsageError(
                f"--only {term}: no {key} {missing[0]!r} in this sweep.{closest(missing[0], labels)} "
                f"It has: {', '.join(sorted(labels))}."
            )
        kept = tuple(
            trial
            for trial in kept
            if _label(trial, key) in wanted.split(",") or (of_finals and trial.purpose == "tuning")
        )
    return kept


def _label(trial: TrialSpec, key: str) -> str:
    labels = {
        "method": trial.method.label,
        "dataset": trial.dataset.label,
        "budget": trial.budget_label,
        "seed": str(trial.seed),
        "purpose": trial.purpose,
    }
    return labels[key]


def choose(
    kind: Kind, label: str, entry: dict[str, Any] | None, lines: Lines, *, at: tuple[str, ...] | None = None
) -> Choice:
    """Resolve one entry; its file is the label's, or the one that the key `method` (or `dataset`) names.

    `at` is where its settings stand in the sweep file, if not under its label.
    """
    settings = dict(entry or {})
    name = str(settings.pop(kind, label))
    at = at or (f"{kind}s", label)
    try:
        declared = declaration(kind, name)
    except UnknownName as error:
        raise lines.error(at, str(error)) from error
    except SweepFileError:
        raise
    except UsageError as error:
        raise lines.error(at, str(error)) from error
    try:
        config = declared.resolve(settings)
    except ValidationError as error:
        known = [one.name for one in fields(declared.config)]
        raise lines.error((*at, *complaint(error)["loc"]), explain(error, known)) from error
    for key, value in config.items():
        if weights.holds(key, value):
            config[key] = _locate((*at, key), value, lines)
    return Choice(label=label, name=name, config=config, version=declared.version, fingerprint=declared.fingerprint)


def _locate_task_weights(label: str, budget: Budget, lines: Lines) -> Budget:
    if not weights.holds("task_weights", budget.task_weights):
        return budget
    path = _locate(("budgets", label, "task_weights"), str(budget.task_weights), lines)
    return budget.model_copy(update={"task_weights": path})


def _locate(location: tuple[str, ...], named: str, lines: Lines) -> str:
    """The absolute path of a checkpoint that a sweep file names, from its own folder."""
    path = lines.path.absolute().parent / Path(named).expanduser()
    if not path.is_file():
        raise lines.error(location, f"no checkpoint {path}. Give its path from the folder of this file, or whole.")
    return str(path)


def checkpoints(method: Choice, budget: Budget) -> dict[str, str]:
    """Each checkpoint file that a method starts from under a budget, with the hash of its content."""
    named = [*method.config.items(), ("task_weights", budget.task_weights)]
    return {value: weights.content_hash(value) for key, value in named if weights.holds(key, value)}


def _reason_to_skip(method: Choice, dataset: Choice, budget: Budget) -> str | None:
    needs = declaration("method", method.name)
    missing = [one for one in needs.inputs if one not in declaration("dataset", dataset.name).inputs]
    if missing:
        return f"{method.name} needs {', '.join(missing)}, which {dataset.name} does not give"
    return needs.skip(task_of(dataset), budget)


def _refuse_twins(trials: Sequence[TrialSpec], lines: Lines, spaces: dict[str, Any]) -> None:
    """Two labels for the same trial would count one result twice; methods that tune differently are two."""
    first: dict[tuple[str, str], TrialSpec] = {}
    for trial in trials:
        if trial.dataset.content is None and is_told(trial.dataset.name):
            continue  # the data are not here: other folders may hold other data
        twin = first.setdefault((trial.id, repr(spaces.get(trial.method.label))), trial)
        if twin is not trial:
            raise lines.error(
                ("methods", trial.method.label),
                f"the same trial as another entry ({trial.title} = {twin.title}): one result would count twice. "
                "Delete one of the two entries, or change its settings.",
            )
