"""Which documents of a batch may count as negatives of a query."""

import torch
from torch import Tensor


def gains_of(relevant: Tensor, grades: Tensor, ids: Tensor) -> Tensor:
    """Look up each query's grades of the documents at hand.

    Parameters
    ----------
    relevant : Tensor, [Q, R], int64
        Ids of each query's relevant documents, -1 where there are no more.
    grades : Tensor, [Q, R]
    ids : Tensor, [N], int64, none twice
        The documents at hand.

    Returns
    -------
    Tensor, [Q, N], 0 where a document is not among the query's relevant ones.

    Source: ours.
    """
    gains = grades.new_zeros(len(relevant), len(ids))
    if not relevant.numel() or not len(ids):
        return gains
    ordered, order = ids.sort()
    place = torch.searchsorted(ordered, relevant).clamp_max(len(ids) - 1)  # [Q, R]
    found = (ordered[place] == relevant) & (relevant >= 0)
    return gains.scatter_add_(1, order[place], grades * found)


def safe_negatives(frozen: Tensor, gains: Tensor, threshold: float) -> Tensor:
    """Tell which documents count for each query: the relevant ones, and those unlike every one of them.

    An unjudged document that a frozen encoder can hardly tell from a relevant one, a second copy of it above all, may
    well be relevant too.

    Parameters
    ----------
    frozen : Tensor, [N, H], unit norm
        The documents by a frozen encoder.
    gains : Tensor, [Q, N]
    threshold : float
        Largest cosine of a negative to a relevant document; 1 or more lets all be negatives.

    Returns
    -------
    Tensor, [Q, N], bool

    Source: paper, LaSR (safe negatives, name only); the rule is ours.
    """
    relevant = gains > 0
    if threshold >= 1:
        return torch.ones_like(relevant)
    alike = (frozen @ frozen.T > threshold).to(frozen.dtype)  # [N, N]
    near_relevant = relevant.to(frozen.dtype) @ alike > 0
    return relevant | ~near_relevant
