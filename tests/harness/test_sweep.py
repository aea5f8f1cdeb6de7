"""The command line with Ray and MLflow, as a user runs it: failures, amended sweeps, kills, Ctrl-C."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from zoombench.harness import spec
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def results(tmp_path):
    return Ledger(tmp_path / "results")


@pytest.fixture
def background(tmp_path):
    """Start the command line in a session of its own; whatever is left of it ends with the test."""
    started = []
    # A shell lets what it starts in the background ignore Ctrl-C, and a child inherits that from us.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "zoombench.harness.cli", *map(str, words)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    signal.signal(signal.SIGINT, before)


def mlflow_runs(results):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{results.root / 'mlflow.db'}")
    return client.search_runs([client.get_experiment_by_name("zoombench").experiment_id])


def wait_for(condition, *, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def epochs_done(results, sweep):
    return sum(e["event"] == "epoch" for trial in sweep.trials for e in results.events(trial.id))


def weights(results, sweep):
    return {trial.id: results.record(trial.id, "done.json")["weights_sha256"] for trial in sweep.trials}


def test_a_sweep_from_file_to_report_and_what_running_it_again_does(sweep_file, zoombench, results, tmp_path):
    methods = {"tiny": {}, "bad": {"method": "tiny", "fail_at": 1}, "needs_boxes": {}}
    path = sweep_file(methods=methods, seeds=2)

    first = zoombench("run", path)
    assert first.returncode == 3, first.stderr
    assert "[4/4]" in first.stdout
    assert "FAILED RuntimeError: told to fail" in first.stdout
    report = results.root / "sweeps" / "small" / "report.html"
    assert first.stdout.rstrip().endswith(f"report: {report}")
    assert "told to fail" in report.read_text()
    assert {run.info.status for run in mlflow_runs(results)} == {"FINISHED", "FAILED"}
    assert len(mlflow_runs(results)) == 1 + 4

    # Again: nothing to do, at once, with nothing heavy loaded.
    code = (
        "import sys; from zoombench.harness import cli; code = cli.main(sys.argv[1:])\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules); assert not heavy, heavy; sys.exit(code)"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, "run", path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 3, again.stderr
    assert "Nothing to do: 2 of 4 trials done, 2 failed" in again.stdout
    assert "traceback in" in again.stdout

    # A method and a seed more: only the new trials run.
    before = {trial.id: results.events(trial.id) for trial in spec.load(path).runnable}
    more = sweep_file(methods=methods | {"wide": {"method": "tiny", "width": 8}}, seeds=3)
    third = zoombench("run", more)
    assert "5 trials to run, 4 done before, 3 skipped" in third.stdout
    assert {trial_id: results.events(trial_id) for trial_id in before} == before
    assert len(mlflow_runs(results)) == 1 + 9

    # status, plan and sync agree.
    status = zoombench("status", more)
    assert "6 done, 0 running, 0 started, 0 planned, 3 failed, 3 skipped" in status.stdout
    assert status.returncode == 3
    assert "6 done, 3 failed before" in zoombench("plan", more).stdout
    assert "0 trials sent" in zoombench("sync", more).stdout


def test_a_sweep_that_is_done_says_so_and_exits_0(sweep_file, zoombench):
    path = sweep_file()
    assert zoombench("run", path, "--serial").returncode == 0
    again = zoombench("run", path)
    assert again.returncode == 0
    assert "Nothing to do: 1 of 1 trial done." in again.stdout


def test_serial_and_ray_give_the_same_weights(sweep_file, zoombench, tmp_path):
    path = sweep_file(methods={"tiny": {}, "wide": {"method": "tiny", "width": 8}}, seeds=2)
    found = []
    for words in (["--serial"], []):
        folder = tmp_path / f"results{len(found)}"
        assert zoombench("run", path, "--results", folder, *words).returncode == 0
        found.append(weights(Ledger(folder), spec.load(path)))
    assert found[0] == found[1]


def test_serial_needs_neither_ray_nor_mlflow(sweep_file, tmp_path):
    code = (
        "import sys; sys.modules['ray'] = sys.modules['mlflow'] = None\n"
        "from zoombench.harness import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", sweep_file(), "--serial"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no package mlflow is installed here" in done.stdout
    assert "1 trial kept in the ledger" in done.stdout


def test_a_driver_killed_at_random_moments_costs_no_epoch_and_no_run(
    sweep_file, background, zoombench, results, tmp_path
):
    methods = {"tiny": {"sleep": 0.05}, "wide": {"method": "tiny", "width": 8, "sleep": 0.05}}
    budget = {"image_size": 16, "epochs": 6, "batch": 16}
    path = sweep_file(methods=methods, budgets={"b": budget}, seeds=2)
    sweep = spec.load(path)
    moment = random.Random()
    for kill in (1, 2):
        process = background("run", path)
        seen = epochs_done(results, sweep)
        wait_for(lambda seen=seen: epochs_done(results, sweep) > seen)
        time.sleep(moment.uniform(0, 1.5))
        finished = {t.id for t in sweep.trials if results.state(t.id) == "done"}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert len(finished) < 4, f"kill {kill} came too late to show anything"
        events = {trial_id: results.events(trial_id) for trial_id in finished}
    last = zoombench("run", path)
    assert last.returncode == 0, last.stdout + last.stderr
    assert {trial_id: results.events(trial_id) for trial_id in events} == events, "a finished trial ran again"
    for trial in sweep.trials:
        executed = [e["epoch"] for e in results.events(trial.id) if e["event"] == "epoch"]
        # A kill between an epoch's checkpoint and its note loses the note, never the epoch.
        assert executed == sorted(set(executed)), "no epoch is executed twice"
        assert set(executed) <= {1, 2, 3, 4, 5, 6}
        assert [s["epoch"] for s in results.scores(trial.id) if s["split"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert sum(results.attempts(trial.id) for trial in sweep.trials) > 4, "some trial was interrupted"
    runs = mlflow_runs(results)
    assert sorted(run.data.tags.get("zoombench.trial_id", "") for run in runs) == sorted(
        ["", *(t.id for t in sweep.trials)]
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert zoombench("run", path, "--serial", "--results", tmp_path / "undisturbed").returncode == 0
    assert weights(results, sweep) == weights(Ledger(tmp_path / "undisturbed"), sweep)


def test_two_drivers_on_one_results_folder_share_the_work(sweep_file, background, results):
    methods = {"tiny": {"sleep": 0.05}, "wide": {"method": "tiny", "width": 8, "sleep": 0.05}}
    path = sweep_file(methods=methods, seeds=2)
    drivers = [background("run", path, "--serial") for _ in range(2)]
    for driver in drivers:
        said, _ = driver.communicate(timeout=240)
        assert driver.returncode == 0, said
    assert [results.attempts(trial.id) for trial in spec.load(path).trials] == [1, 1, 1, 1]
    assert len(mlflow_runs(results)) == 1 + 4


@pytest.mark.parametrize(
    "tell",
    [
        lambda process: os.killpg(process.pid, signal.SIGINT),  # a terminal sends it to the whole group
        lambda process: process.send_signal(signal.SIGTERM),
    ],
    ids=["ctrl-c", "sigterm"],
)
def test_being_told_to_end_says_how_to_go_on_and_exits_130(tell, sweep_file, background, zoombench, results):
    budget = {"image_size": 16, "epochs": 200, "batch": 16}
    path = sweep_file(methods={"tiny": {"sleep": 0.05}}, budgets={"b": budget}, seeds=2)
    process = background("run", path)
    wait_for(lambda: epochs_done(results, spec.load(path)) > 2)
    tell(process)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"Go on with: zoombench run {path}" in said
    assert "Traceback" not in said
    assert {run.info.status for run in mlflow_runs(results)} == {"KILLED", "FINISHED"}
    status = zoombench("status", path)
    assert status.returncode == 4
    assert "2 started" in status.stdout


def test_a_worker_that_is_killed_goes_on_in_the_next_wave(sweep_file, zoombench, results, tmp_path):
    methods = {"tiny": {}, "killed": {"method": "tiny", "kill_at": 1, "marker": str(tmp_path / "killed")}}
    path = sweep_file(methods=methods)
    done = zoombench("run", path)
    assert done.returncode == 0, done.stdout + done.stderr
    killed = spec.load(path).trials[1]
    events = [event["event"] for event in results.events(killed.id)]
    assert events == ["start", "epoch", "lost", "start", "resume", "epoch", "done"]


def test_a_worker_that_is_told_to_end_writes_a_checkpoint_and_goes_on(sweep_file, zoombench, results, tmp_path):
    path = sweep_file(
        methods={"told": {"method": "tiny", "kill_at": 1, "sigterm": True, "marker": str(tmp_path / "m")}}
    )
    done = zoombench("run", path)
    assert done.returncode == 0, done.stdout + done.stderr
    events = results.events(spec.load(path).trials[0].id)
    assert [event["event"] for event in events] == ["start", "epoch", "preempted", "start", "resume", "epoch", "done"]
    assert (events[4]["epoch"], events[4]["step"]) == (1, 1), "the checkpoint is of the step at which it was told"


def test_a_trial_that_hangs_is_ended_from_outside(sweep_file, results, monkeypatch):
    from rich.console import Console

    from zoombench.harness import sweep
    from zoombench.harness.progress import Progress

    monkeypatch.setattr(sweep, "GRACE", 5)
    trials = spec.load(sweep_file(methods={"tiny": {"hang_at": 1}})).trials
    results = Ledger.open(results.root)
    with Progress(1, 2, already=0, console=Console(quiet=True)) as progress:
        sweep.launch(trials, results, Settings(timeout_minutes=0.1), commit="", progress=progress)
    failure = results.record(trials[0].id, "failed.json")
    assert failure["error_class"] == "TimedOut"
    assert "its process was killed" in failure["message"]


def test_trials_of_one_and_of_two_processes_share_a_machine(sweep_file, zoombench, results):
    budget = {"image_size": 16, "epochs": 2, "batch": 16, "gpus": 0}
    path = sweep_file(budgets={"one": budget, "two": budget | {"processes": 2, "epochs": 3}}, seeds=2)
    done = zoombench("run", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 trials done" in done.stdout


def test_a_worker_that_is_killed_every_time_becomes_a_failed_row(sweep_file, zoombench, results):
    path = sweep_file(methods={"killed": {"method": "tiny", "kill_at": 1}})
    done = zoombench("run", path)
    assert done.returncode == 3, done.stdout + done.stderr
    failure = json.loads((results.folder(spec.load(path).trials[0].id) / "failed.json").read_text())
    assert failure["error_class"] == "WorkerLost"
    assert "died 3 times without finishing an epoch in between" in failure["message"]


def test_a_failed_trial_runs_again_when_it_is_asked_to(sweep_file, zoombench, results, tmp_path):
    path = sweep_file(methods={"bad": {"method": "tiny", "out_of_memory_at": 1}})
    assert zoombench("run", path).returncode == 3
    assert zoombench("run", path, "--retry-failed", "--serial").returncode == 3
    assert results.attempts(spec.load(path).trials[0].id) == 2


def test_a_dry_run_starts_nothing(sweep_file, zoombench, tmp_path):
    planned = zoombench("run", sweep_file(), "--dry-run")
    assert planned.returncode == 0
    assert "1 to run" in planned.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "words", [[], ["run"], ["report"], ["compare"], ["merge"], ["plan"], ["status"], ["sync"], ["list"]], ids=" ".join
)
def test_every_command_has_help(words, zoombench):
    asked = zoombench(*words, "--help")
    assert asked.returncode == 0
    assert "usage: zoombench" in asked.stdout


def test_lists_name_what_there_is(zoombench):
    assert "saliency_sampler" in zoombench("list", "methods").stdout
    assert "cluttered_digits" in zoombench("list", "datasets").stdout
    assert "quickstart" in zoombench("list", "sweeps").stdout
