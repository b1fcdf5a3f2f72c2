"""How well plain systems (BM25, an encoder alone) search a corpus, which should be neither trivial nor hopeless."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from modeling_lira.backbones.text_encoder import TextEncoder
from modeling_lira.evaluation.bm25 import BM25, tokens
from modeling_lira.evaluation.metrics import ndcg

from ..layout import read_part
from .measures import mean

HOPELESS, TRIVIAL = 0.25, 0.85
"""A plain system's mean nDCG@10 should lie between these."""
QUERIES_AT_ONCE = 16
Scorer = Callable[[Sequence[str]], np.ndarray]
"""Scores queries [Q] against the documents it was made for: [Q, N]."""
System = Callable[[Sequence[str], str], Scorer]
"""Makes a scorer of documents in a language."""


@dataclass(frozen=True)
class Baseline:
    """A system's mean nDCG@10, in [0, 1], on a language's test queries: all, by kind, and those of unseen types."""

    mean: float
    kinds: dict[str, float]
    unseen: float


def score_system(folder: Path, language: str, system: System) -> Baseline:
    """Return a system's nDCG@10 for a language's test queries on its test products, title and text together."""
    products = read_part(folder, language, "corpus", "test", ["_id", "title", "text"]).to_pylist()
    queries = read_part(folder, language, "queries", "test", ["_id", "text", "kind", "unseen_type"]).to_pylist()
    rows = {row["_id"]: number for number, row in enumerate(products)}
    gains: dict[str, dict[int, int]] = {row["_id"]: {} for row in queries}
    for row in read_part(folder, language, "qrels", "test").to_pylist():
        gains[row["query-id"]][rows[row["corpus-id"]]] = row["score"]
    scorer = system([f"{row['title']} {row['text']}".strip() for row in products], language)
    values: list[float] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = queries[start : start + QUERIES_AT_ONCE]
        scores = torch.from_numpy(scorer([row["text"] for row in block]))
        values += ndcg(scores, _targets([gains[row["_id"]] for row in block], len(products))).tolist()
    kinds: dict[str, list[float]] = {}
    for row, value in zip(queries, values, strict=True):
        kinds.setdefault(row["kind"], []).append(value)
    unseen = [value for row, value in zip(queries, values, strict=True) if row["unseen_type"]]
    return Baseline(mean(values), {kind: mean(scores) for kind, scores in sorted(kinds.items())}, mean(unseen))


def _targets(gains: Sequence[dict[int, int]], count: int) -> torch.Tensor:
    targets = torch.zeros(len(gains), count)
    for number, grades in enumerate(gains):
        targets[number, list(grades)] = torch.tensor(list(grades.values()), dtype=torch.float32)
    return targets


def bm25_system(documents: Sequence[str], language: str) -> Scorer:
    """Return the scorer of BM25.

    Source: Robertson and Zaragoza (2009).
    """
    index = BM25(tokens(text, language) for text in documents)
    return lambda queries: np.stack([index.scores(tokens(text, language)) for text in queries])


class EncoderSystem:
    """A multilingual encoder alone, pooled as its own files say, by mean where they do not: cosine.

    Parameters
    ----------
    name : str
        Hub id, folder or `pypi:` name.
    query_prefix, document_prefix : str, optional
        Put before each text; by default the prompts that the encoder's own files or its publisher name.

    Raises
    ------
    LiraError
        If the name is unknown or the folder holds no encoder.
    """

    def __init__(self, name: str, query_prefix: str | None = None, document_prefix: str | None = None) -> None:
        self._encoder = TextEncoder(name)
        prompts = self._encoder.query_prompt, self._encoder.document_prompt
        self._prefixes = (
            prompts[0] if query_prefix is None else query_prefix,
            prompts[1] if document_prefix is None else document_prefix,
        )

    def __call__(self, documents: Sequence[str], language: str) -> Scorer:
        """Encode the documents; return the scorer of queries against them."""
        query_prefix, document_prefix = self._prefixes
        encode = self._encoder.encode
        index = encode([f"{document_prefix}{text}" for text in documents], language)
        return lambda queries: encode([f"{query_prefix}{text}" for text in queries]) @ index.T
