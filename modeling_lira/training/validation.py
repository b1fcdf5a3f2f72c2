"""How well a model retrieves and ranks on tables of streams."""

from collections.abc import Sequence

import numpy as np

from ..data.tables import SplitTables
from ..evaluation.embedded import embed_split
from ..modeling_lira import LiraModel

BEST = "score"
"""Name of the validation score by which the best epoch is chosen."""


def validation_scores(
    model: LiraModel, splits: Sequence[SplitTables], objective: str = "retrieval"
) -> dict[str, float]:
    """Return the mean over languages of nDCG@10 in the four ways a shop may search, of the correlations, and `score`.

    The score is the mean of the four ways for retrieval, Spearman's correlation for ranking, the mean of both for the
    joint objective. A language without English titles is searched in two ways.
    """
    ways = {
        "english_titles": (True, True),
        "english_titles_without_translations": (True, False),
        "local_titles": (False, True),
        "local_titles_without_translations": (False, False),
    }
    values: dict[str, list[float]] = {}
    for split in splits:
        embedded = embed_split(model, split)
        for name, (english, candidates) in ways.items():
            if english and not split.split.has_english_titles:
                continue
            scores = embedded.ndcg(english_titles=english, with_candidates=candidates)
            values.setdefault(f"ndcg@10_{name}", []).append(float(scores.nanmean()))
        if split.split.pairs:
            linear, ranked = embedded.correlations()
            values.setdefault("pearson", []).append(linear)
            values.setdefault("spearman", []).append(ranked)
    means = {name: float(np.mean(several)) for name, several in values.items()}
    searched = [f"ndcg@10_{name}" for name in ways if f"ndcg@10_{name}" in means]
    means["ndcg@10"] = float(np.mean([means[name] for name in searched]))
    objectives = {"retrieval": means["ndcg@10"], "ranking": means.get("spearman", float("nan"))}
    objectives["joint"] = sum(objectives.values()) / 2
    return {BEST: objectives[objective], **means}
