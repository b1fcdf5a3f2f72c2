"""Tables of the texts of a corpus, as cached streams, from which batches are gathered."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..modeling_lira import LiraModel
from .corpus import ENGLISH, NO_SCORES, RetrievalSplit, Texts
from .stream_cache import StreamCache

ENGLISH_INPUTS = ("english_states", "candidate_mask", "critic_scores")
"""What a batch holds of translations; without these a text has none."""


@dataclass(frozen=True)
class Table:
    """Texts with candidates, as cached streams, ready to be gathered into batches.

    `rows` [N, K] are the candidates' rows among the distinct English texts, -1 where there is none; `scores` [N, K, 3]
    are the critics' scores, NaN where there are none; `language_ids` [N]; `others` are the rows [N, K] of further
    translations, by their source; `multilingual` [N, S, dg] are the streams of the texts, `english` [M, S, dh] those of
    the distinct candidates.
    """

    rows: np.ndarray
    scores: np.ndarray
    language_ids: np.ndarray
    others: Mapping[str, np.ndarray]
    multilingual: np.ndarray
    english: np.ndarray

    def __len__(self) -> int:
        return len(self.language_ids)

    @property
    def has_english(self) -> np.ndarray:
        """Whether each text has a candidate, [N]."""
        return np.asarray((self.rows >= 0).any(1))

    def contents(self) -> Iterator[np.ndarray]:
        """Yield everything that a batch is made of, for a digest of the table."""
        yield from (self.rows, self.scores, self.language_ids)
        for name, rows in sorted(self.others.items()):
            yield from (np.frombuffer(name.encode(), np.uint8), rows)
        yield from (self.multilingual, self.english)

    def translated(self, rows: np.ndarray, scores: np.ndarray | None = None) -> "Table":
        """Return a table whose texts have the English texts at `rows` [N, K] for candidates, without scores if None."""
        unscored = np.full((*rows.shape, 3), np.nan, np.float32)
        return replace(self, rows=rows, scores=unscored if scores is None else scores)

    def batch(
        self, index: np.ndarray, rows: np.ndarray | None = None, scores: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """Gather texts [B] as `LiraModel.forward` takes them; `rows` and `scores` replace the table's own."""
        rows = self.rows[index] if rows is None else rows
        present = rows >= 0
        states = np.zeros((*rows.shape, *self.english.shape[1:]), np.float32)
        states[present] = self.english[rows[present]]
        return {
            "multilingual_states": torch.from_numpy(self.multilingual[index].astype(np.float32)),
            "english_states": torch.from_numpy(states),
            "candidate_mask": torch.from_numpy(present),
            "critic_scores": torch.from_numpy(self.scores[index] if scores is None else scores),
            "language_ids": torch.from_numpy(self.language_ids[index]),
        }


def english_rows(texts: Texts, num_candidates: int) -> tuple[list[str], dict[str, Any]]:
    """Return the distinct English texts of all translations, and the rows, scores and others of a `Table`.

    At most `num_candidates` of each text's translations are kept.
    """
    sources = {"": texts.candidates, **texts.others}
    distinct = sorted({text for several in sources.values() for row in several for text in row[:num_candidates]})
    position = {text: index for index, text in enumerate(distinct)}
    rows = {name: _rows(several, position, num_candidates) for name, several in sources.items()}
    scores = np.full((len(texts), num_candidates, 3), np.nan, np.float32)
    for index, given in enumerate(texts.scores):
        for column, values in enumerate(given[:num_candidates]):
            scores[index, column] = values
    return distinct, {"rows": rows.pop(""), "scores": scores, "others": rows}


def _rows(translations: Sequence[Sequence[str]], position: Mapping[str, int], width: int) -> np.ndarray:
    rows = np.full((len(translations), width), -1, np.int64)
    for index, row in enumerate(translations):
        kept = row[:width]
        rows[index, : len(kept)] = [position[text] for text in kept]
    return rows


def cache_table(model: LiraModel, cache: StreamCache, texts: Texts, kind: str, num_candidates: int) -> Table:
    """Cache both paths' streams of `texts`; at most `num_candidates` of each text's candidates are kept."""
    distinct, columns = english_rows(texts, num_candidates)
    return Table(
        **columns,
        language_ids=model.processor.language_ids(texts.languages).numpy(),
        multilingual=cache.get(model, texts.texts, "multilingual", kind),
        english=cache.get(model, distinct, "english", kind),
    )


@dataclass(frozen=True)
class SplitTables:
    """Tables of a `RetrievalSplit`: queries, local titles with the English ones as their translations, English titles.

    A document without an English title has no translation, and its local title is among the English ones.
    """

    split: RetrievalSplit
    queries: Table
    local: Table
    english: Table

    def documents(self, english_titles: bool) -> Table:
        """Return the English titles or the local ones."""
        return self.english if english_titles else self.local


def cache_split(model: LiraModel, cache: StreamCache, split: RetrievalSplit) -> SplitTables:
    """Cache every stream that training and evaluation need of one language and split."""
    translations = [[title] if title else [] for title in split.english_titles]
    unscored = [[NO_SCORES] * len(row) for row in translations]
    languages = [ENGLISH if title else split.language for title in split.english_titles]
    local = Texts(split.titles, [split.language] * len(split.titles), translations, unscored)
    english = Texts(split.searched_titles(True), languages, translations, unscored)
    return SplitTables(
        split=split,
        queries=cache_table(model, cache, split.queries, "query", model.config.num_candidates),
        local=cache_table(model, cache, local, "document", 1),
        english=cache_table(model, cache, english, "document", 1),
    )
