"""Write files so that a crash or a full disk leaves the old content intact."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from .errors import LiraError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success move it into place, on failure remove it.

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
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem}.", suffix=final.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
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
