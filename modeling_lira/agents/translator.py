"""English candidates from any causal language model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batching import digest, encode, encode_beginning, equal_batches
from .candidate import Settings
from .limits import check_limits
from .prefix import Prefix, PrefixedModel, Rows
from .prompts import LANGUAGE_NAMES, translation_template
from .sampling import gumbel_noise
from .text import check_texts, clean_candidate, distinct, harmless
from .vocabulary import OutputHead, Vocabulary, stop_tokens

Style = Literal["few-shot", "chat", "auto"]


class CausalLMTranslator:
    """Translate into English with a causal language model: one greedy candidate, the others sampled.

    Base models are shown examples, chat models are asked. A text's candidates depend on the text, its language and the
    settings only, not on the other texts of its batch: a batch has texts of equal token length, so nothing is padded,
    and each sampled candidate has its own seed. (In float32 the last bit of a matrix product may change with the number
    of rows, which can decide between two tokens of nearly equal logits; in bfloat16 no such case was measured.)

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model; bfloat16 is four times as fast as float32 on processors with AVX512-BF16.
    tokenizer : PreTrainedTokenizerBase
    name : str
        Stored with each candidate as its agent.
    num_candidates : int
        The most candidates of a text, the greedy one included. Nearly twice as many are drawn, since empty and repeated
        ones are dropped; a short text may still get fewer.
    temperature : float
        Divides the logits before sampling.
    top_k : int
        How many of the best tokens sampling chooses from.
    seed : int
        Of sampling.
    batch_size : int
        Texts a batch.
    max_new_tokens : int
        The most tokens of an answer, which is also limited in proportion to its source.
    style : "few-shot", "chat" or "auto"
        "auto": chat if the tokenizer has a chat template.
    max_source_tokens : int
        Longer texts are cut to so many tokens.

    Raises
    ------
    LiraError
        If a setting is not positive or too large.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        num_candidates: int = 4,
        temperature: float = 0.8,
        top_k: int = 40,
        seed: int = 0,
        batch_size: int = 64,
        max_new_tokens: int = 128,
        max_source_tokens: int = 256,
        style: Style = "auto",
    ) -> None:
        check_limits(num_candidates=num_candidates, temperature=temperature, top_k=top_k, batch_size=batch_size)
        check_limits(max_new_tokens=max_new_tokens, max_source_tokens=max_source_tokens, seed=seed)
        self.name = name
        self.num_draws = 2 * num_candidates - 1  # spare samples take the place of empty and repeated ones
        self.num_candidates, self.temperature, self.top_k, self.seed = num_candidates, temperature, top_k, seed
        self.batch_size, self.max_new_tokens, self.max_source_tokens = batch_size, max_new_tokens, max_source_tokens
        self.chat = style == "chat" or (style == "auto" and bool(tokenizer.chat_template))
        self._tokenizer = tokenizer
        self._model = PrefixedModel(model)
        vocabulary = Vocabulary(tokenizer)
        self._stops = stop_tokens(model, tokenizer, vocabulary).to(model.device)
        self._head = OutputHead(model, torch.cat([vocabulary.english(), self._stops.cpu()]))
        self._template = lru_cache(lambda code: translation_template(code, tokenizer, chat=self.chat))
        self._prefixes: dict[str, Prefix] = {}

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a candidate; prompts are given by their digest."""
        return {
            "name": self.name,
            "num_candidates": self.num_candidates,
            "num_draws": self.num_draws,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "seed": self.seed,
            "max_new_tokens": self.max_new_tokens,
            "max_source_tokens": self.max_source_tokens,
            "dtype": str(self._model.model.dtype),
            "vocabulary": digest(self._head.tokens.tolist()),
            "prompts": digest([[code, *astuple(self._template(code))] for code in LANGUAGE_NAMES]),
        }

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        """Yield finished batches, as `Translator.translate` says, the greedy candidate first."""
        check_texts(texts, languages)
        prompts = [self._row(text, language) for text, language in zip(texts, languages, strict=True)]
        groups = [(language, len(prompt)) for language, prompt in zip(languages, prompts, strict=True)]
        for batch in equal_batches(groups, self.batch_size):
            language, length = groups[batch[0]]
            # Stops an answer that does not end by itself; short texts get a few tokens more.
            limit = min(self.max_new_tokens, math.ceil(1.2 * length) + 8)
            noise = torch.cat([self._noise(texts[index], language, limit) for index in batch])
            ids = torch.tensor([prompts[index] for index in batch], device=self._model.device)
            answers = self._generate(self._model.open(self._prefix(language), len(batch)), ids, noise)
            yield [(index, self._candidates(drawn)) for index, drawn in zip(batch, answers, strict=True)]

    def _row(self, text: str, language: str) -> list[int]:
        """Return the token ids that follow the shared beginning of a prompt; a text that is too long is cut."""
        template = self._template(language)
        source = template.lead + harmless(text, self._tokenizer.all_special_tokens, self.max_source_tokens)
        return encode(self._tokenizer, source)[: self.max_source_tokens] + encode(self._tokenizer, template.after)

    def _prefix(self, language: str) -> Prefix:
        if language not in self._prefixes:
            before = self._template(language).before
            self._prefixes[language] = self._model.read(encode_beginning(self._tokenizer, before, chat=self.chat))
        return self._prefixes[language]

    def _noise(self, text: str, language: str, limit: int) -> Tensor:
        """Return the noise of one text's candidates, `[C, limit, k]`."""
        width = min(self.top_k, len(self._head.tokens))
        return gumbel_noise(text, language, self.seed, self.num_draws, limit, width).to(self._model.device)

    @torch.inference_mode()
    def _generate(self, rows: Rows, ids: Tensor, noise: Tensor) -> list[list[list[int]]]:
        """Draw C answers to each of the prompts `ids` `[B, n]`; return B lists of C lists of token ids.

        `noise` `[B*C, limit, k]` decides each draw. Draws of a prompt that are equal so far share a row, as most are in
        the beginning, and a draw whose answer has ended has none.
        """
        count = len(noise) // len(ids)
        answers: list[list[int]] = [[] for _ in noise]
        alive = torch.arange(len(noise), device=noise.device)  # [A], the draws that have not ended
        row = alive // count  # [A], their rows of the R that are read
        hidden = self._model.advance(rows, ids)[:, -1]  # [R, d]
        for step in range(noise.shape[1]):
            scores, tokens = self._head.top(hidden, self.top_k)  # [R, k]
            best = (scores[row] / self.temperature + noise[alive, step]).argmax(-1, keepdim=True)
            chosen = tokens[row].gather(-1, best)[:, 0]  # [A]
            going = ~torch.isin(chosen, self._stops)
            alive, row, chosen = alive[going], row[going], chosen[going]
            for draw, token in zip(alive.tolist(), chosen.tolist(), strict=True):
                answers[draw].append(token)
            if not len(alive) or step + 1 == noise.shape[1]:
                break
            different, row = torch.unique(torch.stack([row, chosen], 1), dim=0, return_inverse=True)  # [R, 2], [A]
            rows.keep(different[:, 0])
            hidden = self._model.advance(rows, different[:, 1:])[:, -1]
        return [answers[start : start + count] for start in range(0, len(answers), count)]

    def _candidates(self, answers: list[list[int]]) -> list[str]:
        decoded = (str(self._tokenizer.decode(ids, skip_special_tokens=True)) for ids in answers)
        return distinct(clean_candidate(text) for text in decoded)[: self.num_candidates]
