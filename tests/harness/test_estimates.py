"""What trials will take: from trials like them, else from a calibration, and how often the intervals are right."""

import json
import math
import os
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from zoombench.harness import calibrating, cli, estimates, estimating, profiles, spec
from zoombench.harness.errors import ResultsError, TrialError
from zoombench.harness.estimates import Amount, Prediction
from zoombench.harness.learning import Learner
from zoombench.harness.ledger import Ledger, write_json
from zoombench.harness.sweepfile import Settings

START = datetime.fromisoformat("2026-11-21T10:00:00+00:00")


def prediction(seconds=60.0, group="a", **other):
    known = {"gpus": 0.0, "cpus": 1, "own": 0.0, "shared": 0.0, "freedom": 0, "factor": 1.0, "basis": "made up"}
    return Prediction(group=group, seconds=seconds, **(known | other))


@pytest.fixture
def ledger(tmp_path):
    return Ledger.open(tmp_path / "results")


@pytest.fixture
def sweep(sweep_file):
    """Two methods, four seeds, ten epochs."""

    def load(file="small", **keys):
        methods = {"tiny": {}, "wide": {"method": "tiny", "width": 8}}
        budgets = {"b": {"image_size": 16, "epochs": 10, "batch": 16}}
        return spec.load(sweep_file(file, **{"methods": methods, "budgets": budgets, "seeds": 4} | keys))

    return load


def finish(trial, ledger, seconds, **other):
    """Records as a trial leaves them that took so long; its epochs are even, but for ten seconds before the first."""
    record = {
        "attempts": 1,
        "started": START.isoformat(),
        "finished": (START + timedelta(seconds=seconds)).isoformat(),
        "method_code": trial.method.fingerprint,
        "dataset_code": trial.dataset.fingerprint,
        "precision": "float32",
        "compiled": False,
        "cpu_threads": 1,
        "processes": 1,
        "device": "a cpu",
        "gpu_hours": 0.0,
        "train_seconds": 10.0,
        "parameters": 1000,
    }
    folder = ledger.folder(trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    ledger.describe(trial)
    epochs = trial.budget.epochs
    ends = [10 + (seconds - 10) * (epoch + 1) / epochs for epoch in range(epochs)]
    told = [("start", 0.0), *(("epoch", end) for end in ends), ("done", seconds)]
    lines = [{"event": e, "time": (START + timedelta(seconds=s)).isoformat(), "attempt": 1} for e, s in told]
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    write_json(folder / "done.json", record | other)


def of(sweep, method):
    return [trial for trial in sweep.trials if trial.method.label == method]


def predict(trials, sweep, ledger, **settings):
    return estimates.predict(trials, sweep, ledger, Settings(**settings))


def test_a_trial_takes_what_its_other_seeds_took(sweep, ledger):
    made = sweep()
    tiny = of(made, "tiny")
    for trial, seconds in zip(tiny, (100, 400), strict=False):
        finish(trial, ledger, seconds)
    found = predict(tiny[2:], made, ledger)
    assert [found[trial.id].seconds for trial in tiny[2:]] == pytest.approx([200, 200]), "the geometric mean"
    assert found[tiny[2].id].basis == "finished trials, on a cpu"
    assert not predict(of(made, "wide"), made, ledger), "another method's say nothing"


def test_the_spread_is_pooled_over_configurations(sweep, ledger):
    made = sweep()
    for trial, seconds in zip(of(made, "wide"), (100, 150, 120), strict=False):
        finish(trial, ledger, seconds)
    finish(of(made, "tiny")[0], ledger, 60)
    found = predict(of(made, "tiny")[1:2], made, ledger)[of(made, "tiny")[1].id]
    expected = np.var(np.log([100, 150, 120]), ddof=1)
    assert (found.own, found.shared, found.freedom, found.factor) == (pytest.approx(expected), found.own, 2, 1)


def test_one_finished_trial_shows_no_spread_and_a_factor_stands_in(sweep, ledger):
    made = sweep()
    finish(of(made, "tiny")[0], ledger, 60)
    one = predict(of(made, "tiny")[1:2], made, ledger)[of(made, "tiny")[1].id]
    assert estimates.total([(one, 1.0)], of=lambda p: p.seconds) == pytest.approx((60, 40, 90))


def test_where_only_the_epochs_differ_their_time_is_scaled_and_the_rest_is_not(sweep, ledger):
    finish(of(sweep(), "tiny")[0], ledger, 110)
    longer = sweep("longer", budgets={"b": {"image_size": 16, "epochs": 25, "batch": 16}}, seeds=1)
    (trial,) = of(longer, "tiny")
    found = predict([trial], longer, ledger)[trial.id]
    assert found.seconds == pytest.approx(10 + 25 * 10)
    assert "scaled to these epochs" in found.basis


def test_trials_of_other_sweeps_count_and_those_of_another_budget_do_not(sweep, ledger):
    finish(of(sweep(), "tiny")[0], ledger, 110)
    other = sweep("other", seeds=[9], methods={"renamed": {"method": "tiny"}})
    assert predict(other.trials, other, ledger)[other.trials[0].id].seconds == pytest.approx(110)
    larger = sweep("larger", seeds=[9], budgets={"b": {"image_size": 24, "epochs": 10, "batch": 16}})
    assert not predict(larger.trials, larger, ledger)


@pytest.mark.parametrize(
    "changed",
    [{"precision": "bf16"}, {"cpu_threads": 2}, {"method_code": "older"}, {"gpu_hours": 1.0}, {"processes": 2}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_trial_that_was_made_otherwise_says_nothing(sweep, ledger, changed):
    made = sweep()
    tiny = of(made, "tiny")
    finish(tiny[0], ledger, 60, **changed)
    assert not predict(tiny[1:], made, ledger, device="cpu")
    finish(tiny[0], ledger, 60)
    assert len(predict(tiny[1:], made, ledger, device="cpu")) == 3


def test_all_attempts_count_and_not_the_time_between_them(sweep, ledger):
    (trial, *_) = of(sweep(), "tiny")
    finish(trial, ledger, 3600, attempts=2)
    seconds = [("start", 0), ("lost", 20), ("start", 3000), ("done", 3600)]
    lines = [{"event": e, "time": (START + timedelta(seconds=s)).isoformat()} for e, s in seconds]
    (ledger.folder(trial.id) / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert estimates.spent_seconds(trial.id, ledger) == 620


def test_gpus_and_joules_are_those_that_were_seen(sweep, ledger):
    made = sweep(budgets={"b": {"image_size": 16, "epochs": 10, "batch": 16, "gpus": 2}})
    first, second, *_ = of(made, "tiny")
    finish(first, ledger, 100, gpu_hours=2 * 50 / 3600, train_seconds=50.0, processes=2)
    path = ledger.folder(first.id) / "events.jsonl"
    path.write_text(path.read_text() + json.dumps({"event": "spent", "joules": 5e3, "time": START.isoformat()}) + "\n")
    found = predict([second], made, ledger)[second.id]
    assert (found.gpus, found.joules) == (2, 5e3)
    assert found.device_hours == pytest.approx(200 / 3600)


def test_an_interval_of_finished_trials_holds_further_ones_as_often_as_it_says():
    rng, rounds = np.random.default_rng(0), 1500
    for n, k in ((2, 1), (4, 1), (3, 6)):
        held = 0
        for _ in range(rounds):
            logs = rng.normal(math.log(100), 0.2, (2, n))  # two configurations, whose spread is pooled
            spread = float(np.var(logs, axis=1, ddof=1).mean())
            middle = math.exp(logs[0].mean())
            one = prediction(middle, own=spread, shared=spread / n, freedom=2 * (n - 1))
            low, high = estimates.total([(one, 1.0)] * k, of=lambda p: p.seconds)[1:]
            held += low <= np.exp(rng.normal(math.log(100), 0.2, k)).sum() <= high
        assert 0.93 < held / rounds < 0.97, (n, k)


def test_an_interval_of_several_configurations_holds_more_often_than_it_says():
    rng, rounds, held = np.random.default_rng(1), 800, 0
    for _ in range(rounds):
        logs = rng.normal(4, 0.2, (4, 3))
        spread = float(np.var(logs, axis=1, ddof=1).mean())
        parts = [
            (prediction(math.exp(one.mean()), group=str(i), own=spread, shared=spread / 3, freedom=8), 1.0)
            for i, one in enumerate(logs)
        ]
        low, high = estimates.total(parts, of=lambda p: p.seconds)[1:]
        held += low <= np.exp(rng.normal(4, 0.2, 4)).sum() <= high
    assert held / rounds > 0.97


def calibration(pieces, **other):
    known = {"steps_of_epoch": 50, "set_up_seconds": 4.0, "save_seconds": 0.5, "judge_seconds": 0.01}
    return {"piece_seconds": pieces, "validation": 100, "test": 200} | known | other


def test_a_calibration_is_extrapolated_by_steps_epochs_and_examples():
    seconds, variance = estimates.extrapolated(calibration([0.1, 0.1]), epochs=3)
    assert seconds == pytest.approx(4 + 3 * (50 * 0.1 + 100 * 0.01 + 0.5) + 200 * 0.01 + 0.5)
    assert variance == 0


def test_the_pieces_of_a_calibration_give_the_interval_of_a_further_piece():
    """Of trials that are but steps, one piece of which is what all of a further trial is like."""
    rng, held, rounds = np.random.default_rng(2), 0, 1500
    bare = {"set_up_seconds": 0.0, "save_seconds": 0.0, "validation": 0, "test": 0, "steps_of_epoch": 1}
    for _ in range(rounds):
        seconds, variance = estimates.extrapolated(calibration(list(np.exp(rng.normal(0, 0.2, 5))), **bare), epochs=1)
        low, high = estimates.total([(prediction(seconds, shared=variance, freedom=4), 1.0)], of=lambda p: p.seconds)[
            1:
        ]
        held += low <= math.exp(rng.normal(0, 0.2)) <= high
    assert 0.92 < held / rounds < 0.98


def test_ends_of_groups_are_added_and_a_share_counts_by_what_is_left():
    parts = [(prediction(100, factor=2.0), 0.5), (prediction(10, group="b", factor=2.0), 1.0)]
    assert estimates.total(parts, of=lambda p: p.seconds) == (60, 30, 120)
    assert estimates.total([], of=lambda p: p.seconds) == (0, 0, 0)


def test_slots_take_the_next_trial_when_they_are_free():
    parts = [(prediction(seconds, factor=2.0), 1.0) for seconds in (10, 30, 10, 10)]
    assert estimates.wall_clock(parts, 1) == (60, 30, 120)
    assert estimates.wall_clock(parts, 2) == (30, 15, 60)
    assert estimates.wall_clock(parts, 9).value == 30


def plan(capsys, path, ledger, *words):
    code = cli.main(["plan", str(path), "--results", str(ledger.root), *words])
    told = capsys.readouterr()
    return code, told.out + told.err


def row(told, name):
    """The number and the interval that plan prints for a cost."""
    (line,) = [line for line in told.splitlines() if line.startswith(f"  {name} ")]
    value, low, high = line.removeprefix(f"  {name}").replace("[", " ").replace("]", " ").replace(",", " ").split()[:3]
    return Amount(float(value), float(low), float(high)), line


def test_plan_tells_hours_wall_clock_money_energy_and_carbon_dioxide(sweep, ledger, capsys):
    prices = {"price_per_cpu_hour": 2.0, "currency": "CHF", "watts": 100, "kg_co2_per_kwh": 0.5}
    made = sweep(settings={"cost": prices})
    for method, seconds in (("tiny", 3600), ("wide", 7200)):
        for trial in of(made, method)[:2]:
            finish(trial, ledger, seconds)
    code, told = plan(capsys, made.path, ledger, "--slots", "2")
    assert code == 0
    assert "Estimate for 4 of 4 trials to run:" in told
    assert row(told, "CPU-hours")[0].value == 6
    assert row(told, "wall-clock") == ((240, 240, 240), "  wall-clock 240 [240, 240] minutes on 2 slots")
    assert row(told, "money") == ((12, 12, 12), "  money      12 [12, 12] CHF")
    assert row(told, "energy")[0].value == 0.6
    assert row(told, "CO2")[0].value == 0.3
    assert "4 by finished trials, on a cpu" in told
    assert "unknown" not in told


def test_plan_says_what_is_not_known(sweep, ledger, capsys):
    made = sweep()
    finish(of(made, "tiny")[0], ledger, 3600)
    told = plan(capsys, made.path, ledger)[1]
    assert "Estimate for 3 of 7 trials to run:" in told
    assert "Cost unknown for 1 configuration (wide, corners, b): `plan --calibrate` measures" in told
    assert "money" not in told


def test_a_trial_that_was_begun_takes_what_is_left_of_it(sweep, ledger, capsys):
    made = sweep(methods={"tiny": {}}, seeds=2)
    first, second = made.trials
    finish(first, ledger, 3600)
    folder = ledger.folder(second.id)
    folder.mkdir()
    (folder / "events.jsonl").write_text(json.dumps({"event": "start", "time": START.isoformat()}) + "\n")
    lines = [{"split": "train", "epoch": epoch + 1, "metric": "loss", "value": 1.0} for epoch in range(5)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert row(plan(capsys, made.path, ledger)[1], "CPU-hours")[0].value == 0.5


def test_a_finished_sweep_has_no_estimate(sweep, ledger, capsys):
    made = sweep(methods={"tiny": {}}, seeds=1)
    finish(made.trials[0], ledger, 60)
    assert "Estimate" not in plan(capsys, made.path, ledger)[1]


def test_prices_change_no_id_and_a_wrong_one_is_told(sweep, ledger, capsys):
    before = [trial.id for trial in sweep().trials]
    assert [trial.id for trial in sweep(settings={"cost": {"watts": 3.5}}).trials] == before
    path = sweep().path
    for wrong, told in (
        ({"price": 2}, "settings.cost.price: unknown key 'price'. Known: currency, kg_co2_per_kwh, price_per_cpu_hour"),
        ({"watts": -1}, "settings.cost.watts: "),
        ({"currency": ""}, "settings.cost.currency: "),
    ):
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"settings": {"cost": wrong}}))
        code, said = plan(capsys, path, ledger)
        assert code == 2
        assert told in said, said


def test_slots_below_one_are_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["plan", "--slots", "0"])
    assert "found 0, expected a whole number above 0" in capsys.readouterr().err


def test_a_first_prediction_is_kept_and_held_against_what_a_trial_took(sweep, ledger):
    made = sweep()
    tiny = of(made, "tiny")
    finish(tiny[0], ledger, 100)
    with estimating.predicted(tiny[1:3], made, ledger, Settings(), slots=2):
        finish(tiny[1], ledger, 200)
        finish(tiny[2], ledger, 120)
    with estimating.predicted(tiny[1:], made, ledger, Settings(), slots=2):
        pass  # nobody finished the last one
    hours, wall_clock = estimating.compared(made, ledger)
    assert (hours.label, hours.unit, hours.trials) == ("tiny", "CPU-hours", 2)
    assert [one * 3600 for one in (hours.value, hours.low, hours.high, hours.actual)] == pytest.approx(
        [200, 200 / 1.5, 300, 320]
    )
    assert (hours.is_inside, hours.ratio) == (False, pytest.approx(1.6))
    assert wall_clock.unit == "wall-clock, minutes"
    assert wall_clock.value == pytest.approx(100 / 60)
    assert 0 <= wall_clock.actual < 0.1


def test_what_had_no_prediction_is_not_compared(sweep, ledger):
    made = sweep()
    with estimating.predicted(made.trials, made, ledger, Settings(), slots=2):
        for trial in made.trials:
            finish(trial, ledger, 100)
    assert estimating.compared(made, ledger) == ()


def test_a_damaged_estimate_is_named(sweep, ledger):
    made = sweep()
    path = ledger.sweep_folder(made.name) / "estimate.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ResultsError, match=r"estimate.json is damaged: .* Delete the file"):
        estimating.compared(made, ledger)


def test_a_calibration_is_found_by_its_conditions_the_newest_first(sweep, ledger):
    made = sweep()
    trial = made.trials[0]
    seen = calibration([0.1, 0.1]) | {"on_gpu": False, "steps": 10, "load": 9.0, "cpus": 2, "weights_bytes": 100}
    seen |= {"checkpoint_bytes": 300, "prediction_bytes": 20}
    for number, (device, settings) in enumerate((("old", {}), ("new", {}), ("other", {"workers": 2}))):
        conditions = estimates.conditions_of(trial, Settings(**settings)) | {"device": device}
        path = estimates.calibration_file(trial, conditions, ledger)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, seen | {"conditions": conditions})
        os.utime(path, (number, number))
    found = predict([trial], made, ledger)[trial.id]
    assert found.basis == "calibrations of 10 steps, on new, which was busy"
    assert (found.size, found.checkpoint, found.factor) == (120, 300, 1.5)
    assert not predict([replace(trial, seed=8)], made, ledger, precision="bf16")
    assert profiles.configuration(trial) == path.parent.name


def test_a_real_calibration_of_a_method_is_made_once(sweep, ledger, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(estimating.profiling.tempfile, "tempdir", str(tmp_path))
    path = sweep(methods={"tiny": {"sleep": 0.02}}, seeds=2).path
    code, told = plan(capsys, path, ledger, "--calibrate", "--steps", "10")
    assert code == 0
    assert "calibrated in" in told
    assert "2 by calibrations of" in told
    assert "a factor of 1.5 either way is in it" in told
    (left,) = (ledger.root / "estimates").glob("*/*")
    seen = json.loads(left.read_text())
    assert all(piece > 0.02 for piece in seen["piece_seconds"]), "the steps are those of the method"
    assert len(seen["piece_seconds"]) == 5
    assert seen["weights_bytes"] < seen["checkpoint_bytes"]
    assert min(seen["set_up_seconds"], seen["judge_seconds"], seen["save_seconds"]) > 0
    assert not list((ledger.root / "trials").iterdir()), "no trial was begun"
    assert "calibrated in" not in plan(capsys, path, ledger, "--calibrate")[1]


def test_a_method_that_cannot_be_calibrated_is_told(sweep, ledger, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(estimating.profiling.tempfile, "tempdir", str(tmp_path))

    def ask(trial, settings, *words, **request):
        failed = bool(words)
        told = "" if failed else json.dumps({"device": "a cpu", "torch": "2.15"})
        return SimpleNamespace(returncode=int(failed), stdout=told, stderr="Traceback\nRuntimeError: told to fail\n")

    monkeypatch.setattr(estimating.profiling, "ask", ask)
    path = sweep(methods={"tiny": {}}, seeds=1).path
    told = plan(capsys, path, ledger, "--calibrate")[1]
    assert "FAILED tiny, corners, b: RuntimeError: told to fail" in told
    assert "Cost unknown for 1 configuration" in told
    assert not list((ledger.root / "estimates").glob("*/*"))


def test_ctrl_c_leaves_what_is_calibrated(sweep, ledger, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(estimating.profiling.tempfile, "tempdir", str(tmp_path))

    def ask(*words, **request):
        raise KeyboardInterrupt

    monkeypatch.setattr(estimating.profiling, "ask", ask)
    code, told = plan(capsys, sweep().path, ledger, "--calibrate")
    assert (code, "the same command goes on from there" in told) == (130, True)


def test_epochs_of_one_step_cannot_be_calibrated(sweep, ledger):
    made = sweep(budgets={"b": {"image_size": 16, "epochs": 3, "batch": 4096}}, methods={"tiny": {}}, seeds=1)
    with pytest.raises(
        TrialError, match=r"0 steps of tiny, corners, b, seed 0 could be timed, expected 2 .* run one trial"
    ):
        calibrating.measure(made.trials[0], Settings(), steps=10)


def test_a_calibration_ends_after_its_steps_and_judges_few_batches(sweep, monkeypatch):
    made = sweep(methods={"tiny": {}}, seeds=1)
    steps = []
    learn = Learner.step
    monkeypatch.setattr(Learner, "step", lambda *words: steps.append(1) or learn(*words))
    monkeypatch.setattr(calibrating, "BATCHES", 2)
    seen = calibrating.measure(made.trials[0], Settings(), steps=5)
    assert len(steps) == 6, "and not the eight of two epochs"
    assert seen["steps"] == 4, "the first is set-up, and the last of an epoch has its end in it"
    assert seen["steps_of_epoch"] == 4
