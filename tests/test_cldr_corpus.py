"""The corpus from CLDR annotations: keywords find the characters that list them."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from dataset_builder.__main__ import main
from dataset_builder.cldr import Annotation
from dataset_builder.cldr_corpus import build_cldr_corpus, item_id, judge, keyword_owners
from dataset_builder.layout import SPLITS, read_part

TABLE = {
    "🐈": Annotation("cat", ("cat", "pet", "animal", "house")),
    "🐕": Annotation("dog", ("dog", "pet", "animal", "house")),
    "🐘": Annotation("elephant", ("elephant", "animal", "grey")),
}


def write_annotations(folder: Path, language: str, table: dict[str, Annotation]) -> None:
    rows = {character: {"tts": [row.name], "default": list(row.keywords)} for character, row in table.items()}
    (folder / language).mkdir(parents=True)
    text = json.dumps({"annotations": {"annotations": {**rows, "x": {"default": ["nameless"]}}}})
    (folder / language / "annotations.json").write_text(text, encoding="utf-8")


def test_keywords_and_their_characters_by_hand() -> None:
    assert {key: characters[1] for key, characters in keyword_owners(TABLE).items()} == {
        "pet": ["🐈", "🐕"],
        "animal": ["🐈", "🐕", "🐘"],
        "house": ["🐈", "🐕"],
        "grey": ["🐘"],
    }


def test_grades_by_hand() -> None:
    table = {**TABLE, "🐩": Annotation("poodle", ("animal", "house"))}
    queries = {query.text: query.grades for split in judge("en", table, 0).values() for query in split}
    cat, dog, elephant, poodle = (item_id("en", character) for character in "🐈🐕🐘🐩")
    assert queries["pet"] == {cat: 3, dog: 3, poodle: 1}  # the poodle shares "animal" and "house" with both
    assert queries["grey"] == {elephant: 3}
    assert queries["animal"] == {cat: 3, dog: 3, elephant: 3, poodle: 3}
    assert cat == "en-1f408"


def test_built_corpus_loads(tmp_path: Path) -> None:
    table = {
        chr(0x1F400 + number): Annotation(f"name {number}", (f"key {number % 40}", f"word {number}"))
        for number in range(80)
    }
    for language in ("en", "fil", "th"):
        write_annotations(tmp_path / "annotations", language, table)
    arguments = [
        "--input",
        str(tmp_path / "annotations"),
        "--output",
        str(tmp_path / "corpus"),
        "--languages",
        "fil",
        "th",
    ]
    with pytest.raises(SystemExit) as stop:
        main(["build", "--source", "cldr", *arguments])
    assert stop.value.code == 0
    loaded = load_dataset(str(tmp_path / "corpus"), "fil-queries", cache_dir=str(tmp_path / "cache"))
    assert sum(loaded.num_rows.values()) == 120
    for split in SPLITS:
        assert read_part(tmp_path / "corpus", "th", "corpus", split).num_rows == 80
    card = (tmp_path / "corpus" / "README.md").read_text(encoding="utf-8")
    assert "license: other" in card
    assert "Unicode License v3" in card


def test_missing_language_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_annotations(tmp_path / "annotations", "en", TABLE)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "build",
                "--source",
                "cldr",
                "--input",
                str(tmp_path / "annotations"),
                "--output",
                str(tmp_path / "corpus"),
            ]
        )
    assert stop.value.code == 2
    assert "vi/annotations.json does not exist" in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


def test_annotations_without_keywords_are_refused(tmp_path: Path) -> None:
    for language in ("en", "fil"):
        write_annotations(tmp_path, language, {"🐈": Annotation("cat", ())})
    with pytest.raises(ValueError, match="has no keyword to ask for"):
        build_cldr_corpus(tmp_path / "corpus", tmp_path, ("fil",))
