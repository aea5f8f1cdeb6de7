"""Results on an object store: one trial, one holder, on whichever machine; a mirror is as good as a plain folder."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from zoombench.harness import cli, lease, mirror, spec, storage
from zoombench.harness.errors import ResultsError, StorageLost, TrialBusy
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger, at, read_lines, write_text
from zoombench.harness.store import Object, Store, _object, patiently
from zoombench.harness.sweepfile import Settings


@pytest.fixture(params=["s3", "file"])
def url(request, tmp_path):
    return request.getfixturevalue("s3") if request.param == "s3" else f"file://{tmp_path}/store"


@pytest.fixture
def folder_url(tmp_path):
    return f"file://{tmp_path}/store"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The ledger of a URL as another machine sees it: from a mirror of its own."""

    def open_there(name, url):
        monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / name))
        return at(url)

    return open_there


@pytest.fixture
def quick(monkeypatch):
    """Leases that are stale soon, and a look at the folder often."""
    monkeypatch.setattr(lease, "STALE", 1.5)
    monkeypatch.setattr(mirror, "PAUSE", 0.05)


@pytest.fixture
def tiny(sweep_file):
    def make(**config):
        return spec.load(sweep_file(methods={"tiny": config})).trials[0]

    return make


def files(ledger):
    return {name for name in ledger.store.find() if not name.startswith("locks/")}


def wait_for(condition, *, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


# --- the store


def test_an_object_is_read_as_it_was_written_and_deleted_once(url, tmp_path):
    store = Store(url)
    assert store.find() == {}
    store.put("a/one", b"1")
    (tmp_path / "file").write_bytes(b"22")
    store.put_file("a/two", tmp_path / "file")
    assert store.read("a/one") == b"1"
    assert store.read("a/three") is None
    found = store.find("a")
    assert set(found) == {"a/one", "a/two"}
    assert abs(found["a/one"].modified - time.time()) < 60
    store.put("a/one", b"11")
    assert store.find("a")["a/one"].version != found["a/one"].version
    assert store.find("a")["a/two"] == found["a/two"]
    store.fetch({"a/one": tmp_path / "x" / "one", "a/two": tmp_path / "x" / "two"})
    assert [(tmp_path / "x" / name).read_bytes() for name in ("one", "two")] == [b"11", b"22"]
    store.delete(["a/one", "a/one"])
    assert set(store.find()) == {"a/two"}


def test_an_object_is_created_once(url):
    store = Store(url)
    assert store.create("a", b"mine")
    assert not store.create("a", b"yours")
    assert store.read("a") == b"mine"
    assert store.create("a", b"mine"), (
        "an answer that was lost on its way is no reason to think that others were faster"
    )


def test_a_ledger_has_one_name_for_all_machines(url, machine):
    assert machine("a", url).prepared().identity == machine("b", url).prepared().identity


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("ftp://host/folder", r"ftp:// is not known. Expected a folder, or a URL that starts with s3://"),
        ("s3://", r"names no bucket. Write s3://BUCKET/FOLDER"),
        ("gs://bucket/folder", r"need the package gcsfs, which is not installed here: pip install gcsfs"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(place, says, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ResultsError, match=says):
        Store(place)


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """What the command line says to a command that it refuses before anything has started."""
    import fsspec

    def say(*words):
        monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / "cache"))
        before = signal.getsignal(signal.SIGTERM)
        fsspec.filesystem("s3").clear_instance_cache()
        assert cli.main([str(word) for word in words]) == 2
        signal.signal(signal.SIGTERM, before)
        fsspec.filesystem("s3").clear_instance_cache()
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    return say


def test_a_wrong_bucket_is_said_and_nothing_starts(s3, sweep_file, refused):
    said = refused("run", sweep_file(), "--results", "s3://elsewhere/x")
    assert said.startswith("zoombench: the results at s3://elsewhere/x cannot be used: FileNotFoundError: The spec")
    assert "Make the bucket first, or correct its name" in said
    assert len(said.splitlines()) == 1


def test_absent_credentials_are_said(s3, sweep_file, refused, monkeypatch):
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in (nobody | {"AWS_SHARED_CREDENTIALS_FILE": "/absent", "AWS_CONFIG_FILE": "/absent"}).items():
        monkeypatch.setenv(name, value)
    said = refused("status", sweep_file(), "--results", s3)
    assert "NoCredentialsError: Unable to locate credentials. Give credentials that may list, read" in said


def test_a_store_that_does_not_answer_is_said():
    said = str(Store("memory://x").refused(ConnectionError("refused")))
    assert said.startswith("the results at memory://x cannot be used: ConnectionError: refused. Is the address right")


def test_a_store_that_overwrites_what_was_to_be_created_is_refused(monkeypatch):
    store = Store("memory://overwrites")
    store.prepare()
    pipe = type(store._fs).pipe_file
    monkeypatch.setattr(
        type(store._fs), "pipe_file", lambda self, path, value, mode="overwrite": pipe(self, path, value)
    )
    with pytest.raises(ResultsError, match="overwrites an object that was to be created only where there is none"):
        store.prepare()


# --- leases


def test_of_many_processes_one_holds_a_trial_at_a_time(url, tmp_path):
    code = (
        "import os, sys, time; from zoombench.harness import lease; from zoombench.harness.ledger import at\n"
        "lease.STALE = 5\n"
        "for n in range(3):\n"
        "    with at(sys.argv[1]).hold('t'), open(sys.argv[2], 'a') as log:\n"
        "        print('in', os.getpid(), file=log, flush=True); time.sleep(0.02)\n"
        "        print('out', os.getpid(), file=log, flush=True)"
    )
    log = tmp_path / "log"
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, log], env=os.environ | {"ZOOMBENCH_CACHE": str(tmp_path / str(n // 2))}
        )
        for n in range(3)  # two of them share a mirror
    ]
    assert [holder.wait(120) for holder in holders] == [0] * 3
    lines = log.read_text().splitlines()
    assert len(lines) == 3 * 3 * 2
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert entered.split()[0] == "in"
        assert left == entered.replace("in", "out")


def test_a_lease_that_is_renewed_is_left_and_one_that_is_stale_taken_over(url, machine, quick):
    first, second = machine("a", url), machine("b", url)
    with first.hold("t"):
        with pytest.raises(TrialBusy, match=r"is held by .*, process .* after 2 s. Wait for the other sweep"):
            second.hold("t", patience=2).__enter__()
        held = first._leases["locks/trials/t/lock"]
        held.renew = lambda: None  # its machine stands still from here on
        began = time.monotonic()
        with second.hold("t"):
            assert time.monotonic() - began > 1
            third = machine("c", url)
            third.refresh()
            assert third.is_held("t")
            del held.renew
            with pytest.raises(StorageLost, match=r"was taken over by .*, as it was not renewed for 1.5 s"):
                held.renew()
            with pytest.raises(StorageLost):
                first.push("t", held)
            first._pushers["t"].lease = lease.Lease(first.store, "x", "m", 0, {})  # let the block end
            first._pushers["t"].finish = lambda **_: None
    third.refresh()
    assert not third.is_held("t")


def test_what_a_killed_process_held_is_free_at_once_in_its_own_mirror(url, machine, tmp_path):
    code = (
        "import os, signal, sys; from zoombench.harness.ledger import at\n"
        "with at(sys.argv[1]).hold('t'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    ledger = machine("a", url)
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == -signal.SIGKILL
    began = time.monotonic()
    with ledger.hold("t"):
        assert time.monotonic() - began < lease.STALE / 4
    other = machine("b", url)
    with ledger.hold("t"), pytest.raises(TrialBusy):
        other.hold("t", patience=0.1).__enter__()


# --- a trial


def numbers(ledger, made):
    return [(s["epoch"], s["split"], s["value"]) for s in ledger.scores(made.id)]


def test_a_trial_leaves_on_the_store_what_it_leaves_in_a_folder(url, machine, tiny, tmp_path, quick):
    made, plain = tiny(), Ledger.open(tmp_path / "plain")
    assert execute(made, plain, Settings(), commit="") == "done"
    assert execute(made, machine("a", url), Settings(), commit="") == "done"
    there = machine("b", url)
    there.refresh()
    assert there.state(made.id) == "done"
    assert there.known() == [made.id]
    left = {path.name for path in plain.folder(made.id).iterdir()} - {"lock", "looks"}
    assert files(there) == {f"trials/{made.id}/{name}" for name in left | {"looks.zip"}}
    there.fetch([made.id])
    assert numbers(there, made) == numbers(plain, made)
    pictures = {path.name: path.read_bytes() for path in (plain.folder(made.id) / "looks").iterdir()}
    assert {path.name: path.read_bytes() for path in (there.folder(made.id) / "looks").iterdir()} == pictures
    here = {path.name for path in there.folder(made.id).iterdir()}
    assert not here & {"weights.pt", "checkpoint.pt"}, "who looks has no use for them"
    assert execute(made, there, Settings(), commit="") == "done"
    assert len([e for e in there.events(made.id) if e["event"] == "start"]) == 1


def test_records_never_run_ahead_of_the_checkpoint_and_done_comes_last(folder_url, machine, tiny, quick, monkeypatch):
    made, written, put, put_file = tiny(sleep=0.02), [], Store.put, Store.put_file

    def check_and_put(self, name, content):
        put(self, name, content)
        written.append(name)
        if name.endswith("events.jsonl") and f"trials/{made.id}/done.json" not in written:
            told = [json.loads(line) for line in content.splitlines()]
            epochs = [event["epoch"] for event in told if event["event"] == "epoch"]
            checkpoint = self.read(f"trials/{made.id}/checkpoint.pt")
            reached = torch.load(io.BytesIO(checkpoint), weights_only=True)["epoch"] if checkpoint else 0
            assert reached >= max(epochs, default=0)

    def note_and_put_file(self, name, path):
        written.append(name)
        put(self, name, path.read_bytes())

    monkeypatch.setattr(Store, "put", check_and_put)
    monkeypatch.setattr(Store, "put_file", note_and_put_file)
    ledger = machine("a", folder_url)
    assert execute(made, ledger, Settings(checkpoint_seconds=0), commit="") == "done"
    assert put_file is not Store.put_file
    assert [name for name in written if name.startswith("trials/")][-1] == f"trials/{made.id}/done.json"
    assert written.count(f"trials/{made.id}/checkpoint.pt") >= 2, "pushed while it ran"
    assert f"trials/{made.id}/checkpoint.pt" not in files(ledger)


def test_a_checkpoint_from_within_an_epoch_is_pushed(folder_url, machine, quick):
    ledger = machine("a", folder_url)
    with ledger.hold("t") as folder:
        for content in (b"first", b"second"):
            (folder / "checkpoint.pt").write_bytes(content)
            wait_for(lambda content=content: ledger.store.read("trials/t/checkpoint.pt") == content)


def test_a_killed_trial_goes_on_on_another_machine_to_the_same_numbers(s3, machine, tiny, tmp_path, quick):
    made = tiny(sleep=0.3, kill_at=1, marker=str(tmp_path / "marker"))
    code = (
        "import sys; from zoombench.harness import mirror, spec; from zoombench.harness.execution import execute\n"
        "from zoombench.harness.ledger import at; from zoombench.harness.sweepfile import Settings\n"
        "mirror.PAUSE = 0.05; settings = Settings(checkpoint_seconds=0.3)\n"
        "execute(spec.load(sys.argv[1]).trials[0], at(sys.argv[2]), settings, commit='')"
    )
    words = [sys.executable, "-c", code, tmp_path / "small.yaml", s3]
    killed = subprocess.run(words, env=os.environ | {"ZOOMBENCH_CACHE": str(tmp_path / "a")}, check=False)
    assert killed.returncode == -signal.SIGKILL
    ledger = machine("b", s3)
    ledger.refresh()
    assert ledger.state(made.id) == "started"
    assert execute(made, ledger, Settings(), commit="") == "done"
    told = ledger.events(made.id)
    assert [event["event"] for event in told if event["event"] != "epoch"] == ["start", "start", "resume", "done"]
    epochs = [event["epoch"] for event in told if event["event"] == "epoch"]
    assert epochs in ([1, 2], [2]), "no epoch twice; the kill may come between an epoch's checkpoint and its note"
    assert [s["epoch"] for s in ledger.scores(made.id) if s["split"] == "train"] == [1, 2]
    third = machine("c", s3)
    assert execute(made, third, Settings(), commit="") == "done"
    assert third.events(made.id) == told, "a finished trial runs nowhere again"
    undisturbed = Ledger.open(tmp_path / "plain")
    assert execute(made, undisturbed, Settings(), commit="") == "done"
    assert numbers(ledger, made) == numbers(undisturbed, made)
    key = "weights_sha256"
    assert ledger.record(made.id, "done.json")[key] == undisturbed.record(made.id, "done.json")[key]


@pytest.mark.slow
def test_two_workers_of_ray_write_to_s3_and_a_killed_one_goes_on(s3, machine, sweep_file, zoombench, tmp_path, capsys):
    methods = {
        "tiny": {"sleep": 0.02},
        "killed": {"method": "tiny", "kill_at": 1, "sleep": 0.2, "marker": str(tmp_path / "marker")},
        "bad": {"method": "tiny", "fail_at": 1},
    }
    path, words = sweep_file(methods=methods), ("--results", s3)
    done = zoombench("run", path, *words, ZOOMBENCH_CACHE=str(tmp_path / "a"))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "2 of 3 trials done, 1 failed" in done.stdout
    ledger = machine("b", s3)
    ledger.refresh()
    fine, killed, bad = spec.load(path).trials
    assert [ledger.state(trial.id) for trial in (fine, killed, bad)] == ["done", "done", "failed"]
    assert [e["event"] for e in ledger.events(killed.id) if e["event"] in ("lost", "start")] == [
        "start",
        "lost",
        "start",
    ]
    assert {one["pid"] for trial in (fine, killed) for one in ledger.events(trial.id)} >= {
        ledger.events(fine.id)[0]["pid"],
        ledger.events(killed.id)[0]["pid"],
    }
    before = signal.getsignal(signal.SIGTERM)
    try:
        said = {}
        for command, subject, code in (("status", path, 3), ("logs", bad.id, 0), ("report", path, 0)):
            assert cli.main([command, str(subject), *words]) == code
            said[command] = capsys.readouterr().out
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "2 done, 0 running, 0 started, 0 planned, 1 failed" in said["status"]
    assert "told to fail" in said["status"]
    assert "told to fail" in said["logs"]
    assert f"report: {ledger.root}" in said["report"]
    assert "sweeps/small/report.html" in files(ledger)
    assert not list((tmp_path / "b").rglob("weights.pt"))


# --- who looks, and who else writes


def test_one_listing_tells_the_state_of_every_trial(folder_url, machine, monkeypatch):
    writer = machine("a", folder_url)
    for n in range(30):
        writer.store.put(f"trials/{n:012x}/events.jsonl", b"")
        writer.store.put(f"trials/{n:012x}/{'done' if n % 2 else 'failed'}.json", b"{}")
    ledger, asked, find = machine("b", folder_url), [], Store.find
    monkeypatch.setattr(Store, "find", lambda self, folder="": asked.append(folder) or find(self, folder))
    monkeypatch.setattr(Store, "fetch", lambda self, files: pytest.fail("nothing was to be read"))
    monkeypatch.setattr(Store, "read", lambda self, name: pytest.fail("nothing was to be read"))
    ledger.refresh()
    assert [ledger.state(f"{n:012x}") for n in range(31)] == ["failed", "done"] * 15 + ["planned"]
    assert asked == [""]


def test_what_changed_is_fetched_again_and_nothing_else(folder_url, machine, monkeypatch):
    store = machine("a", folder_url).store
    store.put("trials/t/done.json", b'{"value": 1}')
    store.put("trials/u/done.json", b'{"value": 1}')
    ledger, fetched, fetch = machine("b", folder_url), [], Store.fetch
    monkeypatch.setattr(Store, "fetch", lambda self, files: fetched.extend(files) or fetch(self, files))
    for content in (b'{"value": 1}', b'{"value": 22}'):
        store.put("trials/t/done.json", content)
        ledger.refresh()
        ledger.fetch(["t", "u"])
        ledger.fetch(["t", "u"])
        assert ledger.record("t", "done.json") == json.loads(content)
    assert sorted(fetched) == ["trials/t/done.json", "trials/t/done.json", "trials/u/done.json"]


def test_what_is_deleted_on_the_store_is_forgotten(folder_url, machine):
    ledger = machine("a", folder_url)
    ledger.store.put("trials/t/done.json", b"{}")
    ledger.refresh()
    ledger.fetch(["t"])
    assert ledger.state("t") == "done"
    ledger.store.delete(["trials/t/done.json"])
    ledger.refresh()
    assert ledger.state("t") == "planned"


def test_a_driver_elsewhere_tells_of_a_trial_and_its_next_holder_hears_it(folder_url, machine, quick):
    worker, driver = machine("a", folder_url), machine("b", folder_url)
    with worker.hold("t"):
        worker.note("t", "start")
    driver.note("t", "lost", cause="told so")
    with worker.hold("t"):
        assert [event["event"] for event in worker.events("t")] == ["start", "lost"]
        driver.note("t", "lost", cause="while it runs")
        worker.note("t", "epoch", epoch=1)
    told = [event["event"] for event in read_lines(Path(driver.store._path("trials/t/events.jsonl")))]
    assert sorted(told) == ["epoch", "lost", "lost", "start"]


def test_what_a_driver_said_while_the_store_was_away_is_not_forgotten(folder_url, machine, quick, monkeypatch):
    worker, driver = machine("a", folder_url), machine("b", folder_url)
    with worker.hold("t"):
        worker.note("t", "start")
    with monkeypatch.context() as away:
        away.setattr(Store, "find", lambda self, folder="": 1 / 0)
        driver.note("t", "lost", cause="told so")
    with worker.hold("t"):
        worker.note("t", "start")
    driver.note("t", "lost", cause="told again")
    with worker.hold("t"):
        assert sorted(event["event"] for event in worker.events("t")) == ["lost", "lost", "start", "start"]


def test_what_another_machine_did_replaces_what_is_here(folder_url, machine, quick):
    first, second = machine("a", folder_url), machine("b", folder_url)
    with first.hold("t") as folder:
        (folder / "checkpoint.pt").write_bytes(b"1")
        (folder / "metrics.jsonl").write_bytes(b'{"n": 1}\n')
    (folder / "checkpoint.pt").write_bytes(b"never pushed")
    with second.hold("t") as there:
        assert (there / "checkpoint.pt").read_bytes() == b"1"
        (there / "checkpoint.pt").write_bytes(b"2")
        (there / "metrics.jsonl").unlink()  # it started over
    with first.hold("t") as folder:
        assert (folder / "checkpoint.pt").read_bytes() == b"2"
        assert not (folder / "metrics.jsonl").exists()
        (folder / "checkpoint.pt").write_bytes(b"3")
    with first.hold("t") as folder:
        assert (folder / "checkpoint.pt").read_bytes() == b"3"


def test_scores_that_started_over_are_owed_to_mlflow_again(folder_url, machine):
    ledger = machine("a", folder_url)
    for content, kept in ((b'{"n": 1}\n', True), (b'{"n": 1}\n{"n": 2}\n', True), (b'{"n": 3}\n', False)):
        ledger.store.put("trials/t/metrics.jsonl", content)
        ledger.refresh()
        (ledger.folder("t")).mkdir(exist_ok=True)
        (ledger.folder("t") / "tracked.json").write_text("{}")
        ledger.fetch(["t"])
        assert (ledger.folder("t") / "tracked.json").exists() == kept


def test_any_folder_is_shared_and_what_is_deleted_on_the_store_goes_everywhere(folder_url, machine):
    first = machine("a", folder_url)
    for name in ("kept/x/y/one.json", "kept/x/y/two.json", "kept/x/three.json"):
        write_text(first.root / name, name)
    for folder in ("kept/x/y", "kept/x"):
        first.publish_folder(folder)
    assert set(first.store.find("kept")) == {"kept/x/y/one.json", "kept/x/y/two.json", "kept/x/three.json"}
    second = machine("b", folder_url)
    second.fetch_folder("kept", only=("one.json",))
    assert [path.name for path in second.root.glob("kept/**/*.json") if path.name != "synced.json"] == ["one.json"]
    second.fetch_folder("kept/x")
    (second.root / "kept/x/three.json").unlink()
    second.fetch_folder("kept")
    assert (second.root / "kept/x/three.json").read_text() == "kept/x/three.json"

    write_text(second.root / "kept/x/y/own.json", "not published")
    write_text(first.root / "kept/x/y/one.json", "again")
    first.publish_folder("kept/x/y")
    first.store.delete(["kept/x/y/two.json"])
    second.fetch_folder("kept")
    left = {path.name: path.read_text() for path in (second.root / "kept/x/y").glob("o*.json")}
    assert left == {"one.json": "again", "own.json": "not published"}
    assert not (second.root / "kept/x/y/two.json").exists()
    second.forget_folder("kept")
    assert (first.store.find("kept"), (second.root / "kept").exists()) == ({}, False)


def test_names_on_the_store_never_leave_the_mirror(s3, machine, tmp_path):
    ledger = machine("a", s3)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("../evil", "/evil", "fine.png"):
            archive.writestr(name, b"")
    ledger.store.put("trials/t/looks.zip", packed.getvalue())
    hostile = ["trials/t/../../evil", "trials/../evil", "sweeps/../data.json", "trials/t/.hidden", "trials/t/a\\b"]
    for name in [
        *hostile,
        "trials/t/lock",
        "trials/t/synced.json",
        "trials/t//evil",
        "trials/t/x/y",
        "sweeps/../../x",
        "kept/../../x",
    ]:
        ledger.store._fs.call_s3("put_object", Bucket="bucket", Key=f"{s3.split('/')[-1]}/{name}", Body=b"evil")
    assert len(ledger.store.find()) >= 10
    ledger.refresh()
    ledger.fetch_folder("kept")
    ledger.fetch(["t", "..", "../.."])
    with ledger.hold("t"):
        pass
    made = {str(path.relative_to(ledger.root)) for path in ledger.root.rglob("*") if path.is_file()}
    known = {"mirror-id", "trials/t/lock", "trials/t/synced.json", "trials/t/looks.zip", "trials/t/looks/fine.png"}
    assert made == known
    assert ledger.known() == ["t"]
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert (ledger.folder("t") / "synced.json").read_bytes() != b"evil"


# --- a store that is away


def test_a_trial_trains_on_while_the_store_is_away_and_says_so_once(
    folder_url, machine, tiny, quick, monkeypatch, capfd
):
    made, put, heard, failed = tiny(sleep=0.1), Store.put, [], []

    def sometimes(self, name, content):
        if name.startswith("trials/") and len(heard) < 3:  # until the second epoch is judged
            failed.append(name)
            raise ConnectionError("no route")
        put(self, name, content)

    ledger = machine("a", folder_url)
    monkeypatch.setattr(Store, "put", sometimes)
    assert execute(made, ledger, Settings(), commit="", listen=heard.append) == "done"
    assert failed
    assert f"trials/{made.id}/done.json" in files(ledger)
    said = capfd.readouterr().err
    assert said.count("does not answer (no route); trying again") == 1
    assert said.count("answers again") == 1


def test_a_trial_whose_store_stays_away_is_lost_and_goes_on_later(folder_url, machine, tiny, quick, monkeypatch, capfd):
    made, put = tiny(sleep=0.15), Store.put

    def never(self, name, content):
        if name.startswith("trials/"):
            raise ConnectionError("no route")
        put(self, name, content)

    ledger = machine("a", folder_url)
    monkeypatch.setattr(Store, "put", never)
    patience = Settings(storage_patience_minutes=0.5 / 60)
    assert execute(made, ledger, patience, commit="") == "lost storage"
    assert "has not answered for" in capfd.readouterr().err
    assert ledger.state(made.id) == "started"
    assert Ledger.state(ledger, made.id) == "started"
    monkeypatch.setattr(Store, "put", put)
    assert execute(made, ledger, patience, commit="") == "done"
    epochs = [event["epoch"] for event in ledger.events(made.id) if event["event"] == "epoch"]
    assert epochs == [1, 2]


def test_patience_ends_with_the_reason(monkeypatch):
    def away():
        raise ConnectionError("no route")

    with pytest.raises(
        StorageLost, match=r"memory://x has not answered for 0.0 minutes: ConnectionError: no route. What"
    ):
        patiently(Store("memory://x"), away)
    with storage.waited_for(Path("/nowhere"), 1 / 60):
        began = time.monotonic()
        with pytest.raises(StorageLost):
            patiently(Store("memory://x"), away)
        assert 0.4 < time.monotonic() - began < 2


def test_a_mirror_lies_in_the_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path))
    assert mirror.mirror_folder("s3://a/b").parent == tmp_path / "results"
    assert mirror.mirror_folder("s3://a/b") != mirror.mirror_folder("s3://a/c")
    monkeypatch.delenv("ZOOMBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert mirror.mirror_folder("s3://a/b").parent == tmp_path / "xdg" / "zoombench" / "results"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert mirror.mirror_folder("s3://a/b").parent == tmp_path / "home" / ".cache" / "zoombench" / "results"


def test_a_listing_says_what_each_kind_of_store_says():
    from datetime import UTC, datetime

    at_noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert _object({"ETag": '"a"', "LastModified": at_noon}) == Object('"a"', at_noon.timestamp())
    assert _object({"etag": "b", "updated": "2026-01-01T12:00:00.000Z"}) == Object("b", at_noon.timestamp())
    assert _object({"size": 1, "mtime": 5.5, "ino": 3}) == Object("1 [5.5] 3", 5.5)
