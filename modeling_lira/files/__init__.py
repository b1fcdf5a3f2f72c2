"""Write files so that a crash or a full disk leaves the old content intact."""

import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from ..errors import LiraError

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


def home_expanded(path: Path | str) -> Path:
    """Return a path with `~` replaced by the home folder; raise `LiraError` where there is no such user or home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise LiraError(f"path {str(path)!r}: {error}; write it out in full") from error


def new_file_mode(folder: Path) -> int:
    """Return the mode that a new file in a folder gets, as the umask has it."""
    probe = folder / f".mode.{secrets.token_hex(6)}"
    probe.touch(exist_ok=False)
    mode = probe.stat().st_mode
    probe.unlink()
    return mode


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success move it into place, on failure remove it.

    Parameters
    ----------
    path : Path or str
        The final file; its folder is created. It gets the mode that the umask gives any new file.

    Yields
    ------
    Path
        Where to write. The suffix is kept, since some writers choose the format by it.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep(final.parent, glob.escape(final.name))
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(6)}{final.suffix}")
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode  # as the umask has it; a writer that makes the file anew may choose another
    try:
        with held(temporary):
            yield temporary
            temporary.chmod(mode)
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, all of it or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, all of it or nothing."""
    atomic_write_bytes(path, text.encode("utf-8"))
