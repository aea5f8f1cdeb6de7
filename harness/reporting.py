"""The commands that read results and run nothing: report, compare, merge. None needs torch, ray or mlflow."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from . import estimating, planned, results, sweepfile
from .errors import TableError, UsageError
from .ledger import Ledger, at, write_text
from .spec import Sweep

if TYPE_CHECKING:
    import pandas as pd

    from ..reports.claims import Cell
    from ..reports.examples import Checkpoints
    from ..reports.page import About

DONE = 0


@dataclass(frozen=True)
class Source:
    """One sweep or one table of anyone's results, ready to report."""

    name: str
    table: "pd.DataFrame"
    about: "About"
    folder: Path | None
    """Where its report belongs; None for a table."""
    ledger: Ledger | None = None
    """What others read the report from where it lies in that folder."""


def write_report(options: argparse.Namespace) -> int:
    """Write table and page, or the figures of a paper, or print the listing that was asked for."""
    from ..reports import page, paper
    from ..reports.listing import listing
    from ..reports.tuning import tuned

    with _told():
        source = _chosen(_sources(options), options)
        folder = Path(options.output) if options.output else source.folder or Path("report")
        if options.format in paper.KINDS:
            return _write_figures(source, folder if options.output else folder / "figures", options.format)
        if options.format != "html":
            found = page.claimed(source.table, source.about)
            text = listing(found, options.format, title=source.name, tuned=tuned(source.table))
            if options.output is None:
                sys.stdout.write(text.rstrip("\n") + "\n")
            else:
                _write(Path(options.output), text)
                print(f"report: {Path(options.output).absolute()}")
            return DONE
        try:
            print(f"report: {page.write(source.table, source.about, folder.absolute())}")
            if source.ledger is not None and folder == source.folder:
                source.ledger.publish(source.name)
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written: {error.strerror or error}. Name another with --output."
            ) from error
    return DONE


def _write_figures(source: Source, folder: Path, kind: str) -> int:
    from ..reports import page, paper
    from ..reports.table import finals

    about = source.about
    try:
        path, absent = paper.write(
            finals(source.table), page.claimed(source.table, about), folder.absolute(), kind, curves=about.curves
        )
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror or error}. Name another with --output."
        ) from error
    for reason in absent:
        print(f"not drawn: {reason}")
    print(f"figures: {path}")
    return DONE


def compare_methods(options: argparse.Namespace) -> int:
    """One method against another wherever both were scored: the sentence, the tests, each seed."""
    from ..reports import page
    from ..reports.table import finals
    from ..reports.wording import of_checkpoints, p_equals, share

    first, second = options.methods
    with _told():
        joined = _joined(_sources(options))
        known = list(dict.fromkeys([*joined.about.methods, *joined.table["method"]]))
        for name in (first, second):
            if name not in known:
                raise UsageError(f"no method {name!r} in {joined.name}; expected one of: {', '.join(known)}.")
        options.reference = second
        source = _chosen([joined], options)
        if first == second:
            raise UsageError(f"compare was given {first!r} twice; expected two methods.")
        two = finals(source.table[source.table["method"].isin([first, second])])
        found = page.claimed(two.assign(competes=True).astype({"competes": "boolean"}), source.about)
    print(f"{first} against {second}, positive is better; {source.name}")
    print(f"m = {found[0].m}: these two, wherever both ran. As part of a larger plan, see `zoombench report`.")
    for cell in found:
        for claim in cell.claims:
            c = claim.comparison
            print(f"\n{cell.title}, {cell.metric.axis}\n  {first} is {claim.verdict.sentence}")
            exact = "" if c.groups or c.splits else f"; sign-flip {p_equals(c.p_sign_flip)}"
            print(f"  {claim.test} {p_equals(claim.p)}{exact}")
            if c.groups is None:
                each = [f"{seed}: {cell.metric.difference(d)}" for seed, d in zip(c.seeds, c.differences, strict=True)]
                print(f"  P(better) {share(c.superiority)}")
                print(f"  by seed: {'; '.join(each) or 'no complete pair'}")
        with _told():
            single = _checkpoints(two, cell, source.about.predictions, first, second)
        if single is not None:
            print(f"  {of_checkpoints(single, cell.metric, first=first, second=second)}")
    return DONE


def _checkpoints(
    table: "pd.DataFrame", cell: "Cell", predictions: Mapping[str, Path], first: str, second: str
) -> "Checkpoints | None":
    """The two methods' only checkpoints against each other, where each has one and both kept their predictions."""
    import pandas as pd

    from ..reports.example_claims import two_checkpoints

    here = table["dataset"].eq(cell.dataset) & table["budget"].eq(cell.budget) & table["metric"].eq(cell.metric.name)
    rows = table[here.fillna(False) & table["status"].eq("done").fillna(False)]
    if len(rows) != 2:  # so that no other file is read
        return None
    frames = {str(one): pd.read_parquet(predictions[one]) for one in rows["trial_id"] if one in predictions}
    return two_checkpoints(rows, frames, first, second)


def merge_tables(options: argparse.Namespace) -> int:
    """One table from several; conflicts are listed, and then nothing is written."""
    from ..reports import reading, table
    from ..reports.merging import merge

    with _told():
        given = {path: reading.read(Path(path)) for path in dict.fromkeys(options.tables)}
        if len(given) < 2:
            raise UsageError("merge was given one table; expected two or more.")
        merged, conflicts = merge({path: one.table for path, one in given.items()})
        for one in given.values():
            for note in one.notes:
                print(f"note: {note}")
        _refuse(conflicts)
        try:
            table.write(merged, Path(options.output))
        except OSError as error:
            raise UsageError(
                f"{options.output} cannot be written: {error.strerror or error}. Name another with --output."
            ) from error
    total = sum(len(one.table) for one in given.values())
    print(f"{len(merged)} rows of {total}, the others agreed; written to {Path(options.output).absolute()}")
    return DONE


def of_sweep(sweep: Sweep, ledger: Ledger, run_ids: Mapping[str, str], *, all_pictures: bool = False) -> Source:
    """What the ledger holds of a sweep, finished or not; `all_pictures` shows also those that terms forbid to show."""
    import importlib.metadata

    import pandas as pd

    from ..reports import page, table
    from .execution import git_commit

    names = ("torch", "ray", "mlflow", "pandas", "scipy")
    versions = {"zoombench": __version__, "python": sys.version.split()[0]}
    versions |= {name: importlib.metadata.version(name) for name in names if _installed(name)}
    rows = results.rows(sweep, ledger, run_ids=dict(run_ids))
    own = ", ".join(results.unshareable(sweep))
    hidden = (
        f"Pictures of {own} are not shown: the terms of these data forbid to pass them on. "
        "`zoombench report --all-pictures` writes a page with them, to keep."
    )
    shown = f"Pictures of {own} are shown, and the terms of these data forbid to pass them on: keep this page."
    about = page.About(
        sweep=sweep.name,
        reference=sweep.reference,
        command=shlex.join(["zoombench", "run", sweepfile.short_name(sweep.path)]),
        resolved=sweep.resolved(),
        versions=versions,
        commit=", ".join(sorted({row["commit"] for row in rows if row.get("commit")})) or git_commit(),
        looks=results.looks(sweep, ledger, of_all=all_pictures),
        picture_notes=(hidden,) if own and not all_pictures else (),
        predictions=results.predictions(sweep, ledger),
        tracebacks=results.tracebacks(sweep, ledger),
        curves=pd.DataFrame(results.curves(sweep, ledger)),
        margins=sweep.file.margins,
        notes=(*results.cautions(sweep, ledger), *((shown,) if own and all_pictures else ())),
        predicted=estimating.compared(sweep, ledger),
        methods=tuple(dict.fromkeys(trial.method.label for trial in sweep.trials)),
        places=tuple(dict.fromkeys((trial.dataset.label, trial.budget_label) for trial in sweep.trials)),
    )
    return Source(sweep.name, table.from_rows(rows), about, ledger.sweep_folder(sweep.name), ledger)


def _sources(options: argparse.Namespace) -> list[Source]:
    """Each sweep and each table that was named; the quickstart where nothing was."""
    return [_of_table(Path(name)) if _is_table(name) else _of_name(name, options) for name in options.sources or [None]]


def _is_table(name: str | None) -> bool:
    return name is not None and (Path(name).suffix in (".csv", ".parquet") or Path(name).is_dir())


def _of_name(name: str | None, options: argparse.Namespace) -> Source:
    from . import tracking
    from .commands import warn_of_changed_code

    ledger = at(options.results)
    ledger.refresh()
    sweep = planned.load(name, ledger)
    if all(ledger.state(trial.id) == "planned" for trial in sweep.runnable):
        raise UsageError(f"no trial of {sweep.name} has started in {ledger.place}. --results names another folder.")
    ledger.fetch([trial.id for trial in sweep.runnable])
    warn_of_changed_code(sweep.runnable, ledger, stream=sys.stderr)
    planned.record(sweep, ledger)
    run_ids = tracking.run_ids(sweep.runnable, ledger)
    return of_sweep(sweep, ledger, run_ids, all_pictures=options.all_pictures)


def _of_table(path: Path) -> Source:
    import importlib.metadata

    from ..reports import page, reading

    given = reading.read(path)
    whole = path.absolute()
    own = whole.name if whole.is_dir() else whole.stem
    about = page.About(
        sweep=whole.parent.name if own == "results" and not whole.is_dir() else own,  # in the folder of its sweep
        reference="",
        command=shlex.join(["zoombench", "report", str(path)]),
        resolved="",
        versions={"zoombench": __version__} | {name: importlib.metadata.version(name) for name in ("pandas", "scipy")},
        commit=", ".join(sorted(given.table["commit"].dropna().unique())),
        notes=given.notes,
        methods=given.methods,
        places=given.places,
    )
    return Source(about.sweep, given.table, about, None)


def _chosen(sources: Sequence[Source], options: argparse.Namespace) -> Source:
    """One source under the reference, metric, margins and alpha that were asked for; what was not declared is said."""
    source = _joined(sources)
    about, declared, notes = source.about, source.about.reference, []
    known = list(dict.fromkeys([*about.methods, *source.table["method"]]))
    reference = options.reference or declared
    if not reference or reference not in known:
        found = f"no method {reference!r}" if reference else "no reference"
        raise UsageError(f"{found} in {source.name}; expected --reference with one of: {', '.join(known)}.")
    if declared and reference != declared:
        notes.append(f"The reference {reference} was chosen for this report; the sweep declares {declared}.")
    if declared and options.unpaired:
        notes.append("Welch's t was chosen for this report; the sweep's seeds are paired.")
    margins = _margins(options.margin)
    if declared and any(about.margins.get(name) != limit for name, limit in margins.items()):
        notes.append("A margin was chosen for this report and not declared in the sweep, perhaps after the results.")
    metrics = list(dict.fromkeys(source.table["metric"].dropna()))
    for name in [*margins, *([options.metric] if options.metric else [])]:
        if name not in metrics:
            raise UsageError(f"no metric {name!r} in {source.name}; expected one of: {', '.join(metrics) or 'none'}.")
    table = source.table
    for name, limit in margins.items():
        if limit >= 1 and table.loc[table["metric"] == name, "unit"].eq("fraction").any():
            raise UsageError(f"--margin {name}={limit:g} is all of the scale: one point of {name} is 0.01.")
    if options.metric:
        table = _of_metric(table, options.metric)
        if declared and len(metrics) > 1:
            notes.append(f"Only {options.metric} was chosen for this report: m leaves out the sweep's other metrics.")
    if declared and options.alpha not in (None, about.alpha):
        notes.append(f"alpha = {options.alpha:g} was chosen for this report; the sweep's is {about.alpha:g}.")
    about = replace(
        about,
        reference=reference,
        paired=not options.unpaired,
        margins={**about.margins, **margins},
        alpha=options.alpha if options.alpha is not None else about.alpha,
        notes=(*about.notes, *notes),
        command=_command(options, about)
        if source.folder is None or notes or options.metric or options.all_pictures
        else about.command,
    )
    own = not (notes or options.metric or options.all_pictures or options.alpha is not None)
    return replace(source, table=table, about=about, folder=source.folder if own else None)


def _of_metric(table: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """The rows of a metric, and those of trials that failed before they had one: they count against it too."""
    mine = table["metric"].eq(metric).fillna(False).astype(bool)
    return table[mine | (table["metric"].isna() & table["dataset"].isin(table.loc[mine, "dataset"]))]


def _joined(sources: Sequence[Source]) -> Source:
    if len(sources) == 1:
        return sources[0]
    import pandas as pd

    from ..reports.merging import merge

    labels = [
        name if (name := one.name) not in [s.name for s in sources[:i]] else f"{name} ({i + 1})"
        for i, one in enumerate(sources)
    ]
    table, conflicts = merge({label: one.table for label, one in zip(labels, sources, strict=True)})
    _refuse(conflicts)
    abouts = [one.about for one in sources]
    references = {about.reference for about in abouts} - {""}
    margins: dict[str, float] = {}
    for about in abouts:
        for name, limit in about.margins.items():
            if margins.setdefault(name, limit) != limit:
                raise UsageError(
                    f"the sweeps declare margins {margins[name]:g} and {limit:g} for {name}; give them one."
                )
    curves = [about.curves for about in abouts if about.curves is not None and not about.curves.empty]
    first = abouts[0]
    return Source(
        name=" + ".join(labels),
        table=table,
        about=replace(
            first,
            sweep=" + ".join(labels),
            reference=references.pop() if len(references) == 1 else "",
            resolved="---\n".join(about.resolved for about in abouts if about.resolved),
            commit=", ".join(dict.fromkeys(part for about in abouts for part in about.commit.split(", ") if part)),
            versions={name: version for about in reversed(abouts) for name, version in about.versions.items()},
            looks={key: path for about in abouts for key, path in about.looks.items()},
            picture_notes=tuple(dict.fromkeys(note for about in abouts for note in about.picture_notes)),
            predictions={key: path for about in abouts for key, path in about.predictions.items()},
            tracebacks={key: text for about in abouts for key, text in about.tracebacks.items()},
            curves=pd.concat(curves, ignore_index=True).drop_duplicates() if curves else None,
            margins=margins,
            notes=tuple(dict.fromkeys(note for about in abouts for note in about.notes)),
            predicted=tuple(
                replace(row, label=f"{label}, {row.label}")
                for label, about in zip(labels, abouts, strict=True)
                for row in about.predicted
            ),
            methods=tuple(dict.fromkeys(name for about in abouts for name in about.methods)),
            places=tuple(dict.fromkeys(place for about in abouts for place in about.places)),
        ),
        folder=None,
    )


def _refuse(conflicts: Sequence[Any]) -> None:
    if conflicts:
        for conflict in conflicts:
            print(f"conflict: {conflict}")
        raise UsageError(
            f"{len(conflicts)} {'conflict' if len(conflicts) == 1 else 'conflicts'} between the tables, listed above; "
            "nothing was written. Find out which record is wrong and remove it."
        )


def _margins(given: Sequence[str]) -> dict[str, float]:
    margins = {}
    for text in given:
        name, _, limit = text.rpartition("=")
        try:
            margins[name] = float(limit)
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"--margin {text}: expected METRIC=NUMBER in the metric's unit, such as accuracy=0.01.")
    return margins


def _command(options: argparse.Namespace, about: "About") -> str:
    words = ["zoombench", "report", *(options.sources or []), "--reference", options.reference or about.reference]
    words += ["--metric", options.metric] if options.metric else []
    for margin in options.margin:
        words += ["--margin", margin]
    words += ["--unpaired"] if options.unpaired else []
    words += ["--alpha", f"{options.alpha:g}"] if options.alpha is not None else []
    words += ["--all-pictures"] if options.all_pictures else []
    return shlex.join(words)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}. Name another with --output.") from error


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


@contextmanager
def _told() -> Iterator[None]:
    """A table that breaks a rule is a mistake of whoever gave it: one line, exit code 2."""
    try:
        yield
    except TableError as error:
        raise UsageError(str(error)) from error
