"""cluster-check says what each node has; nodes keep data at paths of their own, and trials find them there."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from zoombench.harness import cli, sweep
from zoombench.harness.cluster_check import look
from zoombench.harness.store import Store
from zoombench.tests.datasets.marks import write_marks

HIDES = shutil.which("unshare") and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


@pytest.fixture
def answers(monkeypatch):
    """Let two nodes answer what this machine would, but for what is changed of the second."""

    def with_changes(of_facts, **of_node):
        def ask_nodes(ask, question, *, address):
            first = sweep.Node("a" * 56, "first", 8.0, 0.0, ask(question), "", 0.001)
            second = first._replace(id="b" * 56, host="second", facts=ask(question) | of_facts)
            return [first, second._replace(**of_node)]

        monkeypatch.setattr(sweep, "ask_nodes", ask_nodes)

    return with_changes


def test_nodes_that_have_what_the_driver_has_are_well(answers, tmp_path, capsys):
    answers({})
    assert cli.main(["cluster-check", "--results", str(tmp_path / "results")]) == 0
    said = capsys.readouterr().out
    assert said.endswith("Every node has what the driver has.\n")
    assert "second (bbbbbb)" in said
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["trials"], "it leaves its own files"


WRONG = {
    "another Python": ({"python": "3.9.1"}, {}, r"Python 3.9.1, and the driver has 3\.\d+\.\d+. Install the driver's"),
    "another torch": ({"torch": "2.11.0"}, {}, r"torch 2.11.0, and the driver has"),
    "another Ray": ({"ray": "2.59.0"}, {}, r"Ray 2.59.0, and the driver has"),
    "other code": ({"code": "0" * 64}, {}, r"other code of zoombench \(0.1.0"),
    "no results": ({"results": "there is no /x"}, {}, r"results: there is no /x. Mount the file system"),
    "results unseen": ({"answer": "x"}, {}, r"what this node wrote does not appear at the driver"),
    "no data": ({"data": {"birds": "absent: no /x"}}, {}, r"data: birds: absent: no /x. Put the same copy there"),
    "a full disk": ({"free": 0.25}, {}, r"0.2 GiB free for results, expected 1"),
    "a GPU unseen": ({"gpus": ["A10G 22 GiB"]}, {"gpus": 2.0}, r"Ray offers 2 GPUs, and torch sees 1. Look at `nvidia"),
    "a clock that is off": ({}, {"clock_offset": -7.5}, r"its clock is -7.5 s off the driver's. Keep time by NTP"),
    "no answer": (
        {},
        {"facts": {}, "error": "No module named zoombench."},
        r"does not answer: No module named zoombench.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_node_lacks_is_one_line_with_the_next_step(name, answers, tmp_path, capsys):
    of_facts, of_node, said = WRONG[name]
    answers(of_facts, **of_node)
    assert cli.main(["cluster-check", "--results", str(tmp_path / "results")]) == 1
    table, _, rest = capsys.readouterr().out.partition("┘\n")
    assert rest.startswith("second (bbbbbb): ")
    assert len(rest.splitlines()) == 1
    assert re.search(said, rest), rest
    assert " !" in table, "marked in the table"


def test_two_builds_of_torch_for_cuda_among_the_nodes_are_said(answers, monkeypatch, tmp_path, capsys):
    answers({"cuda": "12.6"})
    both = sweep.ask_nodes

    def with_a_gpu_each(*asked, **named):
        nodes = both(*asked, **named)
        return [node._replace(gpus=1.0, facts=node.facts | {"gpus": ["A10G 22 GiB"]}) for node in nodes]

    monkeypatch.setattr(sweep, "ask_nodes", with_a_gpu_each)
    assert cli.main(["cluster-check", "--results", str(tmp_path / "results")]) == 1
    assert "second (bbbbbb): torch for CUDA 12.6, and another node has it for" in capsys.readouterr().out


def test_the_head_may_lack_data_where_it_runs_no_trials(answers, tmp_path):
    answers({"data": {"birds": "absent: no /x"}}, cpus=0.0)
    assert cli.main(["cluster-check", "--results", str(tmp_path / "results")]) == 0


def test_a_cluster_without_a_node_for_trials_is_said(answers, monkeypatch, tmp_path, capsys):
    answers({}, cpus=0.0)
    assert cli.main(["cluster-check", "--results", str(tmp_path / "results")]) == 0, "the first has CPUs"
    both = sweep.ask_nodes
    monkeypatch.setattr(sweep, "ask_nodes", lambda *asked, **named: both(*asked, **named)[1:])
    assert cli.main(["cluster-check", "--results", str(tmp_path / "results")]) == 1
    assert "no node that is there now runs trials" in capsys.readouterr().out


def question_about(place):
    return {"place": str(place), "folder": "asked", "secret": "s", "data": {}, "where": {}}


def test_a_folder_that_is_not_the_drivers_is_told_from_it(tmp_path):
    results = tmp_path / "results"
    assert look(question_about(results))["results"] == f"there is no {results}"
    results.mkdir()
    assert look(question_about(results))["results"] == f"{results} is another folder than the driver's"
    (results / "asked").mkdir()
    (results / "asked" / "token").write_text("s")
    seen = look(question_about(results))
    assert seen["results"] == "same"
    assert (results / "asked" / seen["answer"]).exists()
    (results / "asked" / "token").unlink()
    (results / "asked" / "token").mkdir()
    assert look(question_about(results))["results"] == f"{results} cannot be read and written: Is a directory"


def test_a_store_that_is_not_the_drivers_is_told_from_it(s3, monkeypatch):
    assert look(question_about(s3))["results"] == f"{s3} is another folder than the driver's"
    Store(s3).put("asked/token", b"s")
    seen = look(question_about(s3))
    assert (seen["results"], seen["free"] > 0) == ("same", True)
    assert Store(s3).read(f"asked/{seen['answer']}") == b"s"
    reading = Store.read

    def refuse(store, name):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(Store, "read", refuse)
    refused = look(question_about(s3))["results"]
    assert refused.startswith(f"the results at {s3} cannot be used: PermissionError: Forbidden. Give credentials that ")
    monkeypatch.setattr(Store, "read", reading)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    assert "need the package gcsfs, which is not installed here" in look(question_about("gs://bucket/x"))["results"]


def test_a_node_that_cannot_use_the_store_is_told_what_to_set_there(s3, answers, capsys):
    answers({"results": f"the results at {s3} cannot be used: X"})
    assert cli.main(["cluster-check", "--results", s3]) == 1
    (said,) = capsys.readouterr().out.partition("┘\n")[2].splitlines()
    assert said.startswith(f"second (bbbbbb): results: the results at {s3} cannot be used: X. What the store needs")
    assert "`ray start`" in said
    assert set(Store(s3).find()) == {"ledger-id"}, "it leaves its own notes nowhere"


@pytest.mark.slow
def test_a_ray_of_our_own_reads_and_answers_through_the_store(s3, sweep_file, zoombench):
    checked = zoombench("cluster-check", sweep_file(), "--address", "local", "--results", s3, COLUMNS="240")
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "Every node has what the driver has.")
    assert "1 node of a Ray of our own" in checked.stdout
    assert set(Store(s3).find()) == {"ledger-id"}


@pytest.mark.parametrize(
    ("named", "given", "expected"),
    [
        ("10.0.0.1:6379", [], "10.0.0.1:6379"),
        ("10.0.0.1:6379", ["--address", "auto"], "auto"),
        ("10.0.0.1:6379", ["--address", "local"], None),
        ("http://127.0.0.1:8265", [], None),  # a job server's
        ("", [], None),
    ],
)
def test_ray_address_names_the_cluster_that_the_command_leaves_out(named, given, expected, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", named)
    for command in ("run", "retry", "cluster-check"):
        assert cli._parser().parse_args([command, *given]).address == expected


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_one_message(zoombench, tmp_path):
    done = zoombench("cluster-check", "--address", "127.0.0.1:9")
    assert done.returncode == 2
    assert "zoombench: no Ray cluster answers at 127.0.0.1:9: " in done.stderr
    assert "Connection refused. Look at `ray status`" in done.stderr
    assert "If it asks for a token, set RAY_AUTH_MODE=token" in done.stderr


def free_port(host):
    with socket.socket() as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """A head and two nodes on loopback addresses; each node has data of its own, the second another /hidden folder."""
    folder = Path(tempfile.mkdtemp(prefix="zb-", dir="/tmp"))  # short: paths of sockets end at 107 bytes
    address = f"127.0.0.2:{free_port('127.0.0.2')}"
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    for name in ("hidden", "first", "second"):
        (folder / name).mkdir()
    write_marks(folder / "first")
    write_marks(folder / "second")
    nodes = []

    def start(number, *words, cpus, data="", hides=False):
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", *words, f"--num-cpus={cpus}"]
        command += [f"--node-ip-address=127.0.0.{number}", "--num-gpus=0", "--object-store-memory=80000000"]
        command += [f"--temp-dir={folder / str(number)}"]
        if hides:
            mount = f'mount -t tmpfs tmpfs {folder / "hidden"} && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", mount, "sh", *command]
        environment = os.environ | secret | {"ZOOMBENCH_DATA": data, "RAY_USAGE_STATS_ENABLED": "0"}
        environment["RAY_raylet_start_wait_time_s"] = "150"  # on a busy machine
        log = folder / f"{number}.log"
        with log.open("w") as stream:
            streams = {"stdout": stream, "stderr": stream}
            nodes.append(subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **streams))
        return log

    def wait(log):
        deadline = time.monotonic() + 300
        while "Ray runtime started" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

    try:
        wait(start(2, "--head", f"--port={address.split(':')[1]}", "--include-dashboard=false", cpus=0))
        joining = (f"--address={address}",)
        logs = [start(3, *joining, cpus=1, data=str(folder / "first"))]
        logs.append(start(4, *joining, cpus=1, data=str(folder / "second"), hides=HIDES))
        for log in logs:
            wait(log)
        yield address, secret, folder
    finally:
        for node in nodes:
            for pid in session(node.pid):
                os.kill(pid, signal.SIGKILL)
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def session(leader):
    """The processes of a session: Ray's own make groups of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2 and /proc")
def test_nodes_may_keep_the_data_at_paths_of_their_own(cluster, sweep_file, zoombench, tmp_path):
    address, secret, folder = cluster
    write_marks(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "marks" / "images")  # the driver needs the index alone, for the ids
    secret = secret | {"ZOOMBENCH_DATA": str(tmp_path / "data"), "COLUMNS": "240"}
    path = sweep_file(datasets={"marks": {}}, budgets={"b": {"image_size": 16, "epochs": 1, "batch": 4}}, seeds=2)
    done = zoombench("run", path, "--address", address, "--trials-at-once", "2", **secret)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "results" / "trials").glob("*/done.json"))) == 2

    checked = zoombench("cluster-check", path, "--address", address, **secret)
    lines = checked.stdout.splitlines()
    assert [str(folder / name) in checked.stdout for name in ("first", "second")] == [True, True]
    assert sum("marks: same" in line for line in lines) == 4, "driver, head and both nodes"
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert lines[-1] == "Every node has what the driver has."

    (folder / "second" / "marks" / "marks.json").write_text("[]")
    checked = zoombench("cluster-check", path, "--address", address, "--results", folder / "hidden", **secret)
    assert checked.returncode == 1
    assert "data: marks: other: what" in checked.stdout
    if HIDES:
        assert f"results: {folder / 'hidden'} is another folder than the driver's" in checked.stdout
