"""`lira encode` and `lira search`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import LiraError
from ..exporting.choices import Backend, Precision
from ..faces.extras import needs
from ..faces.terminal import shown
from ..search.choices import DType, Format, Kind, Method
from .export import BackendOption, PrecisionOption
from .options import EnglishOption, MultilingualOption

if TYPE_CHECKING:
    from ..modeling_lira import LiraModel
    from ..search import Hit, SearchIndex

logger = logging.getLogger(__name__)
console = Console()

ENCODE_EXAMPLE = "Example: lira encode --model runs/mine/model --input titles.jsonl --output runs/titles --language vi"
SEARCH_EXAMPLE = (
    'Example: lira search --index runs/index --add runs/titles; lira search --index runs/index "áo thun" --language vi'
)


@needs("pyarrow")
def encode(
    model: Annotated[str, typer.Option("--model", help="Run of lira train, folder or Hub id of a model.")],
    input: Annotated[Path, typer.Option("--input", help="A .jsonl, .csv, .tsv or .parquet file.")],
    output: Annotated[Path, typer.Option("--output", help="Folder of the embeddings.")],
    kind: Annotated[Kind, typer.Option(help="What the texts are.")] = Kind.document,
    text_column: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    id_column: Annotated[str | None, typer.Option(help="Column with the id; by default _id, id or the row.")] = None,
    language_column: Annotated[
        str | None, typer.Option(help="Column with the language code; by default language or lang, if there is one.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language code of all texts, in place of a column.")] = None,
    dtype: Annotated[DType, typer.Option("--dtype", help="Precision of the stored numbers.")] = DType.float16,
    format: Annotated[Format, typer.Option("--format", help="Format of the shards.")] = Format.parquet,
    shard_size: Annotated[int, typer.Option(min=1, help="Rows a shard.")] = 8192,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a batch.")] = 64,
    backend: BackendOption = Backend.torch,
    precision: PrecisionOption = None,
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Embed the texts of a file. Run an interrupted command again to continue it: finished shards are kept.

    English translations in a column `candidates`, as `lira translate` writes them, are used.
    """
    from ..data.table_file import check_table
    from ..records.saved_model import load_model
    from ..search.encode import encode_file
    from ..search.text_file import Columns

    check_table(input)  # now, not after the model is loaded
    folder = encode_file(
        load_model(model, multilingual, english, backend, precision),
        input,
        output,
        kind,
        Columns(text_column, id_column, language_column, language),
        dtype,
        format,
        shard_size,
        batch_size,
    )
    logger.info("%s: %d embeddings of %d numbers", output, folder.settings.rows, folder.settings.width)


@needs("pyarrow", "usearch")
def search(
    queries: Annotated[list[str] | None, typer.Argument(help="What to search for.", show_default=False)] = None,
    index: Annotated[Path, typer.Option("--index", help="Folder of the index.")] = Path("runs/index"),
    add: Annotated[list[Path] | None, typer.Option("--add", help="Folder of lira encode, to add first.")] = None,
    method: Annotated[Method | None, typer.Option(help="Of a new index; by default hnsw.")] = None,
    dtype: Annotated[DType | None, typer.Option(help="Of a new index; by default int8.")] = None,
    model: Annotated[str | None, typer.Option(help="By default the model that made the index's embeddings.")] = None,
    language: Annotated[str | None, typer.Option(help="Language code of the queries.")] = None,
    candidate: Annotated[list[str] | None, typer.Option(help="English translation of the one query.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many to show.")] = 5,
    backend: BackendOption = Backend.torch,
    precision: PrecisionOption = None,
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Search an index; with --add, build it or add to it first. Run an interrupted command again to continue it.

    What is in the index already is not added again.
    """
    if not queries and not add:
        raise LiraError("give something to search for, or --add a folder of embeddings")
    if candidate and len(queries or ()) != 1:
        raise LiraError("--candidate is a translation of one query: give one query")
    opened = _opened(index, add or [], method, dtype)
    if queries:
        loaded = _loaded(opened, model, multilingual, english, backend, precision)
        _show(opened, queries, loaded, language, candidate or [], top)


def _opened(path: Path, add: list[Path], method: Method | None, dtype: DType | None) -> "SearchIndex":
    from ..search import SearchIndex
    from ..search.embeddings import EmbeddingFolder
    from ..search.index import MANIFEST

    sources = [EmbeddingFolder.open(folder) for folder in add]
    if not sources or (path / MANIFEST).exists():
        index = SearchIndex.open(path)
        for option, wanted in (("method", method), ("dtype", dtype)):
            if wanted is not None and wanted != getattr(index.manifest, option):
                present = getattr(index.manifest, option)
                raise LiraError(f"index {str(path)!r} is {present}, not {wanted}: use another --index")
    else:
        width = sources[0].settings.width
        index = SearchIndex.create(path, width, method or Method.hnsw, dtype or DType.int8)
    for source in sources:
        logger.info("%s: %d rows added, %d in the index", source.path, index.add_folder(source), len(index))
    return index


def _loaded(
    index: "SearchIndex",
    model: str | None,
    multilingual: str | None,
    english: str | None,
    backend: Backend,
    precision: Precision | None,
) -> "LiraModel":
    """Load the model that made the index's embeddings; raise `LiraError` for another."""
    from ..records.saved_model import backend_of, fingerprint, load_model, same_model

    name, expected = model or index.manifest.model, index.manifest.fingerprint
    if not name:
        raise LiraError("the index does not say which model made its embeddings: give --model")
    loaded = load_model(name, multilingual, english, backend, precision)
    actual = fingerprint(loaded)
    if expected and not same_model(actual, expected):
        raise LiraError(f"model {name!r} did not make the embeddings of this index ({index.manifest.model} did)")
    if expected not in ("", actual):
        logger.warning(
            "the index was made by %s, the query is embedded by %s", backend_of(expected), backend_of(actual)
        )
    return loaded


def _show(
    index: "SearchIndex", queries: list[str], loaded: "LiraModel", language: str | None, candidates: list[str], top: int
) -> None:
    embeddings = loaded.encode_query(queries, language, [candidates] if candidates else None)
    for query, hits in zip(queries, index.search(embeddings, top), strict=True):
        console.print(_table(query, hits))


def _table(query: str, hits: "list[Hit]") -> Table:
    table = Table("", "score", "id", "text", title=shown(query))
    for rank, hit in enumerate(hits, start=1):
        table.add_row(str(rank), f"{hit.score:.3f}", shown(hit.id), shown(hit.text))
    return table
