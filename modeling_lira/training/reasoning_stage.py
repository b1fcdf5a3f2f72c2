"""Stage R as a module that maps a batch of questions to a loss and its terms."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.question_table import QuestionTable
from ..data.questions import Example
from ..modeling_lira_causal_lm import LiraForCausalLM
from ..processing_lira_causal_lm import PROMPT
from ..soft_prompt import IGNORED
from .losses import language_consistency
from .options import ReasoningOptions
from .stage import Stage

MAPPING_PROMPT = "\nAnswer:"
"""What the language model reads while the question reaches it through LiRA alone."""


Row = tuple[int, bool]
"""A question's row in a table, and whether its translations are given."""


class LanguagePairs(Dataset):
    """Pairs of rows: a question in two languages. Each row is in one pair an epoch; some lose their translations.

    The last of an odd number of languages is paired with itself. The pairs of all epochs are drawn at the start, so an
    interrupted run goes on with those that it would have had.

    Parameters
    ----------
    examples : sequence of Example
        Those of one `id` are one question.
    epochs : float
        A part of an epoch takes that part of its pairs.
    dropout : float
        Share of the rows without their translations.
    seed : int
    """

    def __init__(self, examples: Sequence[Example], epochs: float, dropout: float, seed: int) -> None:
        rng = random.Random(seed)
        order = sorted(range(len(examples)), key=lambda row: examples[row].id)
        groups = [list(members) for _, members in groupby(order, key=lambda row: examples[row].id)]
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
    """Build a batch of pairs: tokens of prompts and answers, padded on the left, and labels for the answers' tokens."""

    def __init__(self, model: LiraForCausalLM, table: QuestionTable, phase: str) -> None:
        self.tokenizer = model.processor.tokenizer
        self.table = table
        self.mapping = phase == "mapping"

    def __call__(self, pairs: Sequence[tuple[Row, Row]]) -> dict[str, Tensor | int]:
        """Return the inputs of `ReasoningStage` for P pairs: B = 2P rows, the two of a pair one after the other."""
        index, translated = zip(*(row for pair in pairs for row in pair), strict=True)
        prompts, answers = zip(*(self._tokens(self.table.examples[row]) for row in index), strict=True)
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


class ReasoningStage(Stage[LiraForCausalLM]):
    """L_R = -log p(answer) + consistency L_consistency, over pairs of one question in two languages.

    Source: METHOD.md, Reasoning and LaSR 6.
    """

    def __init__(self, model: LiraForCausalLM, options: ReasoningOptions) -> None:
        rates = dict(options.learning_rates)
        if options.lora is not None:
            rates["language_model"] = options.lora.learning_rate
        super().__init__(model, rates)
        self.consistency = options.consistency

    def forward(self, labels: Tensor, logits_to_keep: int, **batch: Tensor) -> dict[str, Tensor]:
        """Return `loss`, `answer` and `consistency` for B rows, the two of a pair one after the other."""
        output = self.model(**batch, labels=labels, logits_to_keep=logits_to_keep)
        terms = {"answer": output.loss, "consistency": language_consistency(output.logits, labels)}
        return {"loss": terms["answer"] + self.consistency * terms["consistency"], **terms}
