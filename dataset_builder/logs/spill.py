"""Store a log's events on disk while it is read, so that memory does not grow with the log.

Events are rows of numbers. The queries are divided into `SHARES` shares by their digests, and each share's events are
in one file, which is small enough to be read at once. Each text is stored once, in an SQLite table by its digest.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from modeling_lira.errors import LiraError

EVENT = np.dtype(
    [
        ("query", "i8"), ("spelling", "i8"), ("product", "i8"), ("title", "i8"), ("session", "i8"), ("event", "i8"),
        ("language", "i2"), ("action", "i1"), ("position", "i1"),
    ]
)  # fmt: skip
"""`query` to `session` are digests of texts; `event` is equal for repeats. `session` and `event` are 0 if unknown."""
SHARES = 64
_HELD = 100_000
"""Events, and texts, in memory before they are written."""
_ASKED_AT_ONCE = 500


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Turn what SQLite raises where it cannot write, on a full disk above all, into one clear `LiraError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LiraError(f"the log's events cannot be stored on disk while they are counted: {error}") from error


class EventSpill:
    """Writes events and texts into a folder and reads them back, a share of the queries at a time.

    Parameters
    ----------
    folder : Path
        An empty folder; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._events: list[tuple[int, ...]] = []
        self._texts: dict[int, str] = {}
        self._shares = [folder / f"events-{share}" for share in range(SHARES)]
        self._table = sqlite3.connect(folder / "texts", isolation_level=None)
        # The folder is removed if anything fails, so that nothing need be safe against a crash.
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute("PRAGMA synchronous = OFF")
        self._table.execute("CREATE TABLE texts (digest INTEGER PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def __enter__(self) -> "EventSpill":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()

    def add(self, event: tuple[int, ...]) -> None:
        """Add an event: values in the order of `EVENT`."""
        self._events.append(event)
        if len(self._events) >= _HELD:
            self._write_events()

    def remember(self, digest: int, text: str) -> None:
        """Keep a text under its digest; the first text of a digest stays."""
        self._texts.setdefault(digest, text)
        if len(self._texts) >= _HELD:
            self._write_texts()

    def shares(self) -> Iterator[np.ndarray]:
        """Yield the events, all of a query together, in the order in which they came."""
        self._write_events()
        for path in self._shares:
            if path.exists():
                yield np.fromfile(path, EVENT)

    def texts(self, digests: Iterable[int]) -> dict[int, str]:
        """Return the texts of some digests; a digest without a text is left out."""
        self._write_texts()
        wanted = list(digests)
        texts: dict[int, str] = {}
        for start in range(0, len(wanted), _ASKED_AT_ONCE):
            block = wanted[start : start + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(block))
            texts.update(self._table.execute(f"SELECT digest, text FROM texts WHERE digest IN ({marks})", block))
        return texts

    def _write_events(self) -> None:
        events, self._events = np.array(self._events, EVENT), []
        shares = events["query"] % SHARES
        order = np.argsort(shares, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(shares[order])) + 1):
            if len(rows):
                with self._shares[shares[rows[0]]].open("ab") as file:
                    events[rows].tofile(file)

    def _write_texts(self) -> None:
        texts, self._texts = self._texts, {}
        self._table.execute("BEGIN")
        self._table.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", sorted(texts.items()))
        self._table.execute("COMMIT")
