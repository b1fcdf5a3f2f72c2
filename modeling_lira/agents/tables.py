"""Rows of texts in JSON Lines or Parquet files, with their candidates."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import LiraError
from ..files import atomic_path
from .candidate import Candidate
from .prompts import LANGUAGE_NAMES
from .text import one_line

Row = dict[str, object]

COLUMN = "candidates"
LANGUAGE_COLUMNS = ("language", "lang")
"""Where the language code is looked for, the corpus's own name first."""
CANDIDATE_TYPE = pa.list_(
    pa.struct(
        [
            ("text", pa.string()),
            ("agent", pa.string()),
            ("semantic", pa.float32()),
            ("emotional", pa.float32()),
            ("pragmatic", pa.float32()),
        ]
    )
)


@dataclass
class Table:
    """Rows as read; a Parquet file's column types are kept for writing it again.

    Source: ours.
    """

    path: Path
    rows: list[Row]
    schema: pa.Schema | None = field(default=None, repr=False)

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
            return cls(path, _read_lines(path))
        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise LiraError(f"{str(path)!r} is not a Parquet file: {error}") from error
        return cls(path, table.to_pylist(), table.schema)

    def strings(self, column: str, option: str) -> list[str]:
        """Return a column that must hold text in every row.

        Raises
        ------
        LiraError
            Naming the column and the option that chooses another, or the row.
        """
        names = {name for row in self.rows for name in row}
        if column not in names:
            raise LiraError(
                f"{str(self.path)!r} has no column {column!r}, only {', '.join(sorted(names)) or 'none'}: use {option}"
            )
        return [self._string(number, row.get(column), column) for number, row in enumerate(self.rows, start=1)]

    def languages(self, column: str | None, option: str) -> list[str]:
        """Return a column that must hold a language code in every row; None finds it by its usual names."""
        if column is None:
            names = {name for row in self.rows for name in row}
            usual = [name for name in LANGUAGE_COLUMNS if name in names]
            if not usual:
                raise LiraError(
                    f"{str(self.path)!r} has no column {' or '.join(map(repr, LANGUAGE_COLUMNS))}, "
                    f"only {', '.join(sorted(names)) or 'none'}: use {option}"
                )
            column = usual[0]
        found = self.strings(column, option)
        for number, language in enumerate(found, start=1):
            if language not in LANGUAGE_NAMES:
                raise LiraError(
                    f"{str(self.path)!r} row {number}: unknown language {language!r}; "
                    f"use one of {', '.join(LANGUAGE_NAMES)}"
                )
        return found

    def candidates(self) -> list[list[Candidate]]:
        """Return each row's candidates, none where the column is missing or null.

        Raises
        ------
        LiraError
            Naming the row whose candidates are not a list of objects with a text.
        """
        return [self._candidates(number, row.get(COLUMN)) for number, row in enumerate(self.rows, start=1)]

    def write(self, path: Path, candidates: Sequence[Sequence[Candidate]]) -> None:
        """Write the rows with these candidates, all of the file or nothing."""
        found = [[_rounded(candidate) for candidate in several] for several in candidates]
        if checked_suffix(path) == ".jsonl":
            with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                for row, several in zip(self.rows, found, strict=True):
                    file.write(json.dumps(row | {COLUMN: several}, ensure_ascii=False, default=str) + "\n")
            return
        table = self._arrow().append_column(COLUMN, pa.array(found, CANDIDATE_TYPE))
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary)

    def _arrow(self) -> pa.Table:
        """Return the rows without candidates as an Arrow table."""
        names = list(dict.fromkeys(name for row in self.rows for name in row if name != COLUMN))
        fields = {name: self.schema.field(name).type for name in self.schema.names} if self.schema is not None else {}
        try:
            return pa.table({name: pa.array([row.get(name) for row in self.rows], fields.get(name)) for name in names})
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise LiraError(f"{str(self.path)!r}: a column mixes types ({error}): write .jsonl instead") from error

    def _string(self, number: int, value: object, column: str) -> str:
        if not isinstance(value, str) or not one_line(value):
            shown = "is empty" if value is None or value == "" else f"is {value!r}, not a text"
            raise LiraError(f"{str(self.path)!r} row {number}: column {column!r} {shown}")
        return value

    def _candidates(self, number: int, value: object) -> list[Candidate]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise LiraError(f"{str(self.path)!r} row {number}: {COLUMN} must be a list, not {value!r}")
        return [self._candidate(number, item) for item in value]

    def _candidate(self, number: int, item: object) -> Candidate:
        if not isinstance(item, dict) or not isinstance(item.get("text"), str) or not one_line(item["text"]):
            raise LiraError(f"{str(self.path)!r} row {number}: a candidate needs a text, but there is {item!r}")
        scores = [item.get(name) for name in ("semantic", "emotional", "pragmatic")]
        if any(score is not None and not isinstance(score, int | float) for score in scores):
            raise LiraError(f"{str(self.path)!r} row {number}: a candidate's scores must be numbers: {item!r}")
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


def _read_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise LiraError(f"{str(path)!r} line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise LiraError(f"{str(path)!r} line {number} is not a JSON object")
            rows.append(row)
    return rows


def _rounded(candidate: Candidate) -> dict[str, str | float | None]:
    fields = asdict(candidate)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}
