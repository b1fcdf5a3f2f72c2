"""The commands of `python -m eval` that measure a saved model, and those that show what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from modeling_lira.exporting.choices import Format

from ..options import RECORDS, STREAMS, Baselines, English, Languages, Model, Multilingual, Records, Streams, codes_of


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: python -m eval generalisation --model runs/mine/model --xquad xquad --cldr cldr")(
        generalisation
    )
    app.command(epilog="Example: python -m eval retrieval --model runs/mine/model --corpus runs/corpus")(retrieval)
    app.command(epilog="Example: python -m eval gate --model runs/mine/model --corpus runs/corpus")(gate)
    app.command("mteb", epilog="Example: python -m eval mteb --model runs/mine/model --tasks products,public")(
        mteb_tasks
    )
    app.command(epilog="Example: python -m eval logs --sizes 30 --sizes 100 --sizes 300")(logs)
    app.command(epilog="Example: python -m eval serving --model runs/mine")(serving)
    app.command(epilog="Example: python -m eval export --model runs/mine --corpus runs/corpus")(export)
    app.command(epilog="Example: python -m eval workers --model runs/mine --workers 1 --workers 2")(workers)
    app.command(epilog="Example: python -m eval report --keep")(report)
    app.command("all", epilog="Example: python -m eval all --quick --model runs/mine/model")(everything)


def generalisation(
    model: Model,
    xquad: Annotated[Path | None, typer.Option(help="Folder with xquad.en.json, xquad.th.json, …")] = None,
    cldr: Annotated[Path | None, typer.Option(help="The annotations folder of cldr-annotations-full.")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Translations of XQuAD's questions, as `lira critique` writes them.")
    ] = None,
    baseline: Baselines = None,
    languages: Languages = "",
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Search texts that the model never saw: XQuAD's questions over English paragraphs, CLDR's keywords over names."""
    from .unseen import run_unseen

    backbones = (multilingual, english)
    run_unseen(model, streams, xquad, cldr, candidates, codes_of(languages), records, backbones, baseline or ())


def retrieval(
    model: Annotated[list[str], typer.Option("--model", help="A saved model; repeat for other seeds of the same.")],
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")] = "runs/corpus",
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "test",
    baseline: Baselines = None,
    languages: Languages = "",
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Search and rank a corpus by language, kind of query, type, titles and translations, beside the encoders alone."""
    from .retrieval import run_retrieval

    backbones = (multilingual, english)
    run_retrieval(model, corpus, streams, codes_of(languages), split, records, backbones, baseline or ())


def gate(
    model: Model,
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")] = "runs/corpus",
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "test",
    languages: Languages = "",
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Show what a model makes of translations from strangers' to perfect: its scores, its gate, its actor's choice."""
    from .gate import measure_gate

    measure_gate(model, corpus, streams, codes_of(languages), split, records, (multilingual, english))


def mteb_tasks(
    model: Annotated[
        str, typer.Option("--model", help="Folder or Hub id of a LiRA model, or of any sentence-transformers model.")
    ],
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
    baseline: Baselines = None,
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
    run_mteb(model, names, sources, streams, codes_of(languages), records, (multilingual, english), baseline or ())


def logs(
    sizes: Annotated[list[int], typer.Option(min=1, help="Megabytes of a log; repeat for more.")] = [30, 100, 300],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed of the logs.")] = 0,
    records: Records = RECORDS,
) -> None:
    """Build corpora from logs of several sizes: time, peak memory and the exponent by which they grow."""
    from .log_benchmark import measure_logs

    measure_logs(sizes, records, seed)


def serving(
    model: Annotated[str, typer.Option("--model", help="Run of lira train, folder or Hub id of a model.")],
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset, whose test queries are asked.")] = (
        "runs/corpus"
    ),
    language: Annotated[str, typer.Option(help="Language of the queries.")] = "id",
    requests: Annotated[int, typer.Option(min=8, help="Queries each number of clients asks.")] = 200,
    clients: Annotated[list[int] | None, typer.Option(help="How many ask at a time; repeat. By default 1, 8, 32.")] = (
        None
    ),
    translator: Annotated[str | None, typer.Option(help="Of lira serve: translate the queries by this model.")] = None,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Start lira serve and measure its latency under load."""
    from modeling_lira.data.corpus import load_split

    from .serving_benchmark import measure_serving

    texts = load_split(corpus, language, "test").queries.texts
    given = {"--translator": translator, "--multilingual": multilingual, "--english": english}
    options = ["--model", model, *(part for name, value in given.items() if value for part in (name, value))]
    asked = [texts[number % len(texts)] for number in range(requests)]
    measure_serving(options, asked, language, clients or (1, 8, 32)).write(records)


def workers(
    model: Annotated[str, typer.Option("--model", help="Run of lira train or folder of a model.")],
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset, whose test titles are embedded.")] = (
        "runs/corpus"
    ),
    output: Annotated[Path, typer.Option(help="A new folder for texts and embeddings.")] = Path("runs/workers"),
    texts: Annotated[int, typer.Option(min=2, help="Titles that each number of workers embeds.")] = 2000,
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Workers; repeat. By default 1, 2.")] = None,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Embed titles by one worker of datatrove and by several: texts a second, and CPU time a text."""
    from .workers import measure_workers

    backbones = (multilingual, english)
    measure_workers(model, corpus, output, texts, workers or (1, 2), backbones).write(records)


def export(
    model: Annotated[str, typer.Option("--model", help="Run of lira train or folder of a model.")],
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset, whose test part is searched.")] = (
        "runs/corpus"
    ),
    output: Annotated[Path, typer.Option(help="Gets the exports; those that are there are kept.")] = Path(
        "runs/export"
    ),
    queries: Annotated[int, typer.Option(min=1, help="Test queries of each language, and queries timed alone.")] = 140,
    documents: Annotated[int, typer.Option(min=10, help="Titles of each language that are searched.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="Timed turns of every system over batches.")] = 3,
    formats: Annotated[list[Format] | None, typer.Option("--format", help="Only this engine; repeat.")] = None,
    multilingual: Multilingual = None,
    english: English = None,
    records: Records = RECORDS,
) -> None:
    """Export a model and measure its CPU time and quality in every engine, beside the bare encoder in the same."""
    from .export_benchmark import Sizes, measure_export

    sizes = Sizes(singles=queries, rounds=rounds, queries=queries, documents=documents)
    measure_export(model, corpus, output, (multilingual, english), sizes, formats or tuple(Format)).write(records)


def report(
    runs: Annotated[Path, typer.Option(help="Where the commands left their results.")] = RECORDS.parent,
    output: Annotated[Path, typer.Option(help="Gets evaluation.md, evaluation.html and the plots.")] = Path(
        "runs/report"
    ),
    corpus: Annotated[str, typer.Option(help="Refuse records of another version of this corpus.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep what README and cards show in eval/results.")] = False,
) -> None:
    """Put all results on one page; write the figures that are kept beside the code into README and model cards."""
    from ..record import corpus_version
    from ..report.page import write_report
    from ..report.readme import ROOT, keep_found, update_all

    page = write_report(runs, output, corpus_version(corpus) if corpus else None)
    typer.echo(f"report: {page}")
    if keep:
        typer.echo(f"kept: {', '.join(keep_found(runs)) or 'nothing'}")
    for path in update_all(ROOT):
        typer.echo(f"written anew: {path.relative_to(ROOT)}")


def everything(
    model: Model,
    corpus: Annotated[str, typer.Option(help="Corpus folder or Hub dataset.")] = "runs/corpus",
    xquad: Annotated[Path | None, typer.Option(help="Folder with xquad.en.json, xquad.th.json, …")] = None,
    cldr: Annotated[Path | None, typer.Option(help="The annotations folder of cldr-annotations-full.")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Translations of XQuAD's questions, as `lira critique` writes them.")
    ] = None,
    streams: Streams = STREAMS,
    multilingual: Multilingual = None,
    english: English = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small studies: minutes in place of hours.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure what is measured already, too.")] = False,
) -> None:
    """Run all measurements in order and report them. Interrupt it and run it again: finished steps are kept."""
    from ..report.everything import Plan, run_all
    from ..report.page import write_report

    run_all(Plan(model, corpus, streams, quick, xquad, cldr, candidates, (multilingual, english)), again)
    typer.echo(f"report: {write_report(RECORDS.parent, RECORDS.parent / 'report')}")
