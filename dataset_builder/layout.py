"""The published layout of a corpus folder: parts, columns, file names, and a writer that cuts a split into shards.

The config `{language}-{part}` has its files in a folder of that name.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from modeling_lira.errors import LiraError

from .lexicon import LANGUAGES

PARTS = ("corpus", "queries", "qrels", "ranking")
ALL = "all"
CARD = "README.md"
TEXTS = (CARD, "LICENSE.md", "NOTICE")
"""What a corpus folder may hold beside the configs' folders."""
VERSION = "2.0.0"
"""Of the published corpora: their texts, judgements and columns; `cards/catalogue.versions.md` says what changed."""
WHOLE = "all"
"""Begins the names of a config's files that every split has in common, as the documents of a shop's log."""
RELATIONS = ("complement", "substitute", "partial", "exact")
"""What a product is to a query, by grade; empty in corpora that are not judged by what products are."""
ROWS_PER_SHARD = 250_000
ROWS_PER_GROUP = 20_000
CANDIDATE = pa.struct(
    [
        ("text", pa.string()),
        ("agent", pa.string()),
        ("semantic", pa.float64()),
        ("emotional", pa.float64()),
        ("pragmatic", pa.float64()),
    ]
)
SCHEMAS = {
    "corpus": pa.schema(
        [
            ("_id", pa.string()),
            ("title", pa.string()),
            ("text", pa.string()),
            ("title_en", pa.string()),
            ("department", pa.string()),
            ("category", pa.string()),
            ("type", pa.string()),
            ("attributes", pa.list_(pa.string())),
            ("price", pa.float64()),
            ("price_band", pa.string()),
            ("language", pa.string()),
            ("unseen_type", pa.bool_()),
        ]
    ),
    "queries": pa.schema(
        [
            ("_id", pa.string()),
            ("text", pa.string()),
            ("language", pa.string()),
            ("kind", pa.string()),
            ("band", pa.string()),
            ("type", pa.string()),
            ("unseen_type", pa.bool_()),
            ("constraints", pa.list_(pa.string())),
            ("hard_negatives", pa.list_(pa.string())),
            ("candidates", pa.list_(CANDIDATE)),
            ("gloss", pa.list_(pa.string())),
            ("reference", pa.string()),
        ]
    ),
    "qrels": pa.schema(
        [("query-id", pa.string()), ("corpus-id", pa.string()), ("score", pa.int64()), ("relation", pa.string())]
    ),
    "ranking": pa.schema(
        [("query", pa.string()), ("title", pa.string()), ("similarity", pa.float64()), ("language", pa.string())]
    ),
}
Row = Mapping[str, object]


def shards(folder: Path, config: str, split: str) -> list[Path]:
    """Return the Parquet files of a config and split in order; of `all-*`, those of every language in turn."""
    language, part = config.rsplit("-", 1)
    if language == ALL:
        return [path for language in languages_in(folder) for path in shards(folder, f"{language}-{part}", split)]
    return sorted((folder / config).glob(f"{stem_of(folder, config, split)}-*.parquet"))


def stem_of(folder: Path, config: str, split: str) -> str:
    """Return what the names of a split's files begin with: `WHOLE` if all splits with queries have the same files."""
    whole = any((folder / config).glob(f"{WHOLE}-*.parquet"))
    queries = folder / f"{config.rsplit('-', 1)[0]}-queries"
    return WHOLE if whole and any(queries.glob(f"{split}-*.parquet")) else split


def languages_in(folder: Path) -> list[str]:
    """Return the languages that a corpus folder holds: those of the lexicon in its order, then others by name."""
    languages = {path.name.removesuffix("-corpus") for path in folder.glob("*-corpus") if path.is_dir()}
    return [*(language for language in LANGUAGES if language in languages), *sorted(languages - set(LANGUAGES))]


def read_part(folder: Path, language: str, part: str, split: str, columns: list[str] | None = None) -> pa.Table:
    """Read one split of a config, all of it or some columns."""
    names = columns or SCHEMAS[part].names
    tables = [pq.read_table(path, columns=names) for path in shards(folder, f"{language}-{part}", split)]
    return pa.concat_tables(tables) if tables else SCHEMAS[part].empty_table().select(names)


def check_complete(folder: Path) -> None:
    """Check that a folder is a complete corpus of this version.

    Raises
    ------
    LiraError
        If the card, all languages or a split are missing, a file is damaged, or its columns differ from `SCHEMAS`.
    """
    languages = languages_in(folder) if folder.is_dir() else []
    if not (folder / CARD).is_file() or not languages:
        raise LiraError(f"{folder} is not a complete corpus folder: build one first")
    for language in languages:
        splits = {split for part in PARTS for split in splits_in(folder, f"{language}-{part}")} or SPLITS
        for part in PARTS:
            for split in (split for split in SPLITS if split in splits):
                paths = shards(folder, f"{language}-{part}", split)
                if not paths:
                    raise LiraError(f"{folder} lacks the {split} split of {language}-{part}: build it again")
                for path in paths:
                    _check_columns(path, SCHEMAS[part])


def splits_in(folder: Path, config: str) -> list[str]:
    """Return the splits of a config that have files; a language with very few queries may lack some."""
    return [split for split in SPLITS if shards(folder, config, split)]


def _check_columns(path: Path, schema: pa.Schema) -> None:
    """Raise LiraError if a file is damaged or its columns differ from the schema; only its footer is read."""
    try:
        columns = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise LiraError(f"{path} is damaged ({str(error).splitlines()[0]}): build the corpus again") from error
    if not columns.equals(schema):
        names = sorted(set(columns.names) ^ set(schema.names)) or ["types"]
        raise LiraError(f"{path} is of another version ({', '.join(names)} differ): build the corpus again")


class PartWriter:
    """Writes one split of one config as shards of bounded size, row group by row group.

    Parameters
    ----------
    folder : Path
        The corpus folder.
    language, part, split : str
        `split` may be `WHOLE`.
    rows_per_shard : int
    """

    def __init__(
        self, folder: Path, language: str, part: str, split: str, rows_per_shard: int = ROWS_PER_SHARD
    ) -> None:
        self.folder = folder / f"{language}-{part}"
        self.split = split
        self.schema = SCHEMAS[part]
        self.rows_per_shard = rows_per_shard
        self.rows = 0
        self._pending: list[Row] = []
        self._tables: list[pa.Table] = []
        self._held = 0
        self._writer: pq.ParquetWriter | None = None
        self._shard_rows = 0
        self._finished: list[Path] = []

    def __enter__(self) -> "PartWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()

    def add(self, row: Row) -> None:
        """Add one row."""
        self._pending.append(row)
        if len(self._pending) >= ROWS_PER_GROUP:
            self._take_pending()

    def add_all(self, rows: Iterable[Row]) -> None:
        """Add rows one by one."""
        for row in rows:
            self.add(row)

    def add_table(self, table: pa.Table) -> None:
        """Add a table of this part's columns."""
        self._take_pending()
        self._hold(table.cast(self.schema))

    def close(self) -> None:
        """Write what is left and give the shards their final names; a split without rows becomes one empty file."""
        self._take_pending()
        self._write_held()
        if not self.rows and self._writer is None:
            self._open()
        self._finish_shard()
        for number, path in enumerate(self._finished):
            _fsync(path)
            path.rename(path.with_name(f"{self.split}-{number:05d}-of-{len(self._finished):05d}.parquet"))

    def _take_pending(self) -> None:
        if self._pending:
            rows, self._pending = self._pending, []
            self._hold(pa.Table.from_pylist(rows, schema=self.schema))

    def _hold(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._held += table.num_rows
        self.rows += table.num_rows
        if self._held >= ROWS_PER_GROUP:
            self._write_held()

    def _write_held(self) -> None:
        """Write the held rows and start a new shard whenever one has `rows_per_shard` rows."""
        if not self._held:
            return
        table = pa.concat_tables(self._tables)
        self._tables, self._held = [], 0
        start = 0
        while start < table.num_rows:
            writer = self._writer or self._open()
            piece = table.slice(start, self.rows_per_shard - self._shard_rows)
            writer.write_table(piece)
            start += piece.num_rows
            self._shard_rows += piece.num_rows
            if self._shard_rows == self.rows_per_shard:
                self._finish_shard()

    def _open(self) -> pq.ParquetWriter:
        # A final name says how many shards there are, which is known only at the end.
        path = self.folder / f"{self.split}-{len(self._finished):05d}.unfinished"
        self._writer = pq.ParquetWriter(path, self.schema, compression="zstd")
        self._finished.append(path)
        self._shard_rows = 0
        return self._writer

    def _finish_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _fsync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


SPLITS = ("train", "validation", "test")
