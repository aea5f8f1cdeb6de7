"""Weights to start from: told by content in a trial's id, checked before a sweep starts."""

from pathlib import Path

import pytest
import torch

from zoombench.baselines.layers.networks import TaskNetwork
from zoombench.harness import cli, spec, trial
from zoombench.harness.errors import SweepFileError, TrialError
from zoombench.harness.parallel import Ranks
from zoombench.harness.sweepfile import Settings

BUDGET = {"image_size": 16, "epochs": 1, "batch": 16}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "network.pt"
    torch.save(TaskNetwork(7).state_dict(), path)
    return path


@pytest.fixture
def started_from(sweep_file):
    def write(weights: str | Path | None, **more):
        budgets = {"b": BUDGET | {"task_weights": None if weights is None else str(weights)}}
        return sweep_file(methods={"uniform": {}}, budgets=budgets, **more)

    return write


def the_trial(path: Path) -> spec.TrialSpec:
    return spec.load(path).trials[0]


def test_an_id_depends_on_what_a_checkpoint_holds_and_not_on_where_it_lies(started_from, checkpoint, tmp_path):
    before = the_trial(started_from(checkpoint)).id
    assert before != the_trial(started_from(None)).id
    (tmp_path / "elsewhere").mkdir()
    moved = checkpoint.rename(tmp_path / "elsewhere" / "other.pth")
    assert the_trial(started_from(moved)).id == before
    torch.save(TaskNetwork(7).state_dict(), moved)
    assert the_trial(started_from(moved)).id != before


def test_a_path_is_taken_from_the_folder_of_the_sweep_file(started_from, checkpoint, monkeypatch):
    path = started_from("network.pt")
    monkeypatch.chdir("/")
    assert the_trial(path).budget.task_weights == str(checkpoint)


def test_a_trial_survives_the_way_to_another_process(started_from, checkpoint):
    made = the_trial(started_from(checkpoint))
    assert spec.TrialSpec.from_json(made.to_json()).id == made.id


def test_a_trial_starts_from_the_checkpoint_but_for_a_head_of_another_size(started_from, checkpoint, tmp_path):
    made = the_trial(started_from(checkpoint))
    method = trial._Trial.build(made, tmp_path / "work", Settings(), Ranks(), trial.never).method
    saved = torch.load(checkpoint, weights_only=True)
    own = method.task_network.state_dict()
    for name, tensor in saved.items():
        if not name.startswith("head.3."):
            assert torch.equal(own[name], tensor), name
    assert own["head.3.weight"].shape == (4, 128)


def test_a_checkpoint_that_is_not_there_is_said_with_its_line(started_from):
    with pytest.raises(SweepFileError, match=r"small\.yaml:\d+: budgets\.b\.task_weights: no checkpoint /.*absent\.pt"):
        spec.load(started_from("absent.pt"))


def test_a_checkpoint_that_does_not_fit_stops_a_sweep_before_it_starts(started_from, tmp_path, capsys):
    torch.save({"features.1.0.weight": torch.zeros(2)}, tmp_path / "bad.pt")
    results = tmp_path / "results"
    assert cli.main(["run", str(started_from("bad.pt")), "--serial", "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert "uniform, corners, b: weights" in said
    assert "do not fit small: " in said
    assert not results.exists()


def test_a_checkpoint_that_changes_after_the_plan_ends_the_trial(started_from, checkpoint, tmp_path):
    made = the_trial(started_from(checkpoint))
    torch.save(TaskNetwork(7).state_dict(), checkpoint)
    with pytest.raises(TrialError, match=r"network\.pt is not the checkpoint that was planned"):
        next(trial.run(made, tmp_path / "work"))


def test_a_sweep_that_is_done_reads_no_weights_again(started_from, checkpoint, tmp_path, monkeypatch):
    words = ["run", str(started_from(checkpoint)), "--serial", "--results", str(tmp_path / "results")]
    assert cli.main(words) == 0
    monkeypatch.setattr(torch, "load", None)
    assert cli.main(words) == 0


def test_a_setting_that_only_the_network_can_refuse_stops_a_sweep_before_it_starts(sweep_file, tmp_path, capsys):
    path = sweep_file(methods={"uniform": {}, "deformable_convolution": {"groups": 5}})
    assert cli.main(["run", str(path), "--serial", "--results", str(tmp_path / "results")]) == 2
    assert "deformable_convolution, corners, b: groups is 5: " in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("method", ["uniform", "saliency_sampler", "class_activation_crop"])
@pytest.mark.parametrize("network", ["small", "resnet18"])
def test_a_trial_starts_from_the_weights_of_another(sweep_file, tmp_path, method, network):
    budget = BUDGET | {"task_network": network}
    first = the_trial(sweep_file(methods={"uniform": {}}, budgets={"b": budget}))
    saved = trial._Trial.build(first, tmp_path / "first", Settings(), Ranks(), trial.never).method.state_dict()
    torch.save({"trial": first.id, "model": saved | {"_extra_state": {"crops": True}}}, tmp_path / "weights.pt")
    budget["task_weights"] = "weights.pt"
    second = the_trial(sweep_file(methods={method: {}}, budgets={"b": budget}, seeds=[9]))
    own = trial._Trial.build(second, tmp_path / "second", Settings(), Ranks(), trial.never).method.state_dict()
    convolutions, loaded = ([v for v in state.values() if getattr(v, "ndim", 0) == 4] for state in (saved, own))
    assert convolutions
    assert all(any(torch.equal(value, other) for other in loaded) for value in convolutions)
