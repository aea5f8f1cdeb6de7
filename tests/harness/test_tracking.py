"""MLflow receives every score once, whatever was down or killed in between."""

import json
import time

import pytest

from zoombench.harness import spec, tracking
from zoombench.harness.errors import TrackingError
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


@pytest.fixture
def sweep(sweep_file, ledger):
    """One trial that is done, one that failed."""
    sweep = spec.load(sweep_file(methods={"tiny": {}, "bad": {"method": "tiny", "fail_at": 1}}))
    for trial in sweep.trials:
        execute(trial, ledger, Settings(), commit="0" * 40)
    return sweep


def runs(ledger):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=tracking.tracking_uri(ledger))
    experiment = client.get_experiment_by_name("zoombench")
    return client, client.search_runs([experiment.experiment_id]) if experiment else []


def history(client, run):
    return [
        (m.key, m.step, m.value) for key in run.data.metrics for m in client.get_metric_history(run.info.run_id, key)
    ]


def test_a_sweep_is_one_parent_run_and_one_nested_run_a_trial(sweep, ledger):
    tracking.sync(sweep, sweep.runnable, ledger)
    client, found = runs(ledger)
    by_id = {run.data.tags.get("zoombench.trial_id"): run for run in found}
    parent = by_id.pop(None)
    assert parent.data.tags["zoombench.sweep"] == "small"
    done, bad = (by_id.pop(trial.id) for trial in sweep.trials)
    assert not by_id
    assert {run.data.tags["mlflow.parentRunId"] for run in (done, bad)} == {parent.info.run_id}
    assert [run.info.status for run in (parent, done, bad)] == ["FINISHED", "FINISHED", "FAILED"]
    kept = [(f"{s['split']}/{s['metric']}", s["epoch"], s["value"]) for s in ledger.scores(sweep.trials[0].id)]
    assert sorted(m for m in history(client, done) if not m[0].startswith("cost/")) == sorted(kept)
    assert done.data.metrics["cost/gflops"] > 0
    assert done.data.params["method.width"] == "4"
    assert done.data.tags["mlflow.source.git.commit"] == "0" * 40
    assert bad.data.tags["zoombench.error_class"] == "RuntimeError"
    names = {item.path for item in client.list_artifacts(done.info.run_id)}
    assert {"metrics.jsonl", "trial.json", "looks"} <= names


def test_a_cost_that_was_refused_is_not_sent(sweep, ledger):
    done = ledger.folder(sweep.trials[0].id) / "done.json"
    done.write_text(json.dumps(json.loads(done.read_text()) | {"gflops": None}))
    tracking.sync(sweep, sweep.trials[:1], ledger)
    _, found = runs(ledger)
    costs = next(run.data.metrics for run in found if "zoombench.trial_id" in run.data.tags)
    assert "cost/gflops" not in costs
    assert costs["cost/parameters"] > 0


def test_sending_twice_changes_nothing(sweep, ledger):
    tracking.sync(sweep, sweep.runnable, ledger)
    assert tracking.pending(sweep, sweep.runnable, ledger) == []
    client, before = runs(ledger)
    lines = sorted(history(client, before[0]))
    for trial in sweep.trials:  # as if the process had been killed before it noted what it sent
        (ledger.folder(trial.id) / "tracked.json").unlink()
    assert tracking.sync(sweep, sweep.runnable, ledger) == list(sweep.runnable)
    client, after = runs(ledger)
    assert {run.info.run_id for run in after} == {run.info.run_id for run in before}
    assert sorted(history(client, next(r for r in after if r.info.run_id == before[0].info.run_id))) == lines


def test_a_trial_that_was_killed_is_closed_and_opened_again(sweep_file, ledger):
    sweep = spec.load(sweep_file())
    trial = sweep.trials[0]
    ledger.folder(trial.id).mkdir()
    ledger.note(trial.id, "start", attempt=1)
    tracking.sync(sweep, sweep.runnable, ledger, live=True)
    assert {run.info.status for run in runs(ledger)[1]} == {"RUNNING"}
    tracking.sync(sweep, sweep.runnable, ledger)
    assert {run.info.status for run in runs(ledger)[1]} == {"KILLED", "FINISHED"}
    execute(trial, ledger, Settings(), commit="")
    tracking.sync(sweep, sweep.runnable, ledger)
    found = runs(ledger)[1]
    assert [run.info.status for run in found] == ["FINISHED", "FINISHED"]


def test_a_server_that_is_down_is_one_error_and_loses_nothing(sweep, ledger, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"MLflow at http://127.0.0.1:9 does not answer"):
        tracking.sync(sweep, sweep.runnable, ledger)
    assert len(tracking.pending(sweep, sweep.runnable, ledger)) == 2
    said = []
    monkeypatch.setattr(tracking, "PAUSE", 0.1)
    with tracking.following(sweep, sweep.runnable, ledger, say=said.append):
        time.sleep(3)
    assert len(said) == 1
    assert "Nothing is lost" in said[0]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(tracking.sync(sweep, sweep.runnable, ledger)) == 2


def test_a_run_id_in_the_environment_is_not_taken_for_the_parent(sweep, ledger, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    tracking.sync(sweep, sweep.runnable, ledger)
    assert len(runs(ledger)[1]) == 3


def test_a_deleted_database_is_filled_again(sweep, ledger, zoombench):
    tracking.sync(sweep, sweep.runnable, ledger)
    (ledger.root / "mlflow.db").unlink()
    assert len(tracking.pending(sweep, sweep.runnable, ledger)) == 2
    done = zoombench("sync", sweep.path)  # a process of its own: this one holds the deleted file open
    assert "2 trials sent" in done.stdout, done.stderr


def test_two_results_folders_on_one_server_keep_their_runs_apart(sweep, ledger, sweep_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'shared.db'}")
    tracking.sync(sweep, sweep.runnable, ledger)
    other = Ledger.open(tmp_path / "other")
    renamed = spec.load(sweep_file(file="renamed", methods={"another label": {"method": "tiny"}}))
    execute(renamed.trials[0], other, Settings(), commit="")
    tracking.sync(renamed, renamed.runnable, other)
    trial_ids = [run.data.tags.get("zoombench.trial_id") for run in runs(ledger)[1]]
    assert trial_ids.count(renamed.trials[0].id) == 2


def test_while_a_sweep_runs_what_is_done_and_sent_is_not_looked_at_again(sweep, ledger, sweep_file, monkeypatch):
    [done, failed], [planned] = sweep.trials, spec.load(sweep_file(file="more", seeds=[7])).trials
    looked = []
    monkeypatch.setattr(tracking, "PAUSE", 0.02)
    monkeypatch.setattr(tracking, "sync", lambda sweep, trials, ledger, live=False: looked.append((live, trials)))
    with tracking.following(sweep, [done, failed, planned], ledger, say=print):
        deadline = time.monotonic() + 20
        while len(looked) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert looked[:2] == [(True, [done, failed]), (True, [failed])]
    assert looked[-1] == (False, [done, failed, planned]), "at the end every trial is"
