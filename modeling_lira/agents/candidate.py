"""What translators and critics exchange."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import LiraError

Setting = str | int | float
Settings = Mapping[str, Setting]
Scores = tuple[float, float, float]


class NoAnswerError(LiraError):
    """An agent that was asked got no valid answer at all."""


@dataclass(frozen=True)
class Candidate:
    """One English translation of a text: who made it and, once criticised, its scores in [1, 10]."""

    text: str
    agent: str
    semantic: float | None = None
    emotional: float | None = None
    pragmatic: float | None = None


class Translator(Protocol):
    """Anything that makes candidates; `name` and `settings` tell its results from another's."""

    name: str

    @property
    def settings(self) -> Settings:
        """Return all that changes a result."""
        ...

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        """Yield finished batches of (index of the text, its candidates); texts that must wait are left out."""
        ...


class Critic(Protocol):
    """Anything that measures pairs of a text and a candidate; measurements become scores by calibration."""

    name: str

    @property
    def settings(self) -> Settings:
        """Return all that changes a measurement."""
        ...

    @property
    def needs_calibration(self) -> bool:
        """Whether measurements are not in [1, 10] by themselves."""
        ...

    def measure(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, Scores]]]:
        """Yield finished batches of (index of the pair, its three raw measurements); some may be left out."""
        ...
