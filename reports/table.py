"""The results table: one row per planned trial and final metric; columns, units, reading, writing, checking."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..harness.errors import TableError


@dataclass(frozen=True)
class Column:
    """One column of the results table."""

    name: str
    dtype: str
    """A pandas dtype; the nullable ones where a value may be absent."""
    meaning: str


COLUMNS = (
    Column("trial_id", "string", "hash of everything that changes the trial's numbers"),
    Column("method", "string", "label in the sweep file"),
    Column("dataset", "string", "label in the sweep file"),
    Column("budget", "string", "label in the sweep file"),
    Column("seed", "Int64", "initialisation and order; pairs the methods"),
    Column("competes", "boolean", "false for an upper bound, which is shown and never ranked"),
    Column("purpose", "string", "final, or tuning: a trial that looked for settings, which is in no comparison"),
    Column("draw", "Int64", "of a tuning trial, which configuration it tried; 0 is the sweep file's own"),
    Column("settings", "string", "JSON of the settings that tuning tried in this trial, or chose for it"),
    Column("status", "string", "done, failed, stopped, skipped or missing"),
    Column("error_class", "string", "class of the error of a failed trial, else empty"),
    Column("reason", "string", "one line: why failed, stopped, skipped or missing; else empty"),
    Column("split", "string", "test; of a tuning trial validation"),
    Column("metric", "string", "primary metric of the task"),
    Column("value", "Float64", "the score; absent unless done"),
    Column("unit", "string", "unit of the score, empty if it has none"),
    Column("higher_is_better", "boolean", "direction of the metric"),
    Column("n_test", "Int64", "test examples behind the score"),
    Column("n_train", "Int64", "training examples; needed where each seed has a split of its own"),
    Column("split_id", "string", "which train and test examples; empty where every seed has the same"),
    Column("bad_files", "Int64", "examples left out because their files cannot be read (data.on_bad_file: skip)"),
    Column("epoch", "Int64", "epochs trained"),
    Column("parameters", "Int64", "trainable parameters"),
    Column("gflops", "Float64", "1e9 floating-point operations for one image, forward; a multiply-add is two"),
    Column("gflops_pointwise", "Float64", "of these: batch norm, activations and all else done element by element"),
    Column("gflops_overhead", "Float64", "of these: outside the task network, so what deciding where to look adds"),
    Column("gflops_refused", "string", "why there is no number of operations; else empty"),
    Column("flop_coverage", "Float64", "share of these operations counted by a formula, 0 to 1; below 0.95 is refused"),
    Column("latency_ms_p50", "Float64", "median milliseconds of one forward pass, batch 1; see latency_source"),
    Column("latency_ms_p50_low", "Float64", "95% t interval of its logarithm over the processes of a profile: low end"),
    Column("latency_ms_p50_high", "Float64", "high end of the same"),
    Column("latency_ms_p90", "Float64", "90th percentile of the same"),
    Column("latency_ms_p90_low", "Float64", "95% interval by order statistics over all calls of a profile: low end"),
    Column("latency_ms_p90_high", "Float64", "high end; empty where the calls are too few to bound it"),
    Column("latency_ms_p99", "Float64", "99th percentile, of a profile"),
    Column("latency_ms_p99_low", "Float64", "interval as of the 90th percentile: low end"),
    Column("latency_ms_p99_high", "Float64", "high end; empty where the calls are too few to bound it"),
    Column("latency_source", "string", "profile: alone, in fresh processes; trial: once, perhaps beside other trials"),
    Column("latency_processes", "Int64", "fresh processes of the profile"),
    Column("latency_calls", "Int64", "timed calls of the profile, all processes together"),
    Column(
        "latency_drift", "Float64", "largest change of the reference network in a process, a share; above 0.03 is much"
    ),
    Column("latency_conditions", "string", "precision, threads, batch, device and versions of the profile"),
    Column("latency_device", "string", "device of the profile, which may not be the trial's"),
    Column("images_per_second", "Float64", "forward passes of the training batch, from device memory"),
    Column("pipeline_ms_p50", "Float64", "median milliseconds from reading one image to its answer, batch 1"),
    Column("pipeline_images_per_second", "Float64", "the same at the training batch, with the loader's processes"),
    Column("peak_memory_mib", "Float64", "MiB of tensors at the peak of one training step"),
    Column("inference_memory_mib", "Float64", "the same of one forward pass of the training batch"),
    Column("host_memory_mib", "Float64", "MiB that data, method and training add to the resident memory of a process"),
    Column("energy_j", "Float64", "joules of one forward pass of one image, where it was measured"),
    Column("energy_trial_j", "Float64", "joules of the trial's own GPUs over all attempts, where NVML tells"),
    Column("train_seconds", "Float64", "seconds spent training, up to the last checkpoint of each attempt"),
    Column("attempt_seconds", "Float64", "seconds from start to end of all attempts, failed and lost ones too"),
    Column("gpu_hours", "Float64", "GPUs x hours of training; 0 on a CPU"),
    Column("gpu_hours_all", "Float64", "GPUs x hours held over all attempts, failed and lost ones too; 0 on a CPU"),
    Column("commit", "string", "git commit of the code that ran"),
    Column("run_id", "string", "MLflow run, empty until tracked"),
    Column("device", "string", "device name"),
    Column("precision", "string", "numbers it computed in: float32; bf16 or fp16, which are mixed precision"),
    Column("compiled", "boolean", "trained through torch.compile"),
    Column("cpu_threads", "Int64", "threads it computed with on the CPU, all its processes together"),
    Column("skipped_steps", "Int64", "training steps left out because gradients did not fit fp16"),
    Column("processes", "Int64", "processes that shared each batch"),
    Column("torch", "string", "version of torch"),
    Column("data", "string", "hash of the index files of a data set from disk; empty for one made by code"),
    Column("started", "string", "ISO 8601 time of the first attempt, UTC"),
    Column("attempts", "Int64", "how often the trial was started"),
)

NAMES = tuple(column.name for column in COLUMNS)
KEY = ("method", "dataset", "budget", "seed", "metric", "purpose", "draw")
"""Names one score; two rows with the same key are an error, never an average."""
ORDER = ("dataset", "budget", "method", "seed", "metric", "trial_id", "draw")
PURPOSES = ("final", "tuning")
STATUSES = ("done", "failed", "stopped", "skipped", "missing")
"""Stopped: ended early by a scheduler. Such a trial belongs to a search; no comparison ever sees it."""
ENDINGS = {
    "completed": ("done", ""),
    "diverged": ("failed", "NonFiniteLoss"),
    "out of memory": ("failed", "OutOfMemoryError"),
    "infrastructure failure": ("failed", "WorkerLost"),
}
"""What else the status of a row may be called when it is read, and what it then becomes: status and error class."""
LARGEST = 1e100
COSTS = (
    "parameters",
    "gflops",
    "gflops_pointwise",
    "gflops_overhead",
    "latency_ms_p50",
    "latency_ms_p50_low",
    "latency_ms_p50_high",
    "latency_ms_p90",
    "latency_ms_p90_low",
    "latency_ms_p90_high",
    "latency_ms_p99",
    "latency_ms_p99_low",
    "latency_ms_p99_high",
    "latency_processes",
    "latency_calls",
    "latency_drift",
    "images_per_second",
    "pipeline_ms_p50",
    "pipeline_images_per_second",
    "peak_memory_mib",
    "inference_memory_mib",
    "host_memory_mib",
    "energy_j",
    "energy_trial_j",
    "train_seconds",
    "attempt_seconds",
    "gpu_hours",
    "gpu_hours_all",
)
OUTCOMES = ("NonFiniteLoss", "OutOfMemoryError", "MemoryError")
"""Errors that are a result of the method under its budget, and lose its pairs. Any other error (a lost node, a full
disk, a mistake in the code) says nothing of that kind: its pairs are left out, and the page says so. A failure without
a cause is an outcome too: left out as if by chance, it would flatter the method that fails."""


def from_rows(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Give rows their types and one order; an absent cell, None or an empty text becomes a missing value.

    The order of the given rows does not matter. Raises TableError for a column that the table does not have, for a
    cell of the wrong type and for a table that breaks a rule of `check`.
    """
    listed = [_ended({**row, "purpose": "final"} if _absent(row.get("purpose")) else dict(row)) for row in rows]
    unknown = sorted({str(name) for row in listed for name in row} - set(NAMES))
    if unknown:
        raise TableError(
            f"unknown column {', '.join(unknown)} in the rows; the columns are listed in reports/table.py."
        )
    table = pd.DataFrame({c.name: _typed([row.get(c.name) for row in listed], c) for c in COLUMNS})
    check(table)
    return ordered(table)


def check(table: pd.DataFrame) -> None:
    """Raise TableError, in one line, if the table breaks one of its rules.

    The rules: the columns are COLUMNS; identity is never empty; a key occurs once; status and purpose are known; a done
    row has a finite value (below 1e100, so that no square overflows) and says its metric and direction; a data set's
    metric has one unit, or none, and one direction; a method competes everywhere or nowhere; no cost is negative.
    """
    if tuple(table.columns) != NAMES:
        absent, extra = sorted(set(NAMES) - set(table.columns)), sorted(set(table.columns) - set(NAMES))
        raise TableError(
            f"found a table with {len(table.columns)} columns (absent: {_listed(absent)}; unknown: {_listed(extra)}), "
            f"expected the {len(NAMES)} of reports/table.py in their order. Make the table with from_rows."
        )
    for name in ("trial_id", "method", "dataset", "budget", "seed", "competes", "status"):
        _refuse(table, table[name].isna(), f"no {name}", expected=f"every row to have a {name}")
    for name, known in (("status", STATUSES), ("purpose", PURPOSES)):
        unknown = ~table[name].isin(known)
        _refuse(table, unknown, f"an unknown {name}", expected=f"one of {', '.join(known)}", show=(name,))
    copies = table.duplicated(list(KEY), keep=False)
    one = "one row for each method, dataset, budget, seed and metric, or draw of a tuning trial"
    _refuse(table, copies, "duplicate keys", expected=one, show=KEY[:5])
    done = table["status"] == "done"
    values = table["value"].to_numpy(dtype=float, na_value=np.nan)
    finite = pd.Series(np.abs(values) < LARGEST, index=table.index)
    _refuse(table, done & ~finite, "a done trial without a finite value", expected="a finite value or status failed")
    for name in ("metric", "higher_is_better"):
        _refuse(table, done & table[name].isna(), f"a done trial without {name}", expected=f"a {name}")
    said = table.assign(unit=table["unit"].fillna("none").where(done | table["unit"].notna()))
    for name in ("unit", "higher_is_better"):
        _one_each(said, ["dataset", "metric"], name)
    _one_each(table, ["method"], "competes")
    for name in COSTS:
        _refuse(table, (table[name] < 0).fillna(False), f"a negative {name}", expected="zero or more", show=(name,))


def finals(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that comparisons, means and figures are made of: those of no tuning trial."""
    return table[table["purpose"] == "final"].reset_index(drop=True)


def outcomes(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are failures that count against their method: those of OUTCOMES, and those without a cause."""
    counts = table["error_class"].isna() | table["error_class"].isin(OUTCOMES)
    return (table["status"].eq("failed") & counts).fillna(False).astype(bool)


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write results.parquet and results.csv into the folder, each all or nothing.

    The same rows give the same bytes, in whatever order they come. Raises TableError if the table breaks a rule.
    """
    check(table)
    rows = ordered(table)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "results.parquet", lambda path: rows.to_parquet(path, index=False))
    replace_file(folder / "results.csv", lambda path: rows.to_csv(path, index=False, lineterminator="\n"))


def read(path: Path) -> pd.DataFrame:
    """Read a table from results.parquet, results.csv or the folder that holds them.

    Raises TableError if there is no such file or if what it holds is not a results table.
    """
    file = path / "results.parquet" if path.is_dir() else path
    if not file.is_file():
        raise TableError(f"no results table at {file}. Write one with `zoombench report` first.")
    try:
        csv = file.suffix == ".csv"
        raw = pd.read_csv(file, dtype=str, keep_default_na=False) if csv else pd.read_parquet(file)
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for a file they cannot parse
        raise TableError(f"{file} cannot be read as a results table: {_first_line(error)}. Write it again.") from error
    return from_rows({str(name): cell for name, cell in row.items()} for row in raw.to_dict("records"))


def replace_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, so that a reader never sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        fill(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _ended(row: dict[str, Any]) -> dict[str, Any]:
    known = ENDINGS.get(str(row.get("status")))
    return row if known is None else {**row, "status": known[0], "error_class": known[1]}


def _typed(cells: list[Any], column: Column) -> pd.Series:
    cells = [None if _absent(cell) else cell for cell in cells]
    if column.dtype == "string":
        cells = [None if cell is None else str(cell) for cell in cells]
    if column.dtype == "boolean":
        cells = [{"True": True, "False": False}.get(cell, cell) if isinstance(cell, str) else cell for cell in cells]
    if column.dtype in ("Int64", "Float64"):
        cells = [_number(cell, column) for cell in cells]
    try:
        return pd.Series(cells, dtype=column.dtype)
    except (TypeError, ValueError) as error:
        raise TableError(
            f"column {column.name} holds a cell that is no {column.dtype}: {_first_line(error)}. Correct the row."
        ) from error


def _number(cell: Any, column: Column) -> float | int | None:
    if cell is None:
        return None
    try:
        number = float(cell)
        if column.dtype == "Float64":
            return number
        whole = int(cell) if isinstance(cell, int) or str(cell).strip().lstrip("+-").isdigit() else int(number)
        if whole != number:
            raise ValueError("not a whole number")
        return whole
    except (TypeError, ValueError, OverflowError) as error:
        raise TableError(f"column {column.name} holds {cell!r}, expected {column.dtype}. Correct the row.") from error


def _absent(cell: Any) -> bool:
    empty = isinstance(cell, str) and cell == ""
    return empty or cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell))


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """The table in its one order: data set, budget, method, seed, metric."""
    return table.sort_values(list(ORDER), kind="stable", ignore_index=True)


def _refuse(
    table: pd.DataFrame, wrong: pd.Series, found: str, *, expected: str, show: tuple[str, ...] = KEY[:4]
) -> None:
    rows = table[wrong.astype(bool)]
    if rows.empty:
        return
    names = list(dict.fromkeys((*KEY[:4], *show)))
    places = sorted({", ".join(f"{name} {row[name]}" for name in names) for _, row in rows.iterrows()})
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    raise TableError(
        f"found {found} in {len(rows)} rows: {'; '.join(places[:3])}{more}. Expected {expected}. Correct these rows."
    )


def _one_each(table: pd.DataFrame, by: list[str], name: str) -> None:
    for key, group in table.groupby(by, sort=True, dropna=True):
        values = sorted(str(value) for value in group[name].dropna().unique())
        if len(values) > 1:
            raise TableError(
                f"found {name} {' and '.join(values)} for {', '.join(map(str, key))}, "
                f"expected one. Score them with one task or give them two names."
            )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
