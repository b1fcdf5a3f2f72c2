"""The command line: `python -m dataset_builder build | queries`."""

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text

from .candidates import CANDIDATES_FILE, read_candidates
from .corpus import LanguageData, build_language, write_all_configs, write_language, write_readme
from .lexicon import LANGUAGES, Lexicon, load_lexicon
from .splits import SPLITS, Release, release_named

logger = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, help="Build the product retrieval corpus.")

Size = Annotated[str, typer.Option(help="slice, default or mega; each holds the one before it.")]
Languages = Annotated[list[str] | None, typer.Option(help="Language codes; all seven when left out. Several: th vi.")]
Seed = Annotated[int, typer.Option(help="Decides every product and query.")]


@app.command(epilog="Example: python -m dataset_builder build --size slice --output corpus --languages th vi")
def build(
    output: Annotated[Path, typer.Option(help="Folder to write; files of the same name are replaced.")],
    size: Size = "slice",
    languages: Languages = None,
    seed: Seed = 0,
    candidates: Annotated[Path, typer.Option(help="Compressed candidates to join to the queries.")] = CANDIDATES_FILE,
) -> None:
    """Write the published layout: one folder of Parquet files a config, and README.md."""
    release, codes = release_named(size), _languages(languages)
    lexicon = load_lexicon(languages=codes)
    found = read_candidates(candidates)
    missing = 0
    for data in _generate(lexicon, codes, release, seed):
        missing += write_language(lexicon, data, found, output)
    write_all_configs(output, codes)
    write_readme(output, codes, release, seed)
    logger.info(
        "%s: %d languages of %d products and %d queries; %d queries without candidates",
        output, len(codes), release.products.total, release.queries.total, missing,
    )  # fmt: skip


@app.command(epilog="Example: python -m dataset_builder queries --size slice --output queries.jsonl")
def queries(
    output: Annotated[Path, typer.Option(help="JSON lines file to write: text, language, split, kind.")],
    size: Size = "slice",
    languages: Languages = None,
    seed: Seed = 0,
) -> None:
    """Write all query texts, the input of `lira translate`."""
    release, codes = release_named(size), _languages(languages)
    rows = [
        {"text": query.text, "language": query.language, "split": split, "kind": query.kind}
        for data in _generate(load_lexicon(languages=codes), codes, release, seed)
        for split in SPLITS
        for query in data.splits[split].queries
    ]
    atomic_write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    logger.info("%s: %d queries", output, len(rows))


def _generate(lexicon: Lexicon, codes: tuple[str, ...], release: Release, seed: int) -> Iterable[LanguageData]:
    progress = tqdm(codes, desc="languages", unit="language", disable=not sys.stderr.isatty())
    return (build_language(lexicon, language, release, seed) for language in progress)


def _languages(given: list[str] | None) -> tuple[str, ...]:
    """Return the languages asked for in the usual order."""
    codes = {code for item in given or LANGUAGES for code in item.replace(",", " ").split()}
    unknown = sorted(codes - set(LANGUAGES))
    if unknown or not codes:
        raise LiraError(f"language {' '.join(unknown) or '(none)'} is unknown: choose from {' '.join(LANGUAGES)}")
    return tuple(code for code in LANGUAGES if code in codes)


def _joined_languages(arguments: list[str]) -> list[str]:
    """Let `--languages th vi` take several words, which click's options do not."""
    joined: list[str] = []
    for argument in arguments:
        if len(joined) > 1 and joined[-2] == "--languages" and not argument.startswith("-"):
            joined[-1] += f" {argument}"
        else:
            joined.append(argument)
    return joined


def main() -> None:
    """Run a command; bad input becomes one line and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(args=_joined_languages(sys.argv[1:]))
    except (LiraError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
