"""A critic that measures candidates with a multilingual encoder, and gives no credit for what is left untranslated."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ..data.languages import match_language
from .batching import digest
from .candidate import Scores, Settings
from .english import english_words, is_english, words_of
from .prompts import ENGLISH_EXAMPLES, EXAMPLES
from .text import check_texts

PAIRS_AT_ONCE = 1024
UNTRANSLATED, KEPT = 0.6, 0.35
"""What a candidate loses if all of its words are the text's: by words that are not English, by those that are.

Chosen by 132 candidates graded by hand; `dataset_builder/candidates/grades.tsv` holds them.
"""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DIGIT = re.compile(r"\d")


class Encoder(Protocol):
    """What makes vectors of texts, such as `backbones.text_encoder.TextEncoder`."""

    query_prompt: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors `[N, d]`."""
        ...


class EncoderCritic:
    """Measure candidates by a multilingual encoder and by their words.

    - semantic: cos(g(x) - m, g(y) - m'), x the text, y the candidate, both without the words that have digits, g the
      encoder, m and m' the means of its vectors of the prompts' examples in the text's language and in English. With
      the digits, "400ml soft drink" would translate any 400ml; without the means, every two texts are similar. An
      encoder takes a copy for a perfect translation, so the copied words of y cost `UNTRANSLATED` or `KEPT` times their
      share: a critic should say what the translation adds.
    - emotional: not measured.
    - pragmatic: how y is worded. Its loss is the share of numbers that differ, the share of words that are not
      English, and how far the length is from that of the examples (of the ratio the logarithm).

    Parameters
    ----------
    encoder : Encoder
    name : str
        Stored with each measurement.
    """

    needs_calibration = True

    def __init__(self, encoder: Encoder, *, name: str) -> None:
        self.name = name
        self._encoder = encoder
        self._means: dict[str, np.ndarray] = {}

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a measurement."""
        return {
            "name": self.name,
            "method": "embedding",
            "untranslated": UNTRANSLATED,
            "kept": KEPT,
            "words": digest(sorted(english_words())),
            "prompts": digest([ENGLISH_EXAMPLES, EXAMPLES]),
        }

    def measure(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, Scores]]]:
        """Yield finished batches of measurements, before calibration, as `Critic.measure` says."""
        check_texts(texts, languages)
        check_texts(candidates, languages)
        for start in range(0, len(texts), PAIRS_AT_ONCE):
            pairs = range(start, min(start + PAIRS_AT_ONCE, len(texts)))
            vectors = self._vectors([texts[pair] for pair in pairs] + [candidates[pair] for pair in pairs])
            yield [
                (pair, self._scores(languages[pair], texts[pair], candidates[pair], source, translation))
                for pair, source, translation in zip(pairs, vectors, vectors[len(pairs) :], strict=False)
            ]

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector for each text without its numbers `[N, d]`; equal ones are encoded once."""
        words = [" ".join(word for word in text.split() if not _DIGIT.search(word)) or text for text in texts]
        rows = {text: row for row, text in enumerate(dict.fromkeys(words))}
        vectors = self._encoder.encode([f"{self._encoder.query_prompt}{text}" for text in rows])
        return vectors[[rows[text] for text in words]]

    def _scores(self, language: str, text: str, candidate: str, source: np.ndarray, translation: np.ndarray) -> Scores:
        similarity = _cosine(source - self._mean(language), translation - self._mean("en"))
        untranslated, kept = copied(text, candidate)
        return similarity - UNTRANSLATED * untranslated - KEPT * kept, None, -misworded(language, text, candidate)

    def _mean(self, language: str) -> np.ndarray:
        if language not in self._means:
            examples = ENGLISH_EXAMPLES if language == "en" else [source for source, _ in _examples(language)]
            self._means[language] = self._vectors(examples).mean(0)
        return self._means[language]


def copied(text: str, candidate: str) -> tuple[float, float]:
    """Return which share of a candidate's words are words of the text that are not English, and that are English."""
    words, source = words_of(candidate), set(words_of(text))
    same = [word for word in words if word in source]
    english = sum(map(is_english, same))
    return (len(same) - english) / max(len(words), 1), english / max(len(words), 1)


def misworded(language: str, text: str, candidate: str) -> float:
    """Return how much a candidate differs from an English text of the same numbers and usual length, 0 at best."""
    numbers, wanted = _numbers(candidate), _numbers(text)
    words = words_of(candidate)
    foreign = sum(not is_english(word) for word in words) / max(len(words), 1)
    ratios = [len(english) / len(source) for source, english in _examples(language)]
    usual = sum(map(math.log, ratios)) / len(ratios)
    length = abs(math.log(len(candidate) / len(text)) - usual)
    return len(numbers ^ wanted) / max(len(numbers | wanted), 1) + foreign + length


def _examples(language: str) -> list[tuple[str, str]]:
    """Return the prompts' examples in a language, and in English; those of all languages if there are none of it."""
    code = match_language(language, EXAMPLES)
    codes = [code] if code else list(EXAMPLES)
    return [pair for one in codes for pair in zip(EXAMPLES[one], ENGLISH_EXAMPLES, strict=True)]


def _numbers(text: str) -> set[float]:
    """Return a text's numbers, in whatever digits they are written."""
    return set(map(float, _NUMBER.findall(text)))


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-9))
