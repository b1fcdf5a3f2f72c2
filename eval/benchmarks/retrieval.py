"""How a saved model searches and ranks a corpus' test part: by language, kind of query, type, titles, translations.

Queries are drawn again by their ids. Those of the product corpus are drawn apart in every language, like its products
(only the types are common to all), so no two languages share an id; a corpus whose languages ask the same questions
under the same ids is drawn question by question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table as ShownTable
from torch import Tensor
from tqdm.auto import tqdm

from modeling_lira.data.corpus import RetrievalSplit, corpus_languages, load_split
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import ENCODER, LIRA, LIRA_FREE, TRANSLATE, TRANSLATE_BM25
from modeling_lira.evaluation.scoring import (
    DOCUMENTS,
    ENGLISH_TITLES,
    LOCAL_TITLES,
    TRANSLATED_TITLES,
    Searchers,
    System,
    Words,
    lira_vectors,
    searched,
    systems_of,
)
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.command_line import shown, shown_all
from modeling_lira.records.provenance import identities
from modeling_lira.records.saved_model import load_model

from ..markdown import scaled
from ..options import RECORDS
from ..record import Meter, corpus_version, weights_of
from ..significance import MEAN, correct, deviation_over_models, difference_cell, paired_differences
from .correlations import CORRELATIONS, CorrelationSums, correlation_difference
from .library_metrics import METRICS, NDCG, retrieval_metrics
from .other_models import baseline

__all__ = ["DOCUMENTS", "ENGLISH_TITLES", "LOCAL_TITLES", "TRANSLATED_TITLES", "lira_vectors", "run_retrieval"]
SEEN, UNSEEN = "seen types", "unseen types"
console = PlainConsole(width=150)


@dataclass
class Scores:
    """What one corpus gave: per-query values, and sums of the graded pairs.

    `values[documents][system][language][metric]` is a tensor [R, Q] of R models; `pairs[system][language]` holds the
    sums of each model; `questions[language]` are the queries' ids, the same in two languages for the same question.
    """

    questions: dict[str, list[str]] = field(default_factory=dict)
    kinds: dict[str, list[str]] = field(default_factory=dict)
    unseen: dict[str, Tensor] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    values: dict[str, dict[str, dict[str, dict[str, Tensor]]]] = field(default_factory=dict)
    pairs: dict[str, dict[str, list[CorrelationSums]]] = field(default_factory=dict)


def score_corpus(
    models: Sequence[LiraModel], tables: Sequence[SplitTables], baselines: Mapping[str, System] | None = None
) -> Scores:
    """Score models, what their backbones do without LiRA, BM25 and other models on every language of a corpus.

    Parameters
    ----------
    models : sequence of LiraModel
        Of several seeds, on the same backbones.
    tables : sequence of SplitTables
        One a language. Without English titles there is no table of them.
    baselines : mapping of System, optional
        More rows, by name.

    Raises
    ------
    LiraError
        Embeddings that are not finite.
    """
    scores = Scores()
    systems = systems_of(models, any(part.queries.has_english.any() for part in tables))
    systems = {name: [system] for name, system in (baselines or {}).items()} | systems
    for part in tqdm(tables, desc="score", unit="language", disable=None):
        split, searchers = part.split, Searchers(part)
        scores.questions[split.language] = split.questions
        scores.kinds[split.language] = split.kinds
        scores.unseen[split.language] = torch.tensor(split.unseen_type)
        scores.documents[split.language] = len(split.titles)
        for documents, name, values in searched(systems, searchers, retrieval_metrics):
            scores.values.setdefault(documents, {}).setdefault(name, {})[split.language] = values
        for name, several in systems.items() if any(split.pairs) else ():
            if LOCAL_TITLES in several[0].searches and several[0].read is not Words:  # BM25's scores are no similarity
                sums = [_pair_sums(searchers.scores(system, LOCAL_TITLES), split) for system in several]
                scores.pairs.setdefault(name, {})[split.language] = sums
    return scores


def _pair_sums(cosines: Tensor, split: RetrievalSplit) -> CorrelationSums:
    """Return the sums of the graded pairs' cosines, of queries and local titles, and their targets."""
    queries = torch.tensor([query for query, pairs in enumerate(split.pairs) for _ in pairs])
    documents = torch.tensor([document for pairs in split.pairs for document, _ in pairs])
    targets = torch.tensor([target for pairs in split.pairs for _, target in pairs], dtype=torch.float64)
    return CorrelationSums.of(cosines[queries, documents], targets, queries)


# ---------------------------------------------------------------- numbers


def summarise(scores: Scores) -> dict[str, Any]:
    """Return everything that the record holds, as plain numbers; "mean" is the mean over languages."""
    languages = list(scores.kinds)
    kinds = list(dict.fromkeys(kind for row in scores.kinds.values() for kind in row))
    by_kind = {
        kind: {code: torch.tensor([one == kind for one in scores.kinds[code]]) for code in languages} for kind in kinds
    }
    types = {SEEN: {code: ~mask for code, mask in scores.unseen.items()}, UNSEEN: scores.unseen}
    return {
        "languages": languages,
        "queries": {code: len(row) for code, row in scores.kinds.items()},
        "documents": scores.documents,
        "search": {
            documents: {
                system: {
                    metric: _means({code: metrics[metric] for code, metrics in languages_of.items()})
                    for metric in METRICS
                }
                for system, languages_of in systems.items()
            }
            for documents, systems in scores.values.items()
        },
        "deviation_over_models": {
            documents: {
                system: deviation_over_models([metrics[NDCG] for metrics in languages_of.values()])
                for system, languages_of in systems.items()
            }
            for documents, systems in scores.values.items()
        },
        "kinds": _parts(scores, by_kind),
        "types": _parts(scores, types),
        "ranking": {
            system: {
                name: _means({code: torch.tensor([[sums.correlation(name) for sums in several]])
                              for code, several in languages_of.items()})
                for name in CORRELATIONS
            }
            for system, languages_of in scores.pairs.items()
        },
        "differences": _differences(scores, None),
        "differences_unseen_types": _differences(scores, scores.unseen),
        "ranking_differences": _ranking_differences(scores),
    }  # fmt: skip


def _means(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the means by language and their mean, of the languages that have any value."""
    means = {code: float(scores.nanmean()) for code, scores in values.items()}
    return means | {MEAN: float(np.nanmean(list(means.values()))) if means else float("nan")}


def _parts(scores: Scores, parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    """Return nDCG@10 of the queries of each part."""
    return {
        documents: {
            system: {
                part: _means(
                    {
                        code: metrics[NDCG][:, chosen[code]]
                        for code, metrics in by_language.items()
                        if bool(chosen[code].any())
                    }
                )
                for part, chosen in parts.items()
            }
            for system, by_language in systems.items()
        }
        for documents, systems in scores.values.items()
    }


def _pairs(systems: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is compared: LiRA with every other row, and LiRA without translations with those that have none."""
    others = [name for name in systems if name not in (LIRA, LIRA_FREE, ENCODER, TRANSLATE)]
    pairs = [(LIRA, ENCODER), (LIRA, TRANSLATE), (LIRA, LIRA_FREE), (LIRA_FREE, ENCODER)]
    pairs += [(LIRA, name) for name in others] + [(LIRA_FREE, name) for name in others if name != TRANSLATE_BM25]
    return [pair for pair in pairs if all(name in systems for name in pair)]


def _differences(scores: Scores, chosen: Mapping[str, Tensor] | None) -> dict[str, Any]:
    """Return paired differences of nDCG@10, all of them corrected together."""
    differences = {}
    for documents, systems in scores.values.items():
        for first, second in _pairs(systems):
            higher, lower = (_chosen_ndcg(systems[name], chosen) for name in (first, second))
            questions = {code: _chosen(ids, chosen, code) for code, ids in scores.questions.items()}
            if higher:
                for language, difference in paired_differences(higher, lower, questions=questions).items():
                    differences[documents, f"{first} against {second}", language] = difference
    nested: dict[str, Any] = {}
    for (documents, pair, language), difference in correct(differences).items():
        nested.setdefault(documents, {}).setdefault(pair, {})[language] = asdict(difference)
    return nested


def _chosen_ndcg(
    by_language: Mapping[str, Mapping[str, Tensor]], chosen: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    return {
        code: metrics[NDCG] if chosen is None else metrics[NDCG][:, chosen[code]]
        for code, metrics in by_language.items()
        if chosen is None or bool(chosen[code].any())
    }


def _chosen(ids: Sequence[str], chosen: Mapping[str, Tensor] | None, language: str) -> list[str]:
    return list(ids) if chosen is None else list(compress(ids, chosen[language].tolist()))


def _ranking_differences(scores: Scores) -> dict[str, Any]:
    return {
        f"{first} against {second}": {
            name: {
                code: correlation_difference(scores.pairs[first][code], scores.pairs[second][code], name)
                for code in scores.pairs[first]
            }
            for name in CORRELATIONS
        }
        for first, second in _pairs(scores.pairs)
    }


# ---------------------------------------------------------------- the command


def run_retrieval(
    models: Sequence[str],
    corpus: str,
    streams: Path,
    languages: Sequence[str] | None = None,
    split: str = "test",
    records: Path = RECORDS,
    backbones: tuple[str | None, str | None] = (None, None),
    baselines: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure saved models on a corpus, print the tables and write the record "retrieval".

    Parameters
    ----------
    models : sequence of str
        Folders or Hub ids: one model, or the same of several seeds.
    corpus : str
        Folder or Hub dataset.
    streams : Path
        Cache of the backbones' streams.
    languages : sequence of str, optional
        By default all of the corpus that the models know.
    split : str
    records : Path
    backbones : pair of str, optional
        In place of those that the models name.
    baselines : sequence of str
        Folders or Hub ids of other models of sentence-transformers, each a row of the tables.

    Raises
    ------
    LiraError
        A model, corpus, language or split that is not there; embeddings that are not finite.
    """
    meter = Meter("retrieval", corpus=corpus_version(corpus))
    loaded = [load_model(name, *backbones) for name in models]
    rivals = {shown(name): baseline(name) for name in baselines}
    codes = languages_of(loaded, corpus, languages)
    cache = StreamCache(streams)
    tables = [cache_split(loaded[0], cache, load_split(corpus, code, split)) for code in codes]
    results = {
        "models": [shown(name) for name in models],
        "weights": [weights_of(name) for name in models],
        "corpus": shown(corpus),
        "split": split,
        "baselines": list(rivals),
        **summarise(score_corpus(loaded, tables, rivals)),
    }
    subject = {name: results[name] for name in ("split", "languages", "baselines")}
    path = meter.record(results, **subject, weights=identities(models), backbones=shown_all(backbones)).write(records)
    for table in tables_of(results):
        console.print(table)
    console.print(f"numbers: {path}", highlight=False)
    return results


def languages_of(models: Sequence[LiraModel], corpus: str, wanted: Sequence[str] | None) -> list[str]:
    """Return the wanted languages, or all of a corpus; raise `LiraError` for one that corpus or model do not have."""
    there = corpus_languages(corpus)
    for code in wanted or ():
        if code not in there:
            raise LiraError(f"corpus {corpus!r} has no language {code!r}, only {', '.join(there)}")
    known = models[0].processor.languages
    if any(model.processor.languages != known for model in models):
        raise LiraError("the models know different languages: compare models of one config")
    missing = [code for code in wanted or there if code not in known]
    if missing:
        raise LiraError(f"the model does not know language {missing[0]!r}, only {', '.join(known)}: use --languages")
    return list(wanted or there)


def tables_of(results: Mapping[str, Any]) -> list[ShownTable]:
    """Return the printed tables: scores by language, by kind and type, ranking, differences."""
    languages = [*results["languages"], MEAN]
    tables = []
    for documents, systems in results["search"].items():
        table = _table("system", [*languages, *METRICS[1:]],
                       f"{documents}: nDCG@10 x 100")  # fmt: skip
        for system, metrics in systems.items():
            others = [metrics[metric][MEAN] for metric in METRICS[1:]]
            table.add_row(system, *map(scaled, [*map(metrics[NDCG].get, languages), *others]))
        table.add_section()
        for pair, values in results["differences"].get(documents, {}).items():
            table.add_row(pair, *(difference_cell(values.get(code)) for code in languages))
        tables.append(table)
    columns = [*next(iter(next(iter(results["kinds"].values())).values())), SEEN, UNSEEN]
    parts = _table("nDCG@10 x 100, mean of languages", columns, "By kind of query, and type seen in training or not")
    for documents, systems in results["kinds"].items():
        for system, kinds in systems.items():
            values = kinds | results["types"][documents][system]
            parts.add_row(f"{system}, {documents}", *(f"{100 * values[column][MEAN]:.1f}" for column in columns))
    tables.append(parts)
    if results["ranking"]:
        ranking = _table(
            "correlation, mean of languages", list(CORRELATIONS), "Graded pairs of queries and local titles"
        )
        for system, values in results["ranking"].items():
            ranking.add_row(system, *(f"{values[name][MEAN]:.3f}" for name in CORRELATIONS))
        tables.append(ranking)
    return tables


def _table(first: str, columns: Sequence[str], title: str) -> ShownTable:
    table = ShownTable(title=f"{title}; * differs at 5% after Holm's correction", title_justify="left")
    table.add_column(first, overflow="fold", min_width=24)
    for column in columns:
        table.add_column(column, justify="right")
    return table
