"""Run a command of this project: set up its log, report an error in one line, return an exit code."""

import logging
import os
import sys
from typing import NoReturn

import typer

from ..errors import LiraError
from ..faces.importing import when_loaded
from ..faces.terminal import PlainFormatter, one_line

OURS = ("modeling_lira", "dataset_builder", "eval")
"""Packages whose messages a user reads; a library speaks only to warn."""
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong option or argument: a class of typer's click without a public name."""


def run(command: typer.Typer, name: str, arguments: list[str] | None = None) -> None:
    """Run a command; bad input ends in one line on stderr and exit code 2, Ctrl-C in exit code 130."""
    _log_quietly()
    try:
        code = command(arguments, prog_name=name, standalone_mode=False) or 0
    except (LiraError, UnicodeError) as error:
        _fail(name, str(error), 2)
    except OSError as error:
        _fail(name, f"{error.strerror}: {error.filename}" if error.filename else str(error), 2)
    except USAGE_ERROR as error:
        _fail(name, error.format_message() or "give a command; --help lists them", 2)  # type: ignore[attr-defined]
    if code == INTERRUPTED:  # what typer makes of Ctrl-C
        _fail(name, "interrupted; run the same command again to go on", INTERRUPTED)
    sys.exit(code)


def _fail(name: str, message: str, code: int) -> NoReturn:
    typer.echo(f"{name}: {one_line(message)}", err=True)
    sys.exit(code)


def _log_quietly() -> None:
    """Log this project's messages to stderr, but of the libraries it uses only warnings, and none of their bars."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for package in OURS:
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)  # it warns of a sampler's last batches
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # a bar for each of a corpus' many small files
    when_loaded("transformers", _quieten_transformers)
    when_loaded("huggingface_hub", _quieten_hub)


def _quieten_transformers() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _quieten_hub() -> None:
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
