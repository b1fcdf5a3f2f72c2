"""What counts as a text, how it is spelt before it is tokenized, and how an error message shows it."""

import re
import unicodedata

_LONGEST_NAME = 80
"""Characters of a text that an error message shows."""

_REMOVED = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
"""Soft hyphen, word joiner, byte order mark and marks of direction: they neither show nor separate words."""
_REORDERED = (
    # Thai: sara e twice looks like sara ae; a tone mark stands after the vowel above or below its consonant, and
    # before sara am and the other vowels that follow.
    (re.compile("\u0e40\u0e40"), "\u0e41"),
    (re.compile("\u0e4d([\u0e48-\u0e4b]*)\u0e32"), "\\1\u0e33"),
    (re.compile("([\u0e48-\u0e4c]+)([\u0e31\u0e34-\u0e3a\u0e47]+)"), "\\2\\1"),
    (re.compile("([\u0e30\u0e32\u0e33\u0e45]+)([\u0e48-\u0e4b]+)"), "\\2\\1"),
    # Bengali: first the dot of the letter, then its vowel, then the signs that close the syllable.
    (re.compile("([\u09be-\u09cc\u09d7]+)\u09bc"), "\u09bc\\1"),
    (re.compile("([\u0981-\u0983]+)([\u09be-\u09cc\u09d7]+)"), "\\2\\1"),
)
"""What Unicode's own normal forms leave alone: spellings in an order that no keyboard rule allows, but that look right.

Source: Thai after PyThaiNLP (Phatthiyaphaibun et al. 2023).
"""
_INVISIBLE = frozenset(("Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"))
_VISIBLE_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2")
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def normalise(text: str) -> str:
    """Return the one spelling of a text that both paths read, of the many that look alike.

    Unicode's compatibility form (NFKC), with Thai sara am in one piece as it is typed; no soft hyphens, byte order
    marks or marks of direction; a zero-width space is a space; Thai and Bengali signs in the order of their scripts.
    """
    if text.isascii():
        return text
    text = _REMOVED.sub("", unicodedata.normalize("NFKC", text)).replace("\u200b", " ")
    for pattern, replacement in _REORDERED:
        text = pattern.sub(replacement, text)
    return text


def is_blank(text: str) -> bool:
    """Return whether no character of a text shows: space, control and format characters, marks without a letter."""
    return not any(
        (unicodedata.category(char) not in _INVISIBLE or char in _VISIBLE_FORMAT) and char not in _INVISIBLE_LETTERS
        for char in text
    )


def shortened(value: object) -> str:
    """Return how an error message shows a value that may be long."""
    shown = repr(value if not isinstance(value, str) else value[:_LONGEST_NAME])
    return shown if len(shown) <= _LONGEST_NAME + 2 else f"{shown[:_LONGEST_NAME]}..."


def is_missing(value: object) -> bool:
    """Return whether a value says nothing: None, or the NaN of a table's empty cell."""
    return value is None or (isinstance(value, float) and value != value)
