"""Export a saved model: its graphs are written beside its weights."""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from ..errors import LiraError
from ..exported_lira import GRAPHS, MANIFEST, TEXT, Export, digests_of, exports_in, file_names
from ..faces.progress import Progress
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..pretrained_lira import move_over, staging_folder
from ..records.saved_model import fingerprint, load_model, located
from .choices import Format, Precision
from .folded import FoldedTextPath
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
    finished = {
        export.folder for export in exports_in(model_folder) if export.is_of(weights) and export.is_whole(model_folder)
    }
    if f"{format}/{precision}" in finished:
        logger.info("%s: exported already", folder)
        return folder
    model = load_model(name, multilingual, english).cpu().eval()
    others = [model_folder / name for name in sorted(finished) if name.startswith(format)]
    with staging_folder(folder) as staged:
        _write(model, others, staged, format, precision)
        sizes = {file: (staged / file).stat().st_size for file in file_names(format)}
        (folder / MANIFEST).unlink(missing_ok=True)  # an export without a manifest does not count
        move_over(staged, folder)
        export = Export(format, precision, fingerprint(model), weights, sizes)
        atomic_write_text(folder / MANIFEST, export.written())
    return folder


def _write(model: LiraModel, others: Sequence[Path], folder: Path, format: Format, precision: Precision) -> None:
    """Write the files of an export, from finished `others` of its format where they say the same."""
    exact = next((other for other in others if other.name == Precision.float32), None)
    if precision is Precision.int8 and exact is not None:
        _save_onnx(stored(exact), precision, folder)
    elif format is Format.openvino and others:  # its runtime rounds: the files of all precisions are the same
        for file in file_names(format):
            shutil.copyfile(others[0] / file, folder / file)
    else:
        _trace(model, folder, format, precision)


def _trace(model: LiraModel, folder: Path, format: Format, precision: Precision) -> None:
    graphs = {}
    with Progress(total=len(GRAPHS), desc="export", unit="graph") as bar:
        for name, inputs in examples(model).items():
            folded = FoldedTextPath(model).eval() if name == TEXT and model.config.num_feature_bins == 1 else model
            graphs[name] = traced(folded, inputs, fused=format is Format.onnx)
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
