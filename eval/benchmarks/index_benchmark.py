"""Recall, speed and size of the search index on a million embeddings, most of them drawn around real ones."""

import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from tqdm import tqdm

from dataset_builder.generator.catalogue import Catalogue
from dataset_builder.generator.corpus import slice_queries
from dataset_builder.lexicon import LANGUAGES, load_lexicon
from modeling_lira.errors import LiraError
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.files import atomic_write_text
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.provenance import PACKAGES, Clock, versions
from modeling_lira.records.saved_model import load_model
from modeling_lira.search import SearchIndex
from modeling_lira.search.choices import DType, Kind, Method
from modeling_lira.search.embeddings import EmbeddingFolder
from modeling_lira.search.encode import encode_file
from modeling_lira.search.vectors import CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH

logger = logging.getLogger(__name__)

BACKBONES = ("pypi:multilingual-e5-small", "pypi:all-minilm-l6-v2")
NEIGHBOURS = 32
"""Real embeddings whose mean and covariance one component of the mixture has."""
TOP = 10
CHUNK = 10_000
SAVE_EVERY = 10
"""Chunks between two saves: what a stopped run keeps."""
EXPANSIONS = (64, 128, 256, 512, 1024)
SAMPLE = 1_000
"""Rows on which neighbourhoods of real and of drawn embeddings are compared."""


@dataclass
class Truth:
    """The exact nearest rows of every query, over the chunks seen so far: `rows` and `cosines` [Q, TOP]."""

    queries: np.ndarray
    rows: np.ndarray
    cosines: np.ndarray

    @classmethod
    def of(cls, queries: np.ndarray) -> "Truth":
        """Begin for queries [Q, D]."""
        shape = (len(queries), TOP)
        return cls(queries, np.full(shape, -1), np.full(shape, -np.inf, np.float32))

    def see(self, chunk: np.ndarray, first: int) -> None:
        """Take in a chunk [N, D] whose rows are numbered from `first`."""
        cosines = self.queries @ chunk.T
        cut = min(TOP, len(chunk))
        best = np.argpartition(-cosines, cut - 1, axis=1)[:, :cut]
        rows = np.concatenate([self.rows, best + first], 1)
        all_cosines = np.concatenate([self.cosines, np.take_along_axis(cosines, best, 1)], 1)
        order = np.argsort(-all_cosines, axis=1, kind="stable")[:, :TOP]
        self.rows, self.cosines = np.take_along_axis(rows, order, 1), np.take_along_axis(all_cosines, order, 1)

    def recall(self, rows: np.ndarray) -> float:
        """Return the share of the exact nearest that are among the rows found [Q, TOP]."""
        return float(np.mean([np.isin(exact, nearest).mean() for exact, nearest in zip(self.rows, rows, strict=True)]))


def mixture(real: np.ndarray, rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `rows` unit embeddings in chunks: the real ones first, then draws from a mixture around them.

    A component belongs to each real embedding and is the Gaussian with the mean and covariance of its `NEIGHBOURS`
    nearest real embeddings; a draw is scaled to unit length.
    """
    near = _neighbours(real, NEIGHBOURS)
    for number, start in enumerate(range(0, rows, CHUNK)):
        random = np.random.default_rng((seed, number))
        count = min(CHUNK, rows - start)
        chunk = real[start : start + count]
        drawn = [_draw(real, near, random, min(SAMPLE, count - at)) for at in range(len(chunk), count, SAMPLE)]
        yield np.concatenate([chunk, *drawn])


def _draw(real: np.ndarray, near: np.ndarray, random: np.random.Generator, count: int) -> np.ndarray:
    members = near[random.integers(len(real), size=count)]  # [N, K]
    noise = random.standard_normal(members.shape, np.float32) / np.sqrt(members.shape[1], dtype=np.float32)
    weights = noise - noise.mean(1, keepdims=True) + 1 / members.shape[1]  # of the members, for mean and covariance
    drawn = np.matmul(weights[:, None], real[members])[:, 0]  # [N, D]
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _neighbours(rows: np.ndarray, count: int) -> np.ndarray:
    """Return the row numbers [N, count] of each row's nearest, itself among them."""
    parts = (rows[start : start + SAMPLE] @ rows.T for start in range(0, len(rows), SAMPLE))
    return np.concatenate([np.argpartition(-cosines, count - 1, axis=1)[:, :count] for cosines in parts])


def neighbourhood(rows: np.ndarray, seed: int, count: int = 20) -> dict[str, float]:
    """Describe how rows lie among each other: median cosines to the 1st and 10th nearest, and the local dimension.

    Source: the local dimension is the maximum-likelihood estimate of Levina and Bickel (2004).
    """
    sample = np.random.default_rng(seed).permutation(len(rows))[:SAMPLE]
    cosines = -np.sort(-(rows[sample] @ rows.T), axis=1)[:, 1 : count + 1]  # without the row itself
    distances = np.sqrt(np.maximum(2 - 2 * cosines, 1e-12))
    dimension = 1 / np.log(distances[:, -1:] / distances[:, :-1]).mean(1)
    return {
        "cosine_1": float(np.median(cosines[:, 0])),
        "cosine_10": float(np.median(cosines[:, 9])),
        "local_dimension": float(np.median(dimension)),
    }


def measure_index(rows: int, titles: int, queries: int, seed: int, folder: Path, model: str | None) -> dict:
    """Build, save, load and search both kinds of index; print and write what they cost.

    Parameters
    ----------
    rows : int
        Size of the index.
    titles, queries : int
        Real titles and queries to embed, of all seven languages.
    seed : int
    folder : Path
        For everything; a run that was stopped goes on where it was.
    model : str, optional
        By default an untrained model on the offline backbones.
    """
    if titles > rows or titles <= NEIGHBOURS:
        raise LiraError(f"--titles must be more than {NEIGHBOURS} and no more than --rows, got {titles}")
    clock = Clock()
    real, asked, name = embedded(folder, titles, queries, model)
    truth = Truth.of(asked)
    built = {
        method: Build(folder / f"{method}-{rows}-{titles}-{seed}", method, real.shape[1])  # one folder a set of rows
        for method in Method
    }
    for number, chunk in enumerate(tqdm(mixture(real, rows, seed), "rows", -(-rows // CHUNK), disable=None)):
        truth.see(chunk, number * CHUNK)
        for build in built.values():
            build.take(chunk, number)
    compared = np.concatenate(list(mixture(real, 2 * titles, seed)))[titles:]
    result = {
        "rows": rows,
        "width": real.shape[1],
        "real_titles": titles,
        "queries": len(asked),
        "seed": seed,
        "model": name,
        "threads": torch.get_num_threads(),
        "settings": {
            "dtype": DType.int8,
            "connectivity": CONNECTIVITY,
            "expansion_add": EXPANSION_ADD,
            "expansion": EXPANSION_SEARCH,
        },
        "neighbourhoods": {"real": neighbourhood(real, seed), "drawn": neighbourhood(compared, seed)},
        "methods": {method: build.measured(truth) for method, build in built.items()},
        "expansions": by_expansion(built[Method.hnsw].folder, truth),
        "versions": versions(("usearch", "numkong", *PACKAGES)),
    }
    result = clock.provenance() | result
    atomic_write_text(folder / "results.json", json.dumps(result, indent=1))
    _print(result)
    return result


class Build:
    """One index that grows chunk by chunk, and the time that it took, kept beside it for a run that goes on."""

    def __init__(self, folder: Path, method: Method, width: int) -> None:
        self.folder = folder
        self._clock = folder.with_suffix(".json")
        try:
            self.index = SearchIndex.open(folder)
            self.seconds = float(json.loads(self._clock.read_text(encoding="utf-8")))
        except (LiraError, FileNotFoundError):
            self.index, self.seconds = SearchIndex.create(folder, width, method), 0.0
        self._had = len(self.index)

    def take(self, chunk: np.ndarray, number: int) -> None:
        """Add a chunk that is not in the index yet."""
        first = number * CHUNK
        if first < self._had:
            return
        start = time.perf_counter()
        self.index.add([f"p{row}" for row in range(first, first + len(chunk))], chunk)
        last = len(chunk) < CHUNK
        if number % SAVE_EVERY == SAVE_EVERY - 1 or last:
            self.index.save(is_last=last)
        self.seconds += time.perf_counter() - start
        if len(self.index) == self.index.manifest.count:
            atomic_write_text(self._clock, json.dumps(self.seconds))

    def measured(self, truth: Truth) -> dict[str, float]:
        """Save, open and search."""
        start = time.perf_counter()
        self.index.save()
        self.seconds += time.perf_counter() - start
        atomic_write_text(self._clock, json.dumps(self.seconds))
        opened = _timed(lambda: SearchIndex.open(self.folder))
        size = sum(path.stat().st_size for path in self.folder.iterdir() if path.name.startswith("vectors"))
        return {
            "build_seconds": self.seconds,
            "bytes": size,
            "bytes_a_row": size / len(self.index),
            "open_ms": 1000 * opened,
            **_searched(SearchIndex.open(self.folder), truth),
        }


def by_expansion(folder: Path, truth: Truth) -> dict[int, dict[str, float]]:
    """Return recall and latency of HNSW by how many rows it looks at."""
    index, figures = SearchIndex.open(folder), {}
    for index.expansion in EXPANSIONS:
        figures[index.expansion] = _searched(index, truth)
    return figures


def _searched(index: SearchIndex, truth: Truth) -> dict[str, float]:
    """Search for one query at a time, as a server does; everything is in the page cache by then."""
    rows = [index.nearest(query[None], TOP)[0][0] for query in truth.queries]
    times = [1000 * _timed(partial(index.nearest, query[None], TOP)) for query in truth.queries]
    return {
        "recall": truth.recall(np.stack(rows)),
        "p50_ms": statistics.median(times),
        "p95_ms": float(np.percentile(times, 95)),
    }


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def embedded(folder: Path, titles: int, queries: int, model: str | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Embed real titles and queries, each with one English translation; return both and the model's name."""
    if model is None:
        torch.manual_seed(0)  # the same model again, whose embeddings an interrupted run finds
        loaded, name = LiraModel.from_backbones(*BACKBONES), f"untrained, {' and '.join(BACKBONES)}"
    else:
        loaded, name = load_model(model), model
    parts, embeddings = {Kind.document: _titles(titles), Kind.query: _queries(queries)}, []
    for kind, rows in parts.items():
        file = folder / f"{kind}-{len(rows)}.jsonl"
        atomic_write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        output = encode_file(loaded, file, file.with_suffix(""), kind, dtype=DType.float32, shard_size=1024)
        embeddings.append(np.concatenate([shard.embeddings for shard in EmbeddingFolder.open(output.path)]))
    return embeddings[0], embeddings[1], name


def _titles(count: int) -> list[dict]:
    lexicon = load_lexicon()
    catalogues = [iter(Catalogue(lexicon, language, 0)) for language in LANGUAGES]
    products = (next(catalogues[row % len(catalogues)]) for row in range(count))
    return [
        {"id": product.id, "text": product.title, "language": product.language, "candidates": [product.title_en]}
        for product in products
    ]


def _queries(count: int) -> list[dict]:
    rows = [row for row in slice_queries() if row.candidates]
    if len(rows) < count:
        raise LiraError(f"the corpus slice has {len(rows)} queries with a translation; --queries {count} is too many")
    chosen = [rows[number * len(rows) // count] for number in range(count)]
    return [{"text": row.text, "language": row.language, "candidates": [row.candidates[0]["text"]]} for row in chosen]


def _print(result: dict) -> None:
    table = Table("index", "recall@10", "p50 ms", "p95 ms", "bytes a row", "built in s", "opened in ms")
    for method, figures in result["methods"].items():
        shown = (figures[name] for name in ("p50_ms", "p95_ms", "bytes_a_row", "build_seconds", "open_ms"))
        table.add_row(method, f"{figures['recall']:.4f}", *(f"{figure:.1f}" for figure in shown))
    for expansion, figures in result["expansions"].items():
        cells = f"{figures['recall']:.4f}", f"{figures['p50_ms']:.1f}", f"{figures['p95_ms']:.1f}"
        table.add_row(f"hnsw {expansion}", *cells)
    table.title = f"{result['rows']:,} rows of {result['width']}, {result['real_titles']:,} of them real"
    PlainConsole().print(table)
