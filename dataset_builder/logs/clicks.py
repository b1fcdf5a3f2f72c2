"""Relevance from what shoppers did: rates of actions, corrected for how likely a position is to be seen."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

ACTIONS = {
    "impression": "impression", "impressions": "impression", "view": "impression", "show": "impression",
    "shown": "impression", "exposure": "impression", "click": "click", "clicks": "click", "clicked": "click",
    "cart": "cart", "add_to_cart": "cart", "addtocart": "cart", "atc": "cart", "basket": "cart", "purchase": "purchase",
    "purchased": "purchase", "order": "purchase", "buy": "purchase", "transaction": "purchase",
}  # fmt: skip
POSITION_PRIOR = 50
ATTRACTION_PRIOR = 1
RATE_PRIOR = 5
LEAST_SEEN = 3.0
"""How often a product must have been seen, in expectation, before its being left alone says something."""
_DEEPEST = 100
_LEAST_EXAMINED = 0.05
_ROUNDS = 100


def _no_positions() -> "array[int]":
    return array("H")


@dataclass
class PairEvents:
    """What happened to one product under one query: positions of impressions and clicks from 1, 0 where unknown."""

    positions: "array[int]" = field(default_factory=_no_positions)
    clicked: "array[int]" = field(default_factory=_no_positions)
    carts: int = 0
    purchases: int = 0

    def add(self, action: str, position: int) -> None:
        """Count one event of `ACTIONS`."""
        if action == "impression":
            self.positions.append(min(position, _DEEPEST))
        elif action == "click":
            self.clicked.append(min(position, _DEEPEST))
        elif action == "cart":
            self.carts += 1
        else:
            self.purchases += 1

    def merge(self, other: "PairEvents") -> None:
        """Add what happened to a product that turned out to be the same."""
        self.positions.extend(other.positions)
        self.clicked.extend(other.clicked)
        self.carts += other.carts
        self.purchases += other.purchases

    @property
    def clicks(self) -> int:
        """How many clicks."""
        return len(self.clicked)

    @property
    def touched(self) -> bool:
        """Whether anybody clicked, carted or bought."""
        return bool(self.clicks or self.conversions)

    @property
    def conversions(self) -> int:
        """Carts and purchases, a purchase counting twice."""
        return self.carts + 2 * self.purchases


@dataclass(frozen=True)
class _Views:
    """How often each pair was shown and clicked at each position: arrays of one length, a row a pair and position."""

    pair: np.ndarray
    position: np.ndarray
    shown: np.ndarray
    clicked: np.ndarray


def examination(pairs: Iterable[PairEvents]) -> list[float]:
    """Estimate how likely each position is to be looked at, the first one being 1.

    A click is a look and an attraction: P(click) = examination of the position x attraction of the pair. Both are
    estimated together, so that a shop that puts the best first is not taken for one whose customers do not scroll: only
    products that were shown at several positions speak. Where there is little data the estimate is drawn towards
    1 / log2(position + 1); it never rises with depth.

    Parameters
    ----------
    pairs : iterable of PairEvents

    Returns
    -------
    list of float
        By position; position 0, an unknown one, counts as 1.

    Source: the position-based model of Craswell et al. (2008), estimated by expectation maximisation as in Wang et al.
    (2018); the priors are ours.
    """
    views = _views(pairs)
    prior = np.concatenate([[1.0], 1 / np.log2(np.arange(1, _DEEPEST + 1) + 1)])
    chances = prior.copy()
    pairs_shown = int(views.pair.max(initial=-1)) + 1
    looked = views.shown * chances[views.position]
    attraction = np.minimum(_rate(views.clicked, looked, views.pair, pairs_shown, 0.5, ATTRACTION_PRIOR), 0.99)
    for _ in range(_ROUNDS):
        looked, attracted = _expected(views, chances[views.position], attraction[views.pair])
        chances = _rate(looked, views.shown, views.position, len(chances), prior, POSITION_PRIOR)
        mean = attracted.sum() / max(views.shown.sum(), 1)
        attraction = _rate(attracted, views.shown, views.pair, pairs_shown, mean, ATTRACTION_PRIOR)
    falling = np.minimum.accumulate(np.clip(chances[1:] / chances[1], _LEAST_EXAMINED, 1.0))
    return [1.0, *falling.tolist()]


def _views(pairs: Iterable[PairEvents]) -> _Views:
    """Count impressions and clicks; a click without a position is one at the positions of its pair's impressions."""
    rows: list[tuple[int, int, float, float]] = []
    for number, pair in enumerate(pairs):
        clicked = Counter(position for position in pair.clicked if position)
        unknown = len(pair.clicked) - clicked.total()
        for position, count in Counter(position for position in pair.positions if position).items():
            clicks = clicked[position] + unknown * count / len(pair.positions)
            rows.append((number, position, float(count), min(clicks, count)))
    pair, position, shown, clicked = np.asarray(rows, np.float64).reshape(-1, 4).T
    return _Views(pair.astype(np.int64), position.astype(np.int64), shown, clicked)


def _expected(views: _Views, chances: np.ndarray, attraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of the impressions were looked at, and how many were of a pair that attracts: [V] each."""
    passed = (views.shown - views.clicked) / np.maximum(1 - chances * attraction, 1e-9)
    return views.clicked + passed * chances * (1 - attraction), views.clicked + passed * attraction * (1 - chances)


def _rate(
    events: np.ndarray, trials: np.ndarray, groups: np.ndarray, count: int, prior: np.ndarray | float, weight: float
) -> np.ndarray:
    """Return the rate of events by group, [count], drawn towards a prior rate with the weight of some trials."""
    happened, tried = np.bincount(groups, events, count), np.bincount(groups, trials, count)
    return (happened + weight * prior) / (tried + weight)


def exposure(pair: PairEvents, chances: list[float]) -> float:
    """Return how often a product was seen, in expectation; at least as often as it was clicked.

    Source: ours.
    """
    seen = sum(chances[position] for position in pair.positions)
    return max(seen, float(pair.clicks), float(pair.carts), float(pair.purchases))


def weighted_clicks(pair: PairEvents, chances: list[float]) -> float:
    """Return the clicks as they would be at the first position: one where few look counts for several.

    Source: ours (inverse propensity weighting, after Joachims et al. 2017).
    """
    return sum(1 / chances[position] for position in pair.clicked)


def grades(pairs: Mapping[str, PairEvents], chances: list[float], rates: tuple[float, float]) -> dict[str, int]:
    """Grade the products of one query by their rates of actions among the times they were seen.

    3 converts at least as well as the shop's average pair, 2 converts at all or is clicked at least twice, weighted by
    position, and not less than the average, 1 is clicked. Rates are drawn towards the average where there is little
    data. In a log of clicks alone every rate is the average, and the weighted clicks decide.

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
    return {
        product: _grade(pair, exposure(pair, chances), weighted_clicks(pair, chances), rates)
        for product, pair in pairs.items()
        if pair.touched
    }


def _grade(pair: PairEvents, seen: float, clicks: float, rates: tuple[float, float]) -> int:
    click_rate = (pair.clicks + RATE_PRIOR * rates[0]) / (seen + RATE_PRIOR)
    conversion_rate = (pair.conversions + RATE_PRIOR * rates[1]) / (seen + RATE_PRIOR)
    if pair.conversions and conversion_rate >= rates[1]:
        return 3
    return 2 if pair.conversions or (clicks >= 2 and click_rate >= rates[0]) else 1


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
