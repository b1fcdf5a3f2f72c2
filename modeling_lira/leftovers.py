"""Remove temporary files and folders whose writers were killed."""

import os
import re
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
