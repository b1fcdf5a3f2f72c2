"""`python -m dataset_builder` from end to end, in processes of its own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
from helpers import largest_file

from dataset_builder.__main__ import main
from dataset_builder.generator.corpus import SliceQuery, build_corpus, slice_queries

ROOT = Path(__file__).parents[1]


def start(*arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dataset_builder", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores Ctrl-C
    )


def digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_process_with_another_hash_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """This process has a random hash seed."""
    process = start("build", "--output", tmp_path / "there", "--languages", "ur", "vi", PYTHONHASHSEED="1")
    build_corpus(tmp_path / "here", languages=("ur", "vi"))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "4,800 products in" in stderr
    assert len(digests(tmp_path / "here")) == 2 * 4 * 3 + 3  # README.md, LICENSE.md and NOTICE
    assert digests(tmp_path / "there") == digests(tmp_path / "here")


@cache
def queries() -> list[SliceQuery]:
    return list(slice_queries(("fil", "ms")))


def test_queries_command_writes_the_slice(tmp_path: Path) -> None:
    output = tmp_path / "queries.jsonl"
    with pytest.raises(SystemExit) as stop:
        main(["queries", "--output", str(output), "--languages", "fil,ms"])
    assert stop.value.code == 0
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    here = [
        {"text": query.text, "language": query.language, "split": query.split, "kind": query.kind}
        for query in queries()
    ]
    assert rows == here


def test_limited_queries_are_validation_test_and_the_first_of_training(tmp_path: Path) -> None:
    output = tmp_path / "queries.jsonl"
    with pytest.raises(SystemExit) as stop:
        main(["queries", "--output", str(output), "--languages", "fil", "--most", "230"])
    assert stop.value.code == 0
    texts = [json.loads(line)["text"] for line in output.read_text(encoding="utf-8").splitlines()]
    whole = [query for query in queries() if query.language == "fil"]
    rest = [query.text for query in whole if query.split != "train"]
    assert texts == [*(query.text for query in whole if query.split == "train")][:30] + rest
    assert len(texts) == 230


def test_killed_and_interrupted_builds_leave_no_folder_that_looks_complete(tmp_path: Path) -> None:
    processes = {
        stop: start("build", "--output", tmp_path / stop.name, "--size", "default", "--languages", "th")
        for stop in (signal.SIGKILL, signal.SIGINT)
    }
    for stop, process in processes.items():
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(f".{stop.name}.partial/*-corpus/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(stop)
    stderr = {stop: process.communicate(timeout=60)[1] for stop, process in processes.items()}
    assert [process.returncode for process in processes.values()] == [-signal.SIGKILL, 130]
    interrupted = stderr[signal.SIGINT].splitlines()
    assert interrupted[-1] == "python -m dataset_builder: interrupted; run the same command again to go on"
    assert len(interrupted) == 1
    assert [path.name for path in tmp_path.iterdir()] == [".SIGKILL.partial"]
    assert not (tmp_path / ".SIGKILL.partial" / "README.md").exists()


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must end with exit code 2; return its one line."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--size", "huge"], "size 'huge' is unknown: choose one of slice, default, mega"),
        (["build", "--languages", "tl", "th"], "language tl is unknown: choose from vi th id ms ur bn fil"),
        (["build", "--seed", "x"], "valid integer"),
        (["build", "--seed", "-1"], "Invalid value for '--seed'"),
        (["build", "--candidates", "none.xz"], "candidates file none.xz does not exist"),
        (["queries", "--most", "-3"], "Invalid value for '--most'"),
        (["build", "--shiny"], "No such option: --shiny"),
        (["queries", "--languages", ","], "language (none) is unknown"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_wrong_arguments_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    output = [] if arguments == ["fly"] else ["--output", tmp_path / "corpus"]
    assert message in fails(capsys, *arguments, *output)
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_a_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "corpus"
    file.write_text("mine", encoding="utf-8")
    assert "is not a folder: name a new one" in fails(capsys, "build", "--output", file)
    assert file.read_text(encoding="utf-8") == "mine"
    assert "Is a directory" in fails(capsys, "queries", "--languages", "th", "--output", tmp_path)
    assert "Not a directory" in fails(capsys, "build", "--languages", "th", "--output", file / "inside")


def test_damaged_candidates_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    damaged = tmp_path / "candidates.xz"
    damaged.write_bytes(b"not xz")
    line = fails(capsys, "build", "--output", tmp_path / "corpus", "--candidates", damaged)
    assert "is damaged" in line
    assert "restore it from the repository" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no input file "),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"hello\n", "line 1 is not JSON"),
        (b'{"language": "th", "text": "a"}\n', "line 1: not a candidates row"),
        (b'{"language": "th", "text": "a", "candidates": [{"name": "b"}]}\n', "line 1: not a candidates row"),
        (b'[]\n{"language"', "line 1 is not a JSON object"),
        (b"\xff", "line 1 is not UTF-8 text"),
    ],
)
def test_what_cannot_be_packed_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, message: str
) -> None:
    scored = tmp_path / "scored.jsonl"
    if content is not None:
        scored.write_bytes(content)
    assert message in fails(capsys, "pack", "--input", scored, "--output", tmp_path / "candidates.xz")
    assert not (tmp_path / "candidates.xz").exists()


def test_full_disk_is_one_line_and_leaves_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with largest_file(40_000):
        line = fails(capsys, "build", "--languages", "th", "--output", tmp_path / "corpus")
    assert "File too large" in line
    assert list(tmp_path.iterdir()) == []


def test_help_of_every_command_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    for command in ("build", "queries", "pack", "agreement", "report", "publish"):
        assert command in listed
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"python -m dataset_builder {command}" in capsys.readouterr().out
