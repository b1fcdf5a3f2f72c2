"""The commands of `python -m eval` that measure a saved model, and those that show what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from .record import RECORDS

Model = Annotated[str, typer.Option("--model", help="Folder or Hub id of a saved model.")]
Multilingual = Annotated[str | None, typer.Option(help="Multilingual backbone, in place of the model's own.")]
English = Annotated[str | None, typer.Option(help="English backbone, in place of the model's own.")]
Streams = Annotated[Path, typer.Option(help="Keeps the backbones' streams of every text; shared by all commands.")]
Languages = Annotated[str, typer.Option(help="Language codes, separated by commas; all that fit when left out.")]
Records = Annotated[Path, typer.Option(help="Gets the record.")]
STREAMS = Path("runs/streams")


def _codes(languages: str) -> list[str] | None:
    return languages.replace(",", " ").split() or None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: python -m eval generalisation --model runs/mine/model --xquad xquad --cldr cldr")(
        generalisation
    )
    app.command(epilog="Example: python -m eval retrieval --model runs/mine/model --corpus runs/corpus")(retrieval)
    app.command("mteb", epilog="Example: python -m eval mteb --model runs/mine/model --tasks products,public")(
        mteb_tasks
    )


def generalisation(
    model: Model,
    xquad: Annotated[Path | None, typer.Option(help="Folder with xquad.en.json, xquad.th.json, …")] = None,
    cldr: Annotated[Path | None, typer.Option(help="The annotations folder of cldr-annotations-full.")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Translations of XQuAD's questions, as `lira critique` writes them.")
    ] = None,
    languages: Languages = "",
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Search texts that the model never saw: XQuAD's questions over English paragraphs, CLDR's keywords over names."""
    from .unseen import run_unseen

    run_unseen(model, streams, xquad, cldr, candidates, _codes(languages), records, (multilingual, english))


def retrieval(
    model: Annotated[list[str], typer.Option("--model", help="A saved model; repeat for other seeds of the same.")],
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")] = "runs/corpus",
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "test",
    languages: Languages = "",
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Search and rank a corpus by language, kind of query, type, titles and translations, beside the encoders alone."""
    from .retrieval import run_retrieval

    run_retrieval(model, corpus, streams, _codes(languages), split, records, (multilingual, english))


def mteb_tasks(
    model: Model,
    tasks: Annotated[
        str,
        typer.Option(
            help="Separated by commas: products, english-products, xquad, cldr, public (from the Hub: "
            "BelebeleRetrieval, MLQARetrieval, Tatoeba, STS22.v2), or any names of MTEB."
        ),
    ] = "products",
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset, for products.")] = "runs/corpus",
    xquad: Annotated[Path | None, typer.Option(help="Folder with xquad.en.json, xquad.th.json, …")] = None,
    cldr: Annotated[Path | None, typer.Option(help="The annotations folder of cldr-annotations-full.")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Translations of the tasks' texts, as `lira critique` writes them.")
    ] = None,
    translations: Annotated[bool, typer.Option(help="Use the translations that there are.")] = True,
    languages: Languages = "",
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Run MTEB's own evaluation: on the corpus, on folders of unseen texts, and on its public tasks."""
    from .mteb_run import Sources, run_mteb
    from .mteb_tasks import PUBLIC

    names = [one for name in tasks.replace(",", " ").split() for one in (PUBLIC if name == "public" else (name,))]
    sources = Sources(corpus, xquad, cldr, candidates, translations)
    run_mteb(model, names, sources, streams, _codes(languages), records, (multilingual, english))
