"""Digests of everything that decides the result of a training: its data, modules, weights, options and code."""

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..data.tables import Table

PACKAGE = Path(__file__).parents[1]
CODE = (
    "arca.py", "lasr.py", "modeling_lira.py", "modeling_lira_causal_lm.py", "soft_prompt.py", "processing_lira.py",
    "processing_lira_causal_lm.py", "configuration_lira.py", "configuration_lira_causal_lm.py", "data/tables.py",
    "data/question_table.py", "evaluation/embedded.py", "evaluation/metrics.py", "training/*.py",
)  # fmt: skip
"""Files of this package that decide the result of a training on given data, the choice of the best epoch included."""
LIBRARIES = ("torch", "transformers", "peft", "modeling_lira", "transformers_modules")
"""Packages whose classes are identified by name alone; for any other class, its source counts. `CODE` covers ours."""
VARYING = ("training", "name_or_path", "warnings_issued")
"""Attributes of a module that do not change what it computes: how it is used, where it was read from."""
CHUNK = 4096


def digest_of(value: object) -> str:
    """Return the SHA-256, as hexadecimal digits, of tables, tensors, arrays, dataclasses and plain values.

    Raises
    ------
    TypeError
        A value of another type: without it, two different trainings could have one digest.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: object) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield from _tensor_parts(value)
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype} {value.shape};".encode()
        for start in range(0, len(value), CHUNK):  # a memory-mapped array is read a part at a time
            yield np.ascontiguousarray(value[start : start + CHUNK]).tobytes()
    elif isinstance(value, Table):
        yield from _items_parts(type(value).__name__, value.contents())
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _items_parts(type(value).__name__, (getattr(value, field.name) for field in fields(value)))
    elif isinstance(value, list | tuple) and not all(map(_is_plain, value)):
        yield from _items_parts("list", value)
    else:
        yield json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b";"


def _items_parts(name: str, items: Iterator[object] | Sequence[object]) -> Iterator[bytes]:
    yield f"{name}(".encode()
    for item in items:
        yield from _parts(item)
    yield b");"


def _tensor_parts(tensor: Tensor) -> Iterator[bytes]:
    yield f"tensor {tensor.dtype} {tuple(tensor.shape)};".encode()
    yield tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()  # bfloat16 too


def plain(options: object) -> str:
    """Return a dataclass of options as JSON, in which the order of a mapping's names does not count."""
    return json.dumps(asdict(options), sort_keys=True)  # type: ignore[call-overload]


def weights_of(model: nn.Module) -> list[list[object]]:
    """Return the name and digest of every weight and buffer that a checkpoint of `model` would hold."""
    return [[name, digest_of(value)] for name, value in sorted(model.state_dict().items())]


def modules_of(model: nn.Module) -> list[list[object]]:
    """Return what decides each sub-module's output beside its weights: name, type, settings and hooks."""
    return [
        [name, _source(type(module)), _settings(module), [_source(hook) for hook in _hooks(module)]]
        for name, module in model.named_modules()
    ]


def _settings(module: nn.Module) -> dict[str, object]:
    """Return a module's attributes that are plain values, or methods that were replaced on the instance."""
    settings: dict[str, object] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or name in VARYING:
            continue
        if inspect.isroutine(value):
            settings[name] = _source(value)
        elif _is_plain(value):
            settings[name] = value
    return dict(sorted(settings.items()))


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(map(_is_plain, value.values())) and all(map(_is_plain, value))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _hooks(module: nn.Module) -> list[object]:
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def _source(item: object) -> str:
    """Return the name of a class or function, with a digest of its source if it is not from `LIBRARIES`."""
    named = item if inspect.isclass(item) or inspect.isroutine(item) else type(item)
    name = f"{named.__module__}.{named.__qualname__}"
    if named.__module__.partition(".")[0] in LIBRARIES:
        return name
    try:
        source = textwrap.dedent(inspect.getsource(named))
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return name
    return f"{name} {digest_of(source)}"


@cache
def code_version(root: Path = PACKAGE, patterns: tuple[str, ...] = CODE) -> str:
    """Return a digest of the source files that match; comments, docstrings and layout do not count."""
    files = sorted(path for pattern in patterns for path in root.glob(pattern))
    return digest_of([[str(path.relative_to(root)), _instructions(path)] for path in files])[:16]


def _instructions(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
