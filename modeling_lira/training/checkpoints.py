"""Checkpoint folders that are sealed when complete, so that a half-written one is never taken for a finished one."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..errors import LiraError
from ..files import atomic_write_text
from ..records.provenance import Clock

logger = logging.getLogger(__name__)

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


class SealedTrainer(Trainer):
    """Train from the newest whole checkpoint; of the checkpoints, the newest and the best are kept.

    A subclass writes what a checkpoint holds in `_save_parts` and reads it in `_load_parts`. Parameters are those of
    `Trainer`, or of the other class of trainers that a subclass is of.

    Attributes
    ----------
    spent : dict of str to float
        Seconds that earlier, interrupted runs spent on the checkpoint from which this one went on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spent: Seal = {"seconds": 0.0, "cpu_seconds": 0.0}
        self._clock = Clock()

    def train_on(self) -> None:
        """Train from the newest checkpoint that is whole, from the beginning where there is none."""
        newest = newest_checkpoint(Path(str(self.args.output_dir)))
        if newest is not None:
            logger.info("going on from %s", newest)
        self.train(resume_from_checkpoint=None if newest is None else str(newest))

    def cost(self) -> Seal:
        """Return the seconds spent so far, those of earlier, interrupted runs included."""
        now = {"seconds": self._clock.seconds, "cpu_seconds": self._clock.cpu_seconds}
        return {name: self.spent[name] + seconds for name, seconds in now.items()}

    def _save_parts(self, folder: Path) -> None:
        raise NotImplementedError

    def _load_parts(self, folder: Path) -> None:
        raise NotImplementedError

    def _save_checkpoint(self, model: nn.Module, trial: dict[str, Any] | None) -> None:  # type: ignore[override]
        try:
            super()._save_checkpoint(model, trial)
        except RuntimeError as error:  # torch's word for a full disk
            raise LiraError(f"cannot write a checkpoint to {self.args.output_dir}: {error}") from error
        self.accelerator.wait_for_everyone()  # each process writes a file of its own
        if self.args.should_save:
            folder, state = Path(str(self.args.output_dir)), self.state
            seal(folder / checkpoint_name(state.global_step), self.cost())
            kept = {state.global_step, state.best_global_step or state.global_step}
            remove_checkpoints(folder, set(map(checkpoint_name, kept)))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:  # `Trainer` calls this in every process, and all would write the same files
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            self._save_parts(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self._load_parts(Path(resume_from_checkpoint))
        self.spent = read_seal(Path(resume_from_checkpoint)) or self.spent

    def _load_best_model(self) -> None:
        self._load_parts(Path(str(self.state.best_model_checkpoint)))
