"""Random kills every few seconds for some minutes, and then what must hold: nothing lost, nothing twice, same numbers.

    python -m benchmarks.chaos [--minutes 3] [--seed 0] [--pause 4]

On a cluster of real nodes of one machine (tests/cluster), a sweep of many small trials runs with an MLflow server.
Until the time is up a worker, a node, the driver or the server is killed at random moments, or the results folder is
taken away for some seconds; a driver that has ended is started again. Then the sweep is run to its end undisturbed, and
compared with the same sweep run serially. Prints what was done, and the verdict; exit code 1 where something is wrong.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from zoombench.harness import spec
from zoombench.harness.commands import FAILED
from zoombench.harness.ledger import Ledger
from zoombench.tests.cluster.nodes import Cluster, Process, Server, wait_for
from zoombench.tests.cluster.verdict import violations

ROOT = Path(__file__).parents[1]
WEIGHTS = {"worker": 5, "node": 2, "driver": 2, "server": 2, "storage": 2}
"""How often each is chosen, beside the others."""


class Chaos:
    """A sweep under way, and the hand that disturbs it."""

    def __init__(self, folder: Path, cluster: Cluster, server: Server, seeds: int) -> None:
        self.folder, self.cluster, self.server = folder, cluster, server
        self.environment = cluster.environment | {"ZOOMBENCH_PATH": str(ROOT / "tests" / "plugins")}
        os.environ["ZOOMBENCH_PATH"] = self.environment["ZOOMBENCH_PATH"]
        path = folder / "chaos.yaml"
        sweep = {
            "methods": {"tiny": {"sleep": 0.1}, "wide": {"method": "tiny", "width": 8, "sleep": 0.1}},
            "datasets": {"corners": {}},
            "budgets": {"b": {"image_size": 16, "epochs": 6, "batch": 16}},
            "seeds": seeds,
            "settings": {"checkpoint_seconds": 0.1, "device": "cpu"},
        }
        path.write_text(yaml.safe_dump(sweep))
        self.sweep = spec.load(path)
        self.ledger = Ledger(folder / "results")
        self.struck: Counter[str] = Counter()
        self.drivers = 0
        self.driver = self.drive()

    def drive(self, verb: str = "run") -> Process:
        """Start `zoombench run`."""
        self.drivers += 1
        return self._run(verb, "--address", self.cluster.address, MLFLOW_TRACKING_URI=self.server.uri)

    def _run(self, verb: str, *words: str, **more: str) -> Process:
        command = [sys.executable, "-m", "zoombench.harness.cli", verb, str(self.sweep.path), *words]
        return Process(command, self.environment | more, self.folder / f"run{time.time()}.log", self.folder)

    def strike(self, what: str, moment: random.Random) -> None:
        """Do one thing to the sweep; a worker or a node only where one is at work."""
        if what == "worker":
            pids = self._workers()
            if not pids:
                return
            os.kill(moment.choice(pids), signal.SIGKILL)
        elif what == "node":
            self.cluster.kill(moment.choice(self.cluster.nodes))
        elif what == "driver":
            self.driver.kill()
        elif what == "server":
            self.server.kill()
            time.sleep(moment.uniform(0, 5))
            self.server.start()
        else:
            kept = self.ledger.root.with_name("kept")
            self.ledger.root.rename(kept)
            self.ledger.root.write_text("in the way")
            time.sleep(moment.uniform(0, 5))
            self.ledger.root.unlink()
            kept.rename(self.ledger.root)
        self.struck[what] += 1

    def _workers(self) -> list[int]:
        """The processes of the cluster that are at a trial."""
        sessions = {node.session for node in self.cluster.nodes}
        found = []
        for trial in self.sweep.runnable:
            if self.ledger.state(trial.id) == "started" and self.ledger.is_held(trial.id):
                pid = [event for event in self.ledger.events(trial.id) if event["event"] == "start"][-1]["pid"]
                if os.path.exists(f"/proc/{pid}") and os.getsid(pid) in sessions:
                    found.append(pid)
        return found

    def finish(self) -> list[str]:
        """Run what is left, and the same sweep undisturbed; everything that is wrong then."""
        said = []
        for _ in range(5):
            code = self.driver.process.wait(timeout=3600)
            if code == 0:
                break
            self.driver = self.drive("retry" if code == FAILED else "run")  # killed three times without an epoch
        else:
            said.append(f"the last run ended with {self.driver.process.returncode}: {self.driver.said()[-2000:]}")
        serial = self._run("run", "--serial", "--results", str(self.folder / "undisturbed"))
        serial.process.wait(timeout=3600)
        undisturbed = Ledger(self.folder / "undisturbed")
        return said + violations(self.sweep, self.ledger, undisturbed, tracking_uri=self.server.uri)


def main() -> int:
    """Disturb a sweep for some minutes, and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=4, help="seconds between two kills, on average")
    parser.add_argument("--seeds", type=int, default=40, help="of the sweep; two trials each")
    options = parser.parse_args()
    moment = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name, Cluster() as cluster, Server(Path(name)) as server:
        chaos = Chaos(Path(name), cluster, server, options.seeds)
        try:
            wait_for(lambda: list(chaos.ledger.root.glob("trials/*/done.json")), what="the first trial", seconds=600)
            began = time.monotonic()
            while time.monotonic() - began < 60 * options.minutes:
                time.sleep(moment.expovariate(1 / options.pause))
                if not chaos.driver.is_running():
                    if chaos.driver.process.returncode == 0:
                        break
                    chaos.driver = chaos.drive()
                what = moment.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
                chaos.strike(what, moment)
                print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)
            minutes = (time.monotonic() - began) / 60
            wrong = chaos.finish()
        finally:
            chaos.driver.kill()
        trials = chaos.sweep.runnable
        attempts = sum(chaos.ledger.attempts(trial.id) for trial in trials)
        struck = ", ".join(f"{count} {what}" for what, count in chaos.struck.items())
        print(f"\nin {minutes:.1f} minutes: {struck}")
        print(f"{len(trials)} trials in {attempts} attempts, {chaos.drivers} drivers")
        print("\n".join(wrong) or "nothing lost, nothing twice, the same numbers and weights as undisturbed")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
