"""The plan of the packages: who imports whom, how long things are, and what variables are never called."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("modeling_lira", "dataset_builder", "eval")
ORDER = (
    {""},
    {"faces", "files"},
    {"data"},
    {"backbones", "agents"},
    {"records"},
    {"evaluation", "search"},
    {"training"},
    {"demo", "scale", "serving", "exporting"},
    {"cli"},
)
"""Folders of modeling_lira; "" is its root, which goes to the Hub. A folder imports from those before it alone."""
LONGEST_FUNCTION, LONGEST_FILE, MOST_VAGUE_NAMES = 60, 500, 30
VAGUE_NAMES = {"own", "found", "place", "told", "said"}


@lru_cache(maxsize=512)
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=1)
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in python_files(*PACKAGES)}


def imports_of(path: Path, known: dict[str, Path], late: bool) -> Iterator[str]:
    """Yield the modules of ours that a file imports; those inside functions only if `late`."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    nodes = ast.walk(tree_of(path)) if late else iter(tree_of(path).body)
    for node in nodes:
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
        for alias in node.names:
            module = f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source
            if module in known:
                yield module


def room_of(module: str) -> str:
    """Return the folder of modeling_lira that a module stands in, "" for its root."""
    return module.split(".")[1] if module.count(".") > 1 or modules()[module].name == "__init__.py" else ""


def test_data_flows_one_way_through_modeling_lira() -> None:
    known = modules()
    height = {folder: level for level, folders in enumerate(ORDER) for folder in folders}
    for module, path in known.items():
        if not module.startswith("modeling_lira.") or path.parent.name == "configs":
            continue
        for target in imports_of(path, known, late=True):
            assert target.partition(".")[0] == "modeling_lira", f"{module} imports {target}"
            if target != "modeling_lira" and room_of(target) != room_of(module):
                assert height[room_of(target)] < height[room_of(module)], f"{module} imports {target}"


def test_no_package_imports_one_above_it() -> None:
    known = modules()
    for module, path in known.items():
        for target in imports_of(path, known, late=True):
            assert PACKAGES.index(target.partition(".")[0]) <= PACKAGES.index(module.partition(".")[0]), module


def test_no_module_imports_itself_by_a_circle() -> None:
    known = modules()
    waits_for = {module: set(imports_of(path, known, late=True)) - {module} for module, path in known.items()}
    for module, targets in waits_for.items():  # a package's face imports its own modules: no circle by itself
        if known[module].name != "__init__.py":
            waits_for[module] = {target for target in targets if not module.startswith(f"{target}.")}
    while free := [module for module, targets in waits_for.items() if not targets & waits_for.keys()]:
        for module in free:
            del waits_for[module]
    assert not waits_for


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_and_files_stay_short(package: str) -> None:
    for path in python_files(package):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE, path
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{path}: {node.name}"


def test_variables_are_named_for_what_they_are() -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files(*PACKAGES, "tests")
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE_NAMES)
        or (isinstance(node, ast.arg) and node.arg in VAGUE_NAMES)
    ]
    assert len(vague) <= MOST_VAGUE_NAMES, vague


def test_only_other_people_are_cited_as_sources() -> None:
    ours = "Source: " + "ours"
    assert not [path for path in python_files(*PACKAGES, "tests") if ours in path.read_text(encoding="utf-8")]
