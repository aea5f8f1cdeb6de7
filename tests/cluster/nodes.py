"""A Ray cluster of several nodes and an MLflow server on this machine: real processes, to be killed.

Every node has a loopback address of its own (127.0.0.2 and up: 127.0.0.1 Ray turns into the machine's own address),
and everything that belongs to it is one session of processes. The head runs no trials, so that the driver, which is
attached to it, outlives the others.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

BIN = Path(sys.executable).parent
OBJECT_STORE_BYTES = 80 * 2**20


class Process:
    """A command with a session of its own, and a file that holds what it says."""

    def __init__(self, command: list[str], environment: dict[str, str], output: Path, folder: Path) -> None:
        self.output = output
        with output.open("ab") as stream:
            self.process = subprocess.Popen(
                command, env=environment, stdout=stream, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
            )

    @property
    def session(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End the whole session at once, as a power cut does."""
        while pids := _session(self.session):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


class Cluster:
    """A head and two nodes of one CPU each. Use as a context manager."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zb-", dir="/tmp"))  # short: paths of sockets end at 107 bytes
        self.address = f"127.0.0.2:{free_port('127.0.0.2')}"
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_initial_delay_ms": "0",  # a dead node is noticed within seconds, not half a minute
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "10",
            "OMP_NUM_THREADS": "1",
        }
        self.nodes: list[Process] = []
        self._all: list[Process] = []

    def __enter__(self) -> "Cluster":
        try:
            port = self.address.partition(":")[2]
            self._start_until_up("--head", f"--port={port}", "--include-dashboard=false", cpus=0)
            self.add(2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for node in reversed(self._all):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, count: int = 1) -> None:
        """More nodes, side by side."""
        words = f"--address={self.address}"
        started = [self._start(words, cpus=1) for _ in range(count)]
        self.nodes += [node if self._is_up(node) else self._start_until_up(words, cpus=1) for node in started]

    def node_of(self, pid: int) -> Process:
        """The node that a process runs on."""
        return next(node for node in self.nodes if node.session == os.getsid(pid))

    def kill(self, node: Process) -> None:
        """End a node with everything on it, and put another in its place."""
        node.kill()
        self.nodes.remove(node)
        self.add()

    def _start_until_up(self, *words: str, cpus: int) -> Process:
        for _ in range(4):
            node = self._start(*words, cpus=cpus)
            if self._is_up(node):
                return node
        raise AssertionError(node.said())

    @staticmethod
    def _is_up(node: Process) -> bool:
        """Whether a node that was started is up in the end: on a busy machine Ray gives up after half a minute."""
        wait_for(lambda: not node.is_running() or "Ray runtime started" in node.said(), what="a Ray node")
        if not node.is_running():
            node.kill()
        return node.is_running()

    def _start(self, *words: str, cpus: int) -> Process:
        number = len(self._all) + 3
        host = 2 if "--head" in words else number
        command = [str(BIN / "ray"), "start", "--block", *words, f"--node-ip-address=127.0.0.{host}"]
        command += [f"--num-cpus={cpus}", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        command += [f"--temp-dir={self.folder / str(number)}"]
        node = Process(command, self.environment, self.folder / f"{number}.log", self.folder)
        self._all.append(node)
        return node


class Server:
    """An MLflow server over SQLite, which keeps its port when it is started again. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port("127.0.0.1")
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: Process | None = None

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        # Without its job runner, which would start nine processes more.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = Process(command, environment, self.folder / "server.log", self.folder)
        wait_for(self._answers, what="MLflow")

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.is_running(), self.process.said()
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def _session(leader: int) -> list[int]:
    """The living processes of a session; Ray's workers have process groups of their own in it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(stat.parent.name))
    return found


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], *, what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.05)
