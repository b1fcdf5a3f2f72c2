"""The command `python -m eval`."""

from pathlib import Path
from typing import Annotated

import typer

from modeling_lira.cli import run

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Measure LiRA, from a checkout."
)


@app.callback()
def _commands() -> None:
    """Measure LiRA, from a checkout."""


@app.command(epilog="Example: python -m eval throughput --texts 2000 --rounds 5")
def throughput(
    texts: Annotated[int, typer.Option(min=1, help="How many product queries and titles to encode.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Times that the systems take turns.")] = 5,
    output: Annotated[Path, typer.Option(help="Where the numbers go.")] = Path("runs/throughput.json"),
    multilingual: Annotated[str, typer.Option(help="Multilingual backbone.")] = "pypi:multilingual-e5-small",
    english: Annotated[str, typer.Option(help="English backbone.")] = "pypi:all-minilm-l6-v2",
) -> None:
    """Compare texts/second of encode_query with the bare multilingual encoder in sentence-transformers."""
    from .throughput import measure_throughput

    measure_throughput(texts, rounds, output, multilingual, english)


if __name__ == "__main__":
    run(app, "python -m eval")
