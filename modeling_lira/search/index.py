"""An index of embeddings in a folder, exact or approximate, memory-mapped, to which rows can be added."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor
from tqdm import tqdm

from ..data.table_file import parse_json
from ..errors import LiraError
from ..faces.progress import Progress
from ..files import atomic_path, atomic_write_text
from ..leftovers import final_name, sweep
from ..records.saved_model import backend_of, same_model
from .choices import DType, Method
from .embeddings import LOCK, EmbeddingFolder, holding, positive, quantise
from .vectors import Graph, Rows, Vectors

MANIFEST = "index.json"
FORMAT = 2
"""The version of the files' format. In the first one the graph has every row, equal ones too."""
_SLICE = 1024
"""Rows that are added to the graph in one call: between two calls the progress bar moves and Ctrl-C works."""
_DOCUMENTS = re.compile(r"documents-\d+\.arrow")
_EMPTY = {"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}
_FILES = {
    Method.hnsw: {"vectors": re.compile(r"vectors-\d+(-\d+)?\.usearch"), "documents": _DOCUMENTS},
    Method.exact: {"vectors": re.compile(r"vectors\.bin"), "documents": _DOCUMENTS},
}


@dataclass(frozen=True)
class Hit:
    """A row of the index that a search found; `score` is its cosine to the query."""

    id: str
    text: str
    score: float


@dataclass
class Manifest:
    """The contents of an index folder.

    `count` is the number of rows, `width` that of an embedding's numbers, `files` the names of the files of this state;
    `sources` is the number of rows from each folder of embeddings, by the digest of its input; `model` and
    `fingerprint` are those of the model that made the embeddings; `format` is the version of the files' format.
    """

    method: Method
    dtype: DType
    width: int
    count: int = 0
    model: str = ""
    fingerprint: str = ""
    files: dict[str, str] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    format: int = 1

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder; raise `LiraError` if it is not an index."""
        try:
            fields: Any = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
            manifest = cls(**{**fields, "method": Method(fields["method"]), "dtype": DType(fields["dtype"])})
            if manifest.format > FORMAT:
                raise ValueError("a newer version made it: install that one")
            patterns = _FILES[manifest.method]
            fits = manifest.files.keys() == patterns.keys() and all(
                pattern.fullmatch(manifest.files[name]) for name, pattern in patterns.items()
            )
            if not (fits and 0 < manifest.width < 2**20 and 0 <= manifest.count < 2**40 and manifest.format > 0):
                raise ValueError("its manifest makes no sense")
        except FileNotFoundError as error:
            raise LiraError(f"there is no index in {str(folder)!r}: build one with --add") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LiraError(f"{str(folder)!r} is not an index: {error}") from error
        return manifest


class SearchIndex:
    """An index of embeddings with their ids and texts.

    Make one by `SearchIndex.create(folder, width)` or `SearchIndex.open(folder)`; `add` adds rows, and `save` writes
    them to the disk. The files are memory-mapped, so opening takes no time and processes share the memory. An index of
    an earlier version is searched by comparing all rows, until `save` converts it.

    Parameters
    ----------
    folder : Path
    manifest : Manifest

    Source: usearch builds the graph and computes the distances.
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
        """Make an empty index for embeddings of `width` numbers; nothing is written before `save`.

        Raises
        ------
        LiraError
            If the folder has other files than those of an interrupted first `save`, the method or dtype is unknown, or
            the width is not positive.
        """
        path = Path(folder)
        if path.exists() and (not path.is_dir() or not all(_is_unfinished(item.name) for item in path.iterdir())):
            raise LiraError(f"{str(path)!r} is there already: open it, or give a new folder")
        try:
            return cls(path, Manifest(Method(method), DType(dtype), positive("width", width), format=FORMAT))
        except ValueError as error:
            raise LiraError(str(error)) from error

    @classmethod
    def open(cls, folder: Path | str) -> "SearchIndex":
        """Open an index, memory-mapped.

        Raises
        ------
        LiraError
            If the folder has no index, or its files are damaged.
        """
        return cls(Path(folder), Manifest.read(Path(folder)))

    def _open(self) -> None:
        """Open the files that the manifest names; rows that were added since are forgotten."""
        self._new_ids: list[str] = []
        self._new_texts: list[str] = []
        self.__dict__.pop("_known", None)
        path = self.folder / self.manifest.files["vectors"] if self.manifest.files else None
        table = pa.table(_EMPTY)
        if self.manifest.files:
            table = _read_documents(self.folder / self.manifest.files["documents"], self.manifest)
        self._documents = table.select(["id", "text"])
        shape = (self.manifest.width, self.manifest.dtype, self.manifest.count, path)
        self._vectors: Vectors = (
            Rows(*shape) if self.manifest.method is Method.exact else Graph(*shape, _columns(table))
        )

    def __len__(self) -> int:
        return self.manifest.count + len(self._new_ids)

    @cached_property
    def _known(self) -> set[str]:
        """The ids of all rows."""
        return {*self._documents["id"].to_pylist(), *self._new_ids}

    # ------------------------------------------------------------------ growing

    def add(
        self,
        ids: Sequence[str],
        embeddings: np.ndarray | Tensor,
        texts: Sequence[str] | None = None,
        show_progress: bool = False,
    ) -> None:
        """Add rows, which a search finds from now on; `save` writes them to the disk.

        Parameters
        ----------
        ids : sequence of str, N of them
            Each different from the others and from those in the index.
        embeddings : ndarray or Tensor, [N, D]
            Of any length: only the direction counts.
        texts : sequence of str, optional
            The text that `search` returns with each id; by default empty.
        show_progress : bool

        Raises
        ------
        LiraError
            If an id is repeated, the lists differ in length, or an embedding is of another width, zero or not finite;
            nothing is added then.
        """
        names = _strings("id", ids)
        rows = self._checked(embeddings)
        contents = [""] * len(names) if texts is None else _strings("text", texts)
        if not len(names) == len(rows) == len(contents):
            raise LiraError(
                f"{len(names)} ids, {len(rows)} embeddings and {len(contents)} texts: give one of each a row"
            )
        fresh = set(names)
        if len(fresh) < len(names) or not fresh.isdisjoint(self._known):
            repeated = next(name for row, name in enumerate(names) if name in self._known or name in names[:row])
            raise LiraError(f"id {repeated!r} is there already: ids must differ")
        stored = quantise(rows, self.manifest.dtype)[0]
        try:
            for start in tqdm(range(0, len(names), _SLICE), desc="index", disable=not show_progress):
                self._vectors.add(stored[start : start + _SLICE])
        except BaseException:
            self._open()  # some of the rows may be in the graph already
            raise
        self._new_ids += names
        self._new_texts += contents
        self._known.update(fresh)

    def add_folder(self, source: EmbeddingFolder, save_every: int = 100_000) -> int:
        """Add the rows of a folder of `lira encode` that were not added from it before, and save the index.

        Parameters
        ----------
        source : EmbeddingFolder
        save_every : int
            The index is also saved whenever so many rows have been added, so that an interrupted run can be continued.

        Returns
        -------
        int
            The number of new rows.

        Raises
        ------
        LiraError
            If the embeddings are of another model or width; otherwise as `add`.
        """
        settings = source.settings
        self._take_model(settings.model, settings.fingerprint)
        done, before = self.manifest.sources.get(settings.input, 0), len(self)
        with Progress(total=settings.rows, initial=done, desc="index", unit="row") as bar:
            position = 0
            for shard in source:
                skip = max(0, done - position)
                position += len(shard.ids)
                for part in _slices(skip, len(shard.ids)):
                    self.add(shard.ids[part], shard.embeddings[part], shard.texts[part])
                    bar.update(part.stop - part.start)
                self.manifest.sources[settings.input] = max(done, position)
                if len(self._new_ids) >= save_every:
                    self.save(is_last=False)
        self.save()
        return len(self) - before

    def _take_model(self, model: str, fingerprint: str) -> None:
        before = self.manifest.fingerprint
        if before and before != fingerprint:
            if same_model(before, fingerprint):
                raise LiraError(
                    f"index {str(self.folder)!r} holds embeddings that {backend_of(before)} made, not "
                    f"{backend_of(fingerprint)}: encode all documents of an index with one backend"
                )
            raise LiraError(
                f"index {str(self.folder)!r} holds embeddings of another model ({self.manifest.model}): "
                f"those of {model} do not compare with them"
            )
        self.manifest.model, self.manifest.fingerprint = model, fingerprint

    def save(self, is_last: bool = True) -> None:
        """Write the rows that were added to the disk; if this fails, the folder keeps its earlier state.

        Parameters
        ----------
        is_last : bool
            False if more rows follow: part of the work is postponed to the last `save`, and searches are slower until
            then.

        Raises
        ------
        LiraError
            If the disk is full, or another process has changed the index since it was opened.
        """
        with holding(self.folder):
            sweep(self.folder, MANIFEST, "vectors-*.usearch", "documents-*.arrow")
            on_disk = Manifest.read(self.folder).count if (self.folder / MANIFEST).exists() else 0
            if on_disk != self.manifest.count:
                raise LiraError(f"index {str(self.folder)!r} was changed by another process: open it again")
            try:
                self._write(is_last)
            except (OSError, RuntimeError, pa.ArrowException) as error:
                raise LiraError(f"cannot save the index to {str(self.folder)!r}: {error}") from error

    def _write(self, is_last: bool) -> None:
        count = len(self)
        files = {"vectors": self._vectors.save(self.folder, count, is_last), "documents": f"documents-{count}.arrow"}
        documents = self._all_documents().combine_chunks()
        for name, values in self._vectors.columns().items():
            documents = documents.append_column(name, pa.array(values))
        with (
            atomic_path(self.folder / files["documents"]) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, documents.schema) as writer,
        ):
            writer.write_table(documents)
        manifest = Manifest(**{**vars(self.manifest), "count": count, "files": files, "format": FORMAT})
        atomic_write_text(self.folder / MANIFEST, json.dumps(asdict(manifest), indent=1))
        self.manifest = manifest
        self._new_ids, self._new_texts = [], []
        self._documents = _read_documents(self.folder / files["documents"], manifest).select(["id", "text"])
        for path in self.folder.iterdir():
            if _is_data(path.name) and path.name not in files.values():
                path.unlink(missing_ok=True)

    def _all_documents(self) -> pa.Table:
        new = pa.table({"id": pa.array(self._new_ids, pa.string()), "text": pa.array(self._new_texts, pa.string())})
        return pa.concat_tables([self._documents, new])

    # ------------------------------------------------------------------ searching

    def search(self, queries: np.ndarray | Tensor, top: int = 10) -> list[list[Hit]]:
        """Return the nearest rows of every query [Q, D], nearest first; fewer than `top` only if there are no more.

        Rows with equal embeddings come in the order in which they were added.

        Raises
        ------
        LiraError
            If a query is of another width, zero or not finite, or `top` is not a positive whole number.
        """
        rows, scores = self.nearest(queries, top)
        return [
            [self._hit(int(row), float(score)) for row, score in zip(*nearest, strict=True)]
            for nearest in zip(rows, scores, strict=True)
        ]

    def nearest(self, queries: np.ndarray | Tensor, top: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return row numbers and cosines, each [Q, top], or [Q, N] if there are no more. Errors as `search`."""
        width = min(positive("top", top), len(self))
        checked = self._checked(queries)
        rows = np.empty((len(checked), width), np.int64)
        scores = np.empty((len(checked), width), np.float32)
        if rows.size:
            stored = quantise(checked, self.manifest.dtype)[0]
            for query, nearest in enumerate(self._vectors.nearest(stored, width)):
                rows[query], scores[query] = nearest
        return rows, scores

    @property
    def expansion(self) -> int:
        """How many vectors HNSW considers for one query, by default `EXPANSION_SEARCH`; of few vectors, all."""
        return self._graph.index.expansion_search

    @expansion.setter
    def expansion(self, value: int) -> None:
        self._graph.index.expansion_search = value  # type: ignore[misc]

    @property
    def _graph(self) -> Graph:
        if not isinstance(self._vectors, Graph):
            raise LiraError("exact search looks at every row: only hnsw has an expansion")
        return self._vectors

    def _hit(self, row: int, score: float) -> Hit:
        if row >= self.manifest.count:
            new = row - self.manifest.count
            return Hit(self._new_ids[new], self._new_texts[new], score)
        return Hit(self._documents["id"][row].as_py(), self._documents["text"][row].as_py(), score)

    def _checked(self, embeddings: np.ndarray | Tensor) -> np.ndarray:
        """Return embeddings [N, D] as float32 of unit length; raise LiraError for a wrong shape, zero or not finite."""
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
        rows = rows / peaks  # first, since the square of a very large or very small number has no float32
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _is_data(name: str) -> bool:
    """Return whether a file's name is one of an index's vectors or documents, of its current or an earlier state."""
    return any(pattern.fullmatch(name) for patterns in _FILES.values() for pattern in patterns.values())


def _is_unfinished(name: str) -> bool:
    """Return whether a file's name is one that an interrupted first `save` may leave."""
    final = final_name(name)
    return name == LOCK or _is_data(final or name) or final == MANIFEST


def _read_documents(path: Path, manifest: Manifest) -> pa.Table:
    """Memory-map the ids and texts of all rows, and the columns of the graph, if there is one."""
    names = ["id", "text"]
    if manifest.method is Method.hnsw and manifest.format > 1:
        names += ["first", "apart"]
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        if table.num_rows != manifest.count:
            raise ValueError(f"it holds {table.num_rows} rows, not {manifest.count}")
        return table.select(names)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise LiraError(f"index file {str(path)!r} is damaged: {error}; build the index again") from error


def _columns(documents: pa.Table) -> dict[str, np.ndarray] | None:
    """Return the columns of the graph, after a check; None if the index is of the first format."""
    if "first" not in documents.schema.names:
        return None
    first, apart = documents["first"].to_numpy(), documents["apart"].to_numpy()
    rows = np.arange(len(first))
    if first.dtype != np.int64 or apart.dtype != bool or not ((first >= 0) & (first <= rows)).all():
        raise LiraError("the index's columns 'first' and 'apart' are damaged: build the index again")
    if not (first[first] == first).all():
        raise LiraError("the index's column 'first' is damaged: build the index again")
    return {"first": first, "apart": apart}


def _strings(what: str, values: Sequence[str]) -> list[str]:
    """Return the values as a list; raise LiraError for one that is not a str or that cannot be encoded as UTF-8."""
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
