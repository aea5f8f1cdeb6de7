"""What becomes of a trial whose data hold files that cannot be read."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from zoombench.harness import spec, trial
from zoombench.harness.bad_files import Skipped, Skipping
from zoombench.harness.errors import BadFile, DataError
from zoombench.harness.sweepfile import Data, Settings

SKIP = Settings(data=Data(on_bad_file="skip"))


@pytest.fixture
def finished(sweep_file, tmp_path):
    """A trial of one epoch on the examples that a dataset holds; its facts, predictions and notes."""

    def run(settings=SKIP, folder="trial", methods=None, batch=64, processes=1, **config):
        budget = {"image_size": 16, "epochs": 1, "batch": batch, "gpus": 0, "processes": processes}
        file = sweep_file(methods=methods or {"tiny": {}}, datasets={"holes": config}, budgets={"b": budget})
        notes = []
        workdir = tmp_path / folder
        scores = list(
            trial.run(spec.load(file).trials[0], workdir, settings, lambda event, **facts: notes.append((event, facts)))
        )
        facts = json.loads((workdir / "facts.json").read_text())
        return scores, facts, pq.read_table(workdir / "predictions.parquet").to_pydict(), dict(notes)

    return run


def test_a_bad_file_ends_the_trial_unless_it_is_told_to_skip(finished):
    with pytest.raises(BadFile, match=r"test/7.jpg: not readable as an image"):
        finished(Settings(), test="7")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_test_file_is_left_out_counted_and_named(finished, workers):
    settings = Settings(data=Data(on_bad_file="skip"), workers=workers)
    scores, facts, predictions, notes = finished(settings, test="7")
    assert facts["n_test"] == 999
    assert facts["bad_files"] == 1
    assert notes["bad files"] == {"skipped": ["test/7.jpg: not readable as an image"]}
    assert predictions["example"] == [index for index in range(1000) if index != 7]
    assert predictions["name"] == [f"test {index}" for index in range(1000) if index != 7]
    assert scores[-1].value == pytest.approx(sum(predictions["score"]) / 999)


def test_the_other_examples_have_the_answers_that_they_have_without_it(finished):
    _, facts, whole, _ = finished(folder="whole")
    assert (facts["n_test"], facts["bad_files"]) == (1000, 0)
    _, _, predictions, _ = finished(folder="skipping", test="7")
    for name, column in predictions.items():
        assert column == [value for index, value in enumerate(whole[name]) if index != 7], name


def test_every_method_is_scored_on_the_same_examples(finished):
    examples = [
        finished(methods={"uniform": {}}, folder="other", test="999")[2]["example"],
        finished(test="999")[2]["example"],  # the last one, alone in nobody's batch; the first takes its place
    ]
    assert examples[0] == examples[1] == list(range(999))


def test_a_batch_of_bad_files_alone_is_no_batch(finished):
    _, facts, predictions, _ = finished(batch=37, test="999")
    assert facts["n_test"] == 999
    assert predictions["example"] == list(range(999))


@pytest.mark.slow
def test_several_processes_count_bad_files_together(finished):
    _, facts, predictions, _ = finished(processes=2, test="999")
    assert facts["bad_files"] == 1
    assert predictions["example"] == list(range(999))
    with pytest.raises(DataError, match="2 of 1000 train examples cannot be read"):
        finished(processes=2, folder="two", train="3,600")


def test_in_training_the_next_example_takes_the_place_of_a_bad_one(finished):
    examples = Skipping(BadAt({3, 4}, 2000))
    assert [examples[index] for index in (2, 3, 4, 5)] == [
        ({"at": 2}, 0, True),
        ({"at": 5}, 0, False),
        ({"at": 5}, 0, False),
        ({"at": 5}, 0, True),
    ]
    assert Skipping(BadAt({1999}, 2000))[1999] == ({"at": 0}, 0, False)
    _, facts, _, notes = finished(train="3")
    assert facts["bad_files"] == 1
    assert notes["bad files"] == {"skipped": ["train/3.jpg: not readable as an image"]}


@pytest.mark.parametrize("split", ["train", "test"])
def test_above_a_thousandth_the_trial_is_refused(finished, split):
    with pytest.raises(DataError, match=rf"2 of 1000 {split} examples cannot be read, above 0.1%.*The first: {split}/"):
        finished(**{split: "5,900"})


def test_one_bad_file_of_a_few_is_too_many(finished):
    with pytest.raises(DataError, match=r"1 of 100 test examples cannot be read, above 0.1%"):
        finished(test="5", examples=100)


def test_many_bad_files_in_a_row_end_the_search_for_another():
    with pytest.raises(BadFile, match=r"0\.jpg"):
        Skipping(BadAt(set(range(500)), 2000))[0]


def test_an_example_that_comes_back_is_counted_as_it_was():
    skipped = Skipped()
    skipped.note("test", 3, BadAt(set(), 2000))
    skipped.note("test", 3, BadAt(set(), 2000))
    assert skipped.count == 1
    assert skipped.named == ["example 3 of test: not readable at first, readable now"]


def test_what_was_skipped_outlives_a_kill(sweep_file, tmp_path):
    budget = {"image_size": 16, "epochs": 2, "batch": 64}
    planned = spec.load(sweep_file(datasets={"holes": {"train": "3"}}, budgets={"b": budget})).trials[0]
    started = trial.run(planned, tmp_path / "t", SKIP)
    for _ in range(4):  # both epochs, each with a loss and a validation score
        next(started)
    started.close()
    list(trial.run(planned, tmp_path / "t", SKIP))
    assert json.loads((tmp_path / "t" / "facts.json").read_text())["bad_files"] == 1


class BadAt:
    """Examples that say where they are."""

    def __init__(self, bad: set[int], count: int) -> None:
        self.bad, self.count = bad, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        if index in self.bad:
            raise BadFile(f"{Path('of') / str(index)}.jpg: not readable")
        return {"at": index}, 0
