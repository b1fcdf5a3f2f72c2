"""Evaluate a model on a corpus, beside what its own backbones do without it: the record that a model card shows."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.corpus import corpus_languages, load_split
from ..data.stream_cache import StreamCache
from ..data.tables import SplitTables, cache_split
from ..errors import LiraError
from ..files import atomic_write_text
from ..model_card import MEAN, weights_digest
from ..modeling_lira import LiraModel
from ..records.command_line import command_line
from .comparison import ENCODER, LIRA, LIRA_FREE, TRANSLATE, encoder_alone, translate_then_encode
from .embedded import embed_split
from .metrics import bootstrap_interval, bootstrap_means, interval_of

logger = logging.getLogger(__name__)

METRIC = "ndcg@10"
TASKS = {"search of English titles": True, "search of titles in the query's language": False}
_SAMPLES = 10_000


def evaluate(
    folder: Path,
    corpus: str,
    output: Path,
    streams: Path,
    split: str = "test",
    backbones: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measure nDCG@10 of a saved model on every language that the corpus and the model share.

    Parameters
    ----------
    folder : Path
        The model.
    corpus : str
        Folder or Hub dataset.
    output : Path
        The record, JSON of the form that `model_card.py` describes.
    streams : Path
        Cache of the backbones' streams.
    split : str
    backbones : mapping, optional
        `multilingual_backbone`, `english_backbone` in place of the pinned ones.

    Returns
    -------
    dict, as written

    Raises
    ------
    LiraError
        A model, corpus or split that is not there, or that have no language in common.

    Source: ours.
    """
    start, cpu = time.perf_counter(), _cpu_seconds()
    model = LiraModel.from_pretrained(folder, **(backbones or {}))  # type: ignore[arg-type]
    languages = [code for code in corpus_languages(corpus) if code in (model.config.languages or ())]
    if not languages:
        raise LiraError(f"model and corpus {corpus!r} have no language in common")
    cache = StreamCache(streams)
    splits = [cache_split(model, cache, load_split(corpus, language, split)) for language in languages]
    record = {
        "dataset": corpus if not Path(corpus).exists() else Path(corpus).name,
        "split": split,
        "weights": weights_digest(folder),
        "command": command_line(),
        "threads": torch.get_num_threads(),
        "results": _rows(model, splits),
    }
    record |= {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(_cpu_seconds() - cpu, 1),
    }
    atomic_write_text(output, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def _rows(model: LiraModel, splits: Sequence[SplitTables]) -> list[dict[str, Any]]:
    """Score every system on every task; rows of the record."""
    scores: dict[tuple[str, str], dict[str, Tensor]] = {}
    for tables in splits:
        own, encoder, english = embed_split(model, tables), encoder_alone(tables), translate_then_encode(tables)
        translated = any(tables.split.queries.candidates)  # else what needs translations has nothing to show
        for task, in_english in TASKS.items():
            found = {ENCODER: encoder.ndcg(english_titles=in_english)}
            if translated and in_english:
                found[TRANSLATE] = english.ndcg(english_titles=True)
            found[LIRA_FREE] = own.ndcg(english_titles=in_english, with_candidates=False)
            if translated:
                found[LIRA] = own.ndcg(english_titles=in_english)
            for system, values in found.items():
                scores.setdefault((task, system), {})[tables.split.language] = _answerable(values, tables)
    return [row for (task, system), found in scores.items() for row in _rows_of(task, system, found)]


def _rows_of(task: str, system: str, scores: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Yield a row a language, and one of their mean."""
    means = torch.stack([bootstrap_means(values, _SAMPLES, seed=0) for values in scores.values()]).mean(0)
    values = {language: (float(own.mean()), bootstrap_interval(own)) for language, own in scores.items()}
    values[MEAN] = sum(value for value, _ in values.values()) / len(values), interval_of(means)
    for language, (value, interval) in values.items():
        row = {"system": system, "task": task, "language": language, "metric": METRIC, "value": value}
        yield {**row, "interval": interval, **({"baseline": True} if system in (ENCODER, TRANSLATE) else {})}


def _answerable(scores: Tensor, split: SplitTables) -> Tensor:
    """Leave out queries that nothing answers."""
    kept = scores[~scores.isnan()]
    if not len(kept):
        raise LiraError(f"no query of the {split.split.language} part has a relevant product: nothing to evaluate")
    return kept
