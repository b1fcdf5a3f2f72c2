"""Tables of texts with their candidates: the input and output files of `lira translate` and `lira critique`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..data.cells import CANDIDATES, LANGUAGES, candidate_fields, cell_text, critic_scores, is_missing, shown
from ..data.table_file import read_rows, table_format
from ..errors import LiraError, is_blank
from ..files import atomic_path
from .candidate import Candidate
from .content import Content, Row
from .text import check_language

OUTPUT_FORMATS = (".jsonl", ".parquet")


@dataclass
class Lines:
    """The rows of a file of text, with their numbers."""

    numbers: list[int]
    _rows: list[Row]

    @classmethod
    def read(cls, path: Path) -> "Lines":
        """Read a file; errors as in `read_rows`."""
        numbered = [(number, dict(row)) for number, row in read_rows(path)]
        return cls([number for number, _ in numbered], [row for _, row in numbered])

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
    """A file of texts, whose columns can be read and whose rows can be written again with candidates."""

    path: Path
    content: Content

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read a file of any format that `read_rows` knows; errors as in `read_rows`."""
        if table_format(path) != ".parquet" or not path.is_file():
            return cls(path, Lines.read(path))
        from .parquet import ParquetColumns  # needs pyarrow, which files of text do not

        return cls(path, ParquetColumns.read(path))

    def strings(self, column: str, option: str) -> list[str]:
        """Return a column that must have a text in every row.

        Parameters
        ----------
        column : str
        option : str
            The option that chooses the column, for messages.

        Raises
        ------
        LiraError
            If there is no such column, or at the first row without a text.
        """
        self._require([column], option)
        return [self._string(number, value, column) for number, value in self._numbered(column)]

    def languages(self, column: str | None, option: str) -> list[str]:
        """Return the codes of a column of languages, of which English is none; parameters and errors as in `strings`.

        If `column` is None, it is the first of `LANGUAGES` that the file has.
        """
        chosen = column or self._require(LANGUAGES, option)
        given = zip(self.content.numbers, self.strings(chosen, option), strict=True)
        return [check_language(language, f"{str(self.path)!r} row {number}") for number, language in given]

    def candidates(self) -> list[list[Candidate]]:
        """Return each row's candidates, an empty list where the column is missing or null.

        Raises
        ------
        LiraError
            At the first row whose candidates are not a list of texts or of objects with a text.
        """
        return [self._candidates(number, value) for number, value in self._numbered(CANDIDATES)]

    def write(self, path: Path, candidates: Sequence[Sequence[Candidate]]) -> None:
        """Write the rows with these candidates; the file is replaced as a whole or not at all.

        Raises
        ------
        LiraError
            If the name does not end in `.jsonl` or `.parquet`, or the rows do not fit into Parquet.
        """
        written = [[rounded(candidate) for candidate in several] for several in candidates]
        if checked_suffix(path) == ".parquet":
            from .parquet import write_parquet

            write_parquet(path, self.content, CANDIDATES, written)
            return
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for row, several in zip(self.content.rows(), written, strict=True):
                file.write(json.dumps(row | {CANDIDATES: several}, ensure_ascii=False, default=str) + "\n")

    def _require(self, columns: Sequence[str], option: str) -> str:
        """Return the first of these columns that the file has; raise LiraError if it has none of them."""
        names = self.content.names
        usual = [name for name in columns if name in names]
        if not usual:
            raise LiraError(
                f"{str(self.path)!r} has no column {' or '.join(map(repr, columns))}, "
                f"only {', '.join(sorted(names)) or 'none'}: use {option}"
            )
        return usual[0]

    def _numbered(self, column: str) -> Iterator[tuple[int, object]]:
        """Return a column's values with their rows' numbers."""
        return zip(self.content.numbers, self.content.column(column), strict=True)

    def _string(self, number: int, value: object, column: str) -> str:
        if isinstance(value, str) and not is_blank(value):
            return value
        wrong = "is empty" if is_missing(value) or isinstance(value, str) else f"is {shown(value)}, not a text"
        raise self._error(number, f"column {column!r} {wrong}")

    def _candidates(self, number: int, value: object) -> list[Candidate]:
        try:
            return [_candidate(fields) for fields in candidate_fields(value)]
        except ValueError as error:
            raise self._error(number, str(error)) from error

    def _error(self, number: int, what: str) -> LiraError:
        return LiraError(f"{str(self.path)!r} row {number}: {what}")


def _candidate(fields: Mapping[str, object]) -> Candidate:
    text = str(fields["text"])
    if is_blank(text):
        raise ValueError(f"a candidate needs a text, but there is {shown(text)}")
    return Candidate(text, cell_text(fields.get("agent")), *critic_scores(fields))


def checked_suffix(path: Path) -> str:
    """Return the suffix of a file to write, which says its format.

    Raises
    ------
    LiraError
        If it is neither `.jsonl` nor `.parquet`.
    """
    if path.suffix not in OUTPUT_FORMATS:
        raise LiraError(f"{str(path)!r}: the name must end in {' or '.join(OUTPUT_FORMATS)}")
    return path.suffix


def rounded(candidate: Candidate) -> Row:
    """Return a candidate's fields, its scores with four decimals."""
    fields = asdict(candidate)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}
