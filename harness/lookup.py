"""A name becomes a file: `baselines/<name>.py` or `datasets/<name>.py`. The folder is the registry.

Folders of your own go into ZOOMBENCH_PATH, separated as in PATH; each holds a baselines/ or a datasets/ folder, whose
files import absolutely (`from zoombench.harness.contract import Method`).

What a file declares (Config, INPUTS, skip, task, …) is read without importing torch: only the torch-free statements
of the file are executed, so that a sweep file is checked in well under a second. The whole module is imported only
where a trial runs.
"""

import ast
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import ErrorDetails

from .budget import Budget
from .errors import UnknownName, UsageError
from .tasks import Task

Kind = Literal["method", "dataset"]
ROOT = Path(__file__).resolve().parents[1]
FOLDERS: dict[str, str] = {"method": "baselines", "dataset": "datasets"}

_HARMLESS_IMPORTS = {
    "__future__",
    "dataclasses",
    "typing",
    "math",
    "collections",
    "enum",
    "hashlib",
    "os",
    "pathlib",
    "harness.budget",
    "zoombench.harness.budget",
    "harness.task_networks",
    "zoombench.harness.task_networks",
    "harness.tasks",
    "zoombench.harness.tasks",
    "reading.folders",
    "reading.settings",
    "zoombench.datasets.reading.folders",
    "zoombench.datasets.reading.settings",
}
_DECLARED_NAMES = {"Config", "fingerprint", "missing", "remark", "skip", "task"}
_LITERALS = {"INPUTS", "COMPETES", "VERSION", "TERMS", "SHAREABLE", "EXPECTED"}
"""What a file declares in capitals must be a literal: it is read without running the file."""


@dataclass(frozen=True)
class Declaration:
    """What one file of `baselines/` or `datasets/` says about itself, read without torch."""

    kind: Kind
    name: str
    summary: str
    """First line of the module's docstring."""
    config: type
    inputs: tuple[str, ...]
    """A method: what it needs. A dataset: what it gives."""
    competes: bool
    version: int
    fingerprint: str
    """Hash of the code of the file and of what it imports from its own folder, without comments and docstrings."""
    skip: Callable[[Task, Budget], str | None]
    remark: Callable[[Any], str | None]
    """What the report says of a method or a dataset under its settings."""
    task: Callable[[Any], Task] | None
    """Only a dataset has one."""
    missing: Callable[[Any, str | None], str | None]
    """What of a dataset is not there under a folder, and where it is to be had."""
    on_disk: bool
    """Whether a dataset is read from disk: it says what is missing."""
    content: Callable[[Any, str], str] | None
    """Hash of a dataset's index files under a folder; None for one that is told by its name and settings alone."""
    terms: dict[str, str]
    """Of a dataset: access, homepage, terms, citation."""
    shareable: bool
    """Whether its terms let a report show its pictures."""
    expected: dict[str, int]
    """Official counts: examples of a split, classes."""
    source: str
    """Where it is to be had."""
    tree: str
    """The files that are expected, a few lines."""

    def resolve(self, settings: dict[str, Any] | None) -> dict[str, Any]:
        """Every field of Config with the given settings over the defaults; raises pydantic's ValidationError."""
        checked = checked_dataclass(self.config, config=ConfigDict(extra="forbid", strict=True, frozen=True))
        resolved: dict[str, Any] = asdict(checked(**dict(settings or {})))
        return resolved


def closest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return f" Did you mean {near[0]}?" if near else ""


def files(kind: Kind) -> dict[str, Path]:
    """The file of every name of a kind, in alphabetical order; the first folder that has it wins, ours before all."""
    roots = [ROOT, *_own_folders()]
    found = {path.stem: path for root in reversed(roots) for path in (root / FOLDERS[kind]).glob("*.py")}
    return {name: found[name] for name in sorted(found) if not name.startswith("_")}


def _own_folders() -> list[Path]:
    """The folders of ZOOMBENCH_PATH; raises UsageError for one that is not there."""
    folders = [Path(entry) for entry in os.environ.get("ZOOMBENCH_PATH", "").split(os.pathsep) if entry]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"ZOOMBENCH_PATH names {folder}, which is no folder.")
    return folders


def names(kind: Kind) -> list[str]:
    """Every name of a kind, in alphabetical order."""
    return list(files(kind))


def find(kind: Kind, name: str) -> Path:
    """The file of a name; raises UnknownName with the nearest one."""
    known = files(kind)
    if name in known:
        return known[name]
    raise UnknownName(
        f"no {FOLDERS[kind]}/{name}.py{_searched()}.{closest(name, names(kind))} "
        f"`zoombench list {kind}s` shows what there is."
    )


def _searched() -> str:
    folders = _own_folders()
    return f" here or in {', '.join(map(str, folders))}" if folders else ""


def load(kind: Kind, name: str) -> ModuleType:
    """Import the whole module, torch and all."""
    path = find(kind, name)
    if path.parent == ROOT / FOLDERS[kind]:
        return importlib.import_module(f"zoombench.{FOLDERS[kind]}.{name}")
    module_name = f"zoombench_path.{FOLDERS[kind]}.{name}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    return sys.modules[module_name]


def reading(name: str) -> ModuleType:
    """A module of datasets/reading/: what the readers of data sets share, and their check uses as they do."""
    return importlib.import_module(f"zoombench.datasets.reading.{name}")


@cache
def declaration(kind: Kind, name: str) -> Declaration:
    """Read what a file declares, without importing torch.

    Raises UnknownName where there is no such file and UsageError where the file does not keep the contract.
    """
    path = find(kind, name)
    where = f"{FOLDERS[kind]}/{name}.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        declared = _execute(tree, kind=kind, name=name, path=path)
    except Exception as error:
        raise UsageError(f"{where} cannot be read: {type(error).__name__}: {error}.") from error
    config = getattr(declared, "Config", None)
    if config is None:
        raise UsageError(f"{where} has no class Config: every {kind} declares its settings as a frozen dataclass.")
    if not getattr(getattr(config, "__dataclass_params__", None), "frozen", False):
        raise UsageError(f"{where}: Config must be a frozen dataclass: write @dataclass(frozen=True) above it.")
    if not any(isinstance(node, ast.FunctionDef) and node.name == "build" for node in tree.body):
        raise UsageError(f"{where} has no function build: every {kind} is made by one (harness/contract.py).")
    task = getattr(declared, "task", None)
    if kind == "dataset" and task is None:
        raise UsageError(f"{where} has no function task(config): every dataset says what it asks.")
    return Declaration(
        kind=kind,
        name=name,
        summary=(ast.get_docstring(tree) or "").split("\n")[0],
        config=config,
        inputs=tuple(getattr(declared, "INPUTS", ("image",))),
        competes=bool(getattr(declared, "COMPETES", True)),
        version=int(getattr(declared, "VERSION", 1)),
        fingerprint=_fingerprint(path),
        skip=getattr(declared, "skip", lambda task, budget: None),
        remark=getattr(declared, "remark", lambda config: None),
        task=task,
        missing=getattr(declared, "missing", lambda config, root: None),
        on_disk=hasattr(declared, "missing"),
        content=getattr(declared, "fingerprint", None),
        terms=dict(getattr(declared, "TERMS", {})),
        shareable=bool(getattr(declared, "SHAREABLE", True)),
        expected=dict(getattr(declared, "EXPECTED", {})),
        source=str(getattr(declared, "SOURCE", "")),
        tree=str(getattr(declared, "TREE", "")),
    )


_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


def complaint(error: ValidationError) -> ErrorDetails:
    """The one of pydantic's complaints to speak of: an unknown key first, as it is often a misspelt missing one."""
    return min(error.errors(), key=lambda one: one["type"] not in _UNKNOWN_KEY)


def explain(error: ValidationError, known: Iterable[str]) -> str:
    """That complaint in our words: what was found, what was expected, what was probably meant."""
    first = complaint(error)
    if first["type"] in _UNKNOWN_KEY:
        key = str(first["loc"][-1])
        names = sorted(known)
        return f"unknown key {key!r}.{closest(key, names)} Known: {', '.join(names) or 'none'}."
    if first["type"] == "missing":
        return f"key {first['loc'][-1]!r} is missing."
    if first["type"] == "too_short":
        return "it is empty, and at least one entry is needed."
    if first["type"] == "dict_type":
        return f"expected a mapping of labels to settings, found {first['input']!r}."
    if first["type"] == "string_pattern_mismatch":
        return f"expected letters, digits, '.', '_' and '-', as it names a folder, found {first['input']!r}."
    message = first["msg"].removeprefix("Value error, ")
    if not message.startswith("Input should be "):
        return f"{message}."  # the file's own words, which say what was found
    same = [  # a field of several types has one complaint for each
        one["msg"].removeprefix("Input should be ")
        for one in error.errors()
        if one["loc"][:-1] == first["loc"][:-1] and one["input"] is first["input"]
    ]
    expected = " or ".join(dict.fromkeys(same))
    found = first["input"]
    hint = " Leave the quotes out." if isinstance(found, str) and _is_number(found) else ""
    return f"expected {expected}, found {found!r}.{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _execute(tree: ast.Module, *, kind: Kind, name: str, path: Path) -> ModuleType:
    """Run only the statements that declare something and need no torch."""
    kept = [node for node in tree.body if _declares(node)]
    module = ModuleType(f"zoombench._declared.{kind}.{name}")
    module.__package__ = f"zoombench.{FOLDERS[kind]}"
    sys.modules[module.__name__] = module  # dataclasses and pydantic look their names up here
    exec(compile(ast.Module(body=kept, type_ignores=[]), str(path), "exec"), module.__dict__)
    return module


def _declares(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "") in _HARMLESS_IMPORTS
    if isinstance(node, ast.Import):
        return all(alias.name in _HARMLESS_IMPORTS for alias in node.names)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        named = [target.id for target in targets if isinstance(target, ast.Name)]
        literal = node.value is not None and _is_literal(node.value)
        if set(named) & _LITERALS and not literal:
            raise ValueError(f"{named[0]} on line {node.lineno} must be a literal: it is read without running the file")
        return len(named) == len(targets) and all(name.isupper() for name in named) and literal
    return isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in _DECLARED_NAMES


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _fingerprint(path: Path) -> str:
    """Sixteen hex digits that change with the code of a file or of what it shares with its neighbours.

    Comments and docstrings do not count; `from .layers.x import y` is followed, into the file's own folder only.
    """
    seen: dict[Path, str] = {}
    unread = [path]
    while unread:
        one = unread.pop()
        if one in seen:
            continue
        tree = ast.parse(one.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                neighbour = one.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
                if neighbour.is_relative_to(path.parent) and neighbour.is_file():
                    unread.append(neighbour)
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [  # type: ignore[attr-defined]
                    s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
                ]
        seen[one] = ast.dump(tree)
    return hashlib.sha256("\n".join(seen[one] for one in sorted(seen)).encode()).hexdigest()[:16]
