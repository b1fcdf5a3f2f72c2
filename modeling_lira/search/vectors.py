"""The stored vectors of an index and their search: all of them compared, or by a graph in which equal ones are once."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import cast

import numpy as np
from usearch.index import BatchMatches, Index, Matches, ScalarKind
from usearch.index import search as usearch_exact

from ..errors import LiraError
from ..faces.progress import Progress
from ..files import atomic_path
from .choices import DType

logger = logging.getLogger(__name__)

CONNECTIVITY = 16
"""Neighbours of each vector in the HNSW graph (M)."""
EXPANSION_ADD = 64
"""How many vectors HNSW considers as neighbours of a new one: more is slower and makes a better graph."""
EXPANSION_SEARCH = 512
"""How many vectors HNSW considers for one query: more is slower and finds more."""
COMPARED = 2**15
"""Up to so many different vectors, all are compared: as fast as a walk through the graph, and exact."""
ONE_THREAD = 2**11
"""Up to so many vectors, a graph is built by one thread, so that the same rows make the same graph."""
_SPARE = 64
"""How many vectors beyond those asked for get exact cosines: in float32 the cosines of several may be equal."""
_CHUNK = 4096
"""Vectors that are converted or copied out of the index at a time."""
_SHARE = 16
"""If more than one in so many vectors is asked for, all are compared."""
_QUICK = 16
"""Expansion of the first, quick walk that tests whether the graph leads to a vector."""
_SCALARS = {DType.float32: "f32", DType.float16: "f16", DType.int8: "i8"}
_ROUNDING = 2.0**-22
"""Bound of the error of the difference of two float32 cosines, per number of the vectors."""
_CELLS = 2**22
"""The most rows times queries whose cosines are in memory at a time."""

Nearest = tuple[np.ndarray, np.ndarray]
"""Rows [N] and their cosines [N], the nearest first, equally near ones in the order of the rows."""
Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Maps queries [Q, D] and a number n to rows [Q, n], -1 where there are no more, and their float32 cosines [Q, n]."""


class Vectors(ABC):
    """The stored vectors of an index, both those on disk and those added since.

    Parameters
    ----------
    width : int
        Numbers of a vector, D.
    dtype : DType
    count : int
        Rows on disk.
    path : Path, optional
        Their file; None while nothing is on disk.
    """

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """Add stored rows [N, D]."""

    @abstractmethod
    def save(self, folder: Path, count: int, is_last: bool = True) -> str:
        """Write all `count` rows into the folder; return the name of the file, which is complete or not there.

        `is_last` may be False if more rows follow, to postpone work that they would make necessary again.
        """

    @abstractmethod
    def nearest(self, queries: np.ndarray, top: int) -> Iterator[Nearest]:
        """Yield the `top` nearest rows of each query [Q, D], stored as the vectors are; there must be so many rows."""

    def columns(self) -> Mapping[str, np.ndarray]:
        """Return the columns [N] that are saved beside the vectors, by their names."""
        return {}


class Rows(Vectors):
    """All rows one after the other in a file; a search compares every one."""

    FILE = "vectors.bin"

    def __init__(self, width: int, dtype: DType, count: int, path: Path | None) -> None:
        self._dtype = np.dtype(str(dtype))
        self._width = width
        self._parts: list[np.ndarray] = [] if path is None else [self._map(path, count)]
        self._saved = count

    def _map(self, path: Path, count: int) -> np.ndarray:
        needed = count * self._width * self._dtype.itemsize
        if not path.is_file() or path.stat().st_size < needed:
            raise LiraError(f"index file {str(path)!r} is damaged: it is not of {needed} bytes; build the index again")
        if not count:
            return np.empty((0, self._width), self._dtype)
        return np.memmap(path, self._dtype, "r", shape=(count, self._width))

    def add(self, vectors: np.ndarray) -> None:
        """Add stored rows [N, D]."""
        self._parts.append(vectors)

    def save(self, folder: Path, count: int, is_last: bool = True) -> str:
        """Write all `count` rows into the folder; return the name of the file."""
        path = folder / self.FILE
        # Bytes after the rows that the manifest counts were left by a save that failed; they are never read.
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(self._saved * self._width * self._dtype.itemsize)
            for part in self._parts if not self._saved else self._parts[1:]:
                part.tofile(file)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._parts, self._saved = [self._map(path, count)], count
        return self.FILE

    def nearest(self, queries: np.ndarray, top: int) -> Iterator[Nearest]:
        """Yield the `top` nearest rows of each stored query [Q, D]."""
        if len(self._parts) > 2:
            self._parts[1:] = [np.concatenate(self._parts[1:])]
        parts = [part for part in self._parts if len(part)]
        starts = np.cumsum([0, *map(len, parts)])
        searches = [_near(_comparing(part), queries, min(top, len(part)), len(part)) for part in parts]
        for query, *several in zip(queries, *searches, strict=True):
            rows = np.concatenate([positions + start for positions, start in zip(several, starts, strict=False)])
            vectors = np.concatenate([part[positions] for positions, part in zip(several, parts, strict=True)])
            yield _ranked(query, rows, vectors, top)


class Graph(Vectors):
    """An HNSW graph with its vectors, in one file. Equal vectors are in it once, under the number of their first row.

    If vectors form dense clusters, the graph is not connected, and a walk through it misses whole clusters. So up to
    `COMPARED` vectors are all compared; of more, those that a search for themselves does not find are kept apart and
    compared at every search.

    Parameters
    ----------
    width, dtype, count, path
        As `Vectors`.
    columns : mapping of str to ndarray, optional
        What `columns()` returned when the file was written: `first` [N], the first row with an equal vector, and
        `apart` [N], whether the row's vector is kept apart. None for a file of the first format, in which every row is
        a vector.
    """

    def __init__(
        self, width: int, dtype: DType, count: int, path: Path | None, columns: Mapping[str, np.ndarray] | None
    ) -> None:
        self._path = path
        self._mapped = path is not None
        self.index = _empty(width, _SCALARS[dtype])
        self._old = columns is None and count > 0
        self._first = np.arange(count) if columns is None else columns["first"]
        self._apart = (
            np.empty(0, np.int64) if columns is None else np.flatnonzero(columns["apart"])
        )  # of all rows, if few
        self._digests: dict[bytes, int] | None = None
        self._known: _Groups | None = None
        self._tried = count if len(self._keys) > COMPARED else 0
        if path is not None:
            self._read(path, width)

    @property
    def _keys(self) -> np.ndarray:
        """The vectors' numbers, each that of its first row."""
        return self._groups.keys

    @property
    def _compared(self) -> np.ndarray:
        """The vectors that are compared at every search: those kept apart and those that were not tested yet."""
        if len(self._keys) <= COMPARED:
            return self._keys
        return np.union1d(self._apart, self._keys[self._keys >= self._tried])

    @property
    def _groups(self) -> "_Groups":
        if self._known is None or self._known.count < len(self._first):
            self._known = _Groups.of(self._first)
        return self._known

    def _read(self, path: Path, width: int) -> None:
        try:
            metadata = Index.metadata(path) or {}
            if metadata.get("dimensions") != width or metadata.get("kind_scalar") != self.index.dtype:
                raise ValueError(f"it holds vectors of {metadata.get('dimensions')} numbers")
            self.index.view(path)
            if len(self.index) != len(self._keys):
                raise ValueError(f"it holds {len(self.index)} vectors, not {len(self._keys)}")
        except (OSError, RuntimeError, ValueError) as error:
            raise LiraError(f"index file {str(path)!r} is damaged: {error}; build the index again") from error

    # ------------------------------------------------------------------ growing

    def add(self, vectors: np.ndarray) -> None:
        """Add stored rows [N, D]."""
        self._renew()
        if self._mapped:  # a mapped graph cannot grow
            self.index.load(self._path)
            self._mapped = False
        start = len(self._first)
        first = self._first_rows(vectors, start)
        fresh = np.flatnonzero(first == np.arange(start, start + len(first)))
        if len(fresh):
            threads = 1 if start + len(vectors) <= ONE_THREAD else 0  # 0: all processors
            self.index.add((start + fresh).astype(np.uint64), vectors[fresh], threads=threads)
        self._first = np.concatenate([self._first, first])

    def _first_rows(self, vectors: np.ndarray, start: int) -> np.ndarray:
        """Return the first row that is equal to each of these vectors, which are the rows from `start`."""
        if self._digests is None:
            self._digests = {}
            for keys, known in self._chunks(self._keys):
                self._digests.update(zip(map(_digest, known), keys.tolist(), strict=True))
        return np.array([self._digests.setdefault(_digest(row), start + n) for n, row in enumerate(vectors)], np.int64)

    def _renew(self) -> None:
        """Convert a graph of the first format, in which every row is a vector, so that equal ones are in it once."""
        if not self._old:
            return
        self._old, self._tried, self._digests = False, 0, {}
        parts = [self._first_rows(vectors, int(keys[0])) for keys, vectors in self._chunks(self._keys)]
        self._first, self._known = np.concatenate(parts), None
        if len(self._keys) < len(self._first):
            fresh = _empty(self.index.ndim, self.index.dtype)
            _set_expansion(fresh, self.index.expansion_search)
            for keys, vectors in self._chunks(self._keys):
                fresh.add(keys.astype(np.uint64), vectors)
            self.index, self._mapped = fresh, False

    def save(self, folder: Path, count: int, is_last: bool = True) -> str:
        """Write all `count` rows into the folder; return the name of the file."""
        self._renew()
        if is_last:
            self._try()
        if self._path is not None and self._mapped:
            return self._path.name
        name = f"vectors-{count}-{len(self._keys)}.usearch"
        with atomic_path(folder / name) as temporary:
            self.index.save(temporary)
        self._path = folder / name
        return name

    def columns(self) -> Mapping[str, np.ndarray]:
        """Return `first`, the first row with an equal vector, and `apart`, whether a row's vector is kept apart."""
        return {"first": self._first, "apart": np.isin(np.arange(len(self._first)), self._compared)}

    def _try(self) -> None:
        """Find the vectors that the graph does not lead to, and keep them apart.

        Only new vectors are tested; but all are if one of these is not found, since a dense cluster may cut off its
        neighbours too, and whenever the number of vectors has doubled.
        """
        total, before = len(self._keys), int(np.searchsorted(self._keys, self._tried))
        # Without new vectors there is nothing to test, unless a save with more to follow has postponed it.
        if total <= COMPARED or (before == total and len(self._apart) <= COMPARED):
            return
        apart = self._unreached(self._keys[before:])
        if before and (len(apart) or len(self._apart) or total >= 2 * before):
            apart = np.concatenate([self._unreached(self._keys[:before]), apart])
        self._apart, self._tried = apart, len(self._first)
        if len(apart):
            logger.info("index: the graph does not lead to %d of %d vectors: they are all compared", len(apart), total)

    def _unreached(self, keys: np.ndarray) -> np.ndarray:
        """Return those of these vectors that a search for themselves does not find."""
        missed = [np.empty(0, np.int64)]
        with Progress(total=len(keys), desc="check", unit="row") as bar:
            for part, vectors in self._chunks(keys):
                again = self._not_near(part, vectors, _QUICK, 10)
                missed.append(part[again][self._not_near(part[again], vectors[again], EXPANSION_SEARCH, _SPARE)])
                bar.update(len(part))
        return np.concatenate(missed)

    def _not_near(self, keys: np.ndarray, vectors: np.ndarray, expansion: int, count: int) -> np.ndarray:
        """Return whether each vector is missing among the `count` nearest to it that a walk of this expansion finds."""
        if not len(keys):
            return np.empty(0, bool)
        before = self.index.expansion_search
        _set_expansion(self.index, expansion)
        near = _arrays(self.index.search(vectors, count))[0]
        _set_expansion(self.index, before)
        return ~(near == keys[:, None]).any(axis=1)

    # ------------------------------------------------------------------ searching

    def nearest(self, queries: np.ndarray, top: int) -> Iterator[Nearest]:
        """Yield the `top` nearest rows of each stored query [Q, D]."""
        wanted = min(top, len(self._keys))
        for query, keys in zip(queries, self._candidates(queries, wanted), strict=True):
            yield self._rows_of(*_ranked(query, keys, self._get(keys), wanted), top)

    def _candidates(self, queries: np.ndarray, top: int) -> Iterator[np.ndarray]:
        """Yield, for each query, numbers of vectors that include the `top` nearest ones."""
        total, compared = len(self._keys), self._compared
        if self._old or len(compared) > COMPARED or len(compared) == total or _SHARE * top >= total:
            yield from _near(self._compare, queries, top, total)
            return
        vectors = self._get(compared)
        near = _near(_comparing(vectors), queries, min(top, len(compared)), len(compared))
        walked = _arrays(self.index.search(queries, min(total, top + max(top, _SPARE))))[0]
        for query, keys, positions in zip(queries, walked, near, strict=True):
            reached = np.union1d(keys[keys >= 0], compared[positions])
            yield reached if len(reached) >= top else next(_near(self._compare, query[None], top, total))

    def _compare(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Compare the queries with every vector."""
        return _arrays(self.index.search(queries, count, exact=True))

    def _rows_of(self, keys: np.ndarray, cosines: np.ndarray, top: int) -> Nearest:
        """Return up to `top` rows that have these vectors; each vector has one or more rows."""
        rows = [part[:top] for part in self._groups.rows_of(keys)]
        scores = np.repeat(cosines, [len(part) for part in rows])
        joined = np.concatenate(rows)
        order = np.lexsort((joined, -scores))[:top]
        return joined[order], scores[order]

    def _get(self, keys: np.ndarray) -> np.ndarray:
        """Return stored vectors [N, D] by their numbers."""
        if not len(keys):
            return np.empty((0, self.index.ndim), np.float32)
        return np.stack(cast(tuple[np.ndarray, ...], self.index.get(keys.astype(np.uint64))))

    def _chunks(self, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(keys), _CHUNK):
            yield keys[start : start + _CHUNK], self._get(keys[start : start + _CHUNK])


@dataclass(frozen=True)
class _Groups:
    """Rows by their vectors: the rows with the vector of number `keys[n]` are those in `rows` from `starts[n]` on."""

    keys: np.ndarray
    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, first: np.ndarray) -> "_Groups":
        """Group rows by the first row that is equal to each."""
        keys, rows = np.flatnonzero(first == np.arange(len(first))), np.argsort(first, kind="stable")
        return cls(keys, rows, np.searchsorted(first[rows], keys))

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def rows_of(self, keys: np.ndarray) -> list[np.ndarray]:
        """Return the rows of each of these vectors."""
        positions = np.searchsorted(self.keys, keys)
        ends = np.append(self.starts, self.count)[positions + 1]
        return [self.rows[start:end] for start, end in zip(self.starts[positions], ends, strict=True)]


def _empty(width: int, scalar: str | ScalarKind) -> Index:
    return Index(
        ndim=width,
        metric="cos",
        dtype=scalar,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def _set_expansion(index: Index, value: int) -> None:
    index.expansion_search = value  # type: ignore[misc]


def _digest(vector: np.ndarray) -> bytes:
    return blake2b((vector + vector.dtype.type(0)).tobytes(), digest_size=16).digest()  # -0.0 is 0.0


def _arrays(matches: Matches | BatchMatches) -> tuple[np.ndarray, np.ndarray]:
    """Return usearch's rows and cosines [Q, N]; for a single query usearch returns them without the first axis."""
    keys, distances = np.atleast_2d(matches.keys).astype(np.int64), np.atleast_2d(matches.distances)
    counts = getattr(matches, "counts", [keys.shape[1]])
    beyond = np.arange(keys.shape[1]) >= np.asarray(counts)[:, None]
    return np.where(beyond, -1, keys), np.where(beyond, -np.inf, 1 - distances)


def _comparing(vectors: np.ndarray) -> Search:
    """Return a search that compares queries with every one of these vectors [N, D]."""
    return lambda queries, count: _arrays(usearch_exact(vectors, queries, count, metric="cos", exact=True))


def _near(search: Search, queries: np.ndarray, top: int, total: int) -> Iterator[np.ndarray]:
    """Yield, for each query, rows that include the `top` nearest ones of `total`.

    More are asked for until the last float32 cosine is surely below that of the `top`-th row, however many are equal.
    """
    margin = _ROUNDING * queries.shape[1]
    asked = min(total, top + _SPARE)
    for start in range(0, len(queries), max(1, _CELLS // max(asked, 1))):
        part = queries[start : start + max(1, _CELLS // max(asked, 1))]
        if not total:
            yield from (np.empty(0, np.int64) for _ in part)
            continue
        for query, rows, cosines in zip(part, *search(part, asked), strict=True):
            while len(rows) < total and cosines[-1] >= cosines[top - 1] - margin:
                more = search(query[None], min(total, 8 * len(rows)))
                rows, cosines = more[0][0], more[1][0]
            yield rows


def _ranked(query: np.ndarray, rows: np.ndarray, vectors: np.ndarray, top: int) -> Nearest:
    """Rank rows, given their vectors [N, D], by float64 cosines, which are equal for equal vectors, and then by row."""
    exact = query.astype(np.float64)
    cosines = np.concatenate(
        [_cosines(exact, vectors[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]
    )
    order = np.lexsort((rows, -cosines))[:top]
    return rows[order], cosines[order]


def _cosines(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    exact = vectors.astype(np.float64)
    # A matrix product would add the numbers of a row in an order that depends on the row's position.
    return (exact * query).sum(1) / np.sqrt((exact * exact).sum(1) * (query * query).sum())
