"""Where a result comes from: its command, code, machine, libraries and cost, and what tells it from other results.

Every file of results, of `lira train`, `lira evaluate`, `lira demo` and `python -m eval`, takes this from here.
"""

import hashlib
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from ..errors import LiraError
from ..files import atomic_write_text
from ..files.hub_client import FAILED
from ..files.sources import check_source
from .command_line import command_line, shown
from .model_card import WEIGHTS, weights_digest

PACKAGES = ("torch", "transformers", "datasets", "peft", "numpy", "mteb", "sentence-transformers", "ranx")
ROOT = Path(__file__).parents[2]
SUBJECT = "subject"
"""Key under which a record says what it measures."""
_NO_DATASET: tuple[type[Exception], ...] = (*FAILED, OSError, HFValidationError, ValueError)


# ---------------------------------------------------------------- how a result came about


@dataclass
class Clock:
    """Time and CPU time since it was made, those of finished child processes included."""

    _start: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=lambda: sum(os.times()[:4]))

    @property
    def seconds(self) -> float:
        """Seconds that passed."""
        return round(time.perf_counter() - self._start, 2)

    @property
    def cpu_seconds(self) -> float:
        """Seconds of CPU time."""
        return round(sum(os.times()[:4]) - self._cpu, 2)

    def provenance(self) -> dict[str, Any]:
        """Return what a record says of its origin.

        Returns
        -------
        dict of `command`, `revision` of the code, `created` (ISO 8601, UTC), `versions`, `hardware`, `seconds` and
        `cpu_seconds` since the clock was made, and `peak_memory_gib`
        """
        return {
            "command": command_line(),
            "revision": revision(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "hardware": hardware(),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_memory_gib": round(peak_memory_gib(children=True), 3),
        }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    numbers = {"python": platform.python_version()}
    for name in packages:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            continue
    return numbers


def hardware() -> dict[str, str | int | float]:
    """Return the CPU's name, the threads in use, the RAM and the system."""
    return {
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_gib(children: bool = False) -> float:
    """Return the largest resident memory that this process, or with `children` one that it waited for, had."""
    unit = 1 if sys.platform == "darwin" else 1024
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN) if children else (resource.RUSAGE_SELF,)
    return max(resource.getrusage(process).ru_maxrss for process in processes) * unit / 2**30


def revision() -> str:
    """Return the checkout's commit, with "+changes" where tracked files differ from it; "unknown" without a checkout.

    An installed package may lie in somebody else's repository: only a repository of this code itself counts.
    """
    head = _git("rev-parse", "HEAD")
    if not head or Path(_git("rev-parse", "--show-toplevel")).resolve() != ROOT.resolve():
        return "unknown"
    return head[:12] + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


# ---------------------------------------------------------------- what was measured


def corpus_version(corpus: str) -> str:
    """Return what tells one version of a corpus from another.

    Parameters
    ----------
    corpus : str
        Folder (a digest of its Parquet files) or Hub dataset (its commit).

    Raises
    ------
    LiraError
        A folder without Parquet files that is no Hub dataset either.
    """
    folder = Path(corpus)
    files = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    if files:
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()[:12]
    check_source("corpus", corpus, "dataset")
    try:
        return str(HfApi().dataset_info(corpus).sha)[:12]
    except _NO_DATASET as error:
        raise LiraError(f"corpus {corpus!r} is neither a folder of Parquet files nor a dataset on the Hub") from error


def weights_of(model: str) -> str | None:
    """Return a digest of a model folder's weights, by which a record knows them again; None for a Hub id."""
    folder = Path(model)
    return weights_digest(folder)[:12] if any(folder.glob(WEIGHTS)) else None


def identities(models: Iterable[str]) -> list[str]:
    """Return what tells models apart: the digest of a folder's weights, or the Hub id."""
    return [weights_of(model) or shown(model) for model in models]


def digest_of(value: object) -> str:
    """Return a short digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


# ---------------------------------------------------------------- files of records


def write_record(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a record as JSON, all of it or nothing; what measures something else keeps a file of its own.

    `path` holds the newest record. One that stands there and has another `subject` (other weights, another corpus,
    other options) is first renamed to `<name>.<digest of its subject>.json`, where `records_at` finds it.

    Raises
    ------
    LiraError
        A figure that is infinite: JSON has none. NaN, "there is no value", becomes null.
    """
    plain = json.loads(json.dumps(plain_json(record, path.stem)))
    previous = _read(path)
    if previous is not None and previous.get(SUBJECT) != plain.get(SUBJECT):
        path.replace(_apart(path, previous))
    atomic_write_text(path, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    _apart(path, plain).unlink(missing_ok=True)  # an older record of the same
    return path


def _apart(path: Path, record: Mapping[str, Any]) -> Path:
    return path.with_name(f"{path.stem}.{digest_of(record.get(SUBJECT))}.json")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def records_at(path: Path) -> Iterator[Path]:
    """Yield the files of a measurement's records: `path` itself, the newest, then those of other subjects."""
    if path.is_file():
        yield path
    yield from sorted(path.parent.glob(f"{path.stem}.*.json"))


def plain_json(value: object, where: str) -> object:
    """Return what JSON can hold: string keys, NaN as null; raise `LiraError` for an infinite number."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(part, f"{where}.{key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(part, where) for part in value]
    if isinstance(value, float):
        if math.isinf(value):
            raise LiraError(f"{where} is infinite: something went wrong in measuring it")
        return None if math.isnan(value) else value
    return value
