"""A batch in pieces teaches what the whole batch teaches, in any precision, and a trial goes on where it was."""

import json
import re
from pathlib import Path

import pytest
import torch

from zoombench.harness import execution, learning, spec, trial
from zoombench.harness.budget import Budget
from zoombench.harness.errors import SweepFileError
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger
from zoombench.harness.parallel import Ranks, cut
from zoombench.harness.precision import autocast
from zoombench.harness.spec import TrialSpec
from zoombench.harness.sweepfile import Settings

CPU = torch.device("cpu")


@pytest.fixture
def made(sweep_file):
    def make(batch: int = 9, micro_batch=None, sgd: bool = True, **config) -> TrialSpec:
        budget = {"image_size": 16, "epochs": 2, "batch": batch, "micro_batch": micro_batch}
        training = {"optimizer": "sgd", "learning_rate": 0.05} if sgd else {}
        return spec.load(sweep_file(methods={"tiny": config}, budgets={"b": budget}, training=training)).trials[0]

    return make


def run_whole(made: TrialSpec, workdir: Path, note=trial.ignore, **settings) -> tuple[list[trial.Score], dict]:
    scores = list(trial.run(made, workdir, Settings(**settings), note))
    return scores, json.loads((workdir / "facts.json").read_text())


def learner_of(made: TrialSpec, workdir: Path, **settings) -> learning.Learner:
    running = trial._Trial.build(made, workdir, Settings(**settings), Ranks(), trial.never)
    running.begin()
    running.method.train()
    running.learner.start_epoch()
    return running.learner


def stopped_within_an_epoch(made, workdir, monkeypatch, **settings) -> tuple[list[trial.Score], dict]:
    """Stopped before the third step of the second epoch, then run to its end."""
    steps = []
    step = learning.Learner.step

    def step_and_stop(self, inputs, target):
        steps.append(1)
        if len(steps) == self.steps + 3:
            raise KeyboardInterrupt
        return step(self, inputs, target)

    with monkeypatch.context() as patched:
        patched.setattr(learning.Learner, "step", step_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run_whole(made, workdir, checkpoint_seconds=0, **settings)
    return run_whole(made, workdir, checkpoint_seconds=0, **settings)


@pytest.mark.parametrize("micro_batch", [1, 4, 5, 8])
def test_a_batch_in_pieces_teaches_what_the_whole_batch_teaches(made, tmp_path, micro_batch):
    plain = {"batch_norm": False, "dropout": 0.0}
    whole, pieces = (
        {s[:3]: s.value for s in run_whole(made(micro_batch=one, **plain), tmp_path / str(one))[0]}
        for one in (None, micro_batch)
    )
    assert pieces == pytest.approx(whole, rel=1e-4, abs=1e-5)


def test_pieces_are_even_and_of_all_ranks():
    budget = Budget(image_size=16, epochs=1, batch=9, micro_batch=4)
    pieces = cut(range(9), budget.pieces(9))
    assert pieces == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert [Ranks(1, 2).share(piece) for piece in pieces] == [[1, 2], [4, 5], [7, 8]]
    for size in range(1, 20):
        for micro_batch in range(1, size + 3):
            pieces = cut(range(size), Budget(image_size=16, epochs=1, batch=99, micro_batch=micro_batch).pieces(size))
            assert [example for piece in pieces for example in piece] == list(range(size))
            assert max(map(len, pieces)) <= micro_batch


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"batch": 8, "micro_batch": 8}, "micro_batch: it must be below batch, 8, or it changes nothing: leave it out"),
        ({"batch": 8, "micro_batch": 3, "processes": 3}, "pieces of 2 examples (micro_batch) cannot be shared by so"),
    ],
)
def test_pieces_that_make_no_sense_are_refused(sweep_file, budget, said):
    with pytest.raises(SweepFileError, match=re.escape(said)):
        spec.load(sweep_file(budgets={"b": {"image_size": 16, "epochs": 1} | budget}))


def test_an_id_knows_of_pieces_only_where_there_are_some(made):
    assert "micro_batch" not in made()._of_budget(), "the ids of trials that have run would change"
    assert made(micro_batch=4)._of_budget()["micro_batch"] == 4


def test_a_trial_that_ran_out_of_memory_is_told_of_pieces(made, tmp_path):
    ledger = Ledger.open(tmp_path / "results")
    for micro_batch, said in ((None, "9 examples went through .* a micro_batch of 4"), (1, "one by one already")):
        dying = made(micro_batch=micro_batch, out_of_memory_at=1)
        assert execute(dying, ledger, Settings(), commit="") == "out of memory"
        assert re.search(said, ledger.record(dying.id, "failed.json")["message"])
    assert execution._less_memory(made(micro_batch=2).budget).endswith(
        "give the budget a micro_batch of 1, which learns from the same batch in pieces."
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("sgd", [True, False])
def test_a_trial_in_sixteen_bits_learns_and_goes_on_to_the_same_numbers(made, tmp_path, monkeypatch, precision, sgd):
    one = made(sgd=sgd, micro_batch=5)
    whole = run_whole(one, tmp_path / "whole", precision=precision)
    losses = [score.value for score in whole[0] if score.split == "train"]
    assert losses[1] < losses[0]
    again = stopped_within_an_epoch(one, tmp_path / "stopped", monkeypatch, precision=precision)
    assert again[0] == whole[0]
    for fact in ("weights_sha256", "precision", "skipped_steps"):
        assert again[1][fact] == whole[1][fact]
    assert whole[1]["precision"] == precision


@pytest.mark.parametrize(("precision", "short"), [("float32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_precision_is_that_of_products_and_not_of_weights(made, tmp_path, precision, short):
    with autocast(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (short or torch.float32)
    learner = learner_of(made(), tmp_path, precision=precision)
    learner.step({"image": torch.rand(9, 3, 16, 16)}, torch.zeros(9, dtype=torch.int64))
    assert {parameter.dtype for parameter in learner.method.parameters()} == {torch.float32}


def test_gradients_that_do_not_fit_fp16_leave_the_step_out_and_are_counted(made, tmp_path):
    learner = learner_of(made(), tmp_path, precision="fp16")
    image, target = {"image": torch.rand(9, 3, 16, 16)}, torch.arange(9) % 4
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    before = [parameter.clone() for parameter in learner.method.parameters()]
    loss = learner.step(image, target)
    assert loss.isfinite(), "the loss itself is not scaled"
    assert learner.skipped_steps == 1
    assert all(torch.equal(one, two) for one, two in zip(before, learner.method.parameters(), strict=True))
    kept = learner.state_dict()
    learner.scaler.update(1.0)
    learner.step(image, target)
    assert learner.skipped_steps == 1
    assert not all(torch.equal(one, two) for one, two in zip(before, learner.method.parameters(), strict=True))
    other = learner_of(made(), tmp_path / "other", precision="fp16")
    other.load_state_dict(kept)
    assert other.skipped_steps == 1
    assert other.scaler.get_scale() == 2.0**99


def test_a_trial_may_go_on_in_another_precision(made, tmp_path):
    learner_of(made(), tmp_path, precision="fp16").load_state_dict(learner_of(made(), tmp_path).state_dict())
    learner_of(made(), tmp_path).load_state_dict(learner_of(made(), tmp_path, precision="fp16").state_dict())


@pytest.mark.parametrize(("cpus", "asked", "threads"), [(1, None, 1), (2, None, 2), (2, 1, 1), (1, 3, 3)])
def test_a_trial_computes_with_the_threads_that_it_is_given(sweep_file, tmp_path, cpus, asked, threads):
    budget = {"image_size": 16, "epochs": 1, "cpus": cpus}
    made = spec.load(sweep_file(budgets={"b": budget})).trials[0]
    before = torch.get_num_threads()
    try:
        _, facts = run_whole(made, tmp_path, cpu_threads=asked)
        assert (torch.get_num_threads(), facts["cpu_threads"]) == (threads, threads)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("gpus", "fraction"), [(0.25, 0.25), (1, 1.0), (4, 1.0), (None, 1.0)])
def test_a_fraction_of_a_gpu_is_a_fraction_of_its_memory(sweep_file, monkeypatch, gpus, fraction):
    told = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", told.append)
    made = spec.load(sweep_file(budgets={"b": {"image_size": 16, "epochs": 1, "gpus": gpus}})).trials[0]
    trial._share_memory(made, torch.device("cuda"))
    trial._share_memory(made, CPU)
    assert told == [fraction]


def test_a_method_that_cannot_be_compiled_trains_as_it_is_and_says_so(made, tmp_path, monkeypatch):
    heard = []

    def fail(**inputs):
        torch.rand(3)
        raise torch._dynamo.exc.BackendCompilerFailed(fail, RuntimeError("no compiler here"), None)

    def compile_badly(method, **options):
        method._compiled_call_impl = fail

    whole, facts = run_whole(made(), tmp_path / "plain")
    monkeypatch.setattr(torch.nn.Module, "compile", compile_badly)
    again, told = run_whole(
        made(), tmp_path / "compiled", lambda event, **what: heard.append((event, what)), compile=True
    )
    assert again == whole
    assert told["weights_sha256"] == facts["weights_sha256"]
    assert told["compiled"] is False
    [(_, said)] = [one for one in heard if one[0] == "not compiled"]
    assert re.search("BackendCompilerFailed: .*no compiler here", said["why"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_trial_learns_the_same_and_goes_on_to_its_own_numbers(made, tmp_path, monkeypatch):
    plain, _ = run_whole(made(), tmp_path / "plain")
    whole, facts = run_whole(made(), tmp_path / "whole", compile=True)
    assert facts["compiled"] is True
    assert [score[:3] for score in whole] == [score[:3] for score in plain]
    assert whole[0].value == pytest.approx(plain[0].value, rel=0.05), "a compiled dropout draws other numbers"
    again = stopped_within_an_epoch(made(), tmp_path / "stopped", monkeypatch, compile=True)
    assert (again[0], again[1]["weights_sha256"]) == (whole, facts["weights_sha256"])
    names = [torch.load(tmp_path / way / "weights.pt", weights_only=True)["model"].keys() for way in ("plain", "whole")]
    assert names[0] == names[1]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_no_step_waits_for_the_gpu(made, tmp_path, precision):
    learner = learner_of(made(micro_batch=5), tmp_path, precision=precision, device="cuda")
    image, target = {"image": torch.rand(9, 3, 16, 16, device="cuda")}, torch.zeros(9, dtype=torch.int64, device="cuda")
    learner.step(image, target)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            learner.step(image, target)
    finally:
        torch.cuda.set_sync_debug_mode("default")
