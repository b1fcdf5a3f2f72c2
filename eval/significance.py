"""Is a difference more than chance? Paired bootstrap, paired randomisation, effect size, correction for many tests."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from modeling_lira.errors import LiraError
from modeling_lira.evaluation.metrics import bootstrap_interval, bootstrap_means, interval_of

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
        Percentile bootstrap interval, 95%: queries are drawn again, within each language.
    p : float
        Two-sided paired randomisation: how often a mean as far from 0 comes about when each query's two scores are
        swapped by a coin.
    corrected_p : float
        After Holm, for all comparisons of the table; equal to `p` before `correct`.
    effect : float
        Cohen's d of paired samples: mean over standard deviation of the differences; 0 where nothing differs.
    better, worse : float
        Shares of queries on which the first system scores higher and lower.
    count : int
        Queries.

    Source: ours.
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

    @property
    def significant(self) -> bool:
        """Whether it is, at 5% after correction."""
        return self.corrected_p < 0.05


def paired_differences(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], samples: int = SAMPLES, seed: int = 0
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
    values = {language: _differences(language, first[language], second[language]) for language in first}
    drawn = torch.stack([bootstrap_means(own, samples, seed + place) for place, own in enumerate(values.values())])
    swapped = torch.stack([_swapped_means(own, samples, seed + place) for place, own in enumerate(values.values())])
    found = {
        language: _difference(own, float(own.mean()), drawn[place], swapped[place])
        for place, (language, own) in enumerate(values.items())
    }
    overall = float(torch.stack([own.mean() for own in values.values()]).mean())
    found[MEAN] = _difference(torch.cat(list(values.values())), overall, drawn.mean(0), swapped.mean(0))
    return found


def _differences(language: str, first: Tensor, second: Tensor) -> Tensor:
    left, right = (_over_seeds(values.double()) for values in (first, second))
    if left.shape != right.shape:
        raise LiraError(f"systems were scored on different {language} queries: {len(left)} and {len(right)}")
    if (left.isnan() != right.isnan()).any():
        raise LiraError(f"a {language} query has a score of one system only: the other gave NaN")
    found = (left - right)[~left.isnan()]
    if not len(found):
        raise LiraError(f"no {language} query has a score")
    return found


def _over_seeds(values: Tensor) -> Tensor:
    return values.mean(0) if values.ndim == 2 else values


def _swapped_means(values: Tensor, samples: int, seed: int) -> Tensor:
    """Return the means [samples] of `values` [Q] under random signs."""
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(values))
    parts = []
    for start in range(0, samples, step):
        shape = (min(step, samples - start), len(values))
        count = shape[0] * shape[1]
        coins = np.unpackbits(np.frombuffer(random.bytes(-(-count // 8)), np.uint8), count=count).reshape(shape)
        parts.append(2 * (torch.from_numpy(coins).double() @ values) - values.sum())
    return torch.cat(parts) / len(values)


def _difference(values: Tensor, mean: float, drawn: Tensor, swapped: Tensor) -> Difference:
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
    )


def correct(differences: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """Correct the p-values of one table for the number of its comparisons.

    Parameters
    ----------
    differences : mapping of any key to Difference
        Everything that a reader may pick from.

    Source: Holm (1979).
    """
    corrected = holm([own.p for own in differences.values()])
    return {key: replace(own, corrected_p=p) for (key, own), p in zip(differences.items(), corrected, strict=True)}


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's step-down rule, in the order given.

    Source: Holm (1979).
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def deviation_over_models(languages: Sequence[Tensor]) -> float:
    """Return the standard deviation over models of the mean over languages; 0 for one model.

    Parameters
    ----------
    languages : sequence of Tensor, [R, Q] each
        A language's queries, of R models; NaN where a query counts for nothing.

    Source: ours.
    """
    runs = torch.stack([own.nanmean(1) for own in languages]).mean(0)  # [R]
    return float(runs.std()) if len(runs) > 1 else 0.0


def difference_cell(own: Mapping[str, float] | None) -> str:
    """Return a recorded difference x 100 and its interval on two lines, with a star at 5% after the correction.

    A dash where there is none.

    Source: ours.
    """
    if own is None:
        return "–"
    star = "*" if own["corrected_p"] < 0.05 else ""
    return f"{100 * own['mean']:+.1f}{star}\n{100 * own['low']:+.1f} … {100 * own['high']:+.1f}"


BOOTSTRAP_SAMPLES = 2_000


@dataclass(frozen=True)
class Point:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float


def point_of(languages: Sequence[Tensor]) -> Point:
    """Return the mean over languages of per-query values, and its 95% interval.

    Parameters
    ----------
    languages : sequence of Tensor
        One a language, [R, Q] of R seeds, which are averaged first, or [Q]; NaN where a query has no value.

    Returns
    -------
    Point
        The interval is a percentile bootstrap over the queries of all languages; NaN throughout where there is none.

    Source: ours.
    """
    means = [own.double().reshape(-1, own.shape[-1]).mean(0) for own in languages]
    means = [own[~own.isnan()] for own in means]
    if not all(len(own) for own in means):
        return Point(float("nan"), float("nan"), float("nan"))
    mean = float(torch.stack([own.mean() for own in means]).mean())
    # Each query weighs as much as in the mean over languages, however many its language has.
    whole = torch.cat([own * (sum(map(len, means)) / (len(means) * len(own))) for own in means])
    return Point(mean, *bootstrap_interval(whole, samples=BOOTSTRAP_SAMPLES))
