"""A model as ONNX graphs that share one file of weights."""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import Tensor
from torch.export import Dim
from transformers import PreTrainedModel
from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

from ..exported_lira import CANDIDATES, LIGHT, SUFFIXES, TEXT
from ..modeling_lira import LiraModel

OUTPUT = "sentence_embedding"
_ALIGNED, _SMALL = 4096, 1024
"""Weights begin at multiples of a memory page, so that they can be mapped; smaller ones stay in the graph."""
_PRODUCTS = ("MatMul", "Gemm")
_BLOCKS = (32, 16)
"""How many numbers share a scale: the first of these that divides a product's width."""
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
        _join_reshapes(graph.graph)
        RemoveUnusedNodesPass()(graph)
    return graph


def _join_reshapes(graph: ir.Graph) -> None:
    """Let a reshape of a reshaped tensor take the tensor itself: fusing attention leaves seven of them a layer."""
    for node in graph:
        before = node.inputs[0].producer() if node.op_type == "Reshape" and node.inputs[0] is not None else None
        if before is not None and before.op_type == "Reshape" and _copies_batch(node) and _keeps_batch(before):
            node.replace_input_with(0, before.inputs[0])


def _copies_batch(reshape: ir.Node) -> bool:
    """Return whether the first two sizes are copied, 0, and the others do not depend on what it is given."""
    shape = reshape.inputs[1].const_value if reshape.inputs[1] is not None else None
    sizes = [] if shape is None else shape.numpy().tolist()
    return sizes[:2] == [0, 0] and 0 not in sizes[2:] and "allowzero" not in reshape.attributes


def _keeps_batch(reshape: ir.Node) -> bool:
    before, after = (None if value is None else value.shape for value in (reshape.inputs[0], reshape.outputs[0]))
    return _copies_batch(reshape) or (before is not None and after is not None and before[:2] == after[:2])


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


def _has_weight(node: ir.Node) -> bool:
    return node.inputs[1] is not None and node.inputs[1].is_initializer()


def quantised(graph: ir.Model) -> ir.Model:
    """Return a graph that multiplies by its weights in int8.

    Weights and what they are multiplied by have a scale for every few numbers: a few of an encoder's numbers are thirty
    times as large as the others, which one scale for all would round away.
    """
    for node in [node for node in graph.graph if node.op_type in _PRODUCTS and _has_weight(node)]:
        _quantise(graph.graph, node)
    RemoveUnusedNodesPass()(graph)  # the weights that were multiplied by before
    graph.opset_imports.setdefault("com.microsoft", 1)
    return graph


def _quantise(graph: ir.Graph, node: ir.Node) -> None:
    """Put ONNX Runtime's product of blocks in the place of a product with a weight, where its width is of blocks."""
    weight = node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    if node.op_type == "Gemm" and node.attributes.get_int("transB", False):
        weight = weight.T
    size = next((size for size in _BLOCKS if weight.shape[0] % size == 0), None)
    if size is None:
        return
    blocks = weight.T.reshape(weight.shape[1], -1, size)
    scales = np.abs(blocks).max(-1) / 127
    numbers = np.rint(blocks / np.where(scales, scales, 1)[..., None]) + 128  # 128 stands for nothing
    stored = [_stored(graph, f"{node.name}_int8", numbers.astype(np.uint8))]
    stored.append(_stored(graph, f"{node.name}_scales", scales.astype(np.float32).reshape(-1)))
    settings = {"K": weight.shape[0], "N": weight.shape[1], "bits": 8, "block_size": size, "accuracy_level": 4}
    product = ir.node("MatMulNBits", [node.inputs[0], *stored], settings, domain="com.microsoft")
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    nodes = [product] if bias is None else [product, ir.node("Add", [product.outputs[0], bias])]
    for number, new in enumerate(nodes):
        new.outputs[0].name = new.name = f"{node.name}_product_{number}"
    graph.insert_before(node, nodes)
    ir.convenience.replace_all_uses_with(node.outputs[0], nodes[-1].outputs[0])
    graph.remove(node, safe=True)


def _stored(graph: ir.Graph, name: str, values: np.ndarray) -> ir.Value:
    tensor = ir.tensor(values, name=name)
    value = ir.Value(name=name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.initializers[name] = value
    return value


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
