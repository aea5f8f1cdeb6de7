"""The papers' tables: whole, typed, and matched by name."""

import pytest

from zoombench.reports.claims import cells
from zoombench.reports.published import DISTANCES, beside, numbers
from zoombench.reports.table import from_rows


def test_every_number_is_a_number_with_a_unit_a_direction_and_a_distance():
    listed = numbers()
    assert {number.paper for number in listed} == {
        "Recasens et al. 2018",
        "Ramapuram et al. 2019",
        "Thavamani et al. 2023",
    }
    for number in listed:
        float(number.value)
        assert number.spread == "" or float(number.spread) > 0
        assert number.higher_is_better in ("true", "false")
        assert number.unit
        assert number.distance in DISTANCES
        assert number.protocol
    keys = [(n.paper, n.table, n.dataset, n.method, n.budget, n.metric, n.note) for n in listed]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("paper", "table", "count"),
    [
        ("Recasens et al. 2018", "1", 7 * 2),
        ("Recasens et al. 2018", "2", 7 * 2),
        ("Recasens et al. 2018", "3", 4 * 2),
        ("Recasens et al. 2018", "4", 4),
        ("Recasens et al. 2018", "text", 2 * 2),
        ("Ramapuram et al. 2019", "1", 26),
        ("Ramapuram et al. 2019", "text", 2),
        ("Thavamani et al. 2023", "1", 14 * 7),
        ("Thavamani et al. 2023", "2", 4 * 16),
        ("Thavamani et al. 2023", "4", 5 * 3 + 1),
        ("Thavamani et al. 2023", "5", 8 * 8),
    ],
)
def test_every_table_is_whole(paper, table, count):
    assert len([n for n in numbers() if (n.paper, n.table) == (paper, table)]) == count


def test_some_numbers_are_as_printed():
    def printed(**wanted):
        (found,) = [n for n in numbers() if all(getattr(n, key) == value for key, value in wanted.items())]
        return found.shown

    assert printed(table="4", dataset="CUB-200", method="ResNet-50 + saliency sampler") == "84.5%"
    assert printed(dataset="GazeCapture, iPhone", method="AlexNet + saliency sampler") == "2.03 cm"
    assert printed(table="1", method="LZU fixed", budget="1x", metric="AP") == "32.6%"
    assert printed(table="5", method="LZU fixed", budget="1x", metric="mATE") == "84.6 hundredths"
    assert printed(method="variational saccading", metric="time per epoch", budget="100 px") == "37 s"


def test_ours_stands_beside_the_papers_of_the_same_data_method_and_metric(made):
    rows = [
        made.row(method, seed, 0.8 + 0.01 * seed, dataset="cub_200", budget="224px")
        for method in ("uniform", "saliency_sampler")
        for seed in range(3)
    ]
    same, *others = beside(cells(from_rows(rows), "uniform"))
    assert (same.title, same.same_data) == ("Recasens et al. 2018, table 4", True)
    ours = {number.method: text for number, text in same.rows}
    assert ours["ResNet-50 + saliency sampler"] == "81.00% [78.52, 83.48], n = 3 (224px)"
    assert ours["DT-RAM"] == ""
    assert not any(other.same_data for other in others)
    assert all(text == "" for other in others for _, text in other.rows)


def test_a_score_of_one_digit_stands_beside_no_number_of_two(made):
    rows = [
        made.row(method, seed, 0.8 + 0.01 * seed, dataset="cluttered_digits", budget="16px")
        for method in ("uniform", "spatial_transformer")
        for seed in range(3)
    ]
    shown = [pair for table in beside(cells(from_rows(rows), "uniform")) for pair in table.rows]
    two = [(number, ours) for number, ours in shown if "two-digit" in number.dataset]
    assert len(two) == 10
    assert all((number.distance, ours) == ("none", "") for number, ours in two)
    assert [ours for number, ours in shown if number.method == "localized spatial transformer"] == [
        "81.00% [78.52, 83.48], n = 3 (16px)"
    ]


def test_a_table_of_strangers_has_nothing_beside_it(made):
    assert beside(cells(from_rows([made.row("a"), made.row("b", value=0.6)]), "a")) == ()
