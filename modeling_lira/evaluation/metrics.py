"""Retrieval metrics on dense score and gain matrices."""

import torch
from torch import Tensor

_DRAWN_AT_ONCE = 1 << 22
"""Places that the bootstrap holds in memory at a time."""


def dcg_discounts(count: int) -> Tensor:
    """Return 1 / log2(rank + 1) for ranks 1 ... `count`, [count]."""
    return 1.0 / torch.log2(torch.arange(count, dtype=torch.float64) + 2.0)


def ndcg(scores: Tensor, gains: Tensor, k: int = 10) -> Tensor:
    """Compute nDCG@k of every query with linear gains, as trec_eval and MTEB do.

    Parameters
    ----------
    scores : Tensor, [Q, N]
        Higher ranks first; among equal scores the earlier document ranks first.
    gains : Tensor, [Q, N], not negative
    k : int

    Returns
    -------
    Tensor, [Q], float64, in [0, 1]
        NaN for a query without any relevant document: it has no ideal ranking.

    Source: Järvelin and Kekäläinen (2002).
    """
    cut = min(k, scores.shape[1])
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :cut]
    discounts = dcg_discounts(cut).to(scores.device)
    found = (gains.double().gather(1, order) * discounts).sum(1)
    ideal = (gains.double().topk(cut, dim=1).values * discounts).sum(1)
    return found / ideal.masked_fill(ideal == 0, float("nan"))


def pearson(first: Tensor, second: Tensor) -> float:
    """Return the linear correlation of two samples [P]; NaN where one of them does not vary."""
    both = torch.stack([first.double(), second.double()])
    return float(torch.corrcoef(both)[0, 1])


def spearman(first: Tensor, second: Tensor) -> float:
    """Return the correlation of the ranks of two samples [P], tied values sharing their middle rank."""
    return pearson(ranks(first), ranks(second))


def ranks(values: Tensor) -> Tensor:
    """Return ascending ranks [P] from 1, tied values sharing the middle one."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (last - (counts - 1) / 2)[place]


def bootstrap_interval(
    values: Tensor, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values` [Q].

    For a paired comparison give the per-query differences.

    Source: Efron and Tibshirani (1993).
    """
    return interval_of(bootstrap_means(values, samples, seed), level)


def bootstrap_means(values: Tensor, samples: int, seed: int) -> Tensor:
    """Return the means [samples] of as many draws with replacement from `values` [Q], float64."""
    generator = torch.Generator().manual_seed(seed)
    step = max(1, _DRAWN_AT_ONCE // len(values))
    parts = []
    for start in range(0, samples, step):
        drawn = torch.randint(len(values), (min(step, samples - start), len(values)), generator=generator)
        parts.append(values.double()[drawn].mean(1))
    return torch.cat(parts)


def interval_of(means: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval that holds a share of `level` of bootstrap means [samples]."""
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high
