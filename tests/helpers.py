"""What several tests use: commands, JSON lines, and what is installed with which extras."""

import json
import resource
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modeling_lira.cli import main

Row = dict[str, Any]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the writing of larger files fail, as a full disk does, in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def write_lines(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lira(*arguments: object, run: Callable[[list[str]], None] = main) -> int:
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as stop:
        run([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def packages_of(extras: Sequence[str] = ()) -> set[str]:
    """Names of all packages that installing this project with some extras brings, its own among them."""
    known = {"modeling-lira"}
    waiting = [("modeling-lira", ("", *extras))]
    while waiting:
        package, wanted = waiting.pop()
        try:
            lines = requires(package) or []
        except PackageNotFoundError:
            continue
        for one in map(Requirement, lines):
            name = canonicalize_name(one.name)
            if name not in known and (
                one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in wanted)
            ):
                known.add(name)
                waiting.append((name, ("", *one.extras)))
    return known


@cache
def _owners() -> dict[str, set[str]]:
    return {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}


def modules_beyond(extras: Sequence[str] = ()) -> list[str]:
    """Names of the modules that are installed here and that installing with these extras does not bring."""
    brought = packages_of(extras)
    return sorted(module for module, names in _owners().items() if not names & brought)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and every folder that holds none."""
    everything = [path for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in everything}


def put_on_hub(cache: Path, repo: str, commit: str, folder: Path) -> None:
    """Lay a folder out as the cache of a repository that was downloaded before."""
    repo_folder = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, repo_folder / "snapshots" / commit)
    (repo_folder / "refs").mkdir()
    (repo_folder / "refs" / "main").write_text(commit)
