"""The critic that measures with a multilingual encoder and pays nothing for copies."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny_agents import SPOKEN, TEXTS

from dataset_builder.candidate_making import read_grades
from modeling_lira.agents.check import PASS_SHARE, check, check_pairs
from modeling_lira.agents.encoder_critic import KEPT, UNTRANSLATED, EncoderCritic, copied, misworded
from modeling_lira.agents.prompts import ENGLISH_EXAMPLES, EXAMPLES
from modeling_lira.backbones import describe
from modeling_lira.backbones.text_encoder import TextEncoder
from modeling_lira.errors import LiraError

E5 = "pypi:multilingual-e5-small"


class Letters:
    """Takes texts of the same letters for translations of each other, as an encoder takes a copy."""

    query_prompt = "query: "

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts = np.array([[text.count(chr(letter)) for letter in range(32, 5000)] for text in texts], dtype=np.float64)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def measured(critic: EncoderCritic, texts: Sequence[str], candidates: Sequence[str], spoken: Sequence[str]) -> list:
    results = dict(chain.from_iterable(critic.measure(texts, candidates, spoken)))
    return [results[index] for index in range(len(texts))]


def test_copied_words_that_are_not_english_cost_most() -> None:
    assert copied("harddisk luraan", "hard disk luraan") == (1 / 3, 0.0)
    assert copied("mehndi cone hitam", "mehndi cone") == (0.0, 1.0)
    assert copied("เสื้อสีดำ", "black shirt") == (0.0, 0.0)
    assert copied("เสื้อสีดำ", "เสื้อสีดำ")[0] == 1.0
    assert copied("panci 24cm", "pot 24cm") == (0.0, 0.5)
    assert copied("panci", "!") == (0.0, 0.0)
    text, candidates = "mishti norom putul", ["mishti norom putul", "sweet soft doll"]
    plain = Letters()
    first, second = measured(EncoderCritic(plain, name="c"), [text] * 2, candidates, ["bn"] * 2)
    assert all(asked.startswith("query: ") for asked in plain.asked)
    assert plain.asked.count("query: mishti norom putul") == 1  # equal texts are encoded once
    assert first[0] == pytest.approx(_plain(text, candidates[0], "bn") - UNTRANSLATED)
    assert second[0] == pytest.approx(_plain(text, candidates[1], "bn"))
    english = measured(EncoderCritic(plain, name="c"), ["baju leather"], ["leather shirt"], ["ms"])[0]
    assert english[0] == pytest.approx(_plain("baju leather", "leather shirt", "ms") - KEPT / 2)
    assert first[1] is None  # feeling is not measured


def _plain(text: str, candidate: str, language: str) -> float:
    """The same cosine the slow way."""

    def vectors(texts: Sequence[str]) -> np.ndarray:
        numbers = re.compile(r"\S*[0-9০-৯]\S*")
        return Letters().encode([f"query: {' '.join(numbers.sub(' ', text).split())}" for text in texts])

    source = vectors([text])[0] - vectors(EXAMPLES[language]).mean(0)
    english = vectors([candidate])[0] - vectors(ENGLISH_EXAMPLES).mean(0)
    return float(source @ english / np.linalg.norm(source) / np.linalg.norm(english))


def test_wording_counts_numbers_english_words_and_length() -> None:
    assert misworded("bn", "সাইজ ৪২ জুতা", "shoe size 42") < 0.3  # digits of any script
    assert misworded("id", "sepatu ukuran 42", "shoes size 42") + 0.9 < misworded(
        "id", "sepatu ukuran 42", "shoes size 43"
    )
    assert misworded("id", "sepatu murah", "cheap shoes") + 0.4 < misworded("id", "sepatu murah", "cheap sepatu")
    assert misworded("id", "sepatu", "shoes") + 1 < misworded("id", "sepatu", "shoes " * 8)


def test_measurements_do_not_depend_on_their_batch(backbones: dict[str, Path]) -> None:
    encoder = TextEncoder(str(backbones["xlm-roberta"]))
    candidates = [f"a red shoe {position % 3}" for position in range(len(TEXTS))]
    together = measured(EncoderCritic(encoder, name="c"), TEXTS, candidates, SPOKEN)
    for text, candidate, language, three in zip(TEXTS, candidates, SPOKEN, together, strict=True):
        alone = measured(EncoderCritic(encoder, name="c"), [text], [candidate], [language])[0]
        np.testing.assert_allclose([three[0], three[2]], [alone[0], alone[2]], atol=1e-5)
    with pytest.raises(LiraError, match="unknown language"):
        next(EncoderCritic(encoder, name="c").measure(["x"], ["x"], ["xx"]))


@pytest.fixture(scope="module")
def e5() -> Iterator[EncoderCritic]:
    if not describe(E5).installed:
        pytest.skip("needs the packages of multilingual-e5-small")
    yield EncoderCritic(TextEncoder(E5), name=E5)


def test_a_copy_scores_low_and_a_kept_loan_word_does_not(e5: EncoderCritic) -> None:
    cases = [
        ("bn", "মিষ্টি নরম পুতুল", "cute soft doll", "মিষ্টি নরম পুতুল"),
        ("ms", "bekas simpanan makanan", "food storage container", "bekas simpanan makanan"),
        ("id", "mainan mobil kayu", "wooden toy car", "mainan mobil kayu"),
        ("fil", "sapatos na pantakbo", "running shoes", "sapatos na pantakbo"),
    ]
    for language, text, good, copy in cases:
        (first, *_), (second, *_) = measured(e5, [text] * 2, [good, copy], [language] * 2)
        assert first > second and second < 0.35, (text, first, second)  # a translation's median is 0.4
    loans = [("fil", "mehndi cone", "mehndi cone"), ("bn", "কালো leather ব্যাগ", "black leather bag")]
    strangers = [("fil", "mehndi cone", "rice cooker"), ("bn", "কালো leather ব্যাগ", "white rice cooker")]
    kept = [measured(e5, [text], [candidate], [language])[0][0] for language, text, candidate in loans]
    wrong = [measured(e5, [text], [candidate], [language])[0][0] for language, text, candidate in strangers]
    assert all(right > other + 0.15 for right, other in zip(kept, wrong, strict=True)), (kept, wrong)


def test_a_true_translation_is_above_an_unrelated_one(e5: EncoderCritic) -> None:
    pairs = [pair for pair in check_pairs() if pair.language in ("ur", "fil")]
    for language, share in check(e5, pairs):
        assert share.share >= PASS_SHARE, language


def test_numbers_alone_are_no_translation(e5: EncoderCritic) -> None:
    right, wrong = measured(e5, ["syampu 400ml"] * 2, ["400ml shampoo", "400ml soft drink"], ["ms"] * 2)
    assert right[0] > wrong[0] + 0.2


@pytest.mark.parametrize(("used", "least"), [("design", 0.65), ("confirmation", 0.5)])
def test_scores_agree_with_grades_by_hand_and_not_with_copying(e5: EncoderCritic, used: str, least: float) -> None:
    rows = [row for row in read_grades() if row["set"].startswith(used)]
    texts, candidates, spoken = ([row[name] for row in rows] for name in ("text", "candidate", "language"))
    scores = [three[0] for three in measured(e5, texts, candidates, spoken)]
    assert spearmanr(scores, [int(row["grade"]) for row in rows])[0] > least
    untranslated = [copied(text, candidate)[0] for text, candidate in zip(texts, candidates, strict=True)]
    assert spearmanr(scores, untranslated)[0] < 0.2
