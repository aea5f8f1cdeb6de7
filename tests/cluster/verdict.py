"""What must hold of a sweep after whatever happened to it, beside the same sweep undisturbed."""

from collections import Counter
from typing import Any

from zoombench.harness.ledger import Ledger
from zoombench.harness.spec import Sweep, TrialSpec


def violations(sweep: Sweep, found: Ledger, undisturbed: Ledger, *, tracking_uri: str) -> list[str]:
    """One line for each thing that was lost, doubled or changed."""
    said = []
    for trial in sweep.runnable:
        state = found.state(trial.id)
        said += [] if state == "done" else [f"trial {trial.id} is {state}"]
        said += _repeated(trial, found)
        for what, look in {"scores": _scores, "weights": _weights}.items():
            if look(trial, found) != look(trial, undisturbed):
                said.append(f"trial {trial.id} has other {what} than undisturbed")
    return said + _mistracked(sweep, found, tracking_uri)


def _repeated(trial: TrialSpec, ledger: Ledger) -> list[str]:
    """Work that was in a checkpoint and was done again."""
    said, reached = [], 0
    for event in ledger.events(trial.id):
        if event["event"] == "epoch":
            if event["epoch"] <= reached:
                said.append(f"trial {trial.id} finished epoch {event['epoch']} after epoch {reached}")
            reached = event["epoch"]
        elif event["event"] == "resume" and event["epoch"] < reached:
            said.append(f"trial {trial.id} went on from epoch {event['epoch']}, after epoch {reached} was finished")
    return said


def _scores(trial: TrialSpec, ledger: Ledger) -> list[tuple[Any, ...]]:
    return sorted((s["split"], s["epoch"], s["metric"], s["value"]) for s in ledger.scores(trial.id))


def _weights(trial: TrialSpec, ledger: Ledger) -> object:
    return ledger.record(trial.id, "done.json").get("weights_sha256")


def _mistracked(sweep: Sweep, ledger: Ledger, uri: str) -> list[str]:
    """One run a trial, ended, with every score of it once."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("zoombench").experiment_id
    runs = client.search_runs([experiment], max_results=10_000)
    said = [f"run {run.info.run_id} is {run.info.status}" for run in runs if run.info.status != "FINISHED"]
    counts = Counter(run.data.tags["zoombench.trial_id"] for run in runs if "zoombench.trial_id" in run.data.tags)
    said += [f"trial {trial.id} has {counts[trial.id]} runs" for trial in sweep.runnable if counts[trial.id] != 1]
    for run in runs:
        trial_id = run.data.tags.get("zoombench.trial_id")
        if trial_id is None:
            continue
        kept = Counter((f"{s['split']}/{s['metric']}", s["epoch"], s["value"]) for s in ledger.scores(trial_id))
        sent = Counter(
            (name, metric.step, metric.value)
            for name in run.data.metrics
            if not name.startswith("cost/")
            for metric in client.get_metric_history(run.info.run_id, name)
        )
        if sent != kept:
            said.append(f"MLflow has other scores of trial {trial_id} than the ledger")
    return said
