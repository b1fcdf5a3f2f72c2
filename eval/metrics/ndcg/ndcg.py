"""nDCG@k on graded judgements: linear gains, as trec_eval and MTEB compute it."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Normalised discounted cumulative gain of the best k documents; linear gains, as in trec_eval and MTEB."

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each query the scores of its documents, higher ranks first; of equal ones the earlier.
    references: for each query the grades of the same documents, whole numbers from 0.
    k: how many of the best documents count, 10 by default.
    per_query: whether to return every query's value, too.
Returns:
    ndcg@k: the mean over the queries that have a relevant document; NaN if there is none.
    per_query: if asked for, one value a query, NaN where nothing is relevant.
Examples:
    >>> metric = evaluate.load("eval/metrics/ndcg")
    >>> metric.compute(predictions=[[0.9, 0.8, 0.1]], references=[[0, 3, 1]])
    {'ndcg@10': 0.659...}
"""

_CITATION = """
@article{jarvelin2002cumulated,
  title={Cumulated gain-based evaluation of IR techniques},
  author={J{\\"a}rvelin, Kalervo and Kek{\\"a}l{\\"a}inen, Jaana},
  journal={ACM Transactions on Information Systems},
  volume={20}, number={4}, pages={422--446}, year={2002}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class NDCG(evaluate.Metric):
    """nDCG@k on graded judgements: linear gains, as trec_eval and MTEB compute it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
        )

    def _compute(
        self, predictions: list[list[float]], references: list[list[int]], k: int = 10, per_query: bool = False
    ) -> dict[str, float | list[float]]:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        values = np.array(
            [
                _ndcg(*_checked(query, scores, grades), k)
                for query, (scores, grades) in enumerate(zip(predictions, references, strict=True))
            ]
        )
        known = values[~np.isnan(values)]
        result: dict[str, float | list[float]] = {f"ndcg@{k}": float(known.mean()) if len(known) else float("nan")}
        return result | ({"per_query": values.tolist()} if per_query else {})


def _checked(query: int, scores: list[float], grades: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a query's scores and grades; raise ValueError for what cannot be ranked."""
    if len(scores) != len(grades):
        raise ValueError(f"query {query} has {len(scores)} scores and {len(grades)} grades")
    if not np.isfinite(scores).all():
        raise ValueError(f"query {query} has a score that is not finite")
    if min(grades, default=0) < 0:
        raise ValueError(f"query {query} has a grade below 0")
    return np.asarray(scores, float), np.asarray(grades, float)


def _ndcg(scores: np.ndarray, grades: np.ndarray, k: int) -> float:
    discounts = 1 / np.log2(np.arange(min(k, len(grades))) + 2)
    best = (np.sort(grades)[::-1][:k] * discounts).sum()
    return float((grades[np.argsort(-scores, kind="stable")][:k] * discounts).sum() / best) if best else float("nan")
