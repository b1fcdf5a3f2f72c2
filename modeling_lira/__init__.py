"""LiRA: encoders and language models that work as well in low-resource languages as in English."""

from typing import TYPE_CHECKING

from .errors import LiraError
from .faces.importing import watch_imports
from .faces.lazy import lazy_face

if TYPE_CHECKING:
    from .configuration_lira import LiraConfig
    from .configuration_lira_causal_lm import LiraCausalLMConfig
    from .modeling_lira import LiraModel, LiraModelOutput
    from .modeling_lira_causal_lm import LiraCausalLMOutput, LiraForCausalLM
    from .processing_lira import LiraProcessor
    from .processing_lira_causal_lm import LiraCausalLMProcessor

__version__ = "0.1.0"
__all__ = [
    "LiraCausalLMConfig",
    "LiraCausalLMOutput",
    "LiraCausalLMProcessor",
    "LiraConfig",
    "LiraError",
    "LiraForCausalLM",
    "LiraModel",
    "LiraModelOutput",
    "LiraProcessor",
]

lazy_face(
    __name__,
    {
        "LiraCausalLMConfig": "configuration_lira_causal_lm",
        "LiraCausalLMOutput": "modeling_lira_causal_lm",
        "LiraCausalLMProcessor": "processing_lira_causal_lm",
        "LiraConfig": "configuration_lira",
        "LiraForCausalLM": "modeling_lira_causal_lm",
        "LiraModel": "modeling_lira",
        "LiraModelOutput": "modeling_lira",
        "LiraProcessor": "processing_lira",
    },
)
watch_imports()
