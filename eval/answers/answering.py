"""What a reasoning model makes of prompts: how likely each of several answers is, and what it answers by itself."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from modeling_lira.errors import LiraError
from modeling_lira.modeling_lira_causal_lm import LiraForCausalLM

BATCH_SIZE = 16
_ROWS = 8
"""Answers whose logits are held as float32 at a time: a vocabulary is large."""
_POINT = "\N{MODIFIER LETTER TRIANGULAR COLON}"
"""A letter, in place of a separator within a number."""
_UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]")
"""Thai, Lao, Tibetan, Burmese, Khmer, kana, Chinese: a word may end before any letter."""
Ids = Sequence[int]
Question = Callable[[Sequence[int]], dict[str, Tensor]]
"""Returns the questions at some places as `LiraForCausalLM` takes them, or nothing: the language model alone."""


def alone(places: Sequence[int]) -> dict[str, Tensor]:
    """Give no question: the language model reads its prompt and nothing else."""
    return {}


@dataclass(frozen=True)
class Likelihood:
    """Sum of the log-probabilities of an answer's tokens, and how many there are."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Log-probability a token."""
        return self.total / self.tokens


@torch.inference_mode()
def choice_likelihoods(
    model: LiraForCausalLM,
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    question: Question = alone,
    batch_size: int = BATCH_SIZE,
) -> list[list[Likelihood]]:
    """Return how likely each choice is after its prompt, a space between them.

    A prompt runs once for all of its choices, which go on from its cache; prompts of like length share a batch.

    Parameters
    ----------
    model : LiraForCausalLM
    prompts : sequence of str, Q of them
    choices : sequence of Q sequences of str
    question : callable
    batch_size : int
        Prompts at a time; results differ by rounding alone.

    Raises
    ------
    LiraError
        A prompt that leaves no room for its choices in the language model's context.
    """
    tokenizer = model.processor.tokenizer
    starts = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    ends = [
        [tokenizer(f" {choice}", add_special_tokens=False)["input_ids"] for choice in several] for several in choices
    ]
    result: list[list[Likelihood]] = [[] for _ in prompts]
    for places in _batches(starts, batch_size):
        given = question(places)
        rows = [starts[position] for position in places]
        answers = [ends[position] for position in places]
        _check_room(model, rows, max(len(ids) for several in answers for ids in several), bool(given))
        for position, likelihoods in zip(places, _likelihoods(model, rows, answers, given), strict=True):
            result[position] = likelihoods
    return result


def _likelihoods(
    model: LiraForCausalLM, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], question: dict[str, Tensor]
) -> Iterator[list[Likelihood]]:
    """Yield every answer's likelihood of one batch, a row of answers a prompt."""
    ids, mask = left_padded(model, prompts)
    output = model(ids, mask, logits_to_keep=1, use_cache=True, past_key_values=DynamicCache(), **question)
    owners = torch.tensor([row for row, several in enumerate(answers) for _ in several], device=ids.device)  # [A]
    flat = [answer for several in answers for answer in several]
    first = torch.tensor([answer[0] for answer in flat], device=ids.device)
    totals = output.logits[:, -1].float().log_softmax(-1)[owners, first]  # [A]
    if (longest := max(map(len, flat))) > 1:
        width, pad = longest - 1, model.processor.tokenizer.pad_token_id
        shown = torch.tensor(
            [[*answer[:-1], *[pad] * (longest - len(answer))] for answer in flat], device=ids.device
        )  # [A, n]
        wanted = torch.tensor([[*answer[1:], *[pad] * (longest - len(answer))] for answer in flat], device=ids.device)
        counts = torch.tensor([len(answer) - 1 for answer in flat], device=ids.device)
        real = torch.arange(width, device=ids.device) < counts[:, None]  # [A, n]
        whole = torch.cat([output.attention_mask[owners], real.long()], 1)
        cache = output.past_key_values
        cache.batch_select_indices(owners)
        logits = model(shown, whole, past_key_values=cache, use_cache=True).logits  # [A, n, V]
        parts = zip(logits.split(_ROWS), wanted.split(_ROWS), strict=True)
        scores = torch.cat([_token_scores(*part) for part in parts])
        totals = totals + torch.where(real, scores, 0.0).sum(1)
    values = iter(totals.tolist())
    for several in answers:
        yield [Likelihood(next(values), len(answer)) for answer in several]


def _token_scores(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the log-probabilities [A, n] of tokens [A, n]."""
    logits = logits.float()
    return logits.gather(2, wanted[..., None])[..., 0] - logits.logsumexp(-1)


@torch.inference_mode()
def generated(
    model: LiraForCausalLM,
    prompts: Sequence[Ids],
    question: Question = alone,
    max_new_tokens: int = 32,
    stops: Sequence[str] = (),
    prefix: Ids = (),
    batch_size: int = BATCH_SIZE,
) -> list[str]:
    """Return greedy answers, each up to the first of `stops` that follows some text.

    Parameters
    ----------
    model : LiraForCausalLM
    prompts : sequence of sequences of token ids
    question : callable
    max_new_tokens : int
    stops : sequence of str
    prefix : sequence of token ids
        What all prompts begin with. It runs once where no question is given; else soft tokens, which differ from
        question to question, stand before it.
    batch_size : int
        Prompts at a time; answers depend on it by rounding alone.

    Raises
    ------
    LiraError
        A prompt that leaves no room for the answer in the language model's context.
    """
    tokenizer = model.processor.tokenizer
    shared = _run_prefix(model, prefix) if prefix and not question([0]) else None
    answers = [""] * len(prompts)
    for places in _batches(prompts, batch_size):
        given = question(places)
        rows = [[*prefix, *prompts[position]] for position in places]
        _check_room(model, rows, max_new_tokens, bool(given))
        ids, mask = left_padded(model, rows)
        written = model.generate(
            ids,
            mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            stopping_criteria=StoppingCriteriaList([_Stopped(tokenizer, ids.shape[1], stops)]),
            past_key_values=None if shared is None else _shifted(shared, (mask == 0).sum(1)),
            **given,
        )
        texts = tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
        for position, text in zip(places, texts, strict=True):
            answers[position] = cut(text, stops)
    return answers


def _run_prefix(model: LiraForCausalLM, prefix: Ids) -> DynamicCache:
    ids = torch.tensor([list(prefix)], device=model.device)
    # Without the config: a cache that knows of sliding windows would forget what a shifted one may still need.
    cache = DynamicCache()
    model(ids, torch.ones_like(ids), past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def _shifted(cache: DynamicCache, padding: Tensor) -> DynamicCache:
    """Return the cache of one sequence for B rows that have `padding` [B] tokens before it, its end cut off.

    Keys count real tokens only, so padding moves them and changes nothing; what wraps around is masked. The tokens
    that fall off the end are given again with the prompt: all rows have as many to go.
    """
    length = cache.get_seq_length()
    places = (torch.arange(length, device=padding.device) - padding[:, None]) % length  # [B, P]
    moved = DynamicCache()
    for number, (one_keys, one_values, _) in enumerate(cache):
        keys, values = (states[0][:, places].transpose(0, 1) for states in (one_keys, one_values))  # [B, heads, P, D]
        moved.update(keys, values, number)
    return moved


class _Stopped(StoppingCriteria):
    """Say which rows have written one of the texts that end an answer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int, stops: Sequence[str]) -> None:
        self.tokenizer, self.start, self.stops = tokenizer, start, stops

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """Return [B], true where a row is done."""
        texts = self.tokenizer.batch_decode(input_ids[:, self.start :], skip_special_tokens=True)
        done = [cut(text, self.stops) != text.strip() for text in texts]
        return torch.tensor(done, device=input_ids.device)


def cut(text: str, stops: Sequence[str]) -> str:
    """Return a text up to the first of `stops`, without space around it; a stop before any text is none."""
    text = text.lstrip()
    ends = [position for stop in stops if (position := text.find(stop)) > 0]
    return text[: min(ends, default=len(text))].strip()


def matched_choice(answer: str, choices: Sequence[str], labels: Sequence[str] = ()) -> int | None:
    """Return the place of the choice that an answer names, or None.

    Case, punctuation and width do not count. The whole answer is a choice, or begins with one (the longest such) and
    a word ends there; or, with `labels` that the prompt has shown, begins with one as in "B" or "(B)".
    """
    plain_answer = _normalised(answer)
    texts = [_normalised(choice) for choice in choices]
    fitting = [number for number, text in enumerate(texts) if text and _begins(plain_answer, text)]
    if fitting:
        return max(fitting, key=lambda number: len(texts[number]))
    label = re.match(r"\s*\(?(\w+)(?:[).:]|\s*$)", answer)
    plain = [name.casefold() for name in labels]
    return plain.index(label[1].casefold()) if label and label[1].casefold() in plain else None


def _begins(text: str, start: str) -> bool:
    rest = text.removeprefix(start)
    return text.startswith(start) and (not rest or rest[0] == " " or _UNSPACED.match(rest) is not None)


def _normalised(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub(r"(?<=\d)[.,](?=\d)", _POINT, plain)  # part of a number
    return " ".join("".join(" " if unicodedata.category(letter)[0] in "PSZC" else letter for letter in plain).split())


def left_padded(model: LiraForCausalLM, rows: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Return token ids and mask [B, L] of rows, padded on the left."""
    width, pad = max(map(len, rows)), model.processor.tokenizer.pad_token_id
    ids = [[*[pad] * (width - len(row)), *row] for row in rows]
    mask = [[*[0] * (width - len(row)), *[1] * len(row)] for row in rows]
    return torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)


def _batches(rows: Sequence[Ids], size: int) -> Iterator[list[int]]:
    """Yield places of rows of like length, the longest first: what does not fit into memory fails at once."""
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _check_room(model: LiraForCausalLM, prompts: Sequence[Ids], new: int, with_question: bool) -> None:
    longest = getattr(model.config.text.get_text_config(), "max_position_embeddings", None)
    soft = 2 * model.config.encoder.num_feature_bins + 1 if with_question else 0
    needed = max(map(len, prompts)) + soft + new
    if isinstance(longest, int) and needed > longest:
        raise LiraError(f"prompt and answer are too long: {needed} tokens; the language model takes {longest}")
