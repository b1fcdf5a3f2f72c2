"""Keep a log's rows in a DuckDB database on disk and count them there, so that memory does not grow with the log.

What Python alone can do, such as cleaning, is done once for each distinct value of a column: see `Store.add_table`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from modeling_lira.errors import LiraError

from .reading import LogRow

MEMORY = "768MB"
"""What DuckDB may use before it writes to disk."""
_BATCH = 20_000
"""Rows that are handed to DuckDB, and read from it, at once."""
Value = str | int | None


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Turn what DuckDB raises where it cannot write, on a full disk above all, into one clear `LiraError`."""
    try:
        yield
    except duckdb.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise LiraError(f"the log's events cannot be stored on disk while they are counted: {reason}") from error


class Store:
    """A database with the table `log`: the columns of `LogRow`, and `row`, the number of the row from 0.

    Parameters
    ----------
    folder : Path
        An empty folder; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY, "preserve_insertion_order": False, "temp_directory": str(folder / "spilt"),
        }  # fmt: skip
        self._database = duckdb.connect(folder / "events", config=settings)
        self._held: list[LogRow] = []
        self._rows = 0
        columns = ", ".join(f"{name} VARCHAR" for name in LogRow._fields)
        self.run(f"CREATE TABLE log (row BIGINT, {columns})")
        self.run("BEGIN")  # one transaction, which need not be safe against a crash

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, row: LogRow) -> None:
        """Add a row to the table `log`."""
        self._held.append(row)
        if len(self._held) >= _BATCH:
            self._flush()

    def close_log(self) -> None:
        """Write the rows that are still held in memory; none can be added afterwards."""
        self._flush()
        self.run("COMMIT")

    def _flush(self) -> None:
        if self._held:
            rows = range(self._rows, self._rows + len(self._held))
            self._insert("log", [rows, *zip(*self._held, strict=True)])
            self._rows, self._held = rows.stop, []

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement of SQL and return all rows of its result."""
        return self._database.execute(statement).fetchall()

    def columns(self, statement: str) -> list[np.ndarray]:
        """Run a query and return its result as one array a column."""
        return list(self._database.execute(statement).fetchnumpy().values())

    def add_table(self, columns: str, read: Callable[..., Sequence[Value]], select: str) -> None:
        """Make a table of the rows of a query, each passed through a Python function.

        Parameters
        ----------
        columns : str
            The table's name, and its columns with their types, as SQL writes them: "codes(raw VARCHAR, code INTEGER)".
        read : function
            Gets the values of a row of the query, returns those of a row of the table.
        select : str
            The query.
        """
        self.run(f"CREATE TABLE {columns}")
        rows = self._database.cursor().execute(select)
        while batch := rows.fetchmany(_BATCH):
            self._insert(columns.partition("(")[0], zip(*(read(*row) for row in batch), strict=True))

    def _insert(self, table: str, columns: Iterable[Sequence[Value]]) -> None:
        arrays = [pa.array(column) for column in columns]
        self._database.register("batch", pa.table(arrays, names=[f"column_{number}" for number in range(len(arrays))]))
        self.run(f"INSERT INTO {table} SELECT * FROM batch")
        self._database.unregister("batch")
