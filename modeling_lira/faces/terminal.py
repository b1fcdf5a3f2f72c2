"""Make untrusted texts safe for a terminal: without control characters, and never read as rich's markup."""

import logging
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Zero-width spaces and joiners have a meaning in Bengali, Urdu and Thai; other format characters have none in a text.
_KEPT = frozenset("\u200b\u200c\u200d")


def one_line(text: str) -> str:
    """Return a text on one line: control and format characters become spaces, runs of white space one space."""
    return " ".join(without_controls(text).split())


def without_controls(text: str) -> str:
    """Return a text with each control and format character, line ends and tabs included, replaced by a space."""
    noise = {ord(c): " " for c in set(text) - _KEPT if unicodedata.category(c) in _INVISIBLE}
    return text.translate(noise) if noise else text


def shown(value: object) -> Text:
    """Return a value's text for rich: on one line, in which square brackets and escape sequences have no effect."""
    return Text(one_line(str(value)))


class PlainConsole(Console):
    """Prints all texts, also cells and titles, without control characters, and reads no markup or emoji codes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text without control characters but line ends, which rich shows as it is."""
        plain = "\n".join(map(without_controls, text.split("\n")))
        return super().render_str(plain, **{**options, "markup": False, "emoji": False})


class PlainFormatter(logging.Formatter):
    """Formats log records without control characters, except line ends."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's message and, if there is one, its traceback."""
        return "\n".join(map(without_controls, super().format(record).split("\n")))
