"""Two-stage training over cached streams of the frozen backbones."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .options import ArcaOptions, LasrOptions, TrainingOptions, TuneOptions, read_options
    from .train import train

__all__ = ["ArcaOptions", "LasrOptions", "TrainingOptions", "TuneOptions", "read_options", "train"]

lazy_face(
    __name__,
    {
        "ArcaOptions": "options",
        "LasrOptions": "options",
        "TrainingOptions": "options",
        "TuneOptions": "options",
        "read_options": "options",
        "train": "train",
    },
)
