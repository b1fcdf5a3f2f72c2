"""Parquet files of texts: columns that are not used are written again as they are, whatever their types."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..data.parquet_file import plain_values
from ..errors import LiraError
from ..files import atomic_path
from .content import Content, Row

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
class ParquetColumns:
    """The rows of a Parquet file, in Arrow's memory: a column becomes Python values only when it is asked for."""

    path: Path
    table: pa.Table

    @classmethod
    def read(cls, path: Path) -> "ParquetColumns":
        """Read a file.

        Raises
        ------
        LiraError
            If it is not a Parquet file, or has two columns of one name.
        """
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise LiraError(f"{str(path)!r} is not a Parquet file: {error}") from error
        if doubled := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
            raise LiraError(f"{str(path)!r} names a column twice: {', '.join(doubled)}")
        return cls(path, table)

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        return list(self.table.column_names)

    @property
    def numbers(self) -> range:
        """Return the rows' numbers, from 1."""
        return range(1, len(self.table) + 1)

    def column(self, name: str) -> list[object]:
        """Return a column's values, dates and times as texts; all None if there is no such column.

        Raises
        ------
        LiraError
            If Python cannot represent a value, such as a date after the year 9999 in a list.
        """
        if name not in self.table.column_names:
            return [None] * len(self.table)
        try:
            return plain_values(self.table[name])
        except Exception as error:  # what pyarrow raises differs by type
            raise LiraError(f"{str(self.path)!r}: column {name!r} cannot be read: {error}") from error

    def rows(self) -> list[Row]:
        """Return all rows as dictionaries; errors as in `column`."""
        columns = [self.column(name) for name in self.names]
        return [dict(zip(self.names, values, strict=True)) for values in zip(*columns, strict=True)]


def write_parquet(path: Path, content: Content, column: str, values: list[list[Row]]) -> None:
    """Write rows with their candidates to a Parquet file, which is replaced as a whole or not at all.

    Parameters
    ----------
    path : Path
    content : Content
        The rows. Those of a Parquet file keep their column types; others get the types that fit their values.
    column : str
        Name of the column of candidates, which replaces one of that name.
    values : list of list of dict
        The candidates of each row.

    Raises
    ------
    LiraError
        If a column has values of different types.
    """
    if isinstance(content, ParquetColumns):
        table = content.table.drop_columns([column]) if column in content.names else content.table
    else:
        table = _fitted(content, [name for name in content.names if name != column])
    with atomic_path(path) as temporary:
        pq.write_table(table.append_column(column, pa.array(values, CANDIDATE_TYPE)), temporary)


def _fitted(content: Content, names: list[str]) -> pa.Table:
    table = {}
    for name in names:
        try:
            table[name] = pa.array(content.column(name))
        except (pa.ArrowException, OverflowError) as error:
            raise LiraError(f"column {name!r} mixes types ({error}): write .jsonl instead") from error
    return pa.table(table)
