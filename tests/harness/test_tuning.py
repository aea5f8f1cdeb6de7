"""Every method tunes as much as the others, on the validation split alone, and trains anew with what won."""

import math
import re
from dataclasses import replace

import mlflow
import pytest
import yaml

from zoombench.harness import cli, lookup, planned, preflight, results, spec, trial, tuning
from zoombench.harness.errors import ResultsError, SweepFileError, TrialError, UsageError
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger, append_line
from zoombench.harness.sweepfile import Settings
from zoombench.reports import claims, table

RATE = {"training.learning_rate": {"log_uniform": [1e-4, 1e-1]}}
BOTH = {"tiny": {}, "wide": {"method": "tiny", "width": 8}}


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


@pytest.fixture
def tuned(sweep_file):
    """Write a sweep file that tunes two methods with four draws."""

    def write(space=RATE, *, tuning=None, **keys):
        return sweep_file(
            **{"methods": BOTH, "seeds": 2, "tuning": {"trials": 4, "space": space} | (tuning or {})} | keys
        )

    return write


def of(sweep, purpose="tuning", **labels):
    found = [one for one in sweep.trials if one.purpose == purpose]
    return [one for one in found if labels.get("method", one.method.label) == one.method.label]


def ran(ledger, made, value, *, split=None):
    """Leave the records of a finished trial; nan for one that failed."""
    ledger.describe(made)
    if math.isnan(value):
        ledger.fail(made.id, error_class="NonFiniteLoss", message="loss is nan", traceback="")
        return
    for epoch, part in ((1, 0.0), (2, 1.0)):
        score = {"split": split or made.judged, "epoch": epoch, "metric": made.task.metric.name, "value": part * value}
        append_line(ledger.folder(made.id) / "metrics.jsonl", score)
    ledger.finish(made.id, attempts=1, gpu_hours=0.0)


def run_search(ledger, path, values, method="tiny"):
    for made in of(planned.load(path, ledger), method=method):
        ran(ledger, made, values[made.draw])


def test_every_method_gets_the_same_number_of_tuning_trials_and_epochs(tuned, ledger):
    sweep = planned.load(tuned(RATE | {"wide": {"dropout": {"uniform": [0, 0.5]}}}), ledger)
    made = {label: of(sweep, method=label) for label in BOTH}
    assert [one.draw for one in made["tiny"]] == [one.draw for one in made["wide"]] == [0, 1, 2, 3]
    assert sum(one.budget.epochs for one in made["tiny"]) == sum(one.budget.epochs for one in made["wide"])
    assert len({one.id for one in sweep.trials}) == len(sweep.trials)


def test_draw_0_is_what_the_sweep_file_says_without_tuning(tuned, sweep_file, ledger):
    sweep = planned.load(tuned(RATE | {"wide": {"dropout": {"uniform": [0, 0.5]}}}), ledger)
    plain = spec.load(sweep_file("plain", methods=BOTH))
    for one, other in zip([one for one in of(sweep) if one.draw == 0], plain.trials, strict=True):
        assert (one.method, one.training) == (other.method, other.training)
    assert of(sweep, method="wide")[0].drawn == {"training.learning_rate": 0.003, "dropout": 0.1}


def test_another_hyper_parameter_method_or_trial_changes_no_draw(tuned, ledger):
    first = {(one.method.label, one.draw): one.drawn for one in of(planned.load(tuned(), ledger))}
    more = RATE | {"training.weight_decay": {"log_uniform": [1e-6, 1e-2]}, "wide": {"width": {"integer": [2, 9]}}}
    methods = {"third": {"method": "tiny", "width": 3}} | BOTH
    sweep = planned.load(tuned(more, tuning={"trials": 6}, methods=methods), ledger)
    again = {(one.method.label, one.draw): one.drawn for one in of(sweep)}
    assert len(again) == 18
    for key, drawn in first.items():
        assert drawn.items() <= again[key].items()
    other = planned.load(tuned(tuning={"draw_seed": 1}), ledger)
    assert [one.drawn for one in of(other)][2:] != [first["tiny", 1], first["wide", 1]]


def test_a_method_s_own_range_goes_before_that_of_all(tuned, ledger):
    sweep = planned.load(tuned(RATE | {"wide": {"training.learning_rate": {"uniform": [0.5, 0.6]}}}), ledger)
    assert all(one.training.learning_rate < 0.2 for one in of(sweep, method="tiny"))
    assert all(one.training.learning_rate >= 0.5 for one in of(sweep, method="wide")[1:])


def test_a_method_with_nothing_to_tune_tries_its_only_configuration_once(tuned, ledger):
    sweep = planned.load(tuned({"wide": {"dropout": {"uniform": [0, 0.5]}}}), ledger)
    assert [one.draw for one in of(sweep, method="tiny")] == [0]
    assert len(of(sweep, method="wide")) == 4


def test_tuning_trials_have_ids_of_their_own_and_final_ones_keep_theirs(tuned, sweep_file, ledger):
    plain = spec.load(sweep_file("plain", methods=BOTH, seeds=2))
    path = tuned()
    for label in BOTH:
        run_search(ledger, path, [0.9, 0.5, 0.5, 0.5], label)  # the default wins
    sweep = planned.load(path, ledger)
    assert [one.id for one in of(sweep, "final")] == [one.id for one in plain.trials]
    assert all(one.id != replace(one, purpose="final").id for one in of(sweep))  # they do not answer for each other


def test_seeds_of_tuning_trials_are_not_those_of_final_ones(tuned, ledger):
    sweep = planned.load(tuned(tuning={"seeds": 3}), ledger)
    assert {one.seed for one in of(sweep)} == {1000, 1001, 1002}
    assert len(of(sweep)) == 2 * 4 * 3
    with pytest.raises(SweepFileError, match=r"tuning trials have the seeds from 1000 on.*lists 1001"):
        spec.load(tuned(tuning={"seeds": 2}, seeds=[7, 1001]))


def test_final_trials_wait_and_then_have_the_winner_s_settings(tuned, ledger):
    path = tuned()
    before = planned.load(path, ledger)
    assert {one.waits for one in of(before, "final")} == {"4 of 4 draws of its tuning have not ended"}
    assert all(one.purpose == "tuning" for one in before.runnable)
    run_search(ledger, path, [0.5, 0.2, 0.7, 0.6])
    sweep = planned.load(path, ledger)
    won = of(sweep, method="tiny")[2]
    for one in of(sweep, "final", method="tiny"):
        assert (one.training, one.draw, one.drawn) == (won.training, 2, won.drawn)
        assert one.is_runnable
    assert all(one.waits for one in of(sweep, "final", method="wide"))
    settled = tuning.settled(before, ledger)  # without reading the file again
    assert settled.trials == sweep.trials == tuning.settled(settled, ledger).trials


@pytest.mark.parametrize(
    ("values", "winner"),
    [([0.5, 0.7, 0.7, 0.1], 1), ([0.5, math.nan, 0.6, math.nan], 2), ([0.0, 0.0, 0.0, 0.0], 0)],
    ids=["ties go to the earlier draw", "failed draws lose", "a score of nothing is a score"],
)
def test_the_best_validation_score_wins(tuned, ledger, values, winner):
    run_search(ledger, tuned(), values)
    assert {one.draw for one in of(planned.load(tuned(), ledger), "final", method="tiny")} == {winner}


def test_where_lower_is_better_the_lowest_score_wins(tuned, ledger):
    path = tuned(methods={"uniform": {}}, datasets={"synthetic_gaze": {}})
    run_search(ledger, path, [3.0, 2.0, 1.0, 4.0], "uniform")
    assert {one.draw for one in of(planned.load(path, ledger), "final")} == {2}


def test_several_tuning_seeds_are_averaged_and_one_that_fails_fails_its_draw(tuned, ledger):
    path = tuned(tuning={"seeds": 2, "trials": 3})
    values = {(0, 1000): 0.5, (0, 1001): 0.5, (1, 1000): 0.9, (1, 1001): math.nan, (2, 1000): 0.2, (2, 1001): 0.9}
    for made in of(planned.load(path, ledger), method="tiny"):
        ran(ledger, made, values[made.draw, made.seed])
    search = tuning.searches(planned.load(path, ledger).trials, ledger)["tiny", "corners", "b"]
    assert search.winner is not None
    assert (search.winner.number, search.failed) == (2, 1)
    assert search.winner.score == pytest.approx(0.55)


def test_a_method_whose_draws_all_failed_is_skipped_with_the_reason_and_stays_in_m(tuned, ledger):
    path = tuned()
    run_search(ledger, path, [math.nan] * 4, "wide")
    run_search(ledger, path, [0.5] * 4, "tiny")
    sweep = planned.load(path, ledger)
    assert {one.skip for one in of(sweep, "final", method="wide")} == {
        "tuning found no settings: all 4 draws failed (NonFiniteLoss x 4); `zoombench retry` runs them again"
    }
    rows = table.from_rows(results.rows(sweep, ledger, run_ids={}))
    assert claims.family_size(rows, "tiny") == 1


def test_winners_are_written_down(tuned, ledger):
    path = tuned()
    run_search(ledger, path, [0.5, math.nan, 0.7, 0.6])
    planned.record(planned.load(path, ledger), ledger)
    tiny, wide = yaml.safe_load((ledger.sweep_folder("small") / "winners.yaml").read_text())
    assert (tiny["winner"], tiny["score"], tiny["default_score"], tiny["failed"]) == (2, 0.7, 0.5, 1)
    assert tiny["settings"] == {"training.learning_rate": 0.007348}
    assert (wide["not_ended"], "winner" in wide) == (4, False)


def test_a_resolved_sweep_file_tunes_the_same(tuned, ledger, tmp_path):
    path = tuned(RATE | {"wide": {"dropout": {"uniform": [0, 0.5]}}})
    for label in BOTH:
        run_search(ledger, path, [0.5, 0.2, 0.7, 0.6], label)
    sweep = planned.load(path, ledger)
    (tmp_path / "again.yaml").write_text(sweep.resolved())
    assert [one.id for one in planned.load(tmp_path / "again.yaml", ledger).trials] == [one.id for one in sweep.trials]


def test_a_tuning_trial_never_builds_the_test_split(tuned, ledger, monkeypatch):
    made, final = of(planned.load(tuned(), ledger))[0], spec.load(tuned()).trials[0]
    dataset = lookup.load("dataset", "corners")
    asked = []
    build = dataset.build
    monkeypatch.setattr(dataset, "build", lambda *given: asked.append(given[2]) or build(*given))
    assert execute(made, ledger, Settings(), commit="") == "done"
    assert sorted(asked) == ["train", "validation"]
    assert {score["split"] for score in ledger.scores(made.id)} == {"train", "validation"}
    assert not (ledger.folder(made.id) / "predictions.parquet").exists()
    assert ledger.record(made.id, "done.json")["train_seconds"] > 0
    assert execute(final, ledger, Settings(), commit="") == "done"
    assert "test" in asked  # a final trial does, so the list can tell


def test_a_tuning_trial_trains_as_a_final_one_of_the_same_seed(tuned, ledger):
    made = of(planned.load(tuned(), ledger))[1]
    for one in (made, replace(made, purpose="final")):
        assert execute(one, ledger, Settings(), commit="") == "done"
    hashes = [ledger.record(one.id, "done.json")["weights_sha256"] for one in (made, replace(made, purpose="final"))]
    assert hashes[0] == hashes[1]


def test_a_dataset_without_a_validation_split_is_refused(tuned, ledger, monkeypatch):
    path = tuned(methods={"uniform": {}}, datasets={"oxford_pets": {"validation_per_class": 0}})
    with pytest.raises(
        SweepFileError, match=r"small.yaml:\d+: datasets.oxford_pets.validation_per_class: .* is 0, and"
    ):
        planned.load(path, ledger)
    made = of(planned.load(tuned(), ledger))[0]
    dataset = lookup.load("dataset", "corners")
    build = dataset.build
    monkeypatch.setattr(dataset, "build", lambda *given: build(*given) if given[2] == "train" else [])
    with pytest.raises(TrialError, match="64 to train, 0 of the validation split"):
        list(trial.run(made, ledger.folder(made.id)))


def test_a_finished_tuning_trial_without_its_score_is_said(tuned, ledger):
    path = tuned()
    made = of(planned.load(path, ledger))[0]
    ran(ledger, made, 0.5, split="train")
    with pytest.raises(ResultsError, match=r"is marked done and holds no validation score. Delete done.json there"):
        planned.load(path, ledger)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"tinny": {"width": {"integer": [2, 4]}}}, "tuning.space.tinny: no method of this label.*Did you mean tiny"),
        ({"training.rate": {"uniform": [0, 1]}}, "no setting 'training.rate' to tune.*Known: training.optimizer"),
        ({"wide": {"widht": {"integer": [2, 4]}}}, r"space.wide.widht: no setting 'widht' to tune. Did you mean width"),
        ({"wide": {"width": 3}}, "space.wide.width: expected a distribution, such as {uniform: .*, found 3"),
        ({"wide": {"width": {"integer": [4, 2]}}}, "the lower one first, found {'integer'"),
        ({"wide": {"width": {"norm": [4, 2]}}}, "unknown key 'norm'"),
        ({"wide": {"width": {"uniform": [4, 8]}}}, "space.wide.width: expected a valid integer"),
        ({"wide": {"width": {"integer": [-9, 0]}}}, "space.wide: width is .*: a network needs at least one channel"),
        ({"training.momentum": {"uniform": [1, 2]}}, r"space.training.momentum: draw 1 does not fit: .*less than 1"),
        ({}, "tuning.space: it is empty"),
    ],
    ids=str,
)
def test_a_space_that_does_not_fit_is_refused_with_its_line(tuned, capsys, space, told):
    assert cli.main(["plan", str(tuned(space))]) == 2
    said = capsys.readouterr().err
    assert re.search(r"small.yaml:\d+: tuning.space", said)
    assert re.search(told, said), said


def test_numbers_may_be_written_with_an_exponent_alone(tmp_path, tuned):
    text = tuned().read_text()
    assert "0.0001" in text
    (tmp_path / "again.yaml").write_text(text.replace("0.0001", "1e-4").replace("0.1", "1E-1"))
    assert spec.load(tmp_path / "again.yaml").file.tuning == spec.load(tuned()).file.tuning


def test_only_a_seed_still_tunes_and_only_a_purpose_is_one_phase(tuned, ledger):
    sweep = planned.load(tuned(), ledger)
    of_seed = spec.select(sweep.trials, ["seed=1", "method=tiny"])
    assert [(one.purpose, one.seed) for one in of_seed] == [("tuning", 1000)] * 4 + [("final", 1)]
    assert {one.purpose for one in spec.select(sweep.trials, ["purpose=tuning"])} == {"tuning"}


def test_methods_that_tune_differently_are_two_methods(tuned, ledger):
    twins = {"tiny": {}, "same": {"method": "tiny"}}
    path = tuned(RATE | {"same": {"dropout": {"uniform": [0, 0.5]}}}, methods=twins)
    assert len(planned.load(path, ledger).trials) == 2 * 4 + 2 * 2
    with pytest.raises(SweepFileError, match="the same trial as another entry"):
        planned.load(tuned(methods=twins), ledger)


def test_a_drawn_configuration_that_cannot_be_built_loses_and_stops_nothing(tuned, ledger, monkeypatch):
    path = tuned({"wide": {"width": {"integer": [9, 12]}}})
    made = of(planned.load(path, ledger), method="wide")
    method = lookup.load("method", "tiny")
    build = method.build

    def refuse(config, *given):
        if config.width > 8:
            raise ValueError("too wide")
        return build(config, *given)

    monkeypatch.setattr(method, "build", refuse)
    preflight.refuse_unfit(made)
    assert [execute(one, ledger, Settings(), commit="") for one in made] == ["done", *["failed"] * 3]
    assert {one.draw for one in of(planned.load(path, ledger), "final", method="wide")} == {0}
    monkeypatch.setattr(method, "build", lambda *given: refuse(method.Config(width=9)))
    with pytest.raises(UsageError, match="too wide"):  # what the file itself asks for
        preflight.refuse_unfit(made)


@pytest.mark.slow
def test_run_tunes_then_trains_anew_also_in_two_goes(tuned, ledger, capsys):
    space = RATE | {"wide": {"nan_at": {"choices": [None, 0]}}}
    path = tuned(space, tuning={"trials": 3}, seeds=[7], budgets={"b": {"image_size": 16, "epochs": 1}})

    def zoombench(verb, *words):
        code = cli.main([verb, str(path), "--results", str(ledger.root), *words])
        return code, capsys.readouterr().out

    assert zoombench("run", "--serial", "--only", "purpose=tuning")[0] == 3  # a draw of `wide` diverges
    assert "5 done, 1 failed before, 2 to run\n" in zoombench("run", "-n")[1]
    assert "small: 2 trials to run, 6 done before" in zoombench("run", "--serial")[1]
    sweep = planned.load(path, ledger)
    assert all(ledger.state(one.id) == "done" for one in of(sweep, "final"))
    assert {one.method.config["nan_at"] for one in of(sweep, "final", method="wide")} == {None}
    told = zoombench("status")[1]
    assert "small: 2 done, 0 running, 0 started, 0 planned, 0 failed, 0 skipped, 0 waiting" in told
    assert "tuning trials: 5 done, 0 running, 0 started, 0 planned, 1 failed" in told
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{ledger.root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("zoombench").experiment_id])
    purposes = [run.data.tags["zoombench.purpose"] for run in runs if "zoombench.trial_id" in run.data.tags]
    assert (purposes.count("tuning"), purposes.count("final")) == (6, 2)
