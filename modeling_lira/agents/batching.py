"""Batches of rows of equal length, tokenized pieces of prompts, and digests that no process changes."""

import hashlib
import json
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PADDING_STEP = 4
"""Tokens. A row's padded length depends on the row alone, as its result must, and more rows have equal lengths."""


def digest(*parts: object) -> str:
    """Return a digest of JSON values: 32 hexadecimal digits, the same in every process and on every machine."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Return the token ids of a piece of a prompt, without the special tokens that a tokenizer adds to a whole text."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_beginning(tokenizer: "PreTrainedTokenizerBase", text: str, *, chat: bool) -> list[int]:
    """Return the token ids of a prompt's beginning, with the tokenizer's first token (BOS) in front.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    text : str
    chat : bool
        Whether `text` is a rendered chat, which contains that first token already.
    """
    ids = encode(tokenizer, text)
    return ids if chat or tokenizer.bos_token_id is None else [tokenizer.bos_token_id, *ids]


def padded_length(length: int) -> int:
    """Return the next multiple of `PADDING_STEP`, to which a row of this length is padded."""
    return -(-length // PADDING_STEP) * PADDING_STEP


def equal_batches(groups: Sequence[tuple[Hashable, int]], size: int) -> Iterator[list[int]]:
    """Yield batches of indices whose (group, length) agree, a group at a time, the longest first.

    Rows of equal length need no padding and no mask, whose rounding would make a row's result depend on its batch. The
    longest come first, so that a batch too large for memory fails at once and the time left is never underestimated.

    Parameters
    ----------
    groups : sequence of (hashable, int)
        Each item's group, such as its language, and its length.
    size : int
        The most items in a batch.

    Yields
    ------
    list of int
        Positions in `groups`; every position is in exactly one batch.
    """
    members: dict[Hashable, dict[int, list[int]]] = {}
    for index, (group, length) in enumerate(groups):
        members.setdefault(group, {}).setdefault(length, []).append(index)
    for lengths in members.values():
        for length in sorted(lengths, reverse=True):
            items = lengths[length]
            yield from (items[start : start + size] for start in range(0, len(items), size))
