"""A name of nothing: every command that takes a model, a corpus or a file says so in one line, and waits for no Hub."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers import lira
from huggingface_hub import constants
from tiny_corpus import write_corpus

from modeling_lira.data.corpus import languages_with
from modeling_lira.errors import LiraError
from modeling_lira.files.sources import check_source

CARD = Path(__file__).parents[1] / "model_cards" / "lira-e5-small-minilm"
COMMANDS = (
    ("serve", "--model", "NAME"),
    ("space", "--model", "NAME"),
    ("encode", "--model", "NAME", "--input", "texts.csv", "--output", "o"),
    ("merge", "NAME", "--output", "o"),
    ("export", "NAME"),
    ("evaluate", CARD, "--corpus", "NAME"),
    ("evaluate", "NAME", "--corpus", "NAME"),
    ("train", "--corpus", "NAME", "--output", "o"),
    ("train-reasoning", "--questions", "NAME", "--output", "o"),
    ("translate", "--input", "texts.csv", "--output", "o.jsonl", "--model", "NAME"),
    ("critique", "--check", "--model", "NAME"),
    ("serve", "--model", CARD, "--multilingual", "NAME"),
    ("demo", "--output", "o", "--english", "NAME"),
    ("search", "--index", "index", "--add", "NAME"),
    ("push", "NAME", "--to", "my-org/search"),
    ("push", "NAME", "--space", "my-org/search"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's, with a run in it, beside a Hub that nobody can reach."""
    (tmp_path / "runs" / "search").mkdir(parents=True)
    (tmp_path / "texts.csv").write_text("text,language\nbaju merah,id\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with socket.socket() as closed:  # bound, but not listening: a connection is refused at once
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        yield tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command[:2])))
def test_a_misspelt_folder_is_named_in_one_line(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code = lira(*("runs/serach" if word == "NAME" else word for word in command))
    errors = capsys.readouterr().err.splitlines()
    assert (code, len(errors)) == (2, 1), errors
    assert "'runs/serach': there is no such folder; did you mean 'runs/search'?" in errors[0]


@pytest.mark.parametrize("name", ["nothing", "my-org/nothing"])
@pytest.mark.parametrize("command", COMMANDS[:4] + COMMANDS[7:13], ids=lambda command: " ".join(map(str, command[:2])))
def test_without_a_connection_the_folder_is_named_first(
    command: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = lira(*(name if word == "NAME" else word for word in command))
    errors = capsys.readouterr().err.splitlines()
    assert (code, len(errors)) == (2, 1), errors
    assert f"{name!r}: there is no such folder here, and no such" in errors[0]
    assert "cannot be reached" in errors[0]


@pytest.mark.parametrize("name", ["./x", "../x", "~/no/x", "/no/such/folder", "a/b/c", "two words/x", "runs/x", "x/"])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(LiraError, match=r"there is no such folder$"):
        check_source("model", name)


def test_a_file_is_no_folder() -> None:
    with pytest.raises(LiraError, match=r"^model 'texts.csv' is a file: give a folder$"):
        check_source("model", "texts.csv")


def test_what_is_here_or_in_the_cache_is_not_asked_of_the_hub(folder: Path) -> None:
    (folder / "cache" / "models--my-org--search").mkdir(parents=True)
    for name in ("runs/search", "my-org/search"):
        check_source("model", name)


def test_encode_looks_for_its_input_before_it_loads_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert lira("encode", "--model", CARD, "--input", "nothing.csv", "--output", "o", "--english", "no/such/x") == 2
    assert "no input file 'nothing.csv'" in capsys.readouterr().err


def test_a_language_without_validation_queries_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = write_corpus(folder / "corpus", ("vi", "th"))
    card = yaml.safe_load((corpus / "README.md").read_text(encoding="utf-8").split("---")[1])
    for config in card["configs"]:
        if config["config_name"].startswith("th-"):
            config["data_files"] = config["data_files"][:1]
    (corpus / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")
    assert languages_with(str(corpus), ["train", "validation"]) == ("vi",)
    assert caplog.messages == ["left out: th, of which the corpus has no queries for train and validation"]
    with pytest.raises(LiraError, match="no language with queries for dev"):
        languages_with(str(corpus), ["dev"])
