"""What the quality report measures: texts, relevance and candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..layout import SPLITS, read_part
from ..lexicon import ENGLISH, Lexicon, normalise_text
from ..scripts import script_of

Names = dict[str, tuple[str, ...]]
"""English names by product type."""


@dataclass(frozen=True)
class CandidateQuality:
    """One language's candidates; shares are of the queries, `named` of those whose type has English names.

    `named_first` and `named_any` say how often the first candidate, or any, holds one of the type's English names.
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
    """Return a text column of all splits.

    Source: ours.
    """
    return [text for split in SPLITS for text in read_part(folder, language, part, split, [column])[column].to_pylist()]


def relevant_per_query(folder: Path, language: str, split: str) -> list[int]:
    """Return how many products each query of a split has.

    Source: ours.
    """
    queries = read_part(folder, language, "queries", split, ["_id"])["_id"].to_pylist()
    counts = read_part(folder, language, "qrels", split, ["query-id"])["query-id"].value_counts().to_pylist()
    found = {row["values"]: row["counts"] for row in counts}
    return [found.get(name, 0) for name in queries]


def english_names(lexicon: Lexicon) -> Names:
    """Return every English name of every type, as `normalise_text` leaves it.

    Source: ours.
    """
    english = lexicon.vocabularies[ENGLISH]
    return {name: tuple(map(normalise_text, english[f"type:{name}"].forms())) for name in lexicon.types}


def candidate_quality(folder: Path, language: str, names: Names) -> CandidateQuality:
    """Measure the candidates of a language, all splits.

    Source: ours.
    """
    columns = ["text", "type", "candidates"]
    rows = [row for split in SPLITS for row in read_part(folder, language, "queries", split, columns).to_pylist()]
    texts = [[candidate["text"] for candidate in row["candidates"]] for row in rows]
    every = [candidate for row in rows for candidate in row["candidates"]]
    typed = [(own, names[row["type"]]) for own, row in zip(texts, rows, strict=True) if own and row["type"] in names]
    foreign = [_untranslated(text, row["text"]) for own, row in zip(texts, rows, strict=True) for text in own]
    return CandidateQuality(
        covered=mean([bool(own) for own in texts]),
        per_query=mean([len(own) for own in texts]),
        scored=mean([candidate["semantic"] is not None for candidate in every]),
        untranslated=mean(foreign),
        named_first=mean([_names(own[:1], forms) for own, forms in typed]),
        named_any=mean([_names(own, forms) for own, forms in typed]),
        **{
            name: mean([candidate[name] for candidate in every if candidate[name] is not None])
            for name in ("semantic", "emotional", "pragmatic")
        },
    )


def _untranslated(candidate: str, query: str) -> bool:
    """Tell whether a candidate repeats the query, or has letters that English does not."""
    return normalise_text(candidate) == normalise_text(query) or any(
        script_of(char) not in ("", "latin") for char in candidate
    )


def _names(candidates: Sequence[str], forms: Sequence[str]) -> bool:
    return any(form in normalise_text(text) for text in candidates for form in forms)


def mean(values: Sequence[float]) -> float:
    """Return the mean, NaN of nothing.

    Source: ours.
    """
    return float(np.mean(values)) if len(values) else float("nan")
