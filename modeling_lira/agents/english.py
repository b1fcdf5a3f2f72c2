"""English words: which words of a text are English, though the text is in another language."""

import re
from functools import lru_cache
from importlib.resources import files

_WORD = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*")
_SHORTEST_PART = 4
"""Letters of either part of a compound word, such as kettlebell; shorter words are parts of too many others."""


@lru_cache(maxsize=1)
def english_words() -> frozenset[str]:
    """Return about 21,000 English words in lower case, of general texts and of shops.

    They are the whole words of all-MiniLM-L6-v2's vocabulary (Apache 2.0), without rare short ones and those that are
    words of the seven languages too, and the words of the English product names in the corpus' lexicon.
    """
    listed = files("modeling_lira.agents").joinpath("english_words.txt").read_text(encoding="utf-8")
    return frozenset(listed.split())


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case; in scripts that set no spaces, or with vowel signs, pieces of them."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=65536)
def is_english(word: str) -> bool:
    """Return whether a word in lower case is English, a compound of English words, or has digits, as sizes have."""
    words = english_words()
    if word in words or any(character.isdigit() for character in word):
        return True
    if any(mark in word for mark in "'.-"):
        return all(part in words for part in re.split(r"['.-]", word) if len(part) > 1)
    cuts = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
    return any(word[:cut] in words and word[cut:] in words for cut in cuts)
