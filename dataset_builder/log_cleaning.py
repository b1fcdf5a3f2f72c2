"""Clean the texts of a log: one Unicode form, no markup, no emoji, no personal data."""

import html
import re
import unicodedata
from collections import Counter

_TAG = re.compile(r"<[^<>]{1,200}>")
_JOINERS = "\u200c\u200d"  # Urdu and Bengali spell with them
_MOJIBAKE = re.compile("[\u00c0-\u00f4][\u0080-\u00bf\u0152-\u2122]")
_LONG_WORD = re.compile(r"[\w-]{9,}")
_DIGITS_OF_AN_ID = 6
_PATTERNS = (
    ("email", re.compile(r"[\w.+%-]+\s?@\s?[\w-]+(?:\.[\w-]+)+")),
    ("link", re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)),
    ("handle", re.compile(r"(?<!\w)@\w{3,}")),
    ("uuid", re.compile(r"(?<!\w)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)", re.IGNORECASE)),
    ("phone", re.compile(r"(?<![\w.])[+＋(]{0,2}\d(?:[\s().-]{0,2}\d){7,14}(?!\w)")),
)


def clean_text(text: str) -> str:
    """Return a text in NFC without markup, control characters, emoji and needless spaces.

    A text that was read in the wrong encoding once ("Ã¡o") is repaired.

    Source: ours.
    """
    text = _TAG.sub(" ", html.unescape(_repaired(text)))
    text = "".join(char if _is_written(char) else " " for char in unicodedata.normalize("NFC", text))
    return " ".join(text.split())


def _is_written(char: str) -> bool:
    """Tell letters, marks, numbers and signs from control characters, emoji, private use and stray joiners."""
    category = unicodedata.category(char)
    if category == "So":
        return char in "°™®©№"
    return char in _JOINERS or (category[0] != "C" and category not in ("Sk",) and not "\ufe00" <= char <= "\ufe0f")


def _repaired(text: str) -> str:
    """Undo one reading of UTF-8 as Windows-1252 or Latin-1, if that is what happened."""
    if not _MOJIBAKE.search(text):
        return text
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def scrub(text: str, found: Counter[str]) -> str:
    """Remove what looks like personal data: addresses, links, handles, phone numbers, ids.

    Parameters
    ----------
    text : str
    found : Counter
        Is told what was removed.

    Source: ours.
    """
    for kind, pattern in _PATTERNS:
        text, count = pattern.subn(" ", text)
        found[kind] += count
    ids = [word for word in _LONG_WORD.findall(text) if sum(char.isdigit() for char in word) >= _DIGITS_OF_AN_ID]
    for word in ids:
        text = text.replace(word, " ")
    found["id"] += len(ids)
    return " ".join(text.split())
