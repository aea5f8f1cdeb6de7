"""One process of a data-parallel step: python data_parallel_worker.py FOLDER RANK PROCESSES.

Rank 0 leaves the gradients in FOLDER/gradients_of_<PROCESSES>.pt; of one process they need no communication.
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from zoombench.baselines.saliency_sampler import SaliencySampler


def main(folder: Path, rank: int, processes: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task_network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    saliency_network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1, bias=False))
    layer = SaliencySampler(task_network, saliency_network, task_size=(12, 16), grid_size=(5, 7))
    image, label = torch.rand(8, 3, 30, 50), torch.randint(5, (8,))
    layer(image)  # gives the lazy layer its size
    model: nn.Module = layer
    if processes > 1:
        # A file as the meeting point: no port that somebody else may hold.
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'meet'}",
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=120),
        )
        model = DistributedDataParallel(layer)
    mine = slice(rank * 8 // processes, (rank + 1) * 8 // processes)
    nn.functional.cross_entropy(model(image[mine]).prediction, label[mine]).backward()
    if rank == 0:
        gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
        torch.save(gradients, folder / f"gradients_of_{processes}.pt")
    if processes > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
