"""A results folder that goes away for a while is waited for, and nothing is written beside it meanwhile."""

import errno
import os
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from zoombench.harness import spec, storage, trial
from zoombench.harness.errors import DiskFull, StorageLost
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger, append_line, read_lines, write_json
from zoombench.harness.sweepfile import Settings


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


@pytest.fixture(params=["nothing", "an empty folder", "a file"])
def away(request, ledger):
    """Take the results folder away for some seconds; what stands in its place meanwhile comes in three kinds."""
    kept = ledger.root.with_name("kept")

    def put_back():
        if ledger.root.is_dir():
            ledger.root.rmdir()  # raises if anything was written there
        ledger.root.unlink(missing_ok=True)
        kept.rename(ledger.root)

    @contextmanager
    def take(seconds):
        ledger.root.rename(kept)
        if request.param == "an empty folder":
            ledger.root.mkdir()
        elif request.param == "a file":
            ledger.root.write_text("")
        timer = threading.Timer(seconds, put_back)
        timer.start()
        try:
            yield
        finally:
            timer.join()

    return take


def test_every_look_at_the_ledger_waits_for_its_folder(ledger, away):
    write_json(ledger.folder("t") / "done.json", {"value": 1})
    ledger.note("t", "start")
    looks = {
        "state": (lambda: ledger.state("t"), "done"),
        "record": (lambda: ledger.record("t", "done.json"), {"value": 1}),
        "attempts": (lambda: ledger.attempts("t"), 1),
        "begun": (lambda: ledger.begun([]), []),
        "held": (lambda: ledger.is_held("t"), False),
    }
    said = []
    with storage.waited_for(ledger.root, 1, say=said.append):
        for look, expected in looks.values():
            with away(0.15):
                assert look() == expected
    assert len(said) == 2 * len(looks)
    assert "is away" in said[0]
    assert "Waiting up to 1 minutes" in said[0]
    assert "is back after 0 s" in said[1]


def test_every_write_waits_for_the_folder_and_lands_in_it_once(ledger, away):
    def lock():
        with ledger.lock(ledger.root / "some.lock"):
            pass

    writes = [
        lambda: ledger.note("t", "start"),
        lambda: write_json(ledger.folder("t") / "cost.json", {"value": 2}),
        lambda: storage.make_folder(ledger.folder("u") / "looks"),
        lambda: storage.remove(ledger.folder("t") / "cost.json"),
        lambda: ledger.identity,
        lock,
    ]
    storage.make_folder(ledger.folder("t"))
    with storage.waited_for(ledger.root, 1, say=lambda line: None):
        for write in writes:
            with away(0.15):
                write()
    assert ledger.attempts("t") == 1
    assert not (ledger.folder("t") / "cost.json").exists()
    assert (ledger.folder("u") / "looks").is_dir()
    assert len(ledger.identity) == 32


def test_what_is_not_there_in_a_folder_that_is_costs_no_wait(ledger):
    began = time.monotonic()
    with storage.waited_for(ledger.root, 1):
        assert ledger.state("t") == "planned"
        assert ledger.record("t", "done.json") == {}
        assert ledger.events("t") == []
        with pytest.raises(FileNotFoundError):
            ledger.note("t", "start")
    assert time.monotonic() - began < 1


def test_nobody_waits_who_did_not_say_so(ledger, tmp_path):
    ledger.root.rename(tmp_path / "kept")
    assert ledger.state("t") == "planned"
    with pytest.raises(FileNotFoundError):
        ledger.note("t", "start")
    with storage.waited_for(tmp_path / "another", 1), pytest.raises(FileNotFoundError):
        ledger.note("t", "start")


def test_patience_that_is_over_is_over_for_all_that_follows(ledger, tmp_path):
    ledger.root.rename(tmp_path / "kept")
    said = []
    with storage.waited_for(ledger.root, 0.3 / 60, say=said.append):
        with pytest.raises(StorageLost, match=r"is away .* settings.storage_patience_minutes says, 0.005.*run again"):
            ledger.state("t")
        began = time.monotonic()
        with pytest.raises(StorageLost):
            ledger.state("t")
        assert time.monotonic() - began < 0.2
    assert len(said) == 1


def test_whoever_stops_a_sweep_waits_no_more(ledger, tmp_path):
    ledger.root.rename(tmp_path / "kept")
    with storage.waited_for(ledger.root, 10, say=lambda line: None):
        timer = threading.Timer(0.2, storage.lose_patience)
        timer.start()
        with pytest.raises(StorageLost):
            ledger.state("t")
        timer.join()


def test_the_clock_stands_still_while_the_folder_is_away(ledger, away):
    with storage.waited_for(ledger.root, 1, say=lambda line: None):
        began, real = storage.clock(), time.monotonic()
        with away(0.5):
            ledger.state("t")
        assert time.monotonic() - real > 0.5
        assert storage.clock() - began < 0.2


def fail_now_and_then(monkeypatch, module, name, code, times):
    """Let a function do its work, and then fail so many times."""
    original, left = getattr(module, name), [times]

    def failing(*arguments, **keywords):
        found = original(*arguments, **keywords)
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return found

    monkeypatch.setattr(module, name, failing)


@pytest.mark.parametrize("code", sorted(storage.PASSING), ids=errno.errorcode.get)
def test_a_line_that_was_written_before_the_disk_failed_is_not_written_again(ledger, monkeypatch, code):
    path = ledger.root / "trials" / "lines.jsonl"
    append_line(path, {"n": 1})
    fail_now_and_then(monkeypatch, os, "fsync", code, times=2)
    with storage.waited_for(ledger.root, 1, say=lambda line: None):
        append_line(path, {"n": 1})
        append_line(path, {"n": 2})
    assert read_lines(path) == [{"n": 1}, {"n": 1}, {"n": 2}]


def run(made, ledger, **settings):
    return execute(made, ledger, Settings(checkpoint_seconds=0, **settings), commit="")


def test_a_trial_waits_for_its_folder_and_ends_with_the_numbers_of_one_that_never_had_to(
    sweep_file, ledger, away, tmp_path
):
    made = spec.load(sweep_file(methods={"tiny": {"sleep": 0.05}})).trials[0]
    undisturbed = Ledger.open(tmp_path / "undisturbed")
    assert run(made, undisturbed) == "done"
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run(made, ledger)))
    thread.start()
    while ledger.state(made.id) != "started" or not ledger.scores(made.id):
        time.sleep(0.01)
    with away(0.7):
        pass
    thread.join()
    assert outcomes == ["done"]
    assert [e["event"] for e in ledger.events(made.id)] == ["start", "epoch", "epoch", "done"]
    values = [[(s["epoch"], s["split"], s["value"]) for s in one.scores(made.id)] for one in (ledger, undisturbed)]
    assert values[0] == values[1]
    hashes = [one.record(made.id, "done.json")["weights_sha256"] for one in (ledger, undisturbed)]
    assert hashes[0] == hashes[1]


def test_a_trial_whose_folder_stays_away_is_not_failed_and_goes_on_from_its_checkpoint(
    sweep_file, ledger, tmp_path, monkeypatch, capsys
):
    made = spec.load(sweep_file()).trials[0]
    kept, judge = tmp_path / "kept", trial._Trial.judge_epoch

    def take_away_and_judge(self):
        if self.epoch == 2:
            ledger.root.rename(kept)
        judge(self)

    with monkeypatch.context() as patched:
        patched.setattr(trial._Trial, "judge_epoch", take_away_and_judge)
        assert run(made, ledger, storage_patience_minutes=0) == "lost storage"
    assert f"trial {made.id} ({made.title}) stops here: The results folder" in capsys.readouterr().err
    kept.rename(ledger.root)
    assert ledger.state(made.id) == "started"
    assert run(made, ledger) == "done"
    events = ledger.events(made.id)
    assert [e["event"] for e in events] == ["start", "epoch", "start", "resume", "epoch", "done"]
    assert [s["epoch"] for s in ledger.scores(made.id) if s["split"] == "train"] == [1, 2]


def test_a_disk_that_stays_full_while_a_checkpoint_is_written_is_said_with_advice(sweep_file, ledger, monkeypatch):
    made, save = spec.load(sweep_file()).trials[0], torch.save

    def full(state, stream):
        save(state, stream)
        raise RuntimeError("unexpected pos 64 vs 0") from None

    def save_to_full_disk(state, stream):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            full(state, stream)

    monkeypatch.setattr(torch, "save", save_to_full_disk)
    assert run(made, ledger, storage_patience_minutes=0.2 / 60) == "failed"
    failure = ledger.record(made.id, "failed.json")
    assert failure["error_class"] == "CheckpointError"
    assert "Make room, then run again with `zoombench retry`" in failure["message"]


def test_a_disk_without_room_for_a_line_is_said_to_be_full(ledger, monkeypatch):
    fail_now_and_then(monkeypatch, os, "fsync", errno.ENOSPC, times=1000)
    with storage.waited_for(ledger.root, 0), pytest.raises(DiskFull, match="has no room left"):
        append_line(ledger.root / "trials" / "lines.jsonl", {})


def test_a_checkpoint_that_cannot_be_read_for_a_while_is_waited_for(sweep_file, ledger, monkeypatch, capsys):
    made = spec.load(sweep_file(methods={"tiny": {"fail_at": 1}})).trials[0]
    assert run(made, ledger) == "failed"
    fail_now_and_then(monkeypatch, torch, "load", errno.EIO, times=2)
    assert execute(made, ledger, Settings(), commit="", retry=True) == "failed"
    assert ledger.record(made.id, "failed.json")["error_class"] == "RuntimeError", "told to fail"
    assert "resume" in [event["event"] for event in ledger.events(made.id)]
    assert "is away (Input/output error)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_driver_whose_folder_stays_away_stops_and_says_how_to_go_on(sweep_file, zoombench, tmp_path):
    methods = {"tiny": {"sleep": 0.02}}
    path = sweep_file(methods=methods, seeds=20, settings={"storage_patience_minutes": 0.01})
    results, answers = tmp_path / "results", []
    thread = threading.Thread(target=lambda: answers.append(zoombench("run", path, "--serial")))
    thread.start()
    while not list(results.glob("trials/*/done.json")):
        time.sleep(0.05)
    results.rename(tmp_path / "kept")
    thread.join()
    said = answers[0].stdout + answers[0].stderr
    assert answers[0].returncode == 4, said
    assert f"Stopped. The results folder {results} is away" in said
    assert f"Go on with: zoombench run {path} --serial" in said
    assert "Traceback" not in said
    assert not (results / "trials").exists(), "begun anew in a folder that was away"
