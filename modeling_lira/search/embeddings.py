"""Embeddings on disk: a folder of Parquet or safetensors shards, each of which is complete or not there."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import takewhile
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..data.table_file import parse_json
from ..errors import LiraError
from ..files import atomic_path, atomic_write_text
from ..files.sources import no_folder
from ..leftovers import sweep
from .choices import DType, Format

MANIFEST = "embeddings.json"
LOCK = "lock"
_PLAIN_NAMES = {"fingerprint": "model", "input": "input file", "rows": "input file"}
"""What messages call the settings whose names say little to a user."""


@dataclass(frozen=True)
class Settings:
    """The settings of a folder of embeddings; a run may continue a folder if all of them but `model` are equal.

    `model` is where the model was loaded from, `fingerprint` a digest of its weights; `input` is a digest of the texts
    with their ids, languages, candidates and scores; `width` is the dimension D.
    """

    model: str
    fingerprint: str
    input: str
    kind: str
    dtype: DType
    format: Format
    rows: int
    shard_size: int
    width: int


@dataclass(frozen=True)
class Shard:
    """Rows of a folder: ids, texts and embeddings [N, D], float32."""

    ids: list[str]
    texts: list[str]
    embeddings: np.ndarray


def quantise(embeddings: np.ndarray, dtype: DType | str) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert embeddings [N, D], float32, to the type in which they are stored.

    Returns
    -------
    tuple of ndarray [N, D] and, for int8, ndarray [N], float32
        An int8 row times its scale is the embedding. Each row has its own scale, by which its largest number is 127.
    """
    if dtype != DType.int8:
        return embeddings.astype(str(dtype)), None
    scale = np.maximum(np.abs(embeddings).max(axis=1), np.finfo(np.float32).tiny) / 127
    return np.rint(embeddings / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def restore(stored: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Return stored embeddings as float32 [N, D]."""
    return stored.astype(np.float32) if scale is None else stored.astype(np.float32) * scale[:, None]


def positive(name: str, value: object) -> int:
    """Return a positive whole number of whatever type; raise `LiraError` for anything else."""
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0:
        return int(value)
    raise LiraError(f"{name} must be a positive whole number, got {value!r}")


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Create a folder, if needed, and lock it against other processes that write into it.

    Raises
    ------
    LiraError
        If `folder` is a file, or another process has locked it.
    """
    if folder.exists() and not folder.is_dir():
        raise LiraError(f"{str(folder)!r} is a file: give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise LiraError(f"{str(folder)!r} is in use by another process: wait or use another folder") from error
    try:
        yield
    finally:
        lock.release()


class EmbeddingFolder:
    """A folder that `lira encode` writes and `lira search --add` reads.

    Parameters
    ----------
    path : Path
    settings : Settings
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    @classmethod
    def create(cls, path: Path, settings: Settings) -> "EmbeddingFolder":
        """Create a folder, or open one of the same settings to continue it.

        Raises
        ------
        LiraError
            If the folder has embeddings of other settings, or other files.
        """
        if (path / MANIFEST).exists():
            existing, wanted = asdict(cls.open(path).settings), asdict(settings)
            changed = [name for name in wanted if name != "model" and existing[name] != wanted[name]]
            if changed:
                name = changed[0]
                raise LiraError(
                    f"{str(path)!r} holds embeddings of another {_PLAIN_NAMES.get(name, name)} "
                    f"({existing[name]}, now {wanted[name]}): use another --output"
                )
            sweep(path, MANIFEST, "shard-*")
            return cls(path, settings)
        sweep(path, MANIFEST)
        if path.exists() and any(item.name != LOCK for item in path.iterdir()):
            raise LiraError(f"{str(path)!r} is a folder of something else: use another --output")
        atomic_write_text(path / MANIFEST, json.dumps(asdict(settings), indent=1))
        return cls(path, settings)

    @classmethod
    def open(cls, path: Path) -> "EmbeddingFolder":
        """Open a folder for reading.

        Raises
        ------
        LiraError
            If the folder has no valid `embeddings.json`, which `lira encode` writes.
        """
        if not path.exists():
            raise no_folder("folder of embeddings", path)
        try:
            fields: Any = parse_json((path / MANIFEST).read_text(encoding="utf-8"))
            settings = Settings(**{**fields, "dtype": DType(fields["dtype"]), "format": Format(fields["format"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LiraError(f"{str(path)!r} is not a folder of embeddings: {error}") from error
        return cls(path, settings)

    @property
    def shards(self) -> int:
        """The number of shards that the folder has when it is complete."""
        return -(-self.settings.rows // self.settings.shard_size)

    def done(self, number: int) -> bool:
        """Return whether a shard is complete."""
        return self._file(number).is_file()

    def write(self, number: int, ids: Sequence[str], texts: Sequence[str], embeddings: np.ndarray) -> None:
        """Write a shard of embeddings [N, D], float32, with the ids and texts of its rows.

        Raises
        ------
        LiraError
            If an embedding is not finite; nothing is written then.
        """
        bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if len(bad):
            raise LiraError(
                f"the embedding of {ids[bad[0]]!r} is not finite, one of {len(bad)} among {len(ids)}: "
                "the model is damaged, nothing of this shard is written"
            )
        stored, scale = quantise(embeddings, self.settings.dtype)
        if self.settings.format is Format.parquet:
            with atomic_path(self._file(number)) as temporary:
                pq.write_table(_table(ids, texts, stored, scale), temporary)
            return
        with atomic_path(self._names_file(number)) as temporary:
            pq.write_table(pa.table({"id": list(ids), "text": list(texts)}), temporary)
        tensors = {"embedding": stored} | ({} if scale is None else {"scale": scale})
        with atomic_path(self._file(number)) as temporary:  # written last, since `done` looks for this file
            save_file(tensors, temporary)

    def read(self, number: int) -> Shard:
        """Read a shard.

        Raises
        ------
        LiraError
            If the shard is damaged, or its embeddings are of another width.
        """
        path = self._file(number)
        try:
            if self.settings.format is Format.parquet:
                names = pq.read_table(path)
                stored, scale = _arrays(names, self.settings.width)
            else:
                tensors = load_file(path)
                names = pq.read_table(self._names_file(number))
                stored, scale = tensors["embedding"], tensors.get("scale")
            shard = Shard(names["id"].to_pylist(), names["text"].to_pylist(), restore(stored, scale))
        except (OSError, ValueError, KeyError, SafetensorError, pa.ArrowException) as error:
            raise LiraError(f"shard {str(path)!r} is damaged: {error}; delete it and encode again") from error
        if shard.embeddings.shape != (len(shard.ids), self.settings.width):
            raise LiraError(f"shard {str(path)!r} has embeddings of shape {shard.embeddings.shape}")
        return shard

    def __iter__(self) -> Iterator[Shard]:
        """Yield the shards in order, up to the first that is missing."""
        return map(self.read, takewhile(self.done, range(self.shards)))

    def _file(self, number: int) -> Path:
        return self.path / f"shard-{number:05d}-of-{self.shards:05d}.{self.settings.format}"

    def _names_file(self, number: int) -> Path:
        return self.path / f"shard-{number:05d}-of-{self.shards:05d}-texts.parquet"


def _table(ids: Sequence[str], texts: Sequence[str], stored: np.ndarray, scale: np.ndarray | None) -> pa.Table:
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), stored.shape[1])
    columns = {"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string()), "embedding": embedding}
    return pa.table(columns if scale is None else {**columns, "scale": scale})


def _arrays(table: pa.Table, width: int) -> tuple[np.ndarray, np.ndarray | None]:
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    scale = table["scale"].to_numpy() if "scale" in table.column_names else None
    return flat.reshape(-1, width), scale
