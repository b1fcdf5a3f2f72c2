"""How well a model retrieves: metrics, simple rivals, `evaluate`."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .evaluator import evaluate

__all__ = ["evaluate"]

lazy_face(__name__, {"evaluate": "evaluator"})
