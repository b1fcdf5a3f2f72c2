"""The losses of all stages, as functions of tensors without state."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..evaluation.metrics import dcg_discounts
from ..soft_prompt import IGNORED

RANKS_PER_SCORE = 20.0
"""Softness of the cut at rank k, in ranks per unit of the temperature, which is one of scores.

A soft rank is a sum of sigmoids of score differences; the cut is a sigmoid of ranks. One temperature sharpens both: at
the usual 0.05 the cut is one rank wide.
"""
OUT_OF_SIGHT = -1e4
"""Score of a document that does not count: below any cosine, however small the temperature that divides it."""


def anchor_loss(multilingual: Tensor, english: Tensor) -> Tensor:
    """Return the mean of 1 - cos between a text's embedding and its translation's.

    Parameters
    ----------
    multilingual, english : Tensor, [B, d], unit norm

    Source: paper, Arca (L_anchor).
    """
    return (1 - (multilingual * english).sum(-1)).mean()


def matching_loss(texts: Tensor, translations: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of finding each text's translation among all translations of a batch.

    Parameters
    ----------
    texts, translations : Tensor, [B, d], unit norm; a text and its translation have the same row
    temperature : float

    Source: METHOD.md, Arca 3.
    """
    return F.cross_entropy(texts @ translations.T / temperature, torch.arange(len(texts), device=texts.device))


def candidate_rewards(
    critic_scores: Tensor, similarities: Tensor, alpha: float, beta: float, gamma: float, delta: float
) -> Tensor:
    """Return each candidate's reward R = 0.1 (alpha s + beta e + gamma p) + delta sim, [B, K].

    Similarities are detached, so that training cannot raise the reward by bending the space.

    Parameters
    ----------
    critic_scores : Tensor, [B, K, 3], in [1, 10]; NaN, a score that no critic gave, counts as 5.5, the middle
    similarities : Tensor, [B, K], cosines

    Source: paper, Arca (R_k).
    """
    weights = critic_scores.new_tensor([alpha, beta, gamma])
    return 0.1 * torch.nan_to_num(critic_scores, nan=5.5) @ weights + delta * similarities.detach()


def sampled_actions(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw one action [B] a row of policy logits [B, K] by inverting its distribution at `uniform` [B] in [0, 1).

    The randomness is an argument, so that a batch draws the same actions however it is spread over processes.
    """
    reached = logits.softmax(-1).cumsum(-1)  # [B, K]
    drawn = (reached <= uniform[:, None] * reached[:, -1:]).sum(-1)
    return drawn.clamp_max(logits.shape[-1] - 1)


def retrieval_margins(scores: Tensor, gains: Tensor, temperature: float, mask: Tensor) -> Tensor:
    """Return how far each candidate's embedding puts the relevant documents above the others, [Q, K].

    It is the mean score of the relevant documents, weighed by grade, above a soft maximum of the others', in units of
    the temperature; 0 where a query has no relevant document.

    Parameters
    ----------
    scores : Tensor, [Q, K, N]
        Of every document for a query with each of its candidates alone.
    gains : Tensor, [Q, N]
    temperature : float
    mask : Tensor, [Q, N]
        False where a document is no negative of a query.

    Source: METHOD.md, Arca 5.
    """
    scaled = scores / temperature
    excluded = ((gains > 0) | ~mask)[:, None]
    negatives = scaled.masked_fill(excluded, OUT_OF_SIGHT / temperature).logsumexp(-1)  # [Q, K]
    total = gains.sum(1, keepdim=True)
    relevant = (scaled * gains[:, None]).sum(-1) / total.clamp_min(1e-9)
    return (relevant - negatives) * (total > 0)


def policy_loss(logits: Tensor, actions: Tensor, rewards: Tensor, candidate_mask: Tensor) -> Tensor:
    """Return the REINFORCE loss of the drawn candidates: mean of -log pi(a) (R_a - b), with b = sum_k pi_k R_k.

    The baseline b, the reward that the policy expects, does not depend on the action, so it leaves the expected
    gradient as it is and only lowers its variance. Without it, rewards that are all positive would make every drawn
    candidate more likely, the worst one too.

    Parameters
    ----------
    logits, rewards : Tensor, [B, K]
    actions : Tensor, [B], sampled from the policy
    candidate_mask : Tensor, [B, K]

    Source: paper, Arca (L_RL); baseline: METHOD.md, Arca 5.
    """
    log_policy = logits.log_softmax(-1)
    rewards = rewards.masked_fill(~candidate_mask, 0.0).detach()  # pi is 0 there: not even a NaN may count
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
    """Return the mean squared difference between a batch's cosine matrix and the frozen encoder's.

    It keeps the anchor loss from pulling all texts to one point.

    Parameters
    ----------
    embeddings : Tensor, [B, d], unit norm
    reference : Tensor, [B, H], unit norm, of the frozen encoder

    Source: METHOD.md, Arca 6.
    """
    return (embeddings @ embeddings.T - reference @ reference.T).square().mean()


def soft_ranks(scores: Tensor, temperature: float, of: Tensor | None = None) -> Tensor:
    """Return differentiable ranks, 1 for the best; tied items share the middle rank.

    Parameters
    ----------
    scores : Tensor, [..., N]
    temperature : float
        Of the sigmoids that count the items above, in units of score; 0 counts them exactly.
    of : Tensor, [..., R], optional
        Scores of the items to rank, each one of `scores`; by default all of them.

    Returns
    -------
    Tensor, [..., R], each 1 + the sum over the others of sigmoid((s_j - s_i) / temperature).
    """
    gaps = scores[..., None, :] - (scores if of is None else of)[..., :, None]  # [..., R, N]
    above = torch.sigmoid(gaps / temperature) if temperature > 0 else (gaps > 0) + 0.5 * (gaps == 0)
    return 0.5 + above.sum(-1)  # an item's gap to itself gives 0.5


def soft_ndcg_loss(
    scores: Tensor, gains: Tensor, k: int = 10, temperature: float = 0.05, mask: Tensor | None = None
) -> Tensor:
    """Return 1 - soft nDCG@k, averaged over the queries that have a relevant document.

    Parameters
    ----------
    scores : Tensor, [Q, N], at most 1 in size
    gains : Tensor, [Q, N], graded, not negative
    k : int
        The ideal is cut at k; ranks beyond it fade out smoothly.
    temperature : float
        Of the sigmoid soft ranks, in units of score; towards 0 the loss becomes 1 - nDCG@k.
    mask : Tensor, [Q, N], optional
        False where a document does not count for a query; its gain must be 0.

    Source: paper, LaSR (L_ndcg); soft ranks after Qin et al. (2010).
    """
    if mask is not None:
        scores = scores.masked_fill(~mask, OUT_OF_SIGHT)
    relevant = max(1, int((gains > 0).sum(1).max()))
    best = gains.topk(relevant, dim=1)  # only relevant documents need a rank
    relevant_scores = scores.gather(1, best.indices)  # [Q, R]
    ranks = soft_ranks(scores, temperature, relevant_scores)
    inside = torch.sigmoid((k + 0.5 - ranks) / (RANKS_PER_SCORE * temperature))
    gained = (best.values * inside / torch.log2(ranks + 1)).sum(1)
    cut = min(k, relevant)
    ideal = (best.values[:, :cut] * dcg_discounts(cut).to(gains)).sum(1)
    judged = (ideal > 0).to(scores.dtype)
    return ((1 - gained / ideal.clamp_min(1e-9)) * judged).sum() / judged.sum().clamp_min(1)


def contrastive_loss(scores: Tensor, gains: Tensor, temperature: float, mask: Tensor | None = None) -> Tensor:
    """Return InfoNCE: each relevant document against all of its query's irrelevant ones, weighed by grade.

    Parameters
    ----------
    scores, gains : Tensor, [Q, N]
    temperature : float
        Of the softmax, in units of score.
    mask : Tensor, [Q, N], optional
        False where a document is no negative of a query.

    Returns
    -------
    Tensor, mean over the queries that have a relevant document

    Source: van den Oord et al. (2018); several graded positives: METHOD.md, LaSR 5.
    """
    scaled = scores / temperature
    excluded = gains > 0 if mask is None else (gains > 0) | ~mask
    negatives = scaled.masked_fill(excluded, OUT_OF_SIGHT / temperature).logsumexp(1, keepdim=True)  # [Q, 1]
    lost = torch.logaddexp(scaled, negatives) - scaled  # [Q, N]
    total = gains.sum(1)
    per_query = (lost * gains).sum(1) / total.clamp_min(1e-9)
    return per_query.sum() / (total > 0).sum().clamp_min(1)


def hinge_loss(scores: Tensor, gains: Tensor, margin: float, mask: Tensor | None = None) -> Tensor:
    """Return the mean amount by which relevant documents fail to score `margin` above the hardest irrelevant one.

    Parameters
    ----------
    scores, gains : Tensor, [Q, N]
    margin : float
        For the highest gain of the batch; smaller gains ask for a proportional part.
    mask : Tensor, [Q, N], optional
        False where a document is no negative of a query.

    Source: paper, LaSR (L_hinge), there with one margin for all grades.
    """
    relevant = gains > 0
    excluded = relevant if mask is None else relevant | ~mask
    hardest = scores.masked_fill(excluded, float("-inf")).amax(1, keepdim=True)  # [Q, 1]
    wanted = margin * gains / gains.amax().clamp_min(1e-9)
    gaps = F.relu(wanted - scores + hardest).masked_fill(~relevant | hardest.isinf(), 0.0)
    return gaps.sum() / relevant.sum().clamp_min(1)


def consistency_loss(scores: Tensor, others: Tensor, temperature: float, mask: Tensor | None = None) -> Tensor:
    """Return the symmetric KL divergence between the score distributions of two views of the same queries.

    Parameters
    ----------
    scores, others : Tensor, [Q, N]
    temperature : float
        Of the softmax over documents, in units of score.
    mask : Tensor, [Q, N], optional
        False where a document does not count for a query.

    Returns
    -------
    Tensor, mean over queries of (KL(p || q) + KL(q || p)) / 2, in nats; 0 without queries.

    Source: METHOD.md, LaSR 6.
    """
    if mask is not None:
        scores, others = (values.masked_fill(~mask, OUT_OF_SIGHT) for values in (scores, others))
    first, second = (scores / temperature).log_softmax(-1), (others / temperature).log_softmax(-1)
    divergence = ((first.exp() - second.exp()) * (first - second)).sum(-1) / 2  # [Q]
    return divergence.sum() / max(1, len(divergence))


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation of two samples [P]; 0 where one of them does not vary."""
    first, second = first - first.mean(), second - second.mean()
    return (first * second).sum() / (first.norm() * second.norm()).clamp_min(1e-12)


def soft_spearman(predictions: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return a differentiable Spearman correlation of samples [P]: soft ranks of the one, exact ranks of the other.

    Source: paper, LaSR (SoftSpearman); sigmoid ranks as in `soft_ranks`.
    """
    return pearson(soft_ranks(predictions, temperature), soft_ranks(targets, 0.0))


def correlation_loss(predictions: Tensor, targets: Tensor, pearson_share: float, temperature: float) -> Tensor:
    """Return a (1 - Pearson) + (1 - a) (1 - SoftSpearman) of predicted and wanted similarities [P].

    Parameters
    ----------
    predictions, targets : Tensor, [P]; fewer than two pairs have no correlation and give 0
    pearson_share : float
        a, in [0, 1].
    temperature : float
        Of the soft ranks, in units of the prediction.

    Source: paper, LaSR (L_corr).
    """
    if len(predictions) < 2:
        return predictions.sum() * 0.0
    linear = 1 - pearson(predictions, targets)
    ranked = 1 - soft_spearman(predictions, targets, temperature)
    return pearson_share * linear + (1 - pearson_share) * ranked


def mean_variance_loss(embeddings: Tensor) -> Tensor:
    """Return how far embeddings [B, D] are from evenly spread: 0 for a mean of 0 and a deviation of 1 / sqrt(D).

    The squared norm of the batch mean, plus the squared difference of each dimension's standard deviation to
    1 / sqrt(D), that of unit vectors in all directions.

    Source: METHOD.md, LaSR 5.
    """
    width = embeddings.shape[1]
    spread = embeddings.var(0, unbiased=False).add(1e-12).sqrt()
    return embeddings.mean(0).square().sum() + (spread - width**-0.5).square().sum()


def language_consistency(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean symmetric KL divergence of a pair's next-token distributions over the tokens of the answer.

    Parameters
    ----------
    logits : Tensor, [2P, k, V]
        The last k of each row; rows 2i and 2i + 1 are one question in two languages.
    labels : Tensor, [2P, L]
        -100 outside the answer, which is the same for both.

    Source: METHOD.md, LaSR 6, carried over to answers.
    """
    kept = labels[:, -logits.shape[1] :]
    counted = (kept[::2, 1:] != IGNORED).float()  # [P, k - 1]
    first, second = (logits[start::2, :-1].float().log_softmax(-1) for start in (0, 1))
    divergence = ((first.exp() - second.exp()) * (first - second)).sum(-1)  # [P, k - 1]
    return (divergence * counted).sum() / (2 * counted.sum().clamp_min(1))
