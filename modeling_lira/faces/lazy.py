"""Packages that import a public name from its submodule when it is first used, so that `--help` is quick."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType


class Face(ModuleType):
    """A package that imports a public name from its submodule when the name is first used.

    A module-level `__getattr__` (PEP 562) is not enough: the import system sets every loaded submodule as an attribute
    of its package, and would so replace a function by the submodule of the same name, as with `training.train`.
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
    """Make public names of a package's submodules attributes of the package, imported when first used.

    Parameters
    ----------
    package : str
        The `__name__` of the package, which calls this while it is being imported.
    submodules : mapping of str to str
        The name of the submodule in which each public name is.
    """
    module = sys.modules[package]
    module.__dict__["_submodules"] = submodules
    module.__class__ = Face
