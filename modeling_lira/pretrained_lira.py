"""How LiRA's models are saved, published and loaded: with code and processor, with backbones or only their names."""

import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, cast

import torch
from huggingface_hub import CommitInfo
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers import initialization as init
from transformers.integrations.peft import maybe_load_adapters
from transformers.utils import cached_file

from .arca import Actor, Projection, ZeroLinear
from .configuration_lira import LiraConfig
from .errors import LiraError
from .files import move_over, staging_folder
from .frozen_backbone import (
    HubArguments,
    read_weights,
    weight_files,
)
from .hub import push_folder
from .lasr import StandIn
from .model_card import CardSources

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


class _ProcessorArguments(HubArguments, total=False):
    """How the processor beside the weights is read: no question is asked that the user has answered already."""

    trust_remote_code: bool | None


class LiraPreTrainedModel(PreTrainedModel):
    """What LiRA's models share: how their trained parts start, and how they are saved, published and loaded.

    A subclass says which `processor_type` goes beside its weights, by which `auto_class` it is found, which weights
    are frozen (`backbone_prefixes`), and what `_check_pinned`, `_frozen_sample` and `_foreign_weights` are.
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
        self._loaded_sample: Tensor | None = None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start every trained part so that the untrained model ranks as its backbones do."""
        if isinstance(module, Projection | ZeroLinear | Actor | StandIn):
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
        loaded, found = self._loaded_sample, self._frozen_sample()
        if loaded is not None and (loaded.shape != found.shape or not torch.equal(loaded.to(found.dtype), found)):
            raise LiraError("the backbones changed since they were loaded: save with save_backbones=True")

    def _frozen_sample(self) -> Tensor:
        """Return a few numbers of every frozen weight: enough to see whether they were changed."""
        raise NotImplementedError

    @classmethod
    def _foreign_weights(
        cls,
        config: LiraConfig,
        stored: LiraConfig,
        overrides: Mapping[str, str | os.PathLike | None],
        hub: HubArguments,
    ) -> tuple[LiraConfig, dict[str, Tensor]]:
        """Return the config with overriding backbones pinned, and the weights that are not the checkpoint's."""
        raise NotImplementedError

    def _freeze_backbones(self) -> None:
        raise NotImplementedError

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
            True: self-contained. False: adapter-only, the backbones' ids stay pinned in the config. By default as
            the model was loaded.
        push_to_hub : bool
        **kwargs
            As in `PreTrainedModel.save_pretrained` and `push_to_hub`.

        Raises
        ------
        LiraError
            An adapter-only save of a model that does not know its backbones' names, or whose backbones were changed
            (by merged LoRA weights, say); a folder that cannot be written, for want of room or permission.

        Source: ours.
        """
        own = self.config
        included = own.backbones_included if save_backbones is None else save_backbones
        if not included and not getattr(self, "_hf_peft_config_loaded", False):  # then only the LoRA is saved
            self._check_pinned()
        type(own).register_for_auto_class()
        type(self).register_for_auto_class(self.auto_class)
        self.processor_type.register_for_auto_class()
        target = Path(save_directory)
        self.config = self._config_to_save(included)  # saving writes into the config; the model stays as it was
        self._keys_to_ignore_on_save = set() if included else self.backbone_keys()
        try:
            with staging_folder(target) as staged:
                self._save_beside(staged)
                super().save_pretrained(staged, **kwargs)  # type: ignore[arg-type]
                move_over(staged, target)
            if push_to_hub:
                given = {name: kwargs[name] for name in _PUSH_ARGUMENTS if name in kwargs}
                self.push_to_hub(**{"repo_id": target.name, **given})  # type: ignore[arg-type]
        finally:
            self.config = own

    def _config_to_save(self, backbones_included: bool) -> LiraConfig:
        config = copy.deepcopy(self.config)
        config.backbones_included = backbones_included
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

        Parameters
        ----------
        repo_id : str
            `organisation/name`; made if it does not exist.
        save_backbones : bool, optional
            As in `save_pretrained`.
        training, evaluation : mapping, optional
            Records for the card, as in `model_card.py`.
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

        Source: ours.
        """
        sources = CardSources(training, evaluation, dataset, licence, tags=tags)
        with tempfile.TemporaryDirectory() as name:
            self.save_pretrained(name, save_backbones=save_backbones, max_shard_size=max_shard_size)
            return push_folder(
                Path(name),
                repo_id,
                sources,
                message=commit_message or "Upload model",
                description=commit_description,
                private=private,
                token=token,
                revision=revision,
                create_pr=create_pr,
            )

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
        with _damage_named(pretrained_model_name_or_path):
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
            load = partial(loader, config=config, output_loading_info=True, **{**kwargs, "use_safetensors": True})
            if foreign:
                model, info = load(None, *model_args, state_dict={**read_weights(name, hub), **foreign})
                model.name_or_path = model.config.name_or_path = str(name)
                if model.can_generate():
                    model.generation_config = GenerationConfig.from_pretrained(name, **hub)
                if lora is not None:
                    model.load_adapter(lora, adapter_kwargs=lora_rest)
            else:
                weight_files(name, hub)
                model, info = load(pretrained_model_name_or_path, *model_args, adapter_kwargs=peft, **hub)
        if info["missing_keys"]:
            missing = min(info["missing_keys"])
            raise LiraError(f"checkpoint {str(name)!r} lacks weight {missing!r}: its files are not complete")
        model._freeze_backbones()
        model._processor_arguments = {**hub, "trust_remote_code": cast(bool | None, kwargs.get("trust_remote_code"))}
        for part in model.modules():
            if isinstance(part, LiraPreTrainedModel):
                part._remember_frozen()
        return model, info

    def _remember_frozen(self) -> None:
        """Keep what tells later whether the backbones are still those that were loaded."""
        self._loaded_sample = self._frozen_sample()


@contextmanager
def _damage_named(name: str | os.PathLike) -> Iterator[None]:
    """Turn what the readers of weights and configs raise into a `LiraError` that names the checkpoint."""
    try:
        yield
    except (SafetensorError, StrictDataclassError) as error:
        raise LiraError(f"checkpoint {str(name)!r} is damaged: {' '.join(str(error).split())}") from error


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
