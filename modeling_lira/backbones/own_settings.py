"""How a backbone wants to be used, as its own files or its publisher say: prompts and pooling, never by its name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from ..errors import LiraError, reading
from ..frozen_backbone import FrozenBackbone
from .registry import PROMPTS

POOLINGS = ("mean", "cls", "lasttoken")
_OLD_NAMES = {"mean_tokens": "mean", "cls_token": "cls"}
"""What sentence-transformers called a pooling before it had one field for it: `pooling_mode_cls_token` was a switch."""


def prompts_of(backbone: FrozenBackbone) -> tuple[str, str]:
    """Return what a backbone wants before a query and before a document.

    As its own `config_sentence_transformers.json` says, else as its publisher does of that very model; a name or a path
    that merely resembles another model's means nothing.
    """
    known = PROMPTS.get(backbone.original or str(backbone.name), ("", ""))
    prompts = _settings(backbone, "config_sentence_transformers.json").get("prompts") or {}
    given = prompts.get("query"), prompts.get("document", prompts.get("passage"))
    if not all(prompt is None or isinstance(prompt, str) for prompt in given):
        raise LiraError(f"backbone {str(backbone.name)!r}: prompts must be str, got {prompts!r}")
    return (given[0] or "", given[1] or "") if any(given) else known


def pooling_of(backbone: FrozenBackbone) -> str:
    """Return which of `POOLINGS` makes one vector of a backbone's tokens; "mean" where its own files do not say.

    Raises
    ------
    LiraError
        Its `1_Pooling/config.json` asks for another way, or for several joined.
    """
    settings = _settings(backbone, "1_Pooling/config.json")
    switches = [name.removeprefix("pooling_mode_") for name, value in settings.items() if value is True]
    mode = settings.get("pooling_mode", [_OLD_NAMES.get(name, name) for name in switches if name != "include_prompt"])
    modes = (mode or ["mean"]) if isinstance(mode, list) else [mode]
    if modes[1:] or modes[0] not in POOLINGS:
        raise LiraError(f"backbone {str(backbone.name)!r}: pooling must be one of {', '.join(POOLINGS)}, got {mode!r}")
    return str(modes[0])


def _settings(backbone: FrozenBackbone, name: str) -> Mapping[str, Any]:
    """Return the content of a backbone's JSON file, empty where there is none; `LiraError` where it is damaged."""
    with reading(f"backbone {str(backbone.name)!r}, {name}"):
        path = cached_file(
            backbone.location,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **backbone.arguments,
        )
        settings = {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it must hold one JSON object")
    return settings
