"""The folder of a run: used by one run at a time, for one model and its record; swept of what killed runs left."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import PartialState
from filelock import FileLock, Timeout

from ..configuration_lira import LiraConfig
from ..errors import LiraError
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from ..records.command_line import command_line
from ..records.model_card import weights_digest
from ..records.provenance import versions

logger = logging.getLogger(__name__)

IDENTITY = "run.json"
LOCK = ".lock"
RESULTS = ("model", "training.json")


def process_state() -> PartialState:
    """Return this process's rank among those that train together, and how they wait for each other."""
    return PartialState(cpu=not torch.cuda.is_available())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs. Of processes that train together, the main one holds the lock for all.

    Raises
    ------
    LiraError
        Another run has locked it, or it cannot be written.
    """
    if not process_state().is_main_process:
        yield
        return
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise LiraError(f"another process is training in {folder}: wait for it, or choose another folder") from None
    except OSError as error:
        raise LiraError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def remove_temporaries(folder: Path) -> None:
    """Remove the half-written files that a killed run left in a folder; call it with the folder locked."""
    for path in folder.glob(".*"):
        if path.is_file() and path.name != LOCK:
            path.unlink(missing_ok=True)


@contextmanager
def run_folder(output: Path, identity: Mapping[str, object]) -> Iterator[Callable[[], None]]:
    """Lock the folder of a run, after a check that it holds no other run's model.

    Parameters
    ----------
    output : Path
    identity : mapping
        All that decides the model, as plain values, nested ones too: options, digests of data and code.

    Yields
    ------
    callable
        Writes `identity` into the folder. Call it before the model is written: from then on the folder is this run's.

    Raises
    ------
    LiraError
        The folder holds another run's model, or another run has locked it.
    """
    known = json.loads(json.dumps(identity))
    with locked(output):
        if process_state().is_main_process:
            _check(output, known)
            _sweep(output)
        yield lambda: _claim(output, known)


def _check(output: Path, identity: Mapping[str, object]) -> None:
    path = output / IDENTITY
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any((output / name).exists() for name in RESULTS):
            raise LiraError(
                f"{output} holds a model, but not the {IDENTITY} that says which run made it: choose another folder"
            ) from None
        return
    except (OSError, ValueError) as error:
        raise LiraError(f"{path} cannot be read ({error}): remove {output} or choose another folder") from error
    different = _differences(held, identity)
    if different:
        raise LiraError(
            f"{output} holds another run's model, which differs in {'; '.join(different)}: "
            "choose another folder, or remove that one"
        )


def _differences(held: object, wanted: object, name: str = "") -> list[str]:
    """Return a line for each name whose values differ between two nested mappings, with both values."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        return [
            line
            for key in dict.fromkeys([*wanted, *held])
            for line in _differences(held.get(key), wanted.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if held == wanted else [f"{name} ({json.dumps(held)} there, {json.dumps(wanted)} here)"]


def _claim(output: Path, identity: Mapping[str, object]) -> None:
    if process_state().is_main_process and not (output / IDENTITY).is_file():
        atomic_write_text(output / IDENTITY, json.dumps(identity, indent=1, ensure_ascii=False) + "\n")


def _sweep(output: Path) -> None:
    """Remove what a killed run was writing when it ended."""
    for pattern in (".run.*", ".training.*", "model/.*"):
        for path in output.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


class RunClock:
    """Wall time of a run: of its stages, earlier interrupted runs included, and of the rest of this run."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.trained = 0.0

    @contextmanager
    def training(self) -> Iterator[None]:
        """Measure the time within, for which `total` counts the stages' logs instead."""
        start = time.perf_counter()
        yield
        self.trained += time.perf_counter() - start

    def total(self, logs: Mapping[str, Sequence[Mapping[str, float]]]) -> float:
        """Return the seconds of the stages, by the last entry of their logs, and of everything around them."""
        stages = sum(log[-1]["seconds"] for log in logs.values())
        return round(stages + time.perf_counter() - self.start - self.trained, 1)


def save_run(
    output: Path, model: LiraModel | LiraForCausalLM, save_backbones: bool, record: Mapping[str, object]
) -> None:
    """Write a run's model, then its record with command, threads, versions and the digest of the model's weights.

    A model and record that an earlier process wrote are left as they are: that record says what the training cost.
    """
    folder, path = output / "model", output / "training.json"
    if _is_saved(folder, path):
        return
    model.save_pretrained(folder, save_backbones=save_backbones)
    whole = {
        "command": command_line(),
        **record,
        "weights": weights_digest(folder),
        "threads": torch.get_num_threads(),
        "processes": process_state().num_processes,
        "versions": {**versions(), "peft": version("peft")},
    }
    if not path.is_file():
        atomic_write_text(path, json.dumps(whole, indent=1) + "\n")
    logger.info("%s: trained in %.0f s", folder, record["seconds"])


def _is_saved(folder: Path, record: Path) -> bool:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))["weights"]
        return (folder / "config.json").is_file() and weights_digest(folder) == known
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_model_fields(given: Mapping[str, object]) -> None:
    """Raise `LiraError` for a field that `LiraConfig` does not have; the config would keep it and never read it."""
    known = list(LiraConfig.__annotations__)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise LiraError(f"model: option {unknown[0]!r} is unknown: choose from {', '.join(known)}")
