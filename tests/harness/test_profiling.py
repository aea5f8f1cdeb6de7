"""`zoombench profile`: alone, in fresh processes, in turns, and never twice."""

import fcntl
import json
import subprocess
import sys
import tempfile
import types

import pandas as pd
import pytest
import torch

from zoombench.harness import cli, cost, profiles, profiling, spec, timing
from zoombench.harness.errors import StorageLost
from zoombench.harness.ledger import Ledger, at, write_json
from zoombench.harness.mirror import MirroredLedger
from zoombench.harness.results import rows
from zoombench.harness.sweepfile import Settings

CPU = torch.device("cpu")
KNOWN = {"device": "a cpu", "torch": "2.15", "precision": "float32", "threads": 1, "workers": 0, "code": ["a", "b"]}


@pytest.fixture(autouse=True)
def _a_lock_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(profiling.os, "getloadavg", lambda: (0.0, 0.0, 0.0))


def measurement(*times, **other):
    """What a process leaves."""
    return {
        "batch": 16,
        "latency_ms": list(times),
        "batch_ms": [8.0],
        "pipeline_ms": [5.0],
        "pipeline_images_per_second": 1000.0,
        "reference_ms": [10.0, 10.1],
        "peak_memory_mib": 30.0,
        "inference_memory_mib": 20.0,
        "host_memory_mib": 100.0,
        "energy_j": None,
        "flops": {"gflops": 0.5, "gflops_pointwise": 0.1, "gflops_overhead": None, "gflops_refused": ""}
        | {"flop_coverage": 1.0},
        "gflops_by_part": {"": 0.5},
    } | other


@pytest.fixture
def asked(monkeypatch):
    """Whom fresh processes were asked about, in order; nothing is measured, and `wide` can be told to fail."""
    heard, fail = [], []

    def ask(trial, settings, *words, **request):
        if not words:
            return types.SimpleNamespace(returncode=0, stdout=json.dumps({"device": "a cpu", "torch": "2.15"}))
        heard.append(trial.method.label)
        if trial.method.label in fail:
            return types.SimpleNamespace(returncode=1, stderr="Traceback\nRuntimeError: told to fail\n")
        write_json(profiles.Path(words[0]), measurement(*([2.0] * 10)))
        return types.SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setattr(profiling, "ask", ask)
    return types.SimpleNamespace(heard=heard, fail=fail)


@pytest.fixture
def profile(sweep_file, tmp_path, capsys):
    """Profile two methods of three seeds; exit code and what was said."""
    methods = {"tiny": {}, "wide": {"method": "tiny", "width": 8}}
    path = sweep_file(methods=methods, seeds=3, reference="tiny")

    def say(*words, results=tmp_path / "results"):
        code = cli.main(["profile", str(path), "--results", str(results), *words])
        told = capsys.readouterr()
        return code, " ".join((told.out + told.err).split())

    return types.SimpleNamespace(say=say, sweep=spec.load(path), ledger=Ledger(tmp_path / "results"), path=path)


def test_a_real_profile_fills_the_table_and_is_made_once(profile, tmp_path):
    words = ("--only", "method=tiny", "--calls", "12", "--seconds", "60", "--processes", "3", "--device", "cpu")
    code, told = profile.say(*words)
    assert (code, "1 of 1 configurations to measure" in told) == (0, True), told
    assert "36 calls give p99 no upper end" in told
    (left,) = (tmp_path / "results" / "profiles").glob("*/*/process-0.json")
    measured = json.loads(left.read_text())
    assert all(len(measured[name]) == 12 for name in ("latency_ms", "batch_ms", "pipeline_ms"))
    assert measured["inference_memory_mib"] < measured["peak_memory_mib"] < 50
    assert 0 < measured["host_memory_mib"] < 2000
    assert (measured["batch"], measured["energy_j"]) == (16, None)
    found = profiles.columns_of(profile.sweep.trials[0], profile.ledger, device=None)
    assert found["latency_ms_p50_low"] < found["latency_ms_p50"] < found["latency_ms_p50_high"]
    assert found["pipeline_ms_p50"] > found["latency_ms_p50"] > 0
    assert found["flop_coverage"] == 1
    assert found["latency_conditions"].startswith("float32, 1 CPU thread, training batch 16, 0 loader processes, ")
    before = left.stat().st_mtime_ns
    assert "0 of 1 configurations to measure" in profile.say(*words)[1]
    assert left.stat().st_mtime_ns == before


def test_methods_take_turns_and_nobody_always_comes_first(profile, asked):
    assert profile.say("--processes", "4")[0] == 0
    assert asked.heard == ["tiny", "wide", "wide", "tiny"] * 2, "once a configuration and not once a seed"


def test_what_is_measured_stays_after_ctrl_c(profile, asked, monkeypatch):
    ask, left = profiling.ask, [1, 1, 1, 1]  # where it runs, and three processes

    def stopped(trial, settings, *words, **request):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return ask(trial, settings, *words, **request)

    monkeypatch.setattr(profiling, "ask", stopped)
    code, told = profile.say()
    assert (code, "the same command goes on from there" in told) == (130, True)
    monkeypatch.setattr(profiling, "ask", ask)
    assert profile.say()[0] == 0
    assert len(asked.heard) == 2 * 5
    assert "0 of 2 configurations" in profile.say()[1]


def test_a_profile_that_was_stopped_goes_on(profile, asked):
    trial = profile.sweep.trials[0]
    known = KNOWN | {"code": profiles.code_of(trial)}
    begun = profiles.of(trial, known, profile.ledger)
    for number in (0, 1):
        write_json_in(begun.process(number), measurement(1.0))
    profile.say("--only", "method=tiny")
    assert asked.heard == ["tiny"] * 3
    assert begun.is_done


def write_json_in(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def test_again_measures_anew(profile, asked):
    profile.say()
    asked.heard.clear()
    profile.say("--again", "--only", "method=wide")
    assert asked.heard == ["wide"] * 5


def test_draws_of_tuning_are_not_measured(profile, asked, sweep_file):
    space = {"wide": {"width": {"choices": [4, 12]}}}
    methods = {"tiny": {}, "wide": {"method": "tiny", "width": 8}}
    sweep_file(methods=methods, seeds=3, reference="tiny", tuning={"trials": 3, "space": space})
    assert profile.say() == (
        2,
        "zoombench: no configuration of small can run; `zoombench plan` says why.",
    ), "final trials wait for what tuning finds"


@pytest.fixture(params=["s3", "file"])
def machine(request, tmp_path, monkeypatch):
    """The ledger of one store, as a machine of this name sees it now."""
    url = request.getfixturevalue("s3") if request.param == "s3" else f"file://{tmp_path}/store"

    def look(name):
        monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / name))
        ledger = at(url)
        ledger.refresh()
        return ledger

    return look


def test_what_one_machine_measured_another_finds_on_the_store(profile, asked, machine):
    trial, url = profile.sweep.trials[0], machine("a").place
    assert profile.say("--processes", "3", results=url)[0] == 0
    kept = sorted(name.split("/")[3] for name in machine("a").store.find("profiles"))
    assert kept == sorted(["process-0.json", "process-1.json", "process-2.json", "profile.json"] * 2)

    other = machine("b")
    (told,) = [one for one in rows(profile.sweep, other, run_ids={}) if one["trial_id"] == trial.id]
    assert "latency_source" not in told, "its trial is not done"
    assert profiles.columns_of(trial, other, device=None)["latency_ms_p50"] == pytest.approx(2)
    assert not list(other.root.glob("profiles/*/*/process-0.json")), "a report needs none of the calls"
    asked.heard.clear()
    assert "0 of 2 configurations to measure" in profile.say(results=url)[1]
    assert asked.heard == []

    profile.say("--again", "--processes", "4", "--only", "method=tiny", results=url)
    assert asked.heard == ["tiny"] * 4
    first = machine("a")
    profiles.fetch(first)
    assert profiles.columns_of(trial, first, device=None)["latency_processes"] == 4

    first.forget_folder("profiles")
    profiles.fetch(other := machine("b"))
    assert profiles.columns_of(trial, other, device=None) == {}, "who deletes it on the store deletes it everywhere"


def test_a_profile_that_the_store_did_not_take_is_sent_by_the_next(profile, asked, machine, monkeypatch):
    url, push = machine("a").place, MirroredLedger.publish_folder

    def away(ledger, name):
        raise StorageLost("the store is away")

    monkeypatch.setattr(MirroredLedger, "publish_folder", away)
    code, told = profile.say(results=url)
    assert code != 0
    assert told.endswith("zoombench: StorageLost: the store is away"), "after what was measured is shown"
    assert machine("a").store.find("profiles") == {}
    monkeypatch.setattr(MirroredLedger, "publish_folder", push)
    asked.heard.clear()
    assert (profile.say(results=url)[0], asked.heard) == (0, [])
    assert len(machine("a").store.find("profiles")) == 2 * 6


def test_a_method_that_cannot_be_measured_stops_no_other(profile, asked):
    asked.fail.append("tiny")
    code, told = profile.say()
    assert code == 3
    assert "FAILED tiny, corners, b: RuntimeError: told to fail" in told
    assert asked.heard.count("tiny") == 1
    assert asked.heard.count("wide") == 5


def test_two_profiles_never_run_at_once(profile, asked, tmp_path):
    with (tmp_path / "zoombench-profile.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        code, told = profile.say()
    assert (code, told) == (
        2,
        "zoombench: another profile runs on this machine, and each would slow the other. Wait for it.",
    )
    assert asked.heard == []
    assert profile.say()[0] == 0


def test_a_busy_machine_and_running_trials_are_said(profile, asked, monkeypatch):
    assert "warning" not in profile.say("--only", "method=tiny")[1]
    monkeypatch.setattr(profiling.os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    with profile.ledger.hold(profile.sweep.trials[0].id):
        _, told = profile.say()
    assert "the machine is busy (load 99.0 on " in told
    assert "1 trials of " in told


def test_two_processes_are_too_few(profile):
    code, told = profile.say("--processes", "2")
    assert (code, told) == (2, "zoombench: --processes 2: an interval over processes needs 3 or more.")


def test_a_configuration_is_a_trial_without_its_seed_and_its_training(sweep_file):
    def of(**keys):
        return profiles.configuration(spec.load(sweep_file(**keys)).trials[0])

    def budget(**keys):
        return {"b": {"image_size": 16, "epochs": 2, "batch": 16} | keys}

    same = [of(), of(seeds=[7]), of(training={"learning_rate": 0.1}), of(budgets=budget(epochs=9))]
    assert len(set(same)) == 1
    others = [of(methods={"tiny": {"width": 8}}), of(budgets=budget(batch=8)), of(budgets=budget(image_size=24))]
    assert len({*same, *others}) == 4


@pytest.mark.parametrize("changed", ["device", "torch", "precision", "threads", "workers", "code"])
def test_other_conditions_are_another_profile(profile, changed):
    trial, other = profile.sweep.trials[0], KNOWN | {changed: "other"}
    assert profiles.of(trial, KNOWN, profile.ledger) != profiles.of(trial, other, profile.ledger)


def test_the_columns_are_worked_out_over_processes_and_calls():
    processes = [measurement(*(level + i / 100 for i in range(100))) for level in (1.0, 2.0, 4.0)]
    processes[1] |= {"reference_ms": [10.0, 9.5], "peak_memory_mib": 90.0}
    found = profiles.columns(processes, KNOWN)
    assert found["latency_ms_p50"] == pytest.approx((1.495 * 2.495 * 4.495) ** (1 / 3))
    assert (found["latency_processes"], found["latency_calls"]) == (3, 300)
    assert (found["latency_ms_p90"], found["latency_ms_p99_high"]) == (pytest.approx(4.69), None)
    assert found["latency_ms_p99"] > found["latency_ms_p99_low"]
    assert found["latency_drift"] == pytest.approx(0.05)
    assert found["images_per_second"] == pytest.approx(16 / 8e-3)
    assert (found["pipeline_ms_p50"], found["peak_memory_mib"], found["energy_j"]) == (pytest.approx(5), 30, None)


def test_trials_of_every_seed_have_the_profile_and_others_keep_their_own(profile, asked):
    ledger = Ledger.open(profile.ledger.root)
    for trial in profile.sweep.runnable:
        ledger.folder(trial.id).mkdir(parents=True)
        score = {"split": "test", "epoch": 2, "metric": "accuracy", "value": 0.5}
        (ledger.folder(trial.id) / "metrics.jsonl").write_text(pd.Series(score).to_json() + "\n")
        write_json(ledger.folder(trial.id) / "done.json", {"gpu_hours": 0.0, "latency_ms_p50": 7.0, "device": "a cpu"})
    profile.say("--only", "method=tiny")
    told = {(one["method"], one["seed"]): one for one in rows(profile.sweep, ledger, run_ids={})}
    assert [told["tiny", seed]["latency_ms_p50"] for seed in range(3)] == pytest.approx([2.0] * 3)
    assert told["tiny", 0]["latency_source"] == "profile"
    assert (told["wide", 0]["latency_ms_p50"], told["wide", 0]["latency_source"]) == (7.0, "trial")


def keep(profile, milliseconds, **changed):
    """A finished profile of the first trial's configuration."""
    trial = profile.sweep.trials[0]
    known = KNOWN | {"code": profiles.code_of(trial)} | changed
    made = profiles.of(trial, known, profile.ledger)
    for number in range(3):
        write_json_in(made.process(number), measurement(milliseconds))
    made.finish(3, known)


def test_the_profile_of_the_trials_own_device_goes_before_a_newer_one(profile):
    keep(profile, 1.0, device="a gpu")
    keep(profile, 9.0, device="a cpu")
    trial = profile.sweep.trials[0]
    chosen = {device: profiles.columns_of(trial, profile.ledger, device=device) for device in ("a gpu", "a cpu", "new")}
    assert [chosen[device]["latency_ms_p50"] for device in chosen] == [pytest.approx(one) for one in (1, 9, 9)]
    assert [chosen[device]["latency_device"] for device in chosen] == ["a gpu", "a cpu", "a cpu"]


def test_a_profile_of_other_code_is_none_of_the_trial(profile):
    keep(profile, 1.0, code=["older", "b"])
    assert profiles.columns_of(profile.sweep.trials[0], profile.ledger, device="a cpu") == {}


def test_calls_are_timed_until_there_are_enough_or_the_time_is_up():
    count = []
    assert len(timing.time_calls(lambda: count.append(1), device=CPU, most=30, seconds=60)) == 30
    assert len(count) == 30 + timing.WARM_UP
    assert len(timing.time_calls(lambda: None, device=CPU, most=10**9, seconds=0)) == timing.FEWEST


def test_resident_memory_is_of_this_process_alone():
    """Not what the parent held, as ru_maxrss has it."""
    held = torch.ones(60 * 2**18)  # 60 MiB
    mine = timing._status_mib("VmHWM")
    code = r"import re; print(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) / 1024 < 60 < held.nbytes / 2**20 + 1 < mine


def test_a_loader_with_processes_feeds_the_pipeline(profile):
    measured = timing.measure(profile.sweep.trials[0], Settings(device="cpu", workers=1), calls=10, seconds=0.1)
    assert measured["pipeline_images_per_second"] > 0


class Doubles(torch.nn.Module):
    def forward(self, image):
        return (image * 2).sum()


def test_the_memory_of_inference_is_what_is_given_and_made():
    image = torch.rand(4, 3, 100, 100)
    with torch.no_grad():
        peak = cost.peak_of_inference(Doubles(), inputs={"image": image})
    assert peak == pytest.approx(2 * image.nbytes, rel=0.01)
