"""A model as ONNX graphs that share one file of weights."""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import Tensor
from torch.export import Dim
from transformers import PreTrainedModel
from transformers.exporters.configs import ExportFormat
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter
from transformers.exporters.quantizers import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

from ..configuration_lira import PATHS
from ..exported_lira import CANDIDATES, LIGHT, SUFFIXES, TEXT
from ..modeling_lira import LiraModel

OUTPUT = "sentence_embedding"
_ALIGNED, _SMALL = 4096, 1024
"""Weights begin at multiples of a memory page, so that they can be mapped; smaller ones stay in the graph."""
_PRODUCTS = ("MatMul", "Gemm")
_DYNAMIC = {"english_input_ids": 3, "english_attention_mask": 3, "candidate_mask": 2, "critic_scores": 2}
"""How many dimensions vary, of the tensors where not one or two do."""


def examples(model: LiraModel) -> dict[str, dict[str, Tensor]]:
    """Return tensors by which a model is traced, by graph; no two dimensions that vary are of one size."""
    texts = ["white shirt for boys", "old telephone", "shirt"]
    pairs = [["shirt", "a white shirt"]] * len(texts)
    plain = dict(model.processor(texts))
    return {TEXT: plain, CANDIDATES: dict(model.processor(texts, pairs))}


def traced(model: PreTrainedModel, inputs: Mapping[str, Tensor], fused: bool) -> ir.Model:
    """Return the graph of a whole model for any batch, length and number of candidates, with one output.

    Parameters
    ----------
    model : PreTrainedModel
        On the CPU, in evaluation mode, with a `sentence_embedding` in its output.
    inputs : mapping
        Example tensors.
    fused : bool
        Use operators that ONNX Runtime alone has.
    """
    shapes = {name: dict.fromkeys(range(_varying(name, value)), Dim.DYNAMIC) for name, value in inputs.items()}
    config = OnnxConfig(dynamic_shapes=shapes, ort_fusions="cpu" if fused else None)
    with _quiet(), torch.no_grad():
        graph = OnnxExporter().export(model, dict(inputs), config=config).program
        outputs = [value for value in graph.graph.outputs if value.name == OUTPUT]
        del graph.graph.outputs[:]
        graph.graph.outputs.extend(outputs)
        RemoveUnusedNodesPass()(graph)
    return graph


def _varying(name: str, value: Tensor) -> int:
    return _DYNAMIC.get(name, value.dim())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters from telling how they work; they write thousands of lines, which takes time too."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def encoder_products(graph: ir.Graph) -> list[str]:
    """Return the names of the matrix products with weights in the encoders: of nodes that encoders' results rest on.

    Nodes that were fused have forgotten their module, but only an encoder's nodes lead to an encoder's.
    """
    waiting = [node for node in graph if _in_encoder(node)]
    encoder: set[ir.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in encoder:
            encoder.add(node)
            waiting.extend(_producers(node))
    return [str(node.name) for node in graph if node in encoder and node.op_type in _PRODUCTS and _has_weight(node)]


def _in_encoder(node: ir.Node) -> bool:
    namespace = node.metadata_props.get("namespace", "")
    return any(f"/{path}_encoder" in namespace for path in PATHS)


def _producers(node: ir.Node) -> Iterable[ir.Node]:
    return [value.producer() for value in node.inputs if value is not None and value.producer() is not None]  # type: ignore[misc]


def _has_weight(node: ir.Node) -> bool:
    return node.inputs[1] is not None and node.inputs[1].is_initializer()


def quantised(graph: ir.Model) -> ir.Model:
    """Return a graph whose encoders multiply in int8, a scale a channel; the head keeps its float32."""
    config = OnnxRuntimeDynamicConfig(per_channel=True, nodes_to_quantize=encoder_products(graph.graph))
    with _quiet():
        return OnnxRuntimeQuantizer(config).quantize(graph, {}, ExportFormat.ONNX)


def stored(folder: Path) -> dict[str, ir.Model]:
    """Return the graphs of a finished export; their weights are read when they are needed."""
    return {name: ir.load(folder / f"{name}{SUFFIXES['onnx'][0]}") for name in (TEXT, CANDIDATES)}


def save_graphs(graphs: Mapping[str, ir.Model], folder: Path) -> None:
    """Write graphs that share one file of weights, in which each weight is once."""
    suffix, data = SUFFIXES["onnx"]
    offsets: dict[bytes, int] = {}
    with (folder / f"{LIGHT}{data}").open("wb") as weights:
        for name, graph in graphs.items():
            for value in graph.graph.initializers.values():
                tensor = value.const_value
                if tensor is None or tensor.nbytes < _SMALL:
                    continue
                content = tensor.tobytes()
                digest = hashlib.sha256(content).digest()
                if digest not in offsets:
                    weights.seek(-(-weights.tell() // _ALIGNED) * _ALIGNED)
                    offsets[digest] = weights.tell()
                    weights.write(content)
                value.const_value = ir.ExternalTensor(
                    f"{LIGHT}{data}",
                    offsets[digest],
                    len(content),
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=str(value.name),
                    base_dir=folder,
                )
            ir.save(graph, folder / f"{name}{suffix}")


def save_light(folder: Path) -> None:
    """Write the graph of `input_ids` and `attention_mask` alone: that of texts whose language is not told."""
    model = ir.load(folder / f"{TEXT}.onnx")
    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    size = ir.node("Shape", [inputs["input_ids"]], {"start": 0, "end": 1})
    unknown = ir.node("ConstantOfShape", size.outputs, {"value": ir.tensor([0], dtype=ir.DataType.INT64)})
    for position, node in enumerate((size, unknown)):
        node.outputs[0].name = node.name = f"language_unknown_{position}"
    graph.insert_before(graph[0], [size, unknown])
    ir.convenience.replace_all_uses_with(inputs["language_ids"], unknown.outputs[0])
    graph.inputs.remove(inputs["language_ids"])
    ir.save(model, folder / f"{LIGHT}.onnx")
