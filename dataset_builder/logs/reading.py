"""Read a shop's log row by row, whatever its format, and say of every row that cannot be read why."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from modeling_lira.errors import LiraError

from .columns import check_names, map_columns

SEPARATORS = {".csv": ",", ".tsv": "\t"}
FORMATS = (*SEPARATORS, ".jsonl", ".ndjson", ".parquet")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


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


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, and why."""

    reason: str


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[LogRow | BadRow]:
    """Yield the rows of a log.

    Parameters
    ----------
    path : Path
        CSV, TSV, JSON lines (each also gzipped) or Parquet, by its suffix; UTF-8 or, with a mark, UTF-16. A CSV row is
        one line.
    columns : mapping of str, optional
        The log's column names by ours; the others are told by their names, see `map_columns`.

    Raises
    ------
    LiraError
        A file that is missing, empty, of another format or damaged, or lacks a column.

    Source: ours.
    """
    columns = columns or {}
    check_names(columns)
    suffix = (path.with_suffix("") if _is_gzip(path) else path).suffix.casefold()
    if not path.is_file():
        raise LiraError(f"log {path} is not a file")
    if suffix not in FORMATS:
        raise LiraError(f"log {path} has suffix {suffix!r}: expected one of {' '.join(FORMATS)}")
    if not path.stat().st_size:
        raise LiraError(f"log {path} is empty")
    if suffix == ".parquet":
        return _read_parquet(path, columns)
    return _read_table(path, columns, SEPARATORS[suffix]) if suffix in SEPARATORS else _read_json(path, columns)


def _is_gzip(path: Path) -> bool:
    return path.suffix.casefold() == ".gz"


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines; bytes that are no text become lone surrogates, which `_checked` finds."""
    opener = gzip.open if _is_gzip(path) else open
    try:
        with opener(path, "rb") as handle:
            utf16 = handle.read(2) in _UTF16_MARKS
        encoding = "utf-16" if utf16 else "utf-8-sig"
        with opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="\n") as handle:
            yield from handle
    except (gzip.BadGzipFile, zlib.error, EOFError, UnicodeError) as error:
        raise LiraError(f"log {path} is damaged: {error}") from error


def _read_table(path: Path, columns: Mapping[str, str], separator: str) -> Iterator[LogRow | BadRow]:
    lines = _lines(path)
    try:
        header = next(csv.reader([next(lines, "")], delimiter=separator), [])
    except csv.Error as error:
        raise LiraError(f"log {path} has no header that can be read: {error}") from error
    names = [name.strip() for name in header]
    positions = {ours: names.index(theirs) for ours, theirs in map_columns(str(path), names, columns).items()}
    for line in lines:
        if not line.strip():
            yield BadRow("empty line")
            continue
        try:
            [cells] = csv.reader([line.rstrip("\r\n")], delimiter=separator, strict=True)
        except (csv.Error, ValueError):
            yield BadRow("broken quotes or too long a cell")
            continue
        if len(cells) != len(header):
            yield BadRow("wrong number of columns")
        else:
            yield _checked({ours: cells[position] for ours, position in positions.items()})


def _read_json(path: Path, columns: Mapping[str, str]) -> Iterator[LogRow | BadRow]:
    objects = 0
    for line in _lines(path):
        if not line.strip():
            yield BadRow("empty line")
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield BadRow("not JSON")
            continue
        if not isinstance(row, dict):
            yield BadRow("not a JSON object")
            continue
        if not objects:
            columns = map_columns(str(path), list(row), columns)
        objects += 1
        yield _row({name: row.get(theirs) for name, theirs in columns.items()})
    if not objects:
        raise LiraError(f"log {path} has no line that is a JSON object")


def _read_parquet(path: Path, columns: Mapping[str, str]) -> Iterator[LogRow | BadRow]:
    try:
        file = pq.ParquetFile(path)
        columns = map_columns(str(path), file.schema_arrow.names, columns)
        for batch in file.iter_batches(batch_size=20_000, columns=list(columns.values())):
            values = [_values(batch.column(theirs)) for theirs in columns.values()]
            for cells in zip(*values, strict=True):
                yield _row(dict(zip(columns, cells, strict=True)))
    except (pa.ArrowException, OSError) as error:
        raise LiraError(f"log {path} is not a Parquet file or is damaged: {str(error).splitlines()[0]}") from error


def _values(column: pa.Array) -> list[object]:
    """Return a column's values; times as the numbers they are stored as, since Python's dates hold not all of them."""
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int64() if column.type.bit_width == 64 else pa.int32())
    return column.to_pylist()


def _row(values: Mapping[str, object]) -> LogRow | BadRow:
    """Return a row of typed values, such as numbers and dates, as text."""
    if any(isinstance(value, (dict, list)) for value in values.values()):
        return BadRow("a list or an object where a text should be")
    return _checked({name: _text(value) for name, value in values.items()})


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def _checked(cells: Mapping[str, str]) -> LogRow | BadRow:
    """Return the row, unless a cell holds bytes that are no text."""
    return LogRow(**cells) if _is_text("".join(cells.values())) else BadRow("not UTF-8 text")


def _is_text(text: str) -> bool:
    """Tell text from undecodable bytes, which became surrogates, and from UTF-16 amid UTF-8, which has nulls."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text
