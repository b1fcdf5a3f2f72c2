"""Read the common beginning of prompts once, and let every row of every batch attend to that one copy.

Few-shot prompts share all but their last line. Copying the beginning's keys and values for every row, and again at
every new token, was measured as 90% of a decoding step (gemma-3-270m, 256 rows, one core); sharing it leaves only
matrix products. Rows of one batch have the same length or are padded on the right, so no padding mask is needed, and
a row's result does not depend on its neighbours.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, DynamicCache, PreTrainedModel

from ..errors import LiraError

logger = logging.getLogger(__name__)

ATTENTION = "lira_shared_prefix"
KeyValue = tuple[Tensor, Tensor]


class Attention(Protocol):
    """The one attribute of an attention layer that is used here: its number, counted from 0."""

    layer_idx: int


@dataclass(frozen=True)
class Prefix:
    """A prompt's beginning that was read: its length P in tokens, and each layer's keys and values `[1, H, P, D]`."""

    length: int
    layers: tuple[KeyValue, ...]


def shared_prefix_attention(
    module: Attention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    prefix: Prefix | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attend to the shared prefix and, causally, to the row's own tokens, under one softmax.

    The signature is the one that transformers' `AttentionInterface` calls; `attention_mask` is not used, since rows
    have no padding on the left.

    Parameters
    ----------
    query : Tensor, `[R, Hq, q, D]`
    key, value : Tensor, `[R, Hkv, n, D]`, the row's own tokens, the last q of them the queries'
    prefix : Prefix, optional
        Without it, plain causal attention.

    Returns
    -------
    tuple
        Tensor `[R, q, Hq, D]`, and None for the weights.
    """
    rows, heads, queries, width = query.shape
    row_length = key.shape[-2]
    query = query.reshape(rows, key.shape[1], -1, width)  # [R, Hkv, G*q, D], G query heads a key head
    scores = (query @ key.transpose(-1, -2)).float()  # [R, Hkv, G*q, n]
    if prefix is not None:
        keys, values = prefix.layers[module.layer_idx]
        scores = torch.cat([_over_rows(query, keys.transpose(-1, -2)).float(), scores], -1)  # [R, Hkv, G*q, P+n]
    scores = scores * (width**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = _mask(scores, queries, sliding_window)
    weights = scores.softmax(-1).to(value.dtype)
    output = weights[..., -row_length:] @ value
    if prefix is not None:
        output = output + _over_rows(weights[..., :-row_length], values)
    return output.reshape(rows, heads, queries, -1).transpose(1, 2).contiguous(), None


def _mask(scores: Tensor, queries: int, window: int | None) -> Tensor:
    """Hide what comes later than a query or lies outside its window; `scores` is `[R, Hkv, G*q, P+n]`."""
    total = scores.shape[-1]
    if queries == 1 and (window is None or total <= window):
        return scores
    seen = torch.arange(total, device=scores.device)
    distance = seen[-queries:, None] - seen  # [q, P+n]
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    split = scores.view(*scores.shape[:2], -1, queries, total)
    return split.masked_fill(hidden, float("-inf")).view(scores.shape)


def _over_rows(rows: Tensor, shared: Tensor) -> Tensor:
    """Multiply `[R, H, m, a]` by one `[1, H, a, b]` as H large products, not as R*H small ones."""
    count, heads, lines, width = rows.shape
    flat = rows.transpose(0, 1).reshape(heads, count * lines, width)
    return torch.bmm(flat, shared[0]).view(heads, count, lines, -1).transpose(0, 1)


AttentionInterface.register(ATTENTION, shared_prefix_attention)


def _key_value(layer: object) -> KeyValue:
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is None or values is None:
        raise LiraError(
            f"a cache layer of type {type(layer).__name__} cannot be shared: use a model with attention only"
        )
    return keys, values


class Rows:
    """The state of one batch that is being read: the prefix that its rows share, and their own keys and values."""

    def __init__(self, prefix: Prefix, cache: DynamicCache) -> None:
        self.prefix = prefix
        self.cache = cache
        self.length = 0

    def keep(self, rows: Tensor) -> None:
        """Replace the rows by those at the int64 positions `rows`; a row may be left out or repeated."""
        self.cache.batch_select_indices(rows)


class PrefixedModel:
    """A frozen causal model that reads the beginning that prompts share only once.

    Whether shared attention gives the model's own results is measured once, on random tokens. For a model of which it
    does not (an unusual attention or cache), the prefix is copied for every row: slower, with the same results.

    Parameters
    ----------
    model : PreTrainedModel
        Any causal language model; it is put into evaluation mode.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval()
        self.decoder = model.get_decoder()
        self.device = model.device
        self.shared = False
        self.shared = self._sharing_agrees()
        if not self.shared:
            logger.warning("%s cannot share a prompt's beginning; decoding will be slower", type(model).__name__)

    @property
    def room(self) -> int | None:
        """The most tokens of prompt and answer together that the model has positions for; None if there is no limit."""
        return getattr(self.decoder.config, "max_position_embeddings", None)

    @torch.inference_mode()
    def read(self, ids: list[int]) -> Prefix:
        """Read a prompt's beginning, given as token ids.

        Raises
        ------
        LiraError
            If a layer of the model keeps no keys and values.
        """
        cache = self._new_cache()
        rows = Rows(Prefix(0, ()), cache)
        self.advance(rows, torch.tensor([ids], device=self.device))
        return Prefix(len(ids), tuple(_key_value(layer) for layer in cache.layers))

    def open(self, prefix: Prefix, count: int) -> Rows:
        """Start `count` rows that have read `prefix` and nothing else."""
        cache = self._new_cache()
        if not self.shared:
            for index, (keys, values) in enumerate(prefix.layers):
                cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), index)
        return Rows(prefix, cache)

    @torch.inference_mode()
    def advance(self, rows: Rows, ids: Tensor) -> Tensor:
        """Read the next q tokens of every row.

        Parameters
        ----------
        rows : Rows
            Changed in place.
        ids : Tensor, int64 `[R, q]`

        Returns
        -------
        Tensor, `[R, q, d]`, the last hidden states.
        """
        start = rows.prefix.length + rows.length
        positions = torch.arange(start, start + ids.shape[1], device=self.device)[None]
        shared = {"prefix": rows.prefix if rows.prefix.length else None} if self.shared else {}
        with self._attention():
            output = self.decoder(
                input_ids=ids, position_ids=positions, past_key_values=rows.cache, use_cache=True, **shared
            )
        rows.length += ids.shape[1]
        return output.last_hidden_state

    def _new_cache(self) -> DynamicCache:
        return DynamicCache() if self.shared else DynamicCache(config=self.decoder.config)

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Use the shared attention within the context; the caller's model is as before afterwards."""
        config = self.decoder.config
        before = config._attn_implementation
        if self.shared:
            config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            config._attn_implementation = before

    @torch.inference_mode()
    def _sharing_agrees(self) -> bool:
        """Return whether shared attention gives the last hidden states of the model's own forward on random tokens."""
        if not getattr(self.model, "_supports_attention_backend", False):
            return False
        generator = torch.Generator().manual_seed(0)
        vocabulary = self.decoder.get_input_embeddings().num_embeddings
        ids = torch.randint(vocabulary, (2, 12), generator=generator).to(self.device)
        ids[:, :5] = ids[0, :5]
        wanted = self.decoder(input_ids=ids, use_cache=False).last_hidden_state[:, 5:]
        self.shared = True
        rows = self.open(self.read(ids[0, :5].tolist()), 2)
        got = torch.cat([self.advance(rows, ids[:, 5:9]), self.advance(rows, ids[:, 9:])], 1)
        # Not exactly equal, since rounding depends on the order of additions, visibly so in bfloat16.
        return bool(functional.cosine_similarity(got.float(), wanted.float(), dim=-1).min() > 0.99)
