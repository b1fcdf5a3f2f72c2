"""`lira export`, and the options by which other commands run what it wrote."""

import logging
from importlib.util import find_spec
from typing import Annotated

import typer

from ..errors import LiraError
from ..exporting.choices import Backend, Format, Precision
from ..faces.extras import needs
from .options import EnglishOption, MultilingualOption

logger = logging.getLogger(__name__)

EXPORT_EXAMPLE = "Example: lira export runs/mine --precision int8; lira encode --model runs/mine --backend onnx …"
BackendOption = Annotated[Backend, typer.Option("--backend", help="What runs the model; others need lira export.")]
PrecisionOption = Annotated[
    Precision | None, typer.Option("--precision", help="Of the export; by default float32 if there, else what is.")
]


@needs("onnx", "onnxruntime", "onnxscript")
def export(
    model: Annotated[str, typer.Argument(help="Run of lira train or folder of a model.", show_default=False)],
    format: Annotated[Format, typer.Option("--format", help="Whose graphs to write.")] = Format.onnx,
    precision: Annotated[Precision, typer.Option("--precision", help="Of the encoders.")] = Precision.float32,
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Write a model as graphs beside its weights, in FORMAT/PRECISION, for ONNX Runtime or OpenVINO.

    lira push takes them along; --backend of lira encode, search and serve, LiraModel and SentenceTransformer run them.
    """
    if find_spec("transformers.exporters") is None:
        raise LiraError("lira export needs transformers 5.23 or newer")
    from ..exporting import export_model

    logger.info("%s: exported", export_model(model, format, precision, multilingual, english))
