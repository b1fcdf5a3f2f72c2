"""Does a critic tell good from bad?"""

from tiny_agents import LANGUAGES, Oracle

from modeling_lira.agents.check import SHIFTS, check, check_pairs, comparisons
from modeling_lira.agents.prompts import (
    ENGLISH_EXAMPLES,
    EXAMPLES,
)


def test_pairs_are_in_all_languages_and_unlike_the_examples() -> None:
    pairs = check_pairs()
    for language in LANGUAGES:
        chosen = [pair for pair in pairs if pair.language == language]
        assert len(chosen) >= 40
        assert len({pair.text for pair in chosen}) == len({pair.english for pair in chosen}) == len(chosen)
        assert not {pair.text for pair in chosen} & set(EXAMPLES[language])
        assert not {pair.english for pair in chosen} & set(ENGLISH_EXAMPLES)
    assert {pair.language for pair in pairs} == set(LANGUAGES)


def test_every_language_has_every_example() -> None:
    assert set(EXAMPLES) == set(LANGUAGES)
    assert all(len(texts) == len(ENGLISH_EXAMPLES) for texts in EXAMPLES.values())


def test_unrelated_translations_are_other_pairs() -> None:
    asked = comparisons(check_pairs())
    size = 1 + len(SHIFTS)
    true = {(pair.language, pair.text): pair.english for pair in check_pairs()}
    for start in range(0, len(asked), size):
        group = asked[start : start + size]
        assert len({pair.text for pair in group}) == 1
        assert [pair.english == true[pair.language, pair.text] for pair in group] == [True] + [False] * len(SHIFTS)


def test_check_counts_wins_and_half_of_ties() -> None:
    shares = dict(check(Oracle(), check_pairs()))
    assert list(shares) == LANGUAGES
    assert (shares["vi"].share, shares["th"].share, shares["id"].share) == (1.0, 0.0, 0.5)
    assert (shares["vi"].passed, shares["id"].passed) == (True, False)
    assert shares["vi"].count == 44 * len(SHIFTS)
