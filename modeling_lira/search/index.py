"""Search embeddings: an index in a folder, exact or approximate, memory-mapped, that grows."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor
from tqdm import tqdm
from usearch.index import Index
from usearch.index import search as usearch_exact

from ..errors import LiraError
from ..files import atomic_path, atomic_write_text
from .choices import DType, Method
from .embeddings import EmbeddingFolder, holding, quantise

MANIFEST = "index.json"
CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 512
"""How many rows HNSW looks at for one query: more is slower and finds more."""
_SLICE = 1024
"""Rows that HNSW takes in at once: between two slices the progress bar moves and Ctrl-C works."""
_DOCUMENTS = re.compile(r"documents-\d+\.arrow")
_FILES = {
    Method.hnsw: {"vectors": re.compile(r"vectors-\d+\.usearch"), "documents": _DOCUMENTS},
    Method.exact: {"vectors": re.compile(r"vectors\.bin"), "documents": _DOCUMENTS},
}
_KINDS = {DType.float32: "f32", DType.float16: "f16", DType.int8: "i8"}


@dataclass(frozen=True)
class Hit:
    """A row that was found, with its cosine to the query."""

    id: str
    text: str
    score: float


@dataclass
class Manifest:
    """What an index folder holds.

    `count` rows; `files` the names of what belongs to this state; `sources` how many rows came from which folder of
    embeddings, by its input's digest; `model` and `fingerprint` are of the model that made the embeddings.
    """

    method: Method
    dtype: DType
    width: int
    count: int = 0
    model: str = ""
    fingerprint: str = ""
    files: dict[str, str] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; raise `LiraError` if it is not an index."""
        try:
            fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            found = cls(**{**fields, "method": Method(fields["method"]), "dtype": DType(fields["dtype"])})
            fits = found.files.keys() == _FILES[found.method].keys() and all(
                pattern.fullmatch(found.files[name]) for name, pattern in _FILES[found.method].items()
            )
            if not (fits and 0 < found.width < 2**20 and 0 <= found.count < 2**40):
                raise ValueError("its manifest makes no sense")
        except FileNotFoundError as error:
            raise LiraError(f"there is no index in {str(folder)!r}: build one with --add") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LiraError(f"{str(folder)!r} is not an index: {error}") from error
        return found


class SearchIndex:
    """An index of embeddings with the ids and texts that they are of.

    Made by `SearchIndex.create(folder, width)` or `SearchIndex.open(folder)`; grows by `add`, which `save` makes
    permanent. What is on disk is memory-mapped, so opening takes no time and several processes share it.

    Parameters
    ----------
    folder : Path
    manifest : Manifest

    Source: ours; graph and distances are usearch's.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._open()

    # ------------------------------------------------------------------ construction

    @classmethod
    def create(
        cls, folder: Path | str, width: int, method: Method | str = Method.hnsw, dtype: DType | str = DType.int8
    ) -> "SearchIndex":
        """Begin an empty index for embeddings of `width` numbers; nothing is on disk before `save`.

        Raises
        ------
        LiraError
            A folder that is not empty, an unknown method or dtype, a width that is not positive.
        """
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(item.name != "lock" for item in path.iterdir())):
            raise LiraError(f"{str(path)!r} is there already: open it, or give a new folder")
        if width < 1:
            raise LiraError(f"width must be positive, got {width}")
        try:
            return cls(path, Manifest(Method(method), DType(dtype), width))
        except ValueError as error:
            raise LiraError(str(error)) from error

    @classmethod
    def open(cls, folder: Path | str) -> "SearchIndex":
        """Open an index, memory-mapped.

        Raises
        ------
        LiraError
            A folder without an index, or whose files are damaged.
        """
        return cls(Path(folder), Manifest.read(Path(folder)))

    def _open(self) -> None:
        """Take up what the manifest says, and forget what was added since."""
        self._new_ids: list[str] = []
        self._new_texts: list[str] = []
        self.__dict__.pop("_known", None)
        path = self.folder / self.manifest.files["vectors"] if self.manifest.files else None
        self._vectors: _Vectors = (_Graph if self.manifest.method is Method.hnsw else _Rows)(self.manifest, path)
        self._documents = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
        if self.manifest.files:
            self._documents = _read_documents(self.folder / self.manifest.files["documents"], self.manifest.count)

    def __len__(self) -> int:
        return self.manifest.count + len(self._new_ids)

    @cached_property
    def _known(self) -> set[str]:
        """Ids of all rows."""
        return {*self._documents["id"].to_pylist(), *self._new_ids}

    # ------------------------------------------------------------------ growing

    def add(
        self,
        ids: Sequence[str],
        embeddings: np.ndarray | Tensor,
        texts: Sequence[str] | None = None,
        show_progress: bool = False,
    ) -> None:
        """Add rows; they are found at once and permanent after `save`.

        Parameters
        ----------
        ids : sequence of str, N of them
            None that is there already.
        embeddings : ndarray or Tensor, [N, D]
            Of any length: only the direction counts.
        texts : sequence of str, optional
            What `search` returns with each id.
        show_progress : bool

        Raises
        ------
        LiraError
            Ids that repeat, lists of different lengths, embeddings of another width, zero or not finite.
        """
        names = _strings("id", ids)
        rows = self._checked(embeddings)
        said = [""] * len(names) if texts is None else _strings("text", texts)
        if not len(names) == len(rows) == len(said):
            raise LiraError(f"{len(names)} ids, {len(rows)} embeddings and {len(said)} texts: give one of each a row")
        fresh = set(names)
        if len(fresh) < len(names) or not fresh.isdisjoint(self._known):
            repeated = next(name for row, name in enumerate(names) if name in self._known or name in names[:row])
            raise LiraError(f"id {repeated!r} is there already: ids must differ")
        stored = quantise(rows, self.manifest.dtype)[0]
        try:
            for start in tqdm(range(0, len(names), _SLICE), desc="index", disable=not show_progress):
                self._vectors.add(stored[start : start + _SLICE])
        except BaseException:
            self._open()  # half of the rows are in it
            raise
        self._new_ids += names
        self._new_texts += said
        self._known.update(fresh)

    def add_folder(self, source: EmbeddingFolder, save_every: int = 100_000) -> int:
        """Add what a folder of `lira encode` holds beyond what was added from it before; saves on its way.

        Returns the number of new rows.

        Raises
        ------
        LiraError
            Embeddings of another model or width; otherwise as `add`.
        """
        settings = source.settings
        self._take_model(settings.model, settings.fingerprint)
        done, before = self.manifest.sources.get(settings.input, 0), len(self)
        with tqdm(total=settings.rows, initial=done, desc="index", unit=" rows", disable=None) as bar:
            position = 0
            for shard in source:
                skip = max(0, done - position)
                position += len(shard.ids)
                for part in _slices(skip, len(shard.ids)):
                    self.add(shard.ids[part], shard.embeddings[part], shard.texts[part])
                    bar.update(part.stop - part.start)
                self.manifest.sources[settings.input] = max(done, position)
                if len(self._new_ids) >= save_every:
                    self.save()
        self.save()
        return len(self) - before

    def _take_model(self, model: str, fingerprint: str) -> None:
        if self.manifest.fingerprint and self.manifest.fingerprint != fingerprint:
            raise LiraError(
                f"index {str(self.folder)!r} holds embeddings of another model ({self.manifest.model}): "
                f"those of {model} do not compare with them"
            )
        self.manifest.model, self.manifest.fingerprint = model, fingerprint

    def save(self) -> None:
        """Make what was added permanent; after a failure the folder holds what it held before.

        Raises
        ------
        LiraError
            A disk that is full, or an index that another process has changed since it was opened.
        """
        with holding(self.folder):
            on_disk = Manifest.read(self.folder).count if (self.folder / MANIFEST).exists() else 0
            if on_disk != self.manifest.count:
                raise LiraError(f"index {str(self.folder)!r} was changed by another process: open it again")
            try:
                self._write()
            except (OSError, RuntimeError, pa.ArrowException) as error:
                raise LiraError(f"cannot save the index to {str(self.folder)!r}: {error}") from error

    def _write(self) -> None:
        count = len(self)
        documents = self._all_documents().combine_chunks()
        files = {"vectors": self._vectors.save(self.folder, count), "documents": f"documents-{count}.arrow"}
        with (
            atomic_path(self.folder / files["documents"]) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, documents.schema) as writer,
        ):
            writer.write_table(documents)
        manifest = Manifest(**{**vars(self.manifest), "count": count, "files": files})
        atomic_write_text(self.folder / MANIFEST, json.dumps(asdict(manifest), indent=1))
        self.manifest = manifest
        self._new_ids, self._new_texts = [], []
        self._documents = _read_documents(self.folder / files["documents"], count)
        for path in self.folder.iterdir():
            earlier = any(pattern.fullmatch(path.name) for pattern in _FILES[manifest.method].values())
            if earlier and path.name not in files.values():
                path.unlink(missing_ok=True)

    def _all_documents(self) -> pa.Table:
        new = pa.table({"id": pa.array(self._new_ids, pa.string()), "text": pa.array(self._new_texts, pa.string())})
        return pa.concat_tables([self._documents, new])

    # ------------------------------------------------------------------ searching

    def search(self, queries: np.ndarray | Tensor, top: int = 10) -> list[list[Hit]]:
        """Return the nearest rows of every query [Q, D], nearest first; fewer than `top` if there are no more.

        Raises
        ------
        LiraError
            Queries of another width, zero or not finite; a `top` that is not positive.
        """
        rows, scores = self.nearest(queries, top)
        return [
            [self._hit(int(row), float(score)) for row, score in zip(*found, strict=True) if row >= 0]
            for found in zip(rows, scores, strict=True)
        ]

    def nearest(self, queries: np.ndarray | Tensor, top: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return row numbers [Q, top], -1 where there are no more, and cosines [Q, top]. Errors as `search`."""
        if top < 1:
            raise LiraError(f"top must be positive, got {top}")
        checked = self._checked(queries)
        rows = np.full((len(checked), top), -1, np.int64)
        scores = np.full((len(checked), top), -np.inf, np.float32)
        if len(checked) and len(self):
            keys, similarities = self._vectors.nearest(quantise(checked, self.manifest.dtype)[0], min(top, len(self)))
            rows[:, : keys.shape[1]], scores[:, : keys.shape[1]] = keys, similarities
        return rows, scores

    @property
    def expansion(self) -> int:
        """How many rows HNSW looks at for one query, `EXPANSION_SEARCH` when opened; exact search looks at all."""
        return self._graph.index.expansion_search

    @expansion.setter
    def expansion(self, value: int) -> None:
        self._graph.index.expansion_search = value  # type: ignore[misc]

    @property
    def _graph(self) -> "_Graph":
        if not isinstance(self._vectors, _Graph):
            raise LiraError("exact search looks at every row: only hnsw has an expansion")
        return self._vectors

    def _hit(self, row: int, score: float) -> Hit:
        if row >= self.manifest.count:
            new = row - self.manifest.count
            return Hit(self._new_ids[new], self._new_texts[new], score)
        return Hit(self._documents["id"][row].as_py(), self._documents["text"][row].as_py(), score)

    def _checked(self, embeddings: np.ndarray | Tensor) -> np.ndarray:
        """Return embeddings [N, D] as float32 of unit length."""
        try:
            rows = np.asarray(embeddings.detach().cpu() if isinstance(embeddings, Tensor) else embeddings, np.float32)
        except (TypeError, ValueError) as error:
            raise LiraError(f"embeddings must be a matrix of numbers: {error}") from error
        if rows.ndim != 2 or rows.shape[1] != self.manifest.width:
            raise LiraError(f"embeddings must have shape (N, {self.manifest.width}), got {rows.shape}")
        peaks = np.abs(rows).max(axis=1, keepdims=True)
        bad = np.flatnonzero(~((peaks > 0) & np.isfinite(peaks)))
        if len(bad):
            raise LiraError(f"embedding {bad[0]} is zero or not finite")
        rows = rows / peaks
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class _Vectors(ABC):
    """Stored vectors of an index, on disk and new ones."""

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """Add stored rows [N, D]."""

    @abstractmethod
    def save(self, folder: Path, count: int) -> str:
        """Write all `count` rows into the folder; return the name of the file, which is complete or not there."""

    @abstractmethod
    def nearest(self, queries: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Return row numbers and cosines [Q, top] for stored queries [Q, D]; -1 where nothing was found."""


class _Graph(_Vectors):
    """HNSW with its vectors, in one file."""

    def __init__(self, manifest: Manifest, path: Path | None) -> None:
        self._path = path
        self._mapped = path is not None
        self.index = Index(
            ndim=manifest.width,
            metric="cos",
            dtype=_KINDS[manifest.dtype],
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )
        if path is not None:
            self._read(path, manifest)

    def _read(self, path: Path, manifest: Manifest) -> None:
        try:
            found = Index.metadata(path) or {}
            if found.get("dimensions") != manifest.width or found.get("kind_scalar") != self.index.dtype:
                raise ValueError(f"it holds vectors of {found.get('dimensions')} numbers")
            self.index.view(path)
            if len(self.index) != manifest.count:
                raise ValueError(f"it holds {len(self.index)} rows, not {manifest.count}")
        except (OSError, RuntimeError, ValueError) as error:
            raise LiraError(f"index file {str(path)!r} is damaged: {error}; build the index again") from error

    def add(self, vectors: np.ndarray) -> None:
        if self._mapped:  # a mapped graph cannot grow
            self.index.load(self._path)
            self._mapped = False
        start = len(self.index)
        self.index.add(np.arange(start, start + len(vectors), dtype=np.uint64), vectors)

    def save(self, folder: Path, count: int) -> str:
        if self._path is not None and self._mapped:
            return self._path.name
        name = f"vectors-{count}.usearch"
        with atomic_path(folder / name) as temporary:
            self.index.save(temporary)
        self._path = folder / name
        return name

    def nearest(self, queries: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        found = self.index.search(queries, top)
        keys = np.full((len(queries), top), -1, np.int64)
        scores = np.full((len(queries), top), -np.inf, np.float32)
        counts = getattr(found, "counts", [len(found.keys)])  # a single query comes back without its axis
        for row, count in enumerate(counts):
            keys[row, :count] = np.atleast_2d(found.keys)[row, :count]
            scores[row, :count] = 1 - np.atleast_2d(found.distances)[row, :count]
        return keys, scores


class _Rows(_Vectors):
    """All rows one after the other in a file; every one is compared."""

    FILE = "vectors.bin"

    def __init__(self, manifest: Manifest, path: Path | None) -> None:
        self._dtype = np.dtype(str(manifest.dtype))
        self._width = manifest.width
        self._parts: list[np.ndarray] = [] if path is None else [self._map(path, manifest.count)]
        self._saved = manifest.count

    def _map(self, path: Path, count: int) -> np.ndarray:
        needed = count * self._width * self._dtype.itemsize
        if not path.is_file() or path.stat().st_size < needed:
            raise LiraError(f"index file {str(path)!r} is damaged: it is not of {needed} bytes; build the index again")
        if not count:
            return np.empty((0, self._width), self._dtype)
        return np.memmap(path, self._dtype, "r", shape=(count, self._width))

    def add(self, vectors: np.ndarray) -> None:
        self._parts.append(vectors)

    def save(self, folder: Path, count: int) -> str:
        path = folder / self.FILE
        # What lies beyond the rows that the manifest counts is of a save that failed, and nobody reads it.
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(self._saved * self._width * self._dtype.itemsize)
            for part in self._parts if not self._saved else self._parts[1:]:
                part.tofile(file)
            file.flush()
        self._parts, self._saved = [self._map(path, count)], count
        return self.FILE

    def nearest(self, queries: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        keys, scores, first = [], [], 0
        for part in self._parts:
            if len(part):
                found = usearch_exact(part, queries, min(top, len(part)), metric="cos", exact=True)
                keys.append(np.atleast_2d(found.keys).astype(np.int64) + first)
                scores.append(1 - np.atleast_2d(found.distances))
            first += len(part)
        all_keys, all_scores = np.concatenate(keys, 1), np.concatenate(scores, 1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :top]
        return np.take_along_axis(all_keys, order, 1), np.take_along_axis(all_scores, order, 1)


def _read_documents(path: Path, count: int) -> pa.Table:
    """Memory-map ids and texts."""
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        if table.num_rows != count or table.schema.names != ["id", "text"]:
            raise ValueError(f"it holds {table.num_rows} rows, not {count}")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise LiraError(f"index file {str(path)!r} is damaged: {error}; build the index again") from error
    return table


def _strings(what: str, values: Sequence[str]) -> list[str]:
    """Return the values as a list of texts that a file can hold."""
    listed = list(values)
    for row, value in enumerate(listed):
        if not isinstance(value, str):
            raise LiraError(f"{what} {row} must be str, got {value!r}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise LiraError(f"{what} {row} holds half of a character: {error}") from error
    return listed


def _slices(start: int, stop: int) -> Iterator[slice]:
    for first in range(start, stop, _SLICE):
        yield slice(first, min(first + _SLICE, stop))
