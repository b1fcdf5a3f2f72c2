"""One form for every result: what was measured, with what, on what, at which cost, and by which command."""

import hashlib
import json
import math
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text
from modeling_lira.hub_client import FAILED
from modeling_lira.model_card import WEIGHTS, weights_digest
from modeling_lira.records.command_line import command_line
from modeling_lira.records.provenance import hardware, peak_memory_gib, versions

from .options import RECORDS

ROOT = Path(__file__).parents[1]
_NO_DATASET: tuple[type[Exception], ...] = (*FAILED, OSError, HFValidationError, ValueError)


@dataclass(frozen=True)
class Record:
    """A result and where it comes from.

    Attributes
    ----------
    name : str
        Of the measurement, such as "retrieval"; also the file's.
    payload : dict
        The figures, in the measurement's own form.
    seeds : tuple of int
        Of everything random in it.
    corpus : str, optional
        Version of the corpus, of `corpus_version`; None where no corpus was used.
    command : str
        What makes it again. Paths outside the working folder are given by their last part.
    revision : str
        Of the code; "+changes" where files differ from it.
    created : str
        ISO 8601, UTC.
    versions : dict of str
        Of Python and the packages that matter.
    hardware : dict
        CPU's name, threads used, RAM in GiB, system.
    seconds, cpu_seconds : float
        Of the process that finished it, child processes' CPU time included; a resumed run does not count earlier ones.
    peak_memory_gib : float

    Source: ours.
    """

    name: str
    payload: dict[str, Any]
    seeds: tuple[int, ...]
    corpus: str | None
    command: str
    revision: str
    created: str
    versions: dict[str, str]
    hardware: dict[str, str | int | float]
    seconds: float
    cpu_seconds: float
    peak_memory_gib: float

    def write(self, folder: Path = RECORDS) -> Path:
        """Write the record to `folder/<name>.json`, all of it or nothing, and return that path.

        Raises
        ------
        LiraError
            A figure that is infinite: JSON has none. NaN, "there is no value", becomes null.
        """
        path = folder / f"{self.name}.json"
        atomic_write_text(path, json.dumps(_plain(asdict(self), self.name), indent=1, ensure_ascii=False) + "\n")
        return path


@dataclass
class Meter:
    """Measure one step from its construction to `record`.

    Source: ours.
    """

    name: str
    seeds: Sequence[int] = ()
    corpus: str | None = None
    _start: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=lambda: sum(os.times()[:4]))

    def record(self, payload: Mapping[str, Any]) -> Record:
        """Return what was measured, with the time since this meter was made."""
        return Record(
            name=self.name,
            payload=dict(payload),
            seeds=tuple(self.seeds),
            corpus=self.corpus,
            command=command_line(),
            revision=revision(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            hardware=hardware(),
            seconds=round(time.perf_counter() - self._start, 2),
            cpu_seconds=round(sum(os.times()[:4]) - self._cpu, 2),
            peak_memory_gib=round(peak_memory_gib(), 3),
        )


def read_record(path: Path, name: str | None = None, corpus: str | None = None) -> Record:
    """Read a record.

    Parameters
    ----------
    path : Path
    name : str, optional
        The measurement that it must be of.
    corpus : str, optional
        The corpus version that it must be of.

    Raises
    ------
    LiraError
        A file that is missing, is no record, or is of another measurement or corpus version.

    Source: ours.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = name or path.stem
        raise LiraError(f"there is no run of {what!r}: {path} is missing; run `python -m eval {what}` first") from None
    except (OSError, ValueError) as error:
        raise LiraError(f"{path} is not a record: {error}") from error
    names = {own.name for own in fields(Record)}
    if not isinstance(found, dict) or found.keys() != names or not isinstance(found["payload"], dict):
        wrong = sorted(names ^ found.keys()) if isinstance(found, dict) else ["a dictionary was expected"]
        raise LiraError(f"{path} is not a record of this version ({', '.join(wrong or ['payload'])}): run it again")
    record = Record(**{**found, "seeds": tuple(found["seeds"])})
    if name is not None and record.name != name:
        raise LiraError(f"{path} is a record of {record.name!r}, not of {name!r}")
    if corpus is not None and record.corpus != corpus:
        raise LiraError(f"{path} was measured on corpus version {record.corpus}, this is {corpus}: run it again")
    return record


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

    Source: ours.
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
    try:
        return str(HfApi().dataset_info(corpus).sha)[:12]
    except _NO_DATASET as error:
        raise LiraError(f"corpus {corpus!r} is neither a folder of Parquet files nor a dataset on the Hub") from error


def weights_of(model: str) -> str | None:
    """Return a digest of a model folder's weights, by which a record knows them again; None for a Hub id."""
    folder = Path(model)
    return weights_digest(folder)[:12] if any(folder.glob(WEIGHTS)) else None


def revision() -> str:
    """Return the checkout's commit, with "+changes" where tracked files differ from it; "unknown" without git."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    return head[:12] + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _plain(value: object, where: str) -> object:
    """Return what JSON can hold: string keys, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(own, f"{where}.{key}") for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own, where) for own in value]
    if isinstance(value, float):
        if math.isinf(value):
            raise LiraError(f"{where} is infinite: something went wrong in measuring it")
        return None if math.isnan(value) else value
    return value
