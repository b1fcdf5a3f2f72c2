"""Check a critic: how often it rates a true translation above an unrelated one, in each language."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from .candidate import Critic, Scores

PASS_SHARE = 0.95
"""The least share of comparisons that a critic must get right; guessing gets 0.5."""
SHIFTS = (1, 11)
"""The unrelated translations of pair i are the true ones of pairs i + 1 and i + 11 of its language."""


@dataclass(frozen=True)
class Pair:
    """A text and its true translation."""

    language: str
    text: str
    english: str


@dataclass(frozen=True)
class Share:
    """The share of comparisons in which the true translation was rated higher, ties counting half; and their number."""

    share: float
    count: int

    @property
    def passed(self) -> bool:
        """Whether the critic is good enough to be used in this language."""
        return self.share >= PASS_SHARE


def check_pairs() -> list[Pair]:
    """Return the committed pairs: shopping phrases and everyday sentences, the same 44 in each of seven languages.

    They were written for this check, and none is an example in a prompt.
    """
    table = files("modeling_lira.agents").joinpath("check_pairs.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [Pair(row["language"], row["text"], row["english"]) for row in rows]


def comparisons(pairs: Sequence[Pair]) -> list[Pair]:
    """Return groups of `1 + len(SHIFTS)` pairs: each pair, then its text with each unrelated translation."""
    languages = list(dict.fromkeys(pair.language for pair in pairs))
    compared = []
    for language in languages:
        pairs_of_language = [pair for pair in pairs if pair.language == language]
        for position, pair in enumerate(pairs_of_language):
            others = [pairs_of_language[(position + shift) % len(pairs_of_language)].english for shift in (0, *SHIFTS)]
            compared += [Pair(language, pair.text, english) for english in others]
    return compared


def check(critic: Critic, pairs: Sequence[Pair]) -> Iterator[tuple[str, Share]]:
    """Yield each language with the share of comparisons that the critic's semantic measurement gets right.

    Parameters
    ----------
    critic : Critic
    pairs : sequence of Pair
        At least 12 of each language, so that both shifts lead to other pairs.

    Yields
    ------
    (str, Share)

    Raises
    ------
    LiraError
        As `critic.measure`.

    Source: METHOD.md, Arca 4.
    """
    for language in dict.fromkeys(pair.language for pair in pairs):
        asked = comparisons([pair for pair in pairs if pair.language == language])
        measured: dict[int, Scores] = {}
        texts, english = [pair.text for pair in asked], [pair.english for pair in asked]
        for batch in critic.measure(texts, english, [language] * len(asked)):
            measured.update(batch)
        # A pair without a measurement is NaN, which is neither greater nor equal: its comparisons are lost.
        semantic = [measured[index][0] if index in measured else None for index in range(len(asked))]
        yield language, _share([math.nan if score is None else score for score in semantic])


def _share(semantic: list[float]) -> Share:
    """Return the share of wins, given groups of one true and `len(SHIFTS)` unrelated measurements one after another."""
    size = 1 + len(SHIFTS)
    wins = [
        1.0 if semantic[start] > other else 0.5 if semantic[start] == other else 0.0
        for start in range(0, len(semantic), size)
        for other in semantic[start + 1 : start + size]
    ]
    return Share(sum(wins) / len(wins), len(wins))
