"""A trial gives the same numbers however often it was interrupted, in whatever process, with however many workers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from zoombench.harness import spec, trial
from zoombench.harness.contract import Zoom
from zoombench.harness.errors import CheckpointError, NonFiniteLoss
from zoombench.harness.spec import TrialSpec
from zoombench.harness.sweepfile import Data, Settings


@pytest.fixture
def tiny(sweep_file):
    def make(epochs: int = 4, **config) -> TrialSpec:
        budget = {"image_size": 16, "epochs": epochs, "batch": 8}
        return spec.load(sweep_file(methods={"tiny": config}, budgets={"b": budget})).trials[0]

    return make


def run_whole(made: TrialSpec, workdir: Path, **settings) -> tuple[list[trial.Score], str]:
    scores = list(trial.run(made, workdir, Settings(**settings)))
    return scores, json.loads((workdir / "facts.json").read_text())["weights_sha256"]


def test_a_trial_yields_scores_of_every_epoch_and_of_the_test_split(tiny, tmp_path):
    scores, _ = run_whole(tiny(epochs=3), tmp_path)
    assert [(s.split, s.epoch, s.metric) for s in scores] == [
        *(
            (split, epoch, metric)
            for epoch in (1, 2, 3)
            for split, metric in (("train", "loss"), ("validation", "accuracy"))
        ),
        ("test", 3, "accuracy"),
    ]
    losses = [s.value for s in scores if s.split == "train"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_stopped_trial_goes_on_to_the_same_numbers(tiny, tmp_path, stop_after):
    whole = run_whole(tiny(), tmp_path / "whole")
    started = trial.run(tiny(), tmp_path / "stopped")
    for _ in range(stop_after):
        next(started)
    started.close()
    assert run_whole(tiny(), tmp_path / "stopped") == whole


@pytest.mark.parametrize(
    "config",
    [{}, {"draws": True}, {"own_generator": True}],
    ids=["dropout only", "draws from every generator", "owns a generator"],
)
def test_a_trial_stopped_within_an_epoch_goes_on_at_the_step(tiny, tmp_path, monkeypatch, config):
    whole = run_whole(tiny(**config), tmp_path / "whole")
    steps = []
    original = trial._Trial._step

    def step_and_stop(self, inputs, target):
        steps.append(self.step)
        if len(steps) == 13:  # in the second of four epochs of eight steps
            raise KeyboardInterrupt
        return original(self, inputs, target)

    monkeypatch.setattr(trial._Trial, "_step", step_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run_whole(tiny(**config), tmp_path / "stopped", checkpoint_seconds=0)
    again = run_whole(tiny(**config), tmp_path / "stopped", checkpoint_seconds=0)
    assert steps[12:14] == [4, 4], "the interrupted step is the only one that is done again"
    assert again == whole


@pytest.mark.slow
def test_a_trial_killed_by_sigkill_goes_on_to_the_same_numbers(tiny, tmp_path):
    made = tiny(epochs=6, sleep=0.02)
    whole = run_whole(made, tmp_path / "whole")
    (tmp_path / "spec.json").write_text(json.dumps(made.to_json()))
    code = (
        "import json, sys; from pathlib import Path; from zoombench.harness import trial\n"
        "from zoombench.harness.spec import TrialSpec\n"
        "list(trial.run(TrialSpec.from_json(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "spec.json", tmp_path / "killed"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "checkpoint.pt").exists():
        assert time.monotonic() < deadline, "no checkpoint in a minute"
        time.sleep(0.05)
    time.sleep(0.25)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "facts.json").exists(), "it was to be killed before its end"
    assert run_whole(made, tmp_path / "killed") == whole


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.125), (1, 0.01), (2, 0.5)])
def test_a_trial_of_few_steps_has_a_schedule(sweep_file, tmp_path, epochs, warmup):
    budget = {"image_size": 16, "epochs": epochs, "batch": 8}
    made = spec.load(sweep_file(budgets={"b": budget}, training={"warmup": warmup})).trials[0]
    assert run_whole(made, tmp_path)[0][-1].split == "test"


def test_a_used_process_gives_the_numbers_of_a_fresh_one(tiny, tmp_path):
    first = run_whole(tiny(), tmp_path / "first")
    torch.manual_seed(99)
    torch.rand(1000)
    run_whole(tiny(width=7), tmp_path / "another")
    assert run_whole(tiny(), tmp_path / "again") == first


def test_loader_processes_do_not_change_the_numbers(tiny, tmp_path):
    assert run_whole(tiny(), tmp_path / "two", workers=2) == run_whole(tiny(), tmp_path / "none")


def test_another_seed_gives_other_numbers(sweep_file, tmp_path):
    made = spec.load(sweep_file(seeds=2)).trials
    assert run_whole(made[0], tmp_path / "0")[1] != run_whole(made[1], tmp_path / "1")[1]


def test_a_loss_that_is_not_finite_names_trial_epoch_and_step(tiny, tmp_path):
    made = tiny(nan_at=2)
    with pytest.raises(NonFiniteLoss, match="nan at epoch 3, step 1 of trial") as caught:
        run_whole(made, tmp_path)
    assert made.id in str(caught.value)
    assert "Last finite loss" in str(caught.value)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["epoch"] == 2, "the checkpoint is from before the loss went bad"
    weights = [value for value in state["model"].values() if isinstance(value, torch.Tensor)]
    assert weights
    assert all(torch.isfinite(value).all() for value in weights)


def test_answers_that_are_not_finite_are_no_score(tiny, tmp_path):
    with pytest.raises(NonFiniteLoss, match="the answer to some validation example is not finite after epoch 1"):
        run_whole(tiny(nan_answers=True), tmp_path)


def test_predictions_hold_one_row_per_test_example(tiny, tmp_path):
    scores, _ = run_whole(tiny(), tmp_path)
    table = pq.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert table["example"] == list(range(64))
    assert table["target"] == [i % 4 for i in range(64)]
    assert np.mean(table["score"]) == scores[-1].value
    assert np.mean(np.equal(table["prediction"], table["target"])) == scores[-1].value


def test_what_a_dataset_knows_of_its_examples_stands_beside_their_predictions(sweep_file, data_root, tmp_path):
    keys = {"methods": {"uniform": {}}, "datasets": {"gazecapture": {"frame": 32, "crop": 16, "answer": "sigmoid"}}}
    made = spec.load(sweep_file(**keys)).trials[0]
    [*_, test] = trial.run(made, tmp_path, Settings(data=Data(root=data_root)))
    columns = pq.read_table(tmp_path / "predictions.parquet").to_pandas()
    assert (test.split, test.metric) == ("test", "error")
    assert test.value == pytest.approx(columns["score"].mean())
    assert columns.groupby("device")["score"].count().to_dict() == {"ipad": 8, "iphone": 8}


def test_a_checkpoint_that_cannot_be_written_says_how_much_room_there_is(tiny, tmp_path, monkeypatch):
    def full(*arguments):
        raise RuntimeError("enforce fail: unexpected pos")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(\d+ MiB are free there\)"):
        run_whole(tiny(), tmp_path)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_checkpoint_of_another_trial_is_refused(tiny, tmp_path):
    next(trial.run(tiny(), tmp_path))
    with pytest.raises(CheckpointError, match=r"is of trial .* Delete .* to start this trial again"):
        run_whole(tiny(width=5), tmp_path)


def test_a_damaged_checkpoint_is_refused(tiny, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run_whole(tiny(), tmp_path)


def test_pictures_show_what_the_method_looked_at(tiny, tmp_path):
    run_whole(tiny(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "looks").iterdir())[:3] == [
        "0-grid.png",
        "0-image.png",
        "0-resampled.png",
    ]


def test_mixed_precision_trains(tiny, tmp_path):
    scores, _ = run_whole(tiny(), tmp_path, precision="bf16")
    assert scores[-1].value > 0.25


@pytest.mark.parametrize(
    ("device", "gpus", "there", "picked"),
    [
        ("auto", None, True, "cuda"),
        ("auto", None, False, "cpu"),
        ("auto", 0, True, "cpu"),
        ("auto", 0.5, True, "cuda"),
        ("cpu", 1, True, "cpu"),
        ("cuda", None, True, "cuda"),
    ],
)
def test_a_trial_runs_on_a_gpu_where_it_is_wanted_and_there(sweep_file, monkeypatch, device, gpus, there, picked):
    budget = {"image_size": 16, "epochs": 1, "gpus": gpus}
    made = spec.load(sweep_file(budgets={"b": budget})).trials[0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert trial.pick_device(made, Settings(device=device)).type == picked


@pytest.mark.gpu
def test_a_trial_runs_on_a_gpu(tiny, tmp_path):
    scores, _ = run_whole(tiny(), tmp_path, device="cuda")
    assert np.isfinite([score.value for score in scores]).all()


def test_the_facts_say_how_far_a_grid_lies_from_the_identity():
    line = torch.linspace(-1, 1, 5)
    identity = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).expand(2, -1, -1, -1)
    image = torch.zeros(2, 3, 5, 5)
    assert trial.grid_shift([]) is None
    assert trial.grid_shift([Zoom(image, identity)]) == pytest.approx(0, abs=1e-6)
    moved = identity + torch.tensor([0.6, -0.8])  # half the image's side, as that is 2
    assert trial.grid_shift([Zoom(image, moved)]) == pytest.approx(0.5)
