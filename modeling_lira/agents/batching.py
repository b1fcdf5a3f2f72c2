"""Batches whose rows have the same length, and stable digests."""

import hashlib
import json
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def digest(*parts: object) -> str:
    """Return 32 hexadecimal digits that name a JSON value, the same in every process and on every machine."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Tokenize a piece of a prompt, adding nothing."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_beginning(tokenizer: "PreTrainedTokenizerBase", text: str, *, chat: bool) -> list[int]:
    """Tokenize a prompt's beginning; a rendered chat brings its own first token, any other text needs it."""
    ids = encode(tokenizer, text)
    return ids if chat or tokenizer.bos_token_id is None else [tokenizer.bos_token_id, *ids]


def equal_batches(groups: Sequence[tuple[Hashable, int]], size: int) -> Iterator[list[int]]:
    """Yield batches of indices whose (group, length) agree, a group at a time, the longest first.

    Equal lengths make padding, masks and their rounding unnecessary; the longest first shows at once whether a batch
    fits into memory, and makes the time left an over-estimate.

    Parameters
    ----------
    groups : sequence of (hashable, int)
        Each item's group, such as its language, and its length.
    size : int
        The most items in a batch.
    """
    members: dict[Hashable, dict[int, list[int]]] = {}
    for index, (group, length) in enumerate(groups):
        members.setdefault(group, {}).setdefault(length, []).append(index)
    for lengths in members.values():
        for length in sorted(lengths, reverse=True):
            items = lengths[length]
            yield from (items[start : start + size] for start in range(0, len(items), size))
