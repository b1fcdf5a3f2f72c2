"""Checkpoint folders that are sealed when complete, so that a half-written one is never taken for a finished one."""

import hashlib
import json
import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..files import atomic_write_text

SEAL = "complete.json"
Seal = dict[str, float]
"""Seconds spent on what a sealed folder holds, `seconds` and `cpu_seconds`."""


def seal(folder: Path, facts: Seal) -> None:
    """Write the digests of a folder's files, and `facts`, into it. Call it when the folder is complete."""
    files = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.name != SEAL}
    atomic_write_text(folder / SEAL, json.dumps({"facts": facts, "files": files}, indent=1) + "\n")


def read_seal(folder: Path) -> Seal | None:
    """Return the facts of a sealed folder; None if there is no seal, or a file is missing or has changed."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        whole = all(_digest(folder / name) == digest for name, digest in sealed["files"].items())
        return sealed["facts"] if whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint_name(step: int) -> str:
    """Return the name that `transformers.Trainer` gives the checkpoint of a step."""
    return f"{PREFIX_CHECKPOINT_DIR}-{step}"


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole and whose best epoch's checkpoint is whole too; None without one."""
    return next((path for path in _newest_first(folder) if _is_usable(path)), None)


def remove_checkpoints(folder: Path, kept: set[str]) -> None:
    """Remove all checkpoints of a folder except those named in `kept`."""
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def remove_partial_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a folder that are half-written or damaged."""
    remove_checkpoints(folder, {path.name for path in _newest_first(folder) if read_seal(path) is not None})


def _newest_first(folder: Path) -> list[Path]:
    numbered = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if _step(path) is not None]
    return sorted(numbered, key=lambda path: _step(path) or 0, reverse=True)


def _step(path: Path) -> int | None:
    number = path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")
    return int(number) if number.isdecimal() else None


def _is_usable(path: Path) -> bool:
    if read_seal(path) is None:
        return False
    best = json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))["best_global_step"]
    return not best or read_seal(path.parent / checkpoint_name(best)) is not None
