"""Log-likelihoods of a translation given its source, or of a source given its translation, by a causal model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import encode, encode_beginning, equal_batches, padded_length
from .prefix import Prefix, PrefixedModel
from .prompts import LABEL, few_shot, language_name
from .text import harmless
from .vocabulary import OutputHead, Vocabulary

NOTHING = "..."
"""The condition of a target whose likelihood is wanted without a condition."""


@dataclass(frozen=True)
class Row:
    """A wanted log p(target | condition): `to_english` if the target is in English, else the condition is."""

    language: str
    condition: str
    target: str
    to_english: bool


@dataclass(frozen=True)
class Part:
    """The token ids of a row: of the condition with the label of what follows, and of the target."""

    before: tuple[int, ...]
    target: tuple[int, ...]


class LikelihoodModel:
    """Compute likelihoods with a causal model whose prompt begins with few-shot translations.

    The examples of a language and direction are read once and shared by all rows.

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
        """Return the sum of log p over the tokens of each row's target, in nats, and the number of those tokens.

        Parameters
        ----------
        rows : sequence of Row

        Returns
        -------
        list of (float, int), in the order of `rows`.
        """
        parts = [Part(self._condition(row), self._target(row.target)) for row in rows]
        groups = [
            ((row.language, row.to_english, len(part.before)), padded_length(len(part.target)))
            for row, part in zip(rows, parts, strict=True)
        ]
        sums = [0.0] * len(rows)
        for batch in equal_batches(groups, self.batch_size):
            (language, to_english, _), length = groups[batch[0]]
            sums_of_batch = self._batch([parts[index] for index in batch], length, language, to_english)
            for index, value in zip(batch, sums_of_batch.tolist(), strict=True):
                sums[index] = value
        return [(value, len(part.target)) for value, part in zip(sums, parts, strict=True)]

    @torch.inference_mode()
    def _batch(self, parts: list[Part], length: int, language: str, to_english: bool) -> Tensor:
        """Return the sums of one batch, float32 `[R]`; conditions are of one length, targets padded to `length`."""
        device = self._model.device
        # A condition that several targets share is read once: U conditions of R rows.
        positions = {before: index for index, before in enumerate(dict.fromkeys(part.before for part in parts))}
        condition = torch.tensor([positions[part.before] for part in parts], device=device)  # [R], in 0 ... U - 1
        ids = torch.tensor([part.target + (0,) * (length - len(part.target)) for part in parts], device=device)
        scored = torch.arange(length) < torch.tensor([len(part.target) for part in parts])[:, None]  # [R, t]
        scored = scored.to(device)
        state = self._model.open(self._prefix(language, to_english), len(positions))
        last = self._model.advance(state, torch.tensor(list(positions), device=device))[:, -1:]  # [U, 1, d]
        state.keep(condition)
        # The state before a token predicts it: the condition's last one the first, the target's the others.
        hidden = torch.cat([last[condition], self._model.advance(state, ids[:, :-1])], 1)[scored]  # [T, d]
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
