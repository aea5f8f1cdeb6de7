"""The ledger keeps what happened, whole, whatever was killed when."""

import subprocess
import sys

import pytest

from zoombench.harness import spec
from zoombench.harness.errors import ResultsError, TrialBusy
from zoombench.harness.ledger import Ledger, append_line, read_lines, replacing


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


def test_a_trial_goes_from_planned_to_started_to_done(ledger):
    assert ledger.state("t") == "planned"
    ledger.folder("t").mkdir()
    ledger.note("t", "start", attempt=1)
    assert ledger.state("t") == "started"
    ledger.finish("t", value=1)
    assert ledger.state("t") == "done"
    assert ledger.record("t", "done.json") == {"value": 1}


def test_a_failed_trial_is_missing_only_when_it_is_to_be_tried_again(ledger, sweep_file):
    trial = spec.load(sweep_file()).trials[0]
    ledger.describe(trial)
    ledger.fail(trial.id, error_class="ValueError", message="no", traceback="…")
    assert ledger.state(trial.id) == "failed"
    assert ledger.missing([trial]) == []
    assert ledger.missing([trial], retry_failed=True) == [trial]
    assert (ledger.folder(trial.id) / "traceback.txt").read_text() == "…"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with replacing(path) as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_trial_that_is_done_cannot_fail(ledger):
    ledger.folder("t").mkdir()
    ledger.finish("t", value=1)
    ledger.fail("t", error_class="ValueError", message="no", traceback="…")
    assert ledger.state("t") == "done"


def test_a_half_written_line_is_no_line_and_harms_no_other(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"n": 1})
    with path.open("a") as stream:
        stream.write('{"n": 2, "cut')
    append_line(path, {"n": 3})
    assert [line["n"] for line in read_lines(path)] == [1, 3]


def test_a_damaged_record_names_its_file(ledger):
    ledger.folder("t").mkdir()
    (ledger.folder("t") / "done.json").write_text("{")
    with pytest.raises(ResultsError, match=r"done.json is damaged: .* Delete the file"):
        ledger.record("t", "done.json")


def test_a_lock_keeps_another_process_out_and_dies_with_its_own(ledger):
    code = (
        "import sys, time; from pathlib import Path; from zoombench.harness.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).hold('t'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, ledger.root], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrialBusy, match="held by another process"), ledger.hold("t", patience=0.3):
            pass
        holder.kill()
        with ledger.hold("t", patience=10) as folder:
            assert folder == ledger.folder("t")
    finally:
        holder.kill()
        holder.communicate()


def test_ten_thousand_trials_can_be_planned(ledger, sweep_file):
    sweep = spec.load(sweep_file(seeds=10_000))
    assert len(ledger.missing(sweep.runnable)) == 10_000
