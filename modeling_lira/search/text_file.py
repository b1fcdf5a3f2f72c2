"""Read the texts to embed from a table, which may be larger than memory."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ..data.cells import CANDIDATES, LANGUAGES, candidate_fields, critic_scores, identifier, is_missing, shown
from ..data.languages import match_language
from ..data.table_file import Row, column_names, read_rows
from ..errors import LiraError, is_blank
from ..faces.progress import Progress

ID_COLUMNS = ("_id", "id")


@dataclass(frozen=True)
class Columns:
    """The names of the columns to read; for one that is None, the usual names are tried.

    `language` is the language code of every text, in place of a column.
    """

    text: str = "text"
    id: str | None = None
    language_column: str | None = None
    language: str | None = None


@dataclass
class TextRows:
    """Rows of texts, as lists of equal length.

    `languages` are codes, or None where unknown; `candidates` are each text's English translations, and `scores` the
    three critic's scores of each of them, in [1, 10], or NaN where there are none.
    """

    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    candidates: list[list[str]] = field(default_factory=list)
    scores: list[list[list[float]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)


class TextFile:
    """A file of texts, which is read once from end to end at first, so that a bad row is found before any work.

    Parameters
    ----------
    path : Path
        A table that `read_rows` reads.
    columns : Columns
    languages : sequence of str
        The language codes that the model knows.
    num_candidates : int
        The most candidates of a text; further ones are left out.

    Raises
    ------
    LiraError
        If there is no such file, it has another format or no rows, or at the first bad row: one without a text, with an
        id that an earlier row has, with an unknown language, or with candidates that are not a list.
    """

    def __init__(self, path: Path, columns: Columns, languages: Sequence[str], num_candidates: int) -> None:
        self.path = path
        self.languages = languages
        self.num_candidates = num_candidates
        self.columns = self._named(columns)
        self.rows, self.digest = self._check()

    def batches(self, size: int) -> Iterator[TextRows]:
        """Yield the rows, `size` at a time."""
        rows = enumerate(self._raw())
        while chunk := list(islice(rows, size)):
            yield self._parsed(chunk)

    def _check(self) -> tuple[int, str]:
        """Parse every row; return the number of rows and a digest of their contents."""
        digest, seen = hashlib.sha256(), set()
        for position, (number, row) in enumerate(Progress(self._raw(), desc="check", unit="row")):
            parsed = self._parsed([(position, (number, row))])
            name = parsed.ids[0]
            if name in seen:
                raise self._error(number, f"id {shown(name)} was there before: ids must differ")
            seen.add(name)
            digest.update(json.dumps(vars(parsed)).encode())
        if not seen:
            raise LiraError(f"{str(self.path)!r} has no rows")
        return len(seen), digest.hexdigest()

    def _raw(self) -> Iterator[tuple[int, Row]]:
        """Yield the rows with their numbers, reading only the columns that are needed."""
        names = (self.columns.text, self.columns.id, self.columns.language_column, CANDIDATES)
        return read_rows(self.path, [name for name in names if name is not None])

    def _named(self, columns: Columns) -> Columns:
        """Fill in the names of the columns that were not given, by the file's header or first row."""
        names = column_names(self.path)
        given = {"--text-column": columns.text, "--id-column": columns.id, "--language-column": columns.language_column}
        for option, name in given.items():
            if names and name is not None and name not in names:
                raise LiraError(f"{str(self.path)!r} has no column {name!r}, only {', '.join(names)}: use {option}")
        language = None if columns.language is None else match_language(columns.language, self.languages)
        if language is None and columns.language is not None:
            raise LiraError(f"unknown language {columns.language!r}; the model knows {', '.join(self.languages)}")
        return Columns(
            columns.text,
            columns.id or next((name for name in ID_COLUMNS if name in names), None),
            columns.language_column or next((name for name in LANGUAGES if name in names), None),
            language,
        )

    def _parsed(self, rows: Sequence[tuple[int, tuple[int, Row]]]) -> TextRows:
        """Check rows, each with its position in the file from 0, which is its id if there is no column of ids."""
        parsed = TextRows()
        for position, (number, row) in rows:
            try:
                candidates = candidate_fields(row.get(CANDIDATES))[: self.num_candidates]
                parsed.scores.append([_numbers(fields) for fields in candidates])
            except ValueError as error:
                raise self._error(number, str(error)) from error
            parsed.candidates.append([str(fields["text"]) for fields in candidates])
            parsed.ids.append(str(position) if self.columns.id is None else self._id(number, row))
            parsed.texts.append(self._text(number, row))
            parsed.languages.append(self._language(number, row))
        return parsed

    def _id(self, number: int, row: Row) -> str:
        try:
            return identifier(row.get(self.columns.id or ""))
        except ValueError as error:
            raise self._error(number, f"column {self.columns.id!r} {error}") from error

    def _text(self, number: int, row: Row) -> str:
        value = row.get(self.columns.text)
        if not isinstance(value, str) or is_blank(value):
            raise self._error(number, f"column {self.columns.text!r} must hold a text, not {shown(value)}")
        return value

    def _language(self, number: int, row: Row) -> str | None:
        if self.columns.language is not None or self.columns.language_column is None:
            return self.columns.language
        code = row.get(self.columns.language_column)
        if is_missing(code):
            return None
        language = match_language(code, self.languages) if isinstance(code, str) else None
        if language is None:
            raise self._error(number, f"unknown language {shown(code)}; the model knows {', '.join(self.languages)}")
        return language

    def _error(self, number: int, what: str) -> LiraError:
        return LiraError(f"{str(self.path)!r} row {number}: {what}")


def _numbers(fields: Row) -> list[float]:
    """Return a candidate's scores, NaN where there is none; raise ValueError if its text is blank."""
    if is_blank(str(fields["text"])):
        raise ValueError(f"a candidate needs a text, but there is {shown(fields['text'])}")
    return [float("nan") if score is None else score for score in critic_scores(fields)]
