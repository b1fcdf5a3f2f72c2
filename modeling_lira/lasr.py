"""LaSR: fuse the multilingual and the English path into one embedding, knowing the language."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from .arca import NUM_CRITICS, ZeroLinear
from .configuration_lira import LiraConfig


@dataclass
class LasrOutput:
    """Fused result of both paths.

    `sentence_embedding` [B, D] (unit norm), `fused_states` [B, 2S, d], `fused_mask` [B, 2S], `english_weight` [B] in
    (0, 1).
    """

    sentence_embedding: Tensor
    fused_states: Tensor
    fused_mask: Tensor
    english_weight: Tensor


class FusionLayer(GradientCheckpointingLayer):
    """One pre-norm Transformer layer over the 2S tokens of both paths.

    Source: paper, LaSR (lightweight Transformer).
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        self.config = config
        width, inner = config.fusion_size, config.fusion_intermediate_size
        assert inner is not None  # filled in by the config
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward_in = nn.Linear(width, inner)
        self.feed_forward_out = nn.Linear(inner, width)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Map states [B, T, f] to [B, T, f]; `mask` [B, T] is true where a token may be attended, None where all."""
        states = states + self.attention_output(self._attend(self.attention_norm(states), mask))
        return states + self.feed_forward_out(F.gelu(self.feed_forward_in(self.feed_forward_norm(states))))

    def _attend(self, states: Tensor, mask: Tensor | None) -> Tensor:
        batch, tokens, width = states.shape
        heads = self.query_key_value(states).view(batch, tokens, 3, self.config.num_attention_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [B, heads, T, f / heads]
        allowed = None if mask is None else mask[:, None, None, :]
        if self.config._attn_implementation == "eager":
            scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            if allowed is not None:
                scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
            attended = scores.softmax(-1) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return attended.transpose(1, 2).reshape(batch, tokens, width)


class QualityGate(nn.Module):
    """Weigh the English path by how much its translation can be trusted; starts at one weight for all.

    Source: METHOD.md, LaSR 2: a bad translation must cost nothing, a good one must pay.
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * config.width + NUM_CRITICS + 1, config.actor_size)
        start = config.english_weight_init
        self.output = ZeroLinear(config.actor_size, 1, constant=math.log(start / (1 - start)))

    def forward(self, multilingual_embedding: Tensor, english_embedding: Tensor, features: Tensor) -> Tensor:
        """Return weights [B] in (0, 1) for unit embeddings [B, d], [B, d] and the candidate's features [B, 4].

        The cosine of the two embeddings is the last of the features.
        """
        inputs = torch.cat([multilingual_embedding, english_embedding, features], -1)
        return torch.sigmoid(self.output(F.gelu(self.hidden(inputs)))).squeeze(-1)


class StandIn(nn.Linear):
    """Guess from the multilingual embedding what the English path would say; the identity before training.

    Source: METHOD.md, LaSR 3: without candidates E_en := E_lr, from which this starts.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def reset_parameters(self) -> None:
        """Start as the identity."""
        init.eye_(self.weight)
        init.zeros_(self.bias)

    def forward(self, multilingual_embedding: Tensor) -> Tensor:
        """Map unit embeddings [B, d] to unit embeddings [B, d]."""
        return F.normalize(super().forward(multilingual_embedding), dim=-1)


class LaSR(nn.Module):
    """Language-coupled Semantic Reasoner: fuses both paths by a light Transformer and weighs the English one by a gate.

    The sentence embedding is [E_lr; w E_en] plus the mean of the Transformer's output, w being the gate's weight; the
    2S fused tokens are the streams [U_lr; U_en] plus that output itself. The output is divided by the width, since an
    optimizer moves every weight by about its learning rate, and d of them would soon outweigh both paths. Its part in
    the embedding starts at zero, so that an untrained model ranks as its backbones do.

    Source: paper, LaSR; METHOD.md, LaSR for the gate and the residual form.
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        self.embedding_size = config.embedding_size
        self.enter = nn.Linear(config.width, config.fusion_size)
        self.path_embedding = nn.Embedding(2, config.fusion_size)
        self.language_embedding = nn.Embedding(config.num_languages + 1, config.fusion_size)
        self.layers = nn.ModuleList(FusionLayer(config) for _ in range(config.num_fusion_layers))
        self.norm = nn.LayerNorm(config.fusion_size)
        self.leave = nn.Linear(config.fusion_size, config.width)
        self.stand_in = StandIn(config.width)
        self.gate = QualityGate(config)
        self.residual = ZeroLinear(config.width, 2 * config.width)

    def forward(
        self,
        multilingual_stream: Tensor,
        english_stream: Tensor | None,
        multilingual_embedding: Tensor,
        english_embedding: Tensor,
        features: Tensor,
        has_english: Tensor,
        language_ids: Tensor,
    ) -> LasrOutput:
        """Fuse both paths.

        Parameters
        ----------
        multilingual_stream : Tensor, [B, S, d]
        english_stream : Tensor, [B, S, d], or None where no text of the batch has a translation
        multilingual_embedding, english_embedding : Tensor, [B, d], unit norm
        features : Tensor, [B, 4]
            What the critics say of the selected candidate.
        has_english : Tensor, [B], bool
        language_ids : Tensor, [B], 0 where the language is not told
        """
        dtype = self.residual.weight.dtype
        multilingual_embedding, features = multilingual_embedding.to(dtype), features.to(dtype)
        multilingual_stream = multilingual_stream.to(dtype)
        english_stream = None if english_stream is None else english_stream.to(dtype)
        states, mask = self._fuse(multilingual_stream, english_stream, has_english, language_ids)
        pooled = self._mean(states, mask)  # [B, d]
        guessed = self.stand_in(multilingual_embedding)
        english_embedding = torch.where(has_english[:, None], english_embedding.to(dtype), guessed)
        weight = self.gate(multilingual_embedding, english_embedding, features)  # [B]
        paths = torch.cat([multilingual_embedding, weight[:, None] * english_embedding], -1)  # [B, 2d]
        # Divided by the width: a step of the optimizer moves a sum of d weights d times as far as one of them.
        whole = paths + self.residual(pooled) / pooled.shape[-1]
        sentence = F.normalize(whole[:, : self.embedding_size].float(), dim=-1)  # [B, D]
        streams = multilingual_stream if english_stream is None else torch.cat([multilingual_stream, english_stream], 1)
        fused = streams + states / states.shape[-1]  # [B, S or 2S, d]
        return LasrOutput(sentence, *self._with_english_half(fused, mask), weight)

    def _fuse(
        self, multilingual: Tensor, english: Tensor | None, has_english: Tensor, language_ids: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        language = self.language_embedding(language_ids)[:, None]  # [B, 1, f]
        states = self.enter(multilingual) + self.path_embedding.weight[0] + language
        mask = None
        if english is not None:
            english = self.enter(english) + self.path_embedding.weight[1] + language
            states = torch.cat([states, english], 1)  # [B, 2S, f]
            attends = torch.ones_like(has_english)
            mask = torch.stack([attends, has_english], 1).repeat_interleave(multilingual.shape[1], 1)  # [B, 2S]
        for layer in self.layers:
            states = layer(states, mask)
        return self.leave(self.norm(states)), mask  # [B, S or 2S, d]

    @staticmethod
    def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return states.mean(1)
        present = mask[..., None].to(states.dtype)
        return (states * present).sum(1) / present.sum(1)

    @staticmethod
    def _with_english_half(states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if mask is None:
            mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
            return F.pad(states, (0, 0, 0, states.shape[1])), F.pad(mask, (0, mask.shape[1]))
        return states * mask[..., None], mask
