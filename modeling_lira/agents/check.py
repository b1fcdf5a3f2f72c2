"""Does a critic tell good from bad? True translations against unrelated ones, known answers in every language."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from .candidate import Critic, Scores

PASS_SHARE = 0.95
SHIFTS = (1, 11)
"""A pair's unrelated translations are those of the pairs so many places further on in its language."""


@dataclass(frozen=True)
class Pair:
    """A text and its true translation."""

    language: str
    text: str
    english: str


@dataclass(frozen=True)
class Share:
    """How often a true translation was put above an unrelated one, ties counting half, of how many comparisons."""

    share: float
    count: int

    @property
    def passed(self) -> bool:
        """Whether the critic may be used in this language."""
        return self.share >= PASS_SHARE


def check_pairs() -> list[Pair]:
    """Return the committed pairs: shopping phrases and everyday sentences, the same 44 in each of seven languages.

    Written for this check; none is an example in a prompt.
    """
    table = files("modeling_lira.agents").joinpath("check_pairs.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [Pair(row["language"], row["text"], row["english"]) for row in rows]


def comparisons(pairs: Sequence[Pair]) -> list[Pair]:
    """Return each pair followed by its text with unrelated translations, `1 + len(SHIFTS)` in all."""
    languages = list(dict.fromkeys(pair.language for pair in pairs))
    found = []
    for language in languages:
        own = [pair for pair in pairs if pair.language == language]
        for place, pair in enumerate(own):
            others = [own[(place + shift) % len(own)].english for shift in (0, *SHIFTS)]
            found += [Pair(language, pair.text, english) for english in others]
    return found


def check(critic: Critic, pairs: Sequence[Pair]) -> Iterator[tuple[str, Share]]:
    """Yield, a language at a time, how often the critic's semantic measurement is right.

    Parameters
    ----------
    critic : Critic
    pairs : sequence of Pair

    Yields
    ------
    (str, Share)

    Source: method "Arca" 4, "the check is a command"; ours.
    """
    for language in dict.fromkeys(pair.language for pair in pairs):
        asked = comparisons([pair for pair in pairs if pair.language == language])
        found: dict[int, Scores] = {}
        texts, english = [pair.text for pair in asked], [pair.english for pair in asked]
        for batch in critic.measure(texts, english, [language] * len(asked)):
            found.update(batch)
        # A pair that the critic left out compares with nothing: every comparison with NaN is lost.
        semantic = [found[index][0] if index in found else math.nan for index in range(len(asked))]
        yield language, _share(semantic)


def _share(semantic: list[float]) -> Share:
    """Read the share off groups of one true and `len(SHIFTS)` unrelated measurements."""
    size = 1 + len(SHIFTS)
    wins = [
        1.0 if semantic[start] > other else 0.5 if semantic[start] == other else 0.0
        for start in range(0, len(semantic), size)
        for other in semantic[start + 1 : start + size]
    ]
    return Share(sum(wins) / len(wins), len(wins))
