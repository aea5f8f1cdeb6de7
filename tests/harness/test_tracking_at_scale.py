"""Several drivers write to one MLflow at once, over PostgreSQL and over SQLite; its server is killed in between."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from zoombench.harness import spec, tracking
from zoombench.harness.ledger import Ledger

pytestmark = pytest.mark.slow

WRITER = Path(__file__).with_name("tracking_writer.py")
SCORES = 20


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, *, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def end(process):
    """End a process and all that it started; each here leads a session of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def postgresql():
    """The address of a PostgreSQL on the loopback interface, with a password; root lends it another user."""
    found = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    initdb = next((Path(path) for path in reversed(found) if path), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt install postgresql)")
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder, password, port = Path(tempfile.mkdtemp(prefix="zoombench-pg-")), secrets.token_hex(16), free_port()
    try:
        (folder / "password").write_text(password)
        for path in (folder, folder / "password"):
            shutil.chown(path, who.get("user"), who.get("group")) if who else None
        data = folder / "data"
        words = [initdb, "-D", data, "-U", "mlflow", "--auth=scram-sha-256", "--pwfile", folder / "password", "-N"]
        subprocess.run(words, check=True, capture_output=True, cwd=folder, **who)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "port": port}
        words = [initdb.with_name("postgres"), "-D", data, *(f"--{key}={value}" for key, value in settings.items())]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(words, cwd=folder, start_new_session=True, **quiet, **who) as server:
            try:
                ready = [initdb.with_name("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
                wait_for(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0)
                yield f"postgresql+psycopg2://mlflow:{password}@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # which ends its clients too
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """An MLflow server that can be killed and started again at the same address."""

    def __init__(self, database, folder):
        self.port, self.database, self.folder = free_port(), database, folder
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", "1", "--backend-store-uri", self.database]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "mlflow.log").open("a") as log:
            self.process = subprocess.Popen(
                words, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.answers)

    def answers(self):
        assert self.process.poll() is None, (self.folder / "mlflow.log").read_text()
        try:
            return urllib.request.urlopen(f"{self.address}/health", timeout=5).status == 200
        except OSError:
            return False

    def kill(self):
        end(self.process)


@pytest.fixture(scope="module")
def server(postgresql, tmp_path_factory):
    made = None
    try:
        made = Server(postgresql, tmp_path_factory.mktemp("mlflow"))
        yield made
    finally:
        if made:
            made.kill()


@pytest.fixture
def drivers(tmp_path):
    """Start drivers at once, each a sweep file and a results folder; what is left of them ends with the test."""
    started = []

    def start(*asked, uri):
        for number, (sweep_file, results) in enumerate(asked):
            words = [sys.executable, WRITER, sweep_file, results, str(SCORES), tmp_path / "gate"]
            with (tmp_path / f"{number}.log").open("w") as log:
                environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
                started.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True))
        return started

    yield start
    for process in started:
        end(process)


@pytest.fixture
def sweeps(sweep_file, tmp_path):
    """Three drivers: two sweeps that share trials in one results folder, and one of them in another."""
    small, more = sweep_file("small", seeds=3), sweep_file("more", seeds=5)
    return [(small, tmp_path / "one"), (more, tmp_path / "one"), (small, tmp_path / "two")]


def said_by_all(folder):
    return "".join(path.read_text() for path in folder.glob("*.log"))


def wait_for_the_end(processes, folder):
    assert [process.wait(timeout=180) for process in processes] == [0] * len(processes), said_by_all(folder)


def check(sweeps, uri):
    """Every score of every trial is there once, in one run of the trial."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    [experiment] = client.search_experiments(filter_string="name = 'zoombench'")
    for results in {results for _, results in sweeps}:
        ledger = Ledger(results)
        trials = {one.id: one for sweep, into in sweeps if into == results for one in spec.load(sweep).runnable}
        found = client.search_runs(
            [experiment.experiment_id], f"tags.`zoombench.ledger` = '{ledger.identity}'", max_results=100
        )
        runs = [run for run in found if "zoombench.trial_id" in run.data.tags]
        assert sorted(run.data.tags["zoombench.trial_id"] for run in runs) == sorted(trials)
        for run in runs:
            trial_id = run.data.tags["zoombench.trial_id"]
            kept = [(f"train/{s['metric']}", s["epoch"], s["value"]) for s in ledger.scores(trial_id)]
            assert len(kept) == 2 * SCORES
            sent = [
                (one.key, one.step, one.value)
                for key in ("train/loss", "train/accuracy")
                for one in client.get_metric_history(run.info.run_id, key)
            ]
            assert sorted(sent) == sorted(kept)
            assert run.info.status == "FINISHED"
            assert run.data.params["method.width"] == "4"


def test_drivers_that_write_at_once_send_every_score_once_over_postgresql_though_the_server_is_killed(
    server, drivers, sweeps, tmp_path, monkeypatch
):
    processes = drivers(*sweeps, uri=server.address)
    wait_for(lambda: any(tmp_path.glob("*/trials/*/tracked.json")))
    server.kill()
    wait_for(lambda: "Nothing is lost" in said_by_all(tmp_path))
    server.start()
    assert all(process.poll() is None for process in processes), "not in the middle"
    (tmp_path / "gate").touch()
    wait_for_the_end(processes, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    for sweep, results in sweeps:
        assert tracking.pending(spec.load(sweep), spec.load(sweep).runnable, Ledger(results)) == []
    check(sweeps, server.address)


def test_drivers_that_write_at_once_send_every_score_once_into_one_sqlite_file(drivers, sweeps, tmp_path):
    (tmp_path / "gate").touch()
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    wait_for_the_end(drivers(*sweeps, uri=uri), tmp_path)
    check(sweeps, uri)
