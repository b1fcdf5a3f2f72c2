"""`lira evaluate` and `lira push`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .. import evaluation
from ..errors import LiraError
from ..faces.extras import needs
from ..faces.terminal import shown
from .options import EnglishOption, MultilingualOption

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

    from ..records.model_card import CardSources

logger = logging.getLogger(__name__)
console = Console()

EVALUATE_EXAMPLE = "Example: lira evaluate runs/mine --corpus runs/corpus"
MERGE_EXAMPLE = "Example: lira merge runs/mine --output runs/mine-whole"
PUSH_EXAMPLE = "Example: lira push runs/mine --to my-org/product-search --private"
SPACE_EXAMPLE = "Example: lira space --model runs/mine"
Run = Annotated[Path, typer.Argument(help="What lira train wrote, or a saved model.", show_default=False)]


@needs("datasets")
def evaluate(
    run: Run,
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")],
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "test",
    output: Annotated[Path | None, typer.Option(help="The record; by default RUN/evaluation.json.")] = None,
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Measure nDCG@10 a language, beside BM25, the multilingual encoder alone and translate-then-encode."""
    from ..records.saved_model import RECORDS, check_given, chosen_backbones, model_folder

    folder = model_folder(run)
    home = run.parent if folder == run and run.name == "model" and (run.parent / RECORDS["training"]).is_file() else run
    where = output or home / RECORDS["evaluation"]
    check_given(multilingual, english)
    backbones = chosen_backbones(run, multilingual=multilingual, english=english)
    _show(evaluation.evaluate(folder, corpus, where, home / "streams", split, backbones))
    logger.info("%s: the record, which lira push puts into the card", where)


def _show(record: dict[str, Any]) -> None:
    """Print a table for each task: figures and differences with their 95% intervals, and the number of queries."""
    for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in record["results"]):
        rows = [row for row in record["results"] if (row["task"], row["metric"]) == (task, metric)]
        gains = [row for row in record["differences"] if (row["task"], row["metric"]) == (task, metric)]
        counts = {row["language"]: row["queries"] for row in rows}
        table = Table("system", title=shown(f"{metric} × 100, {task}; 95% intervals"), title_justify="left")
        for language in counts:
            table.add_column(shown(language))
        _add(table, {(row["system"], row["language"]): _figure(row) for row in rows}, list(counts))
        table.add_section()
        names = {(f"{row['system']} - {row['rival']}", row["language"]): _figure(row, "+") for row in gains}
        _add(table, names, list(counts))
        table.add_section()
        table.add_row("queries", *(f"{count:,}" for count in counts.values()))
        console.print(table)


def _add(table: Table, cells: dict[tuple[str, str], str], languages: list[str]) -> None:
    for name in dict.fromkeys(name for name, _ in cells):
        table.add_row(shown(name), *(cells.get((name, language), "–") for language in languages))


def _figure(row: dict[str, Any], sign: str = "") -> str:
    low, high = row["interval"]
    return f"{100 * row['value']:{sign}.1f}\n{100 * low:{sign}.1f} … {100 * high:{sign}.1f}"


def merge(
    run: Run,
    output: Annotated[Path, typer.Option(help="Gets the model, its backbones in its weights.")],
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Make a model self-contained: backbones, tuned or not, become part of its weights, and nothing else is fetched."""
    from ..records.saved_model import load_model

    load_model(run, multilingual, english).save_pretrained(output, save_backbones=True)
    logger.info("%s: a self-contained model", output)


def push(
    run: Run,
    to: Annotated[str | None, typer.Option("--to", help="Repository, ORGANISATION/NAME; needs a token.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write a folder ready to push instead.")] = None,
    space: Annotated[str | None, typer.Option(help="Space, ORGANISATION/NAME, that shows the model instead.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request, leave main as it is.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch in place of main; made if there is none.")] = None,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "Upload model",
    dataset: Annotated[str, typer.Option(help="Hub id of the corpus, for the card.")] = "",
    licence: Annotated[str, typer.Option("--license", help="Of the trained weights, as the Hub names it.")] = "",
    training: Annotated[Path | None, typer.Option(help="Record; by default RUN/training.json, if there.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Record; by default RUN/evaluation.json, if there.")] = None,
) -> None:
    """Push a model with processor, code, sentence-transformers' files and a card made from the records.

    Run an interrupted command again to continue it: files that have arrived are not sent again.
    """
    from ..records.publishing import card_sources, push_run, write_ready

    if sum(map(bool, (to, output, space))) != 1:
        raise LiraError("say where to: either --to ORGANISATION/NAME, --space ORGANISATION/NAME or --output FOLDER")
    sources = card_sources(run, training, evaluation, dataset, licence)
    if output is not None:
        write_ready(run, output.resolve().name, sources, output)
        logger.info("%s: ready to push", output)
        return
    options = {"private": private or None, "create_pr": create_pr, "revision": revision, "message": message}
    made = push_run(run, to, sources, **options) if to else _push_space(run, space or "", sources, **options)
    logger.info("pushed: %s", made.pr_url or made.commit_url)


def _push_space(run: Path, repo: str, sources: "CardSources", **options: Any) -> "CommitInfo":
    from ..demo.browser import push_space

    return push_space(run, repo, sources, **options)


@needs("gradio")
def space(
    model: Annotated[str, typer.Option("--model", help="Run of lira train, folder or Hub id of a model.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 7860,
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Try a model in a browser: the app that lira push --space puts into a Space, on this machine."""
    from ..demo.browser import serve_space
    from ..records.saved_model import load_model

    serve_space(load_model(model, multilingual, english), server_name=host, server_port=port)
