"""Write a model as graphs for ONNX Runtime and OpenVINO."""

from .export import export_model

__all__ = ["export_model"]
