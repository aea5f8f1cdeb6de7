"""What tests of several baselines share: a pair of processes that train together."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

WORKER = Path(__file__).with_name("data_parallel_worker.py")

DataParallel = Callable[[dict[str, tuple[nn.Module, dict[str, Tensor], Tensor]]], dict[str, Any]]


@pytest.fixture(scope="session")
def in_two_processes(tmp_path_factory: pytest.TempPathFactory) -> DataParallel:
    """From cases by name, (model, inputs, target), to the gradients that two processes agree on, or what went wrong."""

    def run(cases: dict[str, tuple[nn.Module, dict[str, Tensor], Tensor]]) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("data_parallel")
        torch.save(cases, folder / "cases.pt")
        environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(WORKER), str(folder)]
        workers = [subprocess.Popen([*command, str(rank)], env=environment) for rank in (0, 1)]
        try:
            assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        found: dict[str, Any] = torch.load(folder / "gradients.pt", weights_only=True)
        return found

    return run
