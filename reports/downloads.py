"""What each plot shows as CSV, in a link that needs no network; and the scores that the page's script reads."""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .across_claims import Across
from .claims import PROFILED, Cell
from .curves import Panel
from .example_claims import VarianceShares
from .figures import COST_AXES
from .pairwise import Matrix, resolution
from .statistics import Interval
from .tuning import Tuned

MOST_SEEDS = 200
"""Seeds of one method that a CSV lists and the script gets; more are in the results table only."""
LARGEST_TABLE = 400_000
"""Bytes of a results table that the page still carries whole; a larger one lies beside it."""


def link(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Rows as a data: address of a CSV file, None being an empty cell; None for no rows."""
    if not rows:
        return None
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if cell is None else cell for name, cell in row.items()} for row in rows)
    return _address(buffer.getvalue())


def whole_table(table: pd.DataFrame) -> str | None:
    """The results table as such an address, or None if it is too large for the page."""
    if len(table) * 60 > LARGEST_TABLE:  # no row is shorter
        return None
    text = str(table.to_csv(index=False, lineterminator="\n"))
    return _address(text) if len(text) <= LARGEST_TABLE else None


def scores(cell: Cell) -> list[dict[str, Any]]:
    """One row a method: mean, interval, and what became of its trials."""
    return [
        _place(cell, entry.method)
        | {"competes": entry.competes, "n": entry.summary.n, "mean": entry.summary.mean}
        | _ends(entry.summary.interval)
        | {"failed": entry.summary.failures.k, "of": entry.summary.failures.n, "planned": entry.planned}
        | {"seeds": _listed(entry.summary.seeds), "values": _listed(entry.summary.values)}
        for entry in cell.entries
    ]


def differences(cell: Cell) -> list[dict[str, Any]]:
    """One row a comparison with the reference, positive is better."""
    return [
        _place(cell, claim.method)
        | {
            "reference": cell.reference,
            "competes": claim.competes,
            "pairs": claim.comparison.complete if cell.paired else None,
        }
        | {"failed_pairs": claim.comparison.failed if cell.paired else None, "difference": claim.comparison.effect}
        | _ends(claim.comparison.interval)
        | {"test": claim.test, "p": claim.p, "p_holm": claim.p_holm, "m": cell.m, "verdict": claim.verdict.word}
        | {"p_sign_flip": claim.comparison.p_sign_flip, "p_wilcoxon": claim.comparison.p_wilcoxon}
        | {"seeds": _listed(claim.comparison.seeds), "differences": _listed(claim.comparison.differences)}
        for claim in cell.claims
    ]


def compute(cell: Cell) -> list[dict[str, Any]]:
    """One row a method: mean score and every cost, those of training per trial."""
    return [
        _place(cell, entry.method)
        | {"competes": entry.competes, "n": entry.summary.n, "mean": entry.summary.mean}
        | _ends(entry.summary.interval)
        | {"parameters": entry.cost.parameters, "flop_coverage": entry.cost.flop_coverage}
        | {axis.key: axis.of(entry) for axis in COST_AXES}
        | {name: entry.cost.more.get(name) for name in PROFILED}
        for entry in cell.entries
    ]


def pairs(cell: Cell, matrix: Matrix) -> list[dict[str, Any]]:
    """One row an ordered pair of methods."""
    return [
        _place(cell, method)
        | {"other": other, "pairs": pair.n, "difference": pair.difference}
        | _ends(pair.interval)
        | {"p_holm": pair.p_holm}
        for method, row in zip(matrix.methods, matrix.pairs, strict=True)
        for other, pair in zip(matrix.methods, row, strict=True)
        if pair is not None
    ]


def curves(cell: Cell, panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """One row a drawn point of a mean curve."""
    return [
        {"dataset": cell.dataset, "budget": cell.budget, "split": panel.split, "metric": panel.metric}
        | {"method": curve.method, "epoch": int(curve.epochs[i])}
        | {"hours": None if curve.hours is None else f"{curve.hours[i]:.6g}", "n": int(curve.n[i])}
        | {name: f"{getattr(curve, name)[i]:.6g}" for name in ("mean", "low", "high")}  # there are many points
        for panel in panels
        for curve in panel.curves
        for i in range(len(curve.epochs))
    ]


def mean_ranks(one: Across) -> list[dict[str, Any]]:
    """One row a method: its mean rank over the data sets."""
    if one.ranks is None:
        return []
    return [
        {"budget": one.budget, "method": name, "mean_rank": rank, "data_sets": one.ranks.n}
        for name, rank in zip(one.ranked, one.ranks.mean_ranks, strict=True)
    ]


def across(one: Across) -> list[dict[str, Any]]:
    """One row a method: its effect over all data sets in the common unit, in both scopes."""
    rows = []
    for claim in one.claims:
        evidence = claim.evidence
        these = evidence.these and evidence.these.estimate
        new = evidence.new and evidence.new.estimate
        rows.append(
            {"budget": one.budget, "reference": one.reference, "method": claim.method, "competes": claim.competes}
            | {"unit": "ln " + one.unit if one.unit == "error ratio" else one.unit, "m": one.m}
            | {
                "data_sets": len(evidence.parts),
                "pairs": evidence.superiority.n or None,
                "failed_pairs": evidence.failed,
            }
            | {"value": these and these.value, "error": these and these.error, "df": these and these.df}
            | {"test": evidence.test, "p": evidence.p, "p_holm": claim.p_holm, "verdict": claim.verdict.word}
            | {"new_value": new and new.value, "new_error": new and new.error, "new_p_holm": claim.p_new_holm}
            | {"new_verdict": claim.verdict_new.word}
            | {f"leave_one_out_{key}": value for key, value in _ends(evidence.leave_one_out).items()}
        )
    return rows


def shares(listed: Sequence[VarianceShares]) -> list[dict[str, Any]]:
    """One row a method: the variances between seeds, between examples and of their interaction."""
    return [
        {"dataset": one.dataset, "budget": one.budget, "method": one.method, "difference": one.crossed.value}
        | _ends(one.interval)
        | {"seeds": one.crossed.n_seeds, "units": one.crossed.n_examples, "unit": one.unit}
        | {f"variance_{name}": getattr(one.crossed, name) for name in ("seed", "example", "interaction")}
        | {"half_width": one.half_width, "half_width_one_more_seed": one.half_width_one_more_seed}
        | {"half_width_1000_more_units": one.half_width_more_examples, "hours_per_seed": one.hours_per_seed}
        for one in listed
    ]


def tuning(found: Sequence[Tuned]) -> list[dict[str, Any]]:
    """One row a search: what it spent and what it found."""
    return [
        {"dataset": one.dataset, "budget": one.budget, "method": one.method, "metric": one.metric.name}
        | {"draws": one.asked, "done": one.done, "failed": one.failed, "stopped": one.stopped, "open": one.open}
        | {"different": one.different, "epochs": one.epochs, "hours": one.hours, "on_gpu": one.on_gpu}
        | {"default": one.default, "default_settings": one.default_settings}
        | {"winner": one.winner, "draw": one.draw, "settings": one.settings}
        for one in found
    ]


def for_script(cells: Sequence[Cell]) -> str:
    """Scores by seed and Student's quantiles as JSON that no name can break out of.

    The script computes paired differences from any reference with the rounding of `statistics.compare`; a cell whose
    seeds are not paired is not given to it.
    """
    from scipy.stats import t

    level = 1 - cells[0].alpha if cells else 0.95
    cells = [
        cell for cell in cells if cell.paired and all(len(entry.summary.seeds) <= MOST_SEEDS for entry in cell.entries)
    ]
    largest = max((len(entry.summary.seeds) for cell in cells for entry in cell.entries), default=0)
    found = {
        "level": level,
        "t": [None, None, *(float(t.isf((1 - level) / 2, n - 1)) for n in range(2, largest + 1))],
        "cells": [
            {
                "title": cell.title,
                "reference": cell.reference,
                "higher_is_better": cell.metric.higher_is_better,
                "fraction": cell.metric.unit == "fraction",
                "unit": cell.metric.difference_unit,
                "step": resolution(cell),
                "ratio": cell.splits.ratio if cell.splits else 0,
                "methods": [
                    {"name": e.method, "competes": e.competes, "seeds": e.summary.seeds, "values": e.summary.values}
                    for e in cell.entries
                    if e.skipped < e.planned
                ],
            }
            for cell in cells
        ],
    }
    text = json.dumps(found, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _place(cell: Cell, method: str) -> dict[str, Any]:
    return {
        "dataset": cell.dataset,
        "budget": cell.budget,
        "metric": cell.metric.name,
        "unit": cell.metric.unit,
        "method": method,
    }


def _ends(interval: Interval | None) -> dict[str, float | None]:
    return {"low": None, "high": None} if interval is None else {"low": interval.low, "high": interval.high}


def _listed(values: Sequence[float]) -> str | None:
    return " ".join(map(repr, values)) if len(values) <= MOST_SEEDS else None


def _address(text: str) -> str:
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode("ascii")
