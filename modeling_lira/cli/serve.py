"""`lira serve`."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LiraError
from ..exporting.choices import Backend
from ..faces.extras import needs
from .agents import (
    BatchOption,
    CandidateOptions,
    Decoding,
    DType,
    DTypeOption,
    ModelOptions,
    RevisionOption,
    ServerOption,
    TimeoutOption,
    translator_of,
)
from .export import BackendOption, PrecisionOption
from .options import EnglishOption, MultilingualOption

logger = logging.getLogger(__name__)

SERVE_EXAMPLE = (
    "Example: lira serve --model runs/mine --port 8080; "
    "lira serve --model runs/mine --translator facebook/nllb-200-distilled-600M --cache runs/translations"
)
KEY = "LIRA_API_KEY"


@needs("fastapi", "uvicorn", "prometheus_client")
def serve(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", help="Run of lira train, folder or Hub id of a model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
    translator: Annotated[
        str | None,
        typer.Option(help="Translate queries that come without candidates, by this model of lira translate."),
    ] = None,
    revision: RevisionOption = None,
    server: ServerOption = None,
    dictionary: Annotated[
        Path | None, typer.Option(help="Translate by this dictionary of lira translate instead.")
    ] = None,
    num_candidates: Annotated[int, typer.Option(min=1, help="Candidates a query.")] = 1,
    cache: Annotated[
        Path, typer.Option(help="Folder of finished translations; lira translate --store can fill it beforehand.")
    ] = Path("runs/translations"),
    timeout: TimeoutOption = 5.0,
    batch_size: BatchOption = 64,
    queue: Annotated[int, typer.Option(min=1, help="Texts that may wait; beyond them, status 429.")] = 2048,
    dtype: DTypeOption = DType.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; by default all cores.")] = None,
    backend: BackendOption = Backend.torch,
    precision: PrecisionOption = None,
    multilingual: MultilingualOption = None,
    english: EnglishOption = None,
) -> None:
    """Serve embeddings over HTTP, as OpenAI does: POST /v1/embeddings; GET /health, /metrics, /v1/models.

    Beside OpenAI's fields a request may have input_type (query or document), language, candidates and translate. If
    LIRA_API_KEY is set, requests must bear it. Ctrl-C answers what has been asked, then ends.
    """
    import uvicorn

    from ..records.saved_model import load_model
    from ..serving import Limits, LiveTranslator, create_app

    options = ModelOptions(context, translator, revision, server, 8, timeout, batch_size, dtype, threads)
    options.check()
    if translator is not None and dictionary is not None:
        raise LiraError("give --translator or --dictionary, not both")
    translated = translator is not None or dictionary is not None
    if server is not None and not translated:
        raise LiraError("--server needs --translator, the server's name for the model")
    loaded = load_model(model, multilingual, english, backend, precision)
    live = None
    if translated:
        wanted = CandidateOptions(num_candidates, Decoding.sample, 0.8, 0)
        live = LiveTranslator(translator_of(options, wanted, dictionary), cache)
    app = create_app(loaded, model, live, Limits(batch=batch_size, queue=queue), os.environ.get(KEY, ""))
    logger.info("answering at http://%s:%d/v1/embeddings until Ctrl-C", host, port)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=60)
