"""Registers LiRA's models with transformers' Auto classes; `importing` imports it as soon as transformers is loaded."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor

from ..configuration_lira import LiraConfig
from ..configuration_lira_causal_lm import LiraCausalLMConfig
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from ..processing_lira import LiraProcessor
from ..processing_lira_causal_lm import LiraCausalLMProcessor

AutoConfig.register("lira", LiraConfig, exist_ok=True)
AutoModel.register(LiraConfig, LiraModel, exist_ok=True)
AutoProcessor.register(LiraConfig, LiraProcessor, exist_ok=True)
AutoConfig.register("lira_causal_lm", LiraCausalLMConfig, exist_ok=True)
AutoModelForCausalLM.register(LiraCausalLMConfig, LiraForCausalLM, exist_ok=True)
AutoProcessor.register(LiraCausalLMConfig, LiraCausalLMProcessor, exist_ok=True)
