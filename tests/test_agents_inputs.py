"""What commands of agents are given: numbers, files and texts that make no sense, or too much of it."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import lira, read_lines, write_lines

from modeling_lira.agents.dictionary import DictionaryTranslator
from modeling_lira.agents.limits import LARGEST, check_limits
from modeling_lira.agents.text import MAX_TEXT_CHARACTERS, check_texts, harmless
from modeling_lira.errors import LiraError

SERVED = ["--server", "http://localhost:9/v1", "--model", "m"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a table and a dictionary."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "in.jsonl", [{"language": "vi", "text": "áo", "candidates": [{"text": "shirt"}]}])
    (tmp_path / "d.tsv").write_text("language\tterm\tglosses\nvi\táo\tshirt\n", encoding="utf-8")
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must end in exit code 2 and one line."""
    assert lira(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "-inf", "1e400"])
@pytest.mark.parametrize("option", ["--temperature", "--timeout"])
def test_a_number_that_makes_no_sense_is_refused(
    option: str, value: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--input", "in.jsonl", "--output", "out.jsonl", *SERVED, f"{option}={value}"]
    error = complaint(capsys, "translate", *arguments)
    assert f"{option} is " in error and "it must be positive" in error
    if option == "--timeout":
        assert f"{option} is " in complaint(capsys, "critique", *arguments)


@pytest.mark.parametrize("value", ["0", "-3", "99999999999999999999"])
@pytest.mark.parametrize("option", ["--num-candidates", "--concurrency", "--batch-size", "--threads"])
def test_a_count_that_makes_no_sense_is_refused(
    option: str, value: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--input", "in.jsonl", "--output", "out.jsonl", f"{option}={value}"]
    assert f"{option} is {value}: it must be positive" in complaint(capsys, "translate", *arguments)
    if option != "--num-candidates":
        assert f"{option} is {value}: it must be positive" in complaint(capsys, "critique", *arguments)


@pytest.mark.parametrize("value", ["-1", str(2**63)])
def test_a_seed_that_makes_no_sense_is_refused(value: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = complaint(capsys, "translate", "--input", "in.jsonl", "--output", "out.jsonl", f"--seed={value}")
    assert f"--seed is {value}: it must be from 0 to" in error


def test_limits_are_those_of_every_setting() -> None:
    check_limits(seed=0, **LARGEST)
    for name, largest in LARGEST.items():
        for wrong in (0, -1, float("nan"), largest * 2):
            with pytest.raises(LiraError, match=f"^{name} is {wrong}: it must be positive"):
                check_limits(**{name: wrong})


# --- files


def test_an_output_in_a_folder_that_is_missing_makes_it(folder: Path) -> None:
    output = folder / "new" / "er" / "out.jsonl"
    assert lira("translate", "--input", "in.jsonl", "--output", output, "--dictionary", "d.tsv") == 0
    assert [c["text"] for c in read_lines(output)[0]["candidates"]] == ["shirt", "shirt"]


@pytest.mark.parametrize("command", ["translate", "critique"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("in.jsonl", "--input and --output are both"),
        ("link.jsonl", "--input and --output are both"),
        ("../{name}/in.jsonl", "--input and --output are both"),
        ("taken.jsonl", "is a folder: give a file"),
        ("in.jsonl/out.jsonl", "in.jsonl"),
        ("out.txt", "must end in .jsonl or .parquet"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    command: str, output: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "link.jsonl").symlink_to(folder / "in.jsonl")
    (folder / "taken.jsonl").mkdir()
    before = (folder / "in.jsonl").read_bytes()
    output = output.format(name=folder.name)
    assert message in complaint(capsys, command, "--input", "in.jsonl", "--output", output, *SERVED)
    assert (folder / "in.jsonl").read_bytes() == before
    assert not list(folder.glob("*.store"))


def test_an_output_is_no_other_file_of_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d.jsonl").write_bytes((folder / "d.tsv").read_bytes())
    command = ["translate", "--input", "in.jsonl", "--dictionary", "d.jsonl", "--output", "d.jsonl"]
    assert "--dictionary and --output are both" in complaint(capsys, *command)
    command = ["critique", "--input", "in.jsonl", "--output", "o.jsonl", "--calibration", "o.jsonl"]
    assert "--calibration and --output are both" in complaint(capsys, *command)
    command = ["translate", "--input", "in.jsonl", "--output", "o.jsonl", "--store", "in.jsonl", *SERVED]
    assert "--input and --store are both" in complaint(capsys, *command)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"language": "vi", "text": "áo", "n": ' + "9" * 5000 + "}", "line 1 is not JSON"),
        ('{"language": "vi", "text": "áo", "n": ' + "[" * 100_000 + "}", "line 1 is not JSON"),
        ('{"language": "xx", "text": "áo"}', "row 1: unknown language 'xx': give a BCP 47 code"),
        ('{"language": "\x1b[31m", "text": "áo"}'.replace("\x1b", "\\u001b"), "unknown language"),
        ('{"language": "vi", "text": "\\u200e \\u0000"}', "row 1: column 'text' is"),
        ('{"language": "vi", "text": "áo", "candidates": [{"text": "a", "semantic": true}]}', "must be from 1 to 10"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_line(
    content: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "in.jsonl").write_text(content, encoding="utf-8")
    command = ["translate", "--input", "in.jsonl", "--output", "out.jsonl", "--dictionary", "d.tsv"]
    error = complaint(capsys, *command)
    assert message in error and "\x1b" not in error and len(error) < 1000


def test_a_file_of_another_encoding_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in.jsonl").write_bytes('{"language": "vi", "text": "áo"}'.encode("cp1258", "replace"))
    command = ["translate", "--input", "in.jsonl", "--output", "out.jsonl", "--dictionary", "d.tsv"]
    assert "'in.jsonl' line 1 is not UTF-8 text" in complaint(capsys, *command)


def test_columns_that_are_not_used_stay_whatever_they_hold(folder: Path) -> None:
    """A time zone that nobody knows, a date after the year 9999, nanoseconds: Python cannot hold them."""
    table = pa.table(
        {
            "language": ["vi"],
            "text": ["áo"],
            "zone": pa.array([datetime(2026, 1, 1, tzinfo=UTC)]).cast(pa.timestamp("us", "Mars/Phobos")),
            "late": pa.array([4 * 10**11], pa.int64()).cast(pa.timestamp("s")),
            "nano": pa.array([1], pa.int64()).cast(pa.timestamp("ns")),
        }
    )
    pq.write_table(table, folder / "in.parquet")
    command = ["translate", "--input", "in.parquet", "--dictionary", "d.tsv"]
    assert lira(*command, "--output", "out.parquet") == 0
    written = pq.read_table(folder / "out.parquet")
    assert written.drop_columns(["candidates"]).equals(pq.read_table(folder / "in.parquet"))
    assert lira(*command, "--output", "out.jsonl") == 0
    row = json.loads((folder / "out.jsonl").read_text(encoding="utf-8"))
    assert row["late"].startswith("14645-06-30") and row["nano"].endswith("000000001") and "2026-01-01" in row["zone"]


# --- long texts

LONG = {
    "words": "áo " * 3_300_000,
    "one word": "á" * 10_000_000,
    "thai": "เสื้อ" * 2_000_000,
    "spaces": " " * 9_999_999 + "áo",
    "controls": "\x00" * 9_999_999 + "áo",
    "lines": "áo\n" * 3_300_000,
}


@pytest.mark.parametrize("name", LONG)
def test_ten_million_characters_are_glossed_in_seconds(name: str) -> None:
    text, language = LONG[name], "th" if name == "thai" else "vi"
    terms = {"vi": {"áo": ("shirt", "top"), "áo thun": ("tee",)}, "th": {"เสื้อ": ("shirt",), "เ" * 60: ("x",)}}
    start = time.process_time()
    [[(_, candidates)]] = DictionaryTranslator(terms, name="d").translate([text], [language])
    assert time.process_time() - start < 20
    assert all(len(candidate) <= 400 for candidate in candidates)
    assert bool(candidates) == (name != "one word")


def test_a_gloss_depends_on_the_first_characters_alone() -> None:
    terms = {"vi": {"áo": ("shirt",), "mũ": ("hat",)}}
    agent = DictionaryTranslator(terms, name="d")
    beginning = "mũ " + "x " * ((MAX_TEXT_CHARACTERS - 3) // 2)
    assert agent.gloss(beginning + "áo", "vi") == agent.gloss(beginning, "vi")
    assert agent.gloss("  \n mũ  áo", "vi") == ["hat shirt"]


def test_a_long_text_is_cut_before_it_is_tokenized() -> None:
    assert harmless("a" * 1000, max_tokens=2) == "a" * 128
    assert harmless(" \x00" * 1000 + "a<b>", max_tokens=2) == "a‹b›"


def test_blank_texts_are_refused_quickly_and_long_ones_taken() -> None:
    start = time.process_time()
    check_texts(["x" * 10_000_000] * 50, ["vi"] * 50)
    assert time.process_time() - start < 1
    for blank in (" \u2028\x00", "\u200b", "\u3164\u0301"):
        with pytest.raises(LiraError, match="text 0 is empty"):
            check_texts([blank], ["vi"])


def test_help_says_that_feeling_is_not_measured_offline(capsys: pytest.CaptureFixture[str]) -> None:
    assert lira("critique", "--help") == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "feeling is not measured" in text and "stays empty" in text
    card = Path(__file__).parents[1] / "dataset_builder" / "cards" / "frame.md"
    assert "it is no score to train or judge by" in card.read_text(encoding="utf-8")


def test_a_summary_is_json_that_can_be_read(folder: Path) -> None:
    assert lira("translate", "--input", "in.jsonl", "--output", "out.jsonl", "--dictionary", "d.tsv") == 0
    assert json.loads((folder / "out.jsonl").read_text(encoding="utf-8"))["text"] == "áo"
