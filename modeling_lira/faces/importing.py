"""Watch imports: register LiRA's models when transformers is imported, and name the extra of a missing package.

`import modeling_lira` alone loads no model library, yet `AutoModel.from_pretrained` must know LiRA afterwards. So an
`ImportWatcher` is put in front of the other finders and watches transformers and the modules of this project. When the
outermost of these has been imported and transformers is loaded, the models are registered. Earlier is too early, since
the registration imports modules that may be in the middle of being imported.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from .extras import EXTRAS, MissingPackageError

_OURS = ("modeling_lira.", "dataset_builder.", "eval.")
_LIBRARIES = ("transformers", "huggingface_hub")
_OPTIONAL = frozenset(module for modules in EXTRAS.values() for module in modules)


class ImportWatcher(MetaPathFinder):
    """Calls functions once a library is imported, and makes the error of a missing optional package clear."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Callable[[], object]]] = []
        self._depth = 0
        self._lock = threading.Lock()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the other finders find a module that is watched, and wrap its loader; None for any other module."""
        if name not in _LIBRARIES and not name.startswith(_OURS):
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target)) is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            self._watch(spec)
        return spec

    def when_loaded(self, library: str, callback: Callable[[], object]) -> None:
        """Call a function as soon as a library is imported, or now if it is already."""
        self._waiting.append((library, callback))
        self._call_back()

    def _watch(self, spec: ModuleSpec) -> None:
        # Only the method is replaced: the loader keeps its class, which `inspect` asks for a module's source.
        execute = spec.loader.exec_module  # type: ignore[union-attr]

        def exec_module(module: ModuleType) -> None:
            self._step(1)
            try:
                execute(module)
            except ModuleNotFoundError as error:
                _name_the_extra(spec.name, error)
                raise
            finally:
                self._step(-1)
            self._call_back()

        spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]

    def _step(self, by: int) -> None:
        with self._lock:
            self._depth += by

    def _call_back(self) -> None:
        ready = [item for item in self._waiting if item[0] in sys.modules] if not self._depth else []
        self._waiting = [item for item in self._waiting if item not in ready]
        for _, callback in ready:
            callback()


def _name_the_extra(module: str, error: ModuleNotFoundError) -> None:
    """Raise MissingPackageError if a module of this project needs an optional package that is not installed."""
    missing = (error.name or "").partition(".")[0]
    if module.startswith(_OURS) and missing in _OPTIONAL and not isinstance(error, MissingPackageError):
        raise MissingPackageError(module, [missing], module) from error


_WATCHER = ImportWatcher()


def watch_imports() -> None:
    """Start watching, and register LiRA's models when transformers is there."""
    if _WATCHER not in sys.meta_path:
        sys.meta_path.insert(0, _WATCHER)
        when_loaded("transformers", lambda: import_module("modeling_lira.faces.registration"))


def when_loaded(library: str, callback: Callable[[], object]) -> None:
    """Call a function as soon as transformers or huggingface_hub is imported, or now if it is already."""
    _WATCHER.when_loaded(library, callback)
