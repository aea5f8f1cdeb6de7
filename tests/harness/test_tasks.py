"""What a task makes of a head's numbers, how it scores them, and gaze from the sweep file to the report."""

import pandas as pd
import pytest
import torch

from zoombench.harness.tasks import Classification, Gaze, Task

SCREEN = (-10.0, -15.0, 8.0, 1.0)
POINTS = torch.tensor([[1.0, 2.0], [0.0, 0.0], [-3.0, 4.0]])
TARGETS = torch.tensor([[4.0, 6.0], [0.0, 0.0], [-3.0, 3.0]])


@pytest.mark.parametrize("task", [Gaze(), Gaze(screen=SCREEN), Classification(classes=3)])
def test_a_task_keeps_the_protocol(task):
    assert isinstance(task, Task)
    assert task.answer(torch.zeros(4, task.outputs)).shape == (4, task.outputs)


def test_without_a_screen_the_numbers_are_the_centimetres():
    assert torch.equal(Gaze().answer(POINTS), POINTS)


def test_a_screen_holds_every_answer_and_is_reached_everywhere():
    numbers = torch.tensor([[-50.0, -50.0], [0.0, 0.0], [50.0, -50.0], [50.0, 50.0]])
    corners = torch.tensor([[-10.0, -15.0], [-1.0, -7.0], [8.0, -15.0], [8.0, 1.0]])
    torch.testing.assert_close(Gaze(screen=SCREEN).answer(numbers), corners)


def test_with_a_screen_an_answer_grows_with_its_own_number_alone():
    numbers = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.functional.jacobian(Gaze(screen=SCREEN).answer, numbers)[0, :, 0]
    torch.testing.assert_close(slopes, torch.tensor([[18 / 4, 0], [0, 16 / 4]], dtype=torch.float64))


@pytest.mark.parametrize("screen", [None, SCREEN])
def test_an_answer_has_at_least_single_precision(screen):
    task = Gaze(screen=screen)
    assert task.answer(POINTS.bfloat16()).dtype == torch.float32
    assert task.answer(POINTS.double()).dtype == torch.float64
    # Two numbers next to each other in bfloat16 near zero: in bfloat16 their points on the screen would be the same.
    numbers = torch.tensor([[0.01, 0.01], [0.0101, 0.0101]]).bfloat16()
    assert numbers[0, 0] != numbers[1, 0]
    assert (task.answer(numbers)[0] != task.answer(numbers)[1]).all()


def test_gaze_trains_on_squares_of_coordinates_and_is_judged_by_distance():
    assert Gaze().loss(POINTS, TARGETS).item() == pytest.approx((9 + 16 + 0 + 0 + 0 + 1) / 6)
    columns = Gaze().judge(POINTS, TARGETS)
    assert columns["score"].tolist() == pytest.approx([5, 0, 1])
    assert columns["target_x"].tolist() == [4, 0, -3]
    assert columns["target_y"].tolist() == [6, 0, 3]
    assert columns["prediction_x"].tolist() == [1, 0, -3]
    assert columns["prediction_y"].tolist() == [2, 0, 4]
    assert (Gaze.metric.name, Gaze.metric.unit, Gaze.metric.higher_is_better) == ("error", "cm", False)


def test_the_distance_does_not_change_when_points_are_turned_or_moved():
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    moved = Gaze().judge(POINTS @ turn + 7, TARGETS @ turn + 7)["score"]
    torch.testing.assert_close(moved, Gaze().judge(POINTS, TARGETS)["score"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("screen", [(0, 0, 0, 5), (3, 0, 1, 5), (0, 5, 4, 5), (0, 5, 4, 1)])
def test_a_screen_without_area_is_refused(screen):
    with pytest.raises(ValueError, match=r"screen is \(.*\): expected x0 < x1 and y0 < y1, in centimetres"):
        Gaze(screen=screen)


def test_classification_judges_by_the_largest_logit():
    logits, target = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]]), torch.tensor([0, 1])
    columns = Classification(classes=3).judge(logits, target)
    assert columns["score"].tolist() == [1, 0]
    assert columns["prediction"].tolist() == [0, 2]
    assert columns["probability"].tolist() == pytest.approx(logits.softmax(dim=1).amax(dim=1).tolist())


def test_a_sweep_of_gaze_ends_in_centimetres_in_table_and_report(sweep_file, zoombench, tmp_path):
    dataset = {"canvas": 56, "eye": 8, "train_examples": 64, "validation_examples": 8, "test_examples": 24}
    path = sweep_file(
        reference="uniform",
        methods={"uniform": {}, "oracle_crop": {}, "itracker": {}},
        datasets={"synthetic_gaze": dataset},
        budgets={"b": {"image_size": 8, "epochs": 1, "batch": 32}},
        seeds=2,
    )
    ran = zoombench("run", path, "--serial")
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "results" / "sweeps" / "small"
    table = pd.read_csv(folder / "results.csv")
    assert len(table) == 6
    assert set(table.status) == {"done"}
    assert set(zip(table.metric, table.unit, table.higher_is_better, strict=True)) == {("error", "cm", False)}
    assert set(table[~table.competes].method) == {"oracle_crop"}
    assert table.value.between(0, 25).all(), "no point of the screen is further from another"
    for row in table.itertuples():
        predictions = pd.read_parquet(tmp_path / "results" / "trials" / row.trial_id / "predictions.parquet")
        assert len(predictions) == 24
        assert predictions.score.mean() == pytest.approx(row.value)
    page = (folder / "report.html").read_text()
    assert "cm, lower is better" in page
    assert "itracker: is given crops of the face and of both eyes" in page
