"""The questions that stage R trains on and is tested with."""

import re
from collections import defaultdict
from functools import cache

import pytest

from dataset_builder.candidate_source import read_candidates
from dataset_builder.lexicon import ENGLISH, LANGUAGES, SIZE_GROUPS, load_lexicon
from dataset_builder.shopping_questions import (
    QUESTION_CANDIDATES,
    SPLITS,
    TASKS,
    Question,
    questions,
    read_templates,
    split_types,
)
from modeling_lira.errors import LiraError

SIZES = SIZE_GROUPS["size_clothing"]


@cache
def everything() -> tuple[Question, ...]:
    return tuple(questions())


def english(task: str) -> list[Question]:
    return [question for question in everything() if question.language == ENGLISH and question.task == task]


def test_every_split_asks_each_question_once_in_every_language():
    by_split = defaultdict(set)
    for question in everything():
        by_split[question.split].add((question.id, question.language))
    assert {split: len(keys) for split, keys in by_split.items()} == {
        split: count * (1 + len(LANGUAGES)) for split, count in SPLITS.items()
    }
    asked = [question.question for question in everything() if question.language == ENGLISH]
    assert len(asked) == len(set(asked))


def test_a_question_has_the_same_answer_in_every_language():
    by_id = defaultdict(set)
    for question in everything():
        by_id[question.id].add((question.choices, question.answer, question.english))
    assert all(len(variants) == 1 for variants in by_id.values())


def test_splits_share_no_pattern_and_no_product_type():
    patterns = read_templates()
    for task in TASKS:
        train, validation, test = (
            {row[language] for row in patterns[task, split] for language in (ENGLISH, *LANGUAGES)}
            for split in ("train", "validation", "test")
        )
        assert not train & test and not train & validation and not validation & test
    types = split_types(load_lexicon(), 0)
    assert not set(types["train"]) & set(types["test"])
    assert not set(types["validation"]) & (set(types["train"]) | set(types["test"]))
    assert sum(map(len, types.values())) == len(load_lexicon().types)


@pytest.mark.parametrize(("task", "right"), [("total", lambda a, b: a + b), ("packs", lambda a, b: a * b)])
def test_sums_and_products_are_right(task, right):
    for question in english(task):
        names = re.findall(r"\b\d+\b", question.question)
        assert len(names) == 2
        assert question.choices[question.answer] == str(right(*map(int, names)))


def test_the_cheaper_thing_is_the_one_with_the_lower_price():
    patterns = read_templates()
    for question in english("cheaper"):
        asked = (
            re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(row[ENGLISH]))
            for row in patterns["cheaper", question.split]
        )
        (slots,) = [
            match.groupdict() for one in asked if (match := re.fullmatch(one, question.question, re.IGNORECASE))
        ]
        cheaper = "item" if int(slots["a"]) < int(slots["b"]) else "other"
        assert question.choices[question.answer].lower() == slots[cheaper].lower()


@pytest.mark.parametrize(("task", "step"), [("size_up", 1), ("size_down", -1)])
def test_the_next_size_is_one_step_away(task, step):
    for question in english(task):
        size = next(word for word in re.findall(r"\w+", question.question) if word in SIZES)
        assert question.choices[question.answer] == SIZES[SIZES.index(size) + step]


def test_every_question_that_is_not_english_has_a_language_models_translation():
    translated = read_candidates(QUESTION_CANDIDATES)
    for question in everything():
        if question.language != ENGLISH:
            made = [candidate.text for candidate in translated[question.language, question.question]]
            assert list(question.candidates[: len(set(made))]) == list(dict.fromkeys(made))


def test_the_same_seed_asks_the_same_questions():
    counts = {"test": 20}
    assert list(questions(seed=3, counts=counts)) == list(questions(seed=3, counts=counts))
    assert list(questions(seed=3, counts=counts)) != list(questions(seed=4, counts=counts))


def test_a_template_with_other_slots_in_one_language_is_refused(tmp_path):
    head = ["task", "split", ENGLISH, *LANGUAGES]
    row = ["material", "train", *["What is {item} made of?"] * (len(head) - 3), "What is this made of?"]
    path = tmp_path / "templates.tsv"
    path.write_text("\t".join(head) + "\n" + "\t".join(row) + "\n", encoding="utf-8")
    with pytest.raises(LiraError, match="slots"):
        read_templates(path)
