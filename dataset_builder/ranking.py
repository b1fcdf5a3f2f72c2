"""Draw the pairs of a query and a document that a corpus offers for training on graded similarity."""

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

MAX_PAIRS = 8
"""Pairs of a query at most."""
_OF_A_GRADE = 2
Document = TypeVar("Document", int, str)


def draw_documents(
    rng: random.Random,
    grades: Mapping[Document, int],
    documents: Sequence[Document],
    hard_negatives: Sequence[Document] = (),
) -> dict[Document, int]:
    """Return up to `MAX_PAIRS` documents with their grades: two of each grade, two hard negatives, others at random.

    Parameters
    ----------
    rng : random.Random
    grades : mapping of document to int
        The relevant documents' grades 1 to 3; their order decides which are drawn.
    documents : sequence
        All documents that the query is searched in.
    hard_negatives : sequence, optional
        Documents of grade 0 that come before those drawn at random.
    """
    by_grade: dict[int, list[Document]] = {3: [], 2: [], 1: []}
    for document, grade in grades.items():
        by_grade[grade].append(document)
    drawn: dict[Document, int] = {}
    for grade, graded in by_grade.items():
        drawn.update(dict.fromkeys(rng.sample(graded, min(_OF_A_GRADE, len(graded))), grade))
    drawn.update(dict.fromkeys(hard_negatives[:_OF_A_GRADE], 0))
    wanted = min(MAX_PAIRS, len(drawn) + len(documents) - len(grades.keys() | drawn.keys()))
    while len(drawn) < wanted:
        document = documents[rng.randrange(len(documents))]
        if document not in grades:
            drawn.setdefault(document, 0)
    return drawn
