"""Write files so that a crash or a full disk leaves the old content intact."""

import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from safetensors import SafetensorError

from .errors import LiraError

_TEMPORARY = re.compile(r"\.(?P<stem>.*?)\.([a-z0-9_]{8}|[0-9a-f]{12})(?P<suffix>(\.[^.]*)?)")
"""A dot, the final name's stem, a dot, random characters, the suffix."""
_ABANDONED = 24 * 3600
"""Seconds after which a temporary file counts as abandoned where no lock can tell."""


def sweep(folder: Path | str, *names: str) -> None:
    """Remove temporary files and folders whose writers were killed, never one that a process writes just now.

    Parameters
    ----------
    folder : Path or str
    names : str
        The final names that they were to have, as patterns such as `shard-*.parquet`.
    """
    for path in list(Path(folder).glob(".*")):
        final = final_name(path.name)
        if final and any(fnmatchcase(final, name) for name in names):
            with held(path) as is_abandoned:
                if is_abandoned:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def final_name(name: str) -> str | None:
    """Return the name that a temporary file was to have, None for any other file."""
    match = _TEMPORARY.fullmatch(name)
    return match["stem"] + match["suffix"] if match else None


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Lock a temporary file or folder as long as it is used, or until its process dies; yield whether that worked."""
    if fcntl is None:
        yield path.exists() and time.time() - path.stat().st_mtime > _ABANDONED
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # gone, or a link
        yield False
        return
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success move it into place, on failure remove it.

    What an earlier writer of the same file left when it was killed is removed too.

    Parameters
    ----------
    path : Path or str
        The final file; its folder is created.

    Yields
    ------
    Path
        Where to write. The suffix is kept, since some writers choose the format by it.

    Source: ours.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep(final.parent, glob.escape(final.name))
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem}.", suffix=final.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        with held(temporary):
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, all of it or nothing.

    Source: ours.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, all of it or nothing.

    Source: ours.
    """
    atomic_write_bytes(path, text.encode("utf-8"))


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `target`, on the same disk; after a failure nothing of it stays."""
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".saving-") as name:
            yield Path(name)
    except (OSError, SafetensorError) as error:
        raise LiraError(f"cannot save to {str(target)!r}: {error}") from error
    finally:
        if is_new and target.is_dir() and not any(target.iterdir()):
            target.rmdir()


def move_over(source: Path, target: Path) -> None:
    """Move every file of `source` into `target`, replacing what has the same name and weights of another layout."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb+") as written:
            os.fsync(written.fileno())
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
    for path in files:
        path.replace(target / path.relative_to(source))
    names = {path.name for path in files}
    for old in target.glob("model*.safetensors*"):
        if old.name not in names:  # one file before, shards now, or the other way round
            old.unlink()
