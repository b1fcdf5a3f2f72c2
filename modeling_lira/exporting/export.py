"""Export a saved model: its graphs are written beside its weights."""

import logging
import tempfile
from pathlib import Path

import onnx_ir as ir

from ..errors import LiraError
from ..exported_lira import GRAPHS, MANIFEST, Export, digests_of, exports_in, file_names
from ..faces.progress import Progress
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..pretrained_lira import move_over, staging_folder
from ..records.saved_model import fingerprint, load_model, located
from .choices import Format, Precision
from .graphs import examples, quantised, save_graphs, save_light, stored, traced

logger = logging.getLogger(__name__)


def export_model(
    name: str,
    format: Format = Format.onnx,
    precision: Precision = Precision.float32,
    multilingual: str | None = None,
    english: str | None = None,
) -> Path:
    """Write the graphs of a saved model into `FORMAT/PRECISION` of its folder; a finished export is kept.

    Parameters
    ----------
    name : str
        Folder or run of `lira train`.
    format : Format
    precision : Precision
    multilingual, english : str, optional
        Backbones in place of those that the model names.

    Returns
    -------
    Path
        The folder of the export.

    Raises
    ------
    LiraError
        No folder, a model that cannot be loaded, or a precision that the format has not: ONNX has no bfloat16 here,
        OpenVINO no int8.
    """
    format, precision = Format(format), Precision(precision)
    if (format, precision) == (Format.onnx, Precision.bfloat16):
        raise LiraError("ONNX Runtime has no bfloat16 on CPUs: take --precision int8, or --format openvino")
    if (format, precision) == (Format.openvino, Precision.int8):
        raise LiraError("int8 is for ONNX Runtime: take --format onnx, or --precision bfloat16")
    model_folder = Path(located(name))
    if not model_folder.is_dir():
        raise LiraError(f"{name!r} is no folder: download the model first, for its graphs lie beside its weights")
    folder, weights = model_folder / format / precision, digests_of(model_folder)
    finished = {export.folder for export in exports_in(model_folder) if export.is_of(weights)}
    if f"{format}/{precision}" in finished:
        logger.info("%s: exported already", folder)
        return folder
    model = load_model(name, multilingual, english).cpu().eval()
    exact = model_folder / Format.onnx / Precision.float32
    with staging_folder(folder) as staged:
        if (format, precision) == (Format.onnx, Precision.int8) and f"{Format.onnx}/{Precision.float32}" in finished:
            _save_onnx(stored(exact), precision, staged)
        else:
            _write(model, staged, format, precision)
        sizes = {file: (staged / file).stat().st_size for file in file_names(format)}
        (folder / MANIFEST).unlink(missing_ok=True)  # an export without a manifest does not count
        move_over(staged, folder)
        export = Export(format, precision, fingerprint(model), weights, sizes)
        atomic_write_text(folder / MANIFEST, export.written())
    return folder


def _write(model: LiraModel, folder: Path, format: Format, precision: Precision) -> None:
    graphs = {}
    with Progress(total=len(GRAPHS), desc="export", unit="graph") as bar:
        for name, inputs in examples(model).items():
            graphs[name] = traced(model, inputs, fused=format is Format.onnx)
            bar.update(1)
        if format is Format.onnx:
            _save_onnx(graphs, precision, folder)
        else:
            from .intermediate import convert

            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _save_onnx(graphs, Precision.float32, Path(scratch))
                convert(Path(scratch), folder)
        bar.update(1)


def _save_onnx(graphs: dict[str, ir.Model], precision: Precision, folder: Path) -> None:
    if precision is Precision.int8:
        graphs = {name: quantised(graph) for name, graph in graphs.items()}
    save_graphs(graphs, folder)
    save_light(folder)
