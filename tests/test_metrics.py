"""nDCG against hand-computed values, brute force and a reference library."""

from math import log2

import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval.benchmarks.library_metrics import MRR, NDCG, RECALL, retrieval_metrics
from modeling_lira.evaluation.metrics import dcg_discounts, interval_of, ndcg, pearson, ranks, spearman


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
    gain = sum(gains[index] / log2(rank + 2) for rank, index in enumerate(ranking))
    ideal = sum(gain / log2(rank + 2) for rank, gain in enumerate(sorted(gains, reverse=True)[:k]))
    return gain / ideal


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


@pytest.mark.parametrize("k", [1, 5, 10, 100])
def test_equals_trec_eval_on_graded_judgements_with_ties(k):
    scores = torch.randint(0, 6, (200, 30)) / 5
    gains = torch.randint(0, 4, (200, 30)) * (torch.rand(200, 30) < 0.3)
    gains[:, 0] = torch.randint(1, 4, (200,))
    names = [f"d{30 - document:02}" for document in range(30)]  # of equal scores it ranks the last name first
    qrels = {
        f"q{query}": {names[document]: gain for document, gain in enumerate(row) if gain}
        for query, row in enumerate(gains.tolist())
    }
    run = {f"q{query}": dict(zip(names, row, strict=True)) for query, row in enumerate(scores.tolist())}
    reference = pytrec_eval.RelevanceEvaluator(qrels, {f"ndcg_cut.{k}"}).evaluate(run)
    expected = [reference[f"q{query}"][f"ndcg_cut_{k}"] for query in range(200)]
    torch.testing.assert_close(ndcg(scores, gains, k), torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_evaluations_metrics_are_trec_evals_with_our_order_of_ties():
    scores = torch.randint(0, 4, (60, 130)) / 3
    gains = torch.randint(0, 4, (60, 130)) * (torch.rand(60, 130) < 0.1)
    gains[0] = 0  # nothing to find
    gains[1] = 0
    gains[1, scores[1].argsort(stable=True)[0]] = 1  # ranked behind everything else
    metrics = retrieval_metrics(scores, gains)
    torch.testing.assert_close(metrics[NDCG], ndcg(scores, gains), atol=1e-9, rtol=0, equal_nan=True)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    relevant = gains.gather(1, order) > 0
    recall = relevant[:, :100].sum(1) / relevant.sum(1)
    torch.testing.assert_close(metrics[RECALL], recall.double(), atol=1e-7, rtol=0, equal_nan=True)
    for query in range(1, 60):
        ranks = [rank for rank, is_relevant in enumerate(relevant[query, :10].tolist(), start=1) if is_relevant]
        assert metrics[MRR][query].item() == pytest.approx(1 / ranks[0] if ranks else 0.0)
    assert all(values[0].isnan() for values in metrics.values())


def test_fewer_documents_than_the_cut_and_fewer_than_ten():
    metrics = retrieval_metrics(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[3, 0, 1]]))
    best = (1 / log2(3) + 3 / 2) / (3 + 1 / log2(3))
    assert [metrics[name].item() for name in (NDCG, RECALL, MRR)] == pytest.approx([best, 1.0, 0.5])


def test_correlations_of_tied_values_are_scipys():
    first, second = torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0, 3.0]), torch.tensor([0.3, 0.1, 0.1, 0.1, 0.9, 0.4])
    assert ranks(first).tolist() == [2, 2, 2, 4, 5.5, 5.5]
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert pearson(first, second) == pytest.approx(stats.pearsonr(first, second).statistic)
    assert pearson(first, torch.ones(6)) != pearson(first, torch.ones(6))


def test_an_interval_holds_its_share_of_the_means():
    means = torch.arange(101, dtype=torch.float64)
    assert interval_of(means, 0.9) == pytest.approx((5, 95))
    assert interval_of(means, 0.5) == pytest.approx((25, 75))
