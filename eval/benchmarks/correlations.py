"""Correlations of graded pairs that can be drawn again query by query: pairs of one query are not independent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modeling_lira.errors import LiraError
from modeling_lira.evaluation.metrics import interval_of, ranks

CORRELATIONS = ("pearson", "spearman")
SAMPLES = 2_000


@dataclass(frozen=True)
class CorrelationSums:
    """Each query's count and sums of x, y, x², y² and xy, of the values and of their ranks; [Q, 6] each.

    They add up: a correlation over any choice of queries is that of the sum of their rows.
    """

    pearson: Tensor
    spearman: Tensor

    @classmethod
    def of(cls, predicted: Tensor, wanted: Tensor, owners: Tensor) -> "CorrelationSums":
        """Sum pairs [P] of predictions and targets by their owners [P], numbers of queries.

        Ranks are those among all pairs, tied values sharing the middle one.
        """
        return cls(_sums(predicted.double(), wanted.double(), owners), _sums(ranks(predicted), ranks(wanted), owners))

    def correlation(self, name: str) -> float:
        """Return the correlation over all queries, "pearson" or "spearman"; NaN where one side does not vary."""
        return float(_correlations(self._named(name).sum(0)))

    def drawn(self, name: str, weights: Tensor) -> Tensor:
        """Return the correlations [N] over draws of queries, given as how often each was drawn [N, Q]."""
        return _correlations(weights @ self._named(name))

    def _named(self, name: str) -> Tensor:
        if name not in CORRELATIONS:
            raise LiraError(f"correlation {name!r} is unknown: choose from {', '.join(CORRELATIONS)}")
        return self.pearson if name == CORRELATIONS[0] else self.spearman


def _sums(first: Tensor, second: Tensor, owners: Tensor) -> Tensor:
    # Centred first, which leaves a correlation as it is: differences of large sums would lose digits.
    x, y = first.double() - first.double().mean(), second.double() - second.double().mean()
    rows = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], 1)
    places = owners.unique(return_inverse=True)[1]
    return rows.new_zeros(int(places.max()) + 1, 6).index_add_(0, places, rows)


def _correlations(sums: Tensor) -> Tensor:
    count, x, y, xx, yy, xy = sums.unbind(-1)
    covariance = xy - x * y / count
    return covariance / ((xx - x * x / count) * (yy - y * y / count)).sqrt()


def correlation_difference(
    first: Sequence[CorrelationSums],
    second: Sequence[CorrelationSums],
    name: str,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Mapping[str, float]:
    """Return how much higher one system's correlation is, with its paired 95% bootstrap interval over queries.

    Parameters
    ----------
    first, second : sequence of CorrelationSums
        Of several models of one system, whose correlations are averaged.
    name : "pearson" or "spearman"
    samples, seed : int

    Returns
    -------
    dict of `mean`, `low`, `high`

    Source: Efron and Tibshirani (1993); queries are drawn, not pairs.
    """
    count = len(first[0].pearson)
    random = np.random.default_rng(seed)
    weights = torch.from_numpy(random.multinomial(count, np.full(count, 1 / count), size=samples)).double()
    drawn = [torch.stack([sums.drawn(name, weights) for sums in side]).mean(0) for side in (first, second)]
    mean = [float(np.mean([sums.correlation(name) for sums in side])) for side in (first, second)]
    low, high = interval_of(drawn[0] - drawn[1])
    return {"mean": mean[0] - mean[1], "low": low, "high": high}
