"""Spoil candidates in controlled ways, to see what a model does when the translator is bad."""

import random
from collections.abc import Callable, Mapping, Sequence

from modeling_lira.errors import LiraError

Spoiler = Callable[["Noise", str, int], str]
_INVENTED = (
    "best seller of the year", "free gift inside", "as seen on television", "please call our hotline",
    "size chart below", "limited edition 2019", "made for professionals", "with remote control",
    "for left-handed users", "batteries included",
)  # fmt: skip
_SENSES = {
    "light": "not heavy", "glass": "window pane", "mouse": "small rodent", "bank": "river side", "fan": "admirer",
    "iron": "metal", "watch": "look at", "bat": "night animal", "ball": "dance party", "pen": "animal enclosure",
    "nail": "carpenter's spike", "cream": "dairy fat", "pot": "poker stake", "ring": "phone call", "case": "lawsuit",
    "belt": "region", "band": "music group", "chip": "wood splinter", "cap": "upper limit", "bow": "front of a ship",
    "table": "data grid", "file": "document", "plug": "advertisement", "seal": "sea animal", "stick": "adhere",
    "shirt": "jersey", "shoes": "horseshoes", "bag": "sack race", "phone": "speech sound", "oil": "petroleum",
    "rice": "paddy field", "tea": "evening meal", "milk": "exploit", "soap": "television series",
    "brush": "undergrowth", "red": "communist", "blue": "sad", "green": "inexperienced", "black": "illicit",
    "white": "egg part", "small": "petty", "large": "at liberty", "cheap": "stingy", "men": "chess pieces",
    "women": "wives", "kids": "goats",
}  # fmt: skip


class Noise:
    """What a spoiler may use: a random generator, the level, the source texts, and the candidates of all texts."""

    def __init__(
        self, rng: random.Random, level: float, sources: Sequence[str], others: Sequence[Sequence[str]]
    ) -> None:
        self.random = rng
        self.level = level
        self.sources = sources
        self.others = others

    def share(self, words: Sequence[str]) -> int:
        """Return how many of the words to spoil: the share `level`, rounded, and at least one."""
        return max(1, round(self.level * len(words)))


def add_noise(
    candidates: Sequence[Sequence[str]],
    level: float,
    kind: str,
    seed: int = 0,
    sources: Sequence[str] | None = None,
) -> list[list[str]]:
    """Return new candidates of which a share is spoiled; the given ones are not changed.

    Parameters
    ----------
    candidates : sequence of sequences of str
        Each text's candidates.
    level : float
        In [0, 1]: the probability that a candidate is spoiled, and for drop, swap, wrong sense and truncated also the
        share of its words that is. 0 returns the candidates as they are, 1 spoils every one.
    kind : str
        One of `KINDS`. "drop": words are left out; "swap": the candidate of another text; "wrong_sense": words give way
        to other senses, or to other texts' words; "untranslated": the source itself (needs `sources`); "truncated": the
        end is missing; "hallucinated": something is added that nobody asked for.
    seed : int
    sources : sequence of str, optional
        The texts that the candidates translate.

    Returns
    -------
    list of list of str
        As many candidates a text as before, none empty.

    Raises
    ------
    LiraError
        If the kind is unknown, the level is outside [0, 1], "untranslated" has no sources, or their number is not that
        of the texts.

    Source: after the question of the paper's reviewers what happens when the translator is bad.
    """
    _check(candidates, level, kind, sources)
    spoil = _SPOILERS[kind]
    noisy: list[list[str]] = []
    for row, texts in enumerate(candidates):
        noise = Noise(random.Random(f"{seed}:{kind}:{row}"), level, sources or (), candidates)
        noisy.append([spoil(noise, text, row) if noise.random.random() < level else text for text in texts])
    return noisy


def _check(candidates: Sequence[Sequence[str]], level: float, kind: str, sources: Sequence[str] | None) -> None:
    if kind not in _SPOILERS:
        raise LiraError(f"noise {kind!r} is unknown: choose one of {', '.join(KINDS)}")
    if not 0 <= level <= 1:
        raise LiraError(f"noise level {level} is outside [0, 1]")
    if kind == "untranslated" and sources is None:
        raise LiraError("noise 'untranslated' puts sources in the candidates' place: give sources")
    if sources is not None and len(sources) != len(candidates):
        raise LiraError(f"{len(sources)} sources for {len(candidates)} texts: give one each")


def _drop(noise: Noise, text: str, row: int) -> str:
    words = text.split()
    dropped = set(noise.random.sample(range(len(words)), min(noise.share(words), len(words) - 1)))
    return " ".join(word for position, word in enumerate(words) if position not in dropped)


def _swap(noise: Noise, text: str, row: int) -> str:
    """Return a candidate of another text; if there is none, the text itself."""
    rows = [other for other, theirs in enumerate(noise.others) if other != row and theirs]
    return noise.random.choice(noise.others[noise.random.choice(rows)]) if rows else text


def _wrong_sense(noise: Noise, text: str, row: int) -> str:
    """Replace words, ambiguous ones first."""
    words = text.split()
    positions = sorted(
        range(len(words)), key=lambda position: (words[position].casefold() not in _SENSES, noise.random.random())
    )
    for position in positions[: noise.share(words)]:
        words[position] = _SENSES.get(words[position].casefold()) or noise.random.choice(
            _swap(noise, text, row).split()
        )
    return " ".join(words)


def _untranslated(noise: Noise, text: str, row: int) -> str:
    return noise.sources[row]


def _truncated(noise: Noise, text: str, row: int) -> str:
    words = text.split()
    if len(words) == 1:
        return text[: max(1, len(text) // 2)]
    return " ".join(words[: max(1, len(words) - noise.share(words))])


def _hallucinated(noise: Noise, text: str, row: int) -> str:
    return f"{text} {noise.random.choice(_INVENTED)}"


_SPOILERS: Mapping[str, Spoiler] = {
    "drop": _drop,
    "swap": _swap,
    "wrong_sense": _wrong_sense,
    "untranslated": _untranslated,
    "truncated": _truncated,
    "hallucinated": _hallucinated,
}
KINDS = tuple(_SPOILERS)
