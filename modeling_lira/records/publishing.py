"""Publish what `lira train` and `lira evaluate` left in a run's folder: to a Hub, or to a folder ready to push."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo

from ..backbones import BACKBONES, quantised_backbones
from ..errors import LiraError
from ..files import atomic_write_bytes
from ..files.hub_client import STALE
from .model_card import CardSources, Record, of_these_weights, read_record, weights_digest
from .provenance import records_at
from .repository import CARD, check_licence, prepare, push_folder
from .saved_model import RECORDS, model_folder, record_folders, training_record

logger = logging.getLogger(__name__)


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
    check_licence(licence)
    trained = read_record(training) if training else training_record(run)
    measured = _evaluation_of(run) if evaluation is None else _flat(read_record(evaluation))
    licences = {backbone.source: backbone.licence.lower() for backbone in BACKBONES.values()}
    return CardSources(trained, measured, dataset, licence, licences, quantised=quantised_backbones())


def push_saved(
    folder: Path,
    loaded: Path | None,
    repo: str,
    records: Mapping[str, Record | None],
    *,
    dataset: str,
    licence: str,
    tags: Sequence[str],
    **arguments: Any,
) -> CommitInfo:
    """Push a model that was just saved, with the records beside the weights that it was loaded from.

    Parameters
    ----------
    folder : Path
        The saved model.
    loaded : Path, optional
        Where it was loaded from. Its records are left out where the weights are no longer the same.
    repo : str
    records : mapping
        `training` and `evaluation`, in place of those.
    dataset, licence, tags
        As in `CardSources`.
    **arguments
        As in `push_files`.
    """
    unchanged = loaded is not None and weights_digest(loaded) == weights_digest(folder)
    if (
        loaded is not None
        and not unchanged
        and any((folder / name).is_file() for folder in record_folders(loaded) for name in RECORDS.values())
    ):
        logger.warning("the weights are not those of %s any more: its records are left out of the card", loaded)
    source = loaded if loaded is not None and unchanged else folder
    sources = card_sources(source, dataset=dataset, licence=licence)
    given = {name: _flat(record) for name, record in records.items() if record is not None}
    return push_folder(folder, repo, replace(sources, tags=tags, **given), **arguments)  # type: ignore[arg-type]


def _has_records(run: Path) -> bool:
    return any((folder / name).is_file() for folder in record_folders(run) for name in RECORDS.values())


def _evaluation_of(run: Path) -> Record | None:
    """Return the newest evaluation in a run's folder that is of its weights, if there is one."""
    paths = [path for folder in record_folders(run) for path in records_at(folder / RECORDS["evaluation"])]
    records = [_flat(read_record(path)) for path in paths]
    fitting = [record for record in records if of_these_weights(record, model_folder(run))]
    if records and not fitting:
        logger.warning("%s is of other weights: left out of the card", paths[0])
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
    for old in list(target.rglob("*")):
        name = old.relative_to(target).as_posix()
        if name not in files and old.is_file() and any(fnmatch(name, pattern) for pattern in STALE):
            old.unlink()


def _is_link_to(path: Path, data: bytes) -> bool:
    """Tell whether `path` is a link whose file holds `data` already: an atomic write would put a copy in its place."""
    return path.is_symlink() and path.is_file() and path.read_bytes() == data
