"""Log-likelihoods of one text after another, both ways between a language and English."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import encode, encode_beginning, equal_batches
from .prefix import Prefix, PrefixedModel
from .prompts import LABEL, few_shot, language_name
from .text import harmless
from .vocabulary import OutputHead, Vocabulary

# A target is padded to the next multiple of this: a length that depends on no other row, as must the result.
PADDING_STEP = 4
# Stands where the other text would: what a target is worth when nothing is known about it.
NOTHING = "..."


@dataclass(frozen=True)
class Row:
    """A question: how likely is `target` after `condition`? Into English or from it."""

    language: str
    condition: str
    target: str
    to_english: bool


@dataclass(frozen=True)
class Part:
    """A row as token ids."""

    before: tuple[int, ...]
    target: tuple[int, ...]


def _padded(length: int) -> int:
    return -(-length // PADDING_STEP) * PADDING_STEP


class LikelihoodModel:
    """Answer rows with a causal model that has read few-shot examples once a language and direction.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    batch_size : int
        Rows read at once.
    max_tokens : int
        Longer texts are cut.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int,
        max_tokens: int,
    ) -> None:
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self._tokenizer = tokenizer
        self._source = model
        self._model = PrefixedModel(model)
        self._vocabulary = Vocabulary(tokenizer)
        self._heads: dict[str, OutputHead] = {}
        self._prefixes: dict[tuple[str, bool], Prefix] = {}

    def log_likelihoods(self, rows: Sequence[Row]) -> list[tuple[float, int]]:
        """Return each row's sum of log p over the tokens of its target, and their number.

        Parameters
        ----------
        rows : sequence of Row

        Returns
        -------
        list of (float, int), in the order of `rows`.
        """
        parts = [Part(self._condition(row), self._target(row.target)) for row in rows]
        groups = [
            ((row.language, row.to_english, len(part.before)), _padded(len(part.target)))
            for row, part in zip(rows, parts, strict=True)
        ]
        sums = [0.0] * len(rows)
        for batch in equal_batches(groups, self.batch_size):
            (language, to_english, _), length = groups[batch[0]]
            found = self._batch([parts[index] for index in batch], length, language, to_english)
            for index, value in zip(batch, found.tolist(), strict=True):
                sums[index] = value
        return [(value, len(part.target)) for value, part in zip(sums, parts, strict=True)]

    @torch.inference_mode()
    def _batch(self, parts: list[Part], length: int, language: str, to_english: bool) -> Tensor:
        """Return the sums of one batch, float32 `[R]`; conditions are of one length, targets padded to `length`."""
        device = self._model.device
        place = {before: index for index, before in enumerate(dict.fromkeys(part.before for part in parts))}
        owner = torch.tensor([place[part.before] for part in parts], device=device)  # [R], of U conditions
        ids = torch.tensor([part.target + (0,) * (length - len(part.target)) for part in parts], device=device)
        scored = torch.arange(length) < torch.tensor([len(part.target) for part in parts])[:, None]  # [R, t]
        scored = scored.to(device)
        # A condition that several targets share is read once.
        state = self._model.open(self._prefix(language, to_english), len(place))
        last = self._model.advance(state, torch.tensor(list(place), device=device))[:, -1:]  # [U, 1, d]
        state.keep(owner)
        hidden = torch.cat([last[owner], self._model.advance(state, ids[:, :-1])], 1)[scored]  # [T, d]
        values = self._head("en" if to_english else language).log_probability(hidden, ids[scored])  # [T]
        rows = torch.arange(len(parts), device=device)[:, None].expand_as(scored)[scored]
        return torch.zeros(len(parts), device=device).index_add_(0, rows, values)

    def _condition(self, row: Row) -> tuple[int, ...]:
        label = LABEL if row.to_english else language_name(row.language)
        return self._target(row.condition) + tuple(encode(self._tokenizer, f"\n{label}:"))

    def _target(self, text: str) -> tuple[int, ...]:
        clean = harmless(text, self._tokenizer.all_special_tokens, self.max_tokens)
        return tuple(encode(self._tokenizer, " " + clean)[: self.max_tokens])

    def _prefix(self, language: str, to_english: bool) -> Prefix:
        key = language, to_english
        if key not in self._prefixes:
            before = few_shot(language, to_english=to_english)
            self._prefixes[key] = self._model.read(encode_beginning(self._tokenizer, before, chat=False))
        return self._prefixes[key]

    def _head(self, language: str) -> OutputHead:
        if language not in self._heads:
            self._heads[language] = OutputHead(self._source, self._vocabulary.of_language(language))
        return self._heads[language]
