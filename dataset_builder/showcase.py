"""What the Space shows: a few products and queries of each language, and its words in English."""

import json
from pathlib import Path
from typing import Any

from modeling_lira.data.corpus import RetrievalSplit, load_split
from modeling_lira.files import atomic_write_text

from .gloss import english_senses
from .lexicon import load_lexicon

TITLES, EXAMPLES = 100, 4
"""Products and example queries of each language."""
_UNUSUAL = ("romanised", "code_mixed", "misspelt")


def write_showcase(corpus: Path, languages: tuple[str, ...], output: Path) -> None:
    """Write the file of titles, examples and words that the Space reads.

    Parameters
    ----------
    corpus : Path
        A built corpus; products and queries are those of its test split.
    languages : tuple of str
    output : Path
        JSON: language -> `titles` (pairs of local and English title), `examples` (text, candidates with their critics'
        scores) and `words` (word -> English).
    """
    lexicon = load_lexicon(languages=languages)
    shown = {}
    for language in languages:
        senses = english_senses(lexicon, language)
        words = {word: english[0] for word, english in senses.items() if english[0].casefold() != word}
        shown[language] = {**_of_split(load_split(str(corpus), language, "test")), "words": dict(sorted(words.items()))}
    rows = [f"{json.dumps(language)}: {json.dumps(row, ensure_ascii=False)}" for language, row in shown.items()]
    atomic_write_text(output, "{\n" + ",\n".join(rows) + "\n}\n")


def _of_split(split: RetrievalSplit) -> dict[str, Any]:
    """Return the examples of a split, and titles among which the products that answer them come first."""
    queries = split.queries
    examples = sorted(range(len(queries)), key=lambda row: _telling(split, row), reverse=True)[:EXAMPLES]
    wanted = [product for row in examples for product in split.gains[row]]
    products = list(dict.fromkeys([*wanted, *range(len(split.titles))]))[:TITLES]
    return {
        "titles": [(split.titles[row], split.english_titles[row]) for row in sorted(products)],
        "examples": [
            {"text": queries.texts[row], "candidates": queries.candidates[row], "scores": _rounded(queries.scores[row])}
            for row in examples
        ],
    }


def _rounded(scores: list[tuple[float, float, float]]) -> list[list[float | None]]:
    """Return scores with two digits; None, which JSON has in place of NaN, where no critic spoke."""
    return [[None if score != score else round(score, 2) for score in row] for row in scores]


def _telling(split: RetrievalSplit, row: int) -> float:
    """Return how much an example tells: it has a good translation and a bad one, and several products answer it."""
    semantic = [scores[0] for scores in split.queries.scores[row] if scores[0] == scores[0]]
    text, candidates = split.queries.texts[row], split.queries.candidates[row]
    written = len(text) > 6 and text not in candidates and split.kinds[row] not in _UNUSUAL
    if len(semantic) < 3 or len(split.gains[row]) < 2 or not written:
        return float("-inf")
    return max(semantic) + 0.5 * (max(semantic) - min(semantic))
