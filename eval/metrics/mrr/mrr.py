"""MRR@k: one over the rank of the first relevant document among the best k, else 0."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Mean reciprocal rank: one over the rank of the first relevant document, 0 if none is among the best k."

_KWARGS_DESCRIPTION = """
Args:
    predictions: for each query the scores of its documents, higher ranks first; of equal ones the earlier.
    references: for each query the grades of the same documents, whole numbers from 0. Any grade above 0 is relevant.
    k: how many of the best documents count, 10 by default.
    per_query: whether to return every query's value, too.
Returns:
    mrr@k: the mean over the queries that have a relevant document; NaN if there is none.
    per_query: if asked for, one value a query, NaN where nothing is relevant.
Examples:
    >>> metric = evaluate.load("eval/metrics/mrr")
    >>> metric.compute(predictions=[[0.9, 0.8, 0.1]], references=[[0, 3, 1]])
    {'mrr@10': 0.5}
"""

_CITATION = """
@inproceedings{voorhees1999trec,
  title={The TREC-8 Question Answering Track Report},
  author={Voorhees, Ellen M.},
  booktitle={Proceedings of the 8th Text REtrieval Conference}, year={1999}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MRR(evaluate.Metric):
    """MRR@k: one over the rank of the first relevant document among the best k, else 0."""

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
                _reciprocal_rank(*_checked(query, scores, grades), k)
                for query, (scores, grades) in enumerate(zip(predictions, references, strict=True))
            ]
        )
        known = values[~np.isnan(values)]
        result: dict[str, float | list[float]] = {f"mrr@{k}": float(known.mean()) if len(known) else float("nan")}
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


def _reciprocal_rank(scores: np.ndarray, grades: np.ndarray, k: int) -> float:
    if not (grades > 0).any():
        return float("nan")
    places = np.flatnonzero(grades[np.argsort(-scores, kind="stable")][:k] > 0)
    return 1 / (int(places[0]) + 1) if len(places) else 0.0
