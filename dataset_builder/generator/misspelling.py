"""Misspell texts as shoppers do: typing slips, confused letters, missing diacritics, abbreviations."""

import random
import re
import unicodedata
from collections.abc import Iterable, Mapping

_NEIGHBOURS = {
    "a": "s", "b": "v", "c": "x", "d": "f", "e": "r", "f": "g", "g": "h", "h": "j", "i": "o", "j": "k", "k": "l",
    "l": "k", "m": "n", "n": "m", "o": "p", "p": "o", "q": "w", "r": "t", "s": "d", "t": "r", "u": "i", "v": "b",
    "w": "e", "x": "c", "y": "u", "z": "x",
}  # fmt: skip
# What a letter is often typed as; the easier of two letters of one sound, not every letter of the class.
_CONFUSED = {
    "th": {
        "ใ": "ไ", "ไ": "ใ", "ร": "ล", "ศ": "ส", "ษ": "ส", "ณ": "น", "ญ": "ย", "ฎ": "ด", "ฏ": "ต", "ฐ": "ถ", "ภ": "พ",
        "ธ": "ท", "็": "", "่": "", "้": "", "๊": "้", "๋": "", "์": "",
    },
    "ur": {
        "آ": "ا", "ھ": "ہ", "ئ": "ی", "ں": "ن", "ؤ": "و", "ذ": "ز", "ظ": "ز", "ض": "ز", "ص": "س", "ث": "س", "ط": "ت",
        "ح": "ہ", "ق": "ک", "ے": "ی",
    },
    "bn": {"ী": "ি", "ি": "ী", "ূ": "ু", "ু": "ূ", "ণ": "ন", "ষ": "শ", "স": "শ", "শ": "স", "য": "জ", "ঁ": "", "ঃ": ""},
}  # fmt: skip
_NUKTA, _VIRAMA = "\u09bc", "\u09cd"


def strip_diacritics(text: str) -> str:
    """Return Vietnamese without diacritics: "nồi cơm điện" becomes "noi com dien"."""
    plain = text.replace("đ", "d").replace("Đ", "D")
    return "".join(char for char in unicodedata.normalize("NFD", plain) if not unicodedata.combining(char))


def abbreviate(text: str, pairs: Iterable[tuple[str, str]], spaced: bool) -> str:
    """Replace full forms by their short forms; whole words only in scripts with spaces."""
    for full, short in pairs:
        text = re.sub(rf"(?<!\w){re.escape(full)}(?!\w)", short, text) if spaced else text.replace(full, short)
    return text


def misspell(text: str, language: str, rng: random.Random) -> str:
    """Make one typing error that is usual in the language; return `text` unchanged if none is possible.

    Parameters
    ----------
    text : str
    language : str
    rng : random.Random
    """
    if language == "vi" and rng.random() < 0.6:
        return _drop_word_diacritics(text, rng)
    if language in _CONFUSED and (language == "th" or rng.random() < 0.75):
        confused = _confuse(text, _CONFUSED[language], rng)
        if confused != text or language == "th":
            return confused
    return _slip(text, rng)


def _drop_word_diacritics(text: str, rng: random.Random) -> str:
    """Remove the diacritics of one word."""
    words = text.split(" ")
    marked = [position for position, word in enumerate(words) if strip_diacritics(word) != word]
    if not marked:
        return _slip(text, rng)
    position = rng.choice(marked)
    words[position] = strip_diacritics(words[position])
    return " ".join(words)


def _confuse(text: str, confused: Mapping[str, str], rng: random.Random) -> str:
    """Replace one letter by another of the same sound, or leave out one mark; Bengali conjuncts are not broken."""
    positions = [
        position
        for position, char in enumerate(text)
        if char in confused
        and text[position + 1 : position + 2] not in (_NUKTA, _VIRAMA)
        and text[position - 1 : position] != _VIRAMA
    ]
    if not positions:
        return text
    position = rng.choice(positions)
    return text[:position] + confused[text[position]] + text[position + 1 :]


def _slip(text: str, rng: random.Random) -> str:
    """Swap, drop, double or mistype one letter inside a word of four letters or more."""
    positions = [
        position
        for word in re.finditer(r"[^\W\d_]{4,}", text)
        for position in range(word.start() + 1, word.end() - 1)
        if text[position].isalpha() and text[position + 1].isalpha()
    ]
    if not positions:
        return text
    position = rng.choice(positions)
    char, after = text[position], text[position + 1]
    slips = [after + char, after, char + char + after, _NEIGHBOURS.get(char, "") + after]
    return text[:position] + rng.choice(slips) + text[position + 2 :]
