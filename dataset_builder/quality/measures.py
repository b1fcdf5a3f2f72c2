"""Measures of the quality report: texts, relevant products a query, quality of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ..layout import SPLITS, read_part
from ..lexicon import ENGLISH, Lexicon, normalise_text
from ..scripts import script_of

Names = dict[str, tuple[str, ...]]
"""English names by product type."""


@dataclass(frozen=True)
class CandidateQuality:
    """Quality of one language's candidates; shares lie in [0, 1] and are NaN if there is nothing to count.

    Attributes
    ----------
    covered : float
        Share of queries with a candidate.
    per_query : float
        Mean number of candidates.
    scored : float
        Share of candidates with critics' scores.
    untranslated : float
        Share of candidates that repeat the query or have letters that English does not have.
    named_first, named_any : float
        Share of queries whose first candidate, or any, has an English name of the product type asked for; of queries
        with a candidate and a known type.
    semantic, emotional, pragmatic : float
        Mean scores of the critics.
    """

    covered: float
    per_query: float
    scored: float
    untranslated: float
    named_first: float
    named_any: float
    semantic: float
    emotional: float
    pragmatic: float


def texts_of(folder: Path, language: str, part: str, column: str) -> list[str]:
    """Return a text column of all splits."""
    return [text for split in SPLITS for text in read_part(folder, language, part, split, [column])[column].to_pylist()]


def relevant_per_query(folder: Path, language: str, split: str) -> list[int]:
    """Return the number of relevant products of each query of a split."""
    queries = read_part(folder, language, "queries", split, ["_id"])["_id"].to_pylist()
    qrels = read_part(folder, language, "qrels", split, ["query-id", "score"])
    counts = qrels.filter(pc.greater(qrels["score"], 0))["query-id"].value_counts().to_pylist()
    by_query = {row["values"]: row["counts"] for row in counts}
    return [by_query.get(name, 0) for name in queries]


def english_names(lexicon: Lexicon) -> Names:
    """Return the normalised English names of every product type, see `normalise_text`."""
    english = lexicon.vocabularies[ENGLISH]
    return {name: tuple(map(normalise_text, english[f"type:{name}"].forms())) for name in lexicon.types}


def candidate_quality(folder: Path, language: str, names: Names) -> CandidateQuality:
    """Measure the candidates of a language over all splits; `names` is the result of `english_names`."""
    columns = ["text", "type", "candidates"]
    rows = [row for split in SPLITS for row in read_part(folder, language, "queries", split, columns).to_pylist()]
    texts = [[candidate["text"] for candidate in row["candidates"]] for row in rows]
    every = [candidate for row in rows for candidate in row["candidates"]]
    typed = [
        (candidates, names[row["type"]])
        for candidates, row in zip(texts, rows, strict=True)
        if candidates and row["type"] in names
    ]
    foreign = [
        _untranslated(text, row["text"]) for candidates, row in zip(texts, rows, strict=True) for text in candidates
    ]
    return CandidateQuality(
        covered=mean(list(map(bool, texts))),
        per_query=mean(list(map(len, texts))),
        scored=mean([candidate["semantic"] is not None for candidate in every]),
        untranslated=mean(foreign),
        named_first=mean([_names(candidates[:1], forms) for candidates, forms in typed]),
        named_any=mean([_names(candidates, forms) for candidates, forms in typed]),
        **{
            name: mean([candidate[name] for candidate in every if candidate[name] is not None])
            for name in ("semantic", "emotional", "pragmatic")
        },
    )


def _untranslated(candidate: str, query: str) -> bool:
    """Return whether a candidate repeats the query or has letters that English does not have."""
    return normalise_text(candidate) == normalise_text(query) or any(
        script_of(char) not in ("", "latin") for char in candidate
    )


def _names(candidates: Sequence[str], forms: Sequence[str]) -> bool:
    return any(form in normalise_text(text) for text in candidates for form in forms)


def mean(values: Sequence[float]) -> float:
    """Return the mean of some values, NaN if there are none."""
    return float(np.mean(values)) if len(values) else float("nan")
