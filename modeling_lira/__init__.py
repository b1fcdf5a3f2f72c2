"""LiRA: encoders and language models that work as well in low-resource languages as in English."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_lira import LiraConfig
from .errors import LiraError
from .modeling_lira import LiraModel, LiraModelOutput
from .processing_lira import LiraProcessor

__version__ = "0.1.0"
__all__ = ["LiraConfig", "LiraError", "LiraModel", "LiraModelOutput", "LiraProcessor"]

AutoConfig.register("lira", LiraConfig, exist_ok=True)
AutoModel.register(LiraConfig, LiraModel, exist_ok=True)
AutoProcessor.register(LiraConfig, LiraProcessor, exist_ok=True)
