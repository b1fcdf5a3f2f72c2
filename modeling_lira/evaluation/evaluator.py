"""Evaluate a model on a corpus, beside what does without it: the record that a model card shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configuration_lira import LiraConfig
from ..data.corpus import RetrievalSplit, languages_with, load_split
from ..data.stream_cache import StreamCache
from ..data.tables import SplitTables, cache_split
from ..errors import LiraError
from ..faces.progress import Progress
from ..modeling_lira import LiraModel
from ..records.model_card import MEAN, weights_digest
from ..records.provenance import SUBJECT, Clock, corpus_version, write_record
from .metrics import bootstrap_means_of_languages, interval_of, ndcg
from .names import LIRA, LIRA_FREE
from .scoring import ENGLISH_TITLES, LOCAL_TITLES, Searchers, searched, systems_of

METRIC = "ndcg@10"
TASKS = {ENGLISH_TITLES: "search of English titles", LOCAL_TITLES: "search of titles in the query's language"}
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

    Beside it stand BM25 and what the model's own backbones do without it. A corpus without English titles has no table
    of them.

    Parameters
    ----------
    folder : Path
        The model.
    corpus : str
        Folder or Hub dataset.
    output : Path
        The record, JSON of the form that `model_card.py` describes. An earlier one, of other weights, another corpus
        or split, is kept beside it.
    streams : Path
        Cache of the backbones' streams.
    split : str
    backbones : mapping, optional
        `multilingual_backbone`, `english_backbone` in place of those that it names.

    Returns
    -------
    dict, as written: `results` with a 95% interval and the number of queries in every row, `differences` of LiRA and
    the other systems with paired intervals, `queries` and `documents` by language, and where it all comes from

    Raises
    ------
    LiraError
        A model, corpus or split that is not there, or that have no language in common.
    """
    clock, version = Clock(), corpus_version(corpus)
    data = _shared_splits(folder, corpus, split)  # before the backbones, which take minutes to load from the Hub
    model = LiraModel.from_pretrained(folder, **(backbones or {}))  # type: ignore[arg-type]
    cache = StreamCache(streams)
    splits, languages = [cache_split(model, cache, part) for part in data], [part.language for part in data]
    scores, weights = _scores(model, splits), weights_digest(folder)
    record = {
        "dataset": corpus if not Path(corpus).exists() else Path(corpus).name,
        "split": split,
        "weights": weights,
        "corpus": version,
        "queries": {tables.split.language: len(tables.split.queries) for tables in splits},
        "documents": {tables.split.language: len(tables.split.titles) for tables in splits},
        SUBJECT: {"weights": weights, "corpus": version, "split": split, "languages": languages},
        "results": [row for table in scores for row in _rows(table)],
        "differences": [row for table in scores for row in _differences(table)],
        **clock.provenance(),
    }
    write_record(output, record)
    return record


def _shared_splits(folder: Path, corpus: str, split: str) -> list[RetrievalSplit]:
    """Read the split of every language that the corpus and the saved model share; each has an answerable query."""
    known = LiraConfig.from_pretrained(folder).languages or ()
    languages = [code for code in languages_with(corpus, [split]) if code in known]
    if not languages:
        raise LiraError(f"model and corpus {corpus!r} have no language in common")
    data = [load_split(corpus, language, split) for language in languages]
    for part in data:
        if not any(part.gains):
            raise LiraError(f"no query of the {part.language} part has a relevant product: nothing to evaluate")
    return data


@dataclass(frozen=True)
class _Table:
    """One task: per-query nDCG@10 [Q] by system and language, and the queries' ids by language."""

    task: str
    scores: dict[str, dict[str, Tensor]]
    questions: dict[str, list[str]]

    def interval(self, values: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
        """Return the 95% interval of the mean of values [Q] of each language, and of their mean."""
        questions = [self.questions[language] for language in values]
        drawn = bootstrap_means_of_languages(list(values.values()), questions, _SAMPLES)
        named = dict(zip(values, drawn, strict=True)) | {MEAN: drawn.mean(0)}
        return {language: interval_of(means) for language, means in named.items()}


def _scores(model: LiraModel, splits: Sequence[SplitTables]) -> list[_Table]:
    """Score every system on every task; what needs translations or English titles only where there are any."""
    tables = {documents: _Table(task, {}, {}) for documents, task in TASKS.items()}
    for split in Progress(splits, desc="score", unit="language"):
        language, answerable = split.split.language, _answerable(split)
        systems = systems_of([model], any(split.split.queries.candidates))
        questions = [name for name, real in zip(split.split.questions, answerable.tolist(), strict=True) if real]
        for documents, system, values in searched(systems, Searchers(split), _metrics):
            if documents in tables:
                table = tables[documents]
                table.scores.setdefault(system, {})[language] = values[METRIC][0][answerable]
                table.questions[language] = questions
    return [table for table in tables.values() if table.scores]


def _metrics(scores: Tensor, gains: Tensor) -> dict[str, Tensor]:
    return {METRIC: ndcg(scores, gains)}


def _answerable(split: SplitTables) -> Tensor:
    """Return which queries have a relevant product, [Q]."""
    return torch.tensor([bool(gains) for gains in split.split.gains])


def _rows(table: _Table) -> Iterator[dict[str, Any]]:
    """Yield a row a system and language, and one of the mean over languages."""
    for system, scores in table.scores.items():
        intervals = table.interval(scores)
        for language, (value, count) in _means(scores).items():
            row = {"system": system, "task": table.task, "language": language, "metric": METRIC, "value": value}
            row |= {"interval": intervals[language], "queries": count}
            yield row | ({} if system in (LIRA, LIRA_FREE) else {"baseline": True})


def _means(scores: Mapping[str, Tensor]) -> dict[str, tuple[float, int]]:
    """Return mean and number of the values of each language, and of all: the mean is that of the languages' means."""
    means = {language: (float(values.mean()), len(values)) for language, values in scores.items()}
    overall = sum(value for value, _ in means.values()) / len(means)
    return means | {MEAN: (overall, sum(count for _, count in means.values()))}


def _differences(table: _Table) -> Iterator[dict[str, Any]]:
    """Yield the paired difference of LiRA, or of LiRA without translations, to every other system."""
    first = LIRA if LIRA in table.scores else LIRA_FREE
    for rival in table.scores:
        if rival == first:
            continue
        rivals = table.scores[rival]
        gains = {code: values - rivals[code] for code, values in table.scores[first].items() if code in rivals}
        intervals = table.interval(gains)
        for language, (value, count) in _means(gains).items():
            row = {"system": first, "rival": rival, "task": table.task, "language": language, "metric": METRIC}
            yield row | {"value": value, "interval": intervals[language], "queries": count}
