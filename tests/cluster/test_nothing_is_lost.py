"""Twenty trials on a cluster of real nodes, while parts of it are killed: all done, nothing twice, the same numbers."""

import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from zoombench.harness import spec
from zoombench.harness.ledger import Ledger
from zoombench.tests.cluster.nodes import Cluster, Process, Server, wait_for
from zoombench.tests.cluster.verdict import violations

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

PLUGINS = Path(__file__).parents[1] / "plugins"
SWEEP = {
    "methods": {"tiny": {"sleep": 0.05}, "wide": {"method": "tiny", "width": 8, "sleep": 0.05}},
    "datasets": {"corners": {}},
    "budgets": {"b": {"image_size": 16, "epochs": 5, "batch": 16}},
    "seeds": 10,
    "settings": {"checkpoint_seconds": 0.1, "device": "cpu"},
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def environment(cluster):
    return cluster.environment | {"ZOOMBENCH_PATH": str(PLUGINS)}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "twenty.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ZOOMBENCH_PATH", str(PLUGINS))
        return spec.load(path)


@pytest.fixture
def drive(environment, cluster, sweep, tmp_path):
    """Start `zoombench run` on the cluster; whatever is left of it ends with the test."""
    started = []

    def start(**more):
        command = [sys.executable, "-m", "zoombench.harness.cli", "run", str(sweep.path), "--address", cluster.address]
        started.append(Process(command, environment | more, tmp_path / f"driver{len(started)}.log", tmp_path))
        return started[-1]

    yield start
    for driver in started:
        driver.kill()


@pytest.fixture(scope="module")
def undisturbed(environment, sweep, tmp_path_factory):
    """The same trials, one after the other in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, "-m", "zoombench.harness.cli", "run", str(sweep.path), "--serial"]
    process = Process(command, environment, folder / "driver.log", folder)
    try:
        assert process.process.wait(timeout=300) == 0, process.said()
    finally:
        process.kill()
    return Ledger(folder / "results")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "results")


def finish(driver, sweep, ledger, undisturbed, *, tracking_uri=None):
    assert driver.process.wait(timeout=300) == 0, driver.said()
    uri = tracking_uri or f"sqlite:///{ledger.root / 'mlflow.db'}"
    assert violations(sweep, ledger, undisturbed, tracking_uri=uri) == []


def events(sweep, ledger, name):
    return [event for trial in sweep.runnable for event in ledger.events(trial.id) if event["event"] == name]


def under_way(sweep, ledger):
    """Trials that have finished an epoch and are not about to end, with the process of each."""
    found = {}
    for trial in sweep.runnable:
        told = ledger.events(trial.id)
        starts = [event for event in told if event["event"] == "start"]
        if told and told[-1]["event"] == "epoch" and told[-1]["epoch"] < 4 and told[-1]["pid"] == starts[-1]["pid"]:
            found[trial.id] = starts[-1]["pid"]
    return found


def strike_until_a_trial_is_lost(sweep, ledger, strike):
    """Strike at a process that is in the middle of a trial; again, where it had just ended its trial."""
    wait_for(lambda: len(events(sweep, ledger, "done")) >= 2, what="two trials")
    while not events(sweep, ledger, "lost"):
        wait_for(lambda: under_way(sweep, ledger), what="a trial in the middle")
        [(trial_id, pid), *_] = under_way(sweep, ledger).items()
        assert len(events(sweep, ledger, "done")) < 20, "the sweep was over before anything was lost"
        strike(pid)
        wait_for(lambda trial_id=trial_id: has_ended(ledger, trial_id), what="Ray to see what happened")


def has_ended(ledger, trial_id):
    return ledger.events(trial_id)[-1]["event"] in ("lost", "done")


def test_a_worker_is_killed(drive, sweep, ledger, undisturbed):
    driver = drive()
    strike_until_a_trial_is_lost(sweep, ledger, lambda pid: os.kill(pid, signal.SIGKILL))
    finish(driver, sweep, ledger, undisturbed)
    assert events(sweep, ledger, "resume"), "it went on from its checkpoint"


def test_a_node_is_killed_with_all_that_runs_on_it(cluster, drive, sweep, ledger, undisturbed):
    driver = drive()
    strike_until_a_trial_is_lost(sweep, ledger, lambda pid: cluster.kill(cluster.node_of(pid)))
    finish(driver, sweep, ledger, undisturbed)
    [lost, *_] = [t for t in sweep.runnable if any(e["event"] == "lost" for e in ledger.events(t.id))]
    starts = [event["pid"] for event in ledger.events(lost.id) if event["event"] == "start"]
    assert len(set(starts)) == len(starts) >= 2, "another process took it up"


def test_the_driver_is_killed_and_run_again(drive, sweep, ledger, undisturbed):
    first = drive()
    wait_for(lambda: len(events(sweep, ledger, "done")) >= 3 and under_way(sweep, ledger), what="three trials")
    first.kill()
    finished = {t.id: ledger.events(t.id) for t in sweep.runnable if ledger.state(t.id) == "done"}
    assert 3 <= len(finished) < 20
    finish(drive(), sweep, ledger, undisturbed)
    assert {trial_id: ledger.events(trial_id) for trial_id in finished} == finished, "a finished trial ran again"
    assert events(sweep, ledger, "resume"), "a trial that was under way went on"


def test_the_tracking_server_dies_and_comes_back(drive, sweep, ledger, undisturbed, tmp_path):
    with Server(tmp_path) as server:
        driver = drive(MLFLOW_TRACKING_URI=server.uri)
        wait_for(lambda: list(ledger.root.glob("trials/*/tracked.json")), what="the first scores in MLflow")
        server.kill()
        wait_for(lambda: "does not answer" in driver.said(), what="the driver to notice")
        assert len(events(sweep, ledger, "done")) < 20, "the sweep was over before the server died"
        server.start()
        assert driver.process.wait(timeout=300) == 0, driver.said()
        again = drive(MLFLOW_TRACKING_URI=server.uri)  # sends what is owed, where the server came back too late
        finish(again, sweep, ledger, undisturbed, tracking_uri=server.uri)


def test_the_results_folder_is_away_for_a_while(drive, sweep, ledger, undisturbed):
    driver, kept = drive(), ledger.root.with_name("kept")
    wait_for(lambda: len(events(sweep, ledger, "done")) >= 2 and under_way(sweep, ledger), what="two trials")
    assert len(events(sweep, ledger, "done")) < 18
    ledger.root.rename(kept)
    ledger.root.write_text("in the way")
    wait_for(lambda: "is away (Not a directory)" in driver.said(), what="the driver to notice")
    ledger.root.unlink()
    kept.rename(ledger.root)
    finish(driver, sweep, ledger, undisturbed)
    assert "is back after" in driver.said()
    assert len(events(sweep, ledger, "start")) == 20, "no process gave its trial up"
