"""BM25, the lexical baseline, which shows how far plain words lead on a corpus."""

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ..data.languages import is_unspaced


def tokens(text: str, language: str) -> list[str]:
    """Return the casefolded words of a text; in an unspaced language, all runs of three characters.

    Combining marks count as parts of words, which a regular expression's word class does not do in Bengali and Thai.
    """
    key = unicodedata.normalize("NFC", text).casefold()
    words = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in key).split()
    if not is_unspaced(language):
        return words
    return [word[start : start + 3] for word in words for start in range(max(1, len(word) - 2))]


class BM25:
    """An inverted index with Okapi BM25 weights.

    Parameters
    ----------
    documents : iterable of sequence of str
        Each document's tokens.
    saturation, length_norm : float
        k1 and b.

    Source: Robertson and Zaragoza (2009); the idf never falls below zero (Lucene's form).
    """

    def __init__(self, documents: Iterable[Sequence[str]], saturation: float = 1.2, length_norm: float = 0.75) -> None:
        rows: dict[str, array[int]] = {}
        counts: dict[str, array[int]] = {}
        lengths = array("i")
        for row, words in enumerate(documents):
            lengths.append(len(words))
            for word, count in Counter(words).items():
                rows.setdefault(word, array("i")).append(row)
                counts.setdefault(word, array("i")).append(count)
        self.count = len(lengths)
        sizes = np.asarray(lengths, np.float64)
        norm = saturation * (1 - length_norm + length_norm * sizes / max(sizes.mean() if len(sizes) else 1.0, 1e-9))
        self._rows = {word: np.asarray(rows_of_word, np.int64) for word, rows_of_word in rows.items()}
        self._weights = {}
        for word, rows_of_word in self._rows.items():
            frequency = np.asarray(counts[word], np.float64)
            idf = np.log1p((self.count - len(rows_of_word) + 0.5) / (len(rows_of_word) + 0.5))
            self._weights[word] = idf * frequency * (saturation + 1) / (frequency + norm[rows_of_word])

    def scores(self, words: Iterable[str]) -> np.ndarray:
        """Return the score of every document, [N], float64."""
        total = np.zeros(self.count)
        for word in words:
            if word in self._rows:
                total[self._rows[word]] += self._weights[word]
        return total
