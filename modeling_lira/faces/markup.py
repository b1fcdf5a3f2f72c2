"""Texts of strangers as they may stand in Markdown and HTML: nothing but text."""

import html
import re
from collections.abc import Iterable, Sequence

from .terminal import one_line

_MARKUP = re.compile(r"[\\`*\[\]|~<>]|&(?=[#\w])|(?<![^\W_])_|_(?![^\W_])")
_LINKS = re.compile(r"(?<=\w):(?=//)|(?<=www)\.|(?<=\w)@(?=[\w-]*\w\.\w)|(?<=mailto):|(?<=xmpp):", re.IGNORECASE)
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


class Markdown(str):
    """A text that is Markdown already: markup of this program, in which every stranger's text is escaped."""

    __slots__ = ()


def markdown_row(cells: Sequence[object]) -> str:
    """Return a line of a Markdown table; cells are escaped unless they are `Markdown`."""
    return f"| {' | '.join(cell if isinstance(cell, Markdown) else markdown_text(str(cell)) for cell in cells)} |"


def markdown_head(columns: Sequence[object]) -> list[str]:
    """Return the two lines that a Markdown table begins with."""
    return [markdown_row(columns), markdown_row([Markdown("---")] * len(columns))]


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    return "\n".join([*markdown_head(header), *map(markdown_row, rows)])


def markdown_code(text: str) -> str:
    """Return a text as Markdown's inline code, in which nothing but backticks means anything."""
    line = one_line(text)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line[:1] in ("", "`") or line[-1:] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"
