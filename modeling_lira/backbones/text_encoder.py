"""One vector for each text by a pretrained encoder alone, used as its own files say."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize
from tqdm import tqdm

from ..frozen_backbone import FrozenBackbone
from .own_settings import pooling_of, prompts_of
from .resolution import PREFIX, resolve


class TextEncoder:
    """A pretrained encoder with its own prompts, pooled as its own files say, by mean where they do not.

    Parameters
    ----------
    name : str
        Hub id, folder or `pypi:` name.
    revision : str, optional
        Of a Hub id.
    dtype : torch.dtype
    batch_size : int
        Texts encoded at once.
    max_tokens : int
        Longer texts are cut.

    Raises
    ------
    LiraError
        If the name is unknown or the folder holds no encoder.
    """

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 64,
        max_tokens: int = 128,
    ) -> None:
        self.batch_size, self.max_tokens = batch_size, max_tokens
        source = FrozenBackbone(name if name.startswith(PREFIX) else resolve(name, revision))
        self._model, self._tokenizer = source.load_encoder(dtype), source.load_tokenizer(max_tokens)
        self._pooling = pooling_of(source)
        self.query_prompt, self.document_prompt = prompts_of(FrozenBackbone(name))

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], title: str = "") -> np.ndarray:
        """Return unit vectors, float32 [N, d]; texts of like length share a batch. A title shows a progress bar."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors: list[np.ndarray] = [np.empty(0)] * len(texts)
        starts = range(0, len(texts), self.batch_size)
        for start in tqdm(starts, desc=title, unit="batch", disable=None if title else True):
            rows = order[start : start + self.batch_size]
            batch = self._tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
            )
            states = self._model(**batch).last_hidden_state  # [B, L, d]
            pooled = normalize(pool(states, batch["attention_mask"], self._pooling).float(), dim=-1)  # [B, d]
            for row, vector in zip(rows, pooled.numpy(), strict=True):
                vectors[row] = vector
        return np.stack(vectors)


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return one vector a text [B, d] of states [B, L, d], up to its length; padding may stand on either side."""
    if pooling == "mean":
        return (states * mask.unsqueeze(-1)).sum(1)
    positions = torch.arange(mask.shape[1]) * mask  # [B, L]
    chosen = mask.argmax(1) if pooling == "cls" else positions.argmax(1)
    return states[torch.arange(len(states)), chosen]
