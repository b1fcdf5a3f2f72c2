"""A loss by which an encoder learns the grades of all titles of a batch, not that one fits and no other does."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor, nn
from torch.nn import functional as F


class Judgements:
    """The gains of every training row's query, and the documents that the row brings into its batch."""

    def __init__(self) -> None:
        self._gains: list[Mapping[int, int]] = []
        self._documents: list[Sequence[int]] = []

    def add(self, gains: Mapping[int, int], documents: Sequence[int]) -> int:
        """Add a row: its query's gains by document, and its documents; return its number."""
        self._gains.append(gains)
        self._documents.append(documents)
        return len(self._gains) - 1

    def targets(self, rows: Sequence[int], batch: Sequence[int]) -> Tensor:
        """Return how much each document of a batch deserves of each row's attention, [rows, C * batch], sum 1 a row.

        Documents are in the order of the columns: first those that all rows of the batch have in their first column.
        """
        documents = np.array([self._documents[row] for row in batch]).T.reshape(-1)
        gains = [[self._gains[row].get(document, 0) for document in documents.tolist()] for row in rows]
        return F.normalize(torch.tensor(gains, dtype=torch.float32), p=1, dim=1)


def ranking_loss(
    encoder: SentenceTransformer, judgements: Judgements | None, mini_batch_size: int, settings: Mapping[str, Any]
) -> nn.Module:
    """Return the mean cross-entropy of each query's softmax over a batch's documents with what they deserve.

    Parameters
    ----------
    encoder : SentenceTransformer
    judgements : Judgements, optional
        By which a document deserves its grade's share, each batch's `labels` being numbers of rows; without them the
        row's own document deserves all, as in sentence-transformers' loss.
    mini_batch_size : int
        Rows that are in memory together, 0 for all.
    settings : mapping
        Of sentence-transformers' loss: `scale`, 1 / temperature, and `gather_across_devices`.

    Source: the list-wise softmax loss of Cao et al. (2007).
    """
    if judgements is None and not mini_batch_size:
        return MultipleNegativesRankingLoss(encoder, **settings)
    if judgements is None:
        return CachedMultipleNegativesRankingLoss(encoder, mini_batch_size=mini_batch_size, **settings)
    if not mini_batch_size:
        return _GradedLoss(encoder, judgements, **settings)
    return _CachedGradedLoss(encoder, judgements, mini_batch_size=mini_batch_size, **settings)


class _GradedLoss(MultipleNegativesRankingLoss):
    def __init__(self, encoder: SentenceTransformer, judgements: Judgements, **settings: Any) -> None:
        super().__init__(encoder, **settings)
        self.judgements = judgements

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        return _cross_entropy(self, embeddings, labels)


class _CachedGradedLoss(CachedMultipleNegativesRankingLoss):
    def __init__(self, encoder: SentenceTransformer, judgements: Judgements, **settings: Any) -> None:
        super().__init__(encoder, **settings)
        self.judgements = judgements

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        loss = _cross_entropy(self, [torch.cat(parts) for parts in reps], cast(Tensor, labels))
        if with_backward:
            loss.backward()
        return loss.detach() if with_backward else loss


def _cross_entropy(loss: _GradedLoss | _CachedGradedLoss, embeddings: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Compare this process' queries with the documents of all."""
    queries, *columns = embeddings
    batch = labels
    if loss.gather_across_devices:
        columns = [all_gather_with_grad(column) for column in columns]
        batch = all_gather(labels)
    scores = loss.scale * loss.similarity_fct(queries, torch.cat(columns))
    return F.cross_entropy(scores.float(), loss.judgements.targets(labels.tolist(), batch.tolist()).to(scores.device))
