"""The embeddings of a split by one model, and the metrics of a search with them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.tables import ENGLISH_INPUTS, SplitTables, Table
from ..modeling_lira import LiraModel
from .metrics import ndcg, pearson, spearman

_BATCH = 512


@torch.inference_mode()
def embed_table(model: LiraModel, table: Table, with_english: bool = True) -> Tensor:
    """Return the embedding of every row of a table, [N, D]; `with_english` says whether candidates are used."""
    model.eval()
    parts = []
    for start in range(0, len(table), _BATCH):
        batch = table.batch(np.arange(start, min(start + _BATCH, len(table))))
        if not with_english:
            batch = {name: value for name, value in batch.items() if name not in ENGLISH_INPUTS}
        parts.append(model(**batch)["sentence_embedding"])
    return torch.cat(parts)


@dataclass(frozen=True)
class Embedded:
    """A split's embeddings: `queries` [Q, D] with (True) or without candidates, `documents` [N, D] by title.

    The documents' key is True for English titles, and False for local ones, which are embedded without English.
    """

    tables: SplitTables
    queries: dict[bool, Tensor]
    documents: dict[bool, Tensor]

    def scores(self, english_titles: bool, with_candidates: bool) -> Tensor:
        """Return the cosine of every query with every document, [Q, N]."""
        return self.queries[with_candidates] @ self.documents[english_titles].T

    def ndcg(self, *, english_titles: bool = True, with_candidates: bool = True, k: int = 10) -> Tensor:
        """Return nDCG@k [Q] of each query against all documents of its split."""
        return ndcg(self.scores(english_titles, with_candidates), self.tables.split.gain_matrix(), k)

    def correlations(self, *, with_candidates: bool = True) -> tuple[float, float]:
        """Return Pearson's and Spearman's correlation of the graded pairs' cosines with their targets."""
        predicted, wanted = self.graded_pairs(with_candidates)
        return pearson(predicted, wanted), spearman(predicted, wanted)

    def graded_pairs(self, with_candidates: bool = True) -> tuple[Tensor, Tensor]:
        """Return the cosines and the wanted similarities of all graded pairs, [P] each."""
        pairs = self.tables.split.pairs
        queries = torch.tensor([query for query, row in enumerate(pairs) for _ in row])
        documents = torch.tensor([document for row in pairs for document, _ in row])
        predicted = self.scores(False, with_candidates)[queries, documents]
        return predicted, torch.tensor([target for row in pairs for _, target in row])


def embed_split(model: LiraModel, tables: SplitTables) -> Embedded:
    """Return the embeddings that the evaluation of a split needs."""
    return Embedded(
        tables,
        queries={wanted: embed_table(model, tables.queries, wanted) for wanted in (True, False)},
        documents={english: embed_table(model, tables.documents(english), english) for english in (True, False)},
    )


def retrieval_ndcg(
    model: LiraModel, tables: SplitTables, english_titles: bool = True, with_candidates: bool = True, k: int = 10
) -> Tensor:
    """Return nDCG@k [Q] of each query against the English titles, or the local ones, of its split."""
    queries = embed_table(model, tables.queries, with_candidates)
    documents = embed_table(model, tables.documents(english_titles), english_titles)
    return ndcg(queries @ documents.T, tables.split.gain_matrix(), k)
