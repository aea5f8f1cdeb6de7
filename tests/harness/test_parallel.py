"""A trial in two processes is the trial in one: the same batches, every test example once, one set of weights."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from zoombench.harness import parallel, spec, trial
from zoombench.harness.errors import NonFiniteLoss, TrialError, WorkerLost
from zoombench.harness.ledger import Ledger
from zoombench.harness.parallel import Ranks
from zoombench.harness.spec import TrialSpec
from zoombench.harness.sweepfile import Settings

pytestmark = pytest.mark.slow

SGD = {"optimizer": "sgd", "learning_rate": 0.05}  # AdamW makes a step of the rounding of a gradient near zero


@pytest.fixture
def made(sweep_file):
    """A trial whose batches of 9 do not divide by two, and whose last test batch holds one example."""

    def make(processes: int = 2, epochs: int = 3, batch: int = 9, micro_batch=None, **config) -> TrialSpec:
        budget = {"image_size": 16, "epochs": epochs, "batch": batch, "gpus": 0, "processes": processes}
        budget |= {"micro_batch": micro_batch}
        method = {"tiny": {"dropout": 0.0} | config}
        return spec.load(sweep_file(methods=method, budgets={"b": budget}, training=SGD)).trials[0]

    return make


def run_whole(made: TrialSpec, workdir: Path, **settings) -> tuple[dict, dict]:
    scores = {score[:3]: score.value for score in trial.run(made, workdir, Settings(**settings))}
    return scores, torch.load(workdir / "weights.pt", weights_only=True)["model"]


def ranks_started_by(pid: int) -> list[Path]:
    """The folders under /proc of the other ranks of the trial that a process runs."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    folders = [Path("/proc") / child for child in children]
    return [folder for folder in folders if b"harness.parallel" in (folder / "cmdline").read_bytes()]


def tensors(weights: dict) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("config", [{}, {"stages": True}], ids=["plain", "frozen and unused parameters"])
def test_two_processes_train_as_one(made, tmp_path, config):
    one, one_weights = run_whole(made(1, **config), tmp_path / "one")
    two, two_weights = run_whole(made(2, **config), tmp_path / "two")
    assert two.keys() == one.keys()
    assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    for name, value in tensors(one_weights).items():
        torch.testing.assert_close(two_weights[name], value, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    tables = [pq.read_table(tmp_path / name / "predictions.parquet").to_pydict() for name in ("one", "two")]
    assert tables[1]["example"] == list(range(64))
    assert tables[1]["score"] == pytest.approx(tables[0]["score"], abs=1e-4)


def test_two_processes_learn_from_the_pieces_of_a_batch_as_one_does_from_the_whole(made, tmp_path):
    one, one_weights = run_whole(made(1, batch_norm=False), tmp_path / "one")
    two, two_weights = run_whole(made(2, batch_norm=False, micro_batch=5), tmp_path / "two")
    assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    for name, value in tensors(one_weights).items():
        torch.testing.assert_close(two_weights[name], value, rtol=1e-3, atol=1e-5)


def test_the_number_of_processes_is_not_in_the_id(made):
    assert made(1).id == made(2).id


def test_a_trial_of_two_processes_stopped_within_an_epoch_goes_on_to_the_same_numbers(made, tmp_path, monkeypatch):
    drawing = made(2, batch=2, epochs=2, dropout=0.3, own_generator=True)  # 32 steps an epoch
    whole = run_whole(drawing, tmp_path / "whole", checkpoint_seconds=0)
    saved = []
    save = trial._Trial.save

    def save_and_stop(self):
        save(self)
        saved.append((self.epoch, self.step))
        if self.epoch == 1 and self.step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trial._Trial, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run_whole(drawing, tmp_path / "stopped", checkpoint_seconds=0)
    assert saved[-1] == (1, 20)
    stopped = run_whole(drawing, tmp_path / "stopped", checkpoint_seconds=0)
    assert stopped[0] == whole[0]
    for name, value in tensors(whole[1]).items():
        assert torch.equal(stopped[1][name], value), name


def test_a_trial_may_go_on_with_more_processes(made, tmp_path):
    started = trial.run(made(1), tmp_path)
    next(started)
    next(started)
    next(started)
    started.close()
    scores, _ = run_whole(made(2), tmp_path)
    whole, _ = run_whole(made(1), tmp_path / "whole")
    assert scores == pytest.approx(whole, rel=1e-4, abs=1e-5)


def test_a_process_that_is_killed_loses_the_trial_to_be_run_again(made, tmp_path):
    dying = made(2, kill_at=1, only_rank=1, marker=str(tmp_path / "marker"))
    with pytest.raises(WorkerLost, match=rf"process 1 of trial {dying.id} \(tiny, .*\) was ended by SIGKILL"):
        run_whole(dying, tmp_path / "work")
    assert not ranks_started_by(os.getpid())
    assert run_whole(dying, tmp_path / "work")[0][("test", 3, "accuracy")] > 0


def test_an_error_of_another_process_is_the_trials_error(made, tmp_path):
    with pytest.raises(TrialError, match="RuntimeError in process 1: told to fail") as caught:
        run_whole(made(2, fail_at=1, only_rank=1), tmp_path / "fails")
    assert "start_epoch" in "".join(caught.value.__notes__)
    with pytest.raises(MemoryError, match="told to run out of memory"):
        run_whole(made(2, out_of_memory_at=1, only_rank=1), tmp_path / "memory")


def test_a_loss_that_is_not_finite_in_one_process_is_an_outcome(made, tmp_path):
    with pytest.raises(NonFiniteLoss, match="loss is nan at epoch 2"):
        run_whole(made(2, nan_at=1, only_rank=1), tmp_path)


def test_two_processes_train_in_mixed_precision(made, tmp_path):
    scores, weights = run_whole(made(2, epochs=1), tmp_path, precision="bf16")
    assert scores[("train", 1, "loss")] < 3
    assert weights["network.1.running_var"].dtype == torch.float32


def test_the_first_process_to_fail_is_the_one_that_is_told_of(made, tmp_path):
    ended = [subprocess.Popen(["false"]), subprocess.Popen(["false"])]
    for process in ended:
        process.wait()
    for rank, at, failure in ((1, 2.0, ("RuntimeError", "peer gone")), (2, 1.0, ("MemoryError", "none left"))):
        report = {"class": failure[0], "message": failure[1], "traceback": "", "time": at}
        (tmp_path / f"{rank}.json").write_text(json.dumps(report))
    (tmp_path / "call.json").write_text("{}")
    assert isinstance(parallel._failure(tmp_path, ended, made(), began=3.0), MemoryError)
    assert parallel._failure(tmp_path, ended, made(), began=0.5) is None, "its own error came first"


def test_a_signal_to_all_processes_is_heard_by_the_first(made, tmp_path, sweep_file):
    budget = {"image_size": 16, "epochs": 50, "batch": 9, "gpus": 0, "processes": 2}
    path = sweep_file(methods={"tiny": {"sleep": 0.05}}, budgets={"b": budget})
    results = Ledger(tmp_path / "results")
    command = [sys.executable, "-m", "zoombench.harness.cli", "run", path, "--serial", "--results", results.root]
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True)
    trial_id = spec.load(path).trials[0].id
    wait_for(lambda: (results.folder(trial_id) / "checkpoint.pt").exists())
    os.killpg(run.pid, signal.SIGTERM)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "told to end: it goes on from its checkpoint" in said
    assert results.events(trial_id)[-1]["event"] == "preempted"


def test_the_other_processes_end_when_the_first_is_killed(made, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(made(2, epochs=50, sleep=0.05).to_json()))
    code = (
        "import json, sys; from pathlib import Path; from zoombench.harness import trial\n"
        "from zoombench.harness.spec import TrialSpec\n"
        "list(trial.run(TrialSpec.from_json(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2])))"
    )
    first = subprocess.Popen([sys.executable, "-c", code, tmp_path / "spec.json", tmp_path / "killed"])
    wait_for(lambda: (tmp_path / "killed" / "checkpoint.pt").exists())
    others = ranks_started_by(first.pid)
    assert len(others) == 1
    first.kill()
    first.wait()
    wait_for(lambda: not others[0].exists())


def test_a_batch_is_shared_whole_and_evenly():
    for size in (1, 7, 8, 9):
        for count in (1, 2, 3, 4):
            shares = [Ranks(rank, count).share(range(size)) for rank in range(count)]
            assert [example for share in shares for example in share] == list(range(size))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_batch_norm_over_two_processes_is_batch_norm_over_the_whole_batch(tmp_path):
    torch.manual_seed(0)
    layers = [nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, momentum=None)]
    layers.append(nn.BatchNorm2d(3, track_running_stats=False))
    image = torch.randn(5, 3, 4, 6)
    torch.save((layers, image), tmp_path / "case.pt")
    subprocess.run(
        [sys.executable, Path(__file__).with_name("batch_norm_worker.py"), tmp_path], check=True, timeout=120
    )
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    for layer, (output, gradient, buffers, judged) in zip(layers, found, strict=True):
        leaf = image.clone().requires_grad_()
        expected = layer(leaf)
        expected.square().mul(torch.arange(1.0, 6.0).view(5, 1, 1, 1)).sum().backward()
        torch.testing.assert_close(output, expected.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, leaf.grad, rtol=1e-4, atol=1e-4)
        for name, value in layer.named_buffers():
            torch.testing.assert_close(buffers[name], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(judged, layer.eval()(image).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("budget", "device", "expected"),
    [
        ({}, "cpu", 1),
        ({"gpus": 4}, "cpu", 1),
        ({"gpus": 4}, "cuda", 4),
        ({"gpus": 0.25}, "cuda", 1),
        ({"processes": 2}, "cpu", 2),
        ({"processes": 2}, "cuda", 2),
    ],
)
def test_a_trial_has_a_process_for_each_whole_gpu(sweep_file, budget, device, expected):
    made = spec.load(sweep_file(budgets={"b": {"image_size": 16, "epochs": 1, "batch": 8} | budget})).trials[0]
    assert parallel.processes(made, torch.device(device)) == expected
