"""Words that shops give a log's columns and actions, in English and the seven languages, from `words.tsv`.

Each line of that file is a meaning, a language and words, the most certain first. A meaning is one of our columns
(`query`), one that a word may have among others (`query?`), or an action (`action=click`).
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from ..lexicon import read_table

WORDS = Path(__file__).with_name("words.tsv")
_BRACKETED = re.compile(r"[(\[][^()\[\]]*[)\]]")
_ONE_LETTER = str.maketrans("đيىك", "dییک")
"""Letters that are typed for one another: Vietnamese without its own, Urdu on an Arabic keyboard."""


def plain(name: str) -> str:
    """Return a name without case, accents of Latin letters, what stands in brackets, and all but letters and digits.

    Vowel signs of Thai, Bengali and Urdu stay, since words differ by them alone.
    """
    folded = unicodedata.normalize("NFKD", (_BRACKETED.sub("", name).strip() or name).casefold()).translate(_ONE_LETTER)
    return "".join(
        char for char in folded if unicodedata.category(char)[0] in "LMN" and not "\u0300" <= char <= "\u036f"
    )


def _rows() -> Iterator[tuple[str, int, str]]:
    """Yield meaning, rank in its line, and plain word."""
    for row in read_table(WORDS, ("meaning", "language", "words")):
        for rank, word in enumerate(row["words"].split("|"), 1):
            yield row["meaning"], rank, plain(word)


@lru_cache(maxsize=1)
def names_of_columns() -> Mapping[str, Mapping[str, int]]:
    """Return for each meaning the plain names of columns, each with its rank: 1 is the most certain."""
    names: dict[str, dict[str, int]] = defaultdict(dict)
    for meaning, rank, word in _rows():
        if "=" not in meaning:
            names[meaning].setdefault(word, rank)
    return names


@lru_cache(maxsize=1)
def names_of_actions() -> Mapping[str, str]:
    """Return the action of each plain word, such as "click" for "diklik"."""
    return {word: meaning.partition("=")[2] for meaning, _, word in _rows() if meaning.startswith("action=")}
