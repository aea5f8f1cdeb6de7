"""The results table: one row per planned trial and final metric; columns, units, reading, writing, checking."""

from dataclasses import dataclass


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
    Column("status", "string", "done, failed, skipped or missing"),
    Column("error_class", "string", "class of the error of a failed trial, else empty"),
    Column("reason", "string", "one line: why failed, skipped or missing; else empty"),
    Column("split", "string", "test"),
    Column("metric", "string", "primary metric of the task"),
    Column("value", "Float64", "the score; absent unless done"),
    Column("unit", "string", "unit of the score"),
    Column("higher_is_better", "boolean", "direction of the metric"),
    Column("n_test", "Int64", "test examples behind the score"),
    Column("epoch", "Int64", "epochs trained"),
    Column("parameters", "Int64", "trainable parameters"),
    Column("gflops", "Float64", "1e9 floating-point operations for one image, forward; a multiply-add is two"),
    Column("flop_coverage", "Float64", "share of these operations counted by an exact formula, 0 to 1"),
    Column("latency_ms_p50", "Float64", "median milliseconds of one forward pass, batch 1"),
    Column("latency_ms_p90", "Float64", "90th percentile of the same"),
    Column("peak_memory_mib", "Float64", "MiB of tensors at the peak of one training step"),
    Column("train_seconds", "Float64", "seconds spent training, all attempts"),
    Column("gpu_hours", "Float64", "GPUs x hours of training; 0 on a CPU"),
    Column("commit", "string", "git commit of the code that ran"),
    Column("run_id", "string", "MLflow run, empty until tracked"),
    Column("device", "string", "device name"),
    Column("torch", "string", "version of torch"),
    Column("started", "string", "ISO 8601 time of the first attempt, UTC"),
    Column("attempts", "Int64", "how often the trial was started"),
)
