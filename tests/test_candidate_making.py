"""One command makes the candidates file, and goes on where it was stopped."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dataset_builder.candidate_making import make_candidates
from dataset_builder.candidate_source import read_candidates, write_candidates
from dataset_builder.generator import release_named
from dataset_builder.generator.corpus import release_queries
from dataset_builder.generator.queries import Query
from dataset_builder.lexicon import load_lexicon
from modeling_lira.agents.candidate import Candidate
from modeling_lira.agents.store import CandidateStore


class Upper:
    """Translates by writing in capitals, two texts a batch, and can be stopped after some batches."""

    name = "upper"
    settings = {"name": "upper"}
    needs_calibration = True

    def __init__(self, stop_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.left = stop_after

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        for start in range(0, len(texts), 2):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            self.asked += texts[start : start + 2]
            yield [(row, [texts[row].upper()]) for row in range(start, min(start + 2, len(texts)))]

    def measure(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, tuple[float, None, float]]]]:
        yield [(row, (float(len(text)), None, 0.0)) for row, text in enumerate(texts)]


@pytest.fixture(scope="module")
def queries() -> list[Query]:
    every = list(release_queries(load_lexicon(languages=["vi"]), ["vi"], release_named("slice"), 0))
    return [query for split in ("train", "validation", "test") for query in every if query.split == split][::9]


def test_a_stopped_run_goes_on_and_test_comes_first(queries: list[Query], tmp_path: Path) -> None:
    output, none = tmp_path / "made.xz", tmp_path / "none.xz"
    texts = {query.text for query in queries}
    of_test = {query.text for query in queries if query.split == "test"}
    stopped = Upper(stop_after=(len(of_test) + 1) // 2 + 3)
    with CandidateStore(tmp_path / "store") as store, pytest.raises(KeyboardInterrupt):
        make_candidates(queries, store, output, stopped, stopped, none)
    assert set(stopped.asked[: len(of_test)]) == of_test
    assert {text for _, text in read_candidates(output)} == of_test  # what was finished is written
    more = Upper()
    with CandidateStore(tmp_path / "store") as store:
        make_candidates(queries, store, output, more, more, none, translate=False)
        assert not more.asked and len(read_candidates(output)) == len(stopped.asked)
        make_candidates(queries, store, output, more, more, none)
    assert sorted(stopped.asked + more.asked) == sorted(texts)
    made = read_candidates(output)
    assert {text for _, text in made} == texts
    scored = [candidate for several in made.values() for candidate in several]
    assert all(c.semantic is not None and 1 <= c.semantic <= 10 and c.emotional is None for c in scored)
    once = output.read_bytes()
    with CandidateStore(tmp_path / "store") as store:
        make_candidates(queries, store, output, Upper(0), more, none)
    assert output.read_bytes() == once


def test_texts_of_an_earlier_file_are_scored_anew_and_not_translated(queries: list[Query], tmp_path: Path) -> None:
    earlier, kept = tmp_path / "earlier.xz", queries[0]
    old = Candidate("an old translation", "model", 9.0, 5.5, 9.0)
    write_candidates({("vi", kept.text): [old], ("vi", "of no query any more"): [old]}, earlier)
    agent = Upper()
    with CandidateStore(tmp_path / "store") as store:
        make_candidates(queries, store, tmp_path / "made.xz", agent, agent, earlier)
    made = read_candidates(tmp_path / "made.xz")
    assert kept.text not in agent.asked and ("vi", "of no query any more") not in made
    (candidate,) = made["vi", kept.text]
    assert (candidate.text, candidate.agent, candidate.emotional) == ("an old translation", "model", None)


def test_more_candidates_leave_the_scores_of_those_before_as_they_are(queries: list[Query], tmp_path: Path) -> None:
    first, agent = tmp_path / "first.xz", Upper()
    with CandidateStore(tmp_path / "store") as store:
        make_candidates(queries[::3], store, first, agent, agent, tmp_path / "none.xz")
        make_candidates(queries, store, tmp_path / "all" / "more.xz", agent, agent, first)
    before, after = read_candidates(first), read_candidates(tmp_path / "all" / "more.xz")
    assert before.items() <= after.items() and len(after) > len(before)
