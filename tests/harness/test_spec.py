"""A sweep file becomes trials; their ids change with what changes the numbers, and with nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from zoombench.harness import spec
from zoombench.harness.errors import SweepFileError, UsageError
from zoombench.harness.spec import TrialSpec


def ids(path: Path) -> list[str]:
    return [trial.id for trial in spec.load(path).trials]


def test_a_sweep_is_the_cross_product_of_methods_datasets_budgets_and_seeds(sweep_file):
    budgets = {name: {"image_size": size, "epochs": 1} for name, size in (("a", 8), ("b", 16))}
    sweep = spec.load(
        sweep_file(methods={"tiny": {}, "wide": {"method": "tiny", "width": 8}}, budgets=budgets, seeds=3)
    )
    assert len(sweep.trials) == 2 * 1 * 2 * 3
    assert len({trial.id for trial in sweep.trials}) == 12
    assert sweep.reference == "tiny"


def test_seeds_come_first_so_that_a_sweep_stopped_early_is_balanced(sweep_file):
    sweep = spec.load(sweep_file(methods={"tiny": {}, "wide": {"method": "tiny", "width": 8}}, seeds=3))
    assert [trial.seed for trial in sweep.trials] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"methods": {"another label": {"method": "tiny"}}},
        {"methods": {"tiny": {"width": 4}}},  # the default, spelled out
        {"budgets": {"another label": {"image_size": 16, "epochs": 2, "batch": 16, "cpus": 2, "gpus": 0.5}}},
        {"budgets": {"b": {"image_size": 16, "overview_size": 16, "epochs": 2, "batch": 16}}},
        {"settings": {"workers": 3, "precision": "bf16", "compile": True, "cpu_threads": 2, "device": "cpu"}},
        {"data": {"root": "/elsewhere", "roots": {"corners": "/there"}, "on_bad_file": "skip"}},
        {"name": "another-name"},
        {"margins": {"accuracy": 0.01}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_id_ignores_what_does_not_change_the_numbers(sweep_file, change):
    assert ids(sweep_file(**change)) == ids(sweep_file())


@pytest.mark.parametrize(
    "change",
    [
        {"methods": {"tiny": {"width": 5}}},
        {"datasets": {"corners": {"examples": 65}}},
        {"budgets": {"b": {"image_size": 17, "epochs": 2, "batch": 16}}},
        {"budgets": {"b": {"image_size": 16, "epochs": 3, "batch": 16}}},
        {"budgets": {"b": {"image_size": 16, "epochs": 2, "batch": 17}}},
        {"budgets": {"b": {"image_size": 16, "epochs": 2, "batch": 16, "micro_batch": 8}}},
        {"budgets": {"b": {"image_size": 16, "epochs": 2, "batch": 16, "task_network": "resnet18"}}},
        {"training": {"learning_rate": 0.001}},
        {"training": {"optimizer": "sgd"}},
        {"seeds": [1]},
    ],
    ids=str,
)
def test_an_id_changes_with_what_changes_the_numbers(sweep_file, change):
    assert ids(sweep_file(**change)) != ids(sweep_file())


def test_a_resolved_sweep_file_gives_the_same_trials(sweep_file, tmp_path):
    first = spec.load(sweep_file(methods={"tiny": {}, "wide": {"method": "tiny", "width": 8}}, seeds=2))
    (tmp_path / "again.yaml").write_text(first.resolved())
    again = spec.load(tmp_path / "again.yaml")
    assert [t.id for t in again.trials] == [t.id for t in first.trials]
    assert again.reference == first.reference
    assert yaml.safe_load(again.resolved()) == yaml.safe_load(first.resolved())


def test_a_trial_spec_survives_the_way_to_another_process(sweep_file):
    trial = spec.load(sweep_file()).trials[0]
    again = TrialSpec.from_json(yaml.safe_load(yaml.safe_dump(trial.to_json())))
    assert again == trial
    assert again.id == trial.id


def test_a_pair_that_a_dataset_cannot_serve_is_skipped_with_a_reason(sweep_file):
    sweep = spec.load(sweep_file(methods={"tiny": {}, "needs_boxes": {}}))
    reasons = {trial.method.label: trial.skip for trial in sweep.trials}
    assert reasons == {"tiny": None, "needs_boxes": "needs_boxes needs boxes, which corners does not give"}
    assert [trial.method.label for trial in sweep.runnable] == ["tiny"]


def test_a_method_may_refuse_a_task(sweep_file):
    sweep = spec.load(sweep_file(datasets={"cluttered_digits": {"digits": 2}}))
    assert sweep.trials[0].skip == "tiny knows at most 10 classes, and the task has 55"


def test_two_labels_for_the_same_trial_are_refused(sweep_file):
    with pytest.raises(SweepFileError, match="one result would count twice"):
        spec.load(sweep_file(methods={"tiny": {}, "same": {"method": "tiny"}}))


def test_an_upper_bound_cannot_be_the_reference(sweep_file):
    with pytest.raises(SweepFileError, match="oracle_crop is an upper bound"):
        spec.load(sweep_file(methods={"oracle_crop": {}, "tiny": {}}, datasets={"cluttered_digits": {}}))


def test_only_selects_by_label(sweep_file):
    sweep = spec.load(sweep_file(methods={"tiny": {}, "wide": {"method": "tiny", "width": 8}}, seeds=3))
    chosen = spec.select(sweep.trials, ["method=wide", "seed=0,2"])
    assert [(trial.method.label, trial.seed) for trial in chosen] == [("wide", 0), ("wide", 2)]


@pytest.mark.parametrize(
    ("term", "message"),
    [("methd=wide", "Did you mean method"), ("method=wied", "Did you mean wide"), ("method", "expected method=")],
)
def test_only_explains_what_it_does_not_know(sweep_file, term, message):
    sweep = spec.load(sweep_file(methods={"tiny": {}, "wide": {"method": "tiny", "width": 8}}))
    with pytest.raises(UsageError, match=message):
        spec.select(sweep.trials, [term])


def test_every_shipped_sweep_file_is_valid():
    for path in spec.sweepfile.SWEEPS.glob("*.yaml"):
        assert spec.load(path).runnable


@pytest.mark.parametrize("banned", ["torch", "ray", "mlflow", "pandas"])
def test_planning_imports_nothing_heavy(banned):
    code = f"import sys; from zoombench.harness import spec, cli; spec.load(None); assert {banned!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_test_above_can_fail():
    code = "import sys; import zoombench.harness.trial; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 1
