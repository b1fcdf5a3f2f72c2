"""Retrieval metrics on dense score and gain matrices."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_DRAWN_AT_ONCE = 1 << 22
"""The most drawn questions that the bootstrap has in memory at a time."""

Questions = Sequence[Sequence[Hashable]]
"""The id of the question in each row of each language: rows with the same id are the same question."""


def dcg_discounts(count: int) -> Tensor:
    """Return 1 / log2(rank + 1) for ranks 1 ... `count`, [count]."""
    return 1.0 / torch.log2(torch.arange(count, dtype=torch.float64) + 2.0)


def ndcg(scores: Tensor, gains: Tensor, k: int = 10) -> Tensor:
    """Compute nDCG@k of every query with linear gains, as trec_eval and MTEB do.

    Parameters
    ----------
    scores : Tensor, [Q, N]
        Higher ranks first; among equal scores the earlier document ranks first.
    gains : Tensor, [Q, N], not negative
    k : int

    Returns
    -------
    Tensor, [Q], float64, in [0, 1]
        NaN for a query without any relevant document: it has no ideal ranking.

    Source: Järvelin and Kekäläinen (2002).
    """
    cut = min(k, scores.shape[1])
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :cut]
    discounts = dcg_discounts(cut).to(scores.device)
    gained = (gains.double().gather(1, order) * discounts).sum(1)
    ideal = (gains.double().topk(cut, dim=1).values * discounts).sum(1)
    return gained / ideal.masked_fill(ideal == 0, float("nan"))


def pearson(first: Tensor, second: Tensor) -> float:
    """Return the linear correlation of two samples [P]; NaN where one of them does not vary."""
    both = torch.stack([first.double(), second.double()])
    return float(torch.corrcoef(both)[0, 1])


def spearman(first: Tensor, second: Tensor) -> float:
    """Return the correlation of the ranks of two samples [P], tied values sharing their middle rank."""
    return pearson(ranks(first), ranks(second))


def ranks(values: Tensor) -> Tensor:
    """Return ascending ranks [P] from 1, tied values sharing the middle one."""
    _, position, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (last - (counts - 1) / 2)[position]


def bootstrap_interval(
    values: Tensor, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values` [Q].

    For a paired comparison give the per-query differences.

    Source: Efron and Tibshirani (1993).
    """
    return interval_of(bootstrap_means(values, samples, seed), level)


def bootstrap_means(values: Tensor, samples: int, seed: int) -> Tensor:
    """Return the means [samples] of as many draws with replacement from `values` [Q], float64."""
    return bootstrap_means_of_languages([values], None, samples, seed)[0]


def bootstrap_means_of_languages(
    values: Sequence[Tensor], questions: Questions | None = None, samples: int = 10_000, seed: int = 0
) -> Tensor:
    """Draw questions with replacement and return every language's mean in every draw.

    A question that is asked in several languages is drawn in all of them or in none: its results are not independent,
    and drawing them apart would make intervals of a mean over languages too narrow. Languages that share no question
    are drawn apart.

    Parameters
    ----------
    values : sequence of L Tensor
        The values of each language, [Q].
    questions : sequence of L sequences, optional
        The id of each row's question: rows with the same id are the same question. By default every row is another
        question.
    samples, seed : int

    Returns
    -------
    Tensor, [L, samples], float64
        NaN where a draw has no question of a language.

    Source: cluster bootstrap, Davison and Hinkley (1997), section 3.8.
    """
    means = torch.empty(len(values), samples, dtype=torch.float64)
    for stratum in strata_of(questions or rows_as_questions(values)):
        generator = torch.Generator().manual_seed(seed + stratum.languages[0])
        step = max(1, _DRAWN_AT_ONCE // stratum.count)
        for start in range(0, samples, step):
            drawn = torch.randint(
                stratum.count, (min(step, samples - start), stratum.count), generator=generator
            )  # [step, G]
            times = torch.zeros(drawn.shape, dtype=torch.float64)
            times.scatter_add_(1, drawn, torch.ones_like(times))
            for language, rows in zip(stratum.languages, stratum.rows, strict=True):
                weights = times[:, rows]  # [step, Q]
                means[language, start : start + step] = (weights @ values[language].double()) / weights.sum(1)
    return means


@dataclass(frozen=True)
class Stratum:
    """Languages that share questions, by number, and the questions of their rows, numbered from 0 to `count` - 1."""

    languages: list[int]
    rows: list[Tensor]
    count: int


def rows_as_questions(values: Sequence[Tensor]) -> Questions:
    """Return ids by which every row of every language is another question; `values` are [Q] each."""
    return [[(language, row) for row in range(len(rows))] for language, rows in enumerate(values)]


def strata_of(questions: Questions) -> list[Stratum]:
    """Group the languages that share questions, directly or through others."""
    groups: list[tuple[list[int], set[Hashable]]] = []
    for language, ids in enumerate(questions):
        joined, rest = ([language], set(ids)), []
        for group in groups:
            if group[1].isdisjoint(joined[1]):
                rest.append(group)
            else:
                joined = (group[0] + joined[0], group[1] | joined[1])
        groups = [*rest, joined]
    strata = []
    for languages, _ in groups:
        numbers: dict[Hashable, int] = {}
        rows = [
            torch.tensor([numbers.setdefault(question, len(numbers)) for question in questions[language]])
            for language in sorted(languages)
        ]
        strata.append(Stratum(sorted(languages), rows, len(numbers)))
    return strata


def interval_of(means: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval that holds a share of `level` of bootstrap means [samples]; NaN is left out."""
    tail = (1 - level) / 2
    low, high = torch.nanquantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high
