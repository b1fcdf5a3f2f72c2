"""Relevance grades from what shoppers did: rates of actions, corrected for how likely shoppers look at a position."""

from dataclasses import dataclass

import numpy as np

IMPRESSION, CLICK, CART, PURCHASE = range(4)
ACTION_NUMBERS = {"impression": IMPRESSION, "click": CLICK, "cart": CART, "purchase": PURCHASE}
DEEPEST = 100
"""Positions further down count as this one."""
POSITION_PRIOR = 50
"""Impressions that the prior chance of looking at a position weighs as much as."""
ATTRACTION_PRIOR = 1
"""The same of the prior attraction of a pair."""
RATE_PRIOR = 5
"""Views that the log's average rate weighs as much as, so that one click in one view is not a rate of 1."""
_LEAST_EXAMINED = 0.05
_ROUNDS = 100


def tally(*columns: np.ndarray, weights: np.ndarray | None = None) -> list[np.ndarray]:
    """Return the distinct rows of some columns in ascending order, then the count, or sum of weights, of each."""
    order = np.lexsort(columns[::-1])
    ordered = [column[order] for column in columns]
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
    starts = np.flatnonzero(new)
    weights = np.ones(len(order), np.int64) if weights is None else weights[order]
    counts = np.add.reduceat(weights, starts) if len(starts) else weights
    return [*(column[starts] for column in ordered), counts]


@dataclass(frozen=True)
class Events:
    """How often a product had an action at a position under a query: columns of one length.

    `position` is from 1, and 0 where it is unknown. Rows are distinct and in ascending order.
    """

    query: np.ndarray
    product: np.ndarray
    action: np.ndarray
    position: np.ndarray
    count: np.ndarray

    def of_queries(self, chosen: np.ndarray) -> "Events":
        """Return the events of some queries, by a mask over all queries."""
        rows = chosen[self.query]
        return Events(*(column[rows] for column in vars(self).values()))


class Pairs:
    """The pairs of a query and a product that have an event, with their counts of actions. P is the number of pairs.

    Attributes
    ----------
    query, product : array, [P]
    clicks, carts, purchases : array, [P]
    touched : array, [P]
        Whether anybody clicked, carted or bought the product under the query.
    """

    def __init__(self, events: Events) -> None:
        new = np.ones(len(events.query), bool)
        new[1:] = (np.diff(events.query) != 0) | (np.diff(events.product) != 0)
        self.query, self.product = events.query[new], events.product[new]
        self._pair = np.cumsum(new) - 1  # [events]
        self._events = events
        self.clicks, self.carts, self.purchases = (self._total(action) for action in (CLICK, CART, PURCHASE))
        self.touched = (self.clicks > 0) | (self.conversions > 0)

    def __len__(self) -> int:
        return len(self.query)

    def _total(self, action: int, weights: np.ndarray | float = 1.0) -> np.ndarray:
        counts = np.where(self._events.action == action, self._events.count * weights, 0.0)
        return np.bincount(self._pair, counts, len(self))

    @property
    def conversions(self) -> np.ndarray:
        """Carts and purchases, a purchase counting twice: [P]."""
        return self.carts + 2 * self.purchases

    def exposure(self, chances: np.ndarray) -> np.ndarray:
        """Return the expected number of times that each product was looked at, no fewer than its actions: [P].

        `chances` are those of looking at each position, from `examination`.
        """
        seen = self._total(IMPRESSION, chances[self._events.position])
        return np.maximum.reduce([seen, self.clicks, self.carts, self.purchases])

    def weighted_clicks(self, chances: np.ndarray) -> np.ndarray:
        """Return the clicks divided by the chance that their position is looked at, as if all were at the first: [P].

        Source: inverse propensity weighting, after Joachims et al. (2017).
        """
        return self._total(CLICK, 1 / chances[self._events.position])

    def views(self) -> "_Views":
        """Count impressions and clicks by pair and position.

        A pair's clicks without a position are spread over its positions in proportion to its impressions there.
        """
        events, shown, clicked = self._events, self._events.action == IMPRESSION, self._events.action == CLICK
        unknown = np.bincount(self._pair, np.where(clicked & (events.position == 0), events.count, 0), len(self))
        impressions = self._total(IMPRESSION)
        keys = self._pair * (DEEPEST + 1) + events.position
        shown &= events.position > 0
        pair, count = self._pair[shown], events.count[shown].astype(np.float64)
        clicks = _looked_up(keys[shown], keys[clicked], events.count[clicked])
        clicks = clicks + unknown[pair] * count / impressions[pair]
        return _Views(pair, events.position[shown].astype(np.int64), count, np.minimum(clicks, count))


def _looked_up(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the value of each wanted key, 0 for one that is not among `keys`."""
    order = np.argsort(keys)
    keys, values = np.append(keys[order], -1), np.append(values[order], 0)
    rows = np.searchsorted(keys[:-1], wanted)
    return np.where(keys[rows] == wanted, values[rows], 0)


@dataclass(frozen=True)
class _Views:
    """How often each pair was shown and clicked at each position: arrays of one length, a row a pair and position."""

    pair: np.ndarray
    position: np.ndarray
    shown: np.ndarray
    clicked: np.ndarray


def examination(pairs: Pairs) -> np.ndarray:
    """Estimate how likely each position is to be looked at, the first one being 1.

    The model: P(click) = P(the position is looked at) x P(the product attracts who looks at it under this query). Both
    factors are estimated together, from products that were shown at several positions: the click rates of positions
    alone would not tell a shop that puts its best products first from one whose customers do not scroll. Where there
    is little data the estimate is drawn towards 1 / log2(position + 1); it never rises with depth.

    Returns
    -------
    array, [DEEPEST + 1]
        By position; position 0, an unknown one, counts as 1.

    Source: the position-based model of Craswell et al. (2008), estimated by expectation maximisation as in Wang et al.
    (2018).
    """
    views = pairs.views()
    prior = np.concatenate([[1.0], 1 / np.log2(np.arange(1, DEEPEST + 1) + 1)])
    chances = prior.copy()
    looked = views.shown * chances[views.position]
    attraction = np.minimum(_rate(views.clicked, looked, views.pair, len(pairs), 0.5, ATTRACTION_PRIOR), 0.99)
    for _ in range(_ROUNDS):
        looked, attracted = _expected(views, chances[views.position], attraction[views.pair])
        chances = _rate(looked, views.shown, views.position, len(chances), prior, POSITION_PRIOR)
        mean = attracted.sum() / max(views.shown.sum(), 1)
        attraction = _rate(attracted, views.shown, views.pair, len(pairs), mean, ATTRACTION_PRIOR)
    falling = np.minimum.accumulate(np.clip(chances[1:] / chances[1], _LEAST_EXAMINED, 1.0))
    return np.concatenate([[1.0], falling])


def _expected(views: _Views, chances: np.ndarray, attraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each view the expected impressions that were looked at, and those whose product attracts: [V] each."""
    passed = (views.shown - views.clicked) / np.maximum(1 - chances * attraction, 1e-9)
    return views.clicked + passed * chances * (1 - attraction), views.clicked + passed * attraction * (1 - chances)


def _rate(
    events: np.ndarray, trials: np.ndarray, groups: np.ndarray, count: int, prior: np.ndarray | float, weight: float
) -> np.ndarray:
    """Return the rate of events of each group, [count], drawn towards `prior` as if by `weight` more trials."""
    happened, tried = np.bincount(groups, events, count), np.bincount(groups, trials, count)
    return (happened + weight * prior) / (tried + weight)


def grades(pairs: Pairs, chances: np.ndarray, rates: tuple[float, float]) -> np.ndarray:
    """Grade the products of each query by how often shoppers who saw them clicked, carted or bought.

    A product is graded

    - 3 if its conversions (carts, and purchases counted twice) a view are at least the log's average,
    - 2 if it has any conversion, or at least two clicks (weighted by position) at no less than the average click rate,
    - 1 if it has any click, and 0 otherwise.

    Rates are drawn towards the average where there is little data. In a log without impressions every click rate is
    the average, so that the weighted clicks decide.

    Parameters
    ----------
    pairs : Pairs
    chances : array
        From `examination`.
    rates : (float, float)
        The log's average clicks a view and conversions a view, from `average_rates`.

    Returns
    -------
    array, [P]
        Grades 0 to 3.
    """
    seen, conversions = pairs.exposure(chances), pairs.conversions
    click_rate = (pairs.clicks + RATE_PRIOR * rates[0]) / (seen + RATE_PRIOR)
    conversion_rate = (conversions + RATE_PRIOR * rates[1]) / (seen + RATE_PRIOR)
    clicked_often = (pairs.weighted_clicks(chances) >= 2) & (click_rate >= rates[0])
    levels = [(conversions > 0) & (conversion_rate >= rates[1]), (conversions > 0) | clicked_often, pairs.touched]
    return np.select(levels, [3, 2, 1], 0)


def average_rates(pairs: Pairs, chances: np.ndarray) -> tuple[float, float]:
    """Return the log's average clicks a view and conversions a view."""
    seen = max(float(pairs.exposure(chances).sum()), 1.0)
    return float(pairs.clicks.sum()) / seen, float(pairs.conversions.sum()) / seen
