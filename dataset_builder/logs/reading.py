"""Read a shop's log row by row, whatever its format; a row that cannot be read is returned with the reason."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from modeling_lira.data.cells import cell_text
from modeling_lira.data.table_file import NO_TEXT, BadRow, Row, column_names, is_text, read_any_rows
from modeling_lira.errors import LiraError

from .columns import check_names, map_columns


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


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[LogRow | BadRow]:
    """Yield the rows of a log; one that cannot be read as a `BadRow`.

    Parameters
    ----------
    path : Path
        A table: CSV, TSV or JSON lines, each also gzipped, or Parquet. The suffix decides.
    columns : mapping of str to str, optional
        The log's column name for each `LogRow` field that is given; `map_columns` guesses the others.

    Raises
    ------
    LiraError
        If the file is missing, empty, damaged or of another format, or if a required column is missing.
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
    """Return a row with numbers and dates as text, or a `BadRow` if a cell is a list, an object or not UTF-8."""
    values = {ours: row.get(theirs) for ours, theirs in columns.items()}
    if any(isinstance(value, (dict, list)) for value in values.values()):
        return BadRow("a list or an object where a text should be")
    cells = {ours: value if isinstance(value, str) else cell_text(value) for ours, value in values.items()}
    return LogRow(**cells) if is_text("".join(cells.values())) else NO_TEXT
