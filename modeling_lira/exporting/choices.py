"""The choices that users have when they export a model and run an export; without other imports, as `--help` needs."""

from enum import StrEnum


class Format(StrEnum):
    """Whose graphs are written."""

    onnx = "onnx"
    openvino = "openvino"


class Precision(StrEnum):
    """The numbers in which the encoders compute; what stands on them computes in float32 but in bfloat16."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


class Backend(StrEnum):
    """What runs a model."""

    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"
