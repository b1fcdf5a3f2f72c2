"""Read a shop's log row by row, whatever its format, and say of every row that cannot be read why."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from modeling_lira.data.cells import cell_text
from modeling_lira.data.table_file import BadRow, Row, column_names, is_text, read_any_rows
from modeling_lira.errors import LiraError

from .columns import check_names, map_columns


class LogRow(NamedTuple):
    """One row of a log as text; columns that the log does not have are empty."""

    query: str
    product: str
    action: str
    product_id: str = ""
    title_en: str = ""
    language: str = ""
    position: str = ""
    session: str = ""
    time: str = ""


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[LogRow | BadRow]:
    """Yield the rows of a log.

    Parameters
    ----------
    path : Path
        A table that `read_any_rows` reads: CSV, TSV, JSON lines (each also gzipped) or Parquet, by its suffix.
    columns : mapping of str, optional
        The log's column names by ours; the others are told by their names, see `map_columns`.

    Raises
    ------
    LiraError
        A file that is missing, empty, of another format or damaged, or lacks a column.
    """
    columns = columns or {}
    check_names(columns)
    names = column_names(path)
    if not names:
        raise LiraError(f"log {path} is empty or has no line that is a JSON object")
    columns = map_columns(str(path), names, columns)
    rows = read_any_rows(path, list(columns.values()))
    return (row if isinstance(row, BadRow) else _row(row, columns) for _, row in rows)


def _row(row: Row, columns: Mapping[str, str]) -> LogRow | BadRow:
    """Return a row of typed values, such as numbers and dates, as text; not one with bytes that are no text."""
    values = {ours: row.get(theirs) for ours, theirs in columns.items()}
    if any(isinstance(value, (dict, list)) for value in values.values()):
        return BadRow("a list or an object where a text should be")
    cells = {ours: value if isinstance(value, str) else cell_text(value) for ours, value in values.items()}
    return LogRow(**cells) if is_text("".join(cells.values())) else BadRow("not UTF-8 text")
