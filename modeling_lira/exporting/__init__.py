"""Write a model as graphs for ONNX Runtime and OpenVINO."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .export import export_model

__all__ = ["export_model"]

lazy_face(__name__, {"export_model": "export"})
