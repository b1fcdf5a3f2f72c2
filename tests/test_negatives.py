"""Which documents count: judgements by id, and negatives unlike every relevant document."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from modeling_lira.training.negatives import gains_of, safe_negatives


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.integers(0, 20), max_size=12, unique=True),
    judged=st.lists(st.dictionaries(st.integers(0, 20), st.integers(1, 3), max_size=6), min_size=1, max_size=4),
)
def test_gains_equal_a_lookup(ids: list[int], judged: list[dict[int, int]]) -> None:
    width = max(map(len, judged))
    relevant = torch.tensor(
        [[*grades_by_id, *[-1] * (width - len(grades_by_id))] for grades_by_id in judged], dtype=torch.long
    )
    grades = torch.tensor(
        [[*grades_by_id.values(), *[0] * (width - len(grades_by_id))] for grades_by_id in judged], dtype=torch.float32
    )
    relevant, grades = relevant.view(len(judged), width), grades.view(len(judged), width)
    gains = gains_of(relevant, grades, torch.tensor(ids, dtype=torch.long))
    assert gains.tolist() == [[float(grades_by_id.get(name, 0)) for name in ids] for grades_by_id in judged]


def test_safe_negatives_leave_out_what_is_too_like_a_relevant_document() -> None:
    frozen = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]]), dim=-1)
    gains = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = [[True, False, True, False], [True] * 4, [True] * 4]
    assert safe_negatives(frozen, gains, 0.9).tolist() == expected
    assert safe_negatives(frozen, gains, 1.0).all()


def test_the_threshold_is_the_largest_cosine_of_a_negative() -> None:
    frozen = F.normalize(torch.tensor([[1.0, 0.0], [3.0, 4.0], [4.0, 3.0]]), dim=-1)  # cosines to the first: 0.6, 0.8
    gains = torch.tensor([[1.0, 0.0, 0.0]])
    for threshold, expected in ((0.85, [True, True, True]), (0.7, [True, True, False]), (0.5, [True, False, False])):
        assert safe_negatives(frozen, gains, threshold).tolist() == [expected]


def test_a_second_relevant_document_stays_though_it_is_alike() -> None:
    frozen = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.01]]), dim=-1)
    assert safe_negatives(frozen, torch.tensor([[3.0, 1.0]]), 0.5).all()
