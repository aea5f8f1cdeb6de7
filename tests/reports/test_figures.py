"""Figures: deterministic, readable by everybody, no label on another."""

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoombench.reports import figures
from zoombench.reports.claims import cells
from zoombench.reports.labels import label_points, spread
from zoombench.reports.svg import INK, new_figure, style
from zoombench.reports.table import from_rows


def trade_off(cell, styles, *, prefix):
    return figures.trade_off(cell, styles, figures.COST_AXES[0], prefix=prefix)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#171b1f"])
def test_every_colour_can_be_seen_on_light_and_on_dark(paper):
    assert all(contrast(colour, paper) >= 3 for colour in (*figures.COLOURS, figures.GREY))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100), max_size=12), st.floats(0.1, 20))
def test_spread_keeps_the_gap_and_the_order(positions, gap):
    placed = spread(positions, gap)
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    steps = np.diff([placed[i] for i in order])
    assert (steps >= gap - 1e-6).all()


def test_spread_stays_in_its_range_while_there_is_room():
    placed = spread([9.9, 9.8, 10.0, 0.1], 1.0, low=0.0, high=10.0)
    assert placed == pytest.approx([9.0, 8.0, 10.0, 0.1])


def test_spread_leaves_alone_what_is_far_apart():
    assert spread([1.0, 9.0, 5.0], 2.0) == [1.0, 9.0, 5.0]


@pytest.mark.parametrize("seed", range(3))
def test_no_label_covers_another_label(seed):
    rng = np.random.default_rng(seed)
    with style():
        axes = new_figure(6, 4.5).add_subplot()
        points = [(float(x), float(y)) for x, y in rng.uniform(0.3, 0.7, size=(8, 2))]
        axes.set(xlim=(0, 1), ylim=(0, 1))
        notes = label_points(axes, points, [f"method_{i}" for i in range(8)], ink=INK)
        boxes = [note.get_window_extent(axes.figure.canvas.get_renderer()) for note in notes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_figures_leave_global_settings_alone_and_repeat_their_bytes(made):
    before = dict(mpl.rcParams)
    found = cells(from_rows(made.sweep()), "uniform")
    styles = figures.looks(found)
    for draw in (figures.scores, figures.forest, trade_off):
        assert draw(found[0], styles, prefix="a") == draw(found[0], styles, prefix="a")
    assert dict(mpl.rcParams) == before


def test_a_figure_uses_the_page_ink_and_its_own_ids(made):
    found = cells(from_rows(made.sweep()), "uniform")
    svg = figures.scores(found[0], figures.looks(found), prefix="mine")
    assert "currentColor" in svg
    assert INK not in svg
    assert ' id="' in svg
    assert all(part.startswith("mine-") for part in svg.split(' id="')[1:])


def test_marks_of_a_method_carry_its_number_and_no_id(made):
    found = cells(from_rows(made.sweep()), "uniform", order=("uniform", "saliency_sampler"))
    svg = figures.forest(found[0], figures.looks(found), prefix="a")
    numbers = [int(part.split('"')[0]) for part in svg.split('data-m="')[1:]]
    assert set(numbers) == {1, 2, 3}  # the reference has no row
    assert "method-" not in svg


def test_methods_keep_the_order_that_they_were_given(made):
    found = cells(from_rows(made.sweep()), "uniform", order=("oracle_crop", "saliency_sampler", made.hostile))
    assert list(figures.looks(found)) == ["uniform", "saliency_sampler", made.hostile, "oracle_crop"]


def test_training_costs_are_those_of_one_trial(made):
    rows = [made.row("uniform", seed, 0.5 + 0.01 * seed, gpu_hours=3.0, gflops=2.0) for seed in range(3)]
    rows.append(made.failed("uniform", 3, gpu_hours=3.0, gflops=2.0))  # its hours are no dearer for the others
    (cell,) = cells(from_rows(rows), "uniform")
    costs = {axis.key: axis.of(cell.entries[0]) for axis in figures.COST_AXES}
    assert costs == {
        "gflops": 2.0,
        "latency_ms_p50": None,
        "peak_memory_mib": None,
        "gpu_hours": 3.0,
        "train_seconds": None,
    }


def test_an_infinite_cost_is_left_off_the_axis(made):
    rows = [made.row(m, s, 0.5 + 0.01 * s, gflops=g) for m, g in (("uniform", 1.0), ("new", np.inf)) for s in range(3)]
    found = cells(from_rows(rows), "uniform")
    svg = trade_off(found[0], figures.looks(found), prefix="a")
    assert ">uniform<" in svg
    assert ">new<" not in svg


@pytest.mark.parametrize(("low", "high"), [(0.0017, 0.0098), (0.9, 1.2), (1.0, 4000.0), (1e-3, 1e9), (2.0, 2.1)])
def test_a_log_axis_has_a_few_round_ticks(low, high):
    ticks = figures._ticks(low, high)
    assert len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)
    assert ticks or high / low < 1.5


def test_a_name_with_many_decimals_keeps_them(made):
    found = cells(from_rows([made.row("uniform"), made.row("lr 0.12345", value=0.6)]), "uniform")
    assert ">lr 0.12345<" in figures.scores(found[0], figures.looks(found), prefix="a")


def test_an_upper_bound_is_hollow_and_the_rest_differ_by_marker(made):
    styles = figures.looks(cells(from_rows(made.sweep()), "uniform"))
    assert [name for name, look in styles.items() if look.hollow] == ["oracle_crop"]
    assert len({look.marker for look in styles.values() if not look.hollow}) == 3


def test_the_front_is_stepped_and_never_slanted(made):
    from matplotlib.figure import Figure

    drawn = []
    original = Figure.savefig
    found = cells(from_rows(made.sweep()), "uniform")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), original(self, *a, **k))[1])
        trade_off(found[0], figures.looks(found), prefix="a")
    fronts = [line for axes in drawn[0].axes for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert len(fronts) == 1


def test_without_costs_or_scores_there_is_no_figure(made):
    found = cells(from_rows([made.row(s, 0, None, status="missing") for s in ("uniform", "new")]), "uniform")
    styles = figures.looks(found)
    assert [draw(found[0], styles, prefix="a") for draw in (figures.scores, figures.forest, trade_off)] == [None] * 3


def test_free_methods_are_left_off_the_log_axis(made):
    rows = [made.row(m, s, 0.5 + 0.01 * s, gflops=g) for m, g in (("uniform", 0.0), ("new", 1.0)) for s in range(3)]
    found = cells(from_rows(rows), "uniform")
    assert trade_off(found[0], figures.looks(found), prefix="a") is not None
