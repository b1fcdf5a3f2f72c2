"""Compare LiRA with other systems on the same cached streams."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.tables import SplitTables, Table
from ..errors import LiraError
from ..modeling_lira import LiraModel
from .embedded import Embedded, retrieval_ndcg
from .metrics import bootstrap_interval, bootstrap_means_of_languages, interval_of
from .names import ENCODER, LIRA, LIRA_FREE, TRANSLATE, TUNED, UNTRAINED

__all__ = ["ENCODER", "LIRA", "LIRA_FREE", "TRANSLATE", "TUNED", "UNTRAINED", "Comparison", "compare", "encoder_alone"]

Scorer = Callable[[SplitTables], Tensor]
"""Maps a split to nDCG@10 of each of its queries, [Q]."""
Embedder = Callable[[SplitTables], Embedded]
_CHUNK = 4096


@dataclass(frozen=True)
class Comparison:
    """Per-query nDCG@10 of several systems: `scores[system][language]` is a tensor [Q].

    `questions[language]` are the queries' ids; the same id in two languages is the same question. Figures without a
    language are means over the languages.
    """

    scores: dict[str, dict[str, Tensor]]
    questions: dict[str, list[str]] = field(default_factory=dict)

    def mean(self, system: str, language: str | None = None) -> float:
        """Return a system's mean nDCG@10 on one language, or the mean over the languages."""
        if language is not None:
            return float(self.scores[system][language].mean())
        return float(np.mean([float(values.mean()) for values in self.scores[system].values()]))

    def best_rival(self, system: str) -> str:
        """Return the other system with the best mean over languages."""
        return max((name for name in self.scores if name != system), key=self.mean)

    def interval(self, system: str, language: str | None = None) -> tuple[float, float]:
        """Return the 95% bootstrap interval of a system's mean."""
        return self._interval(self.scores[system], language)

    def gain(self, system: str, rival: str, language: str | None = None) -> tuple[float, float, float]:
        """Return the mean difference and its paired 95% bootstrap interval."""
        rivals = self.scores[rival]
        differences = {code: values - rivals[code] for code, values in self.scores[system].items()}
        mean = self.mean(system, language) - self.mean(rival, language)
        return mean, *self._interval(differences, language)

    def _interval(self, values: Mapping[str, Tensor], language: str | None) -> tuple[float, float]:
        if language is not None:
            return bootstrap_interval(values[language])
        questions = [self.questions[code] for code in values] if self.questions else None
        return interval_of(bootstrap_means_of_languages(list(values.values()), questions).mean(0))


def compare(splits: Sequence[SplitTables], systems: Mapping[str, Scorer]) -> Comparison:
    """Score every system on every language's split."""
    return Comparison(
        {name: {tables.split.language: score(tables) for tables in splits} for name, score in systems.items()},
        {tables.split.language: tables.split.questions for tables in splits},
    )


def encoder_alone(tables: SplitTables) -> Embedded:
    """Return embeddings of the frozen multilingual encoder alone: mean pooling, unit length."""
    queries = multilingual_vectors(tables.queries)
    return Embedded(
        tables,
        {True: queries, False: queries},
        {english: multilingual_vectors(tables.documents(english)) for english in (True, False)},
    )


def translate_then_encode(tables: SplitTables) -> Embedded:
    """Return embeddings of the first candidates and of the English titles by the frozen English encoder.

    Queries without a translation and local titles get vectors of zeros, so that all their scores are equal.
    """
    queries, titles = english_vectors(tables.queries), english_vectors(tables.english)
    return Embedded(tables, {True: queries, False: queries * 0}, {True: titles, False: titles * 0})


def searching(embed: Embedder, *, english_titles: bool = True, with_candidates: bool = True) -> Scorer:
    """Return the scorer of a system, given the function by which it embeds a split."""
    return lambda tables: embed(tables).ndcg(english_titles=english_titles, with_candidates=with_candidates)


def check_finite(embedded: Embedded, system: str) -> Embedded:
    """Return the embeddings; raise `LiraError` naming the system where one is NaN or infinite."""
    for kind, several in (("query", embedded.queries), ("document", embedded.documents)):
        for values in several.values():
            wrong = (~values.isfinite().all(1)).nonzero()
            if len(wrong):
                raise LiraError(
                    f"{system} gives a {embedded.tables.split.language} {kind} embedding that is not finite "
                    f"(row {int(wrong[0])}, {len(wrong)} in all): its weights are damaged or training diverged"
                )
    return embedded


def untrained(model: LiraModel, english_titles: bool) -> Scorer:
    """Return the scorer of an untrained model, as `from_backbones` returns it, with translations."""
    return trained(model, english_titles, with_candidates=True)


def trained(model: LiraModel, english_titles: bool, with_candidates: bool) -> Scorer:
    """Return the scorer of a trained model."""
    return lambda split: retrieval_ndcg(model, split, english_titles, with_candidates)


def multilingual_vectors(table: Table) -> Tensor:
    """Return the frozen multilingual encoder's unit sentence vectors [N, dg]."""
    return _means(table.multilingual)


def english_vectors(table: Table) -> Tensor:
    """Return the frozen English encoder's unit vectors of the first candidates [N, dh]; zeros where there is none."""
    streams = table
    first = torch.from_numpy(streams.rows[:, 0])
    vectors = torch.zeros(len(streams), streams.english.shape[-1])
    vectors[first >= 0] = _means(streams.english)[first[first >= 0]]
    return vectors


def _means(streams: np.ndarray) -> Tensor:
    """Return unit means over the bins, [N, H], reading a part at a time."""
    parts = [
        torch.from_numpy(streams[start : start + _CHUNK].astype(np.float32)).mean(1)
        for start in range(0, len(streams), _CHUNK)
    ]
    return F.normalize(torch.cat(parts), dim=-1) if parts else torch.zeros(0, streams.shape[-1])
