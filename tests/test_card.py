"""The dataset card: its numbers are those of the files, and every maker of candidates has its terms."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hub.card_rules import faults
from huggingface_hub import DatasetCard

from dataset_builder.candidate_source import CandidateSource, write_candidates
from dataset_builder.card import TITLES, write_card
from dataset_builder.card_fields import FIELDS
from dataset_builder.counting import seen_words
from dataset_builder.generator.corpus import write_language
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.layout import CARD, PARTS, SCHEMAS, VERSION, PartWriter, read_part
from dataset_builder.lexicon import load_lexicon
from dataset_builder.publish import publish_to_folder
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
    for word in (
        "license: other",
        "license_name: cc-by-4.0-and-gemma",
        "license_link: LICENSE.md",
        "(release `tiny`, seed 7",
        "## Limits",
        "## Licence",
        "@misc{",
        "2510.14466",
    ):
        assert word in text
    assert "$" not in text.split("---", 2)[2]


def test_the_card_answers_what_a_reader_asks(folder: Path) -> None:
    head, text = (folder / CARD).read_text(encoding="utf-8").split("---", 2)[1:]
    for word in ("source_datasets:\n- original", "language_creators:", "- document-retrieval", f"version: {VERSION}"):
        assert word in head
    for word in ("## Uses", "Not intended", "## Bias and risks", "## Maintenance and versions", f"**{VERSION}**"):
        assert word in text
    for part, schema in SCHEMAS.items():
        assert f"### `{{language}}-{part}`" in text
        for name in schema.names:
            assert f"- `{name}`: {FIELDS[part][name]}" in text
        assert set(FIELDS[part]) == set(schema.names)
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert [list(example) for example in examples] == [SCHEMAS[part].names for part in PARTS]


def test_candidates_by_gemma_bring_their_notice_along(folder: Path, tmp_path: Path) -> None:
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    assert notice == (
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
    )
    assert "CC BY 4.0" in (folder / "LICENSE.md").read_text(encoding="utf-8")
    publish_to_folder(folder, tmp_path / "public")
    assert (tmp_path / "public" / "NOTICE").read_text(encoding="utf-8") == notice
    assert (tmp_path / "public" / "LICENSE.md").is_file()


def test_without_such_candidates_there_is_one_licence(tmp_path: Path) -> None:
    lexicon = load_lexicon(languages=("ms",))
    write_language(lexicon, "ms", TINY, 7, CandidateSource(lexicon, Path("none")), tmp_path)
    write_card(tmp_path, "catalogue", FACTS, ("en",))
    assert "license: cc-by-4.0\n" in (tmp_path / CARD).read_text(encoding="utf-8")
    assert not (tmp_path / "NOTICE").exists()


@pytest.mark.parametrize("source", TITLES)
def test_the_hub_accepts_the_metadata(folder: Path, source: str) -> None:
    text = (folder / CARD).read_text(encoding="utf-8")
    write_card(folder, source, defaultdict(str), ("en", "pa-Arab"))
    written = (folder / CARD).read_text(encoding="utf-8")
    (folder / CARD).write_text(text, encoding="utf-8")
    assert not list(faults(written, "dataset")) and not list(faults(text, "dataset"))
    data: Any = DatasetCard(written).data
    assert data.language == ["ms", "en", "pa"] and data.to_dict()["language_bcp47"] == ["pa-Arab"]
    assert data.license != "other" or data.license_name


def test_words_of_test_that_occur_in_training(tmp_path: Path) -> None:
    rows = {
        ("queries", "train"): ["red mug"], ("corpus", "train"): ["Blue cup"],
        ("queries", "test"): ["blue mug"], ("corpus", "test"): ["green cup cup"],
    }  # fmt: skip
    for (part, split), texts in rows.items():
        with PartWriter(tmp_path, "ms", part, split) as writer:
            writer.add_all({"_id": text, "text": text, "title": text} for text in texts)
    assert seen_words(tmp_path, "ms") == pytest.approx(4 / 5)
