"""A dictionary gloss: look a text's words up in the authored lexicon and leave some out, as a poor translator does."""

import random
import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache
from itertools import groupby

from modeling_lira.data.languages import is_unspaced

from .grammar import inflections
from .lexicon import ENGLISH, Lexicon, Vocabulary
from .scripts import strip_diacritics

AGENT = "gloss"
_PATTERNS = ("query:", "brandquery:", "pricequery:", "notquery:", "codemix:", "shortened:")
_NOT_WORDS = ("title:", "desc:", "abbrev", "money:", "latin:", "english_names", *_PATTERNS)
_SLOT = re.compile(r"\{\w+\}")
_UNSPACED_ATOM = re.compile(r"[!-~]+|[^\x00-\x7f]")
_CLOSE = 0.8


class Glosser:
    """Glosses one language into English, word by word.

    Words of the lexicon become their English name (one of several where the word is ambiguous), misspelt ones that of
    the nearest entry, the patterns' function words are left out, other words are kept only if they are in Latin
    script.

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    leave_out : float
        Probability of leaving a word out; never all of them.
    seed : int
    """

    def __init__(self, lexicon: Lexicon, language: str, leave_out: float = 0.2, seed: int = 0) -> None:
        self.language = language
        self.leave_out = leave_out
        self.seed = seed
        self._senses = english_senses(lexicon, language)
        self._entries = {self._atoms(word): senses for word, senses in self._senses.items()}
        self._longest = max(map(len, self._entries))
        self._near = {first: list(words) for first, words in groupby(sorted(self._senses), key=lambda word: word[0])}
        self._corrected: dict[str, tuple[str, ...]] = {}

    def gloss(self, text: str, count: int = 2) -> list[str]:
        """Return up to `count` different glosses of a text; none if no word of it is known."""
        pieces = [senses for senses in self._look_up(_key(text)) if any(senses)]
        glosses: list[str] = []
        for number in range(count):
            rng = random.Random(f"{self.seed}:{self.language}:{number}:{text}")
            words = [rng.choice(senses) for senses in pieces]
            gloss = " ".join([word for word in words if rng.random() >= self.leave_out] or words[:1])
            if gloss and gloss not in glosses:
                glosses.append(gloss)
        return glosses

    def _look_up(self, text: str) -> list[tuple[str, ...]]:
        """Return the English senses of each piece of a text, longest entries first."""
        atoms, senses_by_word = self._atoms(text), []
        position = 0
        while position < len(atoms):
            for length in range(min(self._longest, len(atoms) - position), 0, -1):
                senses = self._entries.get(atoms[position : position + length])
                if senses is not None:
                    break
            else:
                length = self._unknown_length(atoms, position)
                senses = self._unknown("".join(atoms[position : position + length]))
            senses_by_word.append(senses)
            position += length
        return senses_by_word if any(senses_by_word) else [self._unknown(text)]

    def _atoms(self, text: str) -> tuple[str, ...]:
        """Return what a text is looked up by: its words; without spaces between words letters, but Latin runs whole."""
        return tuple(_UNSPACED_ATOM.findall(text) if is_unspaced(self.language) else text.split())

    def _unknown_length(self, atoms: tuple[str, ...], position: int) -> int:
        """Return how many atoms from `position` on make one word: up to the next entry, where letters are atoms."""
        end = position + 1
        while is_unspaced(self.language) and not atoms[position].isascii() and end < len(atoms):
            if atoms[end].isascii() or self._starts_entry(atoms, end):
                break
            end += 1
        return end - position

    def _starts_entry(self, atoms: tuple[str, ...], position: int) -> bool:
        return any(atoms[position : position + length] in self._entries for length in range(1, self._longest + 1))

    def _unknown(self, word: str) -> tuple[str, ...]:
        """Return the senses of the nearest entry with the same first letter, else a Latin word as it is."""
        if not word:
            return ()
        if word not in self._corrected:
            entries = [entry for entry in self._near.get(word[0], ()) if abs(len(entry) - len(word)) <= 2]
            near = get_close_matches(word, entries, 1, _CLOSE) if len(word) > 3 else []
            self._corrected[word] = self._senses[near[0]] if near else (word,) if word.isascii() else ()
        return self._corrected[word]


@lru_cache(maxsize=16)
def glosser(lexicon: Lexicon, language: str) -> Glosser:
    """Return the glosser of a language with its usual settings."""
    return Glosser(lexicon, language)


def _key(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def english_senses(lexicon: Lexicon, language: str) -> dict[str, tuple[str, ...]]:
    """Return the English names by word; function words have an empty one."""
    vocabulary, english = lexicon.vocabularies[language], lexicon.vocabularies[ENGLISH]
    senses: dict[str, dict[str, None]] = {}
    for key, entry in vocabulary.rows():
        if key.startswith(_NOT_WORDS) or key not in english.entries:
            continue
        name = _SLOT.sub("", english[key].name).strip()
        texts = (_SLOT.sub("", text) for text in (*entry.forms(), *entry.romanised))
        for form in (form for text in texts for form in inflections(text)):
            for word in _spellings(_key(form), language):
                senses.setdefault(word, {})[name] = None
    for word in _function_words(vocabulary):
        for spelling in _spellings(word, language):
            senses.setdefault(spelling, {"": None})
    return {word: tuple(names) for word, names in senses.items() if word}


def _spellings(word: str, language: str) -> tuple[str, ...]:
    return (word, strip_diacritics(word)) if language == "vi" else (word,)


def _function_words(vocabulary: Vocabulary) -> set[str]:
    """Return what the query patterns say between their slots."""
    words: set[str] = set()
    for key, entry in vocabulary.entries.items():
        if key.startswith(_PATTERNS):
            for pattern in (entry.name, *entry.romanised):
                for piece in _SLOT.split(pattern.replace("/", " ")):
                    words |= {_key(piece)} if is_unspaced(vocabulary.language) else set(_key(piece).split())
    return words - {""}
