"""What `zoombench profile` has measured: one folder a configuration and conditions. Imports no torch.

    results/profiles/<configuration>/<conditions>/
      process-N.json         what one fresh process measured, every timed call in it
      profile.json           written last: the columns of the results table that all of them together give

A configuration is a trial without its seed and its training; conditions are all else that moves a clock: the device,
the versions, the precision, the code. Both are hashes: a profile is found again, and none is taken for another.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .budget import Training
from .ledger import Ledger, write_json
from .spec import TrialSpec

PROTOCOL = 1
"""Raised when harness/timing.py measures differently: every profile is then made again."""


@dataclass(frozen=True)
class Profile:
    """One configuration under one set of conditions."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder as the ledger has it."""
        return "/".join(self.folder.parts[-3:])

    @property
    def is_done(self) -> bool:
        """Whether all of its processes have measured."""
        return (self.folder / "profile.json").exists()

    def process(self, number: int) -> Path:
        """What one of its processes leaves."""
        return self.folder / f"process-{number}.json"

    @property
    def parts(self) -> dict[str, float]:
        """GFLOPs of one image by part of the method."""
        parts: dict[str, float] = self.read()["gflops_by_part"]
        return parts

    def read(self) -> dict[str, Any]:
        """The content of profile.json."""
        content: dict[str, Any] = json.loads((self.folder / "profile.json").read_text(encoding="utf-8"))
        return content

    def finish(self, processes: int, conditions: Mapping[str, Any]) -> None:
        """Write profile.json from what so many processes left."""
        made = [json.loads(self.process(number).read_text(encoding="utf-8")) for number in range(processes)]
        found = {"columns": columns(made, conditions), "gflops_by_part": made[0]["gflops_by_part"]}
        write_json(self.folder / "profile.json", found | {"conditions": dict(conditions), "finished": time.time()})


def configuration(trial: TrialSpec) -> str:
    """Twelve hex digits: the trial's, whatever its seed, its epochs and its recipe."""
    budget = trial.budget.model_copy(update={"epochs": 1})
    return replace(trial, seed=0, training=Training(), budget=budget).id


def of(trial: TrialSpec, conditions: Mapping[str, Any], ledger: Ledger) -> Profile:
    """Where the profile of a trial's configuration lies."""
    named = json.dumps([PROTOCOL, conditions], sort_keys=True)
    return Profile(_folder(trial, ledger) / hashlib.sha256(named.encode()).hexdigest()[:12])


def fetch(ledger: Ledger) -> None:
    """Have at hand what any machine has measured, but for the single calls."""
    ledger.fetch_folder("profiles", only=("profile.json",))


def columns_of(trial: TrialSpec, ledger: Ledger, *, device: str | None) -> dict[str, Any]:
    """The columns of a trial's profile, empty without one that was made with today's code of its method and data set.

    Of several the newest, and one on the trial's own device before any other: `latency_conditions` names the device.
    """
    made = [Profile(folder) for folder in _folder(trial, ledger).glob("*")]
    read = [one.read() for one in made if one.is_done]
    known = [one for one in read if one["conditions"]["code"] == code_of(trial)]
    if not known:
        return {}
    best = max(known, key=lambda one: (one["conditions"]["device"] == device, one.get("finished", 0.0)))
    return {**best["columns"], "latency_device": best["conditions"]["device"]}


def code_of(trial: TrialSpec) -> list[str]:
    """What of the code moves the clock, as far as the files of method and data set tell."""
    return [trial.method.fingerprint, trial.dataset.fingerprint]


def columns(processes: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> dict[str, Any]:
    """What all processes together say, in the columns of the results table.

    The interval of the median is over processes, because calls within one are not independent. Those of the rarer
    percentiles are order statistics over all calls, of which a percentile far out needs many: without enough it has no
    upper end.
    """
    from ..reports.latency import latency, quantile_interval

    calls, batches, pipeline = (
        [np.array(one[name]) for one in processes] for name in ("latency_ms", "batch_ms", "pipeline_ms")
    )
    middle, pooled = latency(calls), np.concatenate(calls)
    found: dict[str, Any] = {
        "latency_source": "profile",
        "latency_conditions": worded(conditions, batch=processes[0]["batch"]),
        "latency_processes": middle.processes,
        "latency_calls": len(pooled),
        "latency_drift": max(abs(after / before - 1) for before, after in (one["reference_ms"] for one in processes)),
        "latency_ms_p50": middle.value,
        "latency_ms_p50_low": middle.interval.low if middle.interval else None,
        "latency_ms_p50_high": middle.interval.high if middle.interval else None,
        "images_per_second": processes[0]["batch"] * 1e3 / latency(batches).value,
        "pipeline_ms_p50": latency(pipeline).value,
        "pipeline_images_per_second": _median(processes, "pipeline_images_per_second"),
        **processes[0]["flops"],
    }
    for percent in (90, 99):
        around, name = quantile_interval(pooled, percent / 100), f"latency_ms_p{percent}"
        found[name] = float(np.quantile(pooled, percent / 100, method="inverted_cdf"))
        found |= {f"{name}_low": around.low, f"{name}_high": around.high}
    for name in ("peak_memory_mib", "inference_memory_mib", "host_memory_mib", "energy_j"):
        found[name] = _median(processes, name)
    return found


def worded(conditions: Mapping[str, Any], *, batch: int) -> str:
    """The conditions as one line of the table."""
    threads = conditions["threads"]
    return (
        f"{conditions['precision']}, {threads} CPU thread{'' if threads == 1 else 's'}, training batch {batch}, "
        f"{conditions['workers']} loader processes, {conditions['device']}, torch {conditions['torch']}"
    )


def _median(processes: Sequence[Mapping[str, Any]], name: str) -> float | None:
    known = [one[name] for one in processes if one[name] is not None]
    return float(np.median(known)) if known else None


def _folder(trial: TrialSpec, ledger: Ledger) -> Path:
    return ledger.root / "profiles" / configuration(trial)
