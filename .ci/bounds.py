"""Requirements at one end of the ranges in setup.cfg: `bounds.py oldest|newest`, or `check FILE` of what is found."""

import sys
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

FOLLOWED = ("transformers", "huggingface_hub", "tokenizers", "datasets", "peft", "accelerate", "sentence-transformers")


def bounds(end: str) -> list[str]:
    """Return the followed libraries, each at its lower bound or in its whole range, of which pip takes the newest."""
    config = ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    sections = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    found = {}
    for line in "\n".join(sections).splitlines():
        one = Requirement(line) if line.strip() else None
        if one is not None and one.name in FOLLOWED:
            found[one.name] = one
    missing = [name for name in FOLLOWED if name not in found]
    if missing:
        sys.exit(f"setup.cfg does not require {', '.join(missing)}")
    return [_lowest(found[name]) if end == "oldest" else str(found[name]) for name in FOLLOWED]


def _lowest(one: Requirement) -> str:
    """Return a requirement of the lower bound, whatever its patch version."""
    bound = next(part.version for part in one.specifier if part.operator == ">=")
    return f"{one.name}=={bound if '.' in bound else f'{bound}.0'}.*"


def check(path: Path) -> None:
    """Exit with an error where this interpreter has another version than was asked for."""
    for line in path.read_text(encoding="utf-8").splitlines():
        wanted = Requirement(line)
        found = version(wanted.name)
        if found not in wanted.specifier:
            sys.exit(f"{wanted.name} {found} is imported, wanted {wanted.specifier}")
        sys.stdout.write(f"{wanted.name} {found}\n")


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(Path(sys.argv[2]))
    else:
        sys.stdout.write("\n".join(bounds(sys.argv[1])) + "\n")
