"""Hard negatives from a log: products that many shoppers saw under a query and none clicked, carted or bought."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from modeling_lira.evaluation.bm25 import tokens

from .clicks import RATE_PRIOR, Pairs

UNLUCKY = 0.05
"""The largest acceptable chance that a product as attractive as the touched ones was never touched."""
FALSE_SHARE = 0.05
"""The largest acceptable share of negatives that are in fact relevant, as estimated from the log."""
LEAST_SEEN = 3.0
"""Views that every negative has at least, whatever the rates."""
MAX_NEGATIVES = 8
_RELEVANT_SHARE = 1 / 3
"""A touched pair with less than this share of the usual rate may be a chance click and is not counted as relevant."""


def click_rate(actions: np.ndarray, seen: np.ndarray) -> float:
    """Estimate the actions a view of touched pairs, corrected for their having been chosen by being touched.

    Only pairs with at least one action are here, so that actions / views would be too high where pairs have few views:
    the rate is the one under which pairs with at least one action have as many actions as these. It is 0 if no pair
    has two actions.

    Source: the maximum-likelihood estimate of a binomial rate from samples without zeros, by bisection.
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        expected = (seen * rate / -np.expm1(seen * math.log1p(-rate))).sum()
        low, high = (rate, high) if expected < actions.sum() else (low, rate)
    return low


def least_seen(pairs: Pairs, seen: np.ndarray) -> float:
    """Return the expected views that an untouched product must have to be a safe negative, infinite if none is safe.

    Two conditions hold for a product with n views. First, a relevant product stays untouched with probability
    (1 - rate) ** n, where rate is that of `click_rate`; this must not be above `UNLUCKY`. Second, shops show relevant
    products most, so that even a small probability can make many of the untouched ones relevant: each touched pair of
    rate r and n views stands for (1 - r) ** n / (1 - (1 - r) ** n) relevant untouched ones, and their sum must not be
    above `FALSE_SHARE` of all untouched products with as many views.

    Source: the expected number after Horvitz and Thompson (1952).
    """
    touched = pairs.touched
    actions = np.maximum(pairs.clicks, np.maximum(pairs.carts, pairs.purchases))[touched]
    views = np.maximum(seen[touched], actions)
    rate = click_rate(actions, views) if len(actions) else 0.0
    if rate < 1e-6:
        return math.inf
    each = np.minimum((actions - 1 + RATE_PRIOR * rate) / (views - 1 + RATE_PRIOR), 1 - 1e-9)
    missed = np.exp(views * np.log1p(-each))
    left_alone_for_each = np.where(each >= _RELEVANT_SHARE * rate, missed / (1 - missed), 0.0)
    unlucky = _from(views, left_alone_for_each, seen[~touched])
    left_alone = _from(seen[~touched], np.ones(int((~touched).sum())), seen[~touched])
    safe = np.sort(seen[~touched][unlucky <= FALSE_SHARE * left_alone])
    if not len(safe):
        return math.inf
    return max(LEAST_SEEN, math.log(UNLUCKY) / math.log1p(-min(rate, 1 - 1e-9)), float(safe[0]))


def _from(values: np.ndarray, weights: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return for each limit the sum of the weights of the values that are not below it."""
    order = np.argsort(values)
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    return above[np.searchsorted(values[order], limits)]


class SafeNegatives:
    """Finds the safe negatives of each query of a language.

    A product is not safe if anybody touched it, or one whose title has the same words, under this query or under a
    query that shares a word with it.

    Parameters
    ----------
    pairs : Pairs
    seen : array, [P]
        Expected views of each pair, from `Pairs.exposure`.
    queries : sequence of str
        Texts by the numbers of `pairs.query`.
    titles : sequence of str
        By the numbers of `pairs.product`.
    language : str

    Attributes
    ----------
    least : float
        Views that a negative has at least, from `least_seen`.
    """

    def __init__(
        self, pairs: Pairs, seen: np.ndarray, queries: Sequence[str], titles: Sequence[str], language: str
    ) -> None:
        self._pairs, self._seen = pairs, seen
        self._query_words = lru_cache(1)(lambda query: frozenset(tokens(queries[query], language)))
        self._title_words = lru_cache(100_000)(lambda product: frozenset(tokens(titles[product], language)))
        self.least = least_seen(pairs, seen)
        self._wanted: dict[frozenset[str], set[str]] = {}
        touched = pairs.touched
        for query, product in zip(pairs.query[touched].tolist(), pairs.product[touched].tolist(), strict=True):
            self._wanted.setdefault(self._title_words(product), set()).update(self._query_words(query))

    def of_query(self, rows: slice) -> list[int]:
        """Return the products of one query's pairs that are safe negatives, the best seen first."""
        pairs, seen = self._pairs, self._seen[rows]
        well_seen = np.flatnonzero(~pairs.touched[rows] & (seen >= self.least))
        order = np.lexsort((pairs.product[rows][well_seen], -seen[well_seen]))
        words = self._query_words(int(pairs.query[rows.start]))
        products = (int(pairs.product[rows][row]) for row in well_seen[order])
        safe = (product for product in products if words.isdisjoint(self._wanted.get(self._title_words(product), ())))
        return list(islice(safe, MAX_NEGATIVES))
