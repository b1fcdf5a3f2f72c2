"""Rows of texts in JSON Lines or Parquet files, with their candidates."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ..errors import LiraError
from ..files import atomic_path
from .candidate import Candidate
from .prompts import LANGUAGE_NAMES
from .text import is_blank

Row = dict[str, object]

COLUMN = "candidates"
LANGUAGE_COLUMNS = ("language", "lang")
"""Where the language code is looked for, the corpus's own name first."""
_ASPECTS = ("semantic", "emotional", "pragmatic")


class Content(Protocol):
    """The rows of a file, whatever its format."""

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        ...

    def column(self, name: str) -> list[object]:
        """Return a column's values, None where a row has none."""
        ...

    def rows(self) -> list[Row]:
        """Return all rows as dictionaries."""
        ...


@dataclass
class Lines:
    """The rows of a JSON Lines file."""

    _rows: list[Row]

    @property
    def names(self) -> list[str]:
        """Return the names that any row has."""
        return list(dict.fromkeys(name for row in self._rows for name in row))

    def column(self, name: str) -> list[object]:
        """Return each row's value of this name, None where it has none."""
        return [row.get(name) for row in self._rows]

    def rows(self) -> list[Row]:
        """Return the rows as they were read."""
        return self._rows


@dataclass
class Table:
    """A file of texts: columns to read, and the whole to write again with candidates."""

    path: Path
    content: Content

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read a `.jsonl` or `.parquet` file.

        Raises
        ------
        LiraError
            If there is no such file, or it is not of that format.
        """
        suffix = checked_suffix(path)
        if not path.is_file():
            raise LiraError(f"no input file {str(path)!r}")
        if suffix == ".jsonl":
            return cls(path, Lines(list(_read_lines(path))))
        from .parquet import ParquetColumns  # needs pyarrow, which JSON Lines do not

        return cls(path, ParquetColumns.read(path))

    def strings(self, column: str, option: str) -> list[str]:
        """Return a column that must hold text in every row.

        Raises
        ------
        LiraError
            Naming the column and the option that chooses another, or the row.
        """
        self._require([column], option)
        return [
            self._string(number, value, column) for number, value in enumerate(self.content.column(column), start=1)
        ]

    def languages(self, column: str | None, option: str) -> list[str]:
        """Return a column that must hold a language code in every row; None finds it by its usual names."""
        chosen = column or self._require(LANGUAGE_COLUMNS, option)
        languages = self.strings(chosen, option)
        for number, language in enumerate(languages, start=1):
            if language not in LANGUAGE_NAMES:
                raise LiraError(
                    f"{str(self.path)!r} row {number}: unknown language {language!r:.60}; "
                    f"use one of {', '.join(LANGUAGE_NAMES)}"
                )
        return languages

    def candidates(self) -> list[list[Candidate]]:
        """Return each row's candidates, none where the column is missing or null.

        Raises
        ------
        LiraError
            Naming the row whose candidates are not a list of objects with a text.
        """
        return [self._candidates(number, value) for number, value in enumerate(self.content.column(COLUMN), start=1)]

    def write(self, path: Path, candidates: Sequence[Sequence[Candidate]]) -> None:
        """Write the rows with these candidates, all of the file or nothing."""
        written = [[_rounded(candidate) for candidate in several] for several in candidates]
        if checked_suffix(path) == ".parquet":
            from .parquet import write_parquet

            write_parquet(path, self.content, COLUMN, written)
            return
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for row, several in zip(self.content.rows(), written, strict=True):
                file.write(json.dumps(row | {COLUMN: several}, ensure_ascii=False, default=str) + "\n")

    def _require(self, columns: Sequence[str], option: str) -> str:
        """Return the first of these columns that there is."""
        names = self.content.names
        usual = [name for name in columns if name in names]
        if not usual:
            raise LiraError(
                f"{str(self.path)!r} has no column {' or '.join(map(repr, columns))}, "
                f"only {', '.join(sorted(names)) or 'none'}: use {option}"
            )
        return usual[0]

    def _string(self, number: int, value: object, column: str) -> str:
        if not isinstance(value, str) or is_blank(value):
            shown = "is empty" if value is None or value == "" else f"is {value!r:.60}, not a text"
            raise LiraError(f"{str(self.path)!r} row {number}: column {column!r} {shown}")
        return value

    def _candidates(self, number: int, value: object) -> list[Candidate]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise LiraError(f"{str(self.path)!r} row {number}: {COLUMN} must be a list, not {value!r:.60}")
        return [self._candidate(number, item) for item in value]

    def _candidate(self, number: int, item: object) -> Candidate:
        where = f"{str(self.path)!r} row {number}"
        if not isinstance(item, dict) or not isinstance(item.get("text"), str) or is_blank(item["text"]):
            raise LiraError(f"{where}: a candidate needs a text, but there is {item!r:.120}")
        scores = [item.get(name) for name in _ASPECTS]
        if any(
            score is not None and (isinstance(score, bool) or not isinstance(score, int | float)) for score in scores
        ):
            raise LiraError(f"{where}: a candidate's scores must be numbers: {item!r:.120}")
        return Candidate(item["text"], str(item.get("agent") or ""), *scores)


def checked_suffix(path: Path) -> str:
    """Return a file's format by its name.

    Raises
    ------
    LiraError
        If it is neither `.jsonl` nor `.parquet`.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise LiraError(f"{str(path)!r}: the name must end in .jsonl or .parquet")
    return path.suffix


def _read_lines(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from (
                _row(line, f"{str(path)!r} line {number}") for number, line in enumerate(lines, 1) if line.strip()
            )
    except UnicodeDecodeError as error:
        raise LiraError(f"{str(path)!r} is not UTF-8 text: {error}") from error


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # not JSON, a number of thousands of digits, thousands of brackets
        raise LiraError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise LiraError(f"{where} is not a JSON object")
    return row


def _rounded(candidate: Candidate) -> Row:
    fields = asdict(candidate)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}
