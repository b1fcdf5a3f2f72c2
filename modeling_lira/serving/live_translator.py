"""Candidates for queries as they arrive: translated by an agent, each text once."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ..agents import CandidateStore, Translator, translate
from ..errors import LiraError

logger = logging.getLogger(__name__)

Query = tuple[str, str]
"""A text and its language code."""


class LiveTranslator:
    """Translates queries and keeps what it has translated.

    Parameters
    ----------
    translator : Translator
        Any of the agents.
    cache : Path
        Folder of a `CandidateStore`, which outlives the server; one that `lira translate` filled with the commonest
        queries answers those without any delay.
    limit : int
        Texts that the cache may hold. A text beyond them is translated, and again when it is asked again, so that
        nobody can fill the memory with texts that are never asked twice.
    """

    def __init__(self, translator: Translator, cache: Path, limit: int = 1_000_000) -> None:
        self._translator, self._limit = translator, limit
        self._store = CandidateStore(cache)

    def candidates(self, queries: Sequence[Query]) -> list[list[str]]:
        """Return the English candidates of each query; none where the translator fails, which is logged.

        A query is then embedded without translations: a search that is a little worse is better than none.
        """
        texts, languages = [text for text, _ in queries], [language for _, language in queries]
        store = self._store if len(self._store) < self._limit else None
        try:
            several = translate(self._translator, texts, languages, store, progress=False)
        except (LiraError, OSError) as error:
            logger.warning("%d queries are embedded without translations: %s", len(queries), error)
            return [[] for _ in queries]
        return [[candidate.text for candidate in candidates] for candidates in several]

    def close(self) -> None:
        """Release the cache for other processes."""
        self._store.close()
