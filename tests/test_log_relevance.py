"""Grades from actions: the same clicks count more where fewer shoppers look."""

import math

import numpy as np
import pytest

from dataset_builder.logs.clicks import CART, CLICK, IMPRESSION, PURCHASE, Events, Pairs, average_rates, tally
from dataset_builder.logs.clicks import examination as examination_of
from dataset_builder.logs.clicks import grades as grades_of
from dataset_builder.logs.negatives import least_seen

Happened = list[tuple[int, int]]
"""Actions and positions of one product under one query."""


def happened(positions: list[int], clicked: list[int] | None = None, carts: int = 0, purchases: int = 0) -> Happened:
    return [
        *((IMPRESSION, position) for position in positions),
        *((CLICK, position) for position in clicked or []),
        *[(CART, 0)] * carts,
        *[(PURCHASE, 0)] * purchases,
    ]


def pair(positions: list[int], clicks: int = 0, carts: int = 0, purchases: int = 0) -> Happened:
    return happened(positions, [0] * clicks, carts, purchases)


def pairs_of(happenings: list[Happened]) -> Pairs:
    """Return the pairs of one query with as many products."""
    rows = [(0, number, *event) for number, events in enumerate(happenings) for event in events]
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Pairs(Events(*tally(*columns)))


def examination(happenings: list[Happened]) -> list[float]:
    return examination_of(pairs_of(happenings)).tolist()


def grades(happenings: dict[str, Happened], chances: list[float], rates: tuple[float, float]) -> dict[str, int]:
    graded = grades_of(pairs_of(list(happenings.values())), np.array(chances), rates).tolist()
    return {name: grade for name, grade in zip(happenings, graded, strict=True) if grade}


def test_without_data_examination_is_the_prior() -> None:
    chances = examination([])
    assert chances[:4] == pytest.approx([1.0, 1.0, 1 / math.log2(3), 1 / math.log2(4)])
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] >= 0.05


def shown_at(attraction: float, looks: dict[int, float], times: int = 4_000) -> Happened:
    """A pair shown so often at each position, clicked as often as it is looked at and attracts."""
    clicked = {position: round(times * look * attraction) for position, look in looks.items()}
    return happened(
        [position for position in looks for _ in range(times)],
        [position for position, count in clicked.items() for _ in range(count)],
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
    unknown = [[(action, 0 if action == CLICK else position) for action, position in known[0]]]
    assert examination(unknown) == pytest.approx(examination(known))


def test_clicks_alone_are_weighted_by_position() -> None:
    chances = examination([])
    pairs = {
        "twice at the top": happened([], [1, 1]),
        "once at the top": happened([], [1]),
        "once where one in three looks": happened([], [7]),
        "bought": happened([], [1], purchases=1),
    }
    table = pairs_of(list(pairs.values()))
    assert table.weighted_clicks(np.array(chances))[2] == pytest.approx(3)
    rates = average_rates(table, np.array(chances))
    assert grades(pairs, chances, rates) == {
        "twice at the top": 2,
        "once at the top": 1,
        "once where one in three looks": 2,
        "bought": 3,
    }


def test_a_tally_counts_and_weighs_equal_rows() -> None:
    first, second, count = tally(np.array([2, 1, 2, 2]), np.array([5, 5, 5, 4]))
    assert list(zip(first, second, count, strict=True)) == [(1, 5, 1), (2, 4, 1), (2, 5, 2)]
    assert tally(np.array([2, 1, 2]), weights=np.array([10, 1, 5]))[1].tolist() == [1, 15]
    assert [column.tolist() for column in tally(np.empty(0, np.int64))] == [[], []]


def test_exposure_sums_chances_and_is_never_below_the_actions() -> None:
    chances = [1.0, 1.0, 0.5, *[0.25] * 98]
    pairs = pairs_of([pair([1, 2, 2, 3]), pair([], clicks=4), pair([0])])
    assert pairs.exposure(np.array(chances)).tolist() == [2.25, 4, 1]


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
    pairs = pairs_of([pair([1] * 8, clicks=2, purchases=1), pair([1] * 2)])
    assert average_rates(pairs, np.array(chances)) == pytest.approx((0.2, 0.2))
    assert average_rates(pairs_of([]), np.array(chances)) == (0.0, 0.0)


def test_how_often_a_negative_is_seen_follows_from_the_click_rate() -> None:
    """One look in five at the touched pairs is a click: 0.8 ** 13.4 is 0.05."""
    pairs = pairs_of([pair([1] * 100, clicks=20), pair([1] * 200, clicks=40), *[pair([1] * 9)] * 20])
    seen = pairs.exposure(np.ones(101))
    assert least_seen(pairs, seen) == pytest.approx(math.log(0.05) / math.log(0.8))
    assert least_seen(pairs_of([pair([1] * 9)]), np.array([9.0])) == math.inf
