"""Which words are English."""

import pytest

from modeling_lira.agents.english import english_words, is_english, words_of


@pytest.mark.parametrize(
    "word", ["shampoo", "leggings", "kettlebell", "t-shirt", "42", "size38", "hijab", "men's", "৪২"]
)
def test_words_of_english_shops_are_english(word: str) -> None:
    assert is_english(word)


@pytest.mark.parametrize(
    "word", ["luraan", "kasual", "putul", "warisan", "biji", "pang-araw-araw", "kuciing", "รองเท้า"]
)
def test_words_of_the_languages_are_not(word: str) -> None:
    assert not is_english(word)


def test_words_are_of_any_script() -> None:
    assert words_of("Men's T-shirt, size 42! ปากกา_ดำ") == ["men's", "t-shirt", "size", "42", *words_of("ปากกา ดำ")]
    assert all(word == word.lower() and word.isascii() for word in english_words())
