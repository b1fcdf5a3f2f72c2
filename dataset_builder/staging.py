"""Build a folder under a temporary name and rename it when it is complete, so that nobody sees a part of it."""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text

from .layout import CARD, PARTS, TEXTS

logger = logging.getLogger(__name__)

_STATE, _LOCK = ".stage.json", ".lock"
Settings = Mapping[str, str | int | list[str]]


@dataclass
class Stage:
    """A folder under construction, and which of its units are finished."""

    folder: Path
    settings: Settings
    finished: list[str] = field(default_factory=list)

    def finish(self, unit: str) -> None:
        """Record that a unit, such as a language, is complete, so that the same build does not make it again."""
        self.finished.append(unit)
        text = json.dumps({"settings": self.settings, "finished": self.finished}, sort_keys=True)
        atomic_write_text(self.folder / _STATE, text)


@contextmanager
def staged(output: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a temporary folder beside `output` to build in; if no error is raised, it is renamed to `output`.

    Parameters
    ----------
    output : Path
        A new or empty folder, or an earlier corpus, which stays as it is until the new one is complete.
    settings : mapping
        What decides the content. Finished units of an interrupted build are kept if its settings were equal.

    Yields
    ------
    Stage

    Raises
    ------
    LiraError
        If `output` is a file, or a folder that is not a corpus, or if another process is building it.
    """
    folder = output.with_name(f".{output.name}.partial")
    _check_output(output)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / _LOCK).acquire(timeout=0)
    except Timeout:
        raise LiraError(f"another process builds {output}: wait for it, or choose another folder") from None
    with lock:
        _restore_or_remove(_aside(output), output)
        stage = _resume(folder, settings)
        try:
            yield stage
        except BaseException:
            _give_up(stage, output)
            raise
        _put_in_place(folder, output)


def _check_output(output: Path) -> None:
    if output.is_symlink() or output.is_file():
        raise LiraError(f"output {output} is not a folder: name a new one")
    if not output.is_dir():
        return
    names = {path.name for path in output.iterdir()} - {_STATE, _LOCK}
    foreign = sorted(name for name in names - {*TEXTS} if name.rsplit("-", 1)[-1] not in PARTS)
    if foreign or (names and CARD not in names):
        other = foreign[0] if foreign else min(names)
        raise LiraError(f"output {output} holds something else than a corpus ({other}): name a new or empty folder")


def _resume(folder: Path, settings: Settings) -> Stage:
    """Keep the finished units of an earlier build with the same settings; remove everything else."""
    state = folder / _STATE
    kept = json.loads(state.read_text(encoding="utf-8")) if state.is_file() else {}
    finished = list(kept["finished"]) if kept.get("settings") == settings else []
    for path in folder.iterdir():
        if path.name.rsplit("-", 1)[0] in finished or path.name == _LOCK:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        elif path != state or not finished:
            path.unlink()
    if finished:
        logger.info("going on after %s", " ".join(finished))
    return Stage(folder, settings, finished)


def _give_up(stage: Stage, output: Path) -> None:
    if stage.finished:
        logger.info("%s finished: the same command goes on from there", " ".join(stage.finished))
    else:
        shutil.rmtree(stage.folder, ignore_errors=True)
    if output.is_dir():
        logger.info("%s is as it was", output)


def _put_in_place(folder: Path, output: Path) -> None:
    aside = _aside(output)
    if output.is_dir():
        output.rename(aside)
    folder.rename(output)
    for name in (_STATE, _LOCK):  # last, so that a build that is killed here before the renaming goes on
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(output: Path) -> Path:
    """Return the name that an earlier corpus has while the new one is renamed to `output`."""
    return output.with_name(f".{output.name}.old")


def _restore_or_remove(aside: Path, output: Path) -> None:
    """Clean up after a build that was killed between the two renamings: bring the earlier corpus back, or remove it."""
    if aside.is_dir() and not output.exists():
        aside.rename(output)
    shutil.rmtree(aside, ignore_errors=True)
    for name in (_STATE, _LOCK):
        (output / name).unlink(missing_ok=True)
