"""A translator that uses an encoder-decoder: NLLB, M2M-100, mBART-50, MADLAD-400 or Opus-MT."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, cast

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from ..errors import LiraError
from .batching import equal_batches
from .candidate import Settings
from .languages import Route, routes
from .limits import check_limits
from .sampling import gumbel_noise
from .text import check_texts, clean_candidate, distinct, harmless

Decoding = Literal["sample", "beam"]
BEAMS = 4
"""The fewest beams of a search, also if fewer candidates are wanted."""


class Seq2SeqTranslator:
    """Translate into English with an encoder-decoder.

    By sampling, the first candidate is the greedy one and each of the others has its own seed. By beam search, the
    candidates are the best of one search: more likely, and more similar to each other. As with `CausalLMTranslator`, a
    batch has texts of one language and of equal token length, so nothing is padded and a text's candidates do not
    depend on the other texts of its batch.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
        Of one of the families that `languages.routes` knows.
    name : str
        Stored with each candidate as its agent.
    num_candidates : int
        The most candidates of a text. Nearly twice as many are made, since empty and repeated ones are dropped; a short
        text may still get fewer.
    decoding : "sample" or "beam"
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
    max_source_tokens : int
        Longer texts are cut to so many tokens.

    Raises
    ------
    LiraError
        If a setting is not positive or too large, or if the model's language codes are not known.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        num_candidates: int = 4,
        decoding: Decoding = "sample",
        temperature: float = 0.8,
        top_k: int = 40,
        seed: int = 0,
        batch_size: int = 64,
        max_new_tokens: int = 128,
        max_source_tokens: int = 256,
    ) -> None:
        check_limits(num_candidates=num_candidates, temperature=temperature, top_k=top_k, batch_size=batch_size)
        check_limits(max_new_tokens=max_new_tokens, max_source_tokens=max_source_tokens, seed=seed)
        self.name = name
        self.num_draws = 2 * num_candidates - 1  # spare samples take the place of empty and repeated ones
        self.num_candidates, self.decoding = num_candidates, decoding
        self.temperature, self.top_k, self.seed = temperature, top_k, seed
        self.batch_size, self.max_new_tokens, self.max_source_tokens = batch_size, max_new_tokens, max_source_tokens
        self._model, self._tokenizer = model, tokenizer
        self._generate = cast("Callable[..., Tensor]", model.generate)
        self._routes = routes(tokenizer, name)

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a candidate."""
        sampling = {"temperature": self.temperature, "top_k": self.top_k, "seed": self.seed}
        return {
            "name": self.name,
            "decoding": self.decoding,
            "num_candidates": self.num_candidates,
            "num_draws": self.num_draws,
            "max_new_tokens": self.max_new_tokens,
            "max_source_tokens": self.max_source_tokens,
            "dtype": str(self._model.dtype),
            **(sampling if self.decoding == "sample" else {}),
        }

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        """Yield finished batches, as `Translator.translate` says."""
        check_texts(texts, languages)
        self._check_languages(languages)
        rows = [self._row(text, language) for text, language in zip(texts, languages, strict=True)]
        groups = [(language, len(row)) for language, row in zip(languages, rows, strict=True)]
        for batch in equal_batches(groups, self.batch_size):
            language, length = groups[batch[0]]
            # Stops an answer that does not end by itself; short texts get a few tokens more.
            limit = min(self.max_new_tokens, math.ceil(1.5 * length) + 8)
            ids = torch.tensor([rows[index] for index in batch], device=self._model.device)  # [B, n]
            if self.decoding == "beam":
                answers = self._beam(ids, language, limit)
            else:
                answers = self._sample(ids, language, limit, [texts[index] for index in batch])
            yield [(index, self._candidates(drawn, language)) for index, drawn in zip(batch, answers, strict=True)]

    def _check_languages(self, languages: Sequence[str]) -> None:
        if unread := sorted(language for language in set(languages) if self._routes.of(language) is None):
            known = ", ".join(self._routes.named)
            raise LiraError(f"model {self.name!r} does not translate from {', '.join(unread)}, only from {known}")

    def _route(self, language: str) -> Route:
        route = self._routes.of(language)
        assert route is not None  # else `translate` has refused it
        return route

    def _row(self, text: str, language: str) -> list[int]:
        """Return the token ids of a text with its language code; a text that is too long is cut, but not its code."""
        route = self._route(language)
        if route.source is not None:
            self._tokenizer.src_lang = route.source
        source = route.before + harmless(text, self._tokenizer.all_special_tokens, self.max_source_tokens)
        return list(self._tokenizer(source, truncation=True, max_length=self.max_source_tokens)["input_ids"])

    @torch.inference_mode()
    def _beam(self, ids: Tensor, language: str, limit: int) -> Tensor:
        """Return the C best answers of a beam search for each row of `ids` `[B, n]`: `[B, C, steps]`."""
        tokens = self._generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_beams=max(BEAMS, self.num_draws),
            num_return_sequences=self.num_draws,
            do_sample=False,
            max_new_tokens=limit,
            forced_bos_token_id=self._route(language).first_token,
        )
        return tokens.view(len(ids), self.num_draws, -1)

    @torch.inference_mode()
    def _sample(self, ids: Tensor, language: str, limit: int, texts: list[str]) -> Tensor:
        """Return the greedy and the sampled answers to each row of `ids` `[B, n]`: `[B, C, steps]`."""
        width = min(self.top_k, self._model.get_output_embeddings().weight.shape[0])
        noise = [gumbel_noise(text, language, self.seed, self.num_draws, limit, width) for text in texts]
        rows = ids.repeat_interleave(self.num_draws, 0)  # [B*C, n]
        states = self._model.get_encoder()(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        # The encoder reads a text once, however many answers are drawn.
        states = states.repeat_interleave(self.num_draws, 0)  # [B*C, n, d]
        tokens = self._generate(
            rows,
            attention_mask=torch.ones_like(rows),
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            num_beams=1,
            do_sample=False,
            max_new_tokens=limit,
            forced_bos_token_id=self._route(language).first_token,
            logits_processor=LogitsProcessorList([_Noise(torch.cat(noise).to(ids.device), self.temperature)]),
        )
        return tokens.view(len(ids), self.num_draws, -1)

    def _candidates(self, answers: Tensor, language: str) -> list[str]:
        first = self._route(language).first_token
        # M2M-100 does not count its language codes among the special tokens.
        kept = [[index for index in answer if index != first] for answer in answers.tolist()]
        decoded = (str(self._tokenizer.decode(ids, skip_special_tokens=True)) for ids in kept)
        return distinct(clean_candidate(text) for text in decoded)[: self.num_candidates]


class _Noise(LogitsProcessor):
    """Turn greedy decoding into sampling by adding Gumbel noise `[R, limit, k]` to the k best logits of each row."""

    def __init__(self, noise: Tensor, temperature: float) -> None:
        self.noise, self.temperature, self.step = noise, temperature, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best, tokens = scores.float().topk(self.noise.shape[-1])  # [R, k]
        chosen = (best / self.temperature + self.noise[:, self.step]).to(scores.dtype)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens, chosen)
