"""Long steps say how far they are: with a bar on a terminal, with a line now and then without one."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_corpus import write_corpus

from modeling_lira import LiraModel
from modeling_lira.data.corpus import load_split
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_split
from modeling_lira.faces import progress
from modeling_lira.faces.progress import Progress
from modeling_lira.training.options import LasrOptions
from modeling_lira.training.resumable import run_stage


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


@pytest.mark.usefixtures("often")
def test_without_a_terminal_there_are_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress(total=5, initial=1, desc="streams", unit="text") as bar:
        bar.update(3)
    assert list(Progress("ab", desc="runs", unit="run")) == ["a", "b"]
    assert caplog.messages == ["streams: 4 of 5 texts", "runs: 1 of 2 runs", "runs: 2 of 2 runs"]


def test_lines_are_seldom(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert len(list(Progress(range(1000), desc="runs", unit="run"))) == 1000
    assert not caplog.messages


@pytest.mark.usefixtures("often")
def test_on_a_terminal_there_is_a_bar_and_no_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    caplog.set_level(logging.INFO)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(Progress("ab", desc="runs", unit="run")) == ["a", "b"]
    assert "runs" in terminal.getvalue() and not caplog.messages


@pytest.mark.usefixtures("often")
def test_encoding_and_training_say_how_far_they_are_and_print_nothing_else(
    build_model: Callable[..., LiraModel],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, corpus = build_model(), write_corpus(tmp_path / "corpus", ["vi"])
    caplog.set_level(logging.INFO, "modeling_lira")
    capfd.readouterr()
    tables = [cache_split(model, StreamCache(tmp_path / "streams"), load_split(str(corpus), "vi", "train"))]
    run_stage("lasr", model, tables, tables, tmp_path, options=LasrOptions(epochs=1, batch_size=4))
    assert "multilingual encoder: 8 of 8 texts" in caplog.messages
    assert "   step 1 of 2" in caplog.messages
    printed, bars = capfd.readouterr()
    assert not printed and "split" not in bars and "it/s" not in bars
