"""Texts of strangers as they may stand in Markdown and HTML: nothing but text."""

import html
import re

from .terminal import one_line

_MARKUP = re.compile(r"[\\`*\[\]|~<>]|&(?=[#\w])|(?<![^\W_])_|_(?![^\W_])")
_LINKS = re.compile(r"(?<=\w):(?=//)|(?<=www)\.|(?<=\w)@(?=\w)|(?<=mailto):|(?<=xmpp):", re.IGNORECASE)
_BLOCK = re.compile(r"^(?:[#+=-]+(?=\s|$)|(?P<number>\d{1,9})(?=[.)](?:\s|$)))")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def html_text(text: str) -> str:
    """Return a text for HTML, between tags or in a quoted attribute."""
    return html.escape(one_line(text))


def markdown_text(text: str) -> str:
    """Return a text for Markdown, in a paragraph, a heading or a table's cell.

    No tag, link, image, table, list or emphasis comes of it, nor an address that a viewer turns into a link by itself.
    """
    escaped = _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), one_line(text))
    escaped = _LINKS.sub(lambda match: f"&#{ord(match[0])};", escaped)
    return _BLOCK.sub(lambda match: f"{match[0]}\\" if match["number"] else f"\\{match[0]}", escaped)


def markdown_code(text: str) -> str:
    """Return a text as Markdown's inline code, in which nothing but backticks means anything."""
    line = one_line(text)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line[:1] in ("", "`") or line[-1:] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"
