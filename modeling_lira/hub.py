"""From a saved model to a repository: which files go, the card, and the push."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi

from .errors import LiraError
from .hub_client import FAILED, Content, push_files
from .model_card import (
    LANGUAGE_MODEL,
    CardSources,
    backbone_ids,
    encoder_config,
    frozen_parts,
    is_reasoning,
    model_card,
    read_record,
)

CARD = "README.md"
_PUBLIC = re.compile(
    r"((english|multilingual)_tokenizer/)?[\w.-]+\.(json|txt|model|jinja)|[\w-]+\.py|model[\w-]*\.safetensors", re.ASCII
)
"""Files that a model consists of; whatever else is in its folder, such as pickles or notes, stays where it is."""
_HIDDEN = re.compile(r"(^|/)\.")


def prepare(folder: Path, repo: str, sources: CardSources) -> dict[str, Content]:
    """Return what goes into a model's repository: path there -> file or bytes.

    The records that the card is made of go along as `training.json` and `evaluation.json`. The config of a
    self-contained model forgets the folders where its backbones came from.

    Parameters
    ----------
    folder : Path
        A folder of `save_pretrained`, of an embedding or a reasoning model.
    repo : str
        The repository's name, for the card.
    sources : CardSources

    Raises
    ------
    LiraError
        A folder without a model; an adapter-only one whose backbones are folders, which nobody else has; records that
        are of something else.

    Source: ours.
    """
    if not (folder / "config.json").is_file():
        raise LiraError(f"{folder} holds no model: it has no config.json")
    config = _public_config(folder)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files: dict[str, Content] = {
        name: path for name, path in found.items() if _PUBLIC.fullmatch(name) and not _HIDDEN.search(name)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise LiraError(f"{folder} holds no weights: it has no model.safetensors")
    files["config.json"] = _as_json(config)
    files[CARD] = model_card(folder, config, repo, sources).encode()
    for name, record in (("training", sources.training), ("evaluation", sources.evaluation)):
        files.pop(f"{name}.json", None)  # of an earlier push, perhaps of other weights
        if record is not None:
            files[f"{name}.json"] = _as_json(record)
    return files


def push_folder(folder: Path, repo: str, sources: CardSources, **arguments: Any) -> CommitInfo:
    """Put a saved model into a repository, with its card; arguments and errors as in `prepare` and `push_files`.

    Licences of backbones that `sources` does not know are asked of the Hub.

    Source: ours.
    """
    config = _public_config(folder) if (folder / "config.json").is_file() else {}
    found = {} if not config else licences_on_hub([id for id in backbone_ids(config) if id not in sources.licences])
    files = prepare(folder, repo, replace(sources, licences={**found, **sources.licences}))
    return push_files(files, repo, **arguments)


def licences_on_hub(names: list[str]) -> dict[str, str]:
    """Return the licences of models as their cards on the Hub tell; a model that cannot be asked is left out."""
    found = {}
    for name in names:
        try:
            card = HfApi().model_info(name, timeout=10).card_data
        except (FAILED[0], OSError):  # ConnectionError is an OSError
            continue
        licence = card.get("license") if card is not None else None
        if isinstance(licence, str):
            found[name] = licence
    return found


def _public_config(folder: Path) -> dict[str, Any]:
    """Read the config without the paths of this machine."""
    config = dict(read_record(folder / "config.json"))
    kind = config.get("model_type")
    if kind not in ("lira", "lira_causal_lm"):
        raise LiraError(f"{folder} holds a {kind!r} model, not one of LiRA's")
    encoder = dict(encoder_config(config))
    for part in frozen_parts(config):
        whole = config if part.role == LANGUAGE_MODEL else encoder
        if Path(part.name).is_absolute() or part.name.startswith("pypi:"):
            if not config["backbones_included"]:
                raise LiraError(
                    f"the {part.role} is {part.name!r}, which nobody else has: save the model with save_backbones=True"
                )
            whole[part.name_key] = ""
        own = dict(part.config)
        if Path(str(own.get("_name_or_path", ""))).is_absolute():
            del own["_name_or_path"]
        whole[part.config_key] = own
    return {**config, "lira_config": encoder} if is_reasoning(config) else {**config, **encoder}


def _as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
