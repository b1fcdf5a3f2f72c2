"""What a model does with a text that has no translation, in fewer steps: a graph pays for each, whatever its size."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..lasr import FusionLayer
from ..modeling_lira import LiraModel, LiraModelOutput


class FoldedTextPath(PreTrainedModel):
    """The sentence embeddings of texts without translations, of a model that pools each text to one bin.

    Linear maps that follow one another are one map, worked out here, and what the embedding does not rest on is
    not computed. A token that is alone attends to itself, so that its attention is a linear map too.

    Parameters
    ----------
    model : LiraModel
        In evaluation mode; `num_feature_bins` is 1.
    """

    _supports_sdpa = True

    projection_bias: Tensor

    @torch.no_grad()
    def __init__(self, model: LiraModel) -> None:
        super().__init__(model.config)
        self._pooled, self.arca, self.lasr = model._pooled, model.arca, model.lasr
        self.multilingual_encoder = model.multilingual_encoder
        width, lasr, projection = model.config.width, model.lasr, model.arca.multilingual_projection
        self.projection_bias = -projection.weight @ projection.centre
        self.languages = lasr.language_embedding.weight + lasr.path_embedding.weight[0] + lasr.enter.bias
        self.attention = [_alone(layer) for layer in cast(Iterable[FusionLayer], lasr.layers)]
        residual = lasr.residual.weight[:width] / width
        self.residual = residual @ lasr.leave.weight, residual @ lasr.leave.bias + lasr.residual.bias[:width] / width

    def forward(self, input_ids: Tensor, attention_mask: Tensor, language_ids: Tensor) -> LiraModelOutput:
        """Return the unit `sentence_embedding` [B, D]."""
        pooled = self._pooled("multilingual", input_ids, attention_mask).squeeze(1)  # [B, H]
        arca, lasr = self.arca, self.lasr
        stream = arca.adaptor(F.linear(pooled, arca.multilingual_projection.weight, self.projection_bias))  # [B, d]
        states = F.linear(stream, lasr.enter.weight) + self.languages[language_ids]  # [B, f]
        for layer, attention in zip(cast(Iterable[FusionLayer], lasr.layers), self.attention, strict=True):
            states = layer.fed_forward(states + F.linear(layer.attention_norm(states), *attention))
        half = F.normalize(stream, dim=-1) + F.linear(lasr.norm(states), *self.residual)
        sentence = F.normalize(half[:, : lasr.embedding_size], dim=-1)
        return LiraModelOutput(sentence_embedding=F.pad(sentence, (0, lasr.embedding_size - sentence.shape[1])))


def _alone(layer: FusionLayer) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the attention of a token that is alone."""
    value, bias = (part.chunk(3)[2] for part in (layer.query_key_value.weight, layer.query_key_value.bias))
    output = layer.attention_output
    return output.weight @ value, output.weight @ bias + output.bias
