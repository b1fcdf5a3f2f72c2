"""Embeddings on disk: a folder of Parquet or safetensors shards, each written whole or not at all."""

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
from ..leftovers import sweep
from .choices import DType, Format

MANIFEST = "embeddings.json"
LOCK = "lock"
_PLAIN_NAMES = {"fingerprint": "model", "input": "input file", "rows": "input file"}


@dataclass(frozen=True)
class Settings:
    """What must be equal for two runs to write into one folder.

    `model` is where it was loaded from, `fingerprint` of its weights; `input` a digest of the texts and of what is
    known of them; `width` the dimension D.
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
    """Store embeddings [N, D] in fewer bits.

    Returns
    -------
    tuple of ndarray [N, D] and, for int8, ndarray [N], float32
        An int8 row times its scale is the embedding: each row uses all of -127 ... 127, whatever its largest number.
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
    """Keep other processes from writing into a folder, which is created.

    Raises
    ------
    LiraError
        A file in its place, or a folder in use.
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
        """Begin a folder, or go on with one of the same settings.

        Raises
        ------
        LiraError
            A folder of other settings or of something else.
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
            A folder that `lira encode` did not write.
        """
        try:
            fields: Any = parse_json((path / MANIFEST).read_text(encoding="utf-8"))
            settings = Settings(**{**fields, "dtype": DType(fields["dtype"]), "format": Format(fields["format"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LiraError(f"{str(path)!r} is not a folder of embeddings: {error}") from error
        return cls(path, settings)

    @property
    def shards(self) -> int:
        """Number of shards of the complete folder."""
        return -(-self.settings.rows // self.settings.shard_size)

    def done(self, number: int) -> bool:
        """Say whether a shard is there."""
        return self._file(number).is_file()

    def write(self, number: int, ids: Sequence[str], texts: Sequence[str], embeddings: np.ndarray) -> None:
        """Write a shard of embeddings [N, D], float32: all of it or nothing.

        Raises
        ------
        LiraError
            A row that is not finite.
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
        with atomic_path(self._file(number)) as temporary:  # the last of both: it says that the shard is there
            save_file(tensors, temporary)

    def read(self, number: int) -> Shard:
        """Read a shard.

        Raises
        ------
        LiraError
            A shard that is damaged or of another width.
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
        """Yield the shards up to the first that is not there yet."""
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
