"""Latency of `lira serve` on this machine, asked by 1, 8 and 32 clients at a time."""

import logging
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import httpx

from dataset_builder.page import Table, to_text
from modeling_lira.errors import LiraError

from ..record import Meter, Record

logger = logging.getLogger(__name__)
STARTING = 300.0
"""Seconds that loading a model may take."""


@dataclass(frozen=True)
class Load:
    """What so many clients, each asking again when it has its answer, got from the server."""

    clients: int
    requests: int
    p50_ms: float
    p95_ms: float
    per_second: float
    failed: int


def measure_serving(options: Sequence[str], texts: Sequence[str], language: str, clients: Sequence[int]) -> Record:
    """Start a server, ask it for each text once per number of clients, and return the record.

    Parameters
    ----------
    options : sequence of str
        Of `lira serve`, the model among them.
    texts : sequence of str
        Queries of one language; each is a request of its own.
    language : str
    clients : sequence of int
        How many ask at a time.

    Raises
    ------
    LiraError
        If the server does not start.
    """
    meter = Meter("serving")
    with _served(options) as (server, url):
        _ask(url, texts[:8], language, 1)  # the first requests of a process are slower
        loads = [_ask(url, texts, language, count) for count in clients]
        stopped = _stopped(server, url, texts[: max(clients)], language)
    rows = [list(asdict(load).values()) for load in loads]
    logger.info("%s", to_text(Table(["clients", "requests", "p50 ms", "p95 ms", "requests/s", "failed"], rows)))
    logger.info("stopped in the middle of %d requests: %d answered", *stopped.values())
    return meter.record({"options": list(options), "loads": [asdict(load) for load in loads], "stopped": stopped})


@contextmanager
def _served(options: Sequence[str]) -> Iterator[tuple[subprocess.Popen, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "modeling_lira.cli", "serve", *options, "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + STARTING
        while not _healthy(url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise LiraError("the server did not start: see its message above")
            time.sleep(0.1)
        yield server, url
    finally:
        server.terminate()
        server.wait()


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


def _ask(url: str, texts: Sequence[str], language: str, clients: int) -> Load:
    connection = threading.local()

    def seconds(text: str) -> float:
        if not hasattr(connection, "http"):
            connection.http = httpx.Client(timeout=60)
        began = time.perf_counter()
        try:
            answer = connection.http.post(f"{url}/v1/embeddings", json={"input": text, "language": language})
        except httpx.TransportError:
            return math.nan
        return time.perf_counter() - began if answer.is_success else math.nan

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = list(pool.map(seconds, texts))
    elapsed = time.perf_counter() - start
    good = sorted(one * 1000 for one in taken if not math.isnan(one)) or [math.nan]
    p50, p95 = (round(good[min(int(share * len(good)), len(good) - 1)], 1) for share in (0.5, 0.95))
    return Load(clients, len(texts), p50, p95, round(len(texts) / elapsed, 1), sum(map(math.isnan, taken)))


def _stopped(server: subprocess.Popen, url: str, texts: Sequence[str], language: str) -> dict[str, int]:
    """Stop the server when it has received a request for each text; count the requests and the answers."""
    before = _received(url)
    with ThreadPoolExecutor(len(texts)) as pool:
        asking = [pool.submit(_ask, url, [text], language, 1) for text in texts]
        while _received(url) - before < len(texts) and not all(one.done() for one in asking):
            time.sleep(0.002)
        server.terminate()
        failed = sum(one.result().failed for one in asking)
    return {"asked": len(texts), "answered": len(texts) - failed}


def _received(url: str) -> float:
    """Return how many texts the server has been sent: those that wait, and the requests that were answered."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return float(values["lira_waiting"]) + float(values.get('lira_requests_total{status="200"}', 0))
