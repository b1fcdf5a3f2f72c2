"""A page of headings, paragraphs, tables and pictures, which can be written as Markdown and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from modeling_lira.faces.markup import html_text, markdown_table, markdown_text
from modeling_lira.faces.terminal import one_line

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:left}
img{max-width:100%}"""


@dataclass(frozen=True)
class Heading:
    """A heading of the first or second level."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; integers get thousands separators, floats two decimals, NaN becomes a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def cells(self) -> list[list[str]]:
        """Return the rows as text."""
        return [[_cell(value) for value in row] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """An image file in the page's folder, and a description of it."""

    file: str
    words: str


Block = Heading | Paragraph | Table | Picture


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the page as Markdown; characters of texts that have a meaning in Markdown are escaped."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_text(table: Table) -> str:
    """Return a table as lines with aligned columns, for a terminal."""
    lines = [[one_line(cell) for cell in line] for line in (table.header, *table.cells())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(row)
        ).rstrip()
        for row in ([*zip(line, widths, strict=True)] for line in lines)
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {markdown_text(block.text)}"
    if isinstance(block, Picture):
        return f"![{markdown_text(block.words)}]({block.file})"
    if isinstance(block, Paragraph):
        return markdown_text(block.text)
    return markdown_table(block.header, block.cells())


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Return the page as a complete HTML document; it needs no other file than its pictures."""
    body = "\n".join(_html(block) for block in blocks)
    head = f'<meta charset="utf-8"><title>{html_text(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html_text(block.text)}</h{block.level}>"
    if isinstance(block, Picture):
        return f'<p><img src="{html_text(block.file)}" alt="{html_text(block.words)}"></p>'
    if isinstance(block, Paragraph):
        return f"<p>{html_text(block.text)}</p>"
    head = "".join(f"<th>{html_text(name)}</th>" for name in block.header)
    rows = "\n".join(
        "<tr>" + "".join(f'<td dir="auto">{html_text(cell)}</td>' for cell in row) + "</tr>" for row in block.cells()
    )
    return f"<table><tr>{head}</tr>\n{rows}</table>"
