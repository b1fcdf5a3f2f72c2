"""The user's folder of converted backbones: checksums, one writer at a time, all of a folder or nothing."""

import glob
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from glob import escape
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import LiraError
from ..files import atomic_write_text, home_expanded, new_file_mode

logger = logging.getLogger(__name__)

MANIFEST = "lira_backbone.json"
# Raised when a conversion changes, so that folders written by an older one are made again.
FORMAT = 1
LOCK_SECONDS = 900


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a converted folder holds and where it came from."""

    name: str
    licence: str
    source: str
    packages: tuple[str, ...]
    files: Mapping[str, FileRecord]
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Write the manifest into `folder`."""
        atomic_write_text(folder / MANIFEST, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read the manifest of `folder`.

        Raises
        ------
        ValueError, TypeError, KeyError
            A file that is not a manifest of ours.
        """
        fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): FileRecord(int(entry["size"]), entry["sha256"]) for name, entry in fields["files"].items()}
        return cls(**{**fields, "files": files, "packages": tuple(fields["packages"])})


def cache_root() -> Path:
    """Return the folder of all converted backbones.

    `$LIRA_CACHE/backbones`, else `$XDG_CACHE_HOME/lira/backbones`, else `~/.cache/lira/backbones`.
    """
    if chosen := os.environ.get("LIRA_CACHE"):
        return home_expanded(chosen) / "backbones"
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says to ignore a relative path.
    try:
        base = shared if shared.is_absolute() else home_expanded("~") / ".cache"
    except LiraError as error:
        raise LiraError("there is no home folder for the converted backbones: set LIRA_CACHE to a folder") from error
    return base / "lira" / "backbones"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, computed once a process while its size and time of change stay the same."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, modified: int, inode: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_problem(folder: Path, expected: Manifest, full: bool = True) -> str | None:
    """Compare a converted folder with its manifest.

    Parameters
    ----------
    folder : Path
    expected : Manifest
        What this version of the project would write; its `files` are not compared.
    full : bool
        Compare checksums as well as sizes.

    Returns
    -------
    str or None
        What is wrong in a few words, or None.
    """
    if not folder.is_dir():
        return "not converted yet"
    try:
        manifest = Manifest.load(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{MANIFEST} is unreadable ({type(error).__name__})"
    if (manifest.format, manifest.packages) != (expected.format, expected.packages):
        return "made by another version"
    problems = (_file_problem(folder / name, record, full) for name, record in manifest.files.items())
    return next((problem for problem in problems if problem), None)


def _file_problem(path: Path, record: FileRecord, full: bool) -> str | None:
    if not path.is_file():
        return f"{path.name} is missing"
    if (size := path.stat().st_size) != record.size:
        return f"{path.name} has {size} bytes, not {record.size}"
    return f"{path.name} has another SHA-256" if full and sha256_of(path) != record.sha256 else None


def build_folder(folder: Path, manifest: Manifest, write: Callable[[Path], None]) -> Manifest:
    """Fill a temporary folder, record its checksums, and put it in the place of `folder`.

    Parameters
    ----------
    folder : Path
        Final place; what stands there stays untouched until the new one is complete.
    manifest : Manifest
        All but its `files`.
    write : callable
        Gets the temporary folder and writes every file into it.

    Returns
    -------
    Manifest
        With its `files`.

    Raises
    ------
    OSError
        Full disk, read-only folder.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    temporary.mkdir()
    try:
        write(temporary)
        paths = sorted(path for path in temporary.iterdir() if path.is_file())
        complete = Manifest(**{**vars(manifest), "files": {path.name: _record(path) for path in paths}})
        complete.save(temporary)
        _swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return complete


def _record(path: Path) -> FileRecord:
    path.chmod(new_file_mode(path.parent))
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    return FileRecord(path.stat().st_size, sha256_of(path))


def _swap(new: Path, final: Path) -> None:
    # A folder cannot be renamed over a full one: the old one steps aside, and comes back if the new one cannot move in.
    aside = new.with_name(new.name + ".old")
    if final.exists():
        final.replace(aside)
    try:
        new.replace(final)
    except OSError:
        if aside.exists():
            aside.replace(final)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the right to write `folder`; other processes wait. Remove what a killed writer left.

    Raises
    ------
    LiraError
        Another process held it for `LOCK_SECONDS`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f".{folder.name}.lock"
    try:
        with FileLock(lock, timeout=LOCK_SECONDS):
            for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
                rest = left.name.removeprefix(f".{folder.name}.").removesuffix(".old")
                if left.is_dir() and "." not in rest:  # else it is of a folder whose name goes on
                    _restore_or_remove(left, folder)
            yield
    except Timeout as error:
        raise LiraError(f"another process has been converting {folder} for {LOCK_SECONDS} s; remove {lock}") from error


def tidy(folder: Path) -> None:
    """Remove earlier versions that a writer, killed when its folder was complete, left; never while somebody writes."""
    beside = folder.parent.glob(f".{escape(folder.name)}.*.old")
    earlier = [left for left in beside if "." not in left.name.removeprefix(f".{folder.name}.").removesuffix(".old")]
    if not earlier:
        return
    with suppress(Timeout, OSError), FileLock(folder.parent / f".{folder.name}.lock", timeout=0):
        for left in earlier:
            shutil.rmtree(left, ignore_errors=True)


def _restore_or_remove(left: Path, folder: Path) -> None:
    if left.suffix == ".old" and not folder.exists():
        left.replace(folder)
    else:
        shutil.rmtree(left, ignore_errors=True)
