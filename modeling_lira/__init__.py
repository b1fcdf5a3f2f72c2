"""LiRA: encoders and language models that work as well in low-resource languages as in English."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor

from .configuration_lira import LiraConfig
from .configuration_lira_causal_lm import LiraCausalLMConfig
from .errors import LiraError
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

AutoConfig.register("lira", LiraConfig, exist_ok=True)
AutoModel.register(LiraConfig, LiraModel, exist_ok=True)
AutoProcessor.register(LiraConfig, LiraProcessor, exist_ok=True)
AutoConfig.register("lira_causal_lm", LiraCausalLMConfig, exist_ok=True)
AutoModelForCausalLM.register(LiraCausalLMConfig, LiraForCausalLM, exist_ok=True)
AutoProcessor.register(LiraCausalLMConfig, LiraCausalLMProcessor, exist_ok=True)
