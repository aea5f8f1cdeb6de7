"""One trial in this process: every score kept once, its error a record, its work never done twice."""

import os
import signal
import subprocess
from dataclasses import replace

import pytest

from zoombench.harness import lookup, spec, trial
from zoombench.harness.errors import BadFile
from zoombench.harness.execution import _message, execute, git_commit
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Settings


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


@pytest.fixture
def tiny(sweep_file):
    def make(**config):
        return spec.load(sweep_file(methods={"tiny": config})).trials[0]

    return make


def run(made, ledger, **settings):
    heard = []
    outcome = execute(made, ledger, Settings(**settings), commit="abc", listen=heard.append)
    return outcome, heard


def test_a_trial_leaves_its_scores_its_cost_and_where_it_came_from(tiny, ledger):
    outcome, heard = run(tiny(), ledger)
    assert outcome == "done"
    assert heard == ledger.scores(tiny().id)
    record = ledger.record(tiny().id, "done.json")
    assert record["commit"] == "abc"
    assert record["attempts"] == 1
    assert record["n_test"] == 64
    assert record["parameters"] > 0
    assert record["gflops"] > 0
    assert record["train_seconds"] > 0
    assert not (ledger.folder(tiny().id) / "checkpoint.pt").exists()
    assert (ledger.folder(tiny().id) / "weights.pt").exists()


def test_a_finished_trial_is_never_run_again(tiny, ledger):
    run(tiny(), ledger)
    before = ledger.events(tiny().id)
    assert run(tiny(), ledger) == ("done", [])
    assert ledger.events(tiny().id) == before


def test_an_error_ends_the_trial_alone_and_keeps_its_traceback(tiny, ledger):
    outcome, heard = run(tiny(fail_at=1), ledger)
    assert outcome == "failed"
    assert [score["epoch"] for score in heard] == [1, 1]
    failure = ledger.record(tiny(fail_at=1).id, "failed.json")
    assert failure["error_class"] == "RuntimeError"
    assert failure["message"] == "told to fail"
    assert 'raise RuntimeError("told to fail")' in failure["traceback"]


def test_memory_that_ran_out_is_an_outcome_of_its_own(tiny, ledger):
    made = tiny(out_of_memory_at=0)
    assert run(made, ledger)[0] == "out of memory"
    assert ledger.record(made.id, "failed.json")["error_class"] == "MemoryError"


def test_a_trial_that_goes_on_keeps_each_score_once(tiny, ledger, tmp_path):
    made = tiny(fail_at=1)
    run(made, ledger)
    assert run(made, ledger) == ("failed", []), "a failed trial does not run again by itself"
    execute(made, ledger, Settings(), commit="", retry=True)
    assert [(s["epoch"], s["split"], s["attempt"]) for s in ledger.scores(made.id)] == [
        (1, "train", 1),
        (1, "validation", 1),
    ]
    assert [e["event"] for e in ledger.events(made.id)] == ["start", "epoch", "failed", "start", "resume", "failed"]


def test_a_trial_that_takes_too_long_fails_and_goes_on_when_it_is_tried_again(tiny, ledger):
    slow = tiny(sleep=0.01)
    assert run(slow, ledger, timeout_minutes=0.0001)[0] == "failed"
    failure = ledger.record(slow.id, "failed.json")
    assert failure["error_class"] == "TimedOut"
    assert "took longer than settings.timeout_minutes, 0.0001" in failure["message"]
    assert execute(slow, ledger, Settings(), commit="", retry=True) == "done"
    assert [event["event"] for event in ledger.events(slow.id)] == [
        *("start", "failed", "start", "resume", "epoch", "epoch", "done")
    ]


def test_a_trial_told_to_end_writes_a_checkpoint_and_goes_on_to_the_same_numbers(tiny, ledger, tmp_path):
    told = tiny(kill_at=1, sigterm=True, marker=str(tmp_path / "marker"))
    handler = signal.getsignal(signal.SIGTERM)
    assert run(told, ledger)[0] == "preempted"
    assert signal.getsignal(signal.SIGTERM) is handler
    assert ledger.state(told.id) == "started"
    assert run(told, ledger)[0] == "done"
    other = Ledger.open(tmp_path / "undisturbed")
    assert run(told, other)[0] == "done"
    assert [score["value"] for score in ledger.scores(told.id)] == [score["value"] for score in other.scores(told.id)]


def test_a_signal_that_comes_while_a_trial_ends_is_for_the_process(tiny, ledger, monkeypatch):
    finish = trial._Trial.finish

    def signal_and_finish(self, note):
        os.kill(os.getpid(), signal.SIGTERM)
        return finish(self, note)

    monkeypatch.setattr(trial._Trial, "finish", signal_and_finish)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tiny(), ledger)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ledger.state(tiny().id) == "done"


def test_the_words_of_a_loaders_process_are_found_in_its_traceback():
    said = (
        "Caught BadFile in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "a.py", line 1, in b\nzoombench.harness.errors.BadFile: c.jpg: not readable: d'
    )
    assert _message(BadFile(said)) == "c.jpg: not readable: d"
    assert _message(ValueError("one\ntwo")) == "one\ntwo"


def test_a_trial_held_by_another_process_is_left_to_it(tiny, ledger, monkeypatch):
    original = Ledger.hold
    monkeypatch.setattr(Ledger, "hold", lambda self, trial_id: original(self, trial_id, patience=0.1))
    with original(ledger, tiny().id):
        assert run(tiny(), ledger)[0] == "busy"
    assert ledger.state(tiny().id) == "planned"


def test_the_commit_is_the_checkouts_with_a_mark_where_code_differs_from_it(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    monkeypatch.setattr(lookup, "ROOT", tmp_path)
    assert git_commit() == ""
    git("init", "-q")
    (tmp_path / "baselines").mkdir()
    git("commit", "-q", "--allow-empty", "-m", "first")
    commit = git_commit()
    assert len(commit) == 40
    (tmp_path / "baselines" / "mine.py").write_text("")
    assert git_commit() == f"{commit}+changes"


def test_a_trial_begun_by_other_code_starts_again(tiny, ledger, monkeypatch):
    made = tiny(fail_at=1)
    run(made, ledger)
    edited = replace(made, method=replace(made.method, fingerprint="another"))
    assert edited.id == made.id
    execute(edited, ledger, Settings(), commit="", retry=True)
    assert [e["event"] for e in ledger.events(made.id)] == ["start", "epoch", "failed", "start", "epoch", "failed"]
    assert [score["attempt"] for score in ledger.scores(made.id)] == [2, 2]


def test_a_method_that_calls_exit_fails_like_any_other(tiny, ledger):
    assert run(tiny(exit_at=0), ledger)[0] == "failed"


def test_a_method_whose_cost_cannot_be_measured_is_trained_all_the_same(tiny, ledger):
    made = tiny(lock=True)
    assert run(made, ledger)[0] == "done"
    assert "gflops" not in ledger.record(made.id, "done.json")
    assert "cannot pickle" in next(e["why"] for e in ledger.events(made.id) if e["event"] == "cost not measured")
