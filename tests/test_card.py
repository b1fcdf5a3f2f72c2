"""The dataset card: its numbers are those of the files, and every maker of candidates has its terms."""

from pathlib import Path

import pytest

from dataset_builder.candidate_source import CandidateSource, write_candidates
from dataset_builder.card import write_card
from dataset_builder.generator.corpus import write_language
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.layout import CARD, read_part
from dataset_builder.lexicon import load_lexicon
from modeling_lira.agents.candidate import Candidate

TINY = Release("tiny", Quota(1_060, 20, 40), Quota(20, 5, 10))
FACTS = {"release": "tiny", "seed": 7, "types": 614, "departments": 17}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny corpus in Malay, two queries of which have candidates of models."""
    folder = tmp_path_factory.mktemp("corpus")
    lexicon = load_lexicon(languages=("ms",))
    write_language(lexicon, "ms", TINY, 7, CandidateSource(lexicon, Path("none")), folder)
    first, second, *_ = read_part(folder, "ms", "queries", "train")["text"].to_pylist()
    candidates = {
        ("ms", first): [Candidate("a mug", "pypi:gemma-3-270m", 5.0, 5.0, 5.0)] * 3,
        ("ms", second): [Candidate("a cup", "house-model", 5.0, 5.0, 5.0)],
    }
    write_candidates(candidates, folder / "candidates.xz")
    write_language(lexicon, "ms", TINY, 7, CandidateSource(lexicon, folder / "candidates.xz"), folder)
    write_card(folder, "catalogue", FACTS, ("en",))
    return folder


def test_sizes_are_those_of_the_files(folder: Path) -> None:
    text = (folder / CARD).read_text(encoding="utf-8")
    cells = [f"{read_part(folder, 'ms', 'qrels', split).num_rows:,}" for split in ("train", "validation", "test")]
    assert f"| ms | 1,060 / 20 / {cells[0]} | 20 / 5 / {cells[1]} | 40 / 10 / {cells[2]} |" in text
    assert "1K<n<10K" in text


def test_every_agent_has_its_count_and_terms(folder: Path) -> None:
    text = (folder / CARD).read_text(encoding="utf-8")
    [gemma] = [line for line in text.splitlines() if line.startswith("| pypi:gemma-3-270m | 3 |")]
    assert "Gemma Terms of Use found at ai.google.dev/gemma/terms" in gemma
    assert "| house-model | 1 | see the terms of the model of this name |" in text
    [gloss] = [line for line in text.splitlines() if line.startswith("| gloss | ")]
    assert "CC BY 4.0" in gloss


def test_the_card_says_where_it_all_comes_from(folder: Path) -> None:
    text = (folder / CARD).read_text(encoding="utf-8")
    for word in ("license: cc-by-4.0", "(release `tiny`, seed 7", "## Limits", "## Licence", "@misc{", "2510.14466"):
        assert word in text
    assert "$" not in text.split("---", 2)[2]
