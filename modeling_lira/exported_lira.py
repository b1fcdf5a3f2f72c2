"""A model that ONNX Runtime or OpenVINO runs: graphs that `lira export` wrote beside the weights, read and run."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.utils import cached_file

from .arca import NUM_CRITICS
from .configuration_lira import LiraConfig
from .errors import LiraError, one_line, reading
from .frozen_backbone import HubArguments, check_download
from .modeling_lira import LiraModel, LiraModelOutput
from .pretrained_lira import LiraPreTrainedModel
from .processing_lira import batches_by_length

RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""The package that runs the graphs of each format."""
SUFFIXES = {"onnx": (".onnx", ".onnx.data"), "openvino": (".xml", ".bin")}
"""Suffixes of a graph and of the one file of weights that all graphs of a format share."""
PRECISIONS = ("float32", "bfloat16", "int8")
LIGHT, TEXT, CANDIDATES = GRAPHS = ("model", "text", "candidates")
"""Graphs: of `input_ids` and `attention_mask` alone, for other engines; with the language; with candidates too."""
MANIFEST = "export.json"
_WEIGHTS = "model*.safetensors"


@dataclass(frozen=True)
class Export:
    """What `export.json` says: format and precision, `fingerprint` of the model, SHA-256 of its `weights`, `sizes`."""

    format: str
    precision: str
    fingerprint: str
    weights: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where the graphs lie in the model's folder."""
        return f"{self.format}/{self.precision}"

    @property
    def model(self) -> str:
        """Fingerprint of the exported model: one that was made in another precision has another."""
        return f"{self.fingerprint}-{self.format}-{self.precision}"

    def is_of(self, weights: Mapping[str, str]) -> bool:
        """Tell whether these weights, file name -> SHA-256, are those that were exported."""
        return self.weights == weights

    def is_whole(self, model_folder: Path) -> bool:
        """Tell whether every file in the model's folder has the size that it was written with."""
        paths = {model_folder / self.folder / file: size for file, size in self.sizes.items()}
        return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())

    def written(self) -> str:
        """Return the text of the manifest."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_export(path: Path, format: str, precision: str) -> Export:
    """Read `export.json`; raise `LiraError` for one that is damaged or of something else."""
    with reading(str(path)):
        export = Export(**json.loads(path.read_text(encoding="utf-8")))
        if (export.format, export.precision) != (format, precision) or set(export.sizes) != set(file_names(format)):
            raise LiraError(f"{path} is not of an export in {format}, {precision}: export the model again")
    return export


def file_names(format: str) -> list[str]:
    """Return the names of the files of an export, beside its manifest."""
    graph, weights = SUFFIXES[format]
    return [*(f"{name}{graph}" for name in GRAPHS), f"{LIGHT}{weights}"]


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of weights in a model's folder."""
    digests = {}
    for path in sorted(folder.glob(_WEIGHTS)):
        with path.open("rb") as opened:
            digests[path.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return digests


def exports_in(folder: Path) -> Iterator[Export]:
    """Yield the finished exports in a model's folder."""
    for format in RUNTIMES:
        for precision in PRECISIONS:
            manifest = folder / format / precision / MANIFEST
            if manifest.is_file():
                yield read_export(manifest, format, precision)


class ExportedLiraModel(LiraModel):
    """A LiRA model without torch modules: it embeds texts as `LiraModel` does, and does nothing else.

    Parameters
    ----------
    config : LiraConfig
    export : Export
    files : mapping
        Where each file of the export is.

    Raises
    ------
    LiraError
        A graph that the runtime does not take.
    """

    def __init__(self, config: LiraConfig, export: Export, files: Mapping[str, Path]) -> None:
        LiraPreTrainedModel.__init__(self, config)  # LiraModel's would build the modules
        self._processor = None
        self.export = export
        self._files = files
        self._graphs: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {}
        self._graph(TEXT)
        self.eval()

    def _graph(self, name: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
        """Return a graph, opened on first use."""
        if name not in self._graphs:
            path = self._files[f"{name}{SUFFIXES[self.export.format][0]}"]
            self._graphs[name] = open_graph(path, self.export.format, self.export.precision)
        return self._graphs[name]

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The type of its embeddings."""
        return torch.float32

    def _frozen_parts(self) -> Mapping[str, nn.Module]:
        return {}

    def forward(self, **inputs: Tensor | None) -> LiraModelOutput:  # type: ignore[override]
        """Return the `sentence_embedding` of a batch of the processor's tensors; nothing else is in the graphs.

        Raises
        ------
        LiraError
            Streams in place of token ids.
        """
        given = {name: value for name, value in inputs.items() if value is not None and name != "return_dict"}
        unknown = given.keys() - set(self.processor.model_input_names)
        if unknown or "input_ids" not in given:
            raise LiraError(f"an exported model takes the processor's tensors, got {sorted(given)}: load it with torch")
        arrays = {name: value.numpy() for name, value in _completed(given).items()}
        return LiraModelOutput(sentence_embedding=torch.from_numpy(self._run(arrays)))

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the embeddings that the graph for these arrays gives, which are all that it takes."""
        return self._graph(CANDIDATES if "english_input_ids" in inputs else TEXT)(inputs)

    def _embed(
        self,
        texts: list[str],
        languages: list[str | None],
        candidates: list[list[str]],
        scores: Tensor | None,
        kind: str,
        batch_size: int,
        show_progress: bool,
    ) -> Tensor:
        # Not by `forward` and in NumPy: every library that is touched costs a short text time.
        batches = list(_batches(texts, candidates, batch_size))
        parts = []
        for rows in tqdm(batches, desc="encode") if show_progress else batches:
            inputs = self.processor.token_arrays([texts[row] for row in rows], kind)
            inputs["language_ids"] = np.array(self.processor.language_numbers([languages[row] for row in rows]))
            if candidates[rows[0]] and scores is not None:
                english = self.processor.english_inputs([candidates[row] for row in rows], kind)
                english["critic_scores"] = scores[rows, : english["candidate_mask"].shape[1]]
                inputs |= {name: value.numpy() for name, value in english.items()}
            parts.append(self._run(inputs))
        if len(texts) == 1:
            embeddings = parts[0]
        else:
            nothing = np.empty((0, self.config.embedding_size), np.float32)
            embeddings = np.concatenate([nothing, *parts])[np.argsort([row for rows in batches for row in rows])]
        if not math.isfinite(embeddings.sum()):
            raise LiraError("the embeddings are not finite: the export is damaged, export the model again")
        return torch.from_numpy(embeddings)

    def encode_streams(self, texts: Sequence[str], path: str, kind: str = "query", batch_size: int = 64) -> NoReturn:
        """Raise `LiraError`: the graphs give embeddings alone."""
        raise LiraError("an exported model has no streams: load it with backend='torch'")

    def save_pretrained(self, save_directory: object, *args: object, **kwargs: object) -> NoReturn:
        """Raise `LiraError`: there are no weights to save."""
        raise LiraError("an exported model cannot be saved: copy its folder, or load it with backend='torch'")


def _batches(texts: Sequence[str], candidates: Sequence[Sequence[str]], size: int) -> Iterator[list[int]]:
    """Yield the rows of batches of texts of like length, without candidates or with one each at least."""
    for translated in (False, True):
        rows = [row for row, given in enumerate(candidates) if bool(given) is translated]
        for part in batches_by_length([texts[row] for row in rows], size):
            yield [rows[position] for position in part]


def _completed(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with those that may be left out."""
    ids = given["input_ids"]
    usual = {"attention_mask": torch.ones_like(ids), "language_ids": torch.zeros(len(ids), dtype=torch.long)}
    if "english_input_ids" in given:
        shape = given["english_input_ids"].shape
        usual["english_attention_mask"] = torch.ones(shape, dtype=torch.long)
        usual["candidate_mask"] = torch.ones(shape[:2], dtype=torch.bool)
        usual["critic_scores"] = torch.full((*shape[:2], NUM_CRITICS), float("nan"))
    return {**usual, **given}


def _failure(path: Path, error: Exception) -> Exception:
    """Return what to raise for whatever a runtime raised: a `LiraError` of one line; the errors are of many types."""
    if isinstance(error, LiraError | ImportError):
        return error
    return LiraError(f"export {str(path)!r} does not run: {one_line(error)}; export the model again")


def _onnx(path: Path, precision: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Open a graph in ONNX Runtime, which refuses weights outside the graph's folder."""
    onnxruntime = import_module(RUNTIMES["onnx"])  # `import` would make every user of the copied code install it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["sentence_embedding"], inputs)[0]


def _openvino(path: Path, precision: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Open a graph in OpenVINO, in its own precision: left to itself it takes bfloat16 where the CPU has it."""
    openvino = import_module(RUNTIMES["openvino"])
    core = openvino.Core()
    model = core.read_model(path, path.with_name(f"{LIGHT}.bin"))
    hint = "bf16" if precision == "bfloat16" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(model, "CPU", settings)
    return lambda inputs: compiled(dict(inputs), share_inputs=True)["sentence_embedding"]


_ENGINES = {"onnx": _onnx, "openvino": _openvino}


def open_graph(path: Path, format: str, precision: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Return a function from inputs to `sentence_embedding`; both raise `LiraError` for a graph that is damaged."""
    try:
        run = _ENGINES[format](path, precision)
    except Exception as error:
        raise _failure(path, error) from error

    def run_checked(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            return run(inputs)
        except Exception as error:
            raise _failure(path, error) from error

    return run_checked


def load_exported(
    name: str, backend: str, *, precision: str | None = None, config: LiraConfig | None = None, **hub: Any
) -> ExportedLiraModel:
    """Load the graphs that lie beside a model's weights, in a folder or on the Hub; the weights are not read.

    Parameters
    ----------
    name : str
        Folder or Hub id.
    backend : "onnx" or "openvino"
    precision : str, optional
        By default float32 if there is such an export, else the one that there is.
    config : LiraConfig, optional
    **hub
        Where files are looked for, as in `from_pretrained`, with `trust_remote_code` for the processor.

    Raises
    ------
    LiraError
        Another backend or precision, a runtime that is not installed, a model without such an export, an export of
        other weights, and files that are damaged.
    """
    if backend not in RUNTIMES:
        raise LiraError(f"backend must be torch or one of {', '.join(RUNTIMES)}, got {backend!r}")
    if precision not in (None, *PRECISIONS):
        raise LiraError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    _check_installed(backend)
    access = cast(HubArguments, {key: hub[key] for key in HubArguments.__annotations__ if key in hub})
    with reading(f"model {name!r}"):
        export = _chosen(name, backend, precision, access)
        files = {file: _fetched(name, f"{export.folder}/{file}", access) for file in export.sizes}
        for file, path in files.items():
            if path is None or path.stat().st_size != export.sizes[file]:
                raise LiraError(f"{export.folder}/{file} of model {name!r} is not whole: export the model again")
            check_download(path)
        _check_current(name, export, access)
        model = ExportedLiraModel(config or LiraConfig.from_pretrained(name, **access), export, files)  # type: ignore[arg-type]
    model.name_or_path = model.config.name_or_path = name
    model._processor_arguments = {**access, "trust_remote_code": hub.get("trust_remote_code")}
    return model


def _check_installed(backend: str) -> None:
    try:
        import_module(RUNTIMES[backend])
    except ImportError as error:
        raise LiraError(f"backend {backend!r} needs {RUNTIMES[backend]}: pip install {RUNTIMES[backend]}") from error


def _fetched(name: str, file: str, access: HubArguments, **more: Any) -> Path | None:
    """Return where a file of the model is, None where there is none."""
    path = cached_file(name, file, _raise_exceptions_for_missing_entries=False, **{**access, **more})
    return None if path is None else Path(path)


def _chosen(name: str, backend: str, precision: str | None, access: HubArguments) -> Export:
    """Return the export of this precision, or the first that there is."""
    for wanted in PRECISIONS if precision is None else (precision,):
        path = _fetched(name, f"{backend}/{wanted}/{MANIFEST}", access)
        if path is not None:
            return read_export(path, backend, wanted)
    option = "" if precision is None else f" --precision {precision}"
    raise LiraError(f"model {name!r} has no such export: make it by `lira export {name} --format {backend}{option}`")


def _check_current(name: str, export: Export, access: HubArguments) -> None:
    """Raise `LiraError` where the weights are no longer those that were exported; weights not here are not fetched."""
    here = _fetched(name, "config.json", access)
    weights = {} if here is None else digests_of(here.parent)
    if weights and not export.is_of(weights):
        again = f"lira export {name} --format {export.format} --precision {export.precision}"
        raise LiraError(f"the weights of {name!r} changed since they were exported: run `{again}`")
