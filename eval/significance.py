"""Is a difference more than chance? Paired bootstrap, paired randomisation, effect size, correction for many tests."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from modeling_lira.errors import LiraError
from modeling_lira.evaluation.metrics import (
    Questions,
    bootstrap_means_of_languages,
    interval_of,
    rows_as_questions,
    strata_of,
)

MEAN = "mean"
"""Name of the mean over languages, beside the languages' own."""
SAMPLES = 10_000
_CHUNK = 1 << 22
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Difference:
    """How much higher one system scores than another on the same queries.

    Attributes
    ----------
    mean : float
        Of the per-query differences; over languages, the mean of the languages' means.
    low, high : float
        Percentile bootstrap interval, 95%: questions are drawn again, in all languages that share them.
    p : float
        Two-sided paired randomisation: how often a mean as far from 0 comes about when each question's two scores are
        swapped by a coin, in all languages that share it.
    corrected_p : float
        After Holm, for all comparisons of the table; equal to `p` before `correct`.
    effect : float
        Cohen's d of paired samples: mean over standard deviation of the differences; 0 where nothing differs.
    better, worse : float
        Shares of queries on which the first system scores higher and lower.
    count : int
        Queries.
    questions : int
        Different questions among them: fewer than `count` where one question is asked in several languages.
    """

    mean: float
    low: float
    high: float
    p: float
    corrected_p: float
    effect: float
    better: float
    worse: float
    count: int
    questions: int

    @property
    def significant(self) -> bool:
        """Whether it is, at 5% after correction."""
        return self.corrected_p < 0.05


def paired_differences(
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    samples: int = SAMPLES,
    seed: int = 0,
    questions: Mapping[str, Sequence[Hashable]] | None = None,
) -> dict[str, Difference]:
    """Compare two systems in every language and in the mean over languages.

    Parameters
    ----------
    first, second : mapping of str to Tensor
        Each language's per-query scores [Q], in the same order, or [R, Q] of R seeds, which are averaged first. A query
        without a value in both (NaN) is left out.
    samples : int
        Of the bootstrap and of the randomisation.
    seed : int
    questions : mapping of str to sequence, optional
        Id of the question of each of a language's queries. Queries of one id, in several languages, are the same
        question: their scores are not independent, and are drawn and swapped together. By default every query of
        every language is a question of its own.

    Returns
    -------
    dict of Difference by language, "mean" last

    Raises
    ------
    LiraError
        Other languages or queries on one side, a value on one side only, no value at all.

    Source: Efron and Tibshirani (1993), ch. 8 and 16; randomisation for retrieval: Smucker et al. (2007).
    """
    if first.keys() != second.keys() or not first:
        raise LiraError(f"systems were scored on different languages: {sorted(first)} and {sorted(second)}")
    whole = {language: _differences(language, first[language], second[language]) for language in first}
    values, ids = _kept(list(whole.values()), [questions[language] for language in whole] if questions else None)
    drawn = bootstrap_means_of_languages(values, ids, samples, seed)
    swapped = _swapped_means(values, ids, samples, seed)
    result = {
        language: _difference(values[row], float(values[row].mean()), drawn[row], swapped[row], len(set(ids[row])))
        for row, language in enumerate(whole)
    }
    overall = float(torch.stack([differences.mean() for differences in values]).mean())
    different = len(set().union(*ids))
    result[MEAN] = _difference(torch.cat(values), overall, drawn.mean(0), swapped.mean(0), different)
    return result


def _differences(language: str, first: Tensor, second: Tensor) -> Tensor:
    """Return a language's differences [Q], NaN where a query has no value."""
    left, right = (_over_seeds(values.double()) for values in (first, second))
    if left.shape != right.shape:
        raise LiraError(f"systems were scored on different {language} queries: {len(left)} and {len(right)}")
    if (left.isnan() != right.isnan()).any():
        raise LiraError(f"a {language} query has a score of one system only: the other gave NaN")
    if left.isnan().all():
        raise LiraError(f"no {language} query has a score")
    return left - right


def _over_seeds(values: Tensor) -> Tensor:
    return values.mean(0) if values.ndim == 2 else values


def _kept(values: Sequence[Tensor], questions: Questions | None) -> tuple[list[Tensor], Questions]:
    """Return the values [Q] of each language that are not NaN, and the ids of their questions."""
    kept = [~row.isnan() for row in values]
    known = [row[real] for row, real in zip(values, kept, strict=True)]
    if questions is None:
        return known, rows_as_questions(known)
    for ids, real in zip(questions, kept, strict=True):
        if len(ids) != len(real):
            raise LiraError(f"{len(real)} queries of a language have {len(ids)} ids of questions")
    return known, [list(compress(ids, real.tolist())) for ids, real in zip(questions, kept, strict=True)]


def _swapped_means(values: Sequence[Tensor], questions: Questions, samples: int, seed: int) -> Tensor:
    """Return every language's means [L, samples] when the sign of each question is drawn by a coin."""
    means = torch.empty(len(values), samples, dtype=torch.float64)
    for stratum in strata_of(questions):
        random = np.random.default_rng(seed + stratum.languages[0])
        step = max(1, _CHUNK // stratum.count)
        for start in range(0, samples, step):
            coins = _coins(random, min(step, samples - start), stratum.count)
            for language, rows in zip(stratum.languages, stratum.rows, strict=True):
                means[language, start : start + step] = (2 * coins[:, rows] - 1) @ values[language]
    return means / torch.tensor([[len(differences)] for differences in values])


def _coins(random: np.random.Generator, draws: int, count: int) -> Tensor:
    """Return 0 or 1 by chance, [draws, count]."""
    bits = np.unpackbits(np.frombuffer(random.bytes(-(-draws * count // 8)), np.uint8), count=draws * count)
    return torch.from_numpy(bits.reshape(draws, count)).double()


def _difference(values: Tensor, mean: float, drawn: Tensor, swapped: Tensor, questions: int) -> Difference:
    low, high = interval_of(drawn)
    reached = int((swapped.abs() >= abs(mean) - 1e-12).sum())  # a sum in another order differs in its last bits
    p = (1 + reached) / (1 + len(swapped))
    deviation = float(values.std()) if len(values) > 1 else 0.0
    return Difference(
        mean=mean,
        low=low,
        high=high,
        p=p,
        corrected_p=p,
        effect=float(values.mean()) / deviation if deviation > 0 else 0.0,
        better=float((values > 0).double().mean()),
        worse=float((values < 0).double().mean()),
        count=len(values),
        questions=questions,
    )


def correct(differences: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """Correct the p-values of one table for the number of its comparisons.

    Parameters
    ----------
    differences : mapping of any key to Difference
        Everything that a reader may pick from.

    Source: Holm (1979).
    """
    corrected = holm([difference.p for difference in differences.values()])
    return {key: replace(one, corrected_p=p) for (key, one), p in zip(differences.items(), corrected, strict=True)}


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's step-down rule, in the order given.

    Source: Holm (1979).
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, row in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[row]))
        corrected[row] = largest
    return corrected


def deviation_over_models(languages: Sequence[Tensor]) -> float:
    """Return the standard deviation over models of the mean over languages; 0 for one model.

    Parameters
    ----------
    languages : sequence of Tensor, [R, Q] each
        A language's queries, of R models; NaN where a query counts for nothing.
    """
    runs = torch.stack([values.nanmean(1) for values in languages]).mean(0)  # [R]
    return float(runs.std()) if len(runs) > 1 else 0.0


def difference_cell(difference: Mapping[str, float] | None) -> str:
    """Return a recorded difference x 100 and its interval on two lines, with a star at 5% after the correction.

    A dash where there is none.
    """
    if difference is None:
        return "–"
    star = "*" if difference["corrected_p"] < 0.05 else ""
    low, high = 100 * difference["low"], 100 * difference["high"]
    return f"{100 * difference['mean']:+.1f}{star}\n{low:+.1f} … {high:+.1f}"


BOOTSTRAP_SAMPLES = 2_000


@dataclass(frozen=True)
class Point:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float


def points_of(
    languages: Mapping[str, Tensor], questions: Mapping[str, Sequence[Hashable]]
) -> dict[str, dict[str, float]]:
    """Return the point of the mean over languages, as "mean", and of each language, as plain numbers."""
    points = {MEAN: point_of(list(languages.values()), [questions[code] for code in languages])}
    points |= {code: point_of([values], [questions[code]]) for code, values in languages.items()}
    return {name: asdict(point) for name, point in points.items()}


def point_of(languages: Sequence[Tensor], questions: Questions | None = None) -> Point:
    """Return the mean over languages of per-query values, and its 95% interval.

    Parameters
    ----------
    languages : sequence of Tensor
        One a language, [R, Q] of R seeds, which are averaged first, or [Q]; NaN where a query has no value.
    questions : sequence of sequences, optional
        Id of the question of each query of each language, as in `paired_differences`.

    Returns
    -------
    Point
        The interval is a percentile bootstrap over questions; NaN throughout where a language has no value.
    """
    means = [values.double().reshape(-1, values.shape[-1]).mean(0) for values in languages]
    values, ids = _kept(means, questions)
    if not all(map(len, values)):
        return Point(float("nan"), float("nan"), float("nan"))
    mean = float(torch.stack([part.mean() for part in values]).mean())
    return Point(mean, *interval_of(bootstrap_means_of_languages(values, ids, BOOTSTRAP_SAMPLES).mean(0)))
