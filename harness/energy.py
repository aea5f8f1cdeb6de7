"""Joules that GPUs used, from NVML: of the devices named and of no others. Where NVML is not there, nothing.

A GPU since Volta counts its own millijoules; of an older one the power is read ten times a second and summed up.
Either holds all that the device did, whoever asked for it.
"""

import importlib
import threading
import time
from collections.abc import Sequence
from typing import Any

SECONDS_BETWEEN = 0.1
"""Between two looks at the power of a GPU that does not count."""


class Meter:
    """Counts the energy of some GPUs from its making on. Use as a context manager, or call `close`."""

    def __init__(self, nvml: Any, uuids: Sequence[str]) -> None:
        self._nvml = nvml
        self._devices = [nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        self._counts = True
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._joules = 0.0
        self._power, self._at = 0.0, time.monotonic()
        try:
            self._start = self._counter()
        except nvml.NVMLError:
            self._counts = False
            self._power = self._watts()  # raises NVMLError where there is not even that
            threading.Thread(target=self._watch, name="zoombench-power", daemon=True).start()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def joules(self) -> float | None:
        """Joules since the meter was made; None where the GPUs have stopped answering."""
        try:
            if self._counts:
                return self._counter() - self._start
            with self._lock:
                self._sum_up()
                return self._joules
        except self._nvml.NVMLError:
            return None

    def close(self) -> None:
        """Stop looking, and let go of NVML."""
        self._ended.set()
        self._nvml.nvmlShutdown()

    def _counter(self) -> float:
        return float(sum(self._nvml.nvmlDeviceGetTotalEnergyConsumption(device) for device in self._devices)) / 1e3

    def _watts(self) -> float:
        return float(sum(self._nvml.nvmlDeviceGetPowerUsage(device) for device in self._devices)) / 1e3

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN):
            with self._lock:
                try:
                    self._sum_up()
                except self._nvml.NVMLError:
                    return  # the next question finds it out too, and answers None

    def _sum_up(self) -> None:
        """Trapezoids between the looks."""
        watts, now = self._watts(), time.monotonic()
        self._joules += (watts + self._power) / 2 * (now - self._at)
        self._power, self._at = watts, now


def meter(uuids: Sequence[str], nvml: Any = None) -> Meter | None:
    """A meter of the GPUs with these UUIDs, as nvidia-smi -L shows them; None where nothing can be measured."""
    if not uuids:
        return None
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        return Meter(nvml, uuids)
    except nvml.NVMLError:
        nvml.nvmlShutdown()
        return None


def uuids_of(count: int) -> list[str]:
    """The UUIDs of this process's first CUDA devices: whatever CUDA_VISIBLE_DEVICES says, these are the trial's own."""
    import torch

    return [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(count)]
