"""Draws depend on draw_seed, name and number alone, and keep to their ranges."""

import math

import pytest
from pydantic import ValidationError

from zoombench.harness.search_space import Distribution

DRAWS = range(1, 401)


def drawn(distribution: Distribution, name: str = "x", draw_seed: int = 0) -> list:
    return [distribution.draw(name, number, draw_seed) for number in DRAWS]


def test_a_draw_depends_on_seed_name_and_number_and_on_nothing_else():
    one = Distribution(uniform=[0.0, 1.0])
    assert drawn(one) == drawn(one) == [one.draw("x", number, 0) for number in reversed(DRAWS)][::-1]
    assert len({tuple(drawn(one, name, seed)) for name in ("x", "y") for seed in (0, 1)}) == 4
    assert len(set(drawn(one))) > 350  # numbers differ


def test_a_uniform_draw_fills_its_range_and_a_log_uniform_one_its_decades():
    values = drawn(Distribution(uniform=[5.0, 20.0]))
    assert all(5 <= value <= 20 for value in values)
    assert sum(value < 12.5 for value in values) == pytest.approx(200, abs=40)  # four standard deviations
    values = drawn(Distribution(log_uniform=[1e-4, 1e-1]))
    assert all(1e-4 <= value <= 1e-1 for value in values)
    for decade in (-4, -3, -2):
        assert sum(decade <= math.log10(value) < decade + 1 for value in values) == pytest.approx(133, abs=38)


def test_an_integer_and_a_choice_take_every_value_the_ends_too():
    assert set(drawn(Distribution(integer=[2, 5]))) == {2, 3, 4, 5}
    assert set(drawn(Distribution(choices=["a", None, 3]))) == {"a", None, 3}


def test_numbers_are_short_and_never_leave_their_range_by_rounding():
    assert all(value == float(f"{value:.4g}") for value in drawn(Distribution(uniform=[0.0, 1.0])))
    narrow = Distribution(uniform=[1.00004, 1.00006])
    assert all(1.00004 <= value <= 1.00006 for value in drawn(narrow))


def test_the_first_draws_are_these():
    """They are part of trials' ids: another Python, or another version of this file, must draw the same."""
    made = [Distribution(log_uniform=[1e-4, 1e-1]).draw("training.learning_rate", number, 0) for number in (1, 2, 3)]
    assert made == [0.001286, 0.007348, 0.001011]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "expected one of choices, uniform, log_uniform, integer"),
        ({"uniform": [0, 1], "integer": [0, 1]}, "expected one of"),
        ({"choices": [1]}, "expected two choices or more"),
        ({"uniform": [1]}, "expected two numbers, the lower one first"),
        ({"integer": [3, 3]}, "expected two numbers, the lower one first"),
        ({"log_uniform": [0, 1]}, "the ends of log_uniform are above 0"),
        ({"uniform": [0, math.inf]}, "finite"),
    ],
    ids=str,
)
def test_a_distribution_that_is_none_is_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        Distribution.model_validate(given, strict=True)
