"""Table in, one HTML file out: it opens from disk with no network, and the same input gives the same bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from . import figures
from . import table as results
from .claims import Cell, Claim, cells, family_size
from .pictures import collect
from .wording import SCOPE, p_value, plural, share


@dataclass(frozen=True)
class About:
    """Everything the page says that is not in the results table."""

    sweep: str
    """Name of the sweep."""
    reference: str
    """Label of the method that the others are compared with."""
    command: str
    """How to run it again."""
    resolved: str
    """The sweep file with every default filled in, as YAML."""
    versions: Mapping[str, str]
    """What wrote the page: python, torch, ray, …; what each trial ran on is in the table."""
    commit: str
    looks: Mapping[str, Path] = field(default_factory=dict)
    """trial_id to a folder with N-image.png, N-saliency.png, N-grid.png, N-resampled.png; perhaps N.txt, a caption."""
    tracebacks: Mapping[str, str] = field(default_factory=dict)
    """trial_id to the traceback of a failed trial."""
    curves: pd.DataFrame | None = None
    """Columns trial_id, method, dataset, budget, seed, epoch, split, metric and value."""
    margins: Mapping[str, float] = field(default_factory=dict)
    """Metric to the difference, in its unit, below which two methods count as equal; declared before the runs."""
    notes: tuple[str, ...] = ()
    """Cautions that whoever ran the trials adds."""


def render(table: pd.DataFrame, about: About) -> str:
    """The page as HTML. Raises TableError if the table breaks a rule or lacks the reference method."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    results.check(table)
    table = results.ordered(table)
    if about.curves is not None and about.curves.empty:  # nothing has trained yet, and such a frame has no columns
        about = replace(about, curves=None)
    found = cells(table, about.reference, about.margins)
    shown, notes = collect(table, about.looks, about.reference)
    environment = Environment(
        loader=PackageLoader(__package__ or "zoombench.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"p_value": p_value, "share": share, "number": _number}
    return environment.get_template("report.html.j2").render(
        about=about,
        cells=_drawn(found, about),
        verdicts=[_verdict(cell) for cell in found],
        cautions=[*about.notes, *_cautions(table, found)],
        done=int((table["status"] == "done").sum()),
        planned=len(table),
        counts={status: int((table["status"] == status).sum()) for status in results.STATUSES},
        shown=shown,
        picture_notes=notes,
        has_curves=about.curves is not None,
        not_done=_not_done(table, about),
        m=family_size(table, about.reference) if len(table) else 0,
        devices=sorted(table["device"].dropna().unique()),
        scope=SCOPE,
    )


def write(table: pd.DataFrame, about: About, folder: Path) -> Path:
    """Write results.parquet, results.csv and report.html, each all or nothing; return the path of report.html."""
    page = render(table, about)
    results.write(table, folder)
    path = folder / "report.html"
    results.replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8", newline="\n"))
    return path


def _drawn(found: tuple[Cell, ...], about: About) -> list[dict[str, Any]]:
    styles = figures.looks(found)
    drawn = []
    for place, cell in enumerate(found):
        drawn.append(
            {
                "cell": cell,
                "scores": figures.scores(cell, styles, prefix=f"scores{place}"),
                "forest": figures.forest(cell, styles, prefix=f"forest{place}"),
                "trade_off": figures.trade_off(cell, styles, prefix=f"cost{place}"),
                "curves": None
                if about.curves is None
                else figures.curves(about.curves, cell, styles, prefix=f"curves{place}"),
                "ends": _curve_ends(about.curves, cell),
                "fronts": {axis: cell.front(axis) for axis, _ in figures.COST_AXES},
                "ratios": {claim.method: cost_ratio(cell, claim.method) for claim in cell.claims},
            }
        )
    return drawn


def _verdict(cell: Cell) -> dict[str, Any]:
    rivals = [claim for claim in cell.claims if claim.competes]
    spoken = [claim for claim in rivals if claim.verdict.word != "undecided"]
    return {
        "cell": cell,
        "spoken": [(claim.method, claim.verdict.sentence, cost_ratio(cell, claim.method)) for claim in spoken],
        "undecided": [(claim.method, _glance(cell, claim)) for claim in rivals if claim.verdict.word == "undecided"],
        "rivals": len(rivals),
    }


def _glance(cell: Cell, claim: Claim) -> str:
    c = claim.comparison
    if c.failed:
        return f"P(better) {share(c.superiority)}, {c.failed} of {c.n} {plural(c.n, 'pair')} with failures"
    if c.complete < 3 or c.effect is None:
        return f"{c.complete} complete {plural(c.complete, 'pair')}"
    seen = f"observed {cell.metric.difference(c.effect)}, n = {c.complete}"
    found = claim.design.detectable_family
    return seen + (f"; would detect ≥ {cell.metric.difference(found, signed=False)}" if found else "")


def cost_ratio(cell: Cell, method: str) -> str:
    """What a method costs beside the reference: "2.6 x the GFLOPs, 1.4 x the latency"; empty if unknown."""
    cost, base = cell.entry(method).cost, None
    if any(entry.method == cell.reference for entry in cell.entries):
        base = cell.entry(cell.reference).cost
    words = []
    for axis, name in (("gflops", "GFLOPs"), ("latency_ms_p50", "latency")):
        mine, theirs = getattr(cost, axis), getattr(base, axis, None)
        if mine is not None and theirs:
            words.append(f"{mine / theirs:.2g} × the {name}")
    return ", ".join(words)


def _cautions(table: pd.DataFrame, found: tuple[Cell, ...]) -> list[str]:
    cautions = [
        f"Conclusion depends on failures: {claim.method} against {cell.reference} on {cell.title}. Counting "
        "failures as losses and leaving them out point in opposite directions."
        for cell in found
        for claim in cell.claims
        if claim.comparison.depends_on_failures
    ]
    cautions += [
        f"{entry.method} failed on {cell.title} in {share(entry.summary.failures)} trials; "
        + ("its mean is given convergence." if entry.summary.mean is not None else "it has no score.")
        for cell in found
        for entry in cell.entries
        if entry.summary.failures.k
    ]
    sizes = [claim.comparison.complete for cell in found for claim in cell.claims if claim.competes]
    if sizes and min(sizes) < 6:
        cautions.append(
            f"Some comparisons have {min(sizes)} complete {plural(min(sizes), 'pair')}. Below six, no "
            "distribution-free test can reach .05, so the claims rest on the t test."
        )
    failed = table[table["status"] == "failed"]
    lost = failed[~failed["error_class"].isin(results.OUTCOMES).fillna(False).astype(bool)]
    if len(lost):
        causes = ", ".join(f"{name} × {count}" for name, count in sorted(lost["error_class"].value_counts().items()))
        cautions.append(
            f"{len(lost)} {plural(len(lost), 'trial')} ended by an error that is no result of a method ({causes}). "
            "Their pairs are left out, as if missing at random: mend the cause, then `zoombench run --retry-failed`."
        )
    unfinished = int((table["status"] == "missing").sum())
    if unfinished:
        cautions.append(f"{unfinished} planned {plural(unfinished, 'trial')} did not run yet.")
    return cautions


def _curve_ends(frame: pd.DataFrame | None, cell: Cell) -> list[tuple[str, str, str, int, int, float]]:
    if frame is None:
        return []
    rows = frame[(frame["dataset"] == cell.dataset) & (frame["budget"] == cell.budget)].dropna(subset=["value"])
    ends = []
    for (metric, split, method), part in rows.groupby(["metric", "split", "method"], sort=True):
        last = part[part["epoch"] == part["epoch"].max()]
        row = (int(last["epoch"].iloc[0]), int(last["seed"].nunique()), float(last["value"].mean()))
        ends.append((str(metric), str(split), str(method), *row))
    return ends


def _not_done(table: pd.DataFrame, about: About) -> list[dict[str, str]]:
    names = ["status", "method", "dataset", "budget", "seed", "error_class", "reason", "trial_id"]
    rows = table.loc[table["status"] != "done", names].sort_values(names[:5], kind="stable")
    listed = [
        {str(name): "" if pd.isna(cell) else str(cell) for name, cell in row.items()} for row in rows.to_dict("records")
    ]
    return [{**row, "traceback": about.tracebacks.get(row["trial_id"], "")} for row in listed]


def _number(value: float | None, pattern: str = "{:.3g}") -> str:
    return "–" if value is None else pattern.format(value)
