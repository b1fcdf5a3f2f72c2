"""How well a model retrieves and ranks on tables of streams, whatever the quality of the translations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..data.qualities import CANDIDATES, NONE, STRANGERS, of_quality, qualities_of
from ..data.tables import SplitTables
from ..evaluation.comparison import translate_then_encode
from ..evaluation.embedded import Embedded, embed_table
from ..evaluation.metrics import ndcg
from ..modeling_lira import LiraModel

BEST = "score"
"""Name of the validation score by which the best epoch is chosen."""
REGRET = "worst_regret"
_WAYS = {NONE: "_without_translations", CANDIDATES: ""}
"""How the scores of a quality are named, where not by its own name."""


def validation_scores(
    model: LiraModel, splits: Sequence[SplitTables], objective: str = "retrieval"
) -> dict[str, float]:
    """Return means over languages of nDCG@10 in every way that a shop may search, of the correlations, and `score`.

    English titles are searched with translations of every quality, local titles without any and with the candidates;
    types of products that are not in the training data are told apart. The regret of a quality is how far the model is
    below the better of its two simple rivals, itself without translations and translate-then-encode. The score of
    retrieval is the mean of the nDCG@10 less the worst regret; that of ranking is Spearman's correlation, that of the
    joint objective the mean of both. A language without English titles is searched by local ones alone.
    """
    values: dict[str, list[float]] = {}
    for split in splits:
        for name, value in _scores(model, split).items():
            values.setdefault(name, []).append(value)
    means = {name: float(np.nanmean(several)) for name, several in values.items()}
    regrets = [value for name, value in means.items() if name.startswith("regret_")]
    means["ndcg@10"] = float(np.mean([value for name, value in means.items() if name.startswith("ndcg@10_")]))
    means[REGRET] = max([0.0, *regrets])
    objectives = {"retrieval": means["ndcg@10"] - means[REGRET], "ranking": means.get("spearman", float("nan"))}
    objectives["joint"] = sum(objectives.values()) / 2
    return {BEST: objectives[objective], **means}


def _scores(model: LiraModel, tables: SplitTables) -> dict[str, float]:
    """Return the values of one language."""
    qualities = qualities_of(tables.queries)
    queries = {quality: embed_table(model, of_quality(tables.queries, quality)) for quality in qualities}
    documents = {english: embed_table(model, tables.documents(english), english) for english in (True, False)}
    gains = tables.split.gain_matrix()
    values: dict[str, float] = {}
    for english, title in ((True, "english"), (False, "local")):
        if english and not tables.split.has_english_titles:
            continue
        for quality in qualities if english else (NONE, CANDIDATES):
            scores = ndcg(queries[quality] @ documents[english].T, gains)
            values |= _parts(f"ndcg@10_{title}_titles{_way(quality)}", scores, tables)
    if tables.split.has_english_titles:
        values |= _regrets(values, tables)
    if tables.split.pairs:
        embedded = Embedded(tables, {True: queries[CANDIDATES]}, documents)
        values |= dict(zip(("pearson", "spearman"), embedded.correlations(), strict=True))
    return values


def _way(quality: str) -> str:
    return _WAYS.get(quality, f"_{quality}")


def _parts(name: str, scores: Tensor, tables: SplitTables) -> dict[str, float]:
    """Return the mean over all queries, and over those whose type of product is not in the training data."""
    unseen = torch.tensor(tables.split.unseen_type)
    parts = {name: float(scores.nanmean())}
    return parts | {f"{name}_unseen": float(scores[unseen].nanmean())} if unseen.any() else parts


def _regrets(values: Mapping[str, float], tables: SplitTables) -> dict[str, float]:
    """Return by how much the model is below the better of its simple rivals, for each quality of translation."""
    without, regrets = values[f"ndcg@10_english_titles{_way(NONE)}"], {}
    for quality in qualities_of(tables.queries)[1:]:
        rival = without
        if quality != STRANGERS:
            rivals = translate_then_encode(replace(tables, queries=of_quality(tables.queries, quality)))
            rival = max(rival, float(rivals.ndcg().nanmean()))
        regrets[f"regret_{quality}"] = rival - values[f"ndcg@10_english_titles{_way(quality)}"]
    return regrets
