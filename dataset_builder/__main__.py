"""The command line: `python -m dataset_builder --help`."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_lira.cli import run
from modeling_lira.data.languages import known_language
from modeling_lira.errors import LiraError
from modeling_lira.faces.extras import needs
from modeling_lira.files import atomic_write_text

from . import generator
from .agreement import compare, dictionaries, disagreement_lines, summarise
from .candidate_source import CANDIDATES_FILE, read_scored, write_candidates
from .lexicon import LANGUAGES, load_lexicon
from .shopping_questions import QUESTION_CANDIDATES, write_questions, write_texts

if TYPE_CHECKING:
    from .generator.queries import Query

logger = logging.getLogger("dataset_builder")  # `__main__` is no name of ours
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build the product retrieval corpus.",
)

Size = Annotated[str, typer.Option(help="slice, default or mega; each holds the one before it.")]
Languages = Annotated[
    list[str] | None,
    typer.Option(help="Language codes; all seven when left out. A log may be in others."),
]
Seed = Annotated[int, typer.Option(min=0, help="Decides every product and query.")]


@app.command(epilog="Example: python -m dataset_builder build --size slice --output corpus --languages th vi")
@needs("pyarrow")
def build(
    output: Annotated[Path, typer.Option(help="Folder to make, or an earlier corpus to replace.")],
    source: Annotated[str, typer.Option(help="catalogue (the authored lexicon), logs or cldr.")] = "catalogue",
    source_input: Annotated[
        list[str] | None, typer.Option("--input", help="The log's files, globs or hf:// addresses; or CLDR's folder.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="A log's column, as OURS=THEIRS: query=search_term.")] = None,
    min_sessions: Annotated[
        int | None, typer.Option(min=1, help="Leave out a log's queries of fewer sessions; 3 when left out.")
    ] = None,
    size: Size = "slice",
    languages: Languages = None,
    seed: Seed = 0,
    candidates: Annotated[Path, typer.Option(help="Compressed candidates to join to the queries.")] = CANDIDATES_FILE,
) -> None:
    """Write the published layout: one folder of Parquet files a config, and README.md.

    A log is one file or several: CSV, TSV, JSON lines, each also .gz, or Parquet. Its columns are query, product,
    action (impression, click, cart, purchase) and, if it has them, product_id, title_en, language, position, session
    and time.
    """
    if candidates != CANDIDATES_FILE and not candidates.is_file():
        raise LiraError(f"candidates file {candidates} does not exist")
    if source not in ("catalogue", "logs", "cldr"):
        raise LiraError(f"source {source!r} is unknown: choose catalogue, logs or cldr")
    if source != "logs" and min_sessions is not None:
        raise LiraError("--min-sessions is for --source logs")
    if source == "catalogue":
        if source_input or column:
            raise LiraError("--input and --column are for --source logs or cldr")
        generator.build_corpus(output, size, _languages(languages), seed, candidates)
        return
    if not source_input:
        raise LiraError(f"source {source!r} needs --input")
    if size != "slice":
        raise LiraError(f"--size is for --source catalogue: {source} has the size of its input")
    if source == "cldr":
        from .cldr_corpus import build_cldr_corpus

        if len(source_input) > 1:
            raise LiraError(f"source 'cldr' takes one --input, not {len(source_input)}")
        build_cldr_corpus(
            output, Path(source_input[0]), generator.known_languages(_languages(languages)), seed, candidates
        )
    else:
        from .logs.corpus import MIN_SESSIONS, build_log_corpus

        codes = [known_language(code) for code in _languages(languages)] if languages else None
        columns = _pairs(column or [])
        build_log_corpus(output, source_input, codes, columns, seed, candidates, min_sessions or MIN_SESSIONS)


def _pairs(given: list[str]) -> dict[str, str]:
    """Return what `--column query=search_term` says."""
    for item in given:
        if "=" not in item:
            raise LiraError(f"--column {item!r}: expected OURS=THEIRS, such as query=search_term")
    return dict(item.split("=", 1) for item in given)


@app.command(epilog="Example: python -m dataset_builder queries --size slice --output queries.jsonl")
@needs("pyarrow")
def queries(
    output: Annotated[Path, typer.Option(help="JSON lines file to write: text, language, split, kind.")],
    size: Size = "slice",
    languages: Languages = None,
    seed: Seed = 0,
    most: Annotated[int, typer.Option(min=0, help="A language's limit, validation and test first; 0: all.")] = 0,
) -> None:
    """Write query texts, the input of `lira translate`."""
    chosen = _queries_of(size, languages, seed, most)
    rows = [{name: getattr(query, name) for name in ("text", "language", "split", "kind")} for query in chosen]
    atomic_write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    logger.info("%s: %d queries", output, len(rows))


@app.command(epilog="Example: python -m dataset_builder candidates --size default --store runs/candidates")
@needs("pyarrow")
def candidates(
    store: Annotated[Path, typer.Option(help="Folder of finished work, by which a stopped run goes on.")],
    size: Size = "slice",
    languages: Languages = None,
    seed: Seed = 0,
    earlier: Annotated[
        Path, typer.Option(help="Candidates file whose texts are not translated again, only scored.")
    ] = CANDIDATES_FILE,
    output: Annotated[Path, typer.Option(help="Compressed candidates file to write.")] = CANDIDATES_FILE,
    translate: Annotated[bool, typer.Option(help="Or only score and write what is there.")] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """Translate and score a corpus' queries: those of test first, then validation, then training.

    The file is written after each split; run the command again after an interruption.
    """
    from modeling_lira.agents import CandidateStore

    from .candidate_making import make_candidates, offline_agents

    queries = list(_queries_of(size, languages, seed))
    with CandidateStore(store) as finished:
        make_candidates(queries, finished, output, *offline_agents(threads), earlier, translate)


@app.command(epilog="Example: python -m dataset_builder reasoning --output runs/questions")
def reasoning(
    output: Annotated[Path, typer.Option(help="Folder for train.jsonl, validation.jsonl and test.jsonl.")],
    seed: Seed = 0,
    candidates: Annotated[
        Path, typer.Option(help="Compressed translations of the questions, from `pack`; others are glossed.")
    ] = QUESTION_CANDIDATES,
    texts: Annotated[Path | None, typer.Option(help="Also write the questions here, for `lira translate`.")] = None,
) -> None:
    """Write multiple-choice questions about shopping, sizes, prices and quantities, in seven languages and English."""
    if candidates != QUESTION_CANDIDATES and not candidates.is_file():
        raise LiraError(f"candidates file {candidates} does not exist")
    if texts is not None:
        logger.info("%s: %d questions", texts, write_texts(texts, seed))
    for split, count in write_questions(output, seed, candidates).items():
        logger.info("%s: %d questions", output / f"{split}.jsonl", count)


@app.command(epilog="Example: python -m dataset_builder pack --input scored.jsonl --output candidates.jsonl.xz")
def pack(
    scored: Annotated[Path, typer.Option("--input", help="JSON lines file that `lira critique` wrote for `queries`.")],
    output: Annotated[
        Path, typer.Option(help="Compressed candidates file, for `build --candidates`.")
    ] = CANDIDATES_FILE,
) -> None:
    """Compress translated and scored queries into the file whose candidates `build` joins."""
    rows = read_scored(scored)
    write_candidates(rows, output)
    logger.info("%s: candidates of %d queries", output, len(rows))


@app.command(
    epilog="Example: python -m dataset_builder agreement --lexicon words.tsv --cldr annotations --output rest.tsv"
)
def agreement(
    lexicon: Annotated[Path | None, typer.Option(help="Table of language, word, glosses joined by |.")] = None,
    cldr: Annotated[Path | None, typer.Option(help="Folder of CLDR annotations, one folder a language.")] = None,
    output: Annotated[Path, typer.Option(help="Table to write: the names that do not agree.")] = Path("agreement.tsv"),
    languages: Languages = None,
) -> None:
    """Compare the authored product names with independent dictionaries, and list what does not agree."""
    codes = generator.known_languages(_languages(languages))
    ours = load_lexicon(languages=codes)
    theirs = dictionaries(codes, lexicon, cldr)
    rows = [row for language in codes for row in compare(ours, language, theirs[language])]
    atomic_write_text(output, "".join(f"{line}\n" for line in disagreement_lines(rows)))
    logger.info("product names that a dictionary has as well: single English words / all")
    for language, counts in summarise(rows).items():
        logger.info(
            "%-4s%4d of %3d agree (%.0f%%) /%4d of %3d",
            language, counts.single_agree, counts.single, 100 * counts.share, counts.every_agree, counts.every,
        )  # fmt: skip
    logger.info("%s: the %d others", output, sum(not row.agrees for row in rows))


@app.command(epilog="Example: python -m dataset_builder showcase --corpus runs/corpus")
@needs("datasets", "pyarrow")
def showcase(
    corpus: Annotated[Path, typer.Option(help="A complete corpus folder.")],
    output: Annotated[Path, typer.Option(help="JSON file to write.")] = Path("showcase.json"),
    languages: Languages = None,
) -> None:
    """Choose the titles, example queries and words that the Space shows (modeling_lira/demo/space/showcase.json)."""
    from .showcase import write_showcase

    write_showcase(corpus, generator.known_languages(_languages(languages)), output)
    logger.info("%s: what the Space shows", output)


@app.command(epilog="Example: python -m dataset_builder report --corpus corpus --output runs/report")
@needs("matplotlib", "pyarrow")
def report(
    corpus: Annotated[Path, typer.Option(help="A complete corpus folder.")],
    output: Annotated[Path, typer.Option(help="Folder for report.html, report.md, report.json and plots.")],
    encoder: Annotated[str, typer.Option(help="A multilingual encoder to search with as well; takes minutes.")] = "",
    query_prefix: Annotated[
        str | None, typer.Option(help="What the encoder wants before a query; by default as it says itself.")
    ] = None,
    document_prefix: Annotated[str | None, typer.Option(help="What it wants before a document; likewise.")] = None,
) -> None:
    """Measure a corpus: counts, texts, leakage, relevance, plain systems on it, candidates, samples."""
    from .layout import check_complete
    from .page import to_text
    from .quality.baselines import EncoderSystem
    from .quality.report import baseline_tables, outliers, write_report

    check_complete(corpus)  # before the encoder is loaded
    findings = write_report(corpus, output, EncoderSystem(encoder, query_prefix, document_prefix) if encoder else None)
    for table in baseline_tables(findings.baselines):
        logger.info("nDCG@10 on test\n%s\n", to_text(table))
    for line in outliers(findings.baselines):
        logger.warning("%s", line)
    for check, count in findings.leaks_in_all.items():
        if count:
            logger.warning("%d %s", count, check)
    sound = not any(findings.leaks_in_all.values())
    logger.info("%s: %s", output / "report.html", "every leakage check is 0" if sound else "look at the leakage table")


@app.command(epilog="Example: python -m dataset_builder publish --folder corpus --repo my-org/product-retrieval")
@needs("pyarrow")
def publish(
    folder: Annotated[Path, typer.Option(help="A complete corpus folder.")],
    repo: Annotated[str, typer.Option(help="Dataset repository, organisation/name; needs a token.")] = "",
    to: Annotated[Path | None, typer.Option(help="A folder instead of a repository.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Publish a corpus to a Hub or to a folder, from which `load_dataset` reads it without any code."""
    from .publish import publish_to_folder, publish_to_hub

    if bool(repo) == bool(to):
        raise LiraError("say where to publish: either --repo ORG/NAME or --to DIR")
    if to is not None:
        publish_to_folder(folder, to)
        logger.info("%s is complete", to)
    else:
        logger.info("published: %s", publish_to_hub(folder, repo, private))


def _queries_of(size: str, languages: list[str] | None, seed: int, most: int = 0) -> "Iterator[Query]":
    """Return the queries of a release, which are made as they are asked for; a wrong name is an error at once."""
    release, codes = generator.release_named(size), generator.known_languages(_languages(languages))
    return generator.release_queries(load_lexicon(languages=codes), codes, release, seed, most)


def _languages(given: list[str] | None) -> tuple[str, ...]:
    """Return the codes of `--languages th vi`, `--languages th,vi` or two such options."""
    return tuple(code for item in given or LANGUAGES for code in item.replace(",", " ").split())


def _repeated_options(arguments: list[str]) -> list[str]:
    """Let `--languages th vi`, and `--input a.csv b.csv` of `build`, take several words, as click's do not."""
    several = ("--languages", "--input") if arguments[:1] == ["build"] else ("--languages",)
    repeated: list[str] = []
    for argument in arguments:
        if len(repeated) > 1 and repeated[-2] in several and not argument.startswith("-"):
            repeated.append(repeated[-2])
        repeated.append(argument)
    return repeated


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input becomes one line and exit code 2."""
    run(app, "python -m dataset_builder", _repeated_options(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
