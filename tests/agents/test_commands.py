"""`lira translate` and `lira critique` on a tiny model."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from helpers import read_lines, write_lines
from tiny_agents import (
    SPOKEN,
    TEXTS,
)
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_lira.agents.calibration import Calibration
from modeling_lira.agents.check import check_pairs
from modeling_lira.agents.store import CandidateStore, Record
from modeling_lira.cli import agents as commands
from modeling_lira.cli import run


@pytest.fixture
def lira(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    monkeypatch.setattr(commands, "_load", lambda *_: (model, tokenizer))
    monkeypatch.setattr(commands, "DEFAULT_CRITIC", commands.DEFAULT_MODEL)
    app = typer.Typer()
    app.command("translate", epilog=commands.TRANSLATE_EXAMPLE)(commands.translate)
    app.command("critique", epilog=commands.CRITIQUE_EXAMPLE)(commands.critique)

    def call(*arguments: str | Path) -> int:
        with pytest.raises(SystemExit) as stop:
            run(app, "lira", [str(argument) for argument in arguments])
        return int(stop.value.code or 0)

    return SimpleNamespace(call=call)


def test_translate_then_critique_lines(lira: SimpleNamespace, tmp_path: Path) -> None:
    rows = [{"_id": row, "language": s, "text": t} for row, (t, s) in enumerate(zip(TEXTS, SPOKEN, strict=True))]
    rows[0]["candidates"] = [{"text": "a human's", "agent": "human"}]
    source = write_lines(tmp_path / "in.jsonl", rows)
    middle, final, table = tmp_path / "out.jsonl", tmp_path / "scored.jsonl", tmp_path / "table.json"
    assert lira.call("translate", "--input", source, "--output", middle) == 0
    translated = read_lines(middle)
    assert [{k: v for k, v in row.items() if k != "candidates"} for row in translated] == [
        {k: v for k, v in row.items() if k != "candidates"} for row in rows
    ]
    assert [c["agent"] for c in translated[0]["candidates"]][:2] == ["human", commands.DEFAULT_MODEL]
    assert all(c["semantic"] is None for row in translated for c in row["candidates"])
    assert (tmp_path / "out.jsonl.store").is_dir()
    assert lira.call("critique", "--input", middle, "--output", final, "--calibration", table) == 0
    scored = read_lines(final)
    assert [[c["text"] for c in r["candidates"]] for r in scored] == [
        [c["text"] for c in r["candidates"]] for r in translated
    ]
    assert all(1 <= c[aspect] <= 10 for r in scored for c in r["candidates"] for aspect in ("semantic", "pragmatic"))
    assert sorted(Calibration.load(table).tables) == sorted(set(SPOKEN))
    assert lira.call("critique", "--input", middle, "--output", tmp_path / "b.jsonl", "--calibration", table) == 0
    assert read_lines(tmp_path / "b.jsonl") == scored


def test_parquet_keeps_its_types(lira: SimpleNamespace, tmp_path: Path) -> None:
    schema = pa.schema(
        [("lang", pa.string()), ("text", pa.large_string()), ("n", pa.int8()), ("s", pa.list_(pa.int16()))]
    )
    rows = [{"lang": s, "text": t, "n": 1, "s": [1]} for t, s in zip(TEXTS[:4], SPOKEN[:4], strict=True)]
    rows[2]["n"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "in.parquet")
    middle, final = tmp_path / "out.parquet", tmp_path / "scored.parquet"
    assert lira.call("translate", "--input", tmp_path / "in.parquet", "--output", middle) == 0
    assert lira.call("critique", "--input", middle, "--output", final) == 0
    table = pq.read_table(final)
    assert table.schema.field("n").type == pa.int8() and table.schema.field("s").type == pa.list_(pa.int16())
    assert table.select(["lang", "text", "n", "s"]).to_pylist() == rows
    assert all(c["emotional"] is None for several in table["candidates"].to_pylist() for c in several)


def test_an_encoder_is_a_critic_by_embedding(
    lira: SimpleNamespace, tmp_path: Path, backbones: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    several = [{"text": "a red shirt"}, {"text": "shoes", "agent": "b"}]
    rows = [{"lang": s, "text": t, "candidates": several} for t, s in zip(TEXTS, SPOKEN, strict=True)]
    source, model = write_lines(tmp_path / "in.jsonl", rows), backbones["xlm-roberta"]
    for method in ("auto", "embedding"):
        arguments = ["--input", source, "--model", model, "--method", method, "--threads", "1"]
        assert lira.call("critique", *arguments, "--output", tmp_path / f"{method}.jsonl") == 0
    scored = read_lines(tmp_path / "auto.jsonl")
    assert scored == read_lines(tmp_path / "embedding.jsonl")
    every = [candidate for row in scored for candidate in row["candidates"]]
    assert all(1 <= c["semantic"] <= 10 and 1 <= c["pragmatic"] <= 10 and c["emotional"] is None for c in every)
    arguments = ["--input", source, "--model", model, "--output", tmp_path / "x.jsonl", "--revision", "main"]
    assert lira.call("critique", *arguments) == 2
    assert "--revision is of a Hub model" in capsys.readouterr().err


def test_a_killed_command_goes_on(
    lira: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"lang": s, "text": t} for t, s in zip(TEXTS, SPOKEN, strict=True)]
    source = write_lines(tmp_path / "in.jsonl", rows)
    assert lira.call("translate", "--input", source, "--output", tmp_path / "whole.jsonl") == 0
    put = CandidateStore.put
    batches: list[list[Record]] = []

    def interrupted(store: CandidateStore, records: Iterable[Record]) -> None:
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(list(records))
        put(store, batches[-1])

    arguments = ("translate", "--input", source, "--output", tmp_path / "out.jsonl", "--store", tmp_path / "s")
    monkeypatch.setattr(CandidateStore, "put", interrupted)
    assert lira.call(*arguments) == 130
    assert "run the same command again to go on" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    monkeypatch.setattr(CandidateStore, "put", put)
    with CandidateStore(tmp_path / "s") as store:
        assert len(store) == sum(map(len, batches))
    assert lira.call(*arguments) == 0
    assert read_lines(tmp_path / "out.jsonl") == read_lines(tmp_path / "whole.jsonl")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "no input file"),
        ('{"lang": "vi", "t": "áo"}', [], "no column 'text', only lang, t: use --text-column"),
        ('{"l": "vi", "text": "áo"}', [], "no column 'language' or 'lang', only l, text: use --language-column"),
        ('{"lang": "vi", "text": "áo"}\n{"lang": "vi", "text": " "}', [], "row 2: column 'text'"),
        ('{"lang": "vi", "text": "áo"}\n{"lang": "vi"}', [], "row 2: column 'text' is empty"),
        ('{"lang": "vn", "text": "áo"}', [], "row 1: unknown language 'vn': give a BCP 47 code such as vi, km"),
        ('{"lang": "vi", "text": 3}', [], "row 1: column 'text' is 3, not a text"),
        ('{"lang": "vi", "text"', [], "line 1 is not JSON"),
        ("[1]", [], "line 1 is not a JSON object"),
        ('{"lang": "vi", "text": "áo", "candidates": ["x", null]}', [], "row 1: a candidate needs a text"),
        ('{"lang": "vi", "text": "áo"}', ["--num-candidates", "0"], "--num-candidates is 0: it must be positive"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    content: str | None,
    options: list[str],
    message: str,
    lira: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "in.jsonl"
    if content is not None:
        source.write_text(content, encoding="utf-8")
    assert lira.call("translate", "--input", source, "--output", tmp_path / "out.jsonl", *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "--input", "in.csv", "--output", "out.csv"], "must end in .jsonl or .parquet"),
        (["critique"], "needs --input and --output, or --check"),
        (["critique", "--input", "plain.jsonl", "--output", "out.jsonl"], "run lira translate first"),
    ],
)
def test_bad_calls_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    lira: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "plain.jsonl", [{"lang": "vi", "text": "áo"}])
    assert lira.call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_unknown_model_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command("translate")(commands.translate)
    app.callback()(lambda: None)
    source = write_lines(tmp_path / "in.jsonl", [{"lang": "vi", "text": "áo"}])
    arguments = ["translate", "--input", str(source), "--output", str(tmp_path / "o.jsonl"), "--model", "pypi:no-such"]
    with pytest.raises(SystemExit) as stop:
        run(app, "lira", arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "pypi:no-such" in error and error.count("\n") == 1


def test_check_prints_shares_and_fails_a_blind_critic(
    lira: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [pair for pair in check_pairs() if pair.language in ("vi", "th")]
    monkeypatch.setattr("modeling_lira.agents.check.check_pairs", lambda: [*few[:12], *few[-12:]])
    assert lira.call("critique", "--check") == 1
    output = capsys.readouterr().out
    assert "vi   0." in output and "th   0." in output and "failed" in output


def test_help_shows_an_example(lira: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("translate", "critique"):
        assert lira.call(command, "--help") == 0
        assert f"lira {command} --input" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-16"), (",", "utf-8-sig")])
def test_a_table_of_a_spreadsheet(lira: SimpleNamespace, tmp_path: Path, separator: str, encoding: str) -> None:
    rows = [["lang", "text", "candidates"], ["vi", "áo thun", '"[""a shirt""]"'], ["th", '"two\nlines"', ""]]
    (tmp_path / "in.csv").write_text("".join(separator.join(row) + "\r\n" for row in rows), encoding, newline="")
    assert lira.call("translate", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.jsonl") == 0
    first, second = read_lines(tmp_path / "out.jsonl")
    assert (first["text"], second["text"]) == ("áo thun", "two\nlines")
    assert first["candidates"][0]["text"] == "a shirt" and second["candidates"]


def test_columns_that_python_cannot_hold_pass_through_parquet(lira: SimpleNamespace, tmp_path: Path) -> None:
    never = pa.array([2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"lang": ["vi"], "text": ["áo"], "when": never}), tmp_path / "in.parquet")
    assert lira.call("translate", "--input", tmp_path / "in.parquet", "--output", tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet")["when"].combine_chunks() == never
    assert lira.call("translate", "--input", tmp_path / "in.parquet", "--output", tmp_path / "out.jsonl") == 0
    assert "out of range" in str(read_lines(tmp_path / "out.jsonl")[0]["when"])


def test_half_a_character_is_replaced(lira: SimpleNamespace, tmp_path: Path) -> None:
    row = {"lang": "vi", "text": "áo \ud83d", "\udc00": ["\udc01"]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    assert lira.call("translate", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl") == 0
    assert read_lines(tmp_path / "out.jsonl")[0]["\ufffd"] == ["\ufffd"]
