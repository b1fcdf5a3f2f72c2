"""One vector for each text by a pretrained encoder alone, used as its own files say."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize
from tqdm import tqdm

from ..arca import temporal_pool
from ..frozen_backbone import FrozenBackbone
from .own_settings import dense_of, pooling_of, prompts_of
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
        weights = FrozenBackbone(name if name.startswith(PREFIX) else resolve(name, revision))
        self._model, self._tokenizer = weights.load_encoder(dtype), weights.load_tokenizer(max_tokens)
        source = FrozenBackbone(name, revision)  # `resolve` leaves sub-folders out, and with them how to pool
        self._pooling, self._dense = pooling_of(source), dense_of(source)
        self.query_prompt, self.document_prompt = prompts_of(source)

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
            pooled = temporal_pool(states, batch["attention_mask"], 1, self._pooling)[:, 0].float()  # [B, H]
            pooled = normalize(self._dense(pooled), dim=-1)  # [B, d]
            for row, vector in zip(rows, pooled.numpy(), strict=True):
                vectors[row] = vector
        return np.stack(vectors)
