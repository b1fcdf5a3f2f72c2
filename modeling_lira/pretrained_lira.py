"""How LiRA's models are saved, published and loaded: with code and processor, with backbones or only their names."""

import copy
import importlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from huggingface_hub import CommitInfo, HfApi, ModelCard, ModelCardData
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers import initialization as init
from transformers.integrations.peft import maybe_load_adapters
from transformers.utils import cached_file

from .arca import Actor, CriticMap, Projection, ZeroLinear
from .configuration_lira import LiraConfig
from .errors import LiraError, one_line, reading
from .frozen_backbone import (
    HubArguments,
    changes_within,
    check_numbers,
    quiet,
    read_weights,
    same_weights,
    split_changes,
    weight_files,
    weights_sketch,
    with_changes,
)
from .leftovers import held, sweep

logger = logging.getLogger(__name__)

_PUSH_ARGUMENTS = (
    "repo_id",
    "commit_message",
    "commit_description",
    "private",
    "token",
    "revision",
    "create_pr",
    "max_shard_size",
    "tags",
)
_LORA_WEIGHTS = "adapter_model.safetensors"
_STAGED = "saving"
"""Stem of the name of the folder in which a save is prepared."""


class _ProcessorArguments(HubArguments, total=False):
    """How the processor beside the weights is read: no question is asked that the user has answered already."""

    trust_remote_code: bool | None


class LiraPreTrainedModel(PreTrainedModel):
    """What LiRA's models share: how their trained parts start, and how they are saved, published and loaded.

    A subclass says which `processor_type` goes beside its weights, by which `auto_class` it is found, which weights
    are frozen (`backbone_prefixes`), and what `_check_pinned`, `_frozen_parts` and `_foreign_weights` are.
    """

    config: LiraConfig
    config_class = LiraConfig
    base_model_prefix = "lira"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    auto_class: ClassVar[str] = "AutoModel"
    processor_type: ClassVar[type[ProcessorMixin]]
    backbone_prefixes: ClassVar[tuple[str, ...]]

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self._processor_arguments: _ProcessorArguments = {}
        self._loaded_digests: dict[str, str] = {}
        self._changes: dict[str, Tensor] = {}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start every trained part so that the untrained model ranks as its backbones do."""
        if isinstance(module, Projection | ZeroLinear | Actor | CriticMap):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    def backbone_keys(self) -> set[str]:
        """Return the names of every weight that belongs to a backbone."""
        return {key for key in self.state_dict() if key.startswith(self.backbone_prefixes)}

    def _check_pinned(self) -> None:
        """Raise `LiraError` where the names in the config cannot bring the backbones back."""
        for name, digest in self._digests().items():
            if name in self._loaded_digests and not same_weights(digest, self._loaded_digests[name]):
                raise LiraError("the backbones changed since they were loaded: save with save_backbones=True")

    def _frozen_parts(self) -> Mapping[str, nn.Module]:
        """Return the frozen models that are not part of another LiRA model, by the config's name for each."""
        raise NotImplementedError

    def _digests(self) -> dict[str, str]:
        return {f"{name}_digest": weights_sketch(part) for name, part in self._frozen_parts().items()}

    @classmethod
    def _foreign_weights(
        cls,
        config: LiraConfig,
        stored: LiraConfig,
        overrides: Mapping[str, str | os.PathLike | None],
        hub: HubArguments,
    ) -> tuple[LiraConfig, dict[str, Tensor]]:
        """Return the config with overriding backbones named, and the weights that are not the checkpoint's."""
        raise NotImplementedError

    def _freeze_backbones(self) -> None:
        for part in self._frozen_parts().values():
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch the trained parts; a backbone that is frozen always stays in evaluation mode."""
        super().train(mode)
        for part in self._frozen_parts().values():
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()
        return self

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Switch to evaluation mode and back; a model that is in it already is not walked through module by module."""
        if not any(part.training for part in (self, *self.children())):
            yield
            return
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    @property
    def processor(self) -> ProcessorMixin:
        """What turns texts into the model's inputs."""
        raise NotImplementedError

    def _stored_processor(self) -> ProcessorMixin:
        """Read the processor beside the weights."""
        name = self.config.name_or_path
        if not name:
            raise LiraError("this model has no processor: build it on its backbones or with from_pretrained")
        return self.processor_type.from_pretrained(name, **self._processor_arguments)

    # ------------------------------------------------------------------ saving and publishing

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike,
        *,
        save_backbones: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: object,
    ) -> None:
        """Save weights, config, code and processor so that `from_pretrained` of the auto classes loads them anywhere.

        Parameters
        ----------
        save_directory : path
            Files of the same names are replaced only after every new one is complete.
        save_backbones : bool, optional
            True: self-contained. False: adapter-only, the backbones' ids stay in the config. By default as
            the model was loaded.
        push_to_hub : bool
        **kwargs
            As in `PreTrainedModel.save_pretrained` and `push_to_hub`.

        Raises
        ------
        LiraError
            An adapter-only save of a model that does not know its backbones' names, or whose backbones were changed
            (by merged LoRA weights, say); a folder that cannot be written, for want of room or permission.
        """
        loaded = self.config
        included = loaded.backbones_included if save_backbones is None else save_backbones
        if not included and not getattr(self, "_hf_peft_config_loaded", False):  # then only the LoRA is saved
            self._check_pinned()
        type(loaded).register_for_auto_class()
        type(self).register_for_auto_class(self.auto_class)
        self.processor_type.register_for_auto_class()
        target = Path(save_directory)
        self.config = self._config_to_save(included)  # saving writes into the config; the model stays as it was
        self._keys_to_ignore_on_save = set() if included else self.backbone_keys()
        try:
            with staging_folder(target) as staged:
                self._save_beside(staged)
                if changes := {} if included else changes_within(self):
                    kwargs["state_dict"] = {**(kwargs.get("state_dict") or self.state_dict()), **changes}  # type: ignore[dict-item]
                super().save_pretrained(staged, **kwargs)  # type: ignore[arg-type]
                move_over(staged, target)
            if push_to_hub:
                given = {name: kwargs[name] for name in _PUSH_ARGUMENTS if name in kwargs}
                self.push_to_hub(**{"repo_id": target.name, **given})  # type: ignore[arg-type]
        finally:
            self.config = loaded

    def _config_to_save(self, backbones_included: bool) -> LiraConfig:
        config = copy.deepcopy(self.config)
        config.backbones_included = backbones_included
        for name, digest in self._digests().items():
            loaded = self._loaded_digests.get(name, digest)
            merged = backbones_included and name.removesuffix("_digest") in getattr(config, "tuned_backbones", ())
            # An older checkpoint has none; the others are of weights that are no longer the pinned ones.
            if getattr(config, name) is None or merged or not same_weights(digest, loaded):
                setattr(config, name, digest)
        if backbones_included and isinstance(config, LiraConfig):
            config.tuned_backbones = []
        return config

    def _save_beside(self, folder: Path) -> None:
        """Write what goes beside the weights."""
        self.processor.save_pretrained(folder)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        save_backbones: bool | None = None,
        training: Mapping[str, object] | None = None,
        evaluation: Mapping[str, object] | None = None,
        dataset: str = "",
        licence: str = "",
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str = "50GB",
        tags: Sequence[str] = (),
    ) -> CommitInfo:
        """Put the model into a repository: weights, config, code, processor, sentence-transformers' files and card.

        Where the package `modeling_lira` is installed this does what `lira push` does, the card made anew from the
        records. Elsewhere the card and the records that lie beside the loaded weights go along.

        Parameters
        ----------
        repo_id : str
            `organisation/name`; made if it does not exist.
        save_backbones : bool, optional
            As in `save_pretrained`; by default as the model was loaded, and adapter-only where it was not loaded and
            the Hub has its backbones.
        training, evaluation : mapping, optional
            Records for the card, as in `records/model_card.py`; by default those beside the loaded weights, if the
            weights are still the same.
        dataset : str
            Hub id of the corpus, for the card.
        licence : str
            Of the trained weights, as the Hub names licences.
        commit_message, commit_description, private, token, revision, create_pr, max_shard_size, tags
            As in `PreTrainedModel.push_to_hub`; `revision` is a branch, made if it does not exist.

        Raises
        ------
        LiraError
            As `save_pretrained`; no token or no right to write; a repository that holds something else; no connection.
        """
        commit = {"message": commit_message or "Upload model", "description": commit_description, "private": private}
        commit |= {"token": token, "revision": revision, "create_pr": create_pr}
        with tempfile.TemporaryDirectory() as name:
            included = not self._can_go_without_backbones() if save_backbones is None else save_backbones
            self.save_pretrained(name, save_backbones=included, max_shard_size=max_shard_size)
            try:
                publishing = importlib.import_module("modeling_lira.records.publishing")
            except ModuleNotFoundError:
                return self._push_with_card(Path(name), repo_id, licence, tags, **commit)  # type: ignore[arg-type]
            records = {"training": training, "evaluation": evaluation}
            given = {"dataset": dataset, "licence": licence, "tags": tags}
            return publishing.push_saved(Path(name), self._loaded_folder(), repo_id, records, **given, **commit)

    def _can_go_without_backbones(self) -> bool:
        """Whether a push leaves the backbones out: as the model was loaded, else where the Hub has them unchanged."""
        if self.name_or_path:
            return not self.config.backbones_included
        try:
            self._check_pinned()
        except LiraError:
            return False
        return all(not Path(name).is_absolute() for name in self._backbone_names())

    def _backbone_names(self) -> list[str]:
        return [self.config.multilingual_backbone, self.config.english_backbone]

    def _loaded_folder(self) -> Path | None:
        """Return the folder where the files beside the loaded weights lie, in the Hub's cache too."""
        if not self.name_or_path:
            return None
        hub = {name: value for name, value in self._processor_arguments.items() if name != "trust_remote_code"}
        path = cached_file(self.name_or_path, "config.json", _raise_exceptions_for_missing_entries=False, **hub)
        return None if path is None else Path(path).parent

    def _push_with_card(
        self,
        folder: Path,
        repo_id: str,
        licence: str,
        tags: Sequence[str],
        *,
        private: bool | None,
        token: bool | str | None,
        message: str,
        description: str | None,
        **where: Any,
    ) -> CommitInfo:
        """Push a saved folder with the card and the records beside the loaded weights, as far as they still hold."""
        _carry_card(folder, self._loaded_folder(), repo_id, licence, ["lira", *tags])
        api = HfApi(token=token)
        try:
            repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if where["revision"] is not None:
                api.create_branch(repo, branch=where["revision"], exist_ok=True)
            return api.upload_folder(
                folder_path=folder,
                repo_id=repo,
                commit_message=message,
                commit_description=description,
                delete_patterns=["model*.safetensors", "model*.safetensors.index.json", "onnx/*/*", "openvino/*/*"],
                **where,
            )
        except (OSError, ValueError, RuntimeError) as error:  # the Hub client's errors are of these kinds
            raise LiraError(f"cannot push to {repo_id}: {one_line(error)}") from error

    # ------------------------------------------------------------------ loading

    @classmethod
    def _load(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        model_args: Sequence[object],
        config: LiraConfig | None,
        overrides: Mapping[str, str | os.PathLike | None],
        kwargs: dict[str, object],
    ) -> tuple[Self, dict[str, set[str]]]:
        """Load a checkpoint, or LoRA weights on top of one; return it with what is missing and unexpected."""
        hub = cast(HubArguments, {key: kwargs.pop(key) for key in HubArguments.__annotations__ if key in kwargs})
        peft = dict(cast(Mapping[str, str], kwargs.pop("adapter_kwargs", None) or {}))
        with reading(f"checkpoint {str(pretrained_model_name_or_path)!r}"):
            lora, name, lora_rest = maybe_load_adapters(pretrained_model_name_or_path, hub, **peft)  # type: ignore[arg-type]
            if lora is not None:
                _check_lora(lora, cast(HubArguments, {**hub, **lora_rest}))
            if name != pretrained_model_name_or_path:
                hub.pop("revision", None)  # the LoRA's own, not that of the checkpoint beneath it
            stored = cls.config_class.from_pretrained(name, **hub)
            if config is None:
                config, kwargs = _config_from(cls.config_class, name, hub, kwargs)
            config, foreign = cls._foreign_weights(config, stored, overrides, hub)
            loader = cast(Callable[..., tuple[Self, dict[str, set[str]]]], super().from_pretrained)
            changes: dict[str, Tensor] = {}
            load = partial(loader, config=config, output_loading_info=True, **{**kwargs, "use_safetensors": True})
            if foreign:
                weights, changes = split_changes(read_weights(name, hub))
                foreign = with_changes(foreign, changes, f"checkpoint {str(name)!r}")
                with quiet():
                    model, info = load(None, *model_args, state_dict={**weights, **foreign})
                model.name_or_path = model.config.name_or_path = str(name)
                if model.can_generate():
                    model.generation_config = GenerationConfig.from_pretrained(name, **hub)
                if lora is not None:
                    model.load_adapter(lora, adapter_kwargs=lora_rest)
            else:
                weight_files(name, hub)
                with quiet():
                    model, info = load(pretrained_model_name_or_path, *model_args, adapter_kwargs=peft, **hub)
        if info["missing_keys"]:
            missing = min(info["missing_keys"])
            raise LiraError(f"checkpoint {str(name)!r} lacks weight {missing!r}: its files are not complete")
        if info["unexpected_keys"]:
            logger.warning("checkpoint %r: weight %r is of no use", str(name), min(info["unexpected_keys"]))
        check_numbers(model.named_parameters(), f"checkpoint {str(name)!r}")
        model._freeze_backbones()
        model._processor_arguments = {**hub, "trust_remote_code": cast(bool | None, kwargs.get("trust_remote_code"))}
        for prefix, part in model.named_modules():
            if isinstance(part, LiraPreTrainedModel):
                part._remember_frozen()
                part._remember_changes(changes, f"{prefix}." if prefix else "")
        return model, info

    def _remember_changes(self, changes: Mapping[str, Tensor], prefix: str = "") -> None:
        """Keep the changes of the backbones, which an adapter-only save writes beside the trained parts."""
        self._changes = {key.removeprefix(prefix): value for key, value in changes.items() if key.startswith(prefix)}
        for path in getattr(self.config, "tuned_backbones", ()):
            if not any(key.startswith(f"{path}_encoder.") for key in self._changes):
                raise LiraError(f"checkpoint {self.name_or_path!r} lacks the changes of its {path} backbone")

    def _remember_frozen(self, trained_on: bool = False) -> None:
        """Keep what tells later whether the backbones are still those that were loaded, or also that they train it."""
        self._loaded_digests = self._digests()
        if trained_on:
            for name, digest in self._loaded_digests.items():
                setattr(self.config, name, digest)


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `target`, on the same disk; nothing stays of a save that failed or was killed."""
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        sweep(target, _STAGED)
        with tempfile.TemporaryDirectory(dir=target, prefix=f".{_STAGED}.") as name, held(Path(name)):
            yield Path(name)
    except (OSError, SafetensorError) as error:
        raise LiraError(f"cannot save to {str(target)!r}: {error}") from error
    finally:
        if is_new and target.is_dir() and not any(target.iterdir()):
            target.rmdir()


def move_over(source: Path, target: Path) -> None:
    """Move every file of `source` into `target`, replacing what has the same name and weights of another layout.

    Each gets the mode that a new file has here, whatever the library that wrote it chose.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file())
    new = source / ".mode"
    new.touch()
    mode = new.stat().st_mode
    for path in files:
        path.chmod(mode)
        with path.open("rb+") as written:
            os.fsync(written.fileno())
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
    for path in files:
        path.replace(target / path.relative_to(source))
    names = {path.name for path in files}
    for old in target.glob("model*.safetensors*"):
        if old.name not in names:  # one file before, shards now, or the other way round
            old.unlink()


_RECORDS = ("training.json", "evaluation.json")


def _carry_card(folder: Path, loaded: Path | None, repo: str, licence: str, tags: Sequence[str]) -> None:
    """Put the card and the records of the loaded weights beside saved ones; changed weights keep no results."""
    path = None if loaded is None else loaded / "README.md"
    if path is not None and path.is_file():
        card = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True)
    else:
        card = ModelCard(f"---\nlibrary_name: transformers\n---\n\n# {repo}\n")
    data = cast(ModelCardData, card.data)
    if loaded is not None and _same_files(folder, loaded):
        for name in _RECORDS:
            if (loaded / name).is_file():
                (folder / name).write_bytes((loaded / name).read_bytes())
    else:
        data.eval_results = None
    data.model_name = repo.rpartition("/")[2]
    data.tags = list(dict.fromkeys([*(data.tags or ()), *tags]))
    if licence:
        data.license = licence
    card.save(folder / "README.md")


def _same_files(first: Path, second: Path) -> bool:
    """Tell whether two folders hold the same weights."""
    names = [sorted(path.name for path in folder.glob("model*.safetensors")) for folder in (first, second)]
    return names[0] == names[1] and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in names[0]
    )


def _check_lora(name: str | os.PathLike, hub: HubArguments) -> None:
    """Raise `LiraError` for LoRA weights in a format that can hold code, which `transformers` would open."""
    if cached_file(name, _LORA_WEIGHTS, _raise_exceptions_for_missing_entries=False, **hub) is None:
        raise LiraError(f"LoRA {str(name)!r} has no {_LORA_WEIGHTS}: weights of other formats are not opened")


def _config_from(
    config_class: type[LiraConfig], name: str | os.PathLike, hub: HubArguments, kwargs: dict[str, object]
) -> tuple[LiraConfig, dict[str, object]]:
    """Read the config, changed by the arguments that are its fields; return the other arguments too."""
    dtype = {key: value for key, value in kwargs.items() if key in ("dtype", "torch_dtype")}
    others = {key: value for key, value in kwargs.items() if key not in dtype}
    config, unused = config_class.from_pretrained(name, return_unused_kwargs=True, **hub, **others)
    return config, {**unused, **dtype}
