"""Recall@k: the share of the relevant documents that are among the best k, as trec_eval computes it."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "The share of a query's relevant documents that are among the best k."

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each query the scores of its documents, higher ranks first; of equal ones the earlier.
    references: for each query the grades of the same documents, whole numbers from 0. Any grade above 0 is relevant.
    k: how many of the best documents count, 100 by default.
    per_query: whether to return every query's value, too.
Returns:
    recall@k: the mean over the queries that have a relevant document; NaN if there is none.
    per_query: if asked for, one value a query, NaN where nothing is relevant.
Examples:
    >>> metric = evaluate.load("eval/metrics/recall")
    >>> metric.compute(predictions=[[0.9, 0.8, 0.1]], references=[[0, 3, 1]])
    {'recall@100': 1.0}
"""

_CITATION = """
@book{manning2008introduction,
  title={Introduction to Information Retrieval},
  author={Manning, Christopher D. and Raghavan, Prabhakar and Sch{\\"u}tze, Hinrich},
  publisher={Cambridge University Press}, year={2008}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Recall(evaluate.Metric):
    """Recall@k: the share of the relevant documents that are among the best k, as trec_eval computes it."""

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
        self, predictions: list[list[float]], references: list[list[int]], k: int = 100, per_query: bool = False
    ) -> dict[str, float | list[float]]:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        values = np.array(
            [
                _recall(*_checked(query, scores, grades), k)
                for query, (scores, grades) in enumerate(zip(predictions, references, strict=True))
            ]
        )
        known = values[~np.isnan(values)]
        result: dict[str, float | list[float]] = {f"recall@{k}": float(known.mean()) if len(known) else float("nan")}
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


def _recall(scores: np.ndarray, grades: np.ndarray, k: int) -> float:
    relevant = grades[np.argsort(-scores, kind="stable")] > 0
    return float(relevant[:k].sum() / relevant.sum()) if relevant.any() else float("nan")
