"""Trial specs on Ray Tune. The only importer of ray.

Every call is a fresh Tune experiment over the trials that the ledger misses; Tune's own restore is not used, because
it runs finished trials again from stale snapshots and takes no new method. Actors are reused: starting a process
costs a trial two seconds, scheduling it a few hundredths.
"""

import contextlib
import math
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # half of a short trial's overhead, unread by us
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is KeyboardInterrupt, here as everywhere
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

import ray
from ray import tune
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from . import storage
from .errors import UsageError
from .execution import Steps, give_up, steps
from .ledger import Ledger, at
from .progress import Progress
from .spec import TrialSpec
from .sweepfile import Settings, data_root

GRACE = 60.0
"""Seconds that a trial has to end by itself once its time is over: it looks at the clock after each step."""
ANSWER_SECONDS = 120.0
"""A node that takes longer to say what it has does not answer; importing torch from a slow disk takes a minute."""
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
        while left:
            specs = {trial.id: trial for trial in left}
            watch = _Watch(specs, ledger, progress, timeout_minutes=settings.timeout_minutes)
            _fit(left, ledger, settings, resources, commit=commit, retry=retry, watch=watch)
            left = [trial for trial in left if trial.id in watch.lost]


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
        _Trial,
        specs={trial.id: trial.to_json() for trial in trials},
        place=ledger.place,
        settings=settings.model_dump(),
        commit=commit,
        retry=retry,
        environment=_environment(),
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
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="sweep",
                verbose=0,
                callbacks=[watch],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the trial's own is the only one
            ),
        ).fit()


class _Trial(tune.Trainable):
    """What a Ray worker does: one trial, a step of which ends with its next score.

    A class, because its steps run in the worker's main thread: only there can it listen to SIGTERM.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        specs: dict[str, Any],
        place: str,
        settings: dict[str, Any],
        commit: str,
        retry: bool,
        environment: dict[str, str],
    ) -> None:
        """Keep what every trial of this worker shares, and take up the first."""
        _adopt(environment)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the driver hears it and ends us
        self._take_up: Callable[[str], Steps] = lambda trial_id: steps(
            TrialSpec.from_json(specs[trial_id]), at(place), Settings(**settings), commit=commit, retry=retry
        )
        self._going = self._take_up(config["trial_id"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in the same process."""
        self._going = self._take_up(new_config["trial_id"])
        return True

    def step(self) -> dict[str, Any]:
        """Up to the trial's next score, or its outcome."""
        try:
            return {"score": next(self._going)}
        except StopIteration as end:
            if end.value == "preempted":
                signal.raise_signal(signal.SIGTERM)  # now that the trial is safe, as Ray means it: the process ends
            if end.value in ("out of memory", "lost", "preempted"):
                raise RuntimeError(f"{end.value}: in the ledger; raised so that Tune replaces this process") from None
            return {"outcome": end.value, "done": True}

    def cleanup(self) -> None:
        """Let go of the trial, where it has not ended."""
        self._going.close()


class _Watch(tune.Callback):
    """Tune's events become lines of progress; a trial that Tune lost is noted for the next wave."""

    def __init__(
        self, specs: dict[str, TrialSpec], ledger: Ledger, progress: Progress, *, timeout_minutes: float | None
    ) -> None:
        self.specs, self.ledger, self.progress = specs, ledger, progress
        self.timeout = math.inf if timeout_minutes is None else 60 * timeout_minutes
        self.attempts: dict[str, int] = {}
        """Of each running trial, how often it was started before."""
        self.began: dict[str, float] = {}
        """When its process was first seen to have taken it up."""
        self.lost: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that is never asked for."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.ledger.refresh([self._spec(trial).id])
        self.attempts[self._spec(trial).id] = self.ledger.attempts(self._spec(trial).id)
        self.progress.started(self._spec(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "score" in result:
            self.progress.scored(self._spec(trial), result["score"])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End from outside what did not end by itself within a grace: it hangs where it never looks at the clock."""
        if self.timeout == math.inf:
            return
        for trial_id, before in self.attempts.items():
            if trial_id not in self.began and self.ledger.attempts(trial_id) > before:
                self.began[trial_id] = storage.clock()  # by this clock: another node's may differ
        for trial_id, began in list(self.began.items()):
            if storage.clock() - began > self.timeout + GRACE:
                self._forget(trial_id)
                self._end(trial_id)

    def _end(self, trial_id: str) -> None:
        start = [event for event in self.ledger.events(trial_id) if event["event"] == "start"][-1]
        self.ledger.fail(
            trial_id,
            error_class="TimedOut",
            message=f"trial {trial_id} ({self.specs[trial_id].title}) took longer than settings.timeout_minutes, "
            f"{self.timeout / 60:g}, and did not end when it was told to: its process was killed.",
            traceback="",
            attempts=start["attempt"],
        )
        _kill(start)

    def _forget(self, trial_id: str) -> None:
        self.attempts.pop(trial_id, None)
        self.began.pop(trial_id, None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._forget(self._spec(trial).id)
        self.ledger.refresh([self._spec(trial).id])
        self.progress.ended(self._spec(trial), self.ledger)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        spec = self._spec(trial)
        self._forget(spec.id)
        self.ledger.refresh([spec.id])
        events = self.ledger.events(spec.id)
        last: dict[str, Any] = events[-1] if events else {"event": "none"}
        if last["event"] not in ("done", "failed", "preempted", "lost"):
            last = {"event": "lost", "cause": _last_line(trial)}
            self.ledger.note(spec.id, **last)
        if last["event"] == "preempted" or (last["event"] == "lost" and not give_up(spec, self.ledger, last["cause"])):
            self.lost.add(spec.id)
        self.progress.ended(spec, self.ledger)

    def _spec(self, trial: Any) -> TrialSpec:
        return self.specs[trial.config["trial_id"]]


class Node(NamedTuple):
    """What one node of a cluster answered."""

    id: str
    host: str
    cpus: float
    gpus: float
    facts: dict[str, Any]
    """Empty where it did not answer."""
    error: str
    clock_offset: float
    """Seconds that its clock is ahead of ours."""


def ask_nodes(
    ask: Callable[[dict[str, Any]], dict[str, Any]], question: dict[str, Any], *, address: str | None
) -> list[Node]:
    """Call a function once on every node that is there, in the environment that a trial would have."""
    with _cluster(address):
        nodes = [node for node in ray.nodes() if node["Alive"]]
        asked = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            actor = ray.remote(_Asked).options(num_cpus=0, scheduling_strategy=there).remote(_environment())
            asked.append((actor, actor.answer.remote(ask, question)))
        return [_answer(node, *one) for node, one in zip(nodes, asked, strict=True)]


class _Asked:
    """A process on a node that answers what it is asked."""

    def __init__(self, environment: dict[str, str]) -> None:
        _adopt(environment)
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides the GPUs from a process that asked for none

    def answer(self, ask: Callable[[dict[str, Any]], dict[str, Any]], question: dict[str, Any]) -> dict[str, Any]:
        return ask(question)

    def clock(self) -> float:
        return time.time()


def _answer(node: dict[str, Any], actor: Any, reply: Any) -> Node:
    facts, error, offsets = {}, "", [(0.0, 0.0)]
    try:
        facts = ray.get(reply, timeout=ANSWER_SECONDS)
        offsets = [_offset(actor) for _ in range(5)]
    except ray.exceptions.RayError as raised:
        error = str(raised).strip().splitlines()[-1]
    there = node["Resources"]
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    return Node(node["NodeID"], node["NodeManagerHostname"], cpus, gpus, facts, error, min(offsets)[1])


def _offset(actor: Any) -> tuple[float, float]:
    """How long a question took, and how far ahead the clock was that answered: the quickest answer knows best."""
    before = time.time()
    there = ray.get(actor.clock.remote(), timeout=ANSWER_SECONDS)
    after = time.time()
    return after - before, there - (before + after) / 2


def _environment() -> dict[str, str]:
    """What a worker has to know of the driver's environment; workers run in folders of their own."""
    named = os.environ.get("ZOOMBENCH_PATH", "").split(os.pathsep)
    path = os.pathsep.join(os.path.abspath(entry) for entry in named if entry)
    return {"ZOOMBENCH_PATH": path} | ({"ZOOMBENCH_DATA": folder} if (folder := data_root()) else {})


def _adopt(environment: dict[str, str]) -> None:
    """In a worker: the driver's environment, but for the folder of data sets where the node has one of its own."""
    own = os.environ.get("ZOOMBENCH_DATA", "")
    os.environ.update(environment)
    if os.path.isabs(own):
        os.environ["ZOOMBENCH_DATA"] = own


def _kill(start: dict[str, Any]) -> None:
    """End the process that started a trial, on whichever node it is."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeManagerHostname"] == start["host"]]
    for node in nodes[:1]:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ray.get(ray.remote(_end_process).options(num_cpus=0, scheduling_strategy=there).remote(start["pid"]))


def _end_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _last_line(trial: Any) -> str:
    error = trial.get_error() if hasattr(trial, "get_error") else None
    lines = str(error or "").strip().splitlines()
    return lines[-1] if lines else "no reason was given"


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A Ray of our own on the loopback interface, or the one at an address; ours ends with the block.

    Raises UsageError where no cluster answers, or not to us.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with contextlib.nullcontext() if address else _kept_private():
        try:
            if address:
                _knock(address)
                ray.init(address=address, **quiet)
            else:
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _node_ip_address="127.0.0.1",
                    **quiet,
                )
        except (OSError, ValueError, RuntimeError, ray.exceptions.AuthenticationError) as error:
            if not address:
                raise
            raise UsageError(
                f"no Ray cluster answers at {address}: {str(error).strip().splitlines()[0]}. Look at `ray status` on "
                "its head. Ray and Python must have its versions. If it asks for a token, set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN_PATH to a file with what `ray get-auth-token` prints on its head."
            ) from error
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own ends the driver without a word of ours
            yield
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself takes more than five minutes to say so."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=30).close()


@contextlib.contextmanager
def _kept_private() -> Iterator[None]:
    """Keep a Ray of our own to this machine and to this command.

    Ray takes 127.0.0.1 for the machine's address on the network, and listens everywhere, unless it believes that it
    cannot be part of a cluster. The token keeps out other users of the machine; Ray asks for it by default.
    """
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    switch = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, told = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(switch)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[switch] = False, "0"  # for this process, and for those it starts
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(switch)
        if told is not None:
            os.environ[switch] = told


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
