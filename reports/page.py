"""Table in, one HTML file out: it opens from disk with no network, and the same input gives the same bytes."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from . import curves, downloads, figures
from . import table as results
from .beyond import Beyond, gather
from .cautions import DRIFT, cautions
from .claims import Cell, Claim, cells, family_size
from .figures import CostAxis
from .gaps import absent
from .pairwise import Matrix, matrices
from .pictures import collect
from .predicted import Predicted, far_off
from .published import beside
from .rank_diagram import rank_diagram
from .statistics import ALPHA
from .svg import Look
from .trade_off_claims import TradeOffClaim
from .tuning import tuned, unequal
from .verdict import cost_ratio, sentences
from .wording import SCOPE, finished, level, p_value, plural, share

LARGEST_PAGE = 4_700_000
"""Bytes that the page may have; pictures get what the rest leaves."""
LISTED = 200
"""Unfinished trials that are listed of one cause."""
TRACEBACKS = 10
"""Tracebacks shown of one cause."""


@dataclass(frozen=True)
class About:
    """Everything the page says that is not in the results table."""

    sweep: str
    """Name of the sweep, or of the sweeps."""
    reference: str
    """Label of the method that the others are compared with."""
    command: str
    """How to make it again."""
    resolved: str
    """The sweep file with every default filled in, as YAML; empty for a table without a sweep."""
    versions: Mapping[str, str]
    """What wrote the page: python, torch, ray, …; what each trial ran on is in the table."""
    commit: str
    """Commit of the code that ran the trials; empty where nobody knows."""
    looks: Mapping[str, Path] = field(default_factory=dict)
    """trial_id to a folder with N-image.png, N-saliency.png, N-grid.png, N-resampled.png; perhaps N.txt, a caption."""
    picture_notes: tuple[str, ...] = ()
    """Why pictures are not among them."""
    predictions: Mapping[str, Path] = field(default_factory=dict)
    """trial_id to a parquet file with columns example and score, by which pictures are chosen and captioned."""
    tracebacks: Mapping[str, str] = field(default_factory=dict)
    """trial_id to the traceback of a failed trial."""
    curves: pd.DataFrame | None = None
    """Columns trial_id, method, dataset, budget, seed, epoch, split, metric and value."""
    margins: Mapping[str, float] = field(default_factory=dict)
    """Metric to the difference, in its unit, below which two methods count as equal; declared before the runs."""
    notes: tuple[str, ...] = ()
    """Cautions that whoever ran the trials adds."""
    predicted: tuple[Predicted, ...] = ()
    """What it was predicted to cost, and what it did."""
    alpha: float = ALPHA
    """Error that the whole family of planned comparisons may make; intervals are at 1 - alpha."""
    paired: bool = True
    """Whether the same seed pairs the methods; Welch's t compares them where it does not."""
    methods: Sequence[str] = ()
    """The methods in the order to show them; others follow by name."""
    places: Sequence[tuple[str, str]] = ()
    """Data sets and budgets in the order to show them; others follow by name."""


def claimed(table: pd.DataFrame, about: About) -> tuple[Cell, ...]:
    """The cells of the table in the order of the sweep."""
    found = cells(table, about.reference, about.margins, alpha=about.alpha, order=about.methods, paired=about.paired)
    rank = {place: number for number, place in enumerate(about.places)}
    return tuple(sorted(found, key=lambda cell: rank.get((cell.dataset, cell.budget), len(rank))))


def render(table: pd.DataFrame, about: About) -> str:
    """The page as HTML. Raises TableError if the table breaks a rule or lacks the reference method."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    results.check(table)
    table = results.ordered(table)
    if about.curves is not None and about.curves.empty:  # nothing has trained yet, and such a frame has no columns
        about = replace(about, curves=None)
    found, whole, table = claimed(table, about), table, results.finals(table)
    searched = tuned(whole)
    environment = Environment(
        loader=PackageLoader(__package__ or "zoombench.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters |= {"p_value": p_value, "share": share, "number": _number, "plural": plural}
    script = environment.get_template("report.js").render()
    done = int((table["status"] == "done").sum())
    beyond = gather(table, found, about.predictions)
    fill = partial(
        environment.get_template("report.html.j2").render,
        about=about,
        cells=_drawn(found, table, about, beyond),
        beyond=beyond,
        speed_ups=[(axis, one, *pair) for axis, one in beyond.speed_ups for pair in one.methods],
        across_rows=downloads.across,
        rank_rows=downloads.mean_ranks,
        rank_diagrams=[
            rank_diagram(one, figures.looks(found), prefix=f"ranks{place}") for place, one in enumerate(beyond.across)
        ],
        share_rows=downloads.shares,
        sentences=sentences(found) if done and found else (),
        verdicts=[_verdict(cell) for cell in found],
        cautions=[
            *about.notes,
            *unequal(searched, whole),
            *cautions(table, found),
            *far_off(about.predicted),
            *beyond.reasons,
        ],
        tuned=searched,
        tuning_rows=downloads.tuning,
        done=done,
        planned=len(table),
        counts={status: int((table["status"] == status).sum()) for status in results.STATUSES},
        published=beside(found),
        not_done=_not_done(table, about),
        absent=absent(table, paired=about.paired),
        methods=list(figures.looks(found)),
        energy=any(entry.cost.energy_j is not None for cell in found for entry in cell.entries),
        profiled=[entry.cost.profiled for cell in found for entry in cell.entries if entry.cost.latency_ms_p50],
        drift=DRIFT,
        conditions=sorted(table["latency_conditions"].dropna().unique()),
        redrawn="every" if found and all(cell.splits for cell in found) else any(cell.splits for cell in found),
        m=family_size(whole, about.reference) if len(table) else 0,
        contents=table[["dataset", "data"]].dropna().drop_duplicates().sort_values(["dataset", "data"]).values.tolist(),
        devices=sorted(table["device"].dropna().unique()),
        timed_on=sorted(table["latency_device"].fillna(table["device"]).dropna().unique()),
        scope=SCOPE,
        level=level(about.alpha),
        csv=downloads.link,
        whole_table=downloads.whole_table(whole),
        data=downloads.for_script(found),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    page: str = fill(shown=(), picture_notes=about.picture_notes)
    if about.looks:
        room = (LARGEST_PAGE - len(page.encode())) * 3 // 4  # base64 makes four bytes of three
        shown, notes = collect(table, about.looks, found, predictions=about.predictions, room=max(room, 0))
        page = fill(shown=shown, picture_notes=(*about.picture_notes, *notes))
    return page


def write(table: pd.DataFrame, about: About, folder: Path) -> Path:
    """Write results.parquet, results.csv and report.html, each all or nothing; return the path of report.html."""
    page = render(table, about)
    results.write(table, folder)
    path = folder / "report.html"
    results.replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8", newline="\n"))
    return path


def _drawn(found: tuple[Cell, ...], table: pd.DataFrame, about: About, beyond: Beyond) -> list[dict[str, Any]]:
    """What the template shows of each cell: its plots, and the rows of the CSV beside each."""
    styles = figures.looks(found)
    drawn = []
    for place, (cell, matrix) in enumerate(zip(found, matrices(found), strict=True)):
        item: dict[str, Any] = {
            "cell": cell,
            "scores": figures.scores(cell, styles, prefix=f"scores{place}"),
            "forest": figures.forest(cell, styles, prefix=f"forest{place}"),
            "costs": _costs(cell, styles, place, beyond),
            "trades": _trades(place, beyond),
            "shares": [one for one in beyond.shares if (one.dataset, one.budget) == (cell.dataset, cell.budget)],
            "fronts": _fronts(cell),
            "matrix": _matrix(cell, matrix),
            "learning": _learning(cell, table, about, styles, place),
            "ratios": {claim.method: cost_ratio(cell, claim.method) for claim in cell.claims},
            "rows": {"scores": downloads.scores(cell), "differences": downloads.differences(cell)}
            | {"compute": downloads.compute(cell), "pairs": downloads.pairs(cell, matrix)},
        }
        drawn.append(item)
    return drawn


def _trades(place: int, beyond: Beyond) -> list[tuple[CostAxis, TradeOffClaim, float | None]]:
    """For every cost, each method's claim to be no worse and cheaper, and its chance to be on the front."""
    return [
        (axis, claim, beyond.p_on_front(axis.key, place).get(claim.method))
        for axis in figures.COST_AXES
        if axis.key in beyond.trade_offs
        for claim in beyond.trade_offs[axis.key][place].claims
    ]


def _costs(cell: Cell, styles: Mapping[str, Look], place: int, beyond: Beyond) -> list[dict[str, Any]]:
    return [
        {
            "axis": axis,
            "plot": figures.trade_off(
                cell, styles, axis, prefix=f"{axis.key}{place}", undecided=beyond.undecided(axis.key, place)
            ),
        }
        for axis in figures.priced_axes([cell])
    ]


def _fronts(cell: Cell) -> dict[str, str]:
    """By which costs a method is on the front."""
    fronts = [(axis.name, cell.front(axis.key)) for axis in figures.COST_AXES if figures.priced(cell, axis)]
    names = {
        entry.method: ", ".join(name for name, members in fronts if entry.method in members) for entry in cell.entries
    }
    return {method: text for method, text in names.items() if text}


def _matrix(cell: Cell, matrix: Matrix) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """Rows of the matrix; each cell with how strongly it is coloured, 0 to 60 percent of the colour."""
    largest = matrix.largest
    rows = []
    for method, pairs in zip(matrix.methods, matrix.pairs, strict=True):
        line: list[dict[str, Any] | None] = []
        for pair in pairs:
            size = 0 if pair is None or pair.difference is None or not largest else abs(pair.difference) / largest
            side = "up" if pair and (pair.difference or 0) > 0 else "down"
            line.append(None if pair is None else {"pair": pair, "strength": round(60 * size), "side": side})
        rows.append((method, line))
    return rows


def _learning(cell: Cell, table: pd.DataFrame, about: About, styles: Mapping[str, Look], place: int) -> dict[str, Any]:
    if about.curves is None:
        return {"plots": [], "ends": [], "rows": []}
    panels = curves.panels(about.curves, table, cell)
    plots = [
        {"plot": plot, "by_hours": by_hours, "split": panel.split, "metric": panel.metric}
        for number, panel in enumerate(panels)
        for by_hours in (False, True)
        if (plot := curves.draw(panel, cell, styles, by_hours=by_hours, prefix=f"curve{place}{number}{'h' * by_hours}"))
    ]
    ends = [(panel, curve) for panel in panels for curve in panel.curves]
    return {"plots": plots, "ends": ends, "rows": downloads.curves(cell, panels)}


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
        if not cell.paired:
            return f"{c.failed} {plural(c.failed, 'seed')} failed"
        return f"P(better) {share(c.superiority)}, {c.failed} of {c.n} {plural(c.n, 'pair')} with failures"
    if c.complete < 3 or c.effect is None:
        return finished(c)
    n = c.complete if c.groups is None else f"{c.groups.method} and {c.groups.reference}"
    seen = f"observed {cell.metric.difference(c.effect)}, n = {n}"
    found = claim.design.detectable_family
    return seen + (f"; would detect ≥ {cell.metric.difference(found, signed=False)}" if found else "")


def _not_done(table: pd.DataFrame, about: About) -> list[dict[str, Any]]:
    """The unfinished trials by status and cause, with the tracebacks of some."""
    names = ["status", "error_class", "method", "dataset", "budget", "seed", "reason", "trial_id"]
    rows = table.loc[table["status"] != "done", names].fillna({"error_class": "", "reason": ""})
    causes = []
    for (status, error), part in rows.groupby(["status", "error_class"], sort=True):
        listed = [{str(name): str(cell) for name, cell in row.items()} for row in part.head(LISTED).to_dict("records")]
        told = [row for row in listed if about.tracebacks.get(row["trial_id"])][:TRACEBACKS]
        told_ids = {row["trial_id"] for row in told}
        causes.append(
            {
                "status": status,
                "error": error,
                "outcome": status == "failed" and (error in results.OUTCOMES or not error),
                "count": len(part),
                "rows": [
                    {**row, "traceback": about.tracebacks[row["trial_id"]] if row["trial_id"] in told_ids else ""}
                    for row in listed
                ],
            }
        )
    return causes


def _number(value: float | None, pattern: str = "{:.3g}") -> str:
    return "–" if value is None or value != value else pattern.format(value)
