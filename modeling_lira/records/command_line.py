"""The command of this process, as a record gives it to others."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


def command_line(arguments: Sequence[str] | None = None) -> str:
    """Return this process' command; a path outside the working folder tells nothing to others but its last part."""
    program, *rest = sys.argv if arguments is None else arguments
    name = f"python -m {Path(program).parent.name}" if Path(program).name == "__main__.py" else Path(program).name
    return f"{name} {shlex.join(shown(argument) for argument in rest)}".strip()


def shown(argument: str) -> str:
    """Return an argument as it may be published: of a path outside the working folder, its last part."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    path = Path(value)
    outside = path.is_absolute() or ".." in path.parts
    return f"{option}{equals}{path.name}" if outside else argument


def shown_all(arguments: Iterable[str | None]) -> list[str | None]:
    """Return arguments as they may be published; None stays."""
    return [None if argument is None else shown(argument) for argument in arguments]
