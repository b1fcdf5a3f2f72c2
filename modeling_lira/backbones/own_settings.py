"""How a backbone wants to be used, as its own files or its publisher say: prompts and pooling, never by its name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers.utils import cached_file

from ..configuration_lira import POOLINGS
from ..errors import LiraError, reading
from ..frozen_backbone import FrozenBackbone
from .registry import PROMPTS

_OTHER_NAMES = {
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean",
    "cls_token": "cls",
    "weightedmean_tokens": "weightedmean",
}
"""Poolings by their older names, or that are the same up to the vector's length."""
_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}


def prompts_of(backbone: FrozenBackbone) -> tuple[str, str]:
    """Return what a backbone wants before a query and before a document.

    As its own `config_sentence_transformers.json` says, else as its publisher does of that very model; a name or a path
    that merely resembles another model's means nothing.
    """
    known = PROMPTS.get(backbone.original or str(backbone.name), ("", ""))
    prompts = _settings(backbone, "config_sentence_transformers.json").get("prompts") or {}
    document = next((name for name in ("document", "passage", "corpus") if name in prompts), "")
    given = prompts.get("query"), prompts.get(document)
    if not all(prompt is None or isinstance(prompt, str) for prompt in given):
        raise LiraError(f"backbone {str(backbone.name)!r}: prompts must be str, got {prompts!r}")
    return (given[0] or "", given[1] or "") if any(given) else known


def pooling_of(backbone: FrozenBackbone) -> str:
    """Return which of `POOLINGS` makes one vector of a backbone's tokens; "mean" where its own files do not say.

    Raises
    ------
    LiraError
        Its files ask for another way, for several joined, or for one that leaves the prompt out.
    """
    folder = next(iter(_modules(backbone, "Pooling")), "1_Pooling")
    settings = dict(_settings(backbone, f"{folder}/config.json"))
    if not settings.pop("include_prompt", True) and any(prompts_of(backbone)):
        raise LiraError(f"backbone {str(backbone.name)!r}: its pooling leaves the prompt out, which is not done here")
    switches = [name.removeprefix("pooling_mode_") for name, value in settings.items() if value is True]
    mode = settings.get("pooling_mode", switches)
    modes = [_OTHER_NAMES.get(name, name) for name in ((mode or ["mean"]) if isinstance(mode, list) else [mode])]
    if modes[1:] or modes[0] not in POOLINGS:
        raise LiraError(f"backbone {str(backbone.name)!r}: pooling must be one of {', '.join(POOLINGS)}, got {mode!r}")
    return str(modes[0])


def dense_of(backbone: FrozenBackbone) -> nn.Sequential:
    """Return the dense layers that a backbone's own files put after its pooling (LaBSE, EmbeddingGemma); often none.

    Raises
    ------
    LiraError
        A layer without safetensors weights, or with an activation that is not known here.
    """
    layers: list[nn.Module] = []
    for folder in _modules(backbone, "Dense"):
        settings = _settings(backbone, f"{folder}/config.json")
        name = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
        if name.rpartition(".")[2] not in _ACTIVATIONS or not name.startswith("torch.nn."):
            raise LiraError(f"backbone {str(backbone.name)!r}: {folder} has the activation {name!r}: not known here")
        with reading(f"backbone {str(backbone.name)!r}, {folder}"):
            path = _file(backbone, f"{folder}/model.safetensors")
            if path is None:
                raise ValueError("it has no safetensors weights")
            weights = {key.removeprefix("linear."): value.float() for key, value in load_file(path).items()}
            outputs, inputs = weights["weight"].shape
            linear = nn.Linear(inputs, outputs, bias="bias" in weights)
            linear.load_state_dict(weights)
        layers += [linear, _ACTIVATIONS[name.rpartition(".")[2]]()]
    return nn.Sequential(*layers).eval()


def _modules(backbone: FrozenBackbone, kind: str) -> list[str]:
    """Return the folders of the modules of a kind that a backbone's `modules.json` lists, in their order."""
    with reading(f"backbone {str(backbone.name)!r}, modules.json"):
        path = _file(backbone, "modules.json")
        modules = [] if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
        folders = [str(module["path"]) for module in modules if str(module["type"]).rpartition(".")[2] == kind]
        if not all(re.fullmatch(r"[\w-]+", folder) for folder in folders):
            raise ValueError(f"a module must have a folder of its own, got {folders}")
    return folders


def _settings(backbone: FrozenBackbone, name: str) -> Mapping[str, Any]:
    """Return the content of a backbone's JSON file, empty where there is none; `LiraError` where it is damaged."""
    with reading(f"backbone {str(backbone.name)!r}, {name}"):
        path = _file(backbone, name)
        settings = {} if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it must hold one JSON object")
    return settings


def _file(backbone: FrozenBackbone, name: str) -> str | None:
    """Return the path of one of a backbone's files, None where there is none."""
    return cached_file(
        backbone.location,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **backbone.arguments,
    )
