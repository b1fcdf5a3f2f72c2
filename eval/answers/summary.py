"""Accuracies, their differences and their intervals, from the outcomes of every system."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from modeling_lira.evaluation.metrics import bootstrap_interval
from modeling_lira.evaluation.names import LIRA, LIRA_FREE

from ..significance import MEAN, correct, deviation_over_models, paired_differences
from .measure import Scores
from .tasks import ALL_TRANSLATIONS, BARE, ENGLISH, MAPPING, REFERENCE, RULES, TRANSLATED, Task

Values = dict[str, dict[str, Tensor]]
"""0 or 1 by system and language, [R, Q] of R models."""


def summarise(
    scores: Scores,
    main: str,
    tasks: Mapping[str, Sequence[str]] | None = None,
    ids: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return everything that the record holds, as plain numbers; "mean" is the mean over languages without English.

    Parameters
    ----------
    scores : Scores
    main : str
        Measure that systems are compared by.
    tasks : mapping of language to sequence of str, optional
        Kind of every question.
    ids : mapping of language to sequence of str, optional
        Id of every question; the same id in two languages is the same question, and intervals draw both together.
    """
    names = list(next(iter(next(iter(scores.values())).values()))[0].measures)
    by_measure = {name: _values(scores, name) for name in names}
    compared = by_measure[main]
    languages = list(next(iter(compared.values())))
    low = [code for code in languages if code != ENGLISH]
    summary: dict[str, Any] = {
        "languages": low,
        "questions": {code: values.shape[1] for code, values in next(iter(compared.values())).items()},
        "main": main,
        "measures": {
            name: {system: _means(scored) for system, scored in values.items()} for name, values in by_measure.items()
        },
        "deviation_over_models": {
            system: deviation_over_models([scored[code] for code in low or languages])
            for system, scored in compared.items()
        },
        "differences": _differences(compared, low, ids),
        "english": _differences(compared, [ENGLISH], ids) if ENGLISH in languages else {},
        "by_other_rule": {
            name: _differences(by_measure[name], low, ids) for name in names if name in RULES and name != main
        },
    }
    if tasks is not None and any(any(kinds) for kinds in tasks.values()):
        summary["kinds"] = {system: dict(_by_kind(scored, tasks, low)) for system, scored in compared.items()}
    return summary


def _values(scores: Scores, measure: str) -> Values:
    return {
        system: {
            code: torch.tensor([outcome.measures[measure] for outcome in runs], dtype=torch.float64)
            for code, runs in by_language.items()
        }
        for system, by_language in scores.items()
    }


def card_rows(scores: Scores, task: Task) -> list[dict[str, Any]]:
    """Return accuracies with 95% bootstrap intervals as the rows of a model's card."""
    rows = []
    for system, languages in _values(scores, task.main).items():
        for code, runs in languages.items():
            values = runs.mean(0)
            row = {"system": system, "task": task.name, "language": code, "metric": "accuracy"}
            figures = {"value": float(values.mean()), "interval": bootstrap_interval(values)}
            rows.append(row | figures | {"baseline": system not in (LIRA, LIRA_FREE)})
    return rows


def _means(values_of: Mapping[str, Tensor]) -> dict[str, float]:
    means = {code: float(values.mean()) for code, values in values_of.items()}
    low = [value for code, value in means.items() if code != ENGLISH]
    return {**means, **({MEAN: sum(low) / len(low)} if low else {})}


def _differences(values: Values, languages: Sequence[str], ids: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Return paired differences of LiRA and every baseline, all of them corrected together."""
    if not languages:
        return {}
    differences = {}
    for first, second in _pairs(values):
        sides = [{code: values[name][code] for code in languages} for name in (first, second)]
        for language, difference in paired_differences(sides[0], sides[1], questions=ids).items():
            if language != MEAN or ENGLISH not in languages:  # English stands by itself
                differences[f"{first} against {second}", language] = difference
    nested: dict[str, Any] = {}
    for (pair, language), difference in correct(differences).items():
        nested.setdefault(pair, {})[language] = asdict(difference)
    return nested


def _pairs(values: Values) -> Iterator[tuple[str, str]]:
    """Yield LiRA with every other row, and LiRA without translations with those that have none either."""
    for rival in (BARE, TRANSLATED, ALL_TRANSLATIONS, REFERENCE, MAPPING, LIRA_FREE):
        if LIRA in values and rival in values:
            yield LIRA, rival
    for rival in (BARE, MAPPING):
        if rival in values:
            yield LIRA_FREE, rival


def _by_kind(
    values: Mapping[str, Tensor], tasks: Mapping[str, Sequence[str]], languages: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield the mean over languages of the questions of each kind."""
    for kind in dict.fromkeys(kind for code in languages for kind in tasks[code]):
        parts = [values[code][:, [one == kind for one in tasks[code]]] for code in languages]
        means = [float(part.mean()) for part in parts if part.shape[1]]
        yield kind, sum(means) / len(means)
