"""Compare LiRA with what a shop could do without it, on the same cached streams."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import LiraError
from .metrics import bootstrap_interval, ndcg
from .modeling_lira import LiraModel
from .training.data import SplitTables, StreamTable, Table
from .training.validation import retrieval_ndcg

ENCODER = "multilingual encoder alone"
TRANSLATE = "translate, then encode"
UNTRAINED = "untrained fusion"
LIRA = "LiRA"
LIRA_FREE = "LiRA without translations"

Scorer = Callable[[SplitTables], Tensor]


@dataclass(frozen=True)
class Comparison:
    """Per-query nDCG@10 of several systems: `scores[system][language]` is a tensor [Q].

    Source: ours.
    """

    scores: dict[str, dict[str, Tensor]]

    def mean(self, system: str, language: str | None = None) -> float:
        """Return a system's mean nDCG@10 on one language, or the mean over the languages."""
        if language is not None:
            return float(self.scores[system][language].mean())
        return float(np.mean([float(values.mean()) for values in self.scores[system].values()]))

    def best_rival(self, system: str) -> str:
        """Return the other system with the best mean over languages."""
        return max((name for name in self.scores if name != system), key=self.mean)

    def interval(self, system: str, language: str | None = None) -> tuple[float, float]:
        """Return the 95% bootstrap interval of a system's mean; over all languages' queries by default."""
        return bootstrap_interval(self._values(system, language))

    def gain(self, system: str, rival: str, language: str | None = None) -> tuple[float, float, float]:
        """Return mean difference and its paired 95% bootstrap interval, over all languages' queries by default."""
        difference = self._values(system, language) - self._values(rival, language)
        return float(difference.mean()), *bootstrap_interval(difference)

    def _values(self, system: str, language: str | None) -> Tensor:
        scores = self.scores[system]
        return torch.cat(list(scores.values())) if language is None else scores[language]


def compare(splits: Sequence[SplitTables], systems: Mapping[str, Scorer]) -> Comparison:
    """Score every system on every language's split."""
    return Comparison(
        {name: {split.split.language: score(split) for split in splits} for name, score in systems.items()}
    )


def encoder_alone(split: SplitTables, *, english_titles: bool) -> Tensor:
    """Score the frozen multilingual encoder as it comes: query against titles, mean pooling, cosine; nDCG@10 [Q]."""
    documents = _streams(split.documents(english_titles)).multilingual
    return _cosine_ndcg(split, _streams(split.queries).multilingual, documents)


def translate_then_encode(split: SplitTables) -> Tensor:
    """Score the frozen English encoder on the first translation (greedy) against English titles; nDCG@10 [Q].

    A query without any translation finds nothing and scores as a query of zeros.
    """
    first = _first_candidate(_streams(split.queries))
    table = _streams(split.english)
    titles = table.english[table.rows[:, 0]]
    return _cosine_ndcg(split, first, titles)


def untrained(model: LiraModel, english_titles: bool) -> Scorer:
    """Return the scorer of a model as `from_backbones` made it, with translations."""
    return trained(model, english_titles, with_candidates=True)


def trained(model: LiraModel, english_titles: bool, with_candidates: bool) -> Scorer:
    """Return the scorer of a trained model."""
    return lambda split: retrieval_ndcg(model, split, english_titles, with_candidates)


def _streams(table: Table) -> StreamTable:
    if not isinstance(table, StreamTable):
        raise LiraError("the frozen encoders are compared on cached streams")
    return table


def _first_candidate(table: StreamTable) -> np.ndarray:
    states = np.zeros((len(table), *table.english.shape[1:]), np.float32)
    present = table.rows[:, 0] >= 0
    states[present] = table.english[table.rows[present, 0]]
    return states


def _cosine_ndcg(split: SplitTables, queries: np.ndarray, documents: np.ndarray) -> Tensor:
    left, right = (
        F.normalize(torch.from_numpy(np.asarray(x, np.float32)).mean(1), dim=-1) for x in (queries, documents)
    )
    return ndcg(left @ right.T, split.split.gain_matrix())
