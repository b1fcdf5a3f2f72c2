"""Arca: anchor the multilingual path to English translations and choose which of them to trust."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from .configuration_lira import LiraConfig

NEUTRAL_SCORE = 5.5
"""Middle of the critics' [1, 10] scale; what a missing (NaN) score counts as."""
SCORE_HALF_RANGE = 4.5
NUM_CRITICS = 3
"""Aspects a translation critic scores: semantic, emotional, pragmatic."""
NUM_FEATURES = NUM_CRITICS + 2
"""What is known of a candidate: the critics' scores, its similarity to the text, its agreement with the others."""
NUM_QUALITIES = NUM_CRITICS + 4
"""What is known of a text's translation as a whole, see `translation_quality`."""
QUALITY_SCALES = (1.0, 1.0, 1.0, 8.0, 8.0, 4.0, 1.0)
"""What the qualities are multiplied by. Scores spread over [-1, 1], cosines over a part of that only."""
QUALITY_CENTRES = (0.0, 0.0, 0.0, 1.5, 0.3, 3.5, 0.6)
"""What is then taken off, about halfway between good translations and strangers'. Without it all weights of the gate
move together: it closes, or opens, for every translation alike before it tells them apart."""
SHARPNESS = 3.0
"""What the policy's logits are multiplied by: one good candidate among strangers' is then nearly alone in the mean."""


def temporal_pool(hidden_states: Tensor, attention_mask: Tensor, num_bins: int, pooling: str = "mean") -> Tensor:
    """Average the real tokens of each text into `num_bins` equal stretches of its length.

    A stretch may cover a fraction of a token, so the mean over bins is exactly the mean over tokens, a text shorter
    than `num_bins` repeats its tokens, and padding (left, right or inside) never leaks in.

    Parameters
    ----------
    hidden_states : Tensor, [..., L, H]
    attention_mask : Tensor, [..., L], true or 1 where a token is real
    num_bins : int
        S.
    pooling : str
        What the mean over bins is: that of the tokens, or what else of `POOLINGS` the encoder was trained for, to which
        all bins are moved.

    Returns
    -------
    Tensor, [..., S, H]
        Of the states' dtype, the sums in float32 at least; zeros for a text without tokens.

    Source: paper, Arca (temporal average pooling), with METHOD.md's fractional bins.
    """
    real = attention_mask.bool()
    length = real.sum(-1)[..., None, None].float()  # [..., 1, 1]
    start = (real.cumsum(-1) - 1).float()[..., None, :]  # [..., 1, L], index among the real tokens
    if num_bins == 1:
        overlap = real[..., None, :].float()  # [..., 1, L]: the one stretch has every token whole
    else:
        bins = torch.arange(num_bins, device=hidden_states.device).float()[:, None]  # [S, 1]
        lower = torch.maximum(start, bins * length / num_bins)
        upper = torch.minimum(start + 1, (bins + 1) * length / num_bins)
        overlap = (upper - lower).clamp_min(0) * real[..., None, :]  # [..., S, L], tokens
    weights = overlap * (num_bins / length.clamp_min(1))
    # A weight of zero does not silence NaN or infinity, which some encoders leave in padding.
    states = hidden_states.masked_fill(~real[..., None], 0.0)
    exact = torch.promote_types(states.dtype, torch.float32)
    pooled = weights.to(exact) @ states.to(exact)
    if pooling != "mean":
        count = {"cls": start == 0, "lasttoken": start == length - 1, "weightedmean": start + 1}[pooling]
        share = count * real[..., None, :]  # [..., 1, L]
        share = share / share.sum(-1, keepdim=True).clamp_min(1)
        pooled = pooled + share.to(exact) @ states.to(exact) - pooled.mean(-2, keepdim=True)
    return pooled.to(states.dtype)


class Projection(nn.Module):
    """Centre a backbone's stream and bring it to the shared width.

    Source: paper, Arca (input projection); METHOD.md, Arca 2 for the centring and the start.
    """

    centre: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(out_features, in_features))
        self.register_buffer("centre", torch.zeros(in_features))

    def forward(self, states: Tensor) -> Tensor:
        """Map states [..., in] to [..., out]."""
        return F.linear(states.to(self.weight.dtype) - self.centre, self.weight)

    def reset_parameters(self) -> None:
        """Start as the identity, uncentred."""
        init.eye_(self.weight)
        init.zeros_(self.centre)

    @torch.no_grad()
    def start_from(self, weight: Tensor, centre: Tensor) -> None:
        """Start from a fitted map: `weight` [out, in] and the mean `centre` [in] of the stream."""
        self.weight.copy_(weight)
        self.centre.copy_(centre)


class ZeroLinear(nn.Linear):
    """A linear layer that starts by giving the same constant whatever its input.

    Source: residual branches that begin with no effect.
    """

    def __init__(self, in_features: int, out_features: int, constant: float = 0.0) -> None:
        super().__init__(in_features, out_features)
        self.constant = constant

    def reset_parameters(self) -> None:
        """Start with zero weights and the constant as bias."""
        init.zeros_(self.weight)
        init.constant_(self.bias, getattr(self, "constant", 0.0))


class Adaptor(nn.Module):
    """Adapt both paths with the same residual bottleneck; the identity before training.

    Source: paper, Arca (shared adaptor), here in residual form.
    """

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.down = nn.Linear(hidden_size, inner_size)
        self.up = ZeroLinear(inner_size, hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """Map states [..., d] to [..., d]."""
        return states + self.up(F.gelu(self.down(self.norm(states))))


class CriticMap(nn.Linear):
    """Bring the English encoder's sentence vectors to the multilingual encoder's, for the embedding critic alone.

    The critic has a map of its own, on frozen vectors, so that what it says of a translation does not change while the
    two paths learn to search.

    Source: METHOD.md, Arca 3.
    """

    def __init__(self, english_size: int, multilingual_size: int) -> None:
        super().__init__(english_size, multilingual_size, bias=False)

    def reset_parameters(self) -> None:
        """Start as the identity."""
        init.eye_(self.weight)


class EmbeddingCritic(nn.Module):
    """Score each candidate by how close its embedding is to the source text's.

    Source: paper, Arca (embedding critic).
    """

    def forward(self, multilingual_embedding: Tensor, candidate_embeddings: Tensor) -> Tensor:
        """Return cosines [B, K] of unit vectors [B, d] and [B, K, d]."""
        return torch.einsum("bd,bkd->bk", multilingual_embedding, candidate_embeddings)


class Actor(nn.Module):
    """Choose a translation: a policy over candidates from what the critics say, whatever their order.

    A shared network sees each candidate's features together with the mean over the present candidates, which makes the
    policy permutation-equivariant. The start is a plain preference for what the critics like.

    Source: paper, Arca (actor); METHOD.md, Arca for the set network.
    """

    def __init__(self, inner_size: int) -> None:
        super().__init__()
        self.encode = nn.Linear(NUM_FEATURES, inner_size)
        self.mix = nn.Linear(2 * inner_size, inner_size)
        self.score = ZeroLinear(inner_size, 1)
        self.preference = nn.Parameter(torch.zeros(NUM_FEATURES))

    def forward(self, features: Tensor, candidate_mask: Tensor) -> Tensor:
        """Return policy logits [B, K] for features [B, K, 5]; missing candidates get the lowest number there is."""
        encoded = F.gelu(self.encode(features))  # [B, K, A]
        present = candidate_mask[..., None].to(encoded.dtype)
        context = (encoded * present).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp_min(1)  # [B, 1, A]
        mixed = F.gelu(self.mix(torch.cat([encoded, context.expand_as(encoded)], -1)))
        logits = SHARPNESS * (self.score(mixed).squeeze(-1) + features @ self.preference)  # [B, K]
        return logits.masked_fill(~candidate_mask, torch.finfo(logits.dtype).min)

    def reset_parameters(self) -> None:
        """Start as a plain preference for a high semantic score and similarity, whatever the other candidates are."""
        # Of [semantic, emotional, pragmatic, similarity, agreement]. Scores spread over [-1, 1] while the cosines of
        # candidates of one text lie close together: ten to one lets either decide. Emotion and tone are often not
        # scored at all.
        init.copy_(self.preference, torch.tensor([1.0, 0.0, 0.0, 10.0, 0.0]))


def critic_features(
    critic_scores: Tensor, similarities: Tensor, candidate_embeddings: Tensor, candidate_mask: Tensor
) -> Tensor:
    """Join what is known of each candidate [B, K, 5]; a missing (NaN) score becomes neutral, 0.

    Parameters
    ----------
    critic_scores : Tensor, [B, K, 3], in [1, 10] or NaN
    similarities : Tensor, [B, K], in [-1, 1]; detached, so that the actor never bends the space to its liking
    candidate_embeddings : Tensor, [B, K, d], unit norm; detached
        A candidate's agreement is its mean cosine with the other candidates, 0 where there are none.
    candidate_mask : Tensor, [B, K]

    Source: paper, Arca (c_k), which neither scales to [-1, 1] nor knows missing scores; METHOD.md, Arca for the
    agreement.
    """
    scaled = torch.nan_to_num((critic_scores - NEUTRAL_SCORE) / SCORE_HALF_RANGE, nan=0.0)
    present = candidate_mask.to(similarities.dtype)
    embeddings = candidate_embeddings.detach() * present[..., None]
    others = present.sum(1, keepdim=True) - present  # [B, K]
    total = torch.einsum("bkd,bd->bk", embeddings, embeddings.sum(1)) - present
    agreement = total / others.clamp_min(1) * (others > 0)
    return torch.cat(
        [scaled.to(similarities.dtype), similarities.detach()[..., None], (agreement * present)[..., None]], -1
    )


def translation_quality(features: Tensor, policy: Tensor, embeddings: Tensor, mask: Tensor) -> Tensor:
    """Return what is known of a text's translation as a whole, [B, 7]: numbers that speak of quality, not of content.

    They are the critics' scores and the similarity as the policy weighs them, by how much that similarity is above
    the candidates' mean, how far those agree that the policy chooses (the norm of the mean of their unit embeddings, as
    it weighs them), and the number of candidates divided by 4.

    Parameters
    ----------
    features : Tensor, [B, K, 5]
    policy : Tensor, [B, K], probabilities
    embeddings : Tensor, [B, K, d], unit norm
    mask : Tensor, [B, K]

    Source: METHOD.md, LaSR 2.
    """
    present = mask.to(features.dtype)
    count = present.sum(1, keepdim=True)  # [B, 1]
    even = present / count.clamp_min(1)
    weighted = torch.einsum("bk,bkf->bf", policy, features)[:, : NUM_CRITICS + 1]
    lead = weighted[:, NUM_CRITICS:] - (even * features[..., NUM_CRITICS]).sum(1, keepdim=True)
    agreement = torch.einsum("bk,bkd->bd", policy, embeddings).norm(dim=-1, keepdim=True)
    quality = torch.cat([weighted, lead, agreement, count / 4], -1).detach()
    return quality * quality.new_tensor(QUALITY_SCALES) - quality.new_tensor(QUALITY_CENTRES)


@dataclass
class ArcaOutput:
    """What Arca hands to LaSR and to the losses.

    `multilingual_stream` [B, S, d]; `english_stream` [B, S, d] of the selected candidate; `multilingual_embedding`
    [B, d]; `english_embedding` [B, d], the candidates' mean as the policy weighs them; `candidate_embeddings`
    [B, K, d]; `similarities` [B, K]; `policy_logits` [B, K]; `quality` [B, 7] of the translation; `selected` [B];
    `has_english` [B]. Where a text has no candidate, the English embedding is the multilingual one and `selected` is
    -1.
    """

    multilingual_stream: Tensor
    english_stream: Tensor
    multilingual_embedding: Tensor
    english_embedding: Tensor
    candidate_embeddings: Tensor
    similarities: Tensor
    policy_logits: Tensor
    quality: Tensor
    selected: Tensor
    has_english: Tensor


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Take `values[b, index[b]]` for each b: [B, K, ...] and [B] to [B, ...]."""
    return values[torch.arange(index.shape[0], device=values.device), index]


class Arca(nn.Module):
    """Anchored Representation Composition Architecture: both paths in one space, and the translation to trust.

    Source: paper, Arca.
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        self.multilingual_projection = Projection(config.backbone("multilingual").hidden_size, config.width)
        self.english_projection = Projection(config.backbone("english").hidden_size, config.width)
        self.adaptor = Adaptor(config.width, config.adaptor_size)
        self.critic_map = CriticMap(config.backbone("english").hidden_size, config.backbone("multilingual").hidden_size)
        self.embedding_critic = EmbeddingCritic()
        self.actor = Actor(config.actor_size)

    def multilingual(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Adapt multilingual states [B, S, dg]; return the stream U_lr [B, S, d] and its unit embedding [B, d]."""
        return self._adapt(self.multilingual_projection(states))

    def english(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Adapt English states [B, K, S, dh]; return the streams U_en [B, K, S, d] and unit embeddings [B, K, d]."""
        return self._adapt(self.english_projection(states))

    def critic_views(self, multilingual_states: Tensor, english_states: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the embedding critic compares: unit vectors of texts [..., dg] and of English ones [..., dg].

        Parameters
        ----------
        multilingual_states : Tensor, [..., S, dg]
        english_states : Tensor, [..., S, dh]
        """
        dtype = self.critic_map.weight.dtype
        text = multilingual_states.mean(-2).to(dtype) - self.multilingual_projection.centre
        english = self.critic_map(english_states.mean(-2).to(dtype) - self.english_projection.centre)
        return F.normalize(text, dim=-1), F.normalize(english, dim=-1)

    def _adapt(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        stream = self.adaptor(projected)
        return stream, F.normalize(stream.mean(-2), dim=-1)

    def forward(
        self, multilingual_states: Tensor, english_states: Tensor, candidate_mask: Tensor, critic_scores: Tensor
    ) -> ArcaOutput:
        """Adapt both paths, score the candidates and select one.

        Parameters
        ----------
        multilingual_states : Tensor, [B, S, dg]
        english_states : Tensor, [B, K, S, dh]
        candidate_mask : Tensor, [B, K], true where a candidate exists
        critic_scores : Tensor, [B, K, 3], in [1, 10], NaN where no critic spoke
        """
        stream, embedding = self.multilingual(multilingual_states)
        missing = ~candidate_mask[..., None, None]  # [B, K, 1, 1]; whatever stands there must not matter
        english_states = english_states.masked_fill(missing, 0.0)
        english_streams, candidate_embeddings = self.english(english_states)
        similarities = self.embedding_critic(*self.critic_views(multilingual_states, english_states))
        features = critic_features(critic_scores, similarities, candidate_embeddings, candidate_mask)
        logits = self.actor(features, candidate_mask)
        policy = logits.softmax(-1) * candidate_mask  # [B, K]
        english = F.normalize(torch.einsum("bk,bkd->bd", policy, candidate_embeddings), dim=-1)
        best, has_english = logits.argmax(-1), candidate_mask.any(-1)  # [B]
        present = has_english[:, None]
        return ArcaOutput(
            multilingual_stream=stream,
            english_stream=torch.where(present[..., None], pick(english_streams, best), 0.0),
            multilingual_embedding=embedding,
            english_embedding=torch.where(present, english, embedding),
            candidate_embeddings=candidate_embeddings,
            similarities=similarities,
            policy_logits=logits,
            quality=translation_quality(features, policy, candidate_embeddings, candidate_mask),
            selected=torch.where(has_english, best, -1),
            has_english=has_english,
        )
