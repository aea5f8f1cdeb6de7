"""A driver in a process of its own: trials that write scores while MLflow follows. Run by test_tracking_at_scale.py.

python tracking_writer.py SWEEP_FILE RESULTS SCORES_A_TRIAL GATE

In the middle of its second trial it waits until the file GATE is there.
"""

import sys
import time
from pathlib import Path

from zoombench.harness import spec, tracking
from zoombench.harness.errors import TrialBusy
from zoombench.harness.ledger import Ledger, append_line, now


def main(sweep_file: str, results: str, scores: int, gate: Path) -> None:
    tracking.PAUSE, tracking.PATIENCE = 0.2, 1.0
    ledger, sweep = Ledger.open(Path(results)), spec.load(sweep_file)
    with tracking.following(sweep, sweep.runnable, ledger, say=lambda said: print(said, flush=True)):
        for number, trial in enumerate(sweep.runnable):
            try:
                with ledger.hold(trial.id, patience=0):
                    if ledger.state(trial.id) == "planned":  # two sweeps may share it
                        run(trial, ledger, scores, gate=gate if number else None)
            except TrialBusy:
                continue


def run(trial: spec.TrialSpec, ledger: Ledger, scores: int, *, gate: Path | None) -> None:
    """What a trial leaves in the ledger, without the training."""
    ledger.describe(trial)
    ledger.note(trial.id, "start", attempt=1)
    for epoch in range(1, scores + 1):
        for metric in ("loss", "accuracy"):
            value = hash((trial.id, epoch, metric)) % 1000 / 1000
            line = {"split": "train", "epoch": epoch, "metric": metric, "value": value, "time": now(), "attempt": 1}
            append_line(ledger.folder(trial.id) / "metrics.jsonl", line)
        while gate and epoch == scores // 2 and not gate.exists():
            time.sleep(0.1)
    ledger.finish(trial.id, attempts=1, started=now(), finished=now(), gflops=1.0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
