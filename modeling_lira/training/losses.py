"""The losses of both stages, as plain functions of tensors."""

import torch
from torch import Tensor
from torch.nn import functional as F

from modeling_lira.metrics import dcg_discounts

RANKS_PER_SCORE = 20.0
"""Softness of the cut at k, in ranks, for a temperature of 1 in units of score: one rank at a temperature of 0.05."""


def anchor_loss(multilingual: Tensor, english: Tensor) -> Tensor:
    """Pull a text's embedding towards its translation's: mean of 1 - cos.

    Parameters
    ----------
    multilingual, english : Tensor, [B, d], unit norm

    Source: paper, Arca (L_anchor).
    """
    return (1 - (multilingual * english).sum(-1)).mean()


def candidate_rewards(
    critic_scores: Tensor, similarities: Tensor, alpha: float, beta: float, gamma: float, delta: float
) -> Tensor:
    """Reward each candidate: R = 0.1 (alpha s + beta e + gamma p) + delta sim, [B, K].

    Parameters
    ----------
    critic_scores : Tensor, [B, K, 3], in [1, 10]; NaN, where no critic spoke, counts as the neutral 5.5
    similarities : Tensor, [B, K]; detached

    Source: paper, Arca (R_k).
    """
    weights = critic_scores.new_tensor([alpha, beta, gamma])
    return 0.1 * torch.nan_to_num(critic_scores, nan=5.5) @ weights + delta * similarities.detach()


def policy_loss(logits: Tensor, actions: Tensor, rewards: Tensor, candidate_mask: Tensor) -> Tensor:
    """REINFORCE with the policy's own expected reward as baseline: mean of -log pi(a) (R_a - b).

    Parameters
    ----------
    logits, rewards : Tensor, [B, K]
    actions : Tensor, [B], sampled from the policy
    candidate_mask : Tensor, [B, K]

    Source: paper, Arca (L_RL); the baseline is ours.
    """
    log_policy = logits.log_softmax(-1)
    rewards = rewards.masked_fill(~candidate_mask, 0.0).detach()
    baseline = (log_policy.exp() * rewards).sum(-1).detach()
    chosen = actions[:, None]
    advantage = rewards.gather(1, chosen).squeeze(1) - baseline
    return -(log_policy.gather(1, chosen).squeeze(1) * advantage).mean()


def policy_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the policy in nats, logits [B, K]."""
    log_policy = logits.log_softmax(-1)
    policy = log_policy.exp()
    return -(policy * log_policy.masked_fill(policy == 0, 0.0)).sum(-1).mean()


def geometry_loss(embeddings: Tensor, reference: Tensor) -> Tensor:
    """Keep the batch's shape: mean squared gap between its cosine matrix and the frozen encoder's.

    Parameters
    ----------
    embeddings : Tensor, [B, d], unit norm
    reference : Tensor, [B, H], unit norm, of the frozen encoder

    Source: ours (method, Arca 6).
    """
    return (embeddings @ embeddings.T - reference @ reference.T).square().mean()


def soft_ranks(scores: Tensor, temperature: float) -> Tensor:
    """Return differentiable ranks [Q, N], 1 for the best: 1 + sum over others of sigmoid((s_j - s_i) / temperature)."""
    gaps = (scores[:, None, :] - scores[:, :, None]) / temperature  # [Q, i, j]
    return 0.5 + torch.sigmoid(gaps).sum(-1)  # an item's gap to itself gives 0.5


def soft_ndcg_loss(scores: Tensor, gains: Tensor, k: int = 10, temperature: float = 0.05) -> Tensor:
    """Return 1 - soft nDCG@k, averaged over the queries that have a relevant document.

    Parameters
    ----------
    scores : Tensor, [Q, N]
    gains : Tensor, [Q, N], graded, not negative
    k : int
        The ideal is cut at k; ranks beyond it fade out smoothly.
    temperature : float
        Of the sigmoid soft ranks, in units of score; towards 0 the loss becomes 1 - nDCG@k.

    Source: paper, LaSR (L_ndcg); soft ranks after Qin et al. (2010).
    """
    ranks = soft_ranks(scores, temperature)
    inside = torch.sigmoid((k + 0.5 - ranks) / (RANKS_PER_SCORE * temperature))
    found = (gains * inside / torch.log2(ranks + 1)).sum(1)
    cut = min(k, gains.shape[1])
    ideal = (gains.topk(cut, dim=1).values * dcg_discounts(cut).to(gains)).sum(1)
    judged = (ideal > 0).to(scores.dtype)
    return ((1 - found / ideal.clamp_min(1e-9)) * judged).sum() / judged.sum().clamp_min(1)


def hinge_loss(scores: Tensor, gains: Tensor, margin: float) -> Tensor:
    """Ask every relevant document to beat the query's hardest irrelevant one by `margin`, more relevant ones by more.

    Parameters
    ----------
    scores, gains : Tensor, [Q, N]
    margin : float
        For the highest gain of the batch; smaller gains ask for a proportional part.

    Source: paper, LaSR (L_hinge); the graded margin is ours.
    """
    relevant = gains > 0
    hardest = scores.masked_fill(relevant, float("-inf")).amax(1, keepdim=True)  # [Q, 1]
    wanted = margin * gains / gains.amax().clamp_min(1e-9)
    gaps = F.relu(wanted - scores + hardest).masked_fill(~relevant | hardest.isinf(), 0.0)
    return gaps.sum() / relevant.sum().clamp_min(1)


def mean_variance_loss(embeddings: Tensor) -> Tensor:
    """Keep embeddings [B, D] spread: squared batch mean plus squared gaps of the dimensions' std to 1 / sqrt(D).

    Source: ours (method, LaSR 5).
    """
    width = embeddings.shape[1]
    spread = embeddings.var(0, unbiased=False).add(1e-12).sqrt()
    return embeddings.mean(0).square().sum() + (spread - width**-0.5).square().sum()
