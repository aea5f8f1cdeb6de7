"""Data that is not there: plan says so and how to get it, run refuses before anything starts."""

import re
from pathlib import Path

import pytest

from zoombench.harness import cli, lookup, spec, sweepfile
from zoombench.harness.commands import DONE

DATASETS = {"cub_200": {"train_size": 16, "test_size": 16}, "birds": {"dataset": "inaturalist_2017"}, "corners": {}}
BUDGET = {"image_size": 16, "epochs": 1, "batch": 8}


@pytest.fixture
def on_real_data(sweep_file):
    """A sweep over two sets from disk and one that needs none."""

    def write(**data) -> Path:
        keys = {"methods": {"uniform": {}}, "datasets": DATASETS, "budgets": {"b": BUDGET}}
        return sweep_file(**keys, data=data)

    return write


def test_plan_says_what_is_missing_and_how_to_get_it(on_real_data, tmp_path, capsys):
    path = on_real_data(root=str(tmp_path))
    assert cli.main(["plan", str(path), "--results", str(tmp_path / "results")]) == DONE
    said = capsys.readouterr().out
    assert "3 to run" in said
    assert f"dataset cub_200: {tmp_path / 'CUB_200_2011'} has no images.txt" in said
    assert f"dataset birds: {tmp_path / 'inaturalist_2017'} has no train2017.json" in said
    assert "open download, CUB_200_2011.tgz" in said
    assert said.count("data.root or ZOOMBENCH_DATA names the folder of datasets.") == 2
    assert "dataset corners" not in said


def test_run_refuses_in_the_same_words_before_anything_starts(on_real_data, tmp_path, capsys):
    path = on_real_data(root=str(tmp_path))
    cli.main(["plan", str(path), "--results", str(tmp_path / "results")])
    planned = [line for line in capsys.readouterr().out.splitlines() if line.startswith("dataset ")]
    assert cli.main(["run", str(path), "--results", str(tmp_path / "results"), "--serial"]) == 2
    said = capsys.readouterr()
    assert said.err.removeprefix("zoombench: ").splitlines() == planned
    assert said.out == ""
    assert not list((tmp_path / "results").glob("trials/*"))
    assert not list((tmp_path / "results").glob("sweeps/*"))


def test_without_a_folder_of_datasets_that_is_what_is_said(on_real_data, tmp_path, capsys):
    assert cli.main(["run", str(on_real_data()), "--results", str(tmp_path / "results")]) == 2
    assert (
        "dataset cub_200: no folder of datasets is named, the one that holds CUB_200_2011/." in capsys.readouterr().err
    )


def test_what_is_not_chosen_is_not_missed(on_real_data, tmp_path, capsys):
    chosen = ["--only", "dataset=corners", "--results", str(tmp_path / "results")]
    assert cli.main(["plan", str(on_real_data()), *chosen]) == DONE
    assert "dataset cub_200" not in capsys.readouterr().out


def test_a_set_that_is_there_is_not_missed(on_real_data, tmp_path, data_root, capsys):
    assert cli.main(["plan", str(on_real_data(root=data_root)), "--results", str(tmp_path / "results")]) == DONE
    assert "dataset " not in capsys.readouterr().out.split("to run")[1]


@pytest.mark.slow
def test_the_environment_may_name_the_folder_and_what_is_done_needs_no_data(
    on_real_data, tmp_path, data_root, capsys, monkeypatch
):
    command = [
        "run",
        str(on_real_data()),
        "--serial",
        "--results",
        str(tmp_path / "results"),
        "--only",
        "dataset=cub_200",
    ]
    monkeypatch.setenv("ZOOMBENCH_DATA", data_root)
    assert cli.main(command) == DONE
    assert "1 of 1 trial done" in capsys.readouterr().out
    monkeypatch.delenv("ZOOMBENCH_DATA")
    assert cli.main(command) == DONE
    assert "Nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(sweepfile.SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_sweep_is_planned(path, tmp_path, capsys):
    assert cli.main(["plan", path.stem, "--results", str(tmp_path / "results")]) == DONE
    assert " to run" in capsys.readouterr().out
    sweep = spec.load(path.stem)
    assert {trial.method.label for trial in sweep.runnable} == set(sweep.file.methods)  # each serves some dataset
    assert {trial.dataset.label for trial in sweep.runnable} == set(sweep.file.datasets)


@pytest.mark.parametrize("path", sorted(sweepfile.SWEEPS.glob("recasens_*.yaml")), ids=lambda path: path.stem)
def test_the_papers_sweeps_say_where_their_data_are_to_be_had_and_do_not_run_without(path, tmp_path, capsys):
    for command, code in (("plan", DONE), ("run", 2)):
        assert cli.main([command, path.stem, "--results", str(tmp_path / "results")]) == code
        said = "".join(capsys.readouterr())
        assert re.search(
            r"dataset (cub_200|gazecapture|inaturalist_2017): no folder of datasets is named.*https://", said
        )


def test_tables_2_and_3_share_the_trials_without_and_with_the_deepest_saliency_network():
    second, third = (spec.load(f"recasens_{name}") for name in ("table2_inaturalist", "table3_saliency_depth"))
    shared = {trial.id for trial in second.trials} & {trial.id for trial in third.trials}
    assert {trial.method.label for trial in third.trials if trial.id in shared} == {"uniform", "14 layers"}


def test_every_dataset_says_what_is_missing_without_torch(tmp_path):
    for name in lookup.names("dataset"):
        declared = lookup.declaration("dataset", name)
        for root in (None, str(tmp_path)):
            said = declared.missing(declared.config(), root)
            assert said is None or ("https://" in said and said.endswith("."))
