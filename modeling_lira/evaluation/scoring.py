"""Search a split by every system of a table: what `lira evaluate` and `python -m eval retrieval` both do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..data.corpus import ENGLISH
from ..data.tables import SplitTables
from ..modeling_lira import LiraModel
from .bm25 import BM25, tokens
from .comparison import check_finite, encoder_alone, translate_then_encode
from .embedded import embed_split, embed_table
from .names import BM25_ROW, ENCODER, LIRA, LIRA_FREE, TRANSLATE, TRANSLATE_BM25, TUNED

ENGLISH_TITLES, LOCAL_TITLES = "English titles", "local titles"
TRANSLATED_TITLES = "local titles with English translations"
DOCUMENTS = (ENGLISH_TITLES, LOCAL_TITLES, TRANSLATED_TITLES)
"""The kinds of documents that a search may be of."""
NEED_ENGLISH = (ENGLISH_TITLES, TRANSLATED_TITLES)
"""Those of `DOCUMENTS` that a corpus without English titles does not have."""


class Searcher(Protocol):
    """A split as one system represents it, from which scores are computed."""

    def scores(self, documents: str, with_candidates: bool) -> Tensor:
        """Return the score of every document for every query, [Q, N]; `documents` is one of `DOCUMENTS`."""
        ...


@dataclass(frozen=True)
class Vectors:
    """A split's embeddings by one system: queries with and without translations, documents by what is searched."""

    queries: dict[bool, Tensor]
    documents: dict[str, Tensor]

    def scores(self, documents: str, with_candidates: bool) -> Tensor:
        """Return cosines [Q, N]."""
        return self.queries[with_candidates] @ self.documents[documents].T


@dataclass(frozen=True)
class Words:
    """A split's texts by BM25: titles in the query's language, or English titles and the first translation."""

    tables: SplitTables

    def scores(self, documents: str, with_candidates: bool) -> Tensor:
        """Return BM25's scores [Q, N]; a query without words, or without a translation, scores 0 everywhere."""
        split = self.tables.split
        if documents == LOCAL_TITLES:
            asked, titles, language = split.queries.texts, split.titles, split.language
        else:
            asked = [row[0] if row else "" for row in split.queries.candidates]
            titles, language = split.english_titles, ENGLISH
        index = BM25(tokens(title, language) for title in titles)
        return torch.from_numpy(np.stack([index.scores(tokens(text, language)) for text in asked]))


@dataclass(frozen=True)
class System:
    """A system: how it reads a split, whether queries have their translations, and which documents it can search."""

    read: Callable[[SplitTables], Searcher]
    with_candidates: bool
    searches: tuple[str, ...] = DOCUMENTS


class Searchers:
    """The searchers of one split, each made once, when it is first asked for, and shared by systems that read alike."""

    def __init__(self, tables: SplitTables) -> None:
        self.tables = tables
        self._known: dict[object, Searcher] = {}

    def of(self, system: System) -> Searcher:
        """Return the searcher of a system."""
        if system.read not in self._known:
            self._known[system.read] = system.read(self.tables)
        return self._known[system.read]

    def documents(self, system: System) -> tuple[str, ...]:
        """Return which documents of this split a system can search: without English titles only the local ones."""
        there = self.tables.split.has_english_titles
        return tuple(documents for documents in system.searches if there or documents not in NEED_ENGLISH)

    def scores(self, system: System, documents: str) -> Tensor:
        """Return a system's scores [Q, N]."""
        return self.of(system).scores(documents, system.with_candidates)


def encoder_vectors(tables: SplitTables) -> Vectors:
    """Return embeddings of the multilingual encoder alone, which does not use translations."""
    embedded = check_finite(encoder_alone(tables), ENCODER)
    local = embedded.documents[False]
    return Vectors(
        embedded.queries,
        {ENGLISH_TITLES: embedded.documents[True], LOCAL_TITLES: local, TRANSLATED_TITLES: local},
    )


def translation_vectors(tables: SplitTables) -> Vectors:
    """Return embeddings of the first translations of queries, and of English titles, by the English encoder."""
    embedded = check_finite(translate_then_encode(tables), TRANSLATE)
    english = embedded.documents[True]
    return Vectors(embedded.queries, {ENGLISH_TITLES: english, TRANSLATED_TITLES: english})


def lira_vectors(model: LiraModel, tables: SplitTables) -> Vectors:
    """Return LiRA's embeddings."""
    embedded = check_finite(embed_split(model, tables), LIRA)
    local = embedded.documents[False]
    both = embed_table(model, tables.local, with_english=True) if tables.split.has_english_titles else local
    check_finite(replace(embedded, documents={True: both}), LIRA)
    return Vectors(
        embedded.queries, {ENGLISH_TITLES: embedded.documents[True], LOCAL_TITLES: local, TRANSLATED_TITLES: both}
    )


def encoder_name(models: Sequence[LiraModel]) -> str:
    """Return the name of the row of the multilingual encoder alone, which the models share."""
    return TUNED if any("multilingual" in model.config.tuned_backbones for model in models) else ENCODER


def systems_of(models: Sequence[LiraModel], with_candidates: bool) -> dict[str, list[System]]:
    """Return the systems of each row of a table; rows that need translations are left out if queries have none.

    Parameters
    ----------
    models : sequence of LiraModel
        Of several seeds, on the same backbones.
    with_candidates : bool
        Whether queries have translations.
    """
    read = [partial(lira_vectors, model) for model in models]
    rows: dict[str, list[System]] = {
        BM25_ROW: [System(Words, False, (LOCAL_TITLES,))],
        encoder_name(models): [System(encoder_vectors, False)],
    }
    if with_candidates:
        rows[TRANSLATE_BM25] = [System(Words, True, NEED_ENGLISH)]
        rows[TRANSLATE] = [System(translation_vectors, True, NEED_ENGLISH)]
        rows[LIRA] = [System(one, True) for one in read]
    return rows | {LIRA_FREE: [System(one, False) for one in read]}


Metrics = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Maps scores [Q, N] and gains [Q, N] to the values [Q] of each metric."""


def searched(
    systems: Mapping[str, Sequence[System]], searchers: Searchers, metrics: Metrics
) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    """Search a split by every system.

    Parameters
    ----------
    systems : mapping of sequences of System
        The systems of each row, which differ only by their seed.
    searchers : Searchers
    metrics : callable

    Yields
    ------
    str, str, dict of Tensor
        What was searched, the row's name, and each metric's values [R, Q] of R systems.

    Raises
    ------
    LiraError
        If an embedding is not finite.
    """
    gains = searchers.tables.split.gain_matrix()
    for name, several in systems.items():
        for documents in searchers.documents(several[0]):
            runs = [metrics(searchers.scores(system, documents), gains) for system in several]
            yield documents, name, {metric: torch.stack([run[metric] for run in runs]) for metric in runs[0]}
