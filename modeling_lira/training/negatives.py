"""Which documents of a batch may count as negatives of a query."""

import torch
from torch import Tensor


def gains_of(relevant: Tensor, grades: Tensor, ids: Tensor) -> Tensor:
    """Return each query's grade of every document of a batch.

    Parameters
    ----------
    relevant : Tensor, [Q, R], int64
        Ids of each query's relevant documents, -1 where there are no more.
    grades : Tensor, [Q, R]
    ids : Tensor, [N], int64, none twice
        The documents of the batch.

    Returns
    -------
    Tensor, [Q, N], 0 where a document is not among the query's relevant ones.
    """
    gains = grades.new_zeros(len(relevant), len(ids))
    if not relevant.numel() or not len(ids):
        return gains
    ordered, order = ids.sort()
    position = torch.searchsorted(ordered, relevant).clamp_max(len(ids) - 1)  # [Q, R]
    is_relevant = (ordered[position] == relevant) & (relevant >= 0)
    return gains.scatter_add_(1, order[position], grades * is_relevant)


def safe_negatives(frozen: Tensor, gains: Tensor, threshold: float) -> Tensor:
    """Return which documents count for each query: the relevant ones, and those unlike every relevant one.

    An unjudged document that is very similar to a relevant one, such as a copy of it, is probably relevant too. It must
    not be pushed away from the query as a negative.

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

    Source: paper, LaSR (safe negatives, the name only); METHOD.md, LaSR 5.
    """
    relevant = gains > 0
    if threshold >= 1:
        return torch.ones_like(relevant)
    alike = (frozen @ frozen.T > threshold).to(frozen.dtype)  # [N, N]
    near_relevant = relevant.to(frozen.dtype) @ alike > 0
    return relevant | ~near_relevant
