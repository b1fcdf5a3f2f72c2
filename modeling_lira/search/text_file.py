"""Texts to embed, in a JSON Lines, Parquet or CSV file that may be larger than memory."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..errors import LiraError
from ..processing_lira import is_blank

Row = Mapping[str, object]

ID_COLUMNS = ("_id", "id")
LANGUAGE_COLUMNS = ("language", "lang")
CANDIDATE_COLUMN = "candidates"
SCORES = ("semantic", "emotional", "pragmatic")
_READ = 4096
"""Rows of a Parquet file that are decoded at once."""


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; where None, the usual names are looked for.

    `language` is the code of every text, in place of a column.
    """

    text: str = "text"
    id: str | None = None
    language_column: str | None = None
    language: str | None = None


@dataclass
class TextRows:
    """Rows of texts with what is known of each.

    `ids` and `texts` are strings; `languages` a code or None; `candidates` English translations, with `scores` in
    [1, 10] or NaN, three a candidate.
    """

    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    candidates: list[list[str]] = field(default_factory=list)
    scores: list[list[list[float]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)


class TextFile:
    """A file of texts that was read once from end to end, so that a bad row is found before anything is computed.

    Parameters
    ----------
    path : Path
        Ending in `.jsonl`, `.parquet` or `.csv`.
    columns : Columns
    languages : sequence of str
        Known codes.
    num_candidates : int
        How many candidates a text may have; further ones are left out.

    Raises
    ------
    LiraError
        No such file, another format, no row at all, or the first bad row: one without a text, with an id that was
        there before, an unknown language, or candidates that are not a list.

    Source: ours.
    """

    def __init__(self, path: Path, columns: Columns, languages: Sequence[str], num_candidates: int) -> None:
        self.path = path
        self.languages = languages
        self.num_candidates = num_candidates
        if path.suffix not in _READERS:
            raise LiraError(f"{str(path)!r}: the name must end in {', '.join(_READERS)}")
        if not path.is_file():
            raise LiraError(f"no input file {str(path)!r}")
        self.columns = self._found(columns)
        self.rows, self.digest = self._check()

    def batches(self, size: int) -> Iterator[TextRows]:
        """Yield the rows, `size` at a time."""
        rows = enumerate(self._raw(), start=1)
        while chunk := list(islice(rows, size)):
            yield self._parsed(chunk)

    def _check(self) -> tuple[int, str]:
        """Parse every row; return their number and a digest of all that they say."""
        digest, seen, count = hashlib.sha256(), set(), 0
        for number, row in enumerate(tqdm(self._raw(), desc="check", unit=" rows", disable=None), start=1):
            parsed = self._parsed([(number, row)])
            name = parsed.ids[0]
            if name in seen:
                raise self._error(number, f"id {name!r} was there before: ids must differ")
            seen.add(name)
            digest.update(json.dumps(vars(parsed)).encode())
            count = number
        if not count:
            raise LiraError(f"{str(self.path)!r} has no rows")
        return count, digest.hexdigest()

    def _raw(self) -> Iterator[Row]:
        return _READERS[self.path.suffix](self.path)

    def _found(self, columns: Columns) -> Columns:
        """Fill in the names of the columns, by the first row."""
        names = [name for name in next(self._raw(), {}) if name is not None]  # None: more fields than a CSV has columns
        given = {"--text-column": columns.text, "--id-column": columns.id, "--language-column": columns.language_column}
        for option, name in given.items():
            if names and name is not None and name not in names:
                raise LiraError(f"{str(self.path)!r} has no column {name!r}, only {', '.join(names)}: use {option}")
        if columns.language is not None and columns.language not in self.languages:
            raise LiraError(f"unknown language {columns.language!r}; the model knows {', '.join(self.languages)}")
        return Columns(
            columns.text,
            columns.id or next((name for name in ID_COLUMNS if name in names), None),
            columns.language_column or next((name for name in LANGUAGE_COLUMNS if name in names), None),
            columns.language,
        )

    def _parsed(self, rows: Sequence[tuple[int, Row]]) -> TextRows:
        parsed = TextRows()
        for number, row in rows:
            candidates, scores = self._candidates(number, row.get(CANDIDATE_COLUMN))
            parsed.ids.append(self._id(number, row))
            parsed.texts.append(self._text(number, row))
            parsed.languages.append(self._language(number, row))
            parsed.candidates.append(candidates)
            parsed.scores.append(scores)
        return parsed

    def _id(self, number: int, row: Row) -> str:
        value = number - 1 if self.columns.id is None else row.get(self.columns.id)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise self._error(number, f"column {self.columns.id!r} must hold an id, not {value!r}")
        return _whole(str(value))

    def _text(self, number: int, row: Row) -> str:
        value = row.get(self.columns.text)
        if not isinstance(value, str) or is_blank(value):
            raise self._error(number, f"column {self.columns.text!r} must hold a text, not {value!r}")
        return _whole(value)

    def _language(self, number: int, row: Row) -> str | None:
        if self.columns.language is not None or self.columns.language_column is None:
            return self.columns.language
        code = row.get(self.columns.language_column) or None
        if code is None:
            return None
        if not isinstance(code, str) or code not in self.languages:
            raise self._error(number, f"unknown language {code!r}; the model knows {', '.join(self.languages)}")
        return code

    def _candidates(self, number: int, value: object) -> tuple[list[str], list[list[float]]]:
        """Return the first candidates and their scores; what is said of a candidate that is no text is an error."""
        if value is None:
            return [], []
        if not isinstance(value, list):
            raise self._error(number, f"{CANDIDATE_COLUMN} must be a list, not {value!r}")
        texts, scores = [], []
        for item in value[: self.num_candidates]:
            fields = item if isinstance(item, dict) else {"text": item}
            text = fields.get("text")
            if not isinstance(text, str) or is_blank(text):
                raise self._error(number, f"a candidate needs a text, but there is {item!r}")
            texts.append(_whole(text))
            scores.append([self._score(number, fields.get(name)) for name in SCORES])
        return texts, scores

    def _score(self, number: int, value: object) -> float:
        if value is None:
            return float("nan")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value > 10:
            raise self._error(number, f"a candidate's score must be from 1 to 10, not {value!r}")
        return float(value)

    def _error(self, number: int, what: str) -> LiraError:
        return LiraError(f"{str(self.path)!r} row {number}: {what}")


def _whole(text: str) -> str:
    """Join or replace halves of characters (lone surrogates), which no file can hold."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise LiraError(f"{str(path)!r} line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise LiraError(f"{str(path)!r} line {number} is not a JSON object")
            yield row


def _parquet(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_READ):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise LiraError(f"{str(path)!r} is not a Parquet file: {error}") from error


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            yield from csv.DictReader(lines)
        except csv.Error as error:
            raise LiraError(f"{str(path)!r} is not CSV: {error}") from error


_READERS = {".jsonl": _json_lines, ".parquet": _parquet, ".csv": _csv}
