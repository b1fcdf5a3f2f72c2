"""Read a shop's log row by row, whatever its format; a row that cannot be read is returned with the reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from modeling_lira.data.cells import cell_text
from modeling_lira.data.table_file import NO_TEXT, BadRow, Row, column_names, is_text, read_any_rows
from modeling_lira.errors import LiraError

from .columns import check_names, map_columns, report_columns

_BAD_ROWS = 0.01
"""Share of rows that are not UTF-8 which any log may have."""


class LogRow(NamedTuple):
    """One row of a log as text; a column that the log does not have is the empty text."""

    query: str
    product: str
    action: str
    product_id: str = ""
    title_en: str = ""
    language: str = ""
    position: str = ""
    session: str = ""
    time: str = ""


def read_logs(paths: Sequence[Path], columns: Mapping[str, str] | None = None) -> Iterator[LogRow | BadRow]:
    """Yield the rows of several logs, as `read_log` does; the columns of all are checked before the first row is read.

    Raises
    ------
    LiraError
        As `read_log`; or if a file seems to be in another encoding than UTF-8 or UTF-16, such as cp1258.
    """
    reported: set[tuple[str, ...]] = set()
    logs = [_in_utf8(path, read_log(path, columns, reported)) for path in paths]
    return chain.from_iterable(logs)


def _in_utf8(path: Path, rows: Iterable[LogRow | BadRow]) -> Iterator[LogRow | BadRow]:
    """Yield the rows; at their end raise LiraError if too many are not UTF-8 text.

    Only rows of plain ASCII can be read of a file in another encoding, and a corpus of these would lack most words of
    its language. A few bad rows in a log of UTF-8 are counted instead.
    """
    count = unreadable = beyond_ascii = 0
    for row in rows:
        count += 1
        if isinstance(row, BadRow):
            unreadable += row.reason == NO_TEXT.reason
        else:
            beyond_ascii += not (row.query.isascii() and row.product.isascii())
        yield row
    if unreadable > max(beyond_ascii, count * _BAD_ROWS):
        detail = NO_TEXT.detail.replace("is", "are", 1)
        raise LiraError(f"log {path}: {unreadable:,} of {count:,} rows {detail}")


def read_log(
    path: Path, columns: Mapping[str, str] | None = None, reported: set[tuple[str, ...]] | None = None
) -> Iterator[LogRow | BadRow]:
    """Yield the rows of a log; one that cannot be read as a `BadRow`.

    Parameters
    ----------
    path : Path
        A table: CSV, TSV or JSON lines, each also gzipped, or Parquet. The suffix decides.
    columns : mapping of str to str, optional
        The log's column name for each `LogRow` field that is given; `map_columns` guesses the others.
    reported : set of tuple of str, optional
        Headers whose columns have been logged and are not logged again; this one is added.

    Raises
    ------
    LiraError
        If the file is missing, empty, damaged or of another format, or if a required column is missing.
    """
    given, reported = columns or {}, set() if reported is None else reported
    check_names(given)
    names = column_names(path)
    if not names:
        raise LiraError(f"log {path} is empty or has no line that is a JSON object")
    columns = map_columns(str(path), names, given)
    if tuple(names) not in reported:
        report_columns(str(path), names, columns, given)
        reported.add(tuple(names))
    return _rows(path, columns)


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[LogRow | BadRow]:
    for _, row in read_any_rows(path, list(columns.values())):
        yield row if isinstance(row, BadRow) else _row(row, columns)


def _row(row: Row, columns: Mapping[str, str]) -> LogRow | BadRow:
    """Return a row with numbers and dates as text, or a `BadRow` if a cell is a list, an object or not UTF-8."""
    cells = [row.get(theirs) for theirs in columns.values()]
    if any(isinstance(cell, (dict, list)) for cell in cells):
        return BadRow("a list or an object where a text should be")
    texts = [cell if isinstance(cell, str) else cell_text(cell) for cell in cells]
    return LogRow(**dict(zip(columns, texts, strict=True))) if is_text("".join(texts)) else NO_TEXT
