"""Anyone's results become a results table: a CSV or parquet file with few columns, whoever ran the trials.

One row is one score of one method on one data set with one seed. Required columns: method, dataset, seed, metric, value
and higher_is_better (true or false). Optional: every other column of `table.COLUMNS`, such as
  unit      of the value; `fraction` for a share between 0 and 1, which is then shown in percent (default: none)
  budget    what the method was allowed; one table may hold several (default: default)
  status    done, stopped, skipped, missing, or an ending: diverged, out of memory and a plain failed count against the
            method, an infrastructure failure leaves the pair out, as missing at random (default: done)
  competes  false for an upper bound (default: true)
  purpose   tuning for a trial that looked for settings; draw then numbers its configuration, and settings is JSON of it
            (default: final)
  n_test    test examples; accuracy is then compared in steps of one example
  split_id  which train and test examples, where each seed has its own, the same for all methods; with n_test and
            n_train, their numbers, t is then the corrected resampled one (default: one split for all seeds)
and the costs (gflops, latency_ms_p50, peak_memory_mib, energy_j, gpu_hours, …). Columns of other names are left out,
and said.
Seeds pair the methods: the same number must mean the same split and order for all of them. Where it does not, say
--unpaired: seeds are then only numbers, each method may have its own, and Welch's t compares the means.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..harness.errors import TableError
from .table import KEY, NAMES, from_rows

REQUIRED = ("method", "dataset", "seed", "metric", "value", "higher_is_better")
DEFAULTS = {"status": "done", "budget": "default", "competes": "true", "split": "test"}
BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True)
class Given:
    """A results table as somebody gave it."""

    table: pd.DataFrame
    methods: tuple[str, ...]
    """In the order of the file, which is the order of the page."""
    places: tuple[tuple[str, str], ...]
    """Data sets and budgets in the order of the file."""
    notes: tuple[str, ...]
    """What was left out."""


def read(path: Path) -> Given:
    """Read a CSV or parquet file, or a folder that holds results.parquet or results.csv.

    Raises TableError for a file that is not there, cannot be parsed, lacks a column or breaks a rule of the table.
    """
    file = _file(path)
    try:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False) if file.suffix == ".csv" else pd.read_parquet(file)
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for a file they cannot parse
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise TableError(f"{file} cannot be read as a table: {first}. Write it again as CSV or parquet.") from error
    raw.columns = [str(name).strip() for name in raw.columns]
    twice = sorted({name for name in raw.columns if list(raw.columns).count(name) > 1})
    if twice:
        raise TableError(f"{file} has the column {', '.join(twice)} more than once; expected each once. Rename one.")
    absent = [name for name in REQUIRED if name not in raw.columns]
    if absent:
        raise TableError(
            f"{file} has no column {', '.join(absent)}; expected {', '.join(REQUIRED)}, one row a score. "
            "reports/reading.py says what each holds."
        )
    for name, default in DEFAULTS.items():
        blank = _empty(raw[name]) if name in raw.columns else pd.Series(True, index=raw.index)
        raw[name] = default if blank.all() else raw[name].where(~blank, default)
    if "unit" in raw.columns:
        raw["unit"] = raw["unit"].where(~_empty(raw["unit"]), None)
    for name in ("higher_is_better", "competes", "compiled"):
        if name in raw.columns:
            raw[name] = [_boolean(cell, name, file) for cell in raw[name]]
    if "trial_id" not in raw.columns:
        raw["trial_id"] = _identities(raw)
    left_out = sorted(set(raw.columns) - set(NAMES))
    kept = raw[[name for name in raw.columns if name in NAMES]]
    try:
        table = from_rows({str(name): cell for name, cell in row.items()} for row in kept.to_dict("records"))
    except TableError as error:
        raise TableError(f"{file}: {error}") from error
    percent = table["unit"].eq("fraction") & table["higher_is_better"] & (table["value"] > 1 + 1e-9)
    if percent.fillna(False).any():
        most = table.loc[percent.fillna(False), "value"].max()
        raise TableError(f"{file}: found a fraction of {most:g}, expected 0 to 1. Divide it or name another unit.")
    return Given(
        table,
        methods=_first_seen(raw["method"]),
        places=tuple(dict.fromkeys(zip(map(str, raw["dataset"]), map(str, raw["budget"]), strict=True))),
        notes=(f"Columns of {file.name} that were not read: {', '.join(left_out)}.",) if left_out else (),
    )


def _file(path: Path) -> Path:
    found = [path / "results.parquet", path / "results.csv"] if path.is_dir() else [path]
    for file in found:
        if file.is_file():
            return file
    raise TableError(f"no table at {' or '.join(map(str, found))}. Expected a CSV or parquet file, or a folder of one.")


def _empty(column: "pd.Series[Any]") -> "pd.Series[bool]":
    return column.isna() | (column.astype(str).str.strip() == "")


def _boolean(cell: Any, name: str, file: Path) -> bool | None:
    text = "" if pd.isna(cell) else str(cell).strip().lower()
    if text and text not in BOOLEANS:
        raise TableError(f"{file}: column {name} holds {cell!r}, expected true or false. Correct the row.")
    return BOOLEANS.get(text)


def _identities(raw: pd.DataFrame) -> list[str]:
    """A name for each row that only depends on its key."""
    rows = zip(*(map(str, raw[name]) for name in KEY if name in raw.columns), strict=True)
    return [hashlib.sha256(json.dumps(row).encode()).hexdigest()[:12] for row in rows]


def _first_seen(names: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, names)))
