"""Configuration of the LiRA encoder."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .errors import LiraError

LANGUAGES = ("vi", "th", "id", "ms", "ur", "bn", "fil", "en")
"""Language codes (ISO 639-1 / BCP 47) known to a model whose config does not say otherwise."""

_LIMITS = {
    "hidden_size": 65_536,
    "num_feature_bins": 1_024,
    "num_candidates": 256,
    "adaptor_size": 65_536,
    "actor_size": 65_536,
    "fusion_size": 65_536,
    "num_fusion_layers": 64,
    "fusion_intermediate_size": 262_144,
}


@strict
class LiraConfig(PreTrainedConfig):
    """Describe a LiRA encoder: two frozen backbones, Arca and LaSR.

    Parameters
    ----------
    multilingual_config, english_config : PreTrainedConfig or dict
        Configurations of the two backbones, g and h. Any encoder that `AutoModel` knows.
    multilingual_backbone, english_backbone : str
        Where the frozen weights come from (Hub id or folder); read when the checkpoint is adapter-only.
    multilingual_revision, english_revision : str, optional
        Pinned revisions of those Hub ids.
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

    Source: paper, Arca and LaSR; defaults are ours.
    """

    model_type = "lira"
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
            self.hidden_size = self.backbone("multilingual").hidden_size
        if self.num_attention_heads is None:
            self.num_attention_heads = _default_heads(self.fusion_size)
        if self.fusion_intermediate_size is None:
            self.fusion_intermediate_size = 2 * self.fusion_size
        self._check()

    def _check(self) -> None:
        for name, limit in _LIMITS.items():
            if not 1 <= getattr(self, name) <= limit:
                raise LiraError(f"{name} must be between 1 and {limit}, got {getattr(self, name)}")
        heads = self.num_attention_heads or 0
        if heads < 1 or self.fusion_size % heads:
            raise LiraError(f"num_attention_heads must divide fusion_size: {heads} does not divide {self.fusion_size}")
        if not 0.0 < self.english_weight_init < 1.0:
            raise LiraError(f"english_weight_init must be between 0 and 1, got {self.english_weight_init}")
        if self.truncate_dim is not None and not 1 <= self.truncate_dim <= 2 * self.width:
            raise LiraError(f"truncate_dim must be between 1 and {2 * self.width}, got {self.truncate_dim}")
        codes = self.languages or []
        if not codes or len(set(codes)) != len(codes):
            raise LiraError(f"languages must hold at least one code and none twice, got {codes}")

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


PATHS = ("multilingual", "english")
