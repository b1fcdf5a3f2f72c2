"""The types that translators, critics and the store share: candidates, scores, settings and both interfaces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import LiraError

Setting = str | int | float
Settings = Mapping[str, Setting]
Score = float | None
Scores = tuple[Score, Score, Score]
"""Semantic, emotional and pragmatic; None for what the critic does not measure."""


class NoAnswerError(LiraError):
    """A server gave no valid answer to any of the questions that it was asked."""


@dataclass(frozen=True)
class Candidate:
    """An English translation of a text, the agent that made it and, if a critic has scored it, scores in [1, 10]."""

    text: str
    agent: str
    semantic: float | None = None
    emotional: float | None = None
    pragmatic: float | None = None


class Translator(Protocol):
    """An agent that makes candidates; a store keeps its results under its `name` and `settings`."""

    name: str

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a result."""
        ...

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        """Yield finished batches.

        Parameters
        ----------
        texts : sequence of str
        languages : sequence of str
            The language code of each text.

        Yields
        ------
        list of (int, list of str)
            Index of a text, and its candidates, the best first; texts without a valid answer are left out.

        Raises
        ------
        LiraError
            If a text is empty, or a language is unknown or not one that the agent translates from.
        """
        ...


def with_new(before: Sequence[Sequence[Candidate]], after: Sequence[Sequence[Candidate]]) -> list[list[Candidate]]:
    """Return each text's candidates: those that it had, then the new ones that are not among them."""
    return [[*old, *(one for one in new if one not in old)] for old, new in zip(before, after, strict=True)]


class Critic(Protocol):
    """An agent that measures pairs of a text and a candidate; a `Calibration` turns measurements into scores."""

    name: str

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a measurement."""
        ...

    @property
    def needs_calibration(self) -> bool:
        """Whether the measurements are not yet scores in [1, 10]."""
        ...

    def measure(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, Scores]]]:
        """Yield finished batches.

        Parameters
        ----------
        texts, candidates, languages : sequences of str
            The pairs, and the language code of each text.

        Yields
        ------
        list of (int, (float, float, float))
            Index of a pair, and its semantic, emotional and pragmatic measurements; pairs without a valid answer are
            left out.

        Raises
        ------
        LiraError
            If a text or a candidate is empty, or a language is unknown.
        """
        ...
