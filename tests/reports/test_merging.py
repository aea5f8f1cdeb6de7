"""Joining tables: agreement is kept once, conflicts are listed, and the order of the tables never matters."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoombench.harness.errors import TableError
from zoombench.reports.merging import merge
from zoombench.reports.table import from_rows


def test_a_table_with_itself_is_itself(made):
    table = from_rows(made.sweep())
    merged, conflicts = merge({"a": table, "b": table})
    assert conflicts == ()
    pd.testing.assert_frame_equal(merged, table)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=20, max_size=20), st.permutations(["a", "b", "c"]))
def test_the_parts_of_a_table_give_it_back_in_any_order(made, owners, order):
    rows = [made.row(m, s, 0.5 + 0.01 * s) for m in ("uniform", "new") for s in range(10)]
    parts = {name: [] for name in "abc"}
    for owner, row in zip(owners, rows, strict=True):
        parts["abc"[owner]].append(row)
    merged, conflicts = merge({name: from_rows(parts[name]) for name in order})
    assert conflicts == ()
    pd.testing.assert_frame_equal(merged, from_rows(rows))


def test_costs_may_differ_and_the_first_to_start_is_kept(made):
    early = from_rows([made.row(started="2026-01-01T00:00", latency_ms_p50=3.0, device="gpu")])
    late = from_rows([made.row(started="2026-02-01T00:00", latency_ms_p50=2.0, device="cpu")])
    for tables in ({"a": early, "b": late}, {"b": late, "a": early}):
        merged, conflicts = merge(tables)
        assert conflicts == ()
        assert merged["device"].tolist() == ["gpu"]


@pytest.mark.parametrize(
    ("other", "column"),
    [
        ({"value": 0.51}, "value"),
        ({"trial_id": "another"}, "trial_id"),
        ({"n_test": 999}, "n_test"),
        ({"value": None, "status": "failed", "error_class": "NonFiniteLoss"}, "status"),
        ({"value": None, "status": "skipped"}, "status"),
    ],
)
def test_two_results_that_differ_are_a_conflict_and_neither_is_kept(made, other, column):
    one, two = from_rows([made.row(), made.row(seed=1)]), from_rows([{**made.row(), **other}])
    merged, (conflict,) = merge({"one": one, "two": two})
    swapped, (same,) = merge({"two": two, "one": one})
    assert conflict == same
    assert conflict.column == column
    assert merged["seed"].tolist() == swapped["seed"].tolist() == [1]
    assert str(conflict).startswith(f"uniform on digits, small, seed 0, accuracy: {column} is ")
    assert "in one" in str(conflict)
    assert "in two" in str(conflict)


@pytest.mark.parametrize("status", ["missing", "stopped", "failed"])
def test_what_says_nothing_of_the_method_gives_way_to_a_result(made, status):
    error = "WorkerLost" if status == "failed" else None
    gone = from_rows([made.row(value=None, status=status, error_class=error)])
    for tables in ({"a": gone, "b": from_rows([made.row()])}, {"b": from_rows([made.row()]), "a": gone}):
        merged, conflicts = merge(tables)
        assert conflicts == ()
        assert merged["status"].tolist() == ["done"]


def test_one_name_for_two_trials_is_a_conflict_even_if_one_is_missing(made):
    one = from_rows([made.row()])
    two = from_rows([{**made.row(value=None, status="missing"), "trial_id": "another"}])
    assert [conflict.column for conflict in merge({"one": one, "two": two})[1]] == ["trial_id"]


def test_tables_that_break_a_rule_together_are_refused(made):
    one, two = from_rows([made.row()]), from_rows([made.row(seed=1, competes=False)])
    with pytest.raises(TableError, match="found competes False and True for uniform"):
        merge({"one": one, "two": two})
