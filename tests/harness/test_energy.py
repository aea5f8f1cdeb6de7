"""The meter against a made-up NVML, whose GPUs are told what they use. No GPU is needed, and none has been tried."""

import time

import pytest

from zoombench.harness import energy


class NVMLError(Exception):
    pass


class Nvml:
    """The part of pynvml that the meter calls: GPUs by UUID, in millijoules and milliwatts."""

    NVMLError = NVMLError

    def __init__(self, counts=True, works=True):
        self.counts, self.works, self.open = counts, works, 0
        self.millijoules, self.milliwatts = (
            {"GPU-a": 5_000, "GPU-b": 70_000, "GPU-c": 0},
            dict.fromkeys(("GPU-a", "GPU-b", "GPU-c"), 0),
        )
        self.asked = set()

    def nvmlInit(self):
        if not self.works:
            raise NVMLError("driver not loaded")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid not in self.millijoules:
            raise NVMLError("not found")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, device):
        self.asked.add(device)
        if not self.counts:
            raise NVMLError("not supported")
        return self.millijoules[device]

    def nvmlDeviceGetPowerUsage(self, device):
        self.asked.add(device)
        if self.milliwatts is None:
            raise NVMLError("not supported")
        return self.milliwatts[device]


def test_the_counter_of_the_named_gpus_is_read_and_of_no_other():
    nvml = Nvml()
    with energy.meter(["GPU-a", "GPU-b"], nvml) as meter:
        assert meter.joules() == 0
        nvml.millijoules = {"GPU-a": 6_500, "GPU-b": 72_000, "GPU-c": 10**9}
        assert meter.joules() == 3.5
    assert nvml.asked == {"GPU-a", "GPU-b"}
    assert nvml.open == 0


def test_power_is_summed_up_where_a_gpu_does_not_count(monkeypatch):
    monkeypatch.setattr(energy, "SECONDS_BETWEEN", 0.01)
    nvml = Nvml(counts=False)
    nvml.milliwatts |= {"GPU-a": 100_000, "GPU-b": 50_000, "GPU-c": 10**9}
    began = time.monotonic()
    with energy.meter(["GPU-a", "GPU-b"], nvml) as meter:
        time.sleep(0.2)
        joules, seconds = meter.joules(), time.monotonic() - began
    assert joules == pytest.approx(150 * seconds, rel=0.1)


def test_power_that_rises_is_joined_by_trapezoids(monkeypatch):
    monkeypatch.setattr(energy, "SECONDS_BETWEEN", 1000)
    clock = [0.0]
    monkeypatch.setattr(energy.time, "monotonic", lambda: clock[0])
    nvml = Nvml(counts=False)
    with energy.meter(["GPU-a"], nvml) as meter:
        clock[0], nvml.milliwatts["GPU-a"] = 4.0, 100_000
        assert meter.joules() == 200
        clock[0] = 5.0
        assert meter.joules() == 300


def test_nothing_is_said_where_nothing_can_be_measured():
    assert energy.meter([], Nvml()) is None
    assert energy.meter(["GPU-a"], Nvml(works=False)) is None
    gone, silent = Nvml(), Nvml(counts=False)
    silent.milliwatts = None
    assert energy.meter(["GPU-elsewhere"], gone) is None
    assert energy.meter(["GPU-a"], silent) is None
    assert (gone.open, silent.open) == (0, 0)


def test_a_gpu_that_stops_answering_has_no_energy():
    nvml = Nvml()
    with energy.meter(["GPU-a"], nvml) as meter:
        nvml.counts = False
        assert meter.joules() is None
