"""Texts per second of LiRA beside its own multilingual backbone in sentence-transformers, on the same texts."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from sentence_transformers import SentenceTransformer
from tqdm.auto import tqdm

from dataset_builder.generator.corpus import slice_queries
from dataset_builder.lexicon import LANGUAGES
from modeling_lira.backbones import resolve
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import LIRA_FREE
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.files import atomic_write_text
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.provenance import Clock

BARE = "multilingual encoder in sentence-transformers"
ONE = "LiRA with one translation"
BATCH = 64


def bare_encoding(encoder: SentenceTransformer, prefix: str) -> Callable[[Sequence[str]], object]:
    """Return how sentence-transformers embeds queries in batches, without its progress bar, which costs time."""
    settings: dict[str, Any] = {"prompt": prefix, "batch_size": BATCH, "normalize_embeddings": True}
    return lambda texts: encoder.encode(list(texts), show_progress_bar=False, **settings)


def measure_throughput(count: int, rounds: int, output: Path, multilingual: str, english: str) -> dict[str, float]:
    """Time the three systems in turn, print and write the median rates and their ratios.

    Parameters
    ----------
    count : int
        Texts, corpus queries of all seven languages.
    rounds : int
        Timed turns of every system, after one that is not counted.
    output : Path
        JSON file.
    multilingual, english : str
        Backbones.

    Returns
    -------
    dict
        Ratio to the bare encoder by system.
    """
    clock, (texts, languages, candidates) = Clock(), _texts(count)
    model = LiraModel.from_backbones(multilingual, english, languages=[*LANGUAGES, "en"])
    bare = SentenceTransformer(str(resolve(multilingual)), device="cpu")
    bare_encode = bare_encoding(bare, model.processor.query_prefix)
    systems: dict[str, Callable[[], object]] = {
        BARE: lambda: bare_encode(texts),
        LIRA_FREE: lambda: model.encode_query(texts, languages, batch_size=BATCH),
        ONE: lambda: model.encode_query(texts, languages, candidates=candidates, batch_size=BATCH),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for turn in tqdm(range(rounds + 1), desc="rounds", disable=None):
        for name, encode in systems.items():
            start = time.perf_counter()
            encode()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    ratios = {
        name: statistics.median(base / taken for base, taken in zip(seconds[BARE], values, strict=True))
        for name, values in seconds.items()
    }
    _write(output, clock, count, seconds, ratios)
    return ratios


def _texts(count: int) -> tuple[list[str], list[str], list[list[str]]]:
    rows = [row for row in slice_queries() if row.candidates]
    if len(rows) < count:
        raise LiraError(f"the corpus slice has {len(rows)} queries with a translation; --texts {count} is too many")
    chosen = [rows[number * len(rows) // count] for number in range(count)]
    return (
        [row.text for row in chosen],
        [row.language for row in chosen],
        [[str(row.candidates[0]["text"])] for row in chosen],
    )


def _write(output: Path, clock: Clock, count: int, seconds: dict[str, list[float]], ratios: dict[str, float]) -> None:
    table = Table("system", "texts/s", "ratio", title=f"{count} corpus queries, median of {len(seconds[BARE])} rounds")
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    for name, ratio in ratios.items():
        table.add_row(name, f"{rates[name]:.0f}", f"{ratio:.2f}")
    PlainConsole().print(table)
    result = clock.provenance() | {
        "texts": count,
        "batch_size": BATCH,
        "threads": torch.get_num_threads(),
        "texts_per_second": rates,
        "ratio": ratios,
        "seconds": seconds,
    }
    atomic_write_text(output, json.dumps(result, indent=1))
