"""Grades from actions: the same clicks count more where fewer shoppers look."""

import math
from array import array

import pytest

from dataset_builder.log_relevance import PairEvents, average_rates, examination, exposure, grades


def pair(positions: list[int], clicks: int = 0, carts: int = 0, purchases: int = 0) -> PairEvents:
    return PairEvents(array("H", positions), clicks, carts, purchases)


def test_without_data_examination_is_the_prior() -> None:
    chances = examination([])
    assert chances[:4] == pytest.approx([1.0, 1.0, 1 / math.log2(3), 1 / math.log2(4)])
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] >= 0.05


def test_examination_follows_much_data() -> None:
    """Position 2 is clicked half as often as position 1, position 3 a tenth, over 20,000 views each."""
    pairs = [pair([1] * 20_000, clicks=10_000), pair([2] * 20_000, clicks=5_000), pair([3] * 20_000, clicks=1_000)]
    chances = examination(pairs)
    assert chances[2] == pytest.approx(0.5, abs=0.01)
    assert chances[3] == pytest.approx(0.1, abs=0.01)
    assert chances[4] <= chances[3]


def test_exposure_sums_chances_and_is_never_below_the_actions() -> None:
    chances = [1.0, 1.0, 0.5, *[0.25] * 98]
    assert exposure(pair([1, 2, 2, 3]), chances) == 2.25
    assert exposure(pair([], clicks=4), chances) == 4
    assert exposure(pair([0]), chances) == 1


def test_grades_by_hand() -> None:
    """10 clicks and 2 conversions per 100 views on average; rates are drawn to that with the weight of 5 views."""
    chances, rates = [1.0] * 101, (0.10, 0.02)
    pairs = {
        "bought": pair([1] * 10, clicks=1, purchases=1),
        "bought once in very many views": pair([1] * 2000, clicks=1, purchases=1),
        "clicked often": pair([1] * 10, clicks=2),
        "clicked, but less than the average": pair([1] * 100, clicks=2),
        "clicked once": pair([1], clicks=1),
        "carted": pair([1] * 20, carts=1),
        "left alone": pair([1] * 50),
    }
    assert grades(pairs, chances, rates) == {
        "bought": 3,
        "bought once in very many views": 2,
        "clicked often": 2,
        "clicked, but less than the average": 1,
        "clicked once": 1,
        "carted": 3,
    }


def test_the_same_clicks_deeper_down_say_more() -> None:
    chances = [1.0, 1.0, *[0.2] * 99]
    rates = (0.10, 0.02)
    assert grades({"top": pair([1] * 40, clicks=3)}, chances, rates) == {"top": 1}
    assert grades({"deep": pair([9] * 40, clicks=3)}, chances, rates) == {"deep": 2}


def test_average_rates() -> None:
    chances = [1.0] * 101
    assert average_rates([pair([1] * 8, clicks=2, purchases=1), pair([1] * 2)], chances) == pytest.approx((0.2, 0.2))
    assert average_rates([], chances) == (0.0, 0.0)
