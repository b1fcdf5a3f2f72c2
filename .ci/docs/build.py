"""Build the documentation: `.ci/docs/build.py TARGET`; any warning ends the build with an error."""

import pkgutil
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from sphinx.cmd.build import main as sphinx_build

ROOT = Path(__file__).parents[2]
PACKAGES = ("modeling_lira", "dataset_builder", "eval")
PAGES = {
    "method": ROOT / "modeling_lira" / "METHOD.md",
    "databases": ROOT / "modeling_lira" / "search" / "DATABASES.md",
}


def modules_of(package: str) -> list[str]:
    """Return the dotted names of a package and all its modules but the scripts."""
    paths = import_module(package).__path__
    names = [module.name for module in pkgutil.walk_packages(paths, f"{package}.")]
    return [package, *sorted(name for name in names if not name.endswith(("__main__", ".app", "demo.reload")))]


def write_sources(folder: Path) -> None:
    """Write the pages that Sphinx reads: an index, the Markdown pages, and one page a module."""
    shutil.copy(Path(__file__).with_name("conf.py"), folder)
    for name, page in PAGES.items():
        shutil.copy(page, folder / f"{name}.md")
    modules = [module for package in PACKAGES for module in modules_of(package)]
    for module in modules:
        title = f"{module}\n{'=' * len(module)}\n\n"
        # A package's face repeats the names of its modules, each of which has a page.
        members = "   :no-members:\n" if hasattr(import_module(module), "__path__") else ""
        (folder / f"{module}.rst").write_text(f"{title}.. automodule:: {module}\n{members}", encoding="utf-8")
    entries = "\n".join(f"   {name}" for name in [*PAGES, *modules])
    index = f"LiRA\n====\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n"
    (folder / "index.rst").write_text(index, encoding="utf-8")


def main() -> int:
    """Build into the folder named on the command line."""
    sys.path.insert(0, str(ROOT))  # eval is run from a checkout, never installed
    if len(sys.argv) != 2:
        sys.stderr.write("build.py: name the folder to write, such as runs/docs\n")
        return 2
    with tempfile.TemporaryDirectory() as name:
        write_sources(Path(name))
        return sphinx_build(["-W", "--keep-going", "-q", "-b", "html", name, sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
