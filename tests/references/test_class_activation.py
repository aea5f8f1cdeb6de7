"""Class activation maps, the class that is chosen and the box against plain loops written straight from the papers."""

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.class_activation import ClassActivationNetwork, boxes_around
from zoombench.harness.budget import Budget


def loop_strongest_map(features: Tensor, weights: Tensor) -> list[list[float]]:
    """Zhou et al. 2016, eq. 2, one class and one place at a time; of the class whose map rises highest."""
    channels, rows, columns = features.shape
    f, w = features.tolist(), weights.tolist()
    best: list[list[float]] = []
    highest = -float("inf")
    for of_class in w:
        one = [[sum(of_class[k] * f[k][y][x] for k in range(channels)) for x in range(columns)] for y in range(rows)]
        peak = max(max(row) for row in one)
        if peak > highest:
            best, highest = one, peak
    return best


def loop_box(values: list[list[float]], threshold: float) -> list[float]:
    """Flood every part above the threshold, from the upper left on; the box around the first of the largest."""
    rows, columns = len(values), len(values[0])
    peak = max(max(row) for row in values)
    if peak <= 0:
        return [0, 0, 1, 1]
    unseen = {(y, x) for y in range(rows) for x in range(columns) if values[y][x] > threshold * peak}
    largest: set[tuple[int, int]] = set()
    for y in range(rows):
        for x in range(columns):
            part: set[tuple[int, int]] = set()
            edge = [(y, x)]
            while edge:
                place = edge.pop()
                if place in unseen:
                    unseen.remove(place)
                    part.add(place)
                    edge += [(place[0] + dy, place[1] + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            if len(part) > len(largest):
                largest = part
    ys, xs = [y for y, _ in largest], [x for _, x in largest]
    return [min(xs) / columns, min(ys) / rows, (max(xs) + 1) / columns, (max(ys) + 1) / rows]


def test_the_map_and_its_class_are_those_of_the_loops() -> None:
    torch.manual_seed(0)
    network = ClassActivationNetwork(5, Budget(image_size=12, epochs=1))
    features = torch.randn(8, 64, 3, 4)
    fast = network.strongest_map(features)
    slow = torch.tensor([loop_strongest_map(one, network.head.weight) for one in features])
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (7, 12)])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.6])
def test_the_box_is_that_of_the_loops(size: tuple[int, int], threshold: float) -> None:
    maps = torch.randn(60, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps[:3] = -maps[:3].abs()
    fast = boxes_around(maps, threshold=threshold)
    slow = torch.tensor([loop_box(one, threshold) for one in maps.tolist()], dtype=torch.float64)
    assert torch.equal(fast, slow)
