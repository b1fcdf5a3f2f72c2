"""The command `python -m eval`."""

from pathlib import Path
from typing import Annotated

import typer

from modeling_lira.cli import run
from modeling_lira.files import atomic_write_bytes

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


@app.command(epilog="Example: python -m eval readme --demo runs/demo --throughput-file runs/throughput.json")
def readme(
    demo: Annotated[Path | None, typer.Option(help="Folder that `lira demo` wrote: its numbers and chart.")] = None,
    throughput_file: Annotated[Path | None, typer.Option(help="What `python -m eval throughput` wrote.")] = None,
    critic_check: Annotated[Path | None, typer.Option(help="What `lira critique --check --output` wrote.")] = None,
) -> None:
    """Keep measured results beside the code and write them into the README's marked blocks."""
    from .readme import keep, update

    root = Path(__file__).parents[1]
    if demo is not None:
        keep(demo / "results.json", "demo")
        atomic_write_bytes(root / "model_cards" / "demo_chart.png", (demo / "chart.png").read_bytes())
    if throughput_file is not None:
        keep(throughput_file, "throughput")
    if critic_check is not None:
        keep(critic_check, "critic-check")
    update(root / "README.md")


if __name__ == "__main__":
    run(app, "python -m eval")
