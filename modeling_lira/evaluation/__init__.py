"""How well a model retrieves: metrics, simple rivals, `evaluate`."""

from .evaluator import evaluate

__all__ = ["evaluate"]
