"""zoombench data: list, info, check, cache. Nothing is ever fetched; list and info need no torch."""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from rich.text import Text

from . import contents, lookup
from .errors import DataError, UsageError
from .ledger import write_text
from .lookup import Declaration
from .sweepfile import Data, data_root
from .tasks import Classification, Task

if TYPE_CHECKING:
    from .inspection import Counts, Finding

DONE, WRONG = 0, 1
EXAMPLES = 100
"""Examples of a split that are looked at, of a set without records."""
SHOWN = 5
"""Mistakes of one kind that are shown before the rest is counted."""
KEEP = "What lies here is a copy of these pictures: the same terms hold for it."
COLUMNS = ("what", "where", "found", "expected")


def list_sets(options: argparse.Namespace) -> int:
    """One line a data set: what it asks, where it comes from, whether it is there."""
    root = _root(options)
    named = f"under {root}" if root else "no folder of them is named"
    table = Table(title=f"data sets, {named}{_no_folder(root)}", title_justify="left")
    for column in ("name", "task", "from", "access", "there"):
        table.add_column(column, no_wrap=column == "name")
    for name in lookup.names("dataset"):
        try:
            declared = lookup.declaration("dataset", name)
            config = declared.config()
            place = "disk" if declared.on_disk else "made by code"
            there = _there(declared, config, root)
            access = declared.terms.get("access", "not declared")
            table.add_row(name, _asks(_task(declared, config)), place, access, there)
        except (UsageError, ValueError, TypeError) as error:
            table.add_row(name, f"unavailable: {error}", "", "", "")
    _console().print(table)
    return DONE


def show_info(options: argparse.Namespace) -> int:
    """What a data set is, its terms, where to get it, what is expected on disk, its settings, whether it is there."""
    declared, settings = _chosen(options)
    config = declared.config(**settings)
    root = _root(options)
    expected = [f"{value:,} {key}" for key, value in declared.expected.items()]
    said = {
        "is": declared.summary,
        "task": _asks(_task(declared, config)),
        "gives": ", ".join(declared.inputs),
        **declared.terms,
        "pictures": "" if declared.shareable else "left out of reports (--all-pictures shows them)",
        "get it": declared.source,
        "expected": declared.tree,
        "counts": ", ".join(expected),
        "settings": yaml.safe_dump(settings, sort_keys=False),
        "remark": declared.remark(config),
    }
    if declared.on_disk:
        said["root"] = root or "none: give --root, or set ZOOMBENCH_DATA"
        said["there"] = "" if root is None else _lacking(declared, config, root) or "yes"
        said["content"] = contents.content(declared.name, settings, root)
        said["cache"] = _cached(declared, root)
    width = max(map(len, said))
    for key, text in said.items():
        for number, line in enumerate((text or "").splitlines()):
            print(f"{key if number == 0 else '':{width}}  {line}".rstrip())
    return DONE


def check_set(options: argparse.Namespace) -> int:
    """Say what is wrong with a data set, in a table; the exit code is 1 if anything is."""
    from .inspection import Counts

    declared, settings = _chosen(options)
    config = declared.config(**settings)
    root = _root(options)
    if declared.on_disk:
        if root is None:
            raise UsageError(f"{declared.name} is read from disk: give --root FOLDER, or set ZOOMBENCH_DATA.")
        absent = _lacking(declared, config, root)
        if absent:
            print(f"{declared.name}: {absent}")
            return WRONG
    counts, tally = Counts(), _Tally()
    with ExitStack() as stack:
        stream = stack.enter_context(_open(Path(options.csv))) if options.csv else None
        tally.add_all(_findings(declared, settings, root, counts, decode=options.decode), stream)
    if tally.counts:
        _console().print(tally.table(declared.name))
        where = f"all of them are in {options.csv}" if options.csv else "--csv FILE writes all of them"
        print(f"{declared.name}: {tally.counts.total():,} found wrong; {where}.")
    print(_seen(declared, counts, contents.content(declared.name, settings, root)))
    return WRONG if tally.counts else DONE


def make_cache(options: argparse.Namespace) -> int:
    """Decode every picture of a data set once, into a folder that its reader then uses; its terms lie beside it."""
    declared, settings = _chosen(options)
    module = lookup.load("dataset", declared.name)
    if not hasattr(module, "index"):
        raise UsageError(f"{declared.name} has no pictures on disk: there is nothing to decode.")
    root = _root(options)
    absent = _lacking(declared, declared.config(**settings), root)
    if absent or root is None:
        raise UsageError(f"{declared.name}: {absent} --root or ZOOMBENCH_DATA names the folder of data sets.")
    print(_terms(declared))
    cache, config = lookup.reading("cache"), module.Config(**settings)
    try:
        estimate = cache.estimate(_followed(module.index(config, root)), Path(root))
    except (DataError, OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{declared.name}: its index cannot be read: {error} "
            f"`zoombench data check {declared.name}` says what is wrong."
        ) from error
    size = f"{estimate.bytes / 2**30:.3g} GiB"
    print(f"{declared.name}: {estimate.pictures:,} pictures, which would be {size} when decoded.")
    before = _cached(declared, root)
    if estimate.bytes > options.limit_gib * 2**30:
        raise UsageError(
            f"that is above the limit of {options.limit_gib:g} GiB. Where the disk has room, raise it by --limit-gib; "
            "ZOOMBENCH_CACHE names another disk."
        )
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("decoded")
        built = cache.build(
            module.index(config, root),
            Path(root),
            limit_gib=options.limit_gib,
            workers=options.workers,
            note=lambda done, of: progress.update(bar, completed=done, total=of),
        )
    write_text(built.folder / "TERMS.txt", f"{_terms(declared)}\n{KEEP}\n")
    there = ", which was there already" if str(built.folder) == before else ""
    print(f"cache: {built.folder}{there}")
    if built.unreadable:
        path, why = built.unreadable[0]
        count = len(built.unreadable)
        some = "1 picture" if count == 1 else f"{count:,} pictures"
        print(f"{some} could not be decoded, such as {path}: {why}")
    return WRONG if built.unreadable else DONE


def _cached(declared: Declaration, root: str | None) -> str | None:
    """Where the newest cache of a set is, if there is one; without torch."""
    if root is None:
        return None
    newest = lookup.reading("folders").newest_cache(Path(root), declared.tree.split("/")[0])
    return None if newest is None else str(newest)


def _terms(declared: Declaration) -> str:
    said = {"data set": declared.name, **(declared.terms or {"terms": declared.source or "not declared"})}
    return "\n".join(f"{key}: {text}" for key, text in said.items())


def _findings(
    declared: Declaration, settings: dict[str, Any], root: str | None, counts: "Counts", *, decode: int | None
) -> "Iterator[Finding]":
    from . import inspection

    module = lookup.load("dataset", declared.name)
    config = module.Config(**settings)
    task = module.task(config)
    if hasattr(module, "index") and root is not None:
        yield from inspection.of_records(
            lambda: _followed(module.index(config, root)), Path(root), task, counts, decode=decode
        )
    else:
        yield from inspection.of_examples(
            lambda split: module.build(config, root, split, 64),  # no set on disk or by code goes by the size
            declared.inputs,
            task,
            counts,
            count=decode or EXAMPLES,
        )
    official = declared.expected if settings == declared.resolve({}) else {}
    asked = [one for one in inspection.SPLITS if one != "validation" or settings.get("validation_per_class") != 0]
    yield from inspection.of_counts(counts, task, official, every_class=hasattr(module, "index"), splits=asked)


class _Tally:
    """Findings, the first few of each kind kept and all counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, list[Finding]] = {}

    def add_all(self, findings: "Iterable[Finding]", stream: TextIO | None) -> None:
        writer = csv.writer(stream, lineterminator="\n") if stream else None
        if writer:
            writer.writerow(COLUMNS)
        for finding in findings:
            self.counts[finding.what] += 1
            if self.counts[finding.what] <= SHOWN:
                self.first.setdefault(finding.what, []).append(finding)
            if writer:
                writer.writerow(finding)

    def table(self, name: str) -> Table:
        table = Table(title=f"wrong with {name}", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, overflow="fold")
        for what, findings in self.first.items():
            for finding in findings:
                table.add_row(*map(Text, finding))
            if self.counts[what] > len(findings):
                table.add_row(what, f"and {self.counts[what] - len(findings):,} more", "", "")
        return table


def _seen(declared: Declaration, counts: "Counts", content: str | None) -> str:
    splits = ", ".join(f"{count:,} {split}" for split, count in counts.splits.items())
    if not counts.index_read:
        looked = f"only {splits} were looked at" if splits else "the files were not looked at"
        return f"{declared.name}: mend this and check again: {looked}."
    parts = [f"{declared.name}: {splits or 'no examples'}"]
    parts += [f"{len(counts.classes):,} classes"] if counts.classes else []
    parts += [f"{counts.size / 1e9:.3g} GB"] if counts.size else []
    if counts.decoded:
        parts += [f"{counts.decoded:,} decoded"]
    elif declared.on_disk and counts.splits:
        parts += ["only headers were read (--decode reads whole pictures)"]
    parts += [f"content {content}"] if content else []
    return "; ".join(parts) + "."


def _chosen(options: argparse.Namespace) -> tuple[Declaration, dict[str, Any]]:
    """The data set that was named, and its settings; raises UsageError for settings that it does not have."""
    declared = lookup.declaration("dataset", options.name)
    given: dict[str, Any] = {}
    for term in options.set:
        key, separator, value = term.partition("=")
        if not separator:
            raise UsageError(f"--set {term}: expected KEY=VALUE, such as --set validation_per_class=5.")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {term}: {value!r} is not YAML.") from error
    try:
        return declared, declared.resolve(given)
    except ValidationError as error:
        known = [one.name for one in fields(declared.config)]
        raise UsageError(
            f"--set: {'.'.join(map(str, lookup.complaint(error)['loc']))}: {lookup.explain(error, known)}"
        ) from error


def _root(options: argparse.Namespace) -> str | None:
    return Data(root=options.root or None).located().root or data_root()


def _task(declared: Declaration, config: Any) -> Task:
    assert declared.task is not None
    return declared.task(config)


def _asks(task: Task) -> str:
    words = type(task).__name__.lower()
    return f"{words}, {task.classes:,} classes" if isinstance(task, Classification) else words


def _there(declared: Declaration, config: Any, root: str | None) -> str:
    """A word for the list; what is wrong with one set keeps no other from being listed."""
    if not declared.on_disk or root is None:
        return "–" if declared.on_disk else "yes"
    try:
        absent = declared.missing(config, root)
        return "yes" if not absent else "unreadable" if " cannot be read: " in absent else "no"
    except OSError:
        return "unreadable"


def _lacking(declared: Declaration, config: Any, root: str | None) -> str | None:
    """What of a set is not there, told for a root that is no folder, cannot be read or is the set's own folder too."""
    if root is None:
        return declared.missing(config, None)
    try:
        if not Path(root).is_dir():
            return f"{root}{_no_folder(root).replace(', which', '')}."
        absent = declared.missing(config, root)
        above = Path(root).absolute().parent
        if absent and declared.missing(config, str(above)) is None:
            return f"{root} is not the folder of data sets, but one inside it. Give the folder above it: {above}."
    except OSError as error:
        return f"{error.filename or root} cannot be read: {error.strerror or error}."
    return absent


def _no_folder(root: str | None) -> str:
    """What is to be said of a root that is none."""
    try:
        if root is None or Path(root).is_dir():
            return ""
        return ", which is no folder" if Path(root).exists() else ", which does not exist"
    except OSError as error:
        return f", which cannot be read: {error.strerror or error}"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200)


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"--csv {path} cannot be written: {error.strerror}. Name another file.") from error


def _followed(records: Iterable[Any]) -> Iterable[Any]:
    """The records, with a count of them on the way where somebody watches."""
    watched = sys.stderr.isatty()
    return track(records, "records", console=Console(stderr=True), disable=not watched, transient=True, total=None)
