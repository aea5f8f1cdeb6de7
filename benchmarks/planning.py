"""What plan and status cost of a large sweep: CPU time and memory of the whole command.

    python -m benchmarks.planning [--trials 10000]

The ledger is written first: of ten trials seven are done, one has failed, one was begun and one not. Each command runs
in a process of its own, as a user runs it; printed are its CPU time (user and system, children included), wall-clock
and peak memory. Trust the CPU time on a shared machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zoombench.harness import spec
from zoombench.harness.ledger import Ledger, now

SWEEP = """\
methods: {{uniform: , saliency_sampler: , spatial_transformer: , oracle_crop: }}
datasets: {{cluttered_digits: }}
budgets: {{b: {{image_size: 16, epochs: 2, batch: 64}}}}
seeds: {seeds}
"""


def main() -> None:
    """Print a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "large.yaml"
        path.write_text(SWEEP.format(seeds=trials // 4))
        ledger = Ledger.open(Path(name) / "results")
        fill(spec.load(path), ledger)
        print(f"{trials} trials{'':8}{'CPU, s':>10}{'wall-clock, s':>16}{'peak RSS, MiB':>16}")
        for words in (["plan"], ["status"], ["run", "--dry-run"]):
            command = [sys.executable, "-m", "zoombench.harness.cli", *words, str(path), "--results", str(ledger.root)]
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, _, used = os.wait4(process.pid, 0)
            wall = time.monotonic() - began
            cpu = used.ru_utime + used.ru_stime
            print(f"{' '.join(words):20}{cpu:10.2f}{wall:16.2f}{used.ru_maxrss / 1024:16.0f}")


def fill(sweep: spec.Sweep, ledger: Ledger) -> None:
    """Write the records of trials that never ran; without the ledger's own care for the disk, which takes minutes."""
    for number, trial in enumerate(sweep.runnable):
        kind = ("done",) * 7 + ("failed", "started", "planned")
        state = kind[number % 10]
        if state == "planned":
            continue
        folder = ledger.folder(trial.id)
        folder.mkdir()
        (folder / "lock").touch()
        events = [{"event": "start", "time": now(), "pid": 1, "host": "here", "attempt": 1, "code": ""}]
        events += [{"event": "epoch", "epoch": 1, "time": now(), "pid": 1, "host": "here", "attempt": 1}]
        score = {"split": "train", "epoch": 1, "metric": "loss", "value": 1.0, "time": now(), "attempt": 1}
        (folder / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
        (folder / "metrics.jsonl").write_text(f"{json.dumps(score)}\n" * 5)
        record = {
            "done": {
                "method_code": trial.method.fingerprint,
                "dataset_code": trial.dataset.fingerprint,
                "precision": "float32",
                "compiled": False,
                "cpu_threads": 1,
                "processes": 1,
                "device": "none",
                "attempts": 1,
                "started": "2026-01-01T00:00:00.000+00:00",
                "finished": f"2026-01-01T00:00:{10 + number % 7:02}.000+00:00",
                "train_seconds": 9.0,
                "gpu_hours": 0.0,
                "parameters": 1000,
            },
            "failed": {"error_class": "ValueError", "message": "no", "traceback": "no", "time": now()},
        }.get(state)
        if record:
            (folder / f"{state}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main()
