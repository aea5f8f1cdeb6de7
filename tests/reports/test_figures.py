"""Figures: deterministic, readable by everybody, no label on another."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoombench.reports import figures, svg
from zoombench.reports.claims import cells
from zoombench.reports.labels import label_points, spread
from zoombench.reports.page import About, render
from zoombench.reports.svg import Look, Plot, Scale, around, round_ticks, text_width
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
def test_no_label_covers_another_label_or_a_point(seed):
    points = [tuple(point) for point in np.random.default_rng(seed).uniform(120, 300, size=(8, 2)).tolist()]
    labels = label_points(points, [(48.0, 11.0)] * 8, frame=(0.0, 0.0, 430.0, 320.0))
    boxes = [label.box for label in labels]
    assert not any(shares(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not any(shares(box, (x - 5, y - 5, x + 5, y + 5)) for box in boxes for x, y in points)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 430 and box[3] <= 320 for box in boxes)


def shares(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 1e-6 and min(a[3], b[3]) - max(a[1], b[1]) > 1e-6


def test_a_label_keeps_off_what_is_in_its_way_and_points_back_from_afar():
    (beside,) = label_points([(50.0, 50.0)], [(40.0, 11.0)], frame=(0.0, 0.0, 200.0, 100.0))
    assert (beside.box[0] > 50, beside.leader) == (True, None)
    wall = [(40.0, 30.0, 120.0, 70.0), (0.0, 30.0, 60.0, 70.0)]
    (away,) = label_points([(50.0, 50.0)], [(40.0, 11.0)], frame=(0.0, 0.0, 200.0, 100.0), obstacles=wall)
    assert not any(shares(away.box, one) for one in wall)
    assert away.leader is not None


finite = st.floats(-1e300, 1e300)


@settings(max_examples=200, deadline=None)
@given(st.lists(finite, min_size=1, max_size=5))
def test_every_axis_has_a_few_ticks_within_it_that_read_as_they_stand(values):
    low, high = around([values])
    assert low < min(values) + 1e-9 * abs(min(values)) + 1e-300
    assert low < high
    ticks = round_ticks(low, high, 6)
    assert 2 <= len(ticks) <= 8
    assert low <= ticks[0] + 1e-6 * (high - low)
    assert ticks[-1] <= high + 1e-6 * (high - low)
    scale = Scale(low, high, 0.0, 100.0)
    assert all(-1e-3 <= pixel <= 100.001 for pixel in scale(ticks))
    texts = svg._numbers(ticks, log=False)
    assert len(set(texts)) == len(texts)
    assert [float(text.replace("−", "-")) for text in texts] == pytest.approx(ticks, abs=1e-3 * (ticks[1] - ticks[0]))


def test_ticks_and_ranges_of_plain_numbers():
    assert svg._numbers(round_ticks(-30, 68, 6), log=False) == ["−20", "0", "20", "40", "60"]
    assert svg._numbers(round_ticks(0.925, 0.942, 5), log=False) == ["0.925", "0.930", "0.935", "0.940"]
    assert svg._numbers([0.0015, 0.01, 1000.0], log=True) == ["0.0015", "0.01", "1000"]
    assert around([[1.0, np.nan], [3.0, np.inf]], margin=0.5) == (0.0, 4.0)
    assert around([[0.0, 0.0]]) == (-0.05, 0.05)
    assert around([]) == (0.0, 1.0)


def test_text_is_as_wide_as_in_the_font_of_the_page():
    assert text_width("saliency_sampler", 10) == pytest.approx(85.5, abs=1)  # DejaVu Sans, measured by FreeType
    assert text_width("視線", 10) == 20


def test_a_line_is_broken_by_nan_and_a_band_by_its_lack():
    look = Look("#0072B2", "o", hollow=False, place=3)
    plot = Plot(100, 100, x=Scale(0, 4, 0, 100), y=Scale(0, 1, 100, 0))
    y = np.array([0.0, 1.0, np.nan, 0.5, 0.5])
    plot.line(range(5), y, look)
    plot.area(range(5), y - 0.1, y + 0.1, look, opacity=0.2)
    line, band = re.findall(r' d="([^"]*)"', plot.svg(prefix="a", title="", description=""))
    assert line == "M0.0 100.0L25.0 0.0M75.0 50.0L100.0 50.0"
    assert (band.count("M"), band.count("z")) == (2, 2)


def test_figures_repeat_their_bytes_and_are_well_formed(made):
    found = cells(from_rows(made.sweep()), "uniform")
    styles = figures.looks(found)
    for draw in (figures.scores, figures.forest, trade_off):
        drawn = draw(found[0], styles, prefix="a")
        assert drawn == draw(found[0], styles, prefix="a")
        ElementTree.fromstring(drawn)


def test_a_figure_uses_the_page_ink_and_its_own_ids(made):
    found = cells(from_rows(made.sweep()), "uniform")
    drawn = figures.scores(found[0], figures.looks(found), prefix="mine")
    assert "currentColor" in drawn
    assert re.findall(r' id="([^"]*)"', drawn) == ["mine-title", "mine-desc"]
    assert 'aria-labelledby="mine-title mine-desc"' in drawn


def test_marks_of_a_method_carry_its_number_and_no_id(made):
    found = cells(from_rows(made.sweep()), "uniform", order=("uniform", "saliency_sampler"))
    drawn = figures.forest(found[0], figures.looks(found), prefix="a")
    numbers = [int(part.split('"')[0]) for part in drawn.split('data-m="')[1:]]
    assert set(numbers) == {1, 2, 3}  # the reference has no row


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
        "energy_j": None,
        "gpu_hours": 3.0,
        "train_seconds": None,
    }


def test_an_infinite_cost_is_left_off_the_axis(made):
    rows = [made.row(m, s, 0.5 + 0.01 * s, gflops=g) for m, g in (("uniform", 1.0), ("new", np.inf)) for s in range(3)]
    found = cells(from_rows(rows), "uniform")
    drawn = trade_off(found[0], figures.looks(found), prefix="a")
    assert ">uniform<" in drawn
    assert ">new<" not in drawn


@pytest.mark.parametrize(("low", "high"), [(0.0017, 0.0098), (0.9, 1.2), (1.0, 4000.0), (1e-3, 1e9), (2.0, 2.1)])
def test_a_log_axis_has_a_few_round_ticks(low, high):
    ticks = figures.log_ticks(low, high)
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


def test_the_best_methods_by_mean_rank_get_the_colours_and_the_rest_is_grey(made):
    places = {f"m{i}": i for i in range(7)}
    rows = [
        made.row(name, s, round((0.6 + (0.02 * i) * sign + 0.001 * s), 4), dataset=dataset)
        for name, i in places.items()
        for dataset, sign in (("a", 1), ("b", 1), ("c", -1))
        for s in range(3)
    ]
    rows += [made.row("uniform", s, 0.5, dataset=d) for d in "abc" for s in range(3)]
    styles = figures.looks(cells(from_rows(rows), "uniform"))
    assert [name for name, look in styles.items() if look.colour == figures.GREY] == ["m0", "m1", "m2"]
    assert [styles[f"m{i}"].colour for i in range(3, 7)] == list(figures.COLOURS)
    upside = [{**row, "higher_is_better": False} for row in rows]
    styles = figures.looks(cells(from_rows(upside), "uniform"))
    assert [name for name, look in styles.items() if look.colour == figures.GREY] == ["m4", "m5", "m6"]


def test_a_method_without_scores_ranks_last_and_ties_go_by_the_order_of_the_page(made):
    rows = [made.row(name, 0, 0.5) for name in ("uniform", "d", "c", "b", "a")] + [made.failed("first", 0)]
    styles = figures.looks(cells(from_rows(rows), "uniform", order=("first", "d", "c", "b", "a")))
    assert styles["first"].colour == figures.GREY
    assert [styles[name].colour for name in "dcba"] == list(figures.COLOURS)


def test_the_front_is_stepped_and_never_slanted(made):
    found = cells(from_rows(made.sweep()), "uniform")
    drawn = trade_off(found[0], figures.looks(found), prefix="a")
    (front,) = re.findall(r'd="([^"]*)"[^>]*stroke-dasharray', drawn)
    assert re.fullmatch(r"M[\d.]+ [\d.]+(H[\d.]+V[\d.]+)+H[\d.]+", front)


def test_without_costs_or_scores_there_is_no_figure(made):
    found = cells(from_rows([made.row(s, 0, None, status="missing") for s in ("uniform", "new")]), "uniform")
    styles = figures.looks(found)
    assert [draw(found[0], styles, prefix="a") for draw in (figures.scores, figures.forest, trade_off)] == [None] * 3


def test_energy_is_an_axis_with_its_interval_where_it_was_measured_and_nowhere_else(made):
    rows = [
        made.row(m, s, 0.5 + 0.01 * s, energy_j=e * (1 + 0.1 * s), gpu_hours=0.0)
        for m, e in (("uniform", 2.0), ("new", 3.0))
        for s in range(3)
    ]
    axes = {axis.key: axis for axis in figures.COST_AXES}
    (cell,) = cells(from_rows(rows), "uniform")
    assert [key for key, axis in axes.items() if figures.priced(cell, axis)] == ["energy_j"]
    logs = np.log([2.0, 2.2, 2.4])
    half = stats.t.isf(0.025, 2) * logs.std(ddof=1) / np.sqrt(3)
    interval = cell.entry("uniform").cost.intervals["energy_j"]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.exp(logs.mean() + np.array([-half, half]))))
    assert cell.entry("uniform").cost.energy_j == pytest.approx(2.2)
    drawn = figures.trade_off(cell, figures.looks([cell]), axes["energy_j"], prefix="a")
    assert "energy of one image in joules" in drawn
    table = from_rows(rows)
    page = render(table, About("s", "uniform", command="", resolved="", versions={}, commit=""))
    assert "Plot of score against energy" in page
    assert "energy, J [95%]" in page
    told = re.sub(r"href=\"[^\"]*\"", "", page)
    assert "gpu_hours" not in told
    assert "× the GPU-hours" not in told  # 0 hours are no axis
    bare = render(
        table.assign(energy_j=pd.NA).astype({"energy_j": "Float64"}),
        About("s", "uniform", command="", resolved="", versions={}, commit=""),
    )
    assert "energy" not in re.sub(r"href=\"[^\"]*\"", "", bare)


def test_gpu_hours_are_an_axis_and_seconds_then_are_not(made):
    rows = [
        made.row(m, s, 0.5 + 0.01 * s, gpu_hours=h + 0.1 * s, train_seconds=3600 * (h + 0.1 * s))
        for m, h in (("uniform", 1.0), ("new", 0.5))
        for s in range(3)
    ]
    page = render(from_rows(rows), About("s", "uniform", command="", resolved="", versions={}, commit=""))
    assert "Plot of score against GPU-hours" in page
    assert "Plot of score against training time" not in page
    assert "× the GPU-hours" in page


def test_free_methods_are_left_off_the_log_axis(made):
    rows = [made.row(m, s, 0.5 + 0.01 * s, gflops=g) for m, g in (("uniform", 0.0), ("new", 1.0)) for s in range(3)]
    found = cells(from_rows(rows), "uniform")
    assert trade_off(found[0], figures.looks(found), prefix="a") is not None
