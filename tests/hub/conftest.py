"""The Hub of a test, and clients of it in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.server import WRITER, Hub

ROOT = Path(__file__).parents[2]
Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub without repositories."""
    with Hub() as server:
        yield server


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """Run Python, such as ("-m", "dataset_builder", …), as a client of the Hub with an empty cache."""

    def run(*arguments: object, token: str = WRITER, home: str = "home") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **hub.environment(token, tmp_path / home)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run
