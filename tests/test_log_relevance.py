"""Grades from actions: the same clicks count more where fewer shoppers look."""

import math
from array import array

import pytest

from dataset_builder.logs.clicks import PairEvents, average_rates, examination, exposure, grades, weighted_clicks


def pair(positions: list[int], clicks: int = 0, carts: int = 0, purchases: int = 0) -> PairEvents:
    return PairEvents(array("H", positions), array("H", [0] * clicks), carts, purchases)


def test_without_data_examination_is_the_prior() -> None:
    chances = examination([])
    assert chances[:4] == pytest.approx([1.0, 1.0, 1 / math.log2(3), 1 / math.log2(4)])
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] >= 0.05


def shown_at(attraction: float, looks: dict[int, float], times: int = 4_000) -> PairEvents:
    """A pair shown so often at each position, clicked as often as it is looked at and attracts."""
    clicked = {position: round(times * look * attraction) for position, look in looks.items()}
    return PairEvents(
        array("H", [position for position in looks for _ in range(times)]),
        array("H", [position for position, count in clicked.items() for _ in range(count)]),
    )


def test_examination_is_found_again_whatever_is_shown_where() -> None:
    """The first positions have the attractive products, so that clicks alone would make the depth look unseen."""
    pairs = [
        shown_at(0.8, {1: 1.0, 2: 0.5}),
        shown_at(0.6, {1: 1.0, 2: 0.5}),
        shown_at(0.2, {2: 0.5, 3: 0.1}),
        shown_at(0.1, {2: 0.5, 3: 0.1}),
    ]
    chances = examination(pairs)
    assert chances[:4] == pytest.approx([1.0, 1.0, 0.5, 0.1], abs=0.03)
    assert chances == sorted(chances, reverse=True)
    clicks_alone = 0.15 * 0.1 / (0.7 * 1.0)
    assert chances[3] > 4 * clicks_alone


def test_products_that_never_move_say_nothing_of_positions() -> None:
    best_first = [shown_at(0.8, {1: 1.0}), shown_at(0.3, {2: 0.63}), shown_at(0.01, {3: 0.5})]
    assert examination(best_first)[:4] == pytest.approx(examination([])[:4], abs=0.05)


def test_clicks_without_positions_are_spread_over_the_impressions() -> None:
    known = [shown_at(0.5, {1: 1.0, 2: 1.0})]
    unknown = [PairEvents(known[0].positions, array("H", [0] * known[0].clicks))]
    assert examination(unknown) == pytest.approx(examination(known))


def test_clicks_alone_are_weighted_by_position() -> None:
    chances = examination([])
    pairs = {
        "twice at the top": PairEvents(clicked=array("H", [1, 1])),
        "once at the top": PairEvents(clicked=array("H", [1])),
        "once where one in three looks": PairEvents(clicked=array("H", [7])),
        "bought": PairEvents(clicked=array("H", [1]), purchases=1),
    }
    assert weighted_clicks(pairs["once where one in three looks"], chances) == pytest.approx(3)
    rates = average_rates(pairs.values(), chances)
    assert grades(pairs, chances, rates) == {
        "twice at the top": 2,
        "once at the top": 1,
        "once where one in three looks": 2,
        "bought": 3,
    }


def test_merged_pairs_have_the_events_of_both() -> None:
    one, other = pair([1], 2, 3, 4), pair([2, 3], 1, 1, 1)
    one.merge(other)
    assert one == pair([1, 2, 3], 3, 4, 5)


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
