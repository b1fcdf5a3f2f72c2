"""All measurements in order, each a process of its own; what is measured already is not measured again."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from modeling_lira.errors import LiraError

from ..options import RECORDS
from ..record import corpus_version, find_record, weights_of
from ..studies import commands as study_commands
from .page import PLAIN

logger = logging.getLogger(__name__)
INTERRUPTED = 130


@dataclass(frozen=True)
class Step:
    """A command of `python -m eval`, the result below `runs/` by which it counts as done, and what it must be of."""

    name: str
    arguments: tuple[str, ...]
    result: str
    corpus: str | None = None
    weights: str | None = None

    def done(self, runs: Path) -> bool:
        """Whether a result of this corpus and these weights is there."""
        path = runs / self.result
        if path.parent.name != RECORDS.name:
            return path.is_file()
        try:
            find_record(path.parent, path.stem, self.corpus, () if self.weights is None else (self.weights,))
        except LiraError:
            return False
        return True


@dataclass(frozen=True)
class Plan:
    """What all measurements share."""

    model: str
    corpus: str
    streams: Path
    quick: bool
    xquad: Path | None = None
    cldr: Path | None = None
    candidates: Path | None = None
    backbones: tuple[str | None, str | None] = (None, None)


def steps_of(plan: Plan) -> Iterator[Step]:
    """Yield the steps: those of the saved model first, then every study."""
    version, weights = corpus_version(plan.corpus), weights_of(plan.model)
    corpus, streams = ("--corpus", plan.corpus), ("--streams", str(plan.streams))
    model: tuple[str, ...] = ("--model", plan.model, *streams)
    for option, backbone in zip(("--multilingual", "--english"), plan.backbones, strict=True):
        model += (option, backbone) if backbone is not None else ()
    yield Step("retrieval", ("retrieval", *model, *corpus), _record("retrieval"), version, weights)
    folders = {"--xquad": plan.xquad, "--cldr": plan.cldr}
    if plan.xquad is not None:
        folders["--candidates"] = plan.candidates
    chosen = [part for option, path in folders.items() if path is not None for part in (option, str(path))]
    if chosen:
        yield Step("generalisation", ("generalisation", *model, *chosen), _record("generalisation"), None, weights)
    task = "english-products"
    yield Step("mteb", ("mteb", *model, *corpus, "--tasks", task), _record(f"mteb-{task}"), version, weights)
    for name in studies():
        record = _record(f"{name}-quick" if plan.quick else name)
        yield Step(name, (name, *corpus, *streams, *(("--quick",) if plan.quick else ())), record, version)
    if not plan.quick:
        yield Step("ablations", ("ablations", *corpus), PLAIN["ablations"])
        yield Step("throughput", ("throughput",), PLAIN["throughput"])
        yield Step("index", ("index",), PLAIN["index"])


def _record(name: str) -> str:
    return f"{RECORDS.name}/{name}.json"


def studies() -> list[str]:
    """Return the names of the commands that train and compare systems, in their order."""
    app = typer.Typer()
    study_commands.register(app)
    return [one.name or str(getattr(one.callback, "__name__", "")).replace("_", "-") for one in app.registered_commands]


def run_all(plan: Plan, again: bool = False) -> None:
    """Run every step that is not done, one after the other.

    Parameters
    ----------
    plan : Plan
    again : bool
        Measure what is measured already, too.

    Raises
    ------
    LiraError
        A step that failed; the ones before it are kept.
    """
    steps = list(steps_of(plan))
    for number, step in enumerate(steps, start=1):
        head = f"{number}/{len(steps)} {step.name}"
        if not again and step.done(RECORDS.parent):
            logger.info("%s: done already", head)
            continue
        logger.info("%s ...", head)
        start = time.perf_counter()
        _run(step.arguments)
        logger.info("%s: %.0f s", head, time.perf_counter() - start)


def _run(arguments: Sequence[str]) -> None:
    code = subprocess.run([sys.executable, "-m", "eval", *arguments], check=False).returncode
    if code in (INTERRUPTED, -2):
        raise KeyboardInterrupt
    if code:
        raise LiraError(f"step {arguments[0]!r} failed; what was done before it is kept: run the same command again")
