"""The optimizer and the schedule that a sweep file asks for; how a batch is learned from is harness/learning.py."""

from typing import Any

import torch

from .budget import Training


def recipe(
    training: Training, groups: list[dict[str, Any]], *, steps: int, epochs: int, fused: bool = False
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimizer and its schedule, which is asked after every step; steps is of one epoch.

    A fused optimizer is the same up to rounding. Without it torch takes the loop on the CPU and the form for lists of
    tensors on CUDA, which give the same bits.
    """
    optimizer: torch.optim.Optimizer
    if training.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, momentum=training.momentum, weight_decay=training.weight_decay, fused=fused or None
        )
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=training.weight_decay, fused=fused or None)
    if training.schedule == "step":
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, training.decay_epochs * steps, training.decay)
    total = max(3, steps * epochs)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in groups],
        total_steps=total,
        pct_start=max(training.warmup, 2 / total),  # it divides by the steps of its rise, less one
        cycle_momentum=training.optimizer == "adamw",
    )
