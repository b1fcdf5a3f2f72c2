"""Interrupted runs of agents."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tiny_agents import SPOKEN, TEXTS, Oracle, translator
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_lira.agents.candidate import Candidate, Scores
from modeling_lira.agents.check import check_pairs
from modeling_lira.agents.resumable import critique, measure_all, translate
from modeling_lira.agents.store import CandidateStore
from modeling_lira.agents.translator import CausalLMTranslator


class Stopped(Exception):
    pass


class Counting:
    """Passes a translator's batches on and stops like Ctrl-C after some of them."""

    def __init__(self, inner: CausalLMTranslator, stop_after: int | None = None) -> None:
        self.inner, self.stop_after = inner, stop_after
        self.name, self.settings = inner.name, inner.settings
        self.asked: list[str] = []

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        self.asked = list(texts)
        for number, batch in enumerate(self.inner.translate(texts, languages)):
            if number == self.stop_after:
                raise Stopped
            yield batch


def test_an_interrupted_translation_goes_on_and_ends_the_same(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    agent = translator(model, tokenizer, batch_size=2)
    texts, spoken = [*TEXTS, TEXTS[0]], [*SPOKEN, SPOKEN[0]]
    with CandidateStore(tmp_path / "whole") as store:
        whole = translate(agent, texts, spoken, store, progress=False)
    assert whole[0] == whole[-1] and all(c.agent == "tiny" for several in whole for c in several)
    with CandidateStore(tmp_path / "cut") as store, pytest.raises(Stopped):
        translate(Counting(agent, stop_after=3), texts, spoken, store)
    with CandidateStore(tmp_path / "cut") as store:
        done = len(store)
        again = Counting(agent)
        assert translate(again, texts, spoken, store) == whole
        assert len(again.asked) == len(TEXTS) - done < len(TEXTS)
        assert translate(Counting(agent, stop_after=0), texts[::-1], spoken[::-1], store) == whole[::-1]


def test_critique_scores_each_pair_once_and_keeps_the_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    oracle = Oracle()
    pairs = [pair for pair in check_pairs() if pair.language == "vi"]
    texts, spoken = [pair.text for pair in pairs], ["vi"] * len(pairs)
    candidates = [[Candidate(pair.english, "a"), Candidate("no", "b"), Candidate(pair.english, "b")] for pair in pairs]
    candidates[3] = []
    with CandidateStore(tmp_path) as store:
        scored, table = critique(oracle, texts, candidates, spoken, store)
        assert len(oracle.asked) == 2 * (len(pairs) - 1) == len(store)
        assert "calibrated on few pairs" not in caplog.text
        again, _ = critique(oracle, texts[:2], candidates[:2], spoken[:2], store, table)
        assert len(oracle.asked) == 2 * (len(pairs) - 1)
    assert again == scored[:2]
    assert scored[3] == []
    assert [c.text for c in scored[0]] == [pairs[0].english, "no", pairs[0].english]
    first, second, third = scored[0]
    assert first.semantic is not None and second.semantic is not None
    assert first.semantic == third.semantic and first.semantic > second.semantic
    assert (first.emotional, first.pragmatic) == (5.5, 5.5)
    assert first.agent == "a" and third.agent == "b"


def test_ratings_stand_under_their_aspects_as_they_were_given(tmp_path: Path) -> None:
    class Rater(Oracle):
        needs_calibration = False

        def measure(
            self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
        ) -> Iterator[list[tuple[int, Scores]]]:
            yield [(index, (9.0, 4.0, 2.0)) for index in range(len(texts))]

    with CandidateStore(tmp_path) as store:
        scored, _ = critique(Rater(), ["áo"], [[Candidate("shirt", "a")]], ["vi"], store)
    assert scored == [[Candidate("shirt", "a", semantic=9.0, emotional=4.0, pragmatic=2.0)]]


def test_calibrating_on_a_handful_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with CandidateStore(tmp_path) as store, caplog.at_level(logging.WARNING):
        critique(Oracle(), ["áo"], [[Candidate("shirt", "a")]], ["vi"], store)
    assert "calibrated on few pairs (1 of vi)" in caplog.text


def test_measurements_and_candidates_share_a_store(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with CandidateStore(tmp_path) as store:
        translate(translator(model, tokenizer), ["áo"], ["vi"], store)
        measured = measure_all(Oracle(), ["áo"], ["shirt"], ["vi"], store)
        assert measured == [(-1.0, 0.0, 0.5)]
        assert len(store) == 2


class Quick:
    """A translator that takes no time; it counts what it is asked."""

    name = "quick"
    settings = {"name": "quick"}
    asked = 0

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        self.asked += len(texts)
        for start in range(0, len(texts), 500):
            yield [(row, [f"{texts[row]} {k}" for k in range(4)]) for row in range(start, start + 500)]


def test_ten_thousand_texts_resume_in_seconds(tmp_path: Path) -> None:
    texts, spoken = [f"áo thun nam màu đen số {number}" for number in range(10_000)], ["vi"] * 10_000
    with CandidateStore(tmp_path) as store:
        whole = translate(Quick(), texts, spoken, store, progress=False)
    again = Quick()
    start = time.process_time()
    with CandidateStore(tmp_path) as store:
        assert translate(again, texts, spoken, store, progress=False) == whole
    assert time.process_time() - start < 5
    assert again.asked == 0
