"""Evaluation of retrieval: metrics, baselines, and `evaluate`, which compares a model with them."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .evaluator import evaluate

__all__ = ["evaluate"]

lazy_face(__name__, {"evaluate": "evaluator"})
