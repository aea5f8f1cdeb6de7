"""Learning curves: the mean over the seeds that were there, a t band, and honest ends."""

import numpy as np
import pandas as pd
import pytest

from zoombench.reports import curves, figures
from zoombench.reports.claims import cells
from zoombench.reports.statistics import t_interval
from zoombench.reports.table import from_rows


def frame(rows, epochs, value, *, last=None):
    """Scores of every epoch; last names the epoch at which a seed ended."""
    return pd.DataFrame(
        [
            {k: r[k] for k in ("trial_id", "method", "dataset", "budget", "seed", "metric")}
            | {"epoch": epoch, "split": "validation", "value": value(r["method"], r["seed"], epoch)}
            for r in rows
            for epoch in range(1, epochs + 1)
            if epoch <= (last or {}).get(r["seed"], epochs)
        ]
    )


def wave(method, seed, epoch):
    return 0.5 + 0.1 * np.sin(seed + epoch) + 0.01 * len(method)


@pytest.fixture
def rows(made):
    return [
        made.row(m, s, 0.5 + 0.01 * s, gpu_hours=2.0, train_seconds=60.0) for m in ("uniform", "new") for s in range(4)
    ]


def drawn(rows, scores):
    table = from_rows(rows)
    (cell,) = cells(table, "uniform", order=("new",))
    return cell, curves.panels(scores, table, cell)


def test_a_point_is_the_mean_and_its_t_interval(rows):
    _, (panel,) = drawn(rows, frame(rows, 5, wave))
    curve = panel.curves[1]
    assert curve.method == "new"
    for place, epoch in enumerate(range(1, 6)):
        values = np.array([wave("new", seed, epoch) for seed in range(4)])
        interval = t_interval(values)
        found = (curve.mean[place], curve.low[place], curve.high[place])
        assert found == pytest.approx((values.mean(), interval.low, interval.high))


def test_the_order_of_rows_does_not_matter(rows):
    scores = frame(rows, 5, wave)
    cell, panels = drawn(rows, scores)
    _, shuffled = drawn(rows, scores.sample(frac=1, random_state=1))
    styles = figures.looks([cell])
    one, other = (curves.draw(p[0], cell, styles, by_hours=True, prefix="a") for p in (panels, shuffled))
    assert one == other


def test_a_seed_that_ended_early_is_said_and_crossed(rows):
    cell, (panel,) = drawn(rows, frame(rows, 6, wave, last={2: 3}))
    assert [curve.short for curve in panel.curves] == [frozenset({2}), frozenset({2})]
    assert panel.curves[0].n.tolist() == [4, 4, 4, 3, 3, 3]
    svg = curves.draw(panel, cell, figures.looks([cell]), by_hours=False, prefix="a")
    assert "2 seeds end early, at a cross." in svg


def test_hours_share_the_training_evenly_among_the_epochs(rows):
    _, (panel,) = drawn(rows, frame(rows, 10, wave))
    assert panel.gpu
    assert panel.curves[0].hours == pytest.approx(2.0 * np.arange(1, 11) / 10)


def test_without_a_gpu_hours_are_hours_of_training(made, rows):
    cpu = [{**row, "gpu_hours": 0.0} for row in rows]
    cell, (panel,) = drawn(cpu, frame(cpu, 10, wave))
    assert not panel.gpu
    assert panel.curves[0].hours[-1] == pytest.approx(60 / 3600)
    svg = curves.draw(panel, cell, figures.looks([cell]), by_hours=True, prefix="a")
    assert "hours of training of one trial" in svg


def test_without_times_there_is_no_plot_over_hours(made):
    rows = [made.row("uniform", s, 0.5) for s in range(3)]
    cell, (panel,) = drawn(rows, frame(rows, 4, wave))
    styles = figures.looks([cell])
    assert curves.draw(panel, cell, styles, by_hours=True, prefix="a") is None
    assert curves.draw(panel, cell, styles, by_hours=False, prefix="a") is not None


def test_many_epochs_are_thinned_and_keep_both_ends(rows):
    _, (panel,) = drawn(rows, frame(rows, 1000, wave))
    assert len(panel.curves[0].epochs) == curves.MOST_POINTS
    assert panel.curves[0].epochs[[0, -1]].tolist() == [1, 1000]


def test_the_cells_metric_comes_first_and_values_that_are_not_finite_are_left_out(rows):
    scores = frame(rows, 4, wave)
    loss = scores.assign(metric="loss", split="train", value=np.inf)
    _, panels = drawn(rows, pd.concat([loss, scores]))
    assert [(panel.metric, panel.split) for panel in panels] == [("accuracy", "validation")]


def test_of_many_seeds_some_are_drawn_and_all_are_in_the_mean(made):
    rows = [made.row(m, s, 0.5) for m in ("uniform", "new") for s in range(63)]
    cell, (panel,) = drawn(rows, frame(rows, 3, wave))
    assert panel.curves[1].n.tolist() == [63] * 3
    svg = curves.draw(panel, cell, figures.looks([cell]), by_hours=False, prefix="a")
    (thin, _) = (path for path in svg.split("<path") if 'stroke-opacity="0.35"' in path)
    assert thin.count("M") == 16  # every fourth: the smallest step with at most MOST_SEEDS
