"""Publishing to a folder, and what cannot be published; `hub/test_datasets.py` publishes to a Hub."""

from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import constants

from dataset_builder.__main__ import main
from dataset_builder.candidate_source import CandidateSource
from dataset_builder.card import write_card
from dataset_builder.generator.corpus import write_language
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.lexicon import load_lexicon
from dataset_builder.publish import publish_to_folder
from modeling_lira.errors import LiraError

TINY = Release("tiny", Quota(60, 20, 40), Quota(20, 5, 10))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny corpus in Malay, with a file in it that is none of its own."""
    folder = tmp_path / "corpus"
    lexicon = load_lexicon(languages=("ms",))
    write_language(lexicon, "ms", TINY, 0, CandidateSource(lexicon, Path("none")), folder)
    write_card(folder, "catalogue", {"release": "tiny", "seed": 0, "types": 614, "departments": 17})
    (folder / "notes.txt").write_text("private", encoding="utf-8")
    return folder


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_published_folder_loads_and_holds_nothing_else(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["publish", "--folder", str(folder), "--to", str(tmp_path / "public")])
    assert stop.value.code == 0
    loaded = load_dataset(str(tmp_path / "public"), "ms-queries", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == {"train": 20, "validation": 5, "test": 10}
    assert not (tmp_path / "public" / "notes.txt").exists()


def test_unreachable_hub_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert "cannot reach http://127.0.0.1:9" in fails(capsys, "publish", "--folder", folder, "--repo", "org/name")


def test_wrong_targets(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert "cannot publish a/b/c: " in fails(capsys, "publish", "--folder", folder, "--repo", "a/b/c")
    assert "either --repo ORG/NAME or --to DIR" in fails(capsys, "publish", "--folder", folder)
    assert "name another folder" in fails(capsys, "publish", "--folder", folder, "--to", folder)
    assert "is not a complete corpus folder" in fails(capsys, "publish", "--folder", tmp_path / "no", "--to", "x")


def test_an_incomplete_corpus_is_refused(folder: Path, tmp_path: Path) -> None:
    next((folder / "ms-qrels").glob("test-*")).unlink()
    with pytest.raises(LiraError, match="lacks the test split of ms-qrels"):
        publish_to_folder(folder, tmp_path / "public")
    assert not (tmp_path / "public").exists()
