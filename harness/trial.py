"""One trial: train a method on a dataset within a budget, then judge it on the test split. Torch only.

`run` is a generator of scores. Everything that it needs to go on after a kill lies in the trial's folder, and a trial
that was killed gives the same numbers as one that never was.
"""

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from . import cost, lookup, parallel, pictures, precision, storage
from .bad_files import Skipped
from .batches import Loader
from .contents import content
from .contract import Method, Output, Zoom, given
from .errors import CheckpointError, DiskFull, NonFiniteLoss, StorageLost, TrialError, ZoombenchError
from .learning import Learner
from .ledger import write_file, write_json
from .parallel import Ranks
from .randomness import get_random_state, seed_everything, set_random_state, stream_seed
from .spec import Choice, TrialSpec
from .sweepfile import Settings
from .tasks import Task
from .weights import content_hash

CHECK_EVERY = 20
"""Steps between two looks at the losses: each look makes the host wait for the device."""
EXAMPLES_TO_PICTURE = 12
"""Of the test split, the same for every method: the report shows the best, the worst and the flipped of them."""
DEFAULTS = Settings()
EXTRA = "_extra_state"
"""How torch's names of what get_extra_state gave end."""


class Score(NamedTuple):
    """One value of one metric: the same fields in the ledger, in Ray, in MLflow and in the table."""

    split: str
    epoch: int
    """Epochs finished."""
    metric: str
    value: float


def ignore(event: str, **facts: Any) -> None:
    """Where nobody listens."""


def never() -> ZoombenchError | None:
    """Where nobody stops a trial."""
    return None


def run(
    spec: TrialSpec,
    workdir: Path,
    settings: Settings = DEFAULTS,
    note: Callable[..., None] = ignore,
    stop: Callable[[], ZoombenchError | None] = never,
) -> Iterator[Score]:
    """Train, judge and measure one trial; yields every score, those of earlier attempts first.

    Leaves weights.pt, predictions.parquet (one row per test example), cost.json and looks/ in workdir. `note` hears
    of what happens, as (event, facts). Once `stop` gives an error, a checkpoint is written and the error raised.

    Raises NonFiniteLoss, CheckpointError, and whatever the method or the dataset raises.
    """
    device = pick_device(spec, settings)
    with parallel.ranks_of(spec, workdir, settings, device) as ranks:
        yield from run_as(ranks, spec, workdir, settings, note, stop)


def run_as(
    ranks: Ranks,
    spec: TrialSpec,
    workdir: Path,
    settings: Settings,
    note: Callable[..., None] = ignore,
    stop: Callable[[], ZoombenchError | None] = never,
) -> Iterator[Score]:
    """What `run` does, in one of the trial's processes: only the one that leads writes to workdir, or is stopped."""
    torch.set_num_threads(max(1, cpu_threads(spec, settings) // ranks.count))
    trial = _Trial.build(spec, workdir, settings, ranks, stop)
    _share_memory(spec, trial.device)
    try:
        trial.measure_cost(note)
        trial.begin(note)
        if storage.is_there(trial.checkpoint):
            trial.restore()
            note("resume", epoch=trial.epoch, step=trial.step)
        yield from trial.history
        while trial.epoch < spec.budget.epochs:
            known = len(trial.history)
            trial.train_epoch()
            trial.judge_epoch()
            trial.save()
            note("epoch", epoch=trial.epoch)
            yield from trial.history[known:]
            if trial.epoch < spec.budget.epochs and (end := ranks.as_rank_0_says(stop())):
                raise end
        yield from trial.finish(note)
    finally:
        trial.loader.close()


def cpu_threads(spec: TrialSpec, settings: Settings) -> int:
    """What a trial computes with on the CPU, all its processes together."""
    return settings.cpu_threads or spec.budget.cpus


def _share_memory(spec: TrialSpec, device: torch.device) -> None:
    """Hold a trial that has a fraction of a GPU to that fraction of its memory.

    So a trial runs out of memory by what it takes itself, never by what its neighbours take: it is an outcome that
    counts. The CUDA context of each process, some hundred MiB, comes on top.
    """
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, spec.budget.gpus_where_there_are or 1.0))


def pick_device(spec: TrialSpec, settings: Settings) -> torch.device:
    """CUDA where it is wanted and there, else the CPU; a budget of no GPUs wants none."""
    if settings.device == "auto":
        return torch.device("cuda" if spec.budget.gpus != 0 and torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)


def grid_shift(zooms: Sequence[Zoom]) -> float | None:
    """How far the first zoom's grid lies from the identity, on average, as a share of the image's side."""
    if not zooms:
        return None
    grid = zooms[0].grid.float()
    y, x = (torch.linspace(-1, 1, size, device=grid.device) for size in grid.shape[1:3])
    identity = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return float((grid - identity).norm(dim=-1).mean()) / 2


def weights_hash(method: nn.Module) -> str:
    """Sixteen hex digits over every parameter and buffer; a method's extra state may be anything and is left out."""
    digest = hashlib.sha256()
    for name, value in sorted(method.state_dict().items()):
        if not isinstance(value, Tensor):
            continue
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass
class _Trial:
    """The state of a running trial: what a checkpoint holds, and what can be built again."""

    spec: TrialSpec
    workdir: Path
    settings: Settings
    ranks: Ranks
    stop: Callable[[], ZoombenchError | None]
    device: torch.device
    task: Task
    splits: dict[str, Any]
    method: Method
    learner: Learner
    loader: Loader
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    """Over the steps of this epoch so far."""
    train_seconds: float = 0.0
    history: list[Score] = field(default_factory=list)
    unread: list[Tensor] = field(default_factory=list)
    """Losses that the host has not looked at."""
    last_finite: float = math.nan
    random_state: dict[str, Any] | None = None
    """Of a checkpoint from within an epoch: to be set again after the epoch has been started anew."""
    skipped: Skipped = field(default_factory=Skipped)
    epoch_random_state: dict[str, Any] | None = None
    """When this epoch was started: it is started from the same state when the trial goes on."""

    @property
    def checkpoint(self) -> Path:
        return self.workdir / "checkpoint.pt"

    @classmethod
    def build(
        cls, spec: TrialSpec, workdir: Path, settings: Settings, ranks: Ranks, stop: Callable[[], ZoombenchError | None]
    ) -> "_Trial":
        """Everything a trial needs, from its seed: the same in a fresh process and in a used one."""
        device = ranks.own(pick_device(spec, settings))
        storage.make_folder(workdir)
        for path, planned in spec.weights.items():
            if content_hash(path) != planned:
                raise TrialError(f"{path} is not the checkpoint that was planned: it has changed. Run again.")
        root = settings.data.folder(spec.dataset.label, spec.dataset.name)
        _refuse_other_data(spec.dataset, root)
        task = spec.task
        dataset = lookup.load("dataset", spec.dataset.name)
        judged = spec.judged
        splits = {
            split: dataset.build(dataset.Config(**spec.dataset.config), root, split, spec.budget.image_size)
            for split in ("train", "validation", "test")
            if split != "test" or judged == "test"  # what looks for settings must not see it
        }
        if len(splits["train"]) < 2 or len(splits[judged]) < 1:
            found = f"{len(splits['train'])} to train, {len(splits[judged])} of the {judged} split"
            raise TrialError(f"{spec.dataset.label}: too few examples to train and judge ({found}).")
        module = lookup.load("method", spec.method.name)
        seed_everything(spec.seed, "initialisation", *ranks.seed_parts)
        method = module.build(module.Config(**spec.method.config), task, spec.budget).to(device)
        return cls(
            spec=spec,
            workdir=workdir,
            settings=settings,
            ranks=ranks,
            stop=stop,
            device=device,
            task=task,
            splits=splits,
            method=method,
            learner=Learner(method, spec, settings, ranks, device, examples=len(splits["train"])),
            loader=Loader(
                splits,
                inputs=method.inputs,
                workers=settings.workers,
                device=device,
                skips=settings.data.on_bad_file == "skip",
            ),
        )

    def measure_cost(self, note: Callable[..., None]) -> None:
        """Once a trial and before it trains, so that nothing of it can be lost.

        A method whose cost cannot be measured is trained all the same: its cost stays absent from the table.
        """
        if self.ranks.leads and not storage.is_there(self.workdir / "cost.json"):
            *_, together = parallel.cut(range(self.learner.batch), self.spec.budget.pieces(self.learner.batch))
            inputs, target, _ = next(self._load("train", [together]))
            try:
                measured = cost.measure(self.method, inputs=inputs, target=target, autocast=self._autocast)
            except Exception as error:  # noqa: BLE001 - a stranger's method may not be copied, or not fit twice
                note("cost not measured", why=f"{type(error).__name__}: {error}")
            else:
                write_json(self.workdir / "cost.json", asdict(measured))

    def begin(self, note: Callable[..., None] = ignore) -> None:
        """Where training starts, in all ranks: the same weights, and random numbers of their own."""
        self.method = self.ranks.join(self.method)
        self.learner.begin(self.method, note)
        seed_everything(self.spec.seed, "training", *self.ranks.seed_parts)

    def train_epoch(self) -> None:
        """From the step where the trial stands to the end of the epoch."""
        budget, train, steps = self.spec.budget, self.splits["train"], self.learner.steps
        self.epoch_random_state = get_random_state(self.device)
        self.method.train()
        self.method.start_epoch(self.epoch, budget.epochs)
        if self.random_state is not None:
            set_random_state(self.random_state)
            self.random_state = None
        order = torch.Generator().manual_seed(stream_seed(self.spec.seed, "order", self.epoch))
        indices = torch.randperm(len(train), generator=order).tolist()
        batches = [indices[i * budget.batch : (i + 1) * budget.batch] for i in range(self.step, steps)]
        mine = [[index for piece in self.learner.share(batch) for index in piece] for batch in batches]
        self.learner.start_epoch()
        resumed_at, saved = time.monotonic(), time.monotonic()
        for inputs, target, _ in self._load("train", mine):
            self.unread.append(self._step(inputs, target))
            self.step += 1
            if len(self.unread) >= CHECK_EVERY:
                self._read_losses()
            now = time.monotonic()
            save, end = self._what_now(now - saved)
            if save:
                self.train_seconds += now - resumed_at
                self.save()
                resumed_at = saved = time.monotonic()
            if end:
                raise end
        self._read_losses()
        self.train_seconds += time.monotonic() - resumed_at
        self.epoch += 1
        self.history.append(Score("train", self.epoch, "loss", self.loss_sum / steps))
        self.step, self.loss_sum = 0, 0.0

    def _what_now(self, seconds: float) -> tuple[bool, ZoombenchError | None]:
        """Whether to write a checkpoint within the epoch, so long after the last, and what to end with then.

        Several ranks ask the first only where they wait for each other anyway.
        """
        if self.step >= self.learner.steps or (self.ranks.count > 1 and self.unread):
            return False, None
        end = self.stop()
        return self.ranks.as_rank_0_says((end is not None or seconds > self.settings.checkpoint_seconds, end))

    def judge_epoch(self) -> None:
        """The validation split, for the learning curve; it decides nothing."""
        if len(self.splits["validation"]):
            columns, _ = self._judge("validation")
            self.history.append(
                Score("validation", self.epoch, self.task.metric.name, float(columns["score"].double().mean()))
            )

    def finish(self, note: Callable[..., None]) -> Iterator[Score]:
        """Judge the test split, and leave the files of a finished trial; of a tuning trial its costs alone."""
        if self.spec.judged == "validation":
            if self.ranks.leads:
                write_json(self.workdir / "facts.json", self.facts())
            return
        columns, first = self._judge("test")
        if not self.ranks.leads:
            return
        assert first is not None
        inputs, output = first
        # Such as the class of device, so that scores of each can be told apart.
        known = getattr(self.splits["test"], "facts", {})
        read = columns["example"].tolist()
        table = pa.table(
            {name: column.cpu().numpy() for name, column in columns.items()}
            | {name: [values[index] for index in read] for name, values in known.items()}
        )
        write_file(self.workdir / "predictions.parquet", lambda stream: pq.write_table(table, stream))
        if self.skipped.count:
            note("bad files", skipped=self.skipped.named)
        shift = None
        try:
            shift = grid_shift(output.zooms)
            if "image" in inputs:
                looks = self.workdir / "looks"
                storage.make_folder(looks)
                storage.patiently(
                    looks,
                    lambda: pictures.write(inputs["image"], output.zooms, looks, count=EXAMPLES_TO_PICTURE),
                )
        except (ValueError, RuntimeError, TypeError, IndexError) as error:  # a zoom that does not keep the contract
            note("no pictures", why=f"{type(error).__name__}: {error}")
        self._write_torch({"trial": self.spec.id, "model": self.method.state_dict()}, self.workdir / "weights.pt")
        write_json(self.workdir / "facts.json", self.facts() | {"n_test": len(columns["score"]), "grid_shift": shift})
        yield Score("test", self.epoch, self.task.metric.name, float(columns["score"].double().mean()))

    def facts(self) -> dict[str, Any]:
        """What every finished trial says of itself."""
        return {
            "train_seconds": self.train_seconds,
            "weights_sha256": weights_hash(self.method),
            "processes": self.ranks.count,
            "gpu_hours": self._gpus() * self.train_seconds / 3600,
            "bad_files": self.skipped.count,
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else cpu_name(),
            "precision": self.settings.precision,
            "compiled": self.learner.compiled,
            "cpu_threads": cpu_threads(self.spec, self.settings),
            "skipped_steps": self.learner.skipped_steps,
            "torch": torch.__version__,
        }

    def save(self) -> None:
        """Write the checkpoint by atomic rename, after every loss up to here was seen to be finite."""
        self._read_losses()
        self._join_skipped()
        own = self.ranks.gather(
            {
                "random": get_random_state(self.device),
                "epoch_random": self.epoch_random_state,
                "extra": {key: value for key, value in self.method.state_dict().items() if key.endswith(EXTRA)},
            }
        )
        if not self.ranks.leads:
            return
        state = {
            "trial": self.spec.id,
            "model": self.method.state_dict(),
            **self.learner.state_dict(),
            "ranks": own,
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "train_seconds": self.train_seconds,
            "skipped": self.skipped.reasons,
            "history": [tuple(score) for score in self.history],
        }
        self._write_torch(state, self.checkpoint)

    def restore(self) -> None:
        """Go on where the checkpoint was written; raises CheckpointError if it does not fit."""
        advice = f"Delete {self.checkpoint} to start this trial again."
        try:
            state = storage.patiently(self.checkpoint, self._read_checkpoint)
            found, ranks = state["trial"], state["ranks"]
        except StorageLost:
            raise
        except Exception as error:  # torch's own words advise to execute what a file holds
            raise CheckpointError(f"{self.checkpoint} cannot be read ({type(error).__name__}). {advice}") from error
        if found != self.spec.id:
            raise CheckpointError(f"{self.checkpoint} is of trial {found}, expected {self.spec.id}. {advice}")
        own = ranks[self.ranks.rank] if self.ranks.rank < len(ranks) else None  # a trial may go on with more processes
        self.method.load_state_dict(state["model"] | (own["extra"] if own else {}))
        self.learner.load_state_dict(state)
        if own:
            set_random_state(own["epoch_random"] if state["step"] else own["random"])
            self.random_state = own["random"] if state["step"] else None
        self.epoch, self.step = state["epoch"], state["step"]
        self.loss_sum, self.train_seconds = state["loss_sum"], state["train_seconds"]
        self.history = [Score(*score) for score in state["history"]]
        self.skipped = Skipped(state.get("skipped", {}))

    def _read_checkpoint(self) -> Any:
        with self.checkpoint.open("rb") as stream:  # ours, so that what the disk says is heard
            return torch.load(stream, map_location=self.device, weights_only=True)

    def _step(self, inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        return self.learner.step(inputs, target)

    @torch.no_grad()
    def _judge(self, split: str) -> tuple[dict[str, Tensor], tuple[dict[str, Tensor], Output] | None]:
        """Every example of a split once, in order; also this rank's first inputs and what the method answered.

        The batches are those of one rank alone, dealt out whole.
        """
        self.method.eval()
        size, batch = len(self.splits[split]), self.spec.budget.batch
        parts: list[dict[str, Tensor]] = []
        first = None
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        batches = [list(range(i, min(i + batch, size))) for i in range(0, size, batch)]
        mine = batches[self.ranks.rank :: self.ranks.count]
        for indices, (inputs, target, read) in zip(mine, self._load(split, mine), strict=True):
            with self._autocast(), self.learner.uncompiled():
                output = self.method(**given(self.method, inputs))
            prediction = output.prediction.float()
            finite &= prediction.isfinite().all()
            columns = self.task.judge(prediction, target)
            if len(read) < len(target):  # the others stand for files that cannot be read
                kept = torch.tensor(read, dtype=torch.int64, device=self.device) - indices[0]
                columns = {name: column[kept] for name, column in columns.items()}
            parts.append({"example": torch.tensor(read, dtype=torch.int64)} | columns)
            first = first or (inputs, output)
        own = [{name: column.cpu() for name, column in part.items()} for part in parts]
        self._join_skipped()
        found = self.ranks.gather((bool(finite), own))
        if not all(is_finite for is_finite, _ in found):
            raise NonFiniteLoss(
                f"the answer to some {split} example is not finite after epoch {self.epoch} of trial {self.spec.id} "
                f"({self.spec.title}), though every loss was: the last step broke the weights. Try a lower "
                f"training.learning_rate than {self.spec.training.learning_rate:g}."
            )
        dealt = [found[place % self.ranks.count][1][place // self.ranks.count] for place in range(len(batches))]
        return {name: torch.cat([part[name] for part in dealt]) for name in dealt[0]}, first

    def _load(self, split: str, batches: Sequence[list[int]]) -> Iterator[tuple[dict[str, Tensor], Tensor, list[int]]]:
        """The method's inputs and the target on the device, and which examples of the batch could be read."""
        loaded = self.loader.load(split, self.epoch, batches)
        for indices, (inputs, target, are_it) in zip(batches, loaded, strict=True):
            read = indices
            if are_it is not None and not are_it.all():
                read = [index for index, is_it in zip(indices, are_it.tolist(), strict=True) if is_it]
                for index in set(indices) - set(read):
                    self.skipped.note(split, index, self.splits[split])
            yield inputs, target, read

    def _join_skipped(self) -> None:
        """What any rank found unreadable, for all of them; raises DataError where there is too much of it."""
        self.skipped = Skipped.joined(self.ranks.gather(self.skipped))
        for split in self.skipped.reasons:
            self.skipped.check(split, self.splits[split])

    def _gpus(self) -> float:
        if self.device.type != "cuda":
            return 0.0
        return self.spec.budget.gpus_where_there_are

    def _autocast(self) -> torch.autocast:
        return precision.autocast(self.settings.precision, self.device)

    def _read_losses(self) -> None:
        """Add the unread losses to the epoch's sum; raises NonFiniteLoss at the first that is not finite."""
        if not self.unread:
            return
        losses = self.ranks.mean(torch.stack(self.unread)).double().tolist()
        start = self.step - len(losses)
        self.unread.clear()
        for offset, loss in enumerate(losses):
            if not math.isfinite(loss):
                kept = (
                    f"Checkpoint kept in {self.workdir}"
                    if storage.is_there(self.checkpoint)
                    else "No checkpoint was written yet"
                )
                raise NonFiniteLoss(
                    f"loss is {loss} at epoch {self.epoch + 1}, step {start + offset + 1} of trial {self.spec.id} "
                    f"({self.spec.title}). Last finite loss {self.last_finite:.4g}. {kept}. Try a lower "
                    f"training.learning_rate than {self.spec.training.learning_rate:g}."
                )
            self.last_finite = loss
            self.loss_sum += loss

    def _write_torch(self, state: dict[str, Any], path: Path) -> None:
        try:
            write_file(path, lambda stream: torch.save(state, stream))
        except (OSError, RuntimeError, DiskFull) as error:
            free = shutil.disk_usage(path.parent).free / 2**20
            raise CheckpointError(
                f"{path} cannot be written ({free:.0f} MiB are free there): {error}. Make room, then run again with "
                "`zoombench retry`."
            ) from error


def _refuse_other_data(dataset: Choice, root: str | None) -> None:
    """Raise TrialError where the data are not those that the trial's id stands for."""
    found = content(dataset.name, dataset.config, root) if dataset.content else None
    if found != dataset.content:
        declared = lookup.declaration("dataset", dataset.name)
        absent = declared.missing(declared.config(**dataset.config), root)
        raise TrialError(
            f"{dataset.label}: what {root} holds is not the data that was planned: its content is "
            f"{found or 'not readable'}, expected {dataset.content}. "
            f"{absent or 'Every machine needs the same copy; if this one is right, run again.'}"
        )


def cpu_name() -> str:
    """What the CPU calls itself."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "cpu"
