"""Write files so that a crash or a full disk leaves the old content intact."""

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..errors import LiraError
from ..leftovers import held, sweep


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
    except SafetensorError as error:  # its writers' word for a full disk too
        raise OSError(f"cannot write {final}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, all of it or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, all of it or nothing."""
    atomic_write_bytes(path, text.encode("utf-8"))
