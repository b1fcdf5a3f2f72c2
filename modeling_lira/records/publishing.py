"""Publish what `lira train` and `lira evaluate` left in a run's folder: to a Hub, or to a folder ready to push."""

import logging
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo

from ..backbones import BACKBONES
from ..errors import LiraError
from ..files import atomic_write_bytes
from ..hub import CARD, prepare, push_folder
from ..hub_client import STALE
from ..model_card import CardSources, Record, of_these_weights, read_record
from .provenance import records_at

logger = logging.getLogger(__name__)

RECORDS = {"training": "training.json", "evaluation": "evaluation.json"}


def model_folder(run: Path) -> Path:
    """Return the model's folder: `run/model`, or `run` itself if it is one.

    Raises
    ------
    LiraError
        Neither is.
    """
    for folder in (run, run / "model"):
        if (folder / "config.json").is_file():
            return folder
    raise LiraError(f"{run} holds no model: neither {run / 'config.json'} nor {run / 'model' / 'config.json'} is there")


def training_record(run: Path) -> Record | None:
    """Return what `lira train` wrote into the run's folder, if it did."""
    path = run / RECORDS["training"]
    return read_record(path) if path.is_file() else None


def card_sources(
    run: Path,
    training: Path | None = None,
    evaluation: Path | None = None,
    dataset: str = "",
    licence: str = "",
) -> CardSources:
    """Gather what a card is made of; records that are not given are looked for in the run's folder.

    An evaluation may be a record of `python -m eval` whose payload has the form that `model_card.py` describes.
    """
    trained = read_record(training) if training else training_record(run)
    measured = _evaluation_of(run) if evaluation is None else _flat(read_record(evaluation))
    licences = {backbone.source: backbone.licence.lower() for backbone in BACKBONES.values()}
    return CardSources(trained, measured, dataset, licence, licences)


def _evaluation_of(run: Path) -> Record | None:
    """Return the newest evaluation in a run's folder that is of its weights, if there is one."""
    records = [_flat(read_record(path)) for path in records_at(run / RECORDS["evaluation"])]
    fitting = [record for record in records if of_these_weights(record, model_folder(run))]
    if records and not fitting:
        logger.warning("%s is of other weights: left out of the card", run / RECORDS["evaluation"])
    return max(fitting, key=lambda record: str(record.get("created", "")), default=None)


def _flat(record: Record) -> Record:
    payload = record.get("payload")
    flat = {**record, **payload} if isinstance(payload, dict) else {**record}
    if isinstance(flat.get("weights"), list) and len(flat["weights"]) == 1:
        flat["weights"] = flat["weights"][0]
    return flat


def push_run(run: Path, repo: str, sources: CardSources, **arguments: Any) -> CommitInfo:
    """Push a run's model; arguments and errors as in `push_files`."""
    return push_folder(model_folder(run), repo, sources, **arguments)


def write_ready(run: Path, repo: str, sources: CardSources, target: Path) -> None:
    """Write the folder that `push_run` would push; README.md comes last and tells that it is complete.

    Raises
    ------
    LiraError
        A target that holds something else; what `prepare` raises.
    """
    files = prepare(model_folder(run), repo, sources)
    if target.is_dir() and any(target.iterdir()) and not (target / "config.json").is_file():
        raise LiraError(f"{target} holds something else: name an empty folder, or one of an earlier run")
    for name, content in sorted(files.items(), key=lambda item: item[0] == CARD):
        data = content if isinstance(content, bytes) else content.read_bytes()
        if not _is_link_to(target / name, data):
            atomic_write_bytes(target / name, data)
    for old in target.glob("*"):
        if old.name not in files and any(fnmatch(old.name, pattern) for pattern in STALE):
            old.unlink()


def _is_link_to(path: Path, data: bytes) -> bool:
    """Tell whether `path` is a link whose file holds `data` already: an atomic write would put a copy in its place."""
    return path.is_symlink() and path.is_file() and path.read_bytes() == data
