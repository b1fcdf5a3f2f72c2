"""Relevance from what shoppers did: rates of actions, corrected for how likely a position is to be seen."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ACTIONS = {
    "impression": "impression", "impressions": "impression", "view": "impression", "show": "impression",
    "shown": "impression", "exposure": "impression", "click": "click", "clicks": "click", "clicked": "click",
    "cart": "cart", "add_to_cart": "cart", "addtocart": "cart", "atc": "cart", "basket": "cart", "purchase": "purchase",
    "purchased": "purchase", "order": "purchase", "buy": "purchase", "transaction": "purchase",
}  # fmt: skip
POSITION_PRIOR = 50
RATE_PRIOR = 5
LEAST_SEEN = 3.0
"""How often a product must have been seen, in expectation, before its being left alone says something."""
_DEEPEST = 100
_LEAST_EXAMINED = 0.05


@dataclass
class PairEvents:
    """What happened to one product under one query; positions are 1, 2, …, 0 where unknown."""

    positions: "array[int]" = field(default_factory=lambda: array("H"))
    clicks: int = 0
    carts: int = 0
    purchases: int = 0

    def add(self, action: str, position: int) -> None:
        """Count one event of `ACTIONS`."""
        if action == "impression":
            self.positions.append(min(position, _DEEPEST))
        elif action == "click":
            self.clicks += 1
        elif action == "cart":
            self.carts += 1
        else:
            self.purchases += 1

    @property
    def touched(self) -> bool:
        """Whether anybody clicked, carted or bought."""
        return bool(self.clicks or self.conversions)

    @property
    def conversions(self) -> int:
        """Carts and purchases, a purchase counting twice."""
        return self.carts + 2 * self.purchases


def examination(pairs: Iterable[PairEvents]) -> list[float]:
    """Estimate how likely each position is to be looked at, the first one being 1.

    The click rate at a position relative to the first one, drawn towards 1 / log2(position + 1) where there is little
    data, and never rising with depth. A click is counted at the positions of its pair's impressions.

    Parameters
    ----------
    pairs : iterable of PairEvents

    Returns
    -------
    list of float
        By position; position 0, an unknown one, counts as 1.

    Source: ours, after the position bias model of Craswell et al. (2008).
    """
    shown, clicked = [0.0] * (_DEEPEST + 1), [0.0] * (_DEEPEST + 1)
    for pair in pairs:
        for position, count in Counter(pair.positions).items():
            shown[position] += count
            clicked[position] += pair.clicks * count / len(pair.positions)
    first = (clicked[1] + 1) / (shown[1] + 1)
    chances = [1.0]
    for position in range(1, _DEEPEST + 1):
        prior = 1 / math.log2(position + 1)
        rate = (clicked[position] / first + POSITION_PRIOR * prior) / (shown[position] + POSITION_PRIOR)
        chances.append(min(chances[-1], max(rate, _LEAST_EXAMINED)))
    return [1.0, 1.0, *chances[2:]]


def exposure(pair: PairEvents, chances: list[float]) -> float:
    """Return how often a product was seen, in expectation; at least as often as it was clicked.

    Source: ours.
    """
    seen = sum(chances[position] for position in pair.positions)
    return max(seen, float(pair.clicks), float(pair.carts), float(pair.purchases))


def grades(pairs: Mapping[str, PairEvents], chances: list[float], rates: tuple[float, float]) -> dict[str, int]:
    """Grade the products of one query by their rates of actions among the times they were seen.

    3 converts at least as well as the shop's average pair, 2 converts at all or is clicked at least twice and better
    than the average, 1 is clicked. Rates are drawn towards the average where there is little data.

    Parameters
    ----------
    pairs : mapping of product to PairEvents
    chances : list of float
        From `examination`.
    rates : (float, float)
        The log's clicks and conversions a view, from `average_rates`.

    Returns
    -------
    dict
        Grades 1 to 3; products that nobody touched are left out.

    Source: ours.
    """
    return {product: _grade(pair, exposure(pair, chances), rates) for product, pair in pairs.items() if pair.touched}


def _grade(pair: PairEvents, seen: float, rates: tuple[float, float]) -> int:
    click_rate = (pair.clicks + RATE_PRIOR * rates[0]) / (seen + RATE_PRIOR)
    conversion_rate = (pair.conversions + RATE_PRIOR * rates[1]) / (seen + RATE_PRIOR)
    if pair.conversions and conversion_rate >= rates[1]:
        return 3
    return 2 if pair.conversions or (pair.clicks >= 2 and click_rate >= rates[0]) else 1


def average_rates(pairs: Iterable[PairEvents], chances: list[float]) -> tuple[float, float]:
    """Return the log's clicks and conversions per time that a product was seen.

    Source: ours.
    """
    seen = clicks = conversions = 0.0
    for pair in pairs:
        seen += exposure(pair, chances)
        clicks += pair.clicks
        conversions += pair.conversions
    return clicks / max(seen, 1.0), conversions / max(seen, 1.0)
