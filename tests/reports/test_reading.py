"""Anyone's table: few columns are enough, nothing is guessed, and every complaint names the file and the next step."""

import re
from pathlib import Path

import pandas as pd
import pytest

from zoombench.harness.errors import TableError
from zoombench.reports import reading
from zoombench.reports.page import About, claimed, render

SMALL = """seed,method,dataset,metric,value,higher_is_better
1,zeta,cars,error,2.0,false
2,zeta,cars,error,2.5,false
1,alpha,cars,error,1.0,false
2,alpha,cars,error,1.5,false
1,alpha,birds,error,1.0,FALSE
"""


def given(tmp_path, text=SMALL, name="mine.csv"):
    path = tmp_path / name
    path.write_text(text)
    return reading.read(path)


def test_six_columns_are_enough(tmp_path):
    found = given(tmp_path)
    assert found.table["budget"].unique().tolist() == ["default"]
    assert found.table["unit"].isna().all()
    assert found.table["status"].unique().tolist() == ["done"]
    assert found.table["competes"].all()
    assert not found.table["higher_is_better"].any()
    assert found.table["trial_id"].is_unique


def test_methods_and_data_sets_keep_the_order_of_the_file(tmp_path):
    found = given(tmp_path)
    assert found.methods == ("zeta", "alpha")
    assert found.places == (("cars", "default"), ("birds", "default"))


def test_parquet_and_csv_give_the_same_table(tmp_path):
    given(tmp_path)
    raw = pd.read_csv(tmp_path / "mine.csv")
    raw.to_parquet(tmp_path / "mine.parquet")
    pd.testing.assert_frame_equal(reading.read(tmp_path / "mine.parquet").table, given(tmp_path).table)


def test_a_results_table_reads_as_itself_from_its_folder(made, tmp_path):
    from zoombench.reports.table import from_rows, write

    table = from_rows(made.sweep())
    write(table, tmp_path)
    pd.testing.assert_frame_equal(reading.read(tmp_path).table, table)
    (tmp_path / "results.parquet").unlink()
    pd.testing.assert_frame_equal(reading.read(tmp_path).table, table)


def test_without_a_unit_none_is_shown(tmp_path):
    page = render(given(tmp_path).table, About("mine", "zeta", command="", resolved="", versions={}, commit=""))
    assert "error (lower is better)" in page
    assert "error: difference from zeta (+ is better)" in page
    assert "method minus zeta, error, positive is better" in page
    assert not re.search(r"\bunits\b", page)


def test_a_plain_failure_counts_against_the_method_and_an_infrastructure_failure_does_not(tmp_path):
    text = SMALL.replace("_better\n", "_better,status\n").replace("false\n", "false,\n").replace("FALSE\n", "FALSE,\n")
    text += "3,alpha,cars,error,,false,failed\n4,alpha,cars,error,,false,infrastructure failure\n"
    text += "3,zeta,cars,error,2.0,false,\n4,zeta,cars,error,2.0,false,\n"
    found = given(tmp_path, text)
    told = {"command": "", "resolved": "", "versions": {}, "commit": ""}
    (cell, *_) = claimed(found.table, About(sweep="mine", reference="zeta", places=found.places, **told))
    (claim,) = cell.claims
    assert (claim.comparison.n, claim.comparison.failed, claim.comparison.losses) == (3, 1, 1)
    assert cell.entry("alpha").lost == 1


def test_the_complaint_about_a_strangers_table_names_nothing_of_ours(tmp_path):
    with pytest.raises(TableError, match="duplicate keys") as caught:
        given(tmp_path, SMALL.replace("\n2,zeta", "\n1,zeta"))
    assert str(caught.value).endswith("Correct these rows.")
    assert "ledger" not in str(caught.value)


def test_endings_in_plain_words_become_statuses(tmp_path):
    text = SMALL.replace("_better\n", "_better,status\n").replace("false\n", "false,\n").replace("FALSE\n", "FALSE,\n")
    found = given(tmp_path, text + "3,alpha,cars,error,,false,diverged\n").table
    assert found.loc[found["seed"] == 3, ["status", "error_class"]].values.tolist() == [["failed", "NonFiniteLoss"]]
    assert (found["status"] == "done").sum() == 5


def test_whole_numbers_may_be_written_as_other_programs_write_them(tmp_path):
    text = (
        SMALL.replace("seed,method", "n_test,seed,method").replace("\n1,", "\n1000.0,1.0,").replace("\n2,", "\n,2.0,")
    )
    table = given(tmp_path, text).table
    assert set(table["seed"]) == {1, 2}
    assert set(table["n_test"].dropna()) == {1000}


def test_a_trial_that_failed_need_not_say_its_unit(tmp_path):
    text = SMALL.replace("seed,method", "unit,status,seed,method").replace("\n1,", "\ncm,done,1,")
    text = text.replace("\n2,", "\n,diverged,2,").replace("2.5", "").replace("1.5", "")
    table = given(tmp_path, text).table
    assert table["unit"].dropna().unique().tolist() == ["cm"]
    assert table.loc[table["status"] == "failed", "error_class"].tolist() == ["NonFiniteLoss", "NonFiniteLoss"]


def test_columns_of_other_names_are_said(tmp_path):
    found = given(
        tmp_path, SMALL.replace("seed,method", "seed,mood,method").replace("\n1,", "\n1,x,").replace("\n2,", "\n2,y,")
    )
    assert found.notes == ("Columns of mine.csv that were not read: mood.",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no column method, dataset, seed, metric, value, higher_is_better; expected"),
        (SMALL.replace("higher_is_better", "up"), "has no column higher_is_better; expected"),
        (SMALL.replace("FALSE", "lower"), "column higher_is_better holds 'lower', expected true or false"),
        (SMALL.replace("2.0", "nan"), "a done trial without a finite value in 1 rows: method zeta"),
        (SMALL.replace("2.0", "inf"), "a done trial without a finite value"),
        (SMALL.replace("2.0", ""), "a done trial without a finite value"),
        (SMALL.replace("2.0", "two"), "column value holds 'two', expected Float64"),
        (SMALL.replace("\n2,zeta", "\n1,zeta"), "duplicate keys in 2 rows"),
        (SMALL.replace("1.5,false", "1.5,true"), "found higher_is_better False and True for cars, error"),
        (SMALL.replace("seed,method", "seed,method, value"), "has the column value more than once; expected each once"),
        (SMALL.replace("value,", "gpu_hours,value,").replace("error,", "error,-1,"), "found a negative gpu_hours"),
        (
            SMALL.replace("error", "share")
            .replace("false", "true")
            .replace("FALSE", "true")
            .replace("seed,", "unit,seed,")
            .replace("\n1,", "\nfraction,1,")
            .replace("\n2,", "\nfraction,2,"),
            "found a fraction of 2.5, expected 0 to 1. Divide it or name another unit.",
        ),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_that_will_not_do_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(TableError, match=re.escape(message)) as caught:
        given(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "mine.csv" in str(caught.value)


def test_a_file_that_is_not_there_or_no_parquet_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"no table at .*nowhere\.csv"):
        reading.read(tmp_path / "nowhere.csv")
    with pytest.raises(TableError, match=r"no table at .*results\.parquet or .*results\.csv"):
        reading.read(tmp_path)
    with pytest.raises(TableError, match="cannot be read as a table"):
        given(tmp_path, "nonsense", "mine.parquet")


def test_the_committed_table_makes_the_page_and_the_numbers_of_the_readme():
    found = reading.read(Path(__file__).with_name("quickstart.csv"))
    told = {"command": "zoombench report", "resolved": "", "versions": {}, "commit": ""}
    about = About(sweep="quickstart", reference="uniform", methods=found.methods, **told)
    (cell,) = claimed(found.table, about)
    readme = (Path(reading.__file__).parents[1] / "README.md").read_text()
    for entry in cell.entries:
        assert f"| `{entry.method}` | {100 * entry.summary.mean:.1f}% " in readme
    page = render(found.table, about)
    assert page == render(found.table, about)
    assert "saliency_sampler is better by 59.35 points [+57.57, +61.13], at 1.4 × the GFLOPs" in page
