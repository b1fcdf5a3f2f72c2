"""Losses against hand-computed values, their limits and the direction of their gradients."""

from math import log, log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from modeling_lira.evaluation.metrics import ndcg
from modeling_lira.training.losses import (
    anchor_loss,
    candidate_rewards,
    consistency_loss,
    contrastive_loss,
    correlation_loss,
    geometry_loss,
    hinge_loss,
    mean_variance_loss,
    pearson,
    policy_entropy,
    policy_loss,
    sampled_actions,
    soft_ndcg_loss,
    soft_ranks,
    soft_spearman,
)

NAN = float("nan")


def unit(rows: int, width: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width), dim=-1)


# ---------------------------------------------------------------- stage 1


def test_anchor_loss_is_one_minus_the_mean_cosine():
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    translation = torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    assert anchor_loss(text, translation).item() == pytest.approx((0.4 + 2.0) / 2)
    assert anchor_loss(text, text).item() == 0.0


def test_rewards_are_the_papers_sum_and_stay_out_of_the_embeddings():
    similarities = torch.tensor([[0.5, -0.2]], requires_grad=True)
    scores = torch.tensor([[[10.0, 4.0, 2.0], [NAN, 1.0, NAN]]])
    rewards = candidate_rewards(scores, similarities, alpha=0.5, beta=0.25, gamma=0.125, delta=2.0)
    first = 0.1 * (0.5 * 10 + 0.25 * 4 + 0.125 * 2) + 2 * 0.5
    second = 0.1 * (0.5 * 5.5 + 0.25 * 1 + 0.125 * 5.5) - 2 * 0.2
    assert rewards.tolist() == [pytest.approx([first, second])]
    assert not rewards.requires_grad


def test_the_policys_gradient_is_the_advantage_times_the_score_function():
    """Neither the baseline nor the rewards have a gradient: -(R_a - b) (onehot(a) - pi)."""
    logits = torch.tensor([[0.0, log(3.0)]], requires_grad=True)  # probabilities 1/4, 3/4
    rewards = torch.tensor([[1.0, 2.0]], requires_grad=True)
    policy_loss(logits, torch.tensor([0]), rewards, torch.ones(1, 2, dtype=torch.bool)).backward()
    advantage = 1.0 - (0.25 * 1.0 + 0.75 * 2.0)
    assert logits.grad is not None and rewards.grad is None
    torch.testing.assert_close(logits.grad, -advantage * torch.tensor([[0.75, -0.75]]))


def test_policy_loss_by_hand():
    logits = torch.tensor([[0.0, log(3.0)]])  # probabilities 1/4, 3/4
    rewards, present = torch.tensor([[1.0, 2.0]]), torch.ones(1, 2, dtype=torch.bool)
    baseline = 0.25 * 1 + 0.75 * 2
    for action, probability in enumerate((0.25, 0.75)):
        expected = -log(probability) * (rewards[0, action].item() - baseline)
        assert policy_loss(logits, torch.tensor([action]), rewards, present).item() == pytest.approx(expected)


def test_the_policy_learns_from_constant_advantages():
    """The gradient of -log pi(a) (R_a - b), neither the rewards nor the baseline having one."""
    logits = torch.tensor([[0.0, log(3.0)]], requires_grad=True)  # probabilities 1/4, 3/4
    rewards = torch.tensor([[1.0, 2.0]], requires_grad=True)
    policy_loss(logits, torch.tensor([0]), rewards, torch.ones(1, 2, dtype=torch.bool)).backward()
    torch.testing.assert_close(logits.grad, -(1 - 1.75) * torch.tensor([[1 - 0.25, 0 - 0.75]]))
    assert rewards.grad is None


def test_policy_loss_ignores_rewards_of_missing_candidates_and_rows_without_any():
    lowest = torch.finfo(torch.float32).min
    logits = torch.tensor([[0.5, 0.2, lowest], [lowest] * 3], requires_grad=True)
    present = torch.tensor([[True, True, False], [False] * 3])
    loss = policy_loss(logits, torch.tensor([0, 1]), torch.tensor([[1.0, 2, 1e6], [3.0, 4, 5]]), present)
    alone = policy_loss(logits[:1, :2], torch.tensor([0]), torch.tensor([[1.0, 2]]), present[:1, :2])
    assert loss.item() == pytest.approx(alone.item() / 2)
    loss.backward()
    assert logits.grad.isfinite().all() and not logits.grad[1].any()


def test_entropy_of_known_policies():
    lowest = torch.finfo(torch.float32).min
    assert policy_entropy(torch.zeros(2, 4)).item() == pytest.approx(log(4))
    assert policy_entropy(torch.tensor([[1.0, 1.0, lowest, lowest]])).item() == pytest.approx(log(2))
    assert policy_entropy(torch.tensor([[100.0, 0.0]])).item() == pytest.approx(0.0, abs=1e-6)
    assert policy_entropy(torch.tensor([[0.0, float("-inf")]])).item() == 0.0


def test_entropy_has_finite_gradients_with_missing_candidates():
    logits = torch.tensor([[0.3, -0.2, torch.finfo(torch.float32).min]], requires_grad=True)
    policy_entropy(logits).backward()
    assert logits.grad.isfinite().all() and logits.grad[0, :2].any()


def test_geometry_loss_is_zero_for_the_same_shape_and_known_otherwise():
    embeddings = unit(6, 5)
    rotation = torch.linalg.qr(torch.randn(5, 5)).Q
    assert geometry_loss(embeddings, embeddings).item() == 0.0
    assert geometry_loss(embeddings @ rotation, embeddings).item() == pytest.approx(0.0, abs=1e-10)
    collapsed, apart = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2)
    assert geometry_loss(collapsed, apart).item() == pytest.approx(2 / 4)  # two of four cosines are off by 1


# ---------------------------------------------------------------- stage 2

spread_scores = st.lists(st.integers(-50, 50), min_size=1, max_size=12, unique=True)


@settings(max_examples=80, deadline=None)
@given(scores=spread_scores, k=st.integers(1, 14), seed=st.integers(0, 99))
def test_soft_ndcg_tends_to_ndcg_at_small_temperature(scores, k, seed):
    scores = torch.tensor([scores], dtype=torch.float64) / 10
    gains = torch.randint(0, 4, scores.shape, generator=torch.Generator().manual_seed(seed))
    gains[0, 0] += 1
    loss = soft_ndcg_loss(scores, gains.double(), k, temperature=1e-3)
    assert loss.item() == pytest.approx(1 - ndcg(scores, gains, k).item(), abs=1e-4)


def test_soft_ranks_by_hand():
    scores = torch.tensor([[0.0, 1.0, 0.0]])
    half = torch.sigmoid(torch.tensor(2.0)).item()  # a gap of 1 at temperature 0.5
    expected = [1 + half + 0.5, 1 + 2 * (1 - half), 1 + half + 0.5]
    assert soft_ranks(scores, 0.5).tolist() == [pytest.approx(expected)]


def test_tied_scores_share_the_middle_rank():
    scores, gains = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]])
    assert soft_ranks(scores, 0.05).tolist() == [[2.0, 2.0, 2.0]]
    loss = soft_ndcg_loss(scores, gains, k=3, temperature=1e-3)
    assert loss.item() == pytest.approx(1 - 1 / log2(3))


def test_soft_ndcg_of_one_document_and_of_none_relevant():
    scores = torch.tensor([[0.3]], requires_grad=True)
    assert soft_ndcg_loss(scores, torch.tensor([[2.0]])).item() == pytest.approx(0.0, abs=1e-4)
    loss = soft_ndcg_loss(scores, torch.tensor([[0.0]]))
    loss.backward()
    assert loss.item() == 0.0 and scores.grad.tolist() == [[0.0]]


def test_queries_without_relevant_documents_do_not_count():
    scores, gains = torch.rand(2, 6), torch.zeros(2, 6)
    gains[0, 2] = 3
    assert soft_ndcg_loss(scores, gains).item() == pytest.approx(soft_ndcg_loss(scores[:1], gains[:1]).item())


def test_soft_ndcg_pushes_relevant_documents_up():
    scores = torch.tensor([[0.2, 0.25, 0.3]], requires_grad=True)
    soft_ndcg_loss(scores, torch.tensor([[2.0, 0.0, 1.0]])).backward()
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1]


def test_hinge_by_hand():
    scores = torch.tensor([[0.50, 0.40, 0.45, 0.10]])
    gains = torch.tensor([[2.0, 1.0, 0.0, 0.0]])
    # the hardest irrelevant one has 0.45; gain 2 asks for a margin of 0.1, gain 1 for 0.05
    assert hinge_loss(scores, gains, 0.1).item() == pytest.approx(((0.1 - 0.05) + (0.05 + 0.05)) / 2)
    assert hinge_loss(scores, torch.tensor([[2.0, 0.0, 0.0, 0.0]]), 0.04).item() == 0.0


def test_hinge_without_irrelevant_or_relevant_documents_is_zero():
    scores = torch.rand(2, 3, requires_grad=True)
    loss = hinge_loss(scores, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), 0.1)
    loss.backward()
    assert loss.item() == 0.0 and not scores.grad.any()


def test_mean_variance_is_zero_for_the_ideal_and_high_for_a_collapse():
    hadamard = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    assert mean_variance_loss(torch.cat([hadamard, -hadamard])).item() == pytest.approx(0.0, abs=1e-6)
    collapsed = hadamard[:1].repeat(8, 1)  # mean of length 1, and four dimensions whose std lacks 1/2 each
    assert mean_variance_loss(collapsed).item() == pytest.approx(1 + 4 * 0.25, abs=1e-4)


def test_mean_variance_has_finite_gradients_at_a_collapse():
    embeddings = torch.ones(4, 3, requires_grad=True)
    mean_variance_loss(embeddings).backward()
    assert embeddings.grad.isfinite().all()


# ---------------------------------------------------------------- masks, consistency, correlation


def test_documents_out_of_the_mask_do_not_count():
    scores, gains = torch.tensor([[0.1, 0.9, 0.8, 0.5]]), torch.tensor([[0.0, 0.0, 3.0, 1.0]])
    mask = torch.tensor([[True, False, True, True]])
    kept = torch.tensor([0, 2, 3])
    for loss in (
        lambda s, g, m: soft_ndcg_loss(s, g, 2, 0.1, m),
        lambda s, g, m: hinge_loss(s, g, 0.5, m),
        lambda s, g, m: consistency_loss(s, s.flip(0) * 0.5, 0.1, m),
    ):
        assert loss(scores, gains, mask).item() == pytest.approx(loss(scores[:, kept], gains[:, kept], None).item())


def test_a_masked_loss_has_finite_gradients():
    scores = torch.tensor([[0.1, 0.9, 0.8]], requires_grad=True)
    mask = torch.tensor([[True, False, False]])
    soft_ndcg_loss(scores, torch.tensor([[2.0, 0.0, 0.0]]), 10, 0.01, mask).backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_soft_ranks_of_some_equal_those_among_all():
    scores = torch.randn(3, 7)
    assert torch.equal(soft_ranks(scores, 0.3)[:, [2, 5]], soft_ranks(scores, 0.3, scores[:, [2, 5]]))
    assert soft_ranks(torch.tensor([1.0, 3.0, 3.0, 0.0]), 0.0).tolist() == [3.0, 1.5, 1.5, 4.0]


def test_consistency_by_hand_and_of_equal_views():
    first, second = torch.tensor([[0.0, log(3.0)]]), torch.tensor([[0.0, 0.0]])
    p, q = (0.25, 0.75), (0.5, 0.5)
    forward = sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    backward = sum(b * log(b / a) for a, b in zip(p, q, strict=True))
    assert consistency_loss(first, second, 1.0).item() == pytest.approx((forward + backward) / 2)
    assert consistency_loss(first, first, 1.0).item() == pytest.approx(0.0, abs=1e-7)
    assert consistency_loss(torch.zeros(0, 3), torch.zeros(0, 3), 1.0).item() == 0.0


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=12), seed=st.integers())
def test_soft_spearman_tends_to_spearman(values, seed):
    first, second = (torch.tensor([float(pair[side]) for pair in values]) for side in (0, 1))
    exact = stats.spearmanr(first, second).statistic if len(set(first.tolist())) > 1 < len(set(second.tolist())) else 0
    assert soft_spearman(first, second, 1e-3).item() == pytest.approx(exact, abs=1e-4)
    linear = stats.pearsonr(first, second).statistic if len(set(first.tolist())) > 1 < len(set(second.tolist())) else 0
    assert pearson(first, second).item() == pytest.approx(linear, abs=1e-4)


def test_correlation_loss_limits_and_direction():
    targets = torch.tensor([0.1, 0.5, 0.9])
    assert correlation_loss(targets, targets, 0.5, 1e-3).item() == pytest.approx(0.0, abs=1e-5)
    assert correlation_loss(-targets, targets, 0.5, 1e-3).item() == pytest.approx(2.0, abs=1e-5)
    assert correlation_loss(torch.tensor([0.3]), torch.tensor([0.1]), 0.5, 0.1).item() == 0.0
    predictions = torch.tensor([0.9, 0.2, 0.3], requires_grad=True)
    correlation_loss(predictions, targets, 0.5, 0.2).backward()
    assert predictions.grad[0] > 0 > predictions.grad[2]


def test_correlation_loss_mixes_both_correlations_by_its_share():
    predictions, targets = torch.tensor([0.0, 0.1, 0.9]), torch.tensor([0.0, 0.8, 1.0])
    linear, ranked = 1 - pearson(predictions, targets), 1 - soft_spearman(predictions, targets, 0.5)
    assert abs(linear - ranked) > 0.01
    for share in (0.0, 0.25, 1.0):
        mixed = correlation_loss(predictions, targets, pearson_share=share, temperature=0.5)
        assert mixed.item() == pytest.approx(float(share * linear + (1 - share) * ranked), abs=1e-6)


def test_actions_follow_the_policy_and_never_a_missing_candidate():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    assert [sampled_actions(logits, torch.tensor([u])).item() for u in (0.0, 0.19, 0.21, 0.69, 0.71, 0.999)] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip
    missing = torch.tensor([[0.0, torch.finfo(torch.float32).min, 0.0, torch.finfo(torch.float32).min]])
    drawn = sampled_actions(missing.expand(1000, 4), torch.rand(1000))
    assert set(drawn.tolist()) == {0, 2}


# ---------------------------------------------------------------- contrastive


def test_contrastive_loss_is_cross_entropy_for_one_positive():
    scores, gains = torch.randn(4, 6), F.one_hot(torch.tensor([0, 2, 5, 1]), 6).float()
    expected = F.cross_entropy(scores / 0.1, torch.tensor([0, 2, 5, 1]))
    assert contrastive_loss(scores, gains, 0.1).item() == pytest.approx(expected.item(), rel=1e-5)


def test_contrastive_loss_weighs_positives_by_grade_and_lets_them_not_compete():
    scores, gains = torch.tensor([[0.4, 0.1, 0.3]]), torch.tensor([[3.0, 1.0, 0.0]])
    first, second = (log(1 + 2.718281828459045 ** (10 * (0.3 - score))) for score in (0.4, 0.1))
    assert contrastive_loss(scores, gains, 0.1).item() == pytest.approx((3 * first + second) / 4, rel=1e-5)


def test_contrastive_loss_of_masked_negatives_and_of_queries_without_a_relevant_document():
    scores, gains = torch.tensor([[0.1, 0.9], [0.3, 0.2]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    mask = torch.tensor([[True, False], [True, True]])
    assert contrastive_loss(scores, gains, 0.05, mask).item() == pytest.approx(0.0, abs=1e-6)
    assert contrastive_loss(scores, torch.zeros(2, 2), 0.05).item() == 0.0
    assert contrastive_loss(scores.bfloat16(), gains.bfloat16(), 0.05).isfinite()
