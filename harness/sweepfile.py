"""Read a sweep file: YAML with safe tags, checked key by key, every mistake named with file and line."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from .budget import Budget, Training
from .errors import SweepFileError
from .lookup import closest, complaint, explain
from .prices import Prices
from .search_space import FIRST_SEED, Tuning

SWEEPS = Path(__file__).parent / "sweeps"
Precision = Literal["float32", "bf16", "fp16"]
LABEL = re.compile(r"[^\s/\\\x00-\x1f][^/\\\x00-\x1f]{0,79}")


class Data(BaseModel):
    """Where data sets lie, and what becomes of a file that cannot be read. Nothing here enters a trial's id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Annotated[str, Field(min_length=1)] | None = None
    """Folder of the data sets that are read from disk; left out: what ZOOMBENCH_DATA names, on each node of a cluster
    its own, or else the driver's."""
    roots: dict[str, Annotated[str, Field(min_length=1)]] = {}
    """The same for single data sets, by their label in the sweep file or by their name; the label goes first."""
    on_bad_file: Literal["raise", "skip"] = "raise"

    def located(self) -> "Data":
        """With absolute paths, counted from the current folder: workers run in folders of their own."""
        roots = {key: _absolute(folder) for key, folder in self.roots.items()}
        return self.model_copy(update={"root": _absolute(self.root) if self.root else None, "roots": roots})

    def folder(self, label: str, name: str) -> str | None:
        """The folder that holds a data set, None where nobody said."""
        return self.roots.get(label) or self.roots.get(name) or self.root or data_root()


def data_root() -> str | None:
    """The folder that ZOOMBENCH_DATA names where this is called."""
    root = os.environ.get("ZOOMBENCH_DATA")
    return _absolute(root) if root else None


def _absolute(folder: str) -> str:
    return os.path.abspath(os.path.expanduser(folder))


class Running(BaseModel):
    """How trials run. Nothing here enters a trial's id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "float32"
    """bf16 and fp16 are mixed precision by torch's autocast; fp16 scales gradients, and needs a GPU to be fast."""
    compile: bool = False
    """Train the method through torch.compile; where that fails, it trains as it is and the trial's log says so."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """Threads that a trial computes with on the CPU, all its processes together; left out: budget.cpus. What Ray
    reserves is budget.cpus. Loader processes have a thread each, which is not counted."""
    workers: int = Field(default=0, ge=0)
    """Data loader processes of one trial; 0 loads in the trial's own process."""
    trials_at_once: int | None = Field(default=None, ge=1)
    """At most so many trials run together; left out: as many as CPUs and GPUs allow."""
    checkpoint_seconds: float = Field(default=60, ge=0)
    """A checkpoint is written at the end of each epoch, and within one once so many seconds have passed."""
    timeout_minutes: float | None = Field(default=None, gt=0)
    """A trial that takes longer is ended, and fails; left out: none is."""
    storage_patience_minutes: float = Field(default=10, ge=0)
    """How long a results folder that is away, or has no room, is waited for; 0 waits for nothing."""
    cost: Prices = Prices()
    """By what `plan` tells money, energy and carbon dioxide."""


class Settings(Running):
    """How trials run, and on which data: all that a trial is told besides what it is."""

    data: Data = Data()


class SweepFile(BaseModel):
    """The keys of a sweep file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    methods: dict[str, dict[str, Any] | None] = Field(min_length=1)
    datasets: dict[str, dict[str, Any] | None] = Field(min_length=1)
    budgets: dict[str, Budget] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    reference: str | None = None
    """Label of the method that the others are compared with; left out: the first one."""
    margins: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """Per metric, the largest difference that does not matter."""
    training: Training = Training()
    tuning: Tuning | None = None
    """How methods look for their settings before their trials; left out: they have those of this file."""
    data: Data = Data()
    settings: Running = Running()

    @field_validator("seeds", mode="before")
    @classmethod
    def _spell_out_seeds(cls, seeds: object) -> object:
        if isinstance(seeds, bool) or not isinstance(seeds, int | list):
            raise ValueError("expected a number of seeds (5) or a list of them ([0, 1, 2])")
        if isinstance(seeds, int):
            if seeds < 1:
                raise ValueError("a sweep needs at least one seed, and three or more for an interval")
            return list(range(seeds))
        if len(set(map(str, seeds))) < len(seeds):
            raise ValueError("a seed is listed twice")
        if any(isinstance(seed, int) and not 0 <= seed < 2**53 for seed in seeds):
            raise ValueError("seeds are counted from 0, and stay below 2**53")
        return seeds

    @field_validator("tuning")
    @classmethod
    def _leave_fresh_seeds(cls, tuning: Tuning | None, info: ValidationInfo) -> Tuning | None:
        taken = set(tuning.seed_numbers if tuning else ()) & set(info.data.get("seeds", ()))
        if taken:
            raise ValueError(
                f"tuning trials have the seeds from {FIRST_SEED} on, and final trials need others; seeds lists "
                f"{min(taken)}"
            )
        return tuning

    @field_validator("settings", mode="before")
    @classmethod
    def _refuse_old_keys(cls, settings: object) -> object:
        if isinstance(settings, dict) and "data_root" in settings:
            raise ValueError("data_root is a section of its own now: write `data: {root: FOLDER}` beside settings")
        if isinstance(settings, dict) and "amp" in settings:
            raise ValueError("amp is called precision now: write `precision: bf16` for true, and nothing for false")
        return settings

    @field_validator("methods", "datasets", "budgets", mode="after")
    @classmethod
    def _check_labels(cls, entries: dict[str, Any]) -> dict[str, Any]:
        for label in entries:
            if not LABEL.fullmatch(label):
                raise ValueError(f"the label {label!r} must be 1 to 80 characters without a slash")
        return entries


class _LabelsAreText(yaml.SafeLoader):
    """Safe YAML in which a key is the text that stands there: `on`, `yes` and `16` are labels, not values."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=True) for key, value in node.value}


_LabelsAreText.add_constructor("tag:yaml.org,2002:map", _LabelsAreText.construct_mapping)
_LabelsAreText.add_implicit_resolver(  # YAML 1.1 takes 1e-4 for text, unlike YAML 1.2 and whoever writes it
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


class Lines:
    """Where each key of a YAML file stands."""

    def __init__(self, path: Path, root: yaml.Node | None) -> None:
        self.path = path
        self._lines: dict[tuple[str, ...], int] = {}
        if root is not None:
            self._walk(root, ())

    def error(self, location: tuple[Any, ...], message: str) -> SweepFileError:
        """An error at the line of the nearest key that is in the file."""
        keys = tuple(str(part) for part in location)
        while keys and keys not in self._lines:
            keys = keys[:-1]
        line = self._lines.get(keys, 1)
        section = ".".join(keys)
        return SweepFileError(f"{self.path}:{line}: {section + ': ' if section else ''}{message}")

    def _walk(self, node: yaml.Node, at: tuple[str, ...]) -> None:
        self._lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*at, str(key.value))
                if here in self._lines:
                    first = self._lines[here]
                    raise SweepFileError(
                        f"{self.path}:{key.start_mark.line + 1}: {'.'.join(here)} is given twice, first on line "
                        f"{first}. Give one of the two another label, or delete it."
                    )
                self._lines[here] = key.start_mark.line + 1
                self._walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, (*at, str(index)))


def locate(name: str | Path | None) -> Path:
    """The file of a sweep: a path, the name of one that ships with zoombench, or the quickstart."""
    if name is None:
        return SWEEPS / "quickstart.yaml"
    path = Path(name)
    if path.is_file():
        return path
    shipped = SWEEPS / f"{path.stem}.yaml"
    if path.parent == Path() and path.suffix in ("", ".yaml") and shipped.is_file():
        return shipped
    known = sorted(p.stem for p in SWEEPS.glob("*.yaml"))
    raise SweepFileError(
        f"no sweep file {name}.{closest(path.stem, known)} Give a path, or one that ships with zoombench: "
        f"{', '.join(known)}."
    )


def short_name(path: Path) -> str:
    """What to type for a sweep file: a name for one that ships with zoombench, else its path."""
    return path.stem if path.parent == SWEEPS else str(path)


def read(path: Path) -> tuple[SweepFile, Lines]:
    """Read and check one sweep file; raises SweepFileError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.load(text, Loader=_LabelsAreText)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SweepFileError(f"{path}:{line}: not YAML: {error.problem}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SweepFileError(f"{path}: cannot be read: {error}.") from error
    try:
        lines = Lines(path, root)
    except RecursionError as error:
        raise SweepFileError(f"{path}: an anchor contains itself, or the file is nested too deeply.") from error
    if not isinstance(content, dict):
        raise lines.error((), "expected a mapping with methods, datasets, budgets and seeds.")
    content.setdefault("name", path.stem)
    try:
        return SweepFile.model_validate(content, strict=True), lines
    except ValidationError as error:
        location = complaint(error)["loc"]
        raise lines.error(location, _explain_at(error)) from error


def _explain_at(error: ValidationError) -> str:
    """pydantic's first complaint; the location is said by Lines, and the known keys depend on it."""
    first = complaint(error)
    models: dict[str, type[BaseModel]] = {"budgets": Budget, "training": Training, "data": Data, "settings": Running}
    models["tuning"] = Tuning
    model = models.get(str(first["loc"][0]), SweepFile) if len(first["loc"]) > 1 else SweepFile
    model = Prices if first["loc"][:2] == ("settings", "cost") and len(first["loc"]) > 2 else model
    if first["type"] == "value_error":
        return f"{first['msg'].removeprefix('Value error, ')}, found {first['input']!r}."
    return explain(error, model.model_fields)
