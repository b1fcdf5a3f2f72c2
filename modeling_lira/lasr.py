"""LaSR: fuse the multilingual and the English path into one embedding, knowing the language."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .arca import NUM_QUALITIES, ZeroLinear
from .configuration_lira import ENGLISH, LiraConfig


@dataclass
class LasrOutput:
    """Fused result of both paths.

    `sentence_embedding` [B, D] (unit norm), `fused_states` [B, 2S, d], `fused_mask` [B, 2S], `english_weight` [B], the
    share of a right angle at which a text stands: 0 is the multilingual path alone, 1 the English one.
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
        return self.fed_forward(states + self.attention_output(self._attend(self.attention_norm(states), mask)))

    def fed_forward(self, states: Tensor) -> Tensor:
        """Map what was attended [..., f] to [..., f]."""
        return states + self.feed_forward_out(F.gelu(self.feed_forward_in(self.feed_forward_norm(states))))

    def _attend(self, states: Tensor, mask: Tensor | None) -> Tensor:
        batch, tokens, width = states.shape
        count = self.config.num_attention_heads
        assert count is not None  # filled in by the config
        if tokens == 1 and mask is None:  # a token that attends to itself alone gets its value
            return F.linear(states, self.query_key_value.weight[2 * width :], self.query_key_value.bias[2 * width :])
        heads = self.query_key_value(states).view(batch, tokens, 3, count, width // count)  # no -1: B may be 0
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
    """Say how far a translation can be trusted, from what speaks of its quality; starts at one share for all.

    Source: METHOD.md, LaSR 2: a bad translation must cost nothing, a good one must pay.
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(NUM_QUALITIES, config.actor_size)
        start = config.english_weight_init
        self.output = ZeroLinear(config.actor_size, 1, constant=math.log(start / (1 - start)))

    def forward(self, quality: Tensor) -> Tensor:
        """Return the share of a right angle, [B] in (0, 1), for the qualities [B, 7] of translations."""
        return torch.sigmoid(self.output(F.gelu(self.hidden(quality)))).squeeze(-1)


class LaSR(nn.Module):
    """Language-coupled Semantic Reasoner: fuses both paths by a light Transformer and weighs the English one by a gate.

    The sentence embedding is [cos t E_lr; sin t E_en], each half plus its part of the mean of the Transformer's output.
    The angle t of a query is a right angle times what the gate says, from nothing to everything, and 0 without a
    translation; a text told to be English, such as a title, stands at 45 degrees, so that the query alone decides how
    much the English half counts. The
    2S fused tokens are the streams [U_lr; U_en] plus the Transformer's output itself. That output is divided by the
    width, since an optimizer moves every weight by about its learning rate, and d of them would soon outweigh both
    paths. Its part in the embedding starts at zero, so that an untrained model ranks as its backbones do.

    Source: paper, LaSR; METHOD.md, LaSR for the gate and the residual form.
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        self.embedding_size = config.embedding_size
        languages = config.languages or []
        self.english_id = languages.index(ENGLISH) + 1 if ENGLISH in languages else -1
        self.enter = nn.Linear(config.width, config.fusion_size)
        self.path_embedding = nn.Embedding(2, config.fusion_size)
        self.language_embedding = nn.Embedding(config.num_languages + 1, config.fusion_size)
        self.layers = nn.ModuleList(FusionLayer(config) for _ in range(config.num_fusion_layers))
        self.norm = nn.LayerNorm(config.fusion_size)
        self.leave = nn.Linear(config.fusion_size, config.width)
        self.gate = QualityGate(config)
        self.residual = ZeroLinear(config.width, 2 * config.width)

    def forward(
        self,
        multilingual_stream: Tensor,
        english_stream: Tensor,
        multilingual_embedding: Tensor,
        english_embedding: Tensor,
        quality: Tensor,
        has_english: Tensor,
        language_ids: Tensor,
    ) -> LasrOutput:
        """Fuse both paths.

        Parameters
        ----------
        multilingual_stream : Tensor, [B, S, d]
        english_stream : Tensor, [B, S, d]
        multilingual_embedding, english_embedding : Tensor, [B, d], unit norm
        quality : Tensor, [B, 7]
            What is known of the translation.
        has_english : Tensor, [B], bool
        language_ids : Tensor, [B], 0 where the language is not told
        """
        dtype = self.residual.weight.dtype
        embeddings = torch.stack([multilingual_embedding, english_embedding], 1).to(dtype)  # [B, 2, d]
        multilingual_stream, english_stream = multilingual_stream.to(dtype), english_stream.to(dtype)
        states, mask = self._fuse(multilingual_stream, english_stream, has_english, language_ids)
        present = mask[..., None].to(dtype)
        pooled = (states * present).sum(1) / present.sum(1)  # [B, d]
        weight = self._english_weight(quality.to(dtype), has_english, language_ids)  # [B]
        angle = weight.float() * (math.pi / 2)
        # Divided by the width: a step of the optimizer moves a sum of d weights d times as far as one of them.
        halves = embeddings + (self.residual(pooled) / pooled.shape[-1]).view_as(embeddings)
        whole = (halves * torch.stack([angle.cos(), angle.sin()], 1)[..., None]).flatten(1)  # [B, 2d]
        fused = torch.cat([multilingual_stream, english_stream], 1) + states / states.shape[-1]  # [B, 2S, d]
        return LasrOutput(self._sentence(whole), fused * mask[..., None], mask, weight)

    def without_translation(
        self, multilingual_stream: Tensor, multilingual_embedding: Tensor, language_ids: Tensor
    ) -> LasrOutput:
        """Give what `forward` gives for texts without a translation, without the work for the English half.

        Parameters
        ----------
        multilingual_stream : Tensor, [B, S, d]
        multilingual_embedding : Tensor, [B, d], unit norm
        language_ids : Tensor, [B]
        """
        dtype, width = self.residual.weight.dtype, multilingual_stream.shape[-1]
        stream = multilingual_stream.to(dtype)
        states = self._reason(self._enter(stream, 0, language_ids), None)  # [B, S, d]
        residual = F.linear(states.mean(1), self.residual.weight[:width], self.residual.bias[:width])
        half = multilingual_embedding.to(dtype) + residual / width
        fused = F.pad(stream + states / width, (0, 0, 0, stream.shape[1]))  # [B, 2S, d]
        present = torch.ones(stream.shape[:2], dtype=torch.bool, device=stream.device)
        mask = F.pad(present, (0, stream.shape[1]))
        return LasrOutput(self._sentence(F.pad(half, (0, width))), fused, mask, half.new_zeros(half.shape[0]))

    def _sentence(self, whole: Tensor) -> Tensor:
        """Return the embedding [B, D] of both halves [B, 2d]."""
        return F.normalize(whole[:, : self.embedding_size].float(), dim=-1)

    def _english_weight(self, quality: Tensor, has_english: Tensor, language_ids: Tensor) -> Tensor:
        """Return the share of a right angle at which each text stands, [B]."""
        gated = torch.where(language_ids == self.english_id, 0.5, self.gate(quality))
        return torch.where(has_english, gated, 0.0)

    def _fuse(
        self, multilingual: Tensor, english: Tensor, has_english: Tensor, language_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        paths = [self._enter(stream, path, language_ids) for path, stream in enumerate((multilingual, english))]
        attends = torch.ones_like(has_english)
        mask = torch.stack([attends, has_english], 1).repeat_interleave(multilingual.shape[1], 1)  # [B, 2S]
        return self._reason(torch.cat(paths, 1), mask), mask

    def _enter(self, stream: Tensor, path: int, language_ids: Tensor) -> Tensor:
        """Return the tokens [B, S, f] of a path's stream [B, S, d]."""
        return self.enter(stream) + self.path_embedding.weight[path] + self.language_embedding(language_ids)[:, None]

    def _reason(self, states: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layers:
            states = layer(states, mask)
        return self.leave(self.norm(states))  # [B, T, d]
