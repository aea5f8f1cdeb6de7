"""Budget and Training: what a trial may spend, and the recipe it is trained with.

Torch-free, so that a sweep file can be checked in well under a second.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from .task_networks import TASK_NETWORKS, complaint_about


class Budget(BaseModel):
    """A named allowance, the same for every method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(ge=4, le=4096)
    """Side in pixels of the square image that the task network sees."""
    overview_size: int | None = Field(default=None, ge=4, le=4096)
    """Side in pixels of the low-resolution view that decides where to look; image_size when left out."""
    task_network: Literal["small", "alexnet", "resnet18", "resnet50", "resnet101", "inception_v3"] = "small"
    """What answers the task from the image that it is shown, the same for every method that does not bring its own."""
    task_weights: str | None = None
    """Weights it starts from: torchvision's by name (IMAGENET1K_V1), a checkpoint by path, or none."""
    epochs: int = Field(ge=1)
    batch: int = Field(default=64, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    """Examples that go through the network together: a batch is learned from in even pieces of at most so many, whose
    gradients are added up. Left out: all of a batch. Part of a trial's id where it is given, as BatchNorm sees it."""
    cpus: int = Field(default=1, ge=1)
    """CPUs that a trial holds, and its threads, unless settings.cpu_threads says otherwise. Not part of a trial's
    id."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs of one trial, fractions allowed; left out: 1 where there is a GPU, else 0. Not part of a trial's id."""
    processes: int | None = Field(default=None, ge=1)
    """Processes that share each batch of a trial, each with a GPU of its own where there are any; left out: one for
    each whole GPU. Not part of a trial's id."""

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError("gpus is a whole number, or a fraction of one")
        return gpus

    @field_validator("processes")
    @classmethod
    def _one_gpu_each(cls, processes: int | None, info: ValidationInfo) -> int | None:
        gpus, batch = info.data.get("gpus"), info.data.get("batch")
        if processes is not None and processes > 1 and gpus not in (None, 0, processes):
            raise ValueError(f"each process has a GPU of its own, and gpus is {gpus:g}; on the CPU gpus is 0")
        if processes is not None and batch is not None and processes > batch:
            raise ValueError(f"a batch of {batch} cannot be shared by so many processes")
        micro_batch = info.data.get("micro_batch")
        if processes is not None and batch is not None and micro_batch is not None:
            least = batch // math.ceil(batch / micro_batch)
            if processes > least:
                raise ValueError(f"pieces of {least} examples (micro_batch) cannot be shared by so many processes")
        return processes

    @field_validator("micro_batch")
    @classmethod
    def _less_than_the_batch(cls, micro_batch: int | None, info: ValidationInfo) -> int | None:
        batch = info.data.get("batch")
        if micro_batch is not None and batch is not None and micro_batch >= batch:
            raise ValueError(f"it must be below batch, {batch}, or it changes nothing: leave it out")
        return micro_batch

    def pieces(self, batch: int) -> int:
        """In how many pieces a batch of so many examples is learned from."""
        return 1 if self.micro_batch is None else math.ceil(batch / self.micro_batch)

    @property
    def gpus_where_there_are(self) -> float:
        """GPUs of one trial on a machine that has some."""
        return float(self.processes or 1) if self.gpus is None else self.gpus

    @property
    def cpus_taken(self) -> int:
        """CPUs of one trial: a process has one at least."""
        return max(self.cpus, self.processes or 1)

    @field_validator("task_network")
    @classmethod
    def _takes_the_image(cls, network: str, info: ValidationInfo) -> str:
        size, least = info.data.get("image_size"), TASK_NETWORKS[network].least_size
        if size is not None and size < least:
            raise ValueError(f"an image_size of {size} is too small, it needs at least {least}")
        return network

    @field_validator("task_weights")
    @classmethod
    def _exist(cls, weights: str | None, info: ValidationInfo) -> str | None:
        network = info.data.get("task_network")
        complaint = complaint_about(weights, network) if weights is not None and network else None
        if complaint:
            raise ValueError(complaint)
        return weights

    @property
    def overview(self) -> int:
        """Side in pixels of the overview."""
        return self.overview_size or self.image_size


class Training(BaseModel):
    """The optimizer and its schedule, the same for every method; left out: AdamW under a one-cycle schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD; AdamW has its own."""
    schedule: Literal["one_cycle", "step"] = "one_cycle"
    warmup: float = Field(default=0.15, gt=0, lt=1)
    """Share of the steps in which the learning rate rises; of one_cycle."""
    decay: float = Field(default=0.1, gt=0, le=1)
    """What the learning rate is multiplied with every decay_epochs; of step."""
    decay_epochs: int = Field(default=30, ge=1)
    clip: float = Field(default=5.0, gt=0)
    """Largest norm of the gradient."""
