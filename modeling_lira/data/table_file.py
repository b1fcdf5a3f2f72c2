"""Read tables of any size row by row: CSV, TSV, JSON lines or Parquet."""

import codecs
import csv
import gzip
import json
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import cast

from ..errors import LiraError

Row = Mapping[str, object]

JSON_LINES = (".jsonl", ".ndjson")
SEPARATED = {".csv": ",;\t", ".tsv": "\t"}
"""The separators that a file may have; the one that splits its header into most columns is taken."""
FORMATS = (".jsonl", ".parquet", ".csv", ".tsv", ".ndjson")
LONGEST = 2**24
"""Characters of the longest line or record."""
csv.field_size_limit(LONGEST)  # one limit for the whole process, 131,072 by default: less than a long document
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_BLOCK, _BLOCK_SIZE = 64, 2**20
"""Records that are read at once, and characters after which a block ends in any case."""
_START = 4096
"""How many bytes are read to detect the encoding and the line ends of a file."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read: `reason`, one of a few by which rows can be counted, and `detail` of this row."""

    reason: str
    detail: str = ""


def table_format(path: Path) -> str:
    """Return the format of a table, one of `FORMATS`, by its file's name without `.gz`.

    Raises
    ------
    LiraError
        If the name ends otherwise.
    """
    suffix = (path.with_suffix("") if _is_gzip(path) else path).suffix.casefold()
    if suffix not in FORMATS or (suffix == ".parquet" and _is_gzip(path)):
        raise LiraError(f"{str(path)!r}: the name must end in {', '.join(FORMATS)}; all but .parquet also with .gz")
    return suffix


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns: of JSON lines the keys of the first object, none if there is no row.

    Raises
    ------
    LiraError
        As `read_rows`.
    """
    suffix = check_table(path)
    if suffix == ".parquet":
        from .parquet_file import parquet_names  # needs pyarrow, which files of text do not

        return parquet_names(path)
    if suffix in SEPARATED:
        return _header(path, _lines(path), SEPARATED[suffix])[0]
    rows = (row for _, row in json_rows(_lines(path)))
    return [str(_whole(name)) for name in next((row for row in rows if not isinstance(row, BadRow)), {})]


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a table with their numbers from 1; in JSON lines these are the numbers of the lines.

    Empty lines are skipped. A cell of a CSV or TSV file is a text; dates and times of a Parquet file become texts. Lone
    surrogates, which JSON can contain but no file can be written with, are joined to characters or replaced.

    Parameters
    ----------
    path : Path
        Its name must end in one of `FORMATS`. Text is UTF-8, or UTF-16 with a byte-order mark or an ASCII header.
    columns : sequence of str, optional
        The only columns to read of a CSV, TSV or Parquet file.

    Raises
    ------
    LiraError
        If the file is missing, of another format, damaged or in another encoding; or at the first row that cannot be
        read.
    """
    suffix = check_table(path)
    for number, row in read_any_rows(path, columns):
        if not isinstance(row, BadRow):
            yield number, cast(Row, _whole(row)) if suffix in JSON_LINES else row
        elif row.reason != "empty line":
            raise LiraError(f"{str(path)!r} {'line' if suffix in JSON_LINES else 'row'} {number} {row.detail}")


def read_any_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield rows as `read_rows` does, but a `BadRow` for each that cannot be read, as logs have some.

    Of a record whose quotes are never closed only the first line is a bad row; the next record starts after that line.

    Raises
    ------
    LiraError
        If the file is missing, of another format or damaged, or its header cannot be read.
    """
    suffix = check_table(path)
    if suffix == ".parquet":
        from .parquet_file import parquet_rows

        return enumerate(parquet_rows(path, columns), start=1)
    if suffix in SEPARATED:
        return _separated_rows(path, columns, SEPARATED[suffix])
    return json_rows(_lines(path))


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file of text, each with its line end.

    Raises
    ------
    LiraError
        If the file is damaged, or at the first line that is not text in the encodings that `read_rows` detects.
    """
    for number, line in enumerate(_lines(path), start=1):
        if not is_text(line):
            raise LiraError(f"{str(path)!r} line {number} {NO_TEXT.detail}")
        yield line


def parse_json(text: str) -> object:
    """Parse JSON; raise ValueError if it is invalid, nested too deeply, or has a number with too many digits."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_table(path: Path) -> str:
    """Return the format of a table that is there; raise `LiraError` where there is no such file."""
    suffix = table_format(path)
    if not path.is_file():
        raise LiraError(f"no input file {str(path)!r}")
    return suffix


def _is_gzip(path: Path) -> bool:
    return path.suffix.casefold() == ".gz"


# ---------------------------------------------------------------- text


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines with their ends; undecodable bytes become lone surrogates, which `is_text` detects."""
    opener = gzip.open if _is_gzip(path) else open
    try:
        with opener(path, "rb") as file:
            start = file.read(_START)
        encoding = _encoding(start)
        first_end = re.search(r"\r\n?|\n", start.decode(encoding, "ignore"))
        newline = "" if first_end and first_end[0] == "\r" else "\n"  # old Macs end their lines with \r alone
        with opener(path, "rt", encoding=encoding, errors="surrogateescape", newline=newline) as lines:
            yield from lines
    except (OSError, zlib.error, EOFError, UnicodeError) as error:
        raise LiraError(f"{str(path)!r} is damaged or cannot be read: {error}") from error


def _encoding(start: bytes) -> str:
    """Detect UTF-16 by its byte-order mark, or by the zero bytes between the ASCII characters of the first line."""
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    first = start.partition(b"\n")[0]
    even, odd = first[::2].count(0), first[1::2].count(0)
    if 2 * max(even, odd) >= len(first[1::2]) > 0 == min(even, odd):
        return "utf-16-le" if odd else "utf-16-be"
    return "utf-8"


def is_text(text: str) -> bool:
    """Return False for undecodable bytes, which became surrogates, and for UTF-16 amid UTF-8, which has zero bytes."""
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


NO_TEXT = BadRow("not UTF-8 text", "is not UTF-8 text: save the file as UTF-8")


def _whole(value: object) -> object:
    """Join pairs of surrogates to characters, and replace lone ones, in every text of a value."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {str(_whole(name)): _whole(item) for name, item in value.items()} if isinstance(value, dict) else value


def json_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield each line's JSON object with the line's number from 1."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            yield number, BadRow("empty line")
        elif not is_text(line):
            yield number, NO_TEXT
        else:
            yield number, _object(line)


def _object(line: str) -> Row | BadRow:
    try:
        row = parse_json(line)
    except ValueError as error:
        return BadRow("not JSON", f"is not JSON: {error}")
    return row if isinstance(row, dict) else BadRow("not a JSON object", "is not a JSON object")


# ---------------------------------------------------------------- CSV and TSV


def _separated_rows(path: Path, columns: Sequence[str] | None, separators: str) -> Iterator[tuple[int, Row | BadRow]]:
    lines = _lines(path)
    header, separator = _header(path, lines, separators)
    wanted = [(name, header.index(name)) for name in (header if columns is None else columns) if name in header]
    doubled = [name for name, _ in wanted if name and header.count(name) > 1]
    if doubled:
        raise LiraError(f"{str(path)!r} has two columns {doubled[0]!r}: rename one")
    for number, cells in enumerate(_records(lines, separator, len(header)), start=1):
        yield number, cells if isinstance(cells, BadRow) else {name: cells[position] for name, position in wanted}


def _header(path: Path, lines: Iterator[str], separators: str) -> tuple[list[str], str]:
    """Read the header from the lines; return its names and the separator that splits it into most names."""
    first = next((line for line in lines if line.strip()), "")
    if hint := re.fullmatch(r"sep=(.)\s*", first):  # Excel's way to name the separator
        separators, first = hint[1], next(lines, "")
    if not first:
        return [], separators[0]
    separator = max(separators, key=partial(_width, first))
    cells = next(_records(chain([first], lines), separator), [])
    if isinstance(cells, BadRow):
        raise LiraError(f"{str(path)!r} has no header that can be read: {cells.reason}")
    if not all(map(is_text, cells)):
        raise LiraError(f"{str(path)!r} line 1 {NO_TEXT.detail}")
    return [cell.strip() for cell in cells], separator


def _width(line: str, separator: str) -> int:
    cells = _record(iter([line]), separator, None)
    return 0 if isinstance(cells, BadRow) else len(cells)


def _records(lines: Iterator[str], separator: str, width: int | None = None) -> Iterator[list[str] | BadRow]:
    """Yield the cells of each record, `width` of them if given; a record with quotes may have several lines.

    Blocks without any fault are read at once, which is fast; the records of others one by one. After a record that
    cannot be read, its lines but the first are read again. How many characters may be read again is limited by a
    budget, which grows with the lines that were read, so that every file takes linear time.
    """
    waiting: deque[str] = deque()
    budget = LONGEST
    while True:
        taken: list[str] = []
        if width is not None and not waiting:
            if block := _block(_taking(waiting, lines, taken, _BLOCK_SIZE), separator, width, taken):
                yield from block
                continue
            waiting.extend(taken)
            taken = []
        cells = _record(_taking(waiting, lines, taken, budget), separator, width)
        if not taken:
            return
        again = taken[1:] if isinstance(cells, BadRow) else []
        waiting.extendleft(reversed(again))
        budget = min(LONGEST, budget + len(taken[0])) - sum(map(len, again))
        yield cells if isinstance(cells, BadRow) or width is None or is_text("".join(cells)) else NO_TEXT


def _block(lines: Iterator[str], separator: str, width: int, taken: Sequence[str]) -> list[list[str]]:
    """Return the next records; none if one of them has a fault, or might have. `taken` gets the lines that are read."""
    if separator == " " or width == 1:  # a line of spaces alone is empty
        return []
    try:
        records = list(islice(csv.reader(lines, delimiter=separator, strict=True), _BLOCK))
    except csv.Error:
        return []
    return records if set(map(len, records)) == {width} and is_text("".join(taken)) else []


def _taking(waiting: deque[str], lines: Iterator[str], taken: list[str], budget: int) -> Iterator[str]:
    """Yield lines, first those that are waiting, and append them to `taken`; stop when the budget is used up."""
    size = 0
    while size <= budget or not taken:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        taken.append(line)
        size += len(line)
        yield line


def _record(lines: Iterator[str], separator: str, width: int | None) -> list[str] | BadRow:
    line = next(lines, "")
    if not line.strip(" \r\n"):
        return BadRow("empty line")
    try:
        if '"' in line or len(line) > LONGEST:
            cells = next(csv.reader(chain([line], lines), delimiter=separator, strict=True))
        else:
            cells = line.rstrip("\r\n").split(separator)
    except csv.Error as error:
        return BadRow("broken quotes or too long a cell", f"has broken quotes or too long a cell: {error}")
    if width is not None and len(cells) > width and not any(cells[width:]):
        cells = cells[:width]  # empty cells with which a spreadsheet fills up its rows
    if width is not None and len(cells) != width:
        return BadRow("wrong number of columns", f"has {len(cells)} cells, but the header names {width} columns")
    return cells
