"""The command `python -m eval`."""

from pathlib import Path
from typing import Annotated

import typer

from modeling_lira.cli import run
from modeling_lira.files import atomic_write_bytes

from .answers import commands as reasoning_commands
from .benchmarks import commands as evidence_commands
from .studies import commands as study_commands

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
    from .benchmarks.throughput import measure_throughput

    measure_throughput(texts, rounds, output, multilingual, english)


@app.command(epilog="Example: python -m eval ablations --corpus runs/corpus --seeds 0,1,2")
def ablations(
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")] = "runs/corpus",
    config: Annotated[
        str, typer.Option(help="LiRA's training options: a YAML file or a name of `lira train`.")
    ] = "frozen",
    output: Annotated[Path, typer.Option(help="Keeps stages, scores and ablations.json.")] = Path("runs/ablations"),
    streams: Annotated[Path, typer.Option(help="Keeps the backbones' streams of every text.")] = Path("runs/streams"),
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    systems: Annotated[list[str] | None, typer.Option(help="Only this system, beside LiRA; repeat for more.")] = None,
) -> None:
    """Train LiRA, LiRA without each of its parts, and the baselines; compare them on test, query by query."""
    from modeling_lira.cli.train import named_options

    from .studies.ablations import run_ablations

    numbers = study_commands.numbers_of(seeds, "--seeds", int)
    run_ablations(named_options(config, corpus=corpus), output, streams, numbers, systems or [])


@app.command(epilog="Example: python -m eval index --rows 100000")
def index(
    rows: Annotated[int, typer.Option(min=1, help="Size of the index.")] = 1_000_000,
    titles: Annotated[int, typer.Option(min=1, help="Real titles to embed; the other rows are drawn around them.")] = (
        8_000
    ),
    queries: Annotated[int, typer.Option(min=1, help="Real queries to search for.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Seed of the drawn rows.")] = 0,
    output: Annotated[Path, typer.Option(help="Keeps embeddings, indexes and results.json.")] = Path("runs/index"),
    model: Annotated[str | None, typer.Option(help="A saved model; by default an untrained one.")] = None,
) -> None:
    """Build, save, load and search an index, exact and HNSW. Interrupt it and run it again: it goes on."""
    from .benchmarks.index_benchmark import measure_index

    measure_index(rows, titles, queries, seed, output, model)


@app.command(epilog="Example: python -m eval readme --demo runs/demo --throughput-file runs/throughput.json")
def readme(
    demo: Annotated[Path | None, typer.Option(help="Folder that `lira demo` wrote: its numbers and chart.")] = None,
    throughput_file: Annotated[Path | None, typer.Option(help="What `python -m eval throughput` wrote.")] = None,
    critic_check: Annotated[Path | None, typer.Option(help="What `lira critique --check --output` wrote.")] = None,
    index_file: Annotated[Path | None, typer.Option(help="What `python -m eval index` wrote.")] = None,
    ablations_file: Annotated[Path | None, typer.Option(help="What `python -m eval ablations` wrote.")] = None,
    generalisation_file: Annotated[
        Path | None, typer.Option(help="What `python -m eval generalisation` wrote.")
    ] = None,
) -> None:
    """Keep measured results beside the code and write them into the marked blocks of the pages."""
    from .report.readme import keep, update_all

    root = Path(__file__).parents[1]
    if demo is not None:
        keep(demo / "results.json", "demo")
        atomic_write_bytes(root / "model_cards" / "demo_chart.png", (demo / "chart.png").read_bytes())
    files = {
        "throughput": throughput_file,
        "critic-check": critic_check,
        "index": index_file,
        "ablations": ablations_file,
        "generalisation": generalisation_file,
    }
    for name, path in files.items():
        if path is not None:
            keep(path, name)
    update_all(root)


evidence_commands.register(app)
study_commands.register(app)
reasoning_commands.register(app)

if __name__ == "__main__":
    run(app, "python -m eval")
