"""Similarity targets of the ranking table, and which documents a query is given."""

import random
from types import SimpleNamespace as Made

import numpy as np
import pytest

from dataset_builder.generator.rows import ranking_rows, similarity
from dataset_builder.ranking import draw_documents

LEXICON = Made(
    types={name: Made(department="fashion") for name in ("shoe", "boot", "sock")},
)
RED, SMALL = ("colour", "red"), ("size", "small")
QUERY = Made(id="q", text="red small shoe", type="shoe", constraints=(RED, SMALL), types=())


def product(kind: str, *attributes: tuple[str, str], department: str = "fashion") -> Made:
    return Made(type=kind, facts=attributes, department=department, title=f"{kind} {attributes}")


@pytest.mark.parametrize(
    ("item", "grade", "target"),
    [
        (product("shoe", RED, SMALL), 3, 1.0),
        (product("shoe", RED), 2, 0.75),
        (product("shoe"), 2, 0.6),
        (product("boot"), 1, 0.35),
        (product("shirt"), 0, 0.1),
        (product("lamp", department="home"), 0, 0.0),
    ],
)
def test_similarity_rises_with_what_a_product_shares_with_the_query(item, grade, target):
    assert similarity(LEXICON, QUERY, item, grade) == target


def test_a_partial_match_of_a_vague_query_is_halfway():
    assert similarity(LEXICON, Made(type="", types=("boot", "sock"), constraints=()), product("boot"), 2) == 0.5


def test_a_judged_document_keeps_its_grade():
    grades = dict.fromkeys(range(30), 2)
    for seed in range(5):
        drawn = draw_documents(random.Random(seed), grades, range(32))
        assert {row: grade for row, grade in drawn.items() if grade == 0}.keys() <= {30, 31}


def test_the_seed_decides_which_documents_a_query_is_given():
    def titles(seed: int) -> list[str]:
        products = [product("shirt", ("number", str(row))) for row in range(200)]
        part = Made(queries=[QUERY], judgements=[Made(rows=np.arange(0), grades=np.arange(0))], products=products)
        rows = ranking_rows(LEXICON, Made(seed=seed, splits={"test": part}, language="vi"), "test")
        return [str(row["title"]) for row in rows]

    assert titles(0) == titles(0) != titles(1)
