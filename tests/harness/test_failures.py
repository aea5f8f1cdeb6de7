"""What went wrong in a sweep: digest, table, one trial's log, and which failures `retry` takes up."""

import csv

import pytest

from zoombench.harness import cli, failures, spec
from zoombench.harness.errors import UnknownName
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Settings


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


@pytest.fixture
def failing(sweep_file):
    """A sweep of which one trial runs, one diverges, and one runs out of memory."""
    methods = {
        "fine": {"method": "tiny"},
        "diverges": {"method": "tiny", "nan_at": 0},
        "too large": {"method": "tiny", "out_of_memory_at": 0},
    }
    return sweep_file(methods=methods)


@pytest.fixture
def run(failing, ledger):
    trials = spec.load(failing).trials
    for trial in trials:
        execute(trial, ledger, Settings(), commit="")
    return trials


def test_failures_are_told_by_cause(run, ledger):
    said = failures.lines(run, ledger)
    assert said[0] == "  failed  MemoryError (1 trial)"
    assert "told to run out of memory. 16 examples went through the network together" in said[1]
    assert said[3] == "  failed  NonFiniteLoss (1 trial)"


def test_the_table_of_failures_has_a_row_each_and_goes_with_the_last(run, ledger, tmp_path):
    path = tmp_path / "failures.csv"
    failures.write_csv(run, ledger, path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [(row["method"], row["error_class"], row["attempts"]) for row in rows] == [
        ("too large", "MemoryError", "1"),
        ("diverges", "NonFiniteLoss", "1"),
    ]
    assert rows[1]["message"].startswith("loss is nan at epoch 1")
    failures.write_csv(run[:1], ledger, path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [([], ["too large", "diverges"]), (["oom"], ["too large"]), (["NonFiniteLoss", "oom"], ["diverges", "too large"])],
)
def test_trials_are_chosen_by_the_class_of_their_failure(run, ledger, wanted, labels):
    assert [trial.method.label for trial in failures.of_classes(run, ledger, wanted)] == labels


def test_a_class_that_nothing_failed_of_says_which_there_are(run, ledger):
    with pytest.raises(UnknownName, match=r"no trial failed of lost. Trials failed of: MemoryError, NonFiniteLoss"):
        failures.of_classes(run, ledger, ["lost"])


def test_retry_runs_only_the_failures_that_are_asked_for(run, failing, ledger, capsys):
    words = ["retry", str(failing), "--class", "nan", "--serial", "--results", str(ledger.root)]
    assert cli.main(words) == 3
    assert [ledger.attempts(trial.id) for trial in run] == [1, 2, 1]
    assert (ledger.root / "sweeps" / "small" / "failures.csv").exists()


def test_the_log_of_a_trial_tells_what_happened_and_ends_with_the_traceback(run, ledger, capsys):
    assert cli.main(["logs", run[1].id[:5], "--results", str(ledger.root)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{run[1].id}  diverges, corners, b, seed 0\n")
    assert "  start  " in said
    assert said.rstrip().split("\n")[-1].startswith("zoombench.harness.errors.NonFiniteLoss: loss is nan")
    assert cli.main(["logs", run[0].id, "--results", str(ledger.root)]) == 0
    assert "test accuracy after epoch 2: " in capsys.readouterr().out


@pytest.mark.parametrize(("start", "why"), [("nothing", "none starts so"), ("", "3 trials' ids start so")])
def test_a_log_of_no_trial_says_so(run, ledger, capsys, start, why):
    assert cli.main(["logs", start, "--results", str(ledger.root)]) == 2
    assert why in capsys.readouterr().err
