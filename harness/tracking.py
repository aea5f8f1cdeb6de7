"""The ledger's scores to MLflow. The only importer of mlflow.

One direction, one function: `sync` compares what the ledger holds with what MLflow has received and sends the rest. It
serves the live view (a thread in the driver), the end of a sweep, and `zoombench sync` after a server was down; so a
trial never waits for a server, and a score sent twice is the same row (its time comes from the ledger).
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from . import results, storage
from .errors import ResultsError, StorageLost, TrackingError
from .ledger import Ledger, write_json
from .spec import Sweep, TrialSpec

EXPERIMENT = "zoombench"
PAUSE = 3.0
"""Seconds between two looks at the ledger while a sweep runs."""
PATIENCE = 60.0
"""Seconds to leave a server alone that did not answer."""
COSTS = (
    "parameters",
    "gflops",
    "flop_coverage",
    "latency_ms_p50",
    "latency_ms_p90",
    "peak_memory_mib",
    "train_seconds",
)
_ENDED = {"done": "FINISHED", "failed": "FAILED", "started": "KILLED"}


def tracking_uri(ledger: Ledger) -> str:
    """MLFLOW_TRACKING_URI, or a SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ledger.root / 'mlflow.db'}"


def _database(uri: str) -> Path | None:
    """The file of a SQLite database."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:") else None


def pending(sweep: Sweep, trials: Sequence[TrialSpec], ledger: Ledger) -> list[TrialSpec]:
    """The trials of which MLflow lacks something, judged by the ledger's own notes; imports no mlflow."""
    uri = tracking_uri(ledger)
    return [trial for trial in trials if _owed(trial, ledger, uri, live=False)]


def sync(sweep: Sweep, trials: Sequence[TrialSpec], ledger: Ledger, *, live: bool = False) -> list[TrialSpec]:
    """Send what MLflow lacks; returns the trials sent. While `live`, unfinished trials keep their run open.

    Raises TrackingError where MLflow does not answer; what was sent before stays noted.
    """
    owed = [trial for trial in trials if _owed(trial, ledger, tracking_uri(ledger), live=live)]
    if owed or not live:
        try:
            with _Client.open(sweep, ledger) as client:
                for trial in owed:
                    client.send(trial, live=live)
                if not live:
                    client.close_sweep()
        except StorageLost:
            raise
        except Exception as error:  # MLflow, its database and its transport raise a dozen unrelated classes
            if isinstance(error, ModuleNotFoundError):
                raise TrackingError(f"no package {error.name} is installed here") from error
            cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TrackingError(f"MLflow at {tracking_uri(ledger)} does not answer: {cause[:200]}") from error
    return owed


@contextlib.contextmanager
def following(sweep: Sweep, trials: Sequence[TrialSpec], ledger: Ledger, *, say: Any) -> Iterator[None]:
    """Keep MLflow up to date from a thread while a sweep runs, then send the rest and close what has ended.

    A server that is down is said once while the sweep runs and never raised; `pending` tells what it still lacks.
    """
    stop = threading.Event()
    follower = threading.Thread(
        target=_follow, args=(sweep, trials, ledger, stop, say), name="zoombench-tracking", daemon=True
    )
    follower.start()
    try:
        yield
    except BaseException:
        storage.lose_patience()
        raise
    finally:
        stop.set()
        follower.join(timeout=PATIENCE)
        with contextlib.suppress(TrackingError, StorageLost):  # said already, or by whoever asks what is pending
            sync(sweep, trials, ledger)


def _follow(sweep: Sweep, trials: Sequence[TrialSpec], ledger: Ledger, stop: threading.Event, say: Any) -> None:
    pause, left = PAUSE, list(trials)
    while not stop.wait(pause):
        try:
            began = time.monotonic()
            ledger.refresh()
            ledger.fetch([trial.id for trial in left])
            looked = time.monotonic() - began
            begun = ledger.begun(left)
            done = {trial.id for trial in begun if ledger.state(trial.id) == "done"}
            sync(sweep, begun, ledger, live=True)
            left = [trial for trial in left if trial.id not in done]  # sent, for good: not read again every time
            pause = max(PAUSE, 10 * looked)  # a long listing must not become all that the driver does
        except TrackingError as error:
            if pause == PAUSE:
                say(f"tracking: {error}. Nothing is lost: the ledger keeps every score until MLflow has it.")
            pause = PATIENCE
        except (StorageLost, ResultsError):
            return  # the driver's own work meets it too, and says it


def _owed(trial: TrialSpec, ledger: Ledger, uri: str, *, live: bool) -> bool:
    state = ledger.state(trial.id)
    if state == "planned":
        return False
    sent = ledger.record(trial.id, "tracked.json").get(uri, {})
    database = _database(uri)
    if database and not database.exists():
        return True  # it was deleted
    if state == "started" and live:
        return bool(sent.get("status") != "RUNNING" or sent["scores"] < len(ledger.scores(trial.id)))
    return bool(sent.get("status") != _ENDED[state] or sent.get("attempts") != ledger.attempts(trial.id))


@dataclass
class _Client:
    """MLflow's client, this sweep's parent run, and what the ledger says was sent."""

    mlflow: Any
    ledger: Ledger
    sweep: Sweep
    uri: str
    experiment: str
    parent: str = field(default="")

    @classmethod
    @contextlib.contextmanager
    def open(cls, sweep: Sweep, ledger: Ledger) -> Iterator["_Client"]:
        """Connect, create database, experiment and parent run where they are missing."""
        os.environ.pop("MLFLOW_RUN_ID", None)  # it would override the parent
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # a run created twice is two; we look first
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines a trial
        import mlflow

        for noisy in ("alembic", "mlflow"):  # of tables created, of files stored: not the user's concern
            logging.getLogger(noisy).setLevel(logging.ERROR)

        uri = tracking_uri(ledger)
        sweep_folder = ledger.sweep_folder(sweep.name)
        storage.make_folder(sweep_folder)
        database = _database(uri)
        lock = database.with_name(f"{database.name}.lock") if database else ledger.root / "tracking.lock"
        with ledger.lock(lock):  # a client creates the tables of a database: one process at a time
            client = mlflow.MlflowClient(tracking_uri=uri)
            self = cls(client, ledger, sweep, uri, _experiment(client, ledger, uri))
            self.parent = self._run(
                {"zoombench.sweep": sweep.name, "zoombench.ledger": ledger.identity},
                name=sweep.name,
                more={"zoombench.sweep_file": sweep.path.name},
            )
            client.update_run(self.parent, status="RUNNING")
            resolved = sweep_folder / "resolved.yaml"
            if resolved.exists():
                client.log_artifact(self.parent, str(resolved))
            yield self

    def send(self, trial: TrialSpec, *, live: bool) -> None:
        """Bring one trial's run up to date: parameters, scores not yet sent, cost, artifacts, status."""
        from mlflow.entities import Metric, Param, RunTag

        state = self.ledger.state(trial.id)
        record = self.ledger.record(trial.id, "tracked.json")
        sent = record.get(self.uri, {"scores": 0, "status": ""})
        identity = {"zoombench.trial_id": trial.id, "zoombench.ledger": self.ledger.identity}
        run_id = self._run(identity, name=f"{trial.title} ({trial.id})", more={"mlflow.parentRunId": self.parent})
        if sent.get("run_id") != run_id:
            sent = {"scores": 0, "status": "", "run_id": run_id}
            params = [Param(key, str(value)[:6000]) for key, value in _flat(trial).items()]
            for start in range(0, len(params), 100):
                self.mlflow.log_batch(run_id, params=params[start : start + 100])
        scores = self.ledger.scores(trial.id)
        new = [
            Metric(f"{s['split']}/{s['metric']}", s["value"], _milliseconds(s["time"]), s["epoch"])
            for s in scores[sent["scores"] :]
        ]
        for start in range(0, len(new), 1000):
            self.mlflow.log_batch(run_id, metrics=new[start : start + 1000])
        ending = self.ledger.record(trial.id, f"{state}.json") if state in ("done", "failed") else {}
        tags: dict[str, Any] = {
            "zoombench.method": trial.method.label,
            "zoombench.dataset": trial.dataset.label,
            "zoombench.budget": trial.budget_label,
            "zoombench.purpose": trial.purpose,
        }
        tags |= {"zoombench.state": state, "zoombench.attempts": self.ledger.attempts(trial.id)}
        tags |= {
            f"zoombench.{key}": ending[key] for key in ("error_class", "message", "device", "torch") if key in ending
        }
        if ending.get("commit"):
            tags["mlflow.source.git.commit"] = ending["commit"].removesuffix("+changes")
        if state == "done":
            at = _milliseconds(ending["finished"])
            costs = [Metric(f"cost/{key}", float(ending[key]), at, 0) for key in COSTS if ending.get(key) is not None]
            self.mlflow.log_batch(run_id, metrics=costs)
        self.mlflow.log_batch(run_id, tags=[RunTag(key, str(value)[:5000]) for key, value in tags.items()])
        if ending:
            self._send_files(trial, run_id)
        status = "RUNNING" if live and state == "started" else _ENDED[state]
        if status == "RUNNING":
            self.mlflow.update_run(run_id, status=status)
        else:
            self.mlflow.set_terminated(run_id, status=status)
        sent |= {"scores": len(scores), "status": status, "attempts": self.ledger.attempts(trial.id)}
        write_json(self.ledger.folder(trial.id) / "tracked.json", record | {self.uri: sent})

    def close_sweep(self) -> None:
        """The sweep's own run ends; its table and report go along where they exist."""
        folder = self.ledger.sweep_folder(self.sweep.name)
        for name in ("results.csv", "report.html"):
            if (folder / name).exists():
                self.mlflow.log_artifact(self.parent, str(folder / name))
        self.mlflow.set_terminated(self.parent, status="FINISHED")

    def _send_files(self, trial: TrialSpec, run_id: str) -> None:
        folder = self.ledger.folder(trial.id)
        for name in ("trial.json", "metrics.jsonl", "failed.json"):
            if (folder / name).exists():
                self.mlflow.log_artifact(run_id, str(folder / name))
        if (folder / "looks").is_dir() and results.is_shareable(trial.dataset):  # a server has other readers
            self.mlflow.log_artifacts(run_id, str(folder / "looks"), artifact_path="looks")

    def _run(self, identity: dict[str, str], *, name: str, more: dict[str, str]) -> str:
        """The run with these tags, found again or created."""
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
        found = self.mlflow.search_runs([self.experiment], filter_string=wanted, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = identity | more | {"mlflow.source.name": "zoombench", "mlflow.source.type": "LOCAL"}
        return str(self.mlflow.create_run(self.experiment, run_name=name, tags=tags).info.run_id)


def _experiment(client: Any, ledger: Ledger, uri: str) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = (ledger.root / "mlflow-artifacts").as_uri() if _database(uri) else None
    try:
        return str(client.create_experiment(name, artifact_location=local))
    except Exception:
        made = client.get_experiment_by_name(name)  # by another driver, since we looked
        if made is None:
            raise
        return str(made.experiment_id)


def _flat(trial: TrialSpec) -> dict[str, Any]:
    """Everything that a trial's id is made of, as MLflow's flat and immutable parameters; labels are tags."""
    flat: dict[str, Any] = {"method": trial.method.name, "dataset": trial.dataset.name, "seed": trial.seed}
    sections = {
        "method": trial.method.config,
        "dataset": trial.dataset.config,
        "budget": trial.budget.model_dump(exclude={"cpus", "gpus", "processes"}),
        "training": trial.training.model_dump(),
    }
    for section, settings in sections.items():
        flat |= {f"{section}.{key}": value for key, value in settings.items()}
    return flat


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def run_ids(trials: Sequence[TrialSpec], ledger: Ledger) -> dict[str, str]:
    """The MLflow run of each trial that has one, by the ledger's notes."""
    uri = tracking_uri(ledger)
    found = {trial.id: ledger.record(trial.id, "tracked.json").get(uri, {}).get("run_id", "") for trial in trials}
    return {trial_id: run_id for trial_id, run_id in found.items() if run_id}
