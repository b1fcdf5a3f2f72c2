"""An append-only store of finished work on disk, keyed by text, agent and settings, which no crash can damage."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from filelock import FileLock, Timeout

from ..errors import LiraError
from ..files import atomic_write_text
from ..leftovers import sweep
from .batching import digest
from .candidate import Settings

logger = logging.getLogger(__name__)

SHARD_BYTES = 64 * 1024 * 1024
Value = tuple[str, ...] | tuple[float | None, ...]


@dataclass(frozen=True)
class Record:
    """One finished piece of work: a text's candidates, or a pair's measurements.

    Attributes
    ----------
    text, lang, agent : str
    settings : str
        Digest of the agent's settings.
    value : tuple of str, or of float or None
    candidate : str, optional
        The candidate of a measured pair; None if `value` holds a text's candidates.
    """

    text: str
    lang: str
    agent: str
    settings: str
    value: Value
    candidate: str | None = None

    @property
    def key(self) -> str:
        """Digest of everything but the value: what was asked for."""
        return key_of(self.text, self.lang, self.agent, self.settings, self.candidate)


def key_of(text: str, lang: str, agent: str, settings: str, candidate: str | None = None) -> str:
    """Return the key of a piece of work; the arguments are the fields of `Record`."""
    return digest(text, lang, agent, settings, candidate)


class CandidateStore:
    """A folder of JSON Lines shards with an index in memory.

    `put` writes a batch and waits for the disk before it returns, so a process that is killed loses at most the batch
    that it is writing; the incomplete line that it may leave is removed when the store is opened again. Only one
    process at a time can have a store open.

    Parameters
    ----------
    path : Path or str
        The folder; created if missing.
    shard_bytes : int
        A new shard is started after one has reached this size.

    Raises
    ------
    LiraError
        If `path` is a file, another process has the store open, or a shard is damaged elsewhere than at its end.
    """

    def __init__(self, path: Path | str, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.path = Path(path)
        self.shard_bytes = shard_bytes
        if self.path.exists() and not self.path.is_dir():
            raise LiraError(f"store {str(self.path)!r} is a file: give a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / "lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise LiraError(f"store {str(self.path)!r} is in use by another process: wait or use another") from error
        self._index: dict[str, Value] = {}
        self._file: BinaryIO | None = None
        try:
            sweep(self.path, "settings-*.json")
            self._load()
        except BaseException:
            self._lock.release()
            raise

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def __enter__(self) -> "CandidateStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Value | None:
        """Return the value stored under a key, or None."""
        return self._index.get(key)

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Return the positions of the keys that are not stored, of a repeated key the first one only."""
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        return sorted(position for key, position in first.items() if key not in self._index)

    def put(self, records: Iterable[Record]) -> None:
        """Append records and wait until they are on the disk; a record whose key is stored already is left out."""
        fresh = {record.key: record for record in records if record.key not in self._index}
        if not fresh:
            return
        lines = (json.dumps({"key": key} | asdict(record), ensure_ascii=False) for key, record in fresh.items())
        file = self._shard()
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
        self._index.update((key, record.value) for key, record in fresh.items())

    def describe(self, settings: Settings) -> str:
        """Write an agent's settings to a file beside the shards, if it is not there, and return their digest."""
        name = digest(dict(settings))
        file = self.path / f"settings-{name}.json"
        if not file.exists():
            atomic_write_text(file, json.dumps(dict(settings), ensure_ascii=False, indent=2, sort_keys=True) + "\n")
        return name

    def close(self) -> None:
        """Close the shard and release the store for other processes."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.release()

    def _shards(self) -> list[Path]:
        return sorted(self.path.glob("shard-*.jsonl"))

    def _load(self) -> None:
        shards = self._shards()
        for shard in shards:
            if shard == shards[-1]:
                _cut_torn_end(shard)
            for key, value in _read(shard):
                self._index.setdefault(key, value)

    def _shard(self) -> BinaryIO:
        """Return the shard to append to; a new one if the last is full."""
        if self._file is not None and self._file.tell() >= self.shard_bytes:
            self._file.close()
            self._file = None
        if self._file is None:
            shards = self._shards()
            last = shards[-1] if shards else None
            if last is None or last.stat().st_size >= self.shard_bytes:
                last = self.path / f"shard-{len(shards):05}.jsonl"
            self._file = last.open("ab")
            _sync_folder(self.path)
        return self._file


def _read(shard: Path) -> Iterator[tuple[str, Value]]:
    with shard.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            entry = _parse(line)
            if entry is None:
                raise LiraError(f"store shard {str(shard)!r} is damaged at line {number}: remove that line to go on")
            yield entry


def _parse(line: bytes) -> tuple[str, Value] | None:
    """Return a line's key and value, or None if it is not a whole record."""
    try:
        record = json.loads(line)
        return record["key"], tuple(record["value"])
    except (ValueError, KeyError, TypeError):
        return None


def _cut_torn_end(shard: Path) -> None:
    """Remove what a crash left after the last complete record: a line without its end, or blocks of zeros."""
    with shard.open("rb+") as file:
        whole = 0
        torn = False
        for line in file:
            if not line.endswith(b"\n") or _parse(line) is None:
                torn = True
            elif torn:
                return  # complete records follow, so no crash left this: `_read` raises an error with the line's number
            else:
                whole += len(line)
        if torn:
            logger.warning("%s: a crash left an unfinished record, which is dropped", shard)
            file.truncate(whole)
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new shard's name survive a power cut, on systems that can sync a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
