"""Tables of questions with the streams of their texts and candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..modeling_lira import LiraModel
from .questions import Example
from .stream_cache import StreamCache


@dataclass(frozen=True)
class QuestionTable:
    """Questions with the encoders' streams of their texts.

    `multilingual` [N, S, dg] and `english` [M, S, dh], float16; `rows` [N, K], where each candidate's stream stands in
    `english`, -1 where there is none; `language_ids` [N].
    """

    examples: Sequence[Example]
    multilingual: np.ndarray
    english: np.ndarray
    rows: np.ndarray
    language_ids: Tensor

    def inputs(self, index: Sequence[int], translated: Sequence[bool] | None = None) -> dict[str, Tensor]:
        """Return a batch's questions as `LiraModel.fuse` takes them; `translated` says which keep their candidates."""
        rows = self.rows[list(index)]
        if translated is not None:
            rows = np.where(np.asarray(translated)[:, None], rows, -1)
        inputs = {
            "multilingual_states": torch.from_numpy(self.multilingual[list(index)]).float(),
            "language_ids": self.language_ids[list(index)],
        }
        if (rows >= 0).any():
            inputs["english_states"] = torch.from_numpy(self.english[rows.clip(0)]).float()
            inputs["candidate_mask"] = torch.from_numpy(rows >= 0)
        return inputs


def cache_questions(lira: LiraModel, cache: StreamCache, examples: Sequence[Example]) -> QuestionTable:
    """Run each frozen encoder once over all questions and candidates, or read the streams from the cache.

    Raises
    ------
    LiraError
        If a language is not in the model's config, or a question has more candidates than the model takes.
    """
    processor = lira.processor
    texts = [example.question for example in examples]
    codes = processor.check_languages([example.language for example in examples], len(texts))
    chosen = processor.check_candidates(texts, [example.candidates for example in examples], codes)
    distinct = list(dict.fromkeys(text for row in chosen for text in row))
    position = {text: number for number, text in enumerate(distinct)}
    width = max(1, *(len(row) for row in chosen))
    rows = np.array([[position[text] for text in row] + [-1] * (width - len(row)) for row in chosen])
    return QuestionTable(
        examples,
        cache.get(lira, texts, "multilingual"),
        cache.get(lira, distinct, "english"),
        rows,
        processor.language_ids(codes),
    )
