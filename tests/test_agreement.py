"""The report that compares the authored names with independent dictionaries."""

import json
import os
from pathlib import Path

import pytest

from dataset_builder.agreement import (
    Comparison,
    cldr_dictionary,
    compare,
    dictionaries,
    disagreement_lines,
    read_dictionary,
    singular,
    summarise,
)
from dataset_builder.lexicon import LANGUAGES, Lexicon, load_lexicon
from modeling_lira.errors import LiraError

PUBLIC = {name: os.environ.get(name) for name in ("LIRA_DICTIONARY", "LIRA_CLDR")}
"""Where the public files are, if this machine has them."""


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


def write_annotations(folder: Path, language: str, names: dict[str, str]) -> None:
    rows = {character: {"tts": [name], "default": ["keyword"]} for character, name in names.items()}
    path = folder / "annotations" / language / "annotations.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"annotations": {"identity": {}, "annotations": rows}}), encoding="utf-8")


def test_comparison_counts_by_hand(lexicon: Lexicon, tmp_path: Path) -> None:
    table = tmp_path / "words.tsv"
    table.write_text("fil\tmedyas\tsock|stocking\nfil\tpitaka\tpurse\nfil\tsabon\tsoap\nms\tstokin\tsock\n", "utf-8")
    write_annotations(tmp_path, "en", {"👗": "dress", "👞": "man's shoe"})
    write_annotations(tmp_path, "fil", {"👗": "Bestida", "🧦": "ignored"})
    rows = list(compare(lexicon, "fil", dictionaries(["fil"], table, tmp_path)["fil"]))
    assert {(row.type, row.agrees, row.single) for row in rows} == {
        ("socks", True, True),
        ("wallet", False, True),
        ("dress", True, True),
        ("bar_soap", False, False),
    }
    summary = summarise(rows)["fil"]
    assert (summary.single, summary.single_agree, summary.every, summary.every_agree) == (3, 2, 4, 2)
    assert summary.share == pytest.approx(2 / 3)
    assert list(disagreement_lines(rows))[1:] == [
        "fil\twallet\tpitaka\twallet\tpurse\tyes",
        "fil\tbar_soap\tsabon\tbar soap\tsoap\tno",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Earrings", "earring"),
        ("dishes", "dish"),
        ("batteries", "battery"),
        ("flip-flops", "flip flop"),
        ("dress", "dress"),
    ],
)
def test_singular(first: str, second: str) -> None:
    assert singular(first) == singular(second)


def test_singular_keeps_different_words_apart() -> None:
    assert singular("dress") != singular("dre")
    assert singular("glass") != singular("glas" + "e")


def test_wrong_inputs(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match="give --lexicon FILE, --cldr DIR or both"):
        dictionaries(["th"], None, None)
    with pytest.raises(LiraError, match="is not a file"):
        read_dictionary(tmp_path / "none.tsv")
    table = tmp_path / "words.tsv"
    table.write_text("fil\tmedyas\tsock\nfil\tmedyas\n", "utf-8")
    with pytest.raises(LiraError, match=r"words\.tsv line 2: 2 columns"):
        read_dictionary(table)
    table.write_bytes(b"fil\t\xff\tsock\n")
    with pytest.raises(LiraError, match="is not UTF-8"):
        read_dictionary(table)
    with pytest.raises(LiraError, match="give the folder that holds a folder for each language"):
        cldr_dictionary(tmp_path, "th")
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "annotations.json").write_text("[1, 2]", "utf-8")
    with pytest.raises(LiraError, match="is not a CLDR annotations file"):
        cldr_dictionary(tmp_path, "th")


@pytest.mark.skipif(
    not all(PUBLIC.values()), reason="needs public data: set LIRA_DICTIONARY to a table and LIRA_CLDR to annotations"
)
def test_single_word_names_agree_with_public_dictionaries(lexicon: Lexicon) -> None:
    theirs = dictionaries(LANGUAGES, Path(PUBLIC["LIRA_DICTIONARY"]), Path(PUBLIC["LIRA_CLDR"]))
    rows: list[Comparison] = [row for language in LANGUAGES for row in compare(lexicon, language, theirs[language])]
    summary = summarise(rows)
    assert set(summary) == set(LANGUAGES)
    for language, counts in summary.items():
        assert counts.single >= 20, language
        assert counts.share >= 0.7, language
