"""One trial in several processes: each takes its share of every batch, and all of them keep the same weights.

Rank 0 is the trial's own process; it starts the others on its own node, writes every file, and ends them. On CUDA each
rank has a device of its own and they speak NCCL, on the CPU gloo. Every rank runs the same code, harness/trial.py.
"""

import contextlib
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from . import errors, storage
from .contract import Method
from .ledger import write_json
from .spec import TrialSpec
from .sweepfile import Settings

Decision = TypeVar("Decision")

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""All ranks are on one node: nothing of theirs is to be reached from outside."""


def processes(spec: TrialSpec, device: torch.device) -> int:
    """How many processes a trial takes: as its budget says, or one for each whole GPU."""
    if spec.budget.processes is not None:
        return spec.budget.processes
    return max(1, int(spec.budget.gpus_where_there_are)) if device.type == "cuda" else 1


def cut(items: Sequence[int], count: int) -> list[list[int]]:
    """So many parts in a row, whose sizes differ by one where they do not divide."""
    ends = [part * len(items) // count for part in range(count + 1)]
    return [list(items[start:end]) for start, end in itertools.pairwise(ends)]


@dataclass
class Ranks:
    """The processes of a trial, as one of them sees them. One alone does everything and waits for nobody."""

    rank: int = 0
    count: int = 1
    _wrapped: tuple[frozenset[str], nn.Module] | None = field(default=None, repr=False)
    """What wrap gave last, and for which parameters."""

    @property
    def leads(self) -> bool:
        """Whether this process writes the trial's files."""
        return self.rank == 0

    @property
    def seed_parts(self) -> tuple[int, ...]:
        """What tells this rank's random numbers from the others'; nothing for rank 0, whose are those of one alone."""
        return (self.rank,) if self.rank else ()

    def own(self, device: torch.device) -> torch.device:
        """The rank's own device of this kind."""
        return torch.device("cuda", self.rank) if self.count > 1 and device.type == "cuda" else device

    def share(self, batch: Sequence[int]) -> list[int]:
        """The examples of a batch that are this rank's; shares differ by one where the batch does not divide."""
        return cut(batch, self.count)[self.rank]

    def join(self, method: Method) -> Method:
        """The method as all ranks train it: one set of weights, and BatchNorm over the whole batch."""
        if self.count == 1:
            return method
        convert = nn.SyncBatchNorm.convert_sync_batchnorm if _is_on_cuda(method) else _share_batch_norm
        joined: Method = convert(method)
        for tensor in [*joined.parameters(), *joined.buffers()]:
            distributed.broadcast(tensor.detach(), src=0)
        return joined

    def wrap(self, method: Method) -> nn.Module:
        """What is called in training: it averages the gradients of the ranks.

        Wrapped anew where start_epoch froze or freed parameters, as DistributedDataParallel knows only those that it
        was made with.
        """
        if self.count == 1:
            return method
        trained = frozenset(name for name, parameter in method.named_parameters() if parameter.requires_grad)
        if self._wrapped is None or self._wrapped[0] != trained:
            self.release()
            changes = type(method).start_epoch is not Method.start_epoch  # then a stage may leave parameters out
            self._wrapped = trained, DistributedDataParallel(method, find_unused_parameters=changes)
        return self._wrapped[1]

    def release(self) -> None:
        """Let go of what wrap gave, and of its hooks."""
        if self._wrapped is not None:
            self._wrapped = None
            gc.collect()

    def scale(self, loss: Tensor, *, share: int, batch: int) -> Tensor:
        """A rank's mean loss of its share of a piece, so weighted that sums over pieces have the batch's as mean."""
        return loss if share * self.count == batch else loss * (share * self.count / batch)

    def apart(self, forward: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Where what wrap gave leaves gradients with this rank, to be added up before they are averaged."""
        return forward.no_sync() if isinstance(forward, DistributedDataParallel) else contextlib.nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks, for all of them."""
        if self.count > 1:
            values = values.clone()
            distributed.all_reduce(values)
            values /= self.count
        return values

    def gather(self, value: Any) -> list[Any]:
        """Each rank's value, in their order, for all of them."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value)
        return found

    def as_rank_0_says(self, decision: Decision) -> Decision:
        """What rank 0 decided, for all of them: clocks and signals differ."""
        decided: Decision = self.gather(decision)[0]
        return decided


@contextlib.contextmanager
def ranks_of(spec: TrialSpec, workdir: Path, settings: Settings, device: torch.device) -> Iterator[Ranks]:
    """The ranks of a trial, as rank 0 sees them; the others end with the block.

    Where one of them failed, its error is raised in place of rank 0's, which only lost its peer: WorkerLost if it was
    killed, else its own error.
    """
    count = processes(spec, device)
    if count == 1:
        yield Ranks()
        return
    with tempfile.TemporaryDirectory(prefix="zoombench-ranks-") as name:
        folder = Path(name)
        call = {
            "spec": spec.to_json(),
            "workdir": str(workdir.absolute()),
            "settings": settings.model_dump(),
            "results": str(storage.root() or ""),
        }
        (folder / "call.json").write_text(json.dumps(call | {"count": count, "parent": os.getpid()}))
        command = [sys.executable, "-m", "zoombench.harness.parallel", name]
        others = [subprocess.Popen([*command, str(rank)], env=os.environ | LOOPBACK) for rank in range(1, count)]
        ranks = Ranks(0, count)
        try:
            with _group(folder, ranks, device, patience=_patience(settings)):
                yield ranks
            for other in others:
                other.wait(PATIENCE.total_seconds())
        except RuntimeError as error:  # what torch raises where a peer has gone, and much else
            cause = _failure(folder, others, spec, began=time.time())
            if cause is not None:
                raise cause from error
            raise
        finally:
            for other in others:
                other.kill()
                other.wait()


def main(folder: Path, rank: int) -> None:
    """Run one of the other ranks to the trial's end, or leave in the folder what went wrong."""
    from . import trial

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # rank 0 hears them too, and ends the others when it has saved
    call = json.loads((folder / "call.json").read_text())
    threading.Thread(target=_end_with, args=(call["parent"],), daemon=True).start()
    spec, settings = TrialSpec.from_json(call["spec"]), Settings(**call["settings"])
    ranks = Ranks(rank, call["count"])
    waits: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if call["results"]:  # read a checkpoint as patiently as rank 0, which says so
        waits = storage.waited_for(Path(call["results"]), settings.storage_patience_minutes, say=lambda line: None)
    with waits, _group(folder, ranks, trial.pick_device(spec, settings), patience=_patience(settings)):
        try:
            for _ in trial.run_as(ranks, spec, Path(call["workdir"]), settings):
                pass
        except Exception as error:
            # Before the group is left, which the others notice: so the first to fail is the first to say so.
            failure = {"class": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
            write_json(folder / f"{rank}.json", failure | {"time": time.time()})
            raise


def _patience(settings: Settings) -> timedelta:
    """How long ranks wait for each other: rank 0 may be waiting for the results folder meanwhile."""
    return PATIENCE + timedelta(minutes=settings.storage_patience_minutes)


@contextlib.contextmanager
def _group(folder: Path, ranks: Ranks, device: torch.device, *, patience: timedelta = PATIENCE) -> Iterator[None]:
    """The process group of the ranks; a file is the meeting point, so there is no port that somebody else may hold."""
    os.environ.update(LOOPBACK)
    if device.type == "cuda":
        torch.cuda.set_device(ranks.rank)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{folder / 'meet'}",
        rank=ranks.rank,
        world_size=ranks.count,
        timeout=patience,
    )
    try:
        yield
    finally:
        ranks.release()
        distributed.destroy_process_group()


def _failure(
    folder: Path, others: Sequence["subprocess.Popen[bytes]"], spec: TrialSpec, *, began: float
) -> Exception | None:
    """What another rank died of before rank 0's own error, if one did: it is given a moment to say so."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and all(other.poll() is None for other in others):
        time.sleep(0.05)
    for rank, other in enumerate(others, start=1):
        code = other.poll()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return errors.WorkerLost(f"process {rank} of trial {spec.id} ({spec.title}) was ended by {name}.")
    reports = {int(path.stem): json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")}
    if not reports:
        return None
    rank = min(reports, key=lambda one: float(reports[one]["time"]))
    return _as_error(reports[rank], rank) if reports[rank]["time"] < began else None


def _as_error(failure: dict[str, str], rank: int) -> Exception:
    kinds = vars(errors) | {"OutOfMemoryError": torch.OutOfMemoryError, "MemoryError": MemoryError}
    kind = kinds.get(failure["class"])
    if kind is not None:
        error: Exception = kind(failure["message"])
    else:
        error = errors.TrialError(f"{failure['class']} in process {rank}: {failure['message']}")
    error.add_note(failure["traceback"])
    return error


def _end_with(parent: int) -> None:
    """End this process when its parent has gone, however it went."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _is_on_cuda(method: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in method.parameters())


class _Sum(torch.autograd.Function):
    """The sum over the ranks; every rank's loss depends on it, so its gradient is a sum over the ranks too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class _SharedBatchNorm(_BatchNorm):
    """BatchNorm over the examples of all ranks, for the CPU, where torch's SyncBatchNorm does not run."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 axes, found {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; in training by mean and variance of the whole batch."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(input.dim())]
        count = torch.tensor(float(input.numel() // input.shape[1]))
        distributed.all_reduce(count)
        exact = input if input.dtype == torch.float64 else input.float()
        mean = _Sum.apply(exact.sum(axes)) / count
        centred = exact - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        if self.track_running_stats and self.running_mean is not None:
            assert self.num_batches_tracked is not None
            assert self.running_var is not None
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * count / (count - 1), share)
        normal: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)


def _share_batch_norm(module: nn.Module) -> Any:
    """Every BatchNorm of a module, replaced by one that all ranks share; parameters and buffers stay the same."""
    if isinstance(module, _BatchNorm):
        module.__class__ = _SharedBatchNorm  # the same state, another forward
        return module
    for child in module.children():
        _share_batch_norm(child)
    return module


if __name__ == "__main__":
    code = 1
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
        code = 0
    except errors.Preempted:
        pass  # rank 0 says it
    except BaseException:  # noqa: BLE001 - rank 0 may have gone before it could say it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread of gloo that outlives the interpreter aborts the process (pytorch/pytorch#179291)
