"""Configuration of the LiRA encoder."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .errors import LiraError, one_line, reading

_FILES_OF_THE_MODEL = """
from .modeling_lira import LiraModel
from .st_lira import LiraSTModule
"""
"""Never run, but read: these lines are how `transformers` knows that the two files belong to every saved model.

It looks for them by a regular expression, in strings too. It also keeps the code of local folders apart by a digest of
the config's file and of the files that it names, and gives every folder with the same digest the model class of the
first. An import would do the same, at the price of a circle.
"""

LANGUAGES = ("vi", "th", "id", "ms", "ur", "bn", "fil", "en")
"""Language codes (ISO 639-1 / BCP 47) known to a model whose config does not say otherwise."""

ENGLISH = "en"
"""The language whose texts are their own translation."""
PATHS = ("multilingual", "english")
POOLINGS = ("mean", "cls", "lasttoken", "weightedmean")
"""How an encoder makes one vector of its tokens, as sentence-transformers names it."""

_LIMITS = {
    "hidden_size": 65_536,
    "truncate_dim": 2 * 65_536,
    "num_attention_heads": 65_536,
    "num_feature_bins": 1_024,
    "num_candidates": 256,
    "adaptor_size": 65_536,
    "actor_size": 65_536,
    "fusion_size": 65_536,
    "num_fusion_layers": 64,
    "fusion_intermediate_size": 262_144,
}


_LARGEST = {
    "vocab_size": 10_000_000,
    "hidden_size": 100_000,
    "intermediate_size": 1_000_000,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 10_000,
}
"""More than any encoder has: to build what a hostile config asks for would take hours."""

Config = TypeVar("Config", bound="CheckedConfig")


class CheckedConfig(PreTrainedConfig):
    """A config whose every wrong value is a `LiraError`, whichever way it came in.

    A subclass is decorated with `checked`; it says in `limits` how large its counts may be, and checks in
    `validate_values` what depends on several fields.
    """

    limits: ClassVar[Mapping[str, int]] = {}

    def __post_init__(self, **kwargs: object) -> None:
        """Build the parts' configurations."""
        with reading(type(self).__name__):
            super().__post_init__(**kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> Self:
        """Read a config; errors name the checkpoint."""
        what = f"the config of {str(pretrained_model_name_or_path)!r}"
        with reading(what):
            try:
                return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
            except LiraError as error:
                raise LiraError(f"{what}: {error}") from error

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Build a config from what its file holds, and check it again after other values took the place of some."""
        if not isinstance(config_dict, dict):
            raise LiraError(f"a config must be one JSON object, got {type(config_dict).__name__}")
        if config_dict.get("model_type", cls.model_type) != cls.model_type:
            raise LiraError(f"model_type must be {cls.model_type!r}, got {config_dict['model_type']!r}")
        result = super().from_dict(config_dict, **kwargs)
        (result[0] if isinstance(result, tuple) else result).validate()
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, without the folders of this machine from which the parts' configs were read."""
        values = super().to_dict()
        for name in self.sub_configs_defaults:
            if isinstance(values.get(name), dict):
                values[name].pop("_name_or_path", None)
        return values

    def _check_limit(self, name: str, value: object) -> None:
        """Raise `LiraError` for a count that is not positive or absurdly large; None stands for a default."""
        limit = self.limits.get(name)
        if limit is not None and value is not None and not (isinstance(value, int) and 1 <= value <= limit):
            raise LiraError(f"{name} must be between 1 and {limit}, got {value}")


def check_size(config: PreTrainedConfig) -> None:
    """Raise `LiraError` for a pretrained model of a size that none has."""
    for name, largest in _LARGEST.items():
        size = getattr(config, name, None)
        if isinstance(size, int) and not 1 <= size <= largest:
            raise LiraError(f"{config.model_type} backbone: {name} must be between 1 and {largest}, got {size}")


def checked(config_class: type[Config]) -> type[Config]:
    """Check types as `strict` does, and limits too, whenever a field is set; what is wrong is a `LiraError`."""
    made = strict(config_class)
    assign, validate = made.__setattr__, made.validate  # type: ignore[attr-defined]

    def set_checked(self: Config, name: str, value: object) -> None:
        if isinstance(value, bool) and name in self.limits:
            raise LiraError(f"{name} must be a number, got {value}")
        try:
            assign(self, name, value)
        except StrictDataclassError as error:
            raise LiraError(one_line(error.__cause__)) from error
        self._check_limit(name, value)

    def validate_checked(self: Config) -> None:
        try:
            validate(self)
        except StrictDataclassError as error:
            raise LiraError(one_line(error.__cause__)) from error

    made.__setattr__ = set_checked  # type: ignore[assignment, method-assign]
    made.validate = validate_checked  # type: ignore[attr-defined]
    return made


@checked
class LiraConfig(CheckedConfig):
    """Describe a LiRA encoder: two frozen backbones, Arca and LaSR.

    Parameters
    ----------
    multilingual_config, english_config : PreTrainedConfig or dict
        Configurations of the two backbones, g and h. Any encoder that `AutoModel` knows.
    multilingual_backbone, english_backbone : str
        Where the frozen weights come from (Hub id or folder); read when the checkpoint is adapter-only.
    multilingual_revision, english_revision : str, optional
        Revisions of those Hub ids: the main branch where there is none.
    multilingual_digest, english_digest : str, optional
        Digests of the weights that the trained parts were trained on, as `weights_sketch` makes them; loading warns
        where the backbones' are others. None in older checkpoints.
    multilingual_pooling, english_pooling : str
        Which of `POOLINGS` makes the vector that each backbone was trained to give: the mean of its stream.
    tuned_backbones : list of str
        Which of "multilingual" and "english" are the pinned backbones with changes, which are in the weight file.
    backbones_included : bool
        Whether the checkpoint's weight file holds the backbones too (self-contained) or not (adapter-only).
    hidden_size : int, optional
        Shared width d; by default the width of the multilingual backbone.
    num_feature_bins : int
        Number S of temporal bins of every stream.
    num_candidates : int
        Largest number K of English candidate translations per text.
    languages : list of str, optional
        Language codes, in the order of their ids (1 ... n; id 0 means "not told").
    adaptor_size : int
        Inner width of the shared residual adaptor.
    actor_size : int
        Inner width of the actor.
    fusion_size : int
        Width of LaSR's Transformer, which enters and leaves the shared width by a projection.
    num_fusion_layers : int
        Layers of LaSR's Transformer.
    num_attention_heads : int, optional
        Heads of LaSR's Transformer; by default about one per 64 dimensions.
    fusion_intermediate_size : int, optional
        Feed-forward width of LaSR's Transformer; by default twice its width.
    english_weight_init : float
        Weight w in (0, 1) of the English path before training.
    truncate_dim : int, optional
        Keep the first dimensions of an embedding and normalise again; by default all 2d. Any checkpoint can be loaded
        so; one trained at that width too (`matryoshka`) loses least.

    Raises
    ------
    LiraError
        A count that is not positive or absurdly large, heads that do not divide the width, a weight outside (0, 1).

    Source: paper, Arca and LaSR (not the defaults).
    """

    model_type = "lira"
    limits: ClassVar[Mapping[str, int]] = _LIMITS
    sub_configs_defaults = {
        "multilingual_config": SubConfigSpec(config_class=AutoConfig, model_type="xlm-roberta"),
        "english_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    multilingual_config: PreTrainedConfig | dict | None = None
    english_config: PreTrainedConfig | dict | None = None
    multilingual_backbone: str = ""
    english_backbone: str = ""
    multilingual_revision: str | None = None
    english_revision: str | None = None
    multilingual_digest: str | None = None
    english_digest: str | None = None
    multilingual_pooling: str = "mean"
    english_pooling: str = "mean"
    tuned_backbones: list[str] | tuple[str, ...] = ()
    backbones_included: bool = True
    hidden_size: int | None = None
    num_feature_bins: int = 8
    num_candidates: int = 4
    languages: list[str] | tuple[str, ...] | None = None
    adaptor_size: int = 256
    actor_size: int = 32
    fusion_size: int = 128
    num_fusion_layers: int = 1
    num_attention_heads: int | None = None
    fusion_intermediate_size: int | None = None
    english_weight_init: int | float = 0.5
    truncate_dim: int | None = None

    def __post_init__(self, **kwargs: object) -> None:
        """Fill the widths that follow from the backbones, then check every number."""
        super().__post_init__(**kwargs)
        self.languages = list(LANGUAGES if self.languages is None else self.languages)
        if self.hidden_size is None:
            self.hidden_size = getattr(self.backbone("multilingual"), "hidden_size", None)
        if self.num_attention_heads is None:
            self.num_attention_heads = _default_heads(self.fusion_size)
        if self.fusion_intermediate_size is None:
            self.fusion_intermediate_size = 2 * self.fusion_size

    def validate_values(self) -> None:
        """Raise `LiraError` for values that do not go together, and for backbones of impossible sizes."""
        for path in PATHS:
            part = getattr(self, f"{path}_config")
            if not isinstance(part, PreTrainedConfig) or not isinstance(getattr(part, "hidden_size", None), int):
                raise LiraError(f"{path}_config must be the config of an encoder, got {type(part).__name__}")
            check_size(part)
            if (pooling := getattr(self, f"{path}_pooling")) not in POOLINGS:
                raise LiraError(f"{path}_pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        if any(getattr(self, name) is None for name in self.limits if name != "truncate_dim"):
            raise LiraError("a size is None: leave it out for its default")
        heads = self.num_attention_heads or 0
        if self.fusion_size % heads:
            raise LiraError(f"num_attention_heads must divide fusion_size: {heads} does not divide {self.fusion_size}")
        if not 0.0 < self.english_weight_init < 1.0:
            raise LiraError(f"english_weight_init must be between 0 and 1, got {self.english_weight_init}")
        if self.truncate_dim is not None and self.truncate_dim > 2 * self.width:
            raise LiraError(f"truncate_dim must be between 1 and {2 * self.width}, got {self.truncate_dim}")
        if not set(self.tuned_backbones) <= set(PATHS):
            raise LiraError(f"tuned_backbones must be among {', '.join(PATHS)}, got {list(self.tuned_backbones)}")
        codes = self.languages or []
        if not codes or len(set(codes)) != len(codes) or not all(code.strip() for code in codes):
            raise LiraError(f"languages must hold at least one code, none empty and none twice, got {codes}")

    def backbone(self, path: str) -> PreTrainedConfig:
        """Return the configuration of one backbone; `path` is "multilingual" or "english"."""
        config = getattr(self, f"{path}_config")
        assert isinstance(config, PreTrainedConfig)  # a dict until __post_init__
        return config

    @property
    def width(self) -> int:
        """Shared width d, once `hidden_size` is filled in."""
        assert self.hidden_size is not None
        return self.hidden_size

    @property
    def embedding_size(self) -> int:
        """Width D of a sentence embedding: 2d, or less where it is truncated."""
        return self.truncate_dim or 2 * self.width

    @property
    def num_languages(self) -> int:
        """Number of language codes, without the id 0 of "not told"."""
        return len(self.languages or ())


def _default_heads(width: int) -> int:
    """Return about one head per 64 dimensions: the largest number up to that which divides the width."""
    return next(heads for heads in range(max(1, width // 64), 0, -1) if width % heads == 0)
