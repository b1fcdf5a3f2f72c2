"""The pairs that a query gets for training: of every grade, hard negatives, and irrelevant documents at random."""

import random
from collections import Counter

from dataset_builder.ranking import MAX_PAIRS, draw_documents


def test_two_of_each_grade_then_hard_negatives_then_irrelevant_ones() -> None:
    grades = {number: 1 + number % 3 for number in range(30)}
    for seed in range(50):
        drawn = draw_documents(random.Random(seed), grades, range(40), [38, 39])
        assert Counter(drawn.values()) == {3: 2, 2: 2, 1: 2, 0: 2}
        assert all(grades.get(document, 0) == grade for document, grade in drawn.items())
        assert {38, 39} <= set(drawn)
        assert drawn == draw_documents(random.Random(seed), grades, range(40), [38, 39])


def test_a_small_catalogue_gives_fewer() -> None:
    assert draw_documents(random.Random(0), {"a": 3}, ["a", "b"]) == {"a": 3, "b": 0}
    assert len(draw_documents(random.Random(0), {"a": 3}, [*"abcdefghijk"])) == MAX_PAIRS
    assert draw_documents(random.Random(0), {"a": 3, "b": 3, "c": 3}, ["a", "b", "c"]).keys() < {"a", "b", "c"}


def test_no_relevant_document_is_drawn_as_an_irrelevant_one() -> None:
    grades = dict.fromkeys(range(30), 3)
    for seed in range(20):
        drawn = draw_documents(random.Random(seed), grades, range(40))
        assert [grade for document, grade in drawn.items() if document >= 30] == [0] * 6
        assert [grade for document, grade in drawn.items() if document < 30] == [3] * 2
