"""The gloss by a dictionary of one's own."""

import json
from pathlib import Path

import pytest

from modeling_lira.agents.dictionary import DictionaryTranslator, read_dictionary
from modeling_lira.cli import main
from modeling_lira.errors import LiraError

TERMS = """language\tterm\tglosses
vi\táo\tshirt|top
vi\táo thun\tt-shirt
vi\tÁo Sơ Mi\tdress shirt
vi\tđỏ\tred
vi\tnam\tmen's|south
th\tเสื้อ\tshirt
th\tเสื้อยืด\tt-shirt
th\tแดง\tred
ur\tکتاب\tbook
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.tsv"
    path.write_text(TERMS, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("language", "text", "glosses"),
    [
        ("vi", "áo thun đỏ", ["t-shirt red"]),
        ("vi", "áo đỏ", ["shirt red", "top red"]),
        ("vi", "ÁO SƠ MI, đỏ!", ["dress shirt red"]),
        ("vi", "áo nam", ["shirt men's", "shirt south", "top men's", "top south"]),
        ("vi", "áo iPhone 15 xịn (24cm)", ["shirt iphone 15 24cm", "top iphone 15 24cm"]),
        ("vi", "a\u0301o \u0111o\u0309", ["shirt red", "top red"]),  # letters and accents apart
        ("vi", "xịn quá", []),
        ("vi", "Samsung", ["samsung"]),
        ("th", "เสื้อยืดสีแดง", ["t-shirt red"]),
        ("th", "เสื้อ usb3แดงxl", ["shirt usb3 red xl"]),
        ("ur", "کتاب،", ["book"]),
    ],
)
def test_longest_terms_first(words: Path, language: str, text: str, glosses: list[str]) -> None:
    assert DictionaryTranslator(read_dictionary(words), name="w").gloss(text, language) == glosses


def test_candidates_are_no_more_than_asked_for_however_many_there_might_be() -> None:
    many = {"vi": {"áo": tuple(f"word{number}" for number in range(30))}}
    assert DictionaryTranslator(many, name="w", num_candidates=2).gloss("áo " * 40, "vi") == [
        " ".join(["word0"] * 40),
        " ".join(["word0"] * 39 + ["word1"]),
    ]


def test_batches_keep_the_places_and_settings_the_words(words: Path) -> None:
    agent = DictionaryTranslator(read_dictionary(words), name="w")
    texts = ["áo thun", "đỏ"] * 600
    answers = [item for batch in agent.translate(texts, ["vi"] * 1200) for item in batch]
    assert answers == [(row, ["t-shirt"] if row % 2 == 0 else ["red"]) for row in range(1200)]
    words.write_text(TERMS.replace("t-shirt", "tee"), encoding="utf-8")
    other = DictionaryTranslator(read_dictionary(words), name="w")
    assert other.settings != agent.settings
    with pytest.raises(LiraError, match="dictionary 'w' has no terms of bn, only of vi, th, ur"):
        next(agent.translate(["জামা"], ["bn"]))


def test_lines_of_one_term_add_up(words: Path) -> None:
    words.write_text(TERMS + "vi\tĐỎ\tcrimson|red\n", encoding="utf-8")
    assert read_dictionary(words)["vi"]["đỏ"] == ("red", "crimson")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "first line must name the columns language, term, glosses.*no language, term, glosses"),
        ("language,term,glosses\n", "no language, term, glosses"),
        ("language\tterm\n", "there is no glosses"),
        ("language\tterm\tglosses\n", "has no terms"),
        (TERMS + "xx\tpula\tred\n", "line 11: needs a language's code, .*'xx', 'pula', 'red'"),
        (TERMS + "vi\tđen\n", "line 11: .*'vi', 'đen', ''"),
        (TERMS + "vi\t\tblack\n", "line 11: "),
        (TERMS + "vi\tđen\t | \n", "line 11: "),
    ],
)
def test_a_bad_dictionary_is_named_with_its_line(content: str, message: str, words: Path) -> None:
    words.write_text(content, encoding="utf-8")
    with pytest.raises(LiraError, match=f"words.tsv' ?.*{message}"):
        read_dictionary(words)


def test_translate_with_a_dictionary(words: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"lang": "vi", "text": "áo đỏ", "candidates": [{"text": "red shirt", "agent": "human"}]}]
    rows += [{"lang": "th", "text": "แดง"}, {"lang": "vi", "text": "xịn"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SystemExit) as stop:
        main(["translate", "--input", str(source), "--output", str(output), "--dictionary", str(words)])
    assert not stop.value.code
    answers = [json.loads(line)["candidates"] for line in output.read_text().splitlines()]
    assert [[(c["text"], c["agent"]) for c in several] for several in answers] == [
        [("red shirt", "human"), ("shirt red", "words.tsv"), ("top red", "words.tsv")],
        [("red", "words.tsv")],
        [],
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1258"])
def test_a_dictionary_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "words.tsv"
    path.write_bytes("language\tterm\tglosses\r\nvi\táo\tshirt\r\n".encode(encoding))
    if encoding == "cp1258":
        with pytest.raises(LiraError, match=r"words.tsv' line 2 is not UTF-8 text: save the file as UTF-8"):
            read_dictionary(path)
    else:
        assert read_dictionary(path) == {"vi": {"áo": ("shirt",)}}
