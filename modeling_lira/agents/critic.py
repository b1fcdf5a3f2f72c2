"""A critic that measures candidates with any causal language model."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import LiraError
from .batching import digest
from .calibration import Calibration
from .candidate import Scores, Settings
from .likelihood import NOTHING, LikelihoodModel, Row
from .limits import check_limits
from .prompts import LANGUAGE_NAMES, few_shot
from .rating import RatingModel
from .text import check_texts

Method = Literal["likelihood", "rating", "auto"]
ROUNDS = 8
"""How many batches of pairs are measured at a time: among so many, enough rows have equal lengths to fill batches."""


class CausalLMCritic:
    """Measure semantic fidelity, emotional consistency and pragmatic tone of candidate translations.

    By likelihood, x the text and y the candidate:

    - semantic: (log p(x | y) + log p(y | x) - log p(x | "...")) / tokens of x. The first term, back-translation, alone
      tells a true translation from an unrelated sentence; adding the second chooses better among candidates of the
      same text; the third, equal for all of them, makes texts comparable.
    - emotional: not measured, since a base model's likelihood says nothing about feeling.
    - pragmatic: log p(y | x) / tokens of y: how likely a translator who has seen the examples words it this way. It is
      only a proxy for register.

    By rating: the numbers that an instruction-tuned model answers, which are in [1, 10] already.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    name : str
    method : "likelihood", "rating" or "auto"
        "auto": rating if the tokenizer has a chat template.
    batch_size : int
        Rows read at once.
    max_tokens : int
        Longer texts are cut.
    calibration : Calibration, optional
        Needed by `score` for likelihoods; see `calibrate`.

    Source: METHOD.md, Arca 4; the forward direction is added as in noisy-channel reranking.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        method: Method = "auto",
        batch_size: int = 64,
        max_tokens: int = 128,
        calibration: Calibration | None = None,
    ) -> None:
        check_limits(batch_size=batch_size, max_tokens=max_tokens)
        self.name, self.batch_size, self.max_tokens = name, batch_size, max_tokens
        self.method = method if method != "auto" else "rating" if tokenizer.chat_template else "likelihood"
        self.calibration = calibration
        self._dtype = str(model.dtype)
        self._likelihood: LikelihoodModel | None = None
        self._rating: RatingModel | None = None
        if self.method == "rating":
            self._rating = RatingModel(model, tokenizer, batch_size=batch_size, max_tokens=max_tokens)
        else:
            self._likelihood = LikelihoodModel(model, tokenizer, batch_size=batch_size, max_tokens=max_tokens)

    @property
    def needs_calibration(self) -> bool:
        """Whether the measurements are not yet scores in [1, 10]."""
        return self._rating is None

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a measurement; prompts are given by their digest."""
        return {
            "name": self.name,
            "method": self.method,
            "max_tokens": self.max_tokens,
            "dtype": self._dtype,
            "prompts": self._prompts(),
        }

    def measure(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, Scores]]]:
        """Yield finished batches of measurements, before calibration, as `Critic.measure` says."""
        check_texts(texts, languages)
        check_texts(candidates, languages)
        # Candidates of one text stand side by side, so that they share rows; texts of similar length too, so that rows
        # have equal lengths and fill batches.
        order = sorted(range(len(texts)), key=lambda index: (languages[index], -len(texts[index]), texts[index]))
        for start in range(0, len(order), ROUNDS * self.batch_size):
            indices = order[start : start + ROUNDS * self.batch_size]
            pairs = [(languages[index], texts[index], candidates[index]) for index in indices]
            yield list(zip(indices, self._measure(pairs), strict=True))

    def score(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, Scores]]]:
        """Yield finished batches of scores in [1, 10]; parameters as of `measure`.

        Raises
        ------
        LiraError
            As `measure`; and if likelihoods are not calibrated for a language.
        """
        for batch in self.measure(texts, candidates, languages):
            yield [(index, self.rate(measured, languages[index])) for index, measured in batch]

    def rate(self, measured: Scores, language: str) -> Scores:
        """Map a pair's measurements to [1, 10].

        Raises
        ------
        LiraError
            If the critic needs a calibration and has none of this language.
        """
        if not self.needs_calibration:
            return measured
        if self.calibration is None:
            raise LiraError(f"critic {self.name!r} is not calibrated: call calibrate first")
        return self.calibration.rate(measured, language)

    def calibrate(self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]) -> Calibration:
        """Measure pairs, set `calibration` to their quantiles and return it; parameters and errors as of `measure`."""
        measured = dict(chain.from_iterable(self.measure(texts, candidates, languages)))
        self.calibration = Calibration.fit([measured[index] for index in range(len(texts))], languages)
        return self.calibration

    def _measure(self, pairs: Sequence[tuple[str, str, str]]) -> list[Scores]:
        if self._rating is not None:
            return self._rating.rate(pairs)
        assert self._likelihood is not None
        rows = {row: None for language, text, candidate in pairs for row in _rows(language, text, candidate)}
        known = dict(zip(rows, self._likelihood.log_likelihoods(list(rows)), strict=True))
        return [_combine(*(known[row] for row in _rows(*pair))) for pair in pairs]

    def _prompts(self) -> str:
        if self._rating is not None:
            return digest([self._rating.request(code, aspect) for code in LANGUAGE_NAMES for aspect in range(3)])
        return digest([few_shot(code, to_english=way) for code in LANGUAGE_NAMES for way in (True, False)])


def _rows(language: str, text: str, candidate: str) -> tuple[Row, Row, Row]:
    """Return the likelihoods that a pair needs: x after y, y after x, and x after nothing."""
    return (
        Row(language, candidate, text, to_english=False),
        Row(language, text, candidate, to_english=True),
        Row(language, NOTHING, text, to_english=False),
    )


def _combine(back: tuple[float, int], forward: tuple[float, int], alone: tuple[float, int]) -> Scores:
    """Return a pair's measurements from the (sum of log p, number of tokens) of each of its `_rows`."""
    semantic = (back[0] + forward[0] - alone[0]) / max(back[1], 1)
    return semantic, None, forward[0] / max(forward[1], 1)
