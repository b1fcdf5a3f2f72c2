"""Products that were so well seen under a query and left alone that they are hardly relevant to it."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import numpy as np

from modeling_lira.evaluation.bm25 import tokens

from .clicks import RATE_PRIOR, Pairs

UNLUCKY = 0.05
"""How likely a product as attractive as those that were touched may be to have been left alone all the same."""
FALSE_SHARE = 0.05
"""The share of negatives that may be relevant after all, as the log lets one estimate it."""
LEAST_SEEN = 3.0
MAX_NEGATIVES = 8
_RELEVANT_SHARE = 1 / 3
"""Touched pairs with less than this share of the usual rate may be chance clicks, and stand for none left alone."""


def click_rate(actions: np.ndarray, seen: np.ndarray) -> float:
    """Return the rate of actions a view that explains the actions on touched pairs, given that they were touched.

    A pair counts as touched only because of its first click; so the plain mean is too high where pairs were seen a few
    times. 0 where no pair was touched twice.

    Source: the maximum-likelihood estimate of a binomial rate from samples without zeros, by bisection.
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        expected = (seen * rate / -np.expm1(seen * math.log1p(-rate))).sum()
        low, high = (rate, high) if expected < actions.sum() else (low, rate)
    return low


def least_seen(pairs: Pairs, seen: np.ndarray) -> float:
    """Return how often a product must have been seen, in expectation, before its being left alone says something.

    A relevant product is left alone n times with probability (1 - rate) ** n, which must not be above `UNLUCKY`; the
    rate is the log's own. Shops show relevant products most, so that even few unlucky ones could be many of those left
    alone: each touched pair stands for as many left alone as its own rate lets one expect, and those must not be above
    `FALSE_SHARE` of all that were left alone and seen as often.

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
    """Return for each limit the weight of the values that are not below it."""
    order = np.argsort(values)
    above = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    return above[np.searchsorted(values[order], limits)]


class SafeNegatives:
    """Finds the safe negatives of each query of a language.

    Not safe is what anybody touched under this query or one that shares a word with it, nor what has the very words
    of such a product.

    Parameters
    ----------
    pairs : Pairs
    seen : array, [P]
        How often each product was seen under each query.
    queries : sequence of str
        Texts by the numbers of `pairs.query`.
    titles : sequence of str
        By the numbers of `pairs.product`.
    language : str

    Attributes
    ----------
    least : float
        How often a negative was seen at least.
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
