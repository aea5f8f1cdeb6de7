"""What all attempts of a trial spent, from its events alone."""

import contextlib

import pytest
import torch

from zoombench.harness import energy, parallel, spec, spending, trial
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger
from zoombench.harness.results import rows
from zoombench.harness.sweepfile import Settings


def event(kind, minute, **facts):
    return {"event": kind, "time": f"2026-11-21T10:{minute:02d}:00.000+00:00"} | facts


ENDED = [event("start", 0), event("holds", 1, gpus=2), event("spent", 6, joules=60.0), event("failed", 6)]
LOST = [event("start", 10), event("holds", 10, gpus=1), event("epoch", 13), event("lost", 16, cause="killed")]
SILENT = [event("start", 20), event("holds", 20, gpus=1), event("epoch", 25)]


def test_attempts_that_failed_or_were_lost_count_with_the_gpus_they_held():
    spent = spending.of_trial([*ENDED, *LOST, *SILENT])
    assert spent.seconds == 60 * (6 + 6 + 5)
    assert spent.gpu_hours == pytest.approx((2 * 6 + 6 + 5) / 60)
    assert spent.joules is None, "an attempt died before it could say"


def test_energy_is_that_of_all_attempts():
    again = [event("start", 7), event("holds", 7, gpus=1), event("spent", 9, joules=40.0), event("done", 9)]
    assert spending.of_trial([*ENDED, *again]).joules == 100


def test_what_no_attempt_said_is_absent():
    assert spending.of_trial([]) is None
    assert spending.of_trial([event("start", 0), event("done", 3)]) == spending.Spending(180, None, None)


@pytest.fixture
def small(sweep_file, tmp_path):
    """A sweep whose one trial fails in its second epoch; run it with `go`."""
    sweep, ledger = spec.load(sweep_file(methods={"tiny": {"fail_at": 1}})), Ledger.open(tmp_path / "results")

    def go():
        execute(sweep.trials[0], ledger, Settings(device="cpu"), commit="abc", retry=True)
        return rows(sweep, ledger, run_ids={})[0]

    return go, ledger, sweep.trials[0]


def test_the_table_tells_what_a_failed_trial_took(small):
    go, ledger, made = small
    first, second = go(), go()
    assert second["status"] == "failed"
    assert second["attempt_seconds"] > first["attempt_seconds"] > 0
    assert (second["gpu_hours_all"], second["energy_trial_j"]) == (None, None), "on a CPU there is none to tell"
    assert ledger.events(made.id)[-1]["event"] == "failed", "how it ended is the last word"


def test_a_finished_trial_on_a_cpu_held_no_gpu(sweep_file, tmp_path):
    sweep, ledger = spec.load(sweep_file()), Ledger.open(tmp_path / "results")
    execute(sweep.trials[0], ledger, Settings(device="cpu"), commit="abc")
    assert rows(sweep, ledger, run_ids={})[0]["gpu_hours_all"] == 0


def test_a_trial_on_gpus_of_its_own_is_metered_and_one_that_shares_a_gpu_is_not(small, monkeypatch):
    _, _, made = small
    asked = []

    @contextlib.contextmanager
    def on(gpus):
        notes = []
        shared = spec.replace(made, budget=made.budget.model_copy(update={"gpus": gpus}))
        with spending.noted(shared, Settings(), lambda kind, **facts: notes.append((kind, facts))):
            pass
        yield notes

    class Fixed:
        def joules(self):
            return 7.0

        def close(self):
            asked.append("closed")

    monkeypatch.setattr(trial, "pick_device", lambda *_: torch.device("cuda"))
    monkeypatch.setattr(energy, "uuids_of", lambda count: [f"GPU-{index}" for index in range(count)])
    monkeypatch.setattr(energy, "meter", lambda uuids: asked.append(uuids) or Fixed())
    assert parallel.processes(made, torch.device("cuda")) == 1
    with on(2) as notes:
        assert notes == [("holds", {"gpus": 2}), ("spent", {"joules": 7.0})]
    assert asked == [["GPU-0", "GPU-1"], "closed"]
    with on(0.5) as notes:
        assert notes == [("holds", {"gpus": 0.5}), ("spent", {"joules": None})]
    assert len(asked) == 2
