"""From a saved model to a repository: which files go, the card, and the push."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi

from ..errors import LiraError
from ..exported_lira import MANIFEST, digests_of, exports_in
from ..files.hub_client import FAILED, Content, push_files
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

logger = logging.getLogger(__name__)

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
    """
    if not (folder / "config.json").is_file():
        raise LiraError(f"{folder} holds no model: it has no config.json")
    config = _public_config(folder)
    present = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files: dict[str, Content] = {
        name: path for name, path in present.items() if _PUBLIC.fullmatch(name) and not _HIDDEN.search(name)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise LiraError(f"{folder} holds no weights: it has no model.safetensors")
    files |= _exports(folder)
    files["config.json"] = _as_json(config)
    files[CARD] = model_card(folder, config, repo, sources).encode()
    for name, record in (("training", sources.training), ("evaluation", sources.evaluation)):
        files.pop(f"{name}.json", None)  # of an earlier push, perhaps of other weights
        if record is not None:
            files[f"{name}.json"] = _as_json(record)
    return files


def _exports(folder: Path) -> dict[str, Content]:
    """Return the files of the exports that are of the folder's weights."""
    files: dict[str, Content] = {}
    weights = digests_of(folder)
    for export in exports_in(folder):
        if export.is_of(weights):
            files |= {f"{export.folder}/{name}": folder / export.folder / name for name in (MANIFEST, *export.sizes)}
        else:
            logger.warning("%s is of other weights: left out; run lira export again", folder / export.folder)
    return files


def push_folder(folder: Path, repo: str, sources: CardSources, **arguments: Any) -> CommitInfo:
    """Put a saved model into a repository, with its card; arguments and errors as in `prepare` and `push_files`.

    Licences of backbones that `sources` does not know are asked of the Hub.
    """
    config = _public_config(folder) if (folder / "config.json").is_file() else {}
    asked = {} if not config else licences_on_hub([id for id in backbone_ids(config) if id not in sources.licences])
    check_licence(sources.licence)
    files = prepare(folder, repo, replace(sources, licences={**asked, **sources.licences}))
    return push_files(files, repo, **arguments)


_NAMES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma unknown other
"""
LICENCES = tuple(_NAMES.split())
"""Licences that the Hub knows, as https://huggingface.co/docs/hub/repositories-licenses lists them."""


def check_licence(licence: str) -> None:
    """Raise `LiraError` for a licence that the Hub does not know; it would show the model as without one."""
    if not licence or licence in LICENCES:
        return
    near = get_close_matches(licence.lower(), LICENCES, n=1, cutoff=0.4)
    begun = [name for name in LICENCES if name.startswith(licence.lower())]
    guess = next(iter([*begun, *near]), "")
    hint = f"; did you mean {guess!r}?" if guess else ""
    raise LiraError(
        f"licence {licence!r} is not one that the Hub knows{hint} ('other' stands for any that it does not)"
    )


def licences_on_hub(names: list[str]) -> dict[str, str]:
    """Return the licences of models as their cards on the Hub tell; a model that cannot be asked is left out."""
    licences = {}
    for name in names:
        try:
            card = HfApi().model_info(name, timeout=10).card_data
        except (FAILED[0], OSError):  # ConnectionError is an OSError
            continue
        licence = card.get("license") if card is not None else None
        if isinstance(licence, str):
            licences[name] = licence
    return licences


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
        inner = dict(part.config)
        if Path(str(inner.get("_name_or_path", ""))).is_absolute():
            del inner["_name_or_path"]
        whole[part.config_key] = inner
    return {**config, "lira_config": encoder} if is_reasoning(config) else {**config, **encoder}


def _as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
