"""One of two processes of data-parallel steps: python data_parallel_worker.py FOLDER RANK.

FOLDER/cases.pt holds, by name, (model, inputs, target). Rank 0 leaves in FOLDER/gradients.pt, by name, the gradients of
the mean loss, or what went wrong; nothing of the cases after that.
"""

import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

PROCESSES = 2


def loss_of(model: nn.Module, inputs: dict[str, Tensor], target: Tensor) -> Tensor:
    """A method's own loss; of anything else that predicts, the cross-entropy."""
    from zoombench.harness.contract import Method

    if isinstance(getattr(model, "module", model), Method):
        loss: Tensor = model(**inputs, target=target).loss
        return loss
    return nn.functional.cross_entropy(model(**inputs).prediction, target)


def gradients(model: nn.Module, inputs: dict[str, Tensor], target: Tensor, rank: int) -> dict[str, Tensor | None]:
    """Of this process' share of the batch, averaged over the processes."""
    parallel = DistributedDataParallel(model)
    mine = slice(rank * len(target) // PROCESSES, (rank + 1) * len(target) // PROCESSES)
    share = {name: tensor[mine] for name, tensor in inputs.items()}
    for _ in range(2):  # only the second forward pass complains of a parameter that had no part in the first loss
        model.zero_grad()
        loss_of(parallel, share, target[mine]).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    # A file as the meeting point: no port that somebody else may hold.
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meet'}",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=60),
    )
    found: dict[str, Any] = {}
    for name, (model, inputs, target) in torch.load(folder / "cases.pt", weights_only=False).items():
        try:
            found[name] = gradients(model, inputs, target, rank)
        except Exception:  # noqa: BLE001 - whatever it is, the test shows it
            found[name] = traceback.format_exc()
            break
    if rank == 0:
        torch.save(found, folder / "gradients.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    # Not by Python's own way out: a thread of gloo that lets go of a tensor then asks for an interpreter that has gone,
    # and the process is aborted (pytorch/pytorch#179291).
    os._exit(0)
