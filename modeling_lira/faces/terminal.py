"""Texts of strangers as they may reach a terminal: no control character, no markup."""

import logging
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Zero-width joiners carry meaning in Bengali, Urdu and Thai; every other format character is invisible noise.
_KEPT = frozenset("\u200b\u200c\u200d")


def one_line(text: str) -> str:
    """Replace control and format characters by spaces and collapse white space."""
    return " ".join(without_controls(text).split())


def is_blank(text: str) -> bool:
    """Return whether a text has nothing that can be seen; quick for a long text that has."""
    return all(c.isspace() or (unicodedata.category(c) in _INVISIBLE and c not in _KEPT) for c in text)


def without_controls(text: str) -> str:
    """Replace each control and format character by a space, line ends and tabs among them."""
    noise = {ord(c): " " for c in set(text) - _KEPT if unicodedata.category(c) in _INVISIBLE}
    return text.translate(noise) if noise else text


def shown(value: object) -> Text:
    """Return anything as rich shows it: on one line, square brackets and escape sequences being text like any other."""
    return Text(one_line(str(value)))


class PlainConsole(Console):
    """Prints every text as it is, in cells and titles too: no markup, no emoji code, no control character."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as rich shows it."""
        plain = "\n".join(map(without_controls, text.split("\n")))
        return super().render_str(plain, **{**options, "markup": False, "emoji": False})


class PlainFormatter(logging.Formatter):
    """Formats log records so that no control character but the line end reaches the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's message and, if there is one, its traceback."""
        return "\n".join(map(without_controls, super().format(record).split("\n")))
