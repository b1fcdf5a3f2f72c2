"""Configuration of a language model that reads LiRA's fused representation before its prompt."""

from collections.abc import Mapping
from typing import ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_lira import CheckedConfig, LiraConfig, checked
from .errors import LiraError

_FILES_OF_THE_MODEL = """
from .modeling_lira_causal_lm import LiraForCausalLM
"""
"""Read by `transformers`, as the lines of the same name in configuration_lira.py."""

STREAMS = ("fused", "multilingual")


@checked
class LiraCausalLMConfig(CheckedConfig):
    """Describe a LiRA encoder in front of a causal language model.

    Parameters
    ----------
    lira_config : LiraConfig or dict
        The encoder, with the names of its own backbones.
    text_config : PreTrainedConfig or dict
        The language model: any that `AutoModelForCausalLM` knows.
    text_model : str
        Where its frozen weights come from (Hub id or folder); read when the checkpoint is adapter-only.
    text_revision : str, optional
        Revision of that Hub id: the main branch where there is none.
    text_digest : str, optional
        Digest of the language model's weights, as the encoders' in `LiraConfig`.
    backbones_included : bool
        Whether the checkpoint's weight file holds the language model and both encoders too (self-contained) or not
        (adapter-only).
    projector_size : int
        Inner width of the projector's residual branch.
    stream : "fused" or "multilingual"
        What the language model reads: LiRA's fused stream or, as a baseline, the multilingual encoder's alone, which
        neither Arca's adaptor nor LaSR has seen.

    Raises
    ------
    LiraError
        A projector that is empty or absurdly large; another stream.

    Source: METHOD.md, Reasoning.
    """

    model_type = "lira_causal_lm"
    limits: ClassVar[Mapping[str, int]] = {"projector_size": 65_536}
    sub_configs_defaults = {
        "lira_config": SubConfigSpec(config_class=LiraConfig),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    lira_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    text_model: str = ""
    text_revision: str | None = None
    text_digest: str | None = None
    backbones_included: bool = True
    projector_size: int = 512
    stream: str = "fused"

    def validate_values(self) -> None:
        """Raise `LiraError` for an encoder of another kind, or a stream that there is not."""
        if not isinstance(self.lira_config, LiraConfig):
            raise LiraError(f"lira_config must be the config of an encoder, got {type(self.lira_config).__name__}")
        self.lira_config.validate()
        if self.stream not in STREAMS:
            raise LiraError(f"stream must be one of {', '.join(STREAMS)}, got {self.stream!r}")

    @property
    def encoder(self) -> LiraConfig:
        """Configuration of the encoder."""
        assert isinstance(self.lira_config, LiraConfig)  # a dict until __post_init__
        return self.lira_config

    @property
    def text(self) -> PreTrainedConfig:
        """Configuration of the language model."""
        assert isinstance(self.text_config, PreTrainedConfig)  # a dict until __post_init__
        return self.text_config
