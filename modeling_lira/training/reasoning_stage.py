"""Stage R as a module that maps a batch of questions to a loss and its terms."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..data.question_table import QuestionTable
from ..data.questions import Example
from ..modeling_lira_causal_lm import IGNORED, LiraForCausalLM
from ..processing_lira_causal_lm import PROMPT
from .losses import language_consistency
from .options import ReasoningOptions
from .stages import check_parts

MAPPING_PROMPT = "\nAnswer:"
"""What the language model reads while the question reaches it through LiRA alone."""


Row = tuple[int, bool]
"""A question's place in a table, and whether its translations are seen."""


class LanguagePairs(Dataset):
    """Pairs of rows: the same question in two languages, every one once an epoch, some without their translations.

    A question that is left over is paired with itself. All epochs are laid out ahead, so an interrupted run goes on
    with the pairs that it would have had.

    Source: ours.
    """

    def __init__(self, examples: Sequence[Example], epochs: float, dropout: float, seed: int) -> None:
        rng = random.Random(seed)
        order = sorted(range(len(examples)), key=lambda place: examples[place].id)
        groups = [list(own) for _, own in groupby(order, key=lambda place: examples[place].id)]
        pairs: list[tuple[int, int]] = []
        for _ in range(math.ceil(epochs)):
            epoch = [pair for group in groups for pair in self._deal(group, rng)]
            rng.shuffle(epoch)
            pairs += epoch
        kept = pairs[: round(len(pairs) * epochs / max(1, math.ceil(epochs)))]
        self.pairs: list[tuple[Row, Row]] = [
            ((first, rng.random() >= dropout), (second, rng.random() >= dropout)) for first, second in kept
        ]

    @staticmethod
    def _deal(group: list[int], rng: random.Random) -> Iterator[tuple[int, int]]:
        places = rng.sample(group, len(group))
        for start in range(0, len(places), 2):
            yield places[start], places[min(start + 1, len(places) - 1)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Row, Row]:
        return self.pairs[index]


class QuestionCollator:
    """Make a batch of pairs: prompts and answers as tokens, padded on the left, labels on the answers alone."""

    def __init__(self, model: LiraForCausalLM, table: QuestionTable, phase: str) -> None:
        self.tokenizer = model.processor.tokenizer
        self.table = table
        self.mapping = phase == "mapping"

    def __call__(self, pairs: Sequence[tuple[Row, Row]]) -> dict[str, Tensor | int]:
        """Return the inputs of `ReasoningStage` for P pairs, B = 2P rows, a pair's rows beside each other."""
        index, translated = zip(*(row for pair in pairs for row in pair), strict=True)
        prompts, answers = zip(*(self._tokens(self.table.examples[place]) for place in index), strict=True)
        rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        labels = torch.tensor([[IGNORED] * (width - len(answer)) + answer for answer in answers])
        return {
            "input_ids": ids,
            "attention_mask": real,
            "labels": labels,
            "logits_to_keep": max(map(len, answers)) + 1,
            **self.table.inputs(index, translated),
        }

    def _tokens(self, example: Example) -> tuple[list[int], list[int]]:
        prompt = MAPPING_PROMPT if self.mapping else PROMPT.format(question=example.question)
        answer = self.tokenizer(f" {example.answer}", add_special_tokens=False)["input_ids"]
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return self.tokenizer(prompt)["input_ids"], answer + end


class ReasoningStage(nn.Module):
    """L_R = -log p(answer) + c consistency, over pairs of one question in two languages.

    Source: method, Reasoning; the consistency of two languages is ours.
    """

    def __init__(self, model: LiraForCausalLM, options: ReasoningOptions) -> None:
        super().__init__()
        check_parts(model, options.learning_rates)
        self.model = model
        self.consistency = options.consistency
        self.rates = {name: _rate(name, options) for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.rates[name] > 0)

    def forward(self, labels: Tensor, logits_to_keep: int, **batch: Tensor) -> dict[str, Tensor]:
        """Return `loss`, `answer` and `consistency` for B rows, a pair's beside each other."""
        output = self.model(**batch, labels=labels, logits_to_keep=logits_to_keep)
        terms = {"answer": output.loss, "consistency": language_consistency(output.logits, labels)}
        return {"loss": terms["answer"] + self.consistency * terms["consistency"], **terms}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the learning parameters by learning rate."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.rates[name], []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _rate(name: str, options: ReasoningOptions) -> float:
    if name.startswith("language_model."):
        return options.lora.learning_rate if options.lora is not None and ".lora_" in name else 0.0
    if "_encoder." in name:
        return 0.0
    fitting = [part for part in options.learning_rates if name == part or name.startswith(f"{part}.")]
    return options.learning_rates[max(fitting, key=len)] if fitting else 0.0
