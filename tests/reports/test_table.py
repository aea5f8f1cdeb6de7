"""The results table keeps its rules, its order and its bytes."""

import subprocess
import sys

import pandas as pd
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports import table as results


def test_every_column_has_its_declared_type(made):
    table = results.from_rows(made.sweep())
    assert [(name, str(kind)) for name, kind in table.dtypes.items()] == [(c.name, c.dtype) for c in results.COLUMNS]


def test_the_order_of_the_rows_does_not_matter(made):
    rows = made.sweep()
    pd.testing.assert_frame_equal(results.from_rows(rows), results.from_rows(rows[::-1]))


def test_an_empty_table_is_a_table(tmp_path):
    results.write(results.from_rows([]), tmp_path)
    assert results.read(tmp_path).empty


def test_what_is_written_is_read_back_from_parquet_and_from_csv(made, tmp_path):
    table = results.from_rows(made.sweep())
    results.write(table, tmp_path)
    pd.testing.assert_frame_equal(results.read(tmp_path), table)
    pd.testing.assert_frame_equal(results.read(tmp_path / "results.csv"), table)


def test_the_same_rows_give_the_same_bytes_in_any_order(made, tmp_path):
    table = results.from_rows(made.sweep())
    results.write(table, tmp_path / "a")
    results.write(table.sample(frac=1, random_state=1), tmp_path / "b")
    for name in ("results.parquet", "results.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["results.csv", "results.parquet"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("old")

    def half(temporary):
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        results.replace_file(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_method_called_na_keeps_its_name(made, tmp_path):
    results.write(results.from_rows([made.row("NA")]), tmp_path)
    assert results.read(tmp_path / "results.csv")["method"].tolist() == ["NA"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "running"}, r"unknown status.*status running.*Expected one of done, failed"),
        ({"value": None}, r"done trial without a finite value.*method uniform.*seed 0"),
        ({"value": float("nan")}, "without a finite value"),
        ({"value": float("inf")}, "without a finite value"),
        ({"metric": None}, "without metric"),
        ({"method": None}, "no method"),
        ({"competes": None}, "no competes"),
        ({"seed": 1.5}, r"column seed holds 1.5, expected Int64"),
        ({"seed": "one"}, "column seed holds 'one'"),
        ({"gflops": -1.0}, "negative gflops"),
        ({"colour": "red"}, "unknown column colour"),
        ({"competes": "perhaps"}, "column competes"),
    ],
)
def test_a_broken_rule_is_one_line_that_says_what_and_where(made, change, message):
    with pytest.raises(TableError, match=message) as caught:
        results.from_rows([{**made.row(), **change}])
    assert "\n" not in str(caught.value)


def test_a_unit_may_be_absent_but_not_for_some_trials_only(made):
    rows = [made.row(seed=s, metric="loss", unit="") for s in range(2)]
    assert results.from_rows(rows)["unit"].isna().all()
    with pytest.raises(TableError, match="found unit nats and none for digits, loss, expected one"):
        results.from_rows([*rows, made.row(seed=2, metric="loss", unit="nats")])
    results.from_rows([*rows, made.failed("uniform", 2, metric="loss", unit="")])


def test_a_failure_without_a_cause_is_an_outcome_and_another_error_is_not(made):
    errors = ("", "NonFiniteLoss", "WorkerLost", "ValueError")
    table = results.from_rows([made.row(), *(made.failed("new", s, error=e) for s, e in enumerate(errors))])
    counted = dict(zip(table["error_class"].fillna(""), results.outcomes(table), strict=True))
    assert [counted[error] for error in errors[1:]] == [True, False, False]
    assert results.outcomes(table)[table["status"] == "failed"].sum() == 2
    assert not results.outcomes(table)[table["status"] == "done"].any()


def test_duplicate_keys_are_named(made):
    with pytest.raises(TableError, match=r"duplicate keys in 2 rows: method uniform, dataset digits, .*seed 3"):
        results.from_rows([made.row(seed=3), made.row(seed=3, trial_id="again"), made.row(seed=4)])


@pytest.mark.parametrize("change", [{"unit": "cm"}, {"higher_is_better": False}])
def test_a_metric_of_a_data_set_has_one_unit_and_one_direction(made, change):
    with pytest.raises(TableError, match=rf"found {next(iter(change))} .* and .* for digits, accuracy, expected one"):
        results.from_rows([made.row(), made.row(seed=1, **change)])


def test_a_method_competes_everywhere_or_nowhere(made):
    with pytest.raises(TableError, match="found competes False and True for uniform"):
        results.from_rows([made.row(), made.row(seed=1, competes=False)])


def test_a_frame_of_other_columns_is_no_table():
    with pytest.raises(TableError, match=r"absent: .*attempts"):
        results.check(pd.DataFrame({"method": ["a"]}))


def test_a_missing_or_unreadable_file_is_said_so(tmp_path):
    with pytest.raises(TableError, match="no results table at"):
        results.read(tmp_path)
    (tmp_path / "results.parquet").write_bytes(b"not parquet")
    with pytest.raises(TableError, match="cannot be read as a results table"):
        results.read(tmp_path)


def test_reading_a_table_loads_neither_scipy_nor_matplotlib_nor_torch():
    heavy = ("torch", "ray", "mlflow", "scipy", "matplotlib", "seaborn", "jinja2")
    code = f"import sys, zoombench.reports.table; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("word", "status", "error_class"),
    [
        ("completed", "done", None),
        ("diverged", "failed", "NonFiniteLoss"),
        ("out of memory", "failed", "OutOfMemoryError"),
        ("infrastructure failure", "failed", "WorkerLost"),
    ],
)
def test_an_ending_in_plain_words_becomes_a_status_and_an_error_class(made, word, status, error_class):
    (row,) = results.from_rows([made.row(status=word)]).to_dict("records")
    assert row["status"] == status
    assert (row["error_class"] if error_class else None) == error_class


def test_a_declared_divergence_is_an_outcome_whatever_the_error_was_called(made):
    (row,) = results.from_rows([made.row(status="diverged", error_class="FloatingPointError")]).to_dict("records")
    assert row["error_class"] in results.OUTCOMES
