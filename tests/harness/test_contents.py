"""Data from disk are told by content in a trial's id, found by roots that are no part of it."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from zoombench.harness import cli, contents, planned, spec, trial
from zoombench.harness.commands import DONE
from zoombench.harness.errors import ResultsError, SweepFileError, TrialError
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Data, Settings
from zoombench.tests.datasets.marks import write_marks

BUDGET = {"image_size": 16, "epochs": 1, "batch": 4}


@pytest.fixture(autouse=True)
def nothing_read_before():
    contents._content.cache_clear()


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of data sets; the second holds other pictures under the same names."""
    for number, name in enumerate(("one", "two")):
        write_marks(tmp_path / name, seed=number)
    listing = tmp_path / "two" / "marks" / "marks.json"
    listing.write_text(listing.read_text().replace("mark ", "sign "))
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def on_marks(sweep_file):
    def write(**keys) -> Path:
        return sweep_file(**{"datasets": {"marks": {}}, "budgets": {"b": BUDGET}} | keys)

    return write


def the_id(path: Path) -> str:
    contents._content.cache_clear()
    return spec.load(path).trials[0].id


def test_an_id_depends_on_what_the_data_are_and_not_on_where_they_lie(on_marks, roots, tmp_path):
    one, two = roots
    first = the_id(on_marks(data={"root": str(one)}))
    shutil.copytree(one, tmp_path / "copy")
    assert the_id(on_marks(data={"root": str(tmp_path / "copy")})) == first
    assert the_id(on_marks(data={"root": str(two)})) != first
    assert the_id(on_marks()) != first


def test_an_id_on_data_that_code_makes_is_what_it_always_was(sweep_file):
    assert the_id(sweep_file()) == "24c05dc8a0a9"
    assert spec.load("quickstart").trials[0].id == "3872283cd5bb"


@pytest.mark.parametrize("key", ["birds", "marks"])
def test_one_data_set_may_have_a_root_of_its_own_by_label_or_by_name(on_marks, roots, key):
    one, two = map(str, roots)
    plain = on_marks(datasets={"birds": {"dataset": "marks"}}, data={"root": one})
    first = the_id(plain)
    assert the_id(on_marks(datasets={"birds": {"dataset": "marks"}}, data={"root": one, "roots": {key: two}})) != first
    assert the_id(on_marks(datasets={"birds": {"dataset": "marks"}}, data={"root": two, "roots": {key: one}})) == first


def test_a_root_by_label_goes_before_one_by_name(roots):
    data = Data(root="/a", roots={"birds": "/b", "marks": "/c"})
    assert [data.folder(*names) for names in (("birds", "marks"), ("x", "marks"), ("x", "y"))] == ["/b", "/c", "/a"]


def test_two_copies_of_a_set_are_two_data_sets_here_or_not(on_marks, roots, tmp_path):
    datasets = {"old": {"dataset": "marks"}, "new": {"dataset": "marks"}}
    keys = {"datasets": datasets, "data": {"roots": {"old": str(roots[0]), "new": str(roots[1])}}}
    assert len({made.id for made in spec.load(on_marks(**keys)).trials}) == 2
    contents._content.cache_clear()
    keys["data"] = {"roots": {"old": str(tmp_path / "x"), "new": str(tmp_path / "y")}}
    assert len(spec.load(on_marks(**keys)).trials) == 2
    contents._content.cache_clear()
    keys["data"] = {"root": str(roots[0])}
    with pytest.raises(SweepFileError, match="one result would count twice"):
        spec.load(on_marks(**keys))


def test_a_root_counts_from_the_current_folder(on_marks, roots, monkeypatch):
    monkeypatch.chdir(roots[0].parent)
    assert spec.load(on_marks(data={"root": "one"})).settings.data.root == str(roots[0])
    monkeypatch.setenv("HOME", str(roots[0].parent))
    assert spec.load(on_marks(data={"root": "~/one"})).settings.data.root == str(roots[0])


def test_the_environment_names_the_root_that_the_file_leaves_out(on_marks, roots, monkeypatch):
    monkeypatch.setenv("ZOOMBENCH_DATA", str(roots[1]))
    assert spec.load(on_marks()).settings.data.folder("marks", "marks") == str(roots[1])
    assert spec.load(on_marks(data={"root": str(roots[0])})).settings.data.folder("marks", "marks") == str(roots[0])


def test_the_environment_is_asked_where_a_trial_runs(on_marks, roots, monkeypatch):
    planned = spec.load(on_marks()).settings.model_dump()
    monkeypatch.setenv("ZOOMBENCH_DATA", str(roots[0]))
    assert Settings(**planned).data.folder("marks", "marks") == str(roots[0])
    monkeypatch.setenv("ZOOMBENCH_DATA", str(roots[1]))
    assert Settings(**planned).data.folder("marks", "marks") == str(roots[1])


MISTAKES = {
    "the old key": (
        {"settings": {"data_root": "/data"}},
        r"settings: data_root is a section of its own now: write `data: \{root: FOLDER\}`",
    ),
    "the old key of precision": (
        {"settings": {"amp": True}},
        r"settings: amp is called precision now: write `precision: bf16` for true, and nothing for false",
    ),
    "a root of nothing here": (
        {"data": {"roots": {"mark": "/data"}}},
        r"data.roots.mark: no dataset of this label or name. Did you mean marks\?",
    ),
    "a misspelt key": ({"data": {"rot": "/data"}}, r"data.rot: unknown key 'rot'. Did you mean root\?"),
    "a policy that there is not": (
        {"data": {"on_bad_file": "ignore"}},
        r"data.on_bad_file: expected 'raise' or 'skip', found 'ignore'",
    ),
    "an empty root": ({"data": {"root": ""}}, r"data.root: "),
}


@pytest.mark.parametrize(("keys", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_data_section_is_one_clear_line(on_marks, keys, message):
    with pytest.raises(SweepFileError, match=rf"small\.yaml:\d+: {message}"):
        spec.load(on_marks(**keys))


def test_a_sweep_file_spelled_out_finds_the_same_data(on_marks, roots, tmp_path):
    first = spec.load(on_marks(data={"root": str(roots[0])}))
    (tmp_path / "again.yaml").write_text(first.resolved())
    again = spec.load(tmp_path / "again.yaml")
    assert [made.id for made in again.trials] == [made.id for made in first.trials]
    assert again.settings == first.settings


def test_plan_without_the_data_says_that_ids_are_provisional_and_run_refuses(on_marks, tmp_path, capsys):
    path, results = on_marks(datasets={"marks": {}, "corners": {}}), tmp_path / "results"
    assert cli.main(["plan", str(path), "--results", str(results)]) == DONE
    said = capsys.readouterr().out
    assert "The ids of trials on marks are provisional: they lack what the data's index files hold." in said
    assert cli.main(["run", str(path), "--serial", "--results", str(results)]) == 2
    assert "dataset marks: no folder of datasets is named" in capsys.readouterr().err
    assert cli.main(["plan", str(path), "--results", str(results), "--only", "dataset=corners"]) == DONE
    assert "provisional" not in capsys.readouterr().out


def test_the_driver_of_a_cluster_needs_the_index_files_too(on_marks, tmp_path, capsys):
    words = ["run", str(on_marks(data={"root": str(tmp_path)})), "--address", "auto", "--results", str(tmp_path / "r")]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert f"the index files of marks in {tmp_path} cannot be read on this machine, and the ids of trials" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_what_has_run_is_found_again_where_the_data_are_not(on_marks, roots, tmp_path, capsys):
    path, results = on_marks(data={"root": str(roots[0])}), ["--results", str(tmp_path / "results")]
    assert cli.main(["run", str(path), "--serial", *results]) == DONE
    contents._content.cache_clear()
    (roots[0] / "marks").rename(roots[0] / "away")
    for words, said in (
        (["plan"], "1 done\n"),
        (["status"], "1 done, 0 running"),
        (["run", "--serial"], "Nothing to do: 1 of 1 trial done"),
        (["report"], "report: "),
    ):
        capsys.readouterr()
        assert cli.main([words[0], str(path), *words[1:], *results]) == DONE
        told = capsys.readouterr().out
        assert said in told
        assert "provisional" not in told


def test_other_data_are_other_trials_though_the_first_have_run(on_marks, roots, tmp_path, capsys):
    results = ["--results", str(tmp_path / "results")]
    assert cli.main(["run", str(on_marks(data={"root": str(roots[0])})), "--serial", *results]) == DONE
    capsys.readouterr()
    assert cli.main(["plan", str(on_marks(data={"root": str(roots[1])})), *results]) == DONE
    assert "1 to run" in capsys.readouterr().out


def test_what_was_recorded_of_other_settings_is_not_recalled(on_marks, roots, tmp_path):
    ledger = Ledger.open(tmp_path / "results")
    first = planned.load(on_marks(data={"root": str(roots[0])}), ledger)
    planned.record(first, ledger)
    contents._content.cache_clear()
    assert planned.load(on_marks(), ledger).trials[0].id == first.trials[0].id
    assert planned.load(on_marks(datasets={"marks": {"classes": 4}}), ledger).trials[0].dataset.content is None
    other = on_marks(datasets={"others": {"dataset": "marks"}}, data={"root": str(roots[1])})
    planned.record(planned.load(other, ledger), ledger)
    assert planned.load(on_marks(), ledger).trials[0].id == first.trials[0].id
    (ledger.sweep_folder("small") / "data.json").write_text("{")
    with pytest.raises(ResultsError, match=r"small/data\.json is damaged: .* Delete the file"):
        planned.load(on_marks(), ledger)


@pytest.mark.parametrize("absent", [False, True])
def test_a_worker_that_holds_other_data_ends_the_trial(on_marks, roots, tmp_path, absent):
    made = spec.load(on_marks(data={"root": str(roots[0])})).trials[0]
    assert spec.TrialSpec.from_json(made.to_json()).id == made.id
    there = tmp_path / "nowhere" if absent else roots[1]
    reason = r"not readable, expected \w{16}\. .*has no marks\.json" if absent else r"\w{16}, expected \w{16}\. Every"
    with pytest.raises(TrialError, match=rf"^marks: what {there} holds is not the data that was planned.* {reason}"):
        next(trial.run(made, tmp_path / "work", Settings(data=Data(root=str(there)))))


def test_the_table_and_the_report_name_the_data(on_marks, roots, tmp_path):
    path = on_marks(datasets={"marks": {}, "corners": {}}, data={"root": str(roots[0])})
    assert cli.main(["run", str(path), "--serial", "--results", str(tmp_path / "results")]) == DONE
    folder = tmp_path / "results" / "sweeps" / "small"
    told = spec.load(path).trials[0].dataset.content
    table = pd.read_parquet(folder / "results.parquet").set_index("dataset")
    assert table.loc["marks", "data"] == told
    assert pd.isna(table.loc["corners", "data"])
    page = (folder / "report.html").read_text()
    assert re.search(rf"<li>Data, by the hash of index files: marks <code>{told}</code>\.</li>", page)
    assert page.count("Data, by the hash") == 1
