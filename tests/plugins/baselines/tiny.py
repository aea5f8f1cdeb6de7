"""A very small network that fails, waits, diverges or kills its process when it is told to."""

import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from zoombench.harness.contract import Method, Output, Zoom


@dataclass(frozen=True)
class Config:
    width: int = 4
    sleep: float = 0.0  # seconds a training step
    hang_at: int | None = None  # epoch that never ends
    fail_at: int | None = None  # epoch, counted from 0
    nan_at: int | None = None
    kill_at: int | None = None  # SIGKILL to its own process, the first time only where a marker file remembers
    marker: str = ""
    sigterm: bool = False  # end it by SIGTERM instead
    out_of_memory_at: int | None = None
    exit_at: int | None = None
    lock: bool = False  # hold something that cannot be copied
    own_generator: bool = False  # scale each step by a number from a generator of its own
    draws: bool = False  # draw from every global generator when an epoch starts and at each step
    nan_answers: bool = False  # only where it is judged
    dropout: float = 0.1
    batch_norm: bool = True
    only_rank: int | None = None  # fail, diverge or kill in this process of several
    stages: bool = False  # in the first epoch the last layer's weights are frozen, and an offset is not used

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is {self.width}: a network needs at least one channel")


def skip(task, budget):
    return None if task.outputs <= 10 else f"tiny knows at most 10 classes, and the task has {task.outputs}"


class Tiny(Method):
    def __init__(self, config: Config, task) -> None:
        super().__init__()
        self.config, self.task, self.epoch = config, task, 0
        self.scale = 1.0
        self.generator = torch.Generator().manual_seed(7)
        self.lock = threading.Lock() if config.lock else None
        self.network = nn.Sequential(
            nn.Conv2d(3, config.width, 3, stride=2),
            nn.BatchNorm2d(config.width) if config.batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(config.width * 16, task.outputs),
        )
        self.offset = nn.Parameter(torch.zeros(task.outputs)) if config.stages else None

    def start_epoch(self, epoch: int, epochs: int) -> None:
        self.epoch = epoch
        if self.config.stages:
            self.network[-1].weight.requires_grad_(epoch > 0)
        if self.config.only_rank is not None and self.config.only_rank != rank():
            return
        if epoch == self.config.fail_at:
            raise RuntimeError("told to fail")
        if self.config.draws:
            self.scale = self.draw()
        while epoch == self.config.hang_at:
            time.sleep(1)
        if epoch == self.config.exit_at:
            sys.exit(0)
        if epoch == self.config.out_of_memory_at:
            raise MemoryError("told to run out of memory")
        if epoch == self.config.kill_at and not os.path.exists(self.config.marker):
            if self.config.marker:
                open(self.config.marker, "w").close()
            os.kill(os.getpid(), signal.SIGTERM if self.config.sigterm else signal.SIGKILL)

    def get_extra_state(self):
        return {"generator": self.generator.get_state()}

    def set_extra_state(self, state):
        self.generator.set_state(state["generator"].cpu())

    def draw(self) -> float:
        return 1 + random.random() + np.random.rand() + torch.rand(()).item()

    def forward(self, image, target=None) -> Output:
        if self.training and self.config.sleep:
            time.sleep(self.config.sleep)
        prediction = self.network(image)
        if self.training and self.config.own_generator and target is not None:
            prediction = prediction * (1 + torch.rand((), generator=self.generator))
        if self.training and self.config.draws and target is not None:
            prediction = prediction * self.scale * self.draw()
        if self.offset is not None and self.epoch > 0:
            prediction = prediction + self.offset
        if self.training and self.epoch == self.config.nan_at and self.config.only_rank in (None, rank()):
            prediction = prediction * torch.nan
        if not self.training and self.config.nan_answers:
            prediction = prediction / 0 * 0
        line = torch.linspace(-1, 1, 8)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).expand(len(image), -1, -1, -1)
        loss = None if target is None else self.task.loss(prediction, target)
        return Output(prediction, loss, (Zoom(image, grid),))


def rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def build(config: Config, task, budget) -> Tiny:
    return Tiny(config, task)
