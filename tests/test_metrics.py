"""nDCG against hand-computed values, brute force and a reference library."""

from collections.abc import Iterator
from math import log2
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lira.metrics import dcg_discounts, ndcg


def test_discounts():
    assert dcg_discounts(4).tolist() == pytest.approx([1.0, 1 / log2(3), 0.5, 1 / log2(5)])


def test_hand_values():
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.1]])
    gains = torch.tensor([[0.0, 3.0, 0.0, 1.0]])
    ideal = 3 + 1 / log2(3)
    assert ndcg(scores, gains, k=4).item() == pytest.approx((3 / log2(3) + 1 / log2(5)) / ideal)
    assert ndcg(scores, gains, k=2).item() == pytest.approx((3 / log2(3)) / ideal)
    assert ndcg(scores, gains, k=1).item() == 0.0
    assert ndcg(-scores, gains, k=1).item() == pytest.approx(1 / 3)


def test_perfect_ranking_is_one_and_k_may_exceed_the_documents():
    gains = torch.tensor([[3.0, 0.0, 1.0, 2.0]])
    assert ndcg(gains, gains, k=10).item() == pytest.approx(1.0)
    assert ndcg(-gains, gains, k=10).item() == pytest.approx(ndcg(-gains, gains, k=4).item())


def test_among_equal_scores_the_earlier_document_ranks_first():
    tied = torch.zeros(2, 40)
    gains = torch.zeros(2, 40)
    gains[0, 0] = gains[1, 3] = 1
    assert ndcg(tied, gains).tolist() == pytest.approx([1.0, 1 / log2(5)])
    part = torch.tensor([[0.5, 0.7, 0.5, 0.5]])
    assert ndcg(part, torch.tensor([[0.0, 0, 1, 0]])).item() == pytest.approx(1 / log2(4))


def test_a_query_without_relevant_documents_has_no_value():
    values = ndcg(torch.rand(2, 5), torch.tensor([[0.0] * 5, [1.0] * 5]))
    assert values.isnan().tolist() == [True, False]


def test_values_are_float64_whatever_comes_in():
    values = ndcg(torch.rand(1, 5, dtype=torch.float16), torch.ones(1, 5, dtype=torch.int64))
    assert values.dtype == torch.float64 and values.item() == pytest.approx(1.0)


def ndcg_by_hand(scores: list[float], gains: list[int], k: int) -> float:
    ranking = sorted(range(len(scores)), key=lambda index: (-scores[index], index))[:k]
    found = sum(gains[index] / log2(rank + 2) for rank, index in enumerate(ranking))
    ideal = sum(gain / log2(rank + 2) for rank, gain in enumerate(sorted(gains, reverse=True)[:k]))
    return found / ideal


@settings(max_examples=150, deadline=None)
@given(
    documents=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=15),
    k=st.integers(1, 20),
)
def test_equals_brute_force_with_ties(documents, k):
    scores, gains = zip(*documents, strict=True)
    value = ndcg(torch.tensor([scores], dtype=torch.float32), torch.tensor([gains]), k).item()
    if not any(gains):
        assert value != value
    else:
        assert value == pytest.approx(ndcg_by_hand(list(scores), list(gains), k))


@pytest.fixture(scope="module")
def ranx() -> Iterator[ModuleType]:
    """The reference library, without the minute that it would spend compiling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        import ranx

        yield ranx


@pytest.mark.parametrize("k", [1, 5, 10, 100])
def test_equals_ranx_on_graded_judgements(ranx, k):
    scores = torch.rand(12, 30, dtype=torch.float64)  # no ties: ranx breaks them by the order of its own sort
    gains = torch.randint(0, 4, (12, 30)) * (torch.rand(12, 30) < 0.3)
    gains[:, 0] = torch.randint(1, 4, (12,))
    qrels = {
        f"q{query:02}": {f"d{document}": int(gain) for document, gain in enumerate(row) if gain}
        for query, row in enumerate(gains.tolist())
    }
    run = {
        f"q{query:02}": {f"d{document}": score for document, score in enumerate(row)}
        for query, row in enumerate(scores.tolist())
    }
    expected = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), f"ndcg@{k}", return_mean=False)
    torch.testing.assert_close(ndcg(scores, gains, k), torch.tensor(expected), atol=1e-9, rtol=1e-9)
