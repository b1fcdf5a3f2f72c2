"""Build the documentation: `.ci/docs/build.py TARGET`; any warning ends the build with an error."""

import pkgutil
import re
import shutil
import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path

from sphinx.cmd.build import main as sphinx_build

ROOT = Path(__file__).parents[2]
PACKAGES = ("modeling_lira", "dataset_builder", "eval")
PAGES = {
    "readme": "README.md",
    "method": "modeling_lira/METHOD.md",
    "tutorial": "modeling_lira/training/TUTORIAL.md",
    "corpus": "dataset_builder/README.md",
    "agents": "modeling_lira/agents/README.md",
    "training": "modeling_lira/training/README.md",
    "large": "modeling_lira/training/LARGE.md",
    "reasoning": "modeling_lira/training/REASONING.md",
    "scale": "modeling_lira/scale/README.md",
    "searching": "modeling_lira/search/README.md",
    "databases": "modeling_lira/search/DATABASES.md",
    "serving": "modeling_lira/serving/README.md",
    "exporting": "modeling_lira/exporting/README.md",
    "evidence": "eval/README.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)#\s]*)(#[^)\s]*)?\)")


def modules_of(package: str) -> list[str]:
    """Return the dotted names of a package and all its modules but the scripts."""
    paths = import_module(package).__path__
    names = [module.name for module in pkgutil.walk_packages(paths, f"{package}.")]
    return [package, *sorted(name for name in names if not name.endswith(("__main__", ".app", "demo.reload")))]


def linked(home: Path, folder: Path, link: re.Match[str]) -> str:
    """Return a page's link as it is in the documentation: to another page, to a copied picture, or only its text."""
    picture, text, target, anchor = link[1], link[2], link[3], link[4] or ""
    if not target:
        return link[0]
    path = (home / target).resolve()
    pages = {(ROOT / page).resolve(): page_name for page_name, page in PAGES.items()}
    if picture:
        shutil.copy(path, folder / path.name)
        return f"![{text}]({path.name})"
    return f"[{text}]({pages[path]}.md{anchor})" if path in pages else text


def write_sources(folder: Path) -> None:
    """Write the pages that Sphinx reads: an index, the Markdown pages, and one page a module."""
    shutil.copy(Path(__file__).with_name("conf.py"), folder)
    for name, page in PAGES.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        link = partial(linked, (ROOT / page).parent, folder)
        (folder / f"{name}.md").write_text(LINK.sub(link, text), encoding="utf-8")
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
