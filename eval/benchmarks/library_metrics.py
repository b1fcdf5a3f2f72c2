"""Retrieval metrics by trec_eval, the reference implementation, through pytrec_eval."""

from collections.abc import Mapping

import pytrec_eval
import torch
from torch import Tensor

NDCG, RECALL, MRR = "ndcg@10", "recall@100", "mrr@10"
METRICS = (NDCG, RECALL, MRR)
_CUT, _DEEP = 10, 100


def retrieval_metrics(scores: Tensor, gains: Tensor) -> dict[str, Tensor]:
    """Return nDCG@10, recall@100 and MRR@10 of every query.

    Parameters
    ----------
    scores : Tensor, [Q, N]
        Higher ranks first; among equal scores the earlier document ranks first.
    gains : Tensor, [Q, N], whole numbers
        Graded for nDCG, with linear gains; for the others a document of any grade above 0 is relevant.

    Returns
    -------
    dict of Tensor [Q], float64, by the name of the metric
        NaN for a query without any relevant document.

    Source: trec_eval (NIST), through pytrec_eval-terrier.
    """
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :_DEEP]
    qrels = {
        str(query): {str(document): int(row[document]) for document in row.nonzero()[:, 0].tolist()}
        for query, row in enumerate(gains.long())
    }
    # trec_eval breaks ties by the name of the document, so each rank gets a score of its own.
    ranked = {
        str(query): {str(document): float(_DEEP - rank) for rank, document in enumerate(row)}
        for query, row in enumerate(order.tolist())
    }
    first = {query: dict(list(ranking.items())[:_CUT]) for query, ranking in ranked.items()}
    deep = _evaluated(qrels, ranked, {f"ndcg_cut.{_CUT}", f"recall.{_DEEP}"})
    top = _evaluated(qrels, first, {"recip_rank"})
    values = {NDCG: (deep, f"ndcg_cut_{_CUT}"), RECALL: (deep, f"recall_{_DEEP}"), MRR: (top, "recip_rank")}
    answerable = (gains > 0).any(1)
    return {
        name: torch.tensor([results[str(query)][key] for query in range(len(scores))], dtype=torch.float64).masked_fill(
            ~answerable, float("nan")
        )
        for name, (results, key) in values.items()
    }


def _evaluated(
    qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]], measures: set[str]
) -> dict[str, dict[str, float]]:
    """Run trec_eval; what it leaves out, a query without judgements, scores 0."""
    results = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    nothing = {measure.replace(".", "_"): 0.0 for measure in measures}
    return {query: results.get(query, nothing) for query in run}
