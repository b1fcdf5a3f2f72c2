"""The server: POST /v1/embeddings, GET /v1/models, /health and /metrics."""

import base64
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException

from ..errors import LiraError
from ..modeling_lira import LiraModel
from .batcher import Batcher, QueueFullError
from .live_translator import LiveTranslator, Query
from .requests import EmbeddingsRequest

ENGLISH = "en"
Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """What one server takes.

    Attributes
    ----------
    texts : int
        Texts a request.
    characters : int
        Characters a text or candidate.
    body : int
        Bytes a request.
    batch : int
        Texts a batch.
    queue : int
        Texts that may wait; beyond them a request is answered with status 429.
    """

    texts: int = 256
    characters: int = 8192
    body: int = 4_000_000
    batch: int = 64
    queue: int = 2048


@dataclass(frozen=True)
class _Item:
    text: str
    language: str | None
    candidates: tuple[str, ...]
    kind: str


class _Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("lira_requests", "Requests by status.", ["status"], registry=self.registry)
        self.seconds = Histogram("lira_seconds", "Seconds from request to answer.", registry=self.registry)
        self.texts = Counter("lira_texts", "Texts embedded.", ["kind"], registry=self.registry)
        self.batch = Histogram("lira_batch", "Texts a batch.", registry=self.registry, buckets=(1, 2, 4, 8, 16, 32, 64))
        self.untranslated = Counter(
            "lira_untranslated", "Queries whose translator gave nothing.", registry=self.registry
        )
        self.waiting = Gauge("lira_waiting", "Texts that wait or run.", registry=self.registry)


class _Service:
    """The model, its translator and their queues."""

    def __init__(self, model: LiraModel, translator: LiveTranslator | None, limits: Limits) -> None:
        self.model, self.translator, self.limits = model, translator, limits
        self.metrics = _Metrics()
        self.embeddings = Batcher(self._embed, limits.batch, limits.queue)
        self.translations = Batcher(self._translate, limits.batch, limits.queue)
        self.metrics.waiting.set_function(lambda: self.embeddings.waiting + self.translations.waiting)

    async def answer(self, request: EmbeddingsRequest) -> list[list[float]]:
        """Return the embeddings of a request's texts."""
        items = self._items(request)
        if self.translator is not None and request.translate and request.input_type == "query":
            items = await self._translated(items)
        return await self.embeddings.submit(items)

    def _items(self, request: EmbeddingsRequest) -> list[_Item]:
        texts, languages, limits = request.texts(), request.languages(), self.limits
        candidates = request.candidates or [[]] * len(texts)
        if len(texts) > limits.texts:
            raise LiraError(f"input has {len(texts)} texts: send at most {limits.texts} a request")
        for name, values in (("language", languages), ("candidates", candidates)):
            if len(values) != len(texts):
                raise LiraError(f"{name} has {len(values)} entries for {len(texts)} texts: give one each")
        if any(len(text) > limits.characters for text in [*texts, *(one for row in candidates for one in row)]):
            raise LiraError(f"a text has more than {limits.characters} characters: shorten it")
        width = self.model.config.embedding_size
        if request.dimensions not in (None, width):
            raise LiraError(f"dimensions is {request.dimensions}: this model's embeddings have {width} numbers")
        return [
            _Item(text, language, tuple(row), request.input_type)
            for text, language, row in zip(texts, languages, candidates, strict=True)
        ]

    async def _translated(self, items: list[_Item]) -> list[_Item]:
        """Return the queries with candidates where they had none and their language is known and not English."""
        rows = [row for row, item in enumerate(items) if item.language not in (None, ENGLISH) and not item.candidates]
        if not rows:
            return items
        self.model.processor.check_languages([items[row].language for row in rows], len(rows))
        several = await self.translations.submit([(items[row].text, str(items[row].language)) for row in rows])
        self.metrics.untranslated.inc(sum(not candidates for candidates in several))
        most = self.model.processor.num_candidates
        for row, candidates in zip(rows, several, strict=True):
            items[row] = replace(items[row], candidates=tuple(candidates[:most]))
        return items

    def _translate(self, queries: list[Query]) -> list[list[str]]:
        assert self.translator is not None
        return self.translator.candidates(queries)

    def _embed(self, items: list[_Item]) -> list[list[float]]:
        embeddings: dict[int, list[float]] = {}
        for kind in ("query", "document"):
            rows = [row for row, item in enumerate(items) if item.kind == kind]
            if rows:
                vectors = self._encode(kind, [items[row] for row in rows])
                embeddings.update(zip(rows, vectors.tolist(), strict=True))
                self.metrics.texts.labels(kind).inc(len(rows))
        self.metrics.batch.observe(len(items))
        return [embeddings[row] for row in range(len(items))]

    def _encode(self, kind: str, items: Sequence[_Item]) -> torch.Tensor:
        encode = self.model.encode_query if kind == "query" else self.model.encode_document
        return encode(
            [item.text for item in items],
            [item.language for item in items],
            [list(item.candidates) for item in items],
            batch_size=self.limits.batch,
        )


def create_app(
    model: LiraModel,
    name: str,
    translator: LiveTranslator | None = None,
    limits: Limits | None = None,
    key: str = "",
) -> FastAPI:
    """Return the server's application, for uvicorn or any other ASGI server.

    Parameters
    ----------
    model : LiraModel
    name : str
        The model's name, which GET /v1/models tells.
    translator : LiveTranslator, optional
        Makes candidates for queries that come without any and say their language.
    limits : Limits, optional
    key : str
        If given, what every request but GET /health must bear: `Authorization: Bearer KEY`.
    """
    service = _Service(model, translator, limits or Limits())

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        service.embeddings.start()
        service.translations.start()
        yield
        await service.translations.stop()
        await service.embeddings.stop()
        if translator is not None:
            translator.close()

    app = FastAPI(title="LiRA", lifespan=running, docs_url=None, redoc_url=None)
    _add_guard(app, service, key)
    _add_errors(app)
    _add_routes(app, service, name)
    return app


def _add_routes(app: FastAPI, service: _Service, name: str) -> None:
    @app.post("/v1/embeddings")
    async def embeddings(request: EmbeddingsRequest) -> JSONResponse:
        vectors = await service.answer(request)
        data = [
            {"object": "embedding", "index": row, "embedding": _written(vector, request.encoding_format)}
            for row, vector in enumerate(vectors)
        ]
        tokens = sum(len(ids) for ids in service.model.processor.tokenizer(request.texts())["input_ids"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": name, "usage": usage})

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "lira"}]}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": name}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _written(vector: list[float], encoding: str) -> list[float] | str:
    """Return an embedding as OpenAI does: numbers, or the base64 of little-endian float32."""
    if encoding == "float":
        return vector
    return base64.b64encode(torch.tensor(vector, dtype=torch.float32).numpy().astype("<f4").tobytes()).decode()


def _add_guard(app: FastAPI, service: _Service, key: str) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Next) -> Response:
        started = time.perf_counter()
        response = await _refused(request, service.limits, key) or await call_next(request)
        if request.url.path == "/v1/embeddings":
            service.metrics.requests.labels(str(response.status_code)).inc()
            service.metrics.seconds.observe(time.perf_counter() - started)
        return response


async def _refused(request: Request, limits: Limits, key: str) -> Response | None:
    """Return the answer to a request without the key or with too large a body, None to one that may go on."""
    bearer = request.headers.get("authorization", "")
    if key and request.url.path != "/health" and not hmac.compare_digest(bearer.encode(), f"Bearer {key}".encode()):
        return _error(401, "give the server's key: Authorization: Bearer KEY")
    size = request.headers.get("content-length", "")
    if request.method == "POST" and not size.isdigit():
        return _error(411, "send the body with a Content-Length")
    if size.isdigit() and int(size) > limits.body:
        return _error(413, f"the request has {size} bytes: send at most {limits.body}")
    return None


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Of a field that may be a text or a list, the error that is not about the other type says more.
        first = min(error.errors(), key=lambda one: one["type"].endswith("_type"))
        where = ".".join(str(part) for part in first["loc"][1:2]) or "the body"
        return _error(422, f"{where}: {first['msg']}")

    @app.exception_handler(LiraError)
    async def refused(request: Request, error: LiraError) -> Response:
        return _error(429 if isinstance(error, QueueFullError) else 400, str(error))

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _error(500, "the server failed; its log says why")


def _error(status: int, message: str) -> JSONResponse:
    """Return an error in OpenAI's form."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    headers = {"Retry-After": "1"} if status == 429 else None
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status, headers)
