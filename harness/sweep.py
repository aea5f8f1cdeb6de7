"""Trial specs on Ray Tune. The only importer of ray.

Every call is a fresh Tune experiment over the trials that the ledger misses; Tune's own restore is not used, because
it runs finished trials again from stale snapshots and takes no new method. Actors are reused: starting a process
costs a trial two seconds, scheduling it a few hundredths.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # half of a short trial's overhead, unread by us
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is KeyboardInterrupt, here as everywhere
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

import ray
from ray import tune

from .errors import UsageError
from .execution import execute
from .ledger import Ledger
from .progress import Progress
from .spec import TrialSpec
from .sweepfile import Settings

WAVES = 3
"""A trial whose process died without a word is started again in the next wave, from its checkpoint."""
OBJECT_STORE_BYTES = 128 * 2**20
"""Only specs travel through Ray; images and weights do not."""


def launch(
    trials: Sequence[TrialSpec],
    ledger: Ledger,
    settings: Settings,
    *,
    commit: str,
    progress: Progress,
    retry: bool = False,
    address: str | None = None,
) -> None:
    """Run trials on Ray Tune until each is done, failed, or held by another process.

    Raises UsageError if no node can ever hold one of the trials, KeyboardInterrupt on Ctrl-C.
    """
    with _cluster(address):
        gpus_there = ray.cluster_resources().get("GPU", 0.0)
        resources = {trial.id: _resources(trial, settings, gpus_there) for trial in trials}
        _look_for_the_impossible(trials, resources, say=progress.say if address else None)
        left = list(trials)
        for wave in range(WAVES):
            watch = _Watch({trial.id: trial for trial in left}, ledger, progress, last=wave == WAVES - 1)
            _fit(left, ledger, settings, resources, commit=commit, retry=retry or wave > 0, watch=watch)
            left = [trial for trial in left if trial.id in watch.lost]
            if not left:
                break


def _fit(
    trials: Sequence[TrialSpec],
    ledger: Ledger,
    settings: Settings,
    resources: dict[str, dict[str, float]],
    *,
    commit: str,
    retry: bool,
    watch: "_Watch",
) -> None:
    """One Tune experiment; its own records are scratch and go when it ends."""
    trainable = tune.with_parameters(
        _train,
        specs={trial.id: trial.to_json() for trial in trials},
        root=ledger.root,
        settings=settings.model_dump(),
        commit=commit,
        retry=retry,
        path=os.pathsep.join(
            os.path.abspath(entry) for entry in os.environ.get("ZOOMBENCH_PATH", "").split(os.pathsep) if entry
        ),
    )
    trainable = tune.with_resources(
        trainable, lambda config: tune.PlacementGroupFactory([resources[config["trial_id"]]])
    )
    with tempfile.TemporaryDirectory(prefix="zoombench-tune-", ignore_cleanup_errors=True) as scratch:
        tune.Tuner(
            trainable,
            param_space={"trial_id": tune.grid_search([trial.id for trial in trials])},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                max_concurrent_trials=settings.trials_at_once,
                trial_dirname_creator=lambda trial: trial.config["trial_id"],
            ),
            run_config=tune.RunConfig(storage_path=scratch, name="sweep", verbose=0, callbacks=[watch]),
        ).fit()


def _train(
    config: dict[str, Any],
    *,
    specs: dict[str, Any],
    root: Path,
    settings: dict[str, Any],
    commit: str,
    retry: bool,
    path: str,
) -> None:
    """What a Ray worker does: one trial, each score reported as it comes."""
    os.environ["ZOOMBENCH_PATH"] = path
    outcome = execute(
        TrialSpec.from_json(specs[config["trial_id"]]),
        Ledger(root),
        Settings(**settings),
        commit=commit,
        retry=retry,
        listen=lambda score: tune.report({"score": score}),
    )
    if outcome == "out of memory":
        raise MemoryError("recorded in the ledger; raised so that Tune replaces this process")
    tune.report({"outcome": outcome})


class _Watch(tune.Callback):
    """Tune's events become lines of progress; a trial that Tune lost is noted for the next wave."""

    def __init__(self, specs: dict[str, TrialSpec], ledger: Ledger, progress: Progress, *, last: bool) -> None:
        self.specs, self.ledger, self.progress, self.last = specs, ledger, progress, last
        self.lost: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that is never asked for."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.started(self._spec(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "score" in result:
            self.progress.scored(self._spec(trial), result["score"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.progress.ended(self._spec(trial), self.ledger)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        spec = self._spec(trial)
        events = self.ledger.events(spec.id)
        if not events or events[-1]["event"] not in ("done", "failed"):
            cause = _last_line(trial)
            if self.last:
                self.ledger.fail(
                    spec.id,
                    error_class="WorkerLost",
                    message=f"the process of trial {spec.id} ({spec.title}) died {WAVES} times: {cause}",
                    traceback=cause,
                )
            else:
                self.ledger.note(spec.id, "lost", cause=cause)
                self.lost.add(spec.id)
        self.progress.ended(spec, self.ledger)

    def _spec(self, trial: Any) -> TrialSpec:
        return self.specs[trial.config["trial_id"]]


def _last_line(trial: Any) -> str:
    error = trial.get_error() if hasattr(trial, "get_error") else None
    lines = str(error or "").strip().splitlines()
    return lines[-1] if lines else "no reason was given"


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A Ray of our own on the loopback interface, or the one at an address; ours ends with the block."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        ray.init(address=address, **quiet)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _resources(trial: TrialSpec, settings: Settings, gpus_there: float) -> dict[str, float]:
    budget = trial.budget
    wanted = (
        0.0 if settings.device == "cpu" or (budget.gpus is None and not gpus_there) else budget.gpus_where_there_are
    )
    return {"CPU": float(budget.cpus_taken)} | ({"GPU": wanted} if wanted else {})


def _look_for_the_impossible(
    trials: Sequence[TrialSpec], resources: dict[str, dict[str, float]], *, say: Callable[[str], None] | None
) -> None:
    """A trial that no node can hold would wait for ever here; on a cluster (`say`) a larger node may still come."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for trial in trials:
        asked = resources[trial.id]
        if not any(all(node.get(key, 0) >= amount for key, amount in asked.items()) for node in nodes):
            best = ", ".join(f"{max(node.get(key, 0) for node in nodes):g} {key}" for key in asked)
            wants = ", ".join(f"{amount:g} {key}" for key, amount in asked.items())
            found = f"budget {trial.budget_label}: a trial asks for {wants}, but the largest node has {best}."
            if say is None:
                raise UsageError(f"{found} Lower cpus or gpus in the budget, or give --address of a larger cluster.")
            say(f"{found} Waiting for the cluster to grow.")
            return
