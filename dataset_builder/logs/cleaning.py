"""Clean the texts of a log: one Unicode form, no markup, no emoji."""

import html
import re
import unicodedata

_HUGE_ENTITY = re.compile(r"&#(?:\d{9}|[xX][0-9a-fA-F]{9})[0-9a-fA-F]*;?")  # no character, and too long for int()
_TAG = re.compile(r"<[^<>]{1,200}>")
_JOINERS = "\u200c\u200d"  # Urdu and Bengali spell with them
_STRAY_JOINER = re.compile(f"(?<!\\S)[{_JOINERS}]+|(?<![{_JOINERS}])[{_JOINERS}]+(?!\\S)")  # what emoji families leave
_MOJIBAKE = re.compile("[\u00c0-\u00f4][\u0080-\u00bf\u0152-\u2122]")


def clean_text(text: str) -> str:
    """Return a text in NFC without markup, control characters, emoji and needless spaces.

    A text that was read in the wrong encoding once ("Ã¡o") is repaired.
    """
    text = _TAG.sub(" ", html.unescape(_HUGE_ENTITY.sub(" ", _repaired(text))))
    text = unicodedata.normalize("NFC", text).translate(_WRITTEN)
    return " ".join(_STRAY_JOINER.sub(" ", text).split())


def _is_written(char: str) -> bool:
    """Return whether a character may stay: not a control character, an emoji or one of private use."""
    category = unicodedata.category(char)
    if category == "So":
        return char in "°™®©№"
    return char in _JOINERS or (category[0] != "C" and category not in ("Sk",) and not "\ufe00" <= char <= "\ufe0f")


class _Written(dict[int, int]):
    """A table for `str.translate`: maps a character that may stay to itself, any other to a space."""

    def __missing__(self, code: int) -> int:
        self[code] = code if _is_written(chr(code)) else ord(" ")
        return self[code]


_WRITTEN = _Written()


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
