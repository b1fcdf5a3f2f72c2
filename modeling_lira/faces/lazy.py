"""Packages whose public names are imported when they are first used, so that `--help` loads no model library."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType


class Face(ModuleType):
    """A package that imports a public name from its submodule when the name is first used.

    PEP 562 allows a module's `__getattr__` alone; a class also keeps a name from being hidden by a submodule that is
    called the same, as `training.train` is: the import system sets every loaded submodule as an attribute of its
    package.
    """

    _submodules: Mapping[str, str]

    def __getattr__(self, name: str) -> object:
        submodule = self._submodules.get(name)
        if submodule is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{self.__name__}.{submodule}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in self._submodules and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._submodules})


def lazy_face(package: str, submodules: Mapping[str, str]) -> None:
    """Make a package that is being imported show names of its submodules.

    Parameters
    ----------
    package : str
        The package's `__name__`.
    submodules : mapping of name to submodule
    """
    module = sys.modules[package]
    module.__dict__["_submodules"] = submodules
    module.__class__ = Face
