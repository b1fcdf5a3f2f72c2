"""One POST that ends: within its seconds and its bytes, whatever the server does."""

import logging
import socket
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

# In debug logs httpcore writes the headers of answers, and a server may send the key back in one.
logging.getLogger("httpcore").setLevel(logging.INFO)

MAX_ANSWER_BYTES = 1_000_000
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: httpx.Headers
    content: bytes


class Poster:
    """Posts JSON, each request on a connection of its own that is shut when the request's time is over.

    httpx limits the wait for each piece of an answer, not their sum: headers that drip, or `100 Continue` without end,
    would keep a request for ever. Redirections are not followed, so that a key goes nowhere else.

    Parameters
    ----------
    headers : mapping
        Of every request.
    timeout : float
        Seconds from the beginning of a request to the end of its answer.
    connections : int
        Requests at a time.
    """

    def __init__(self, headers: Mapping[str, str], timeout: float, connections: int) -> None:
        self.timeout = timeout
        self._client = httpx.Client(
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
            # No connection is used twice: which request a connection belongs to must be known to shut the right one.
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=0),
            follow_redirects=False,
        )

    def post(self, url: str, body: object) -> Reply:
        """Return the answer.

        Raises
        ------
        httpx.RequestError
            If there is none, if it is longer than `MAX_ANSWER_BYTES` (also when unpacked), or not in time.
        """
        with _Deadline(self.timeout) as deadline:
            try:
                reply = self._exchange(url, body, deadline)
            except httpx.RequestError as error:
                if deadline.is_over:
                    raise httpx.ReadTimeout("no whole answer in time") from error
                raise
            if deadline.is_over:  # a connection that is shut may look like the end of an answer
                raise httpx.ReadTimeout("no whole answer in time")
            return reply

    def _exchange(self, url: str, body: object, deadline: "_Deadline") -> Reply:
        content = bytearray()
        extensions = {"trace": deadline.trace}
        with self._client.stream("POST", url, json=body, extensions=extensions) as response:
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise httpx.ReadError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            return Reply(response.status_code, response.headers, _unpacked(bytes(content), encoding))


class _Deadline:
    """Shuts the connection of one request when its time is over."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep hold of the connection that httpcore has made."""
        if event != "connection.connect_tcp.complete":
            return
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            # A second handle on the same connection: TLS takes the first one away.
            self._socket = info["return_value"].get_extra_info("socket").dup()
        if self.is_over:
            self._shut()

    def _end(self) -> None:
        self.is_over = True
        self._shut()

    def _shut(self) -> None:
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # closed by the server already
                    self._socket.shutdown(socket.SHUT_RDWR)  # a thread that waits for data is woken


def _unpacked(content: bytes, encoding: str) -> bytes:
    """Return what a server has packed without being asked to, if it is not too long."""
    if encoding in ("identity", ""):
        return content
    if encoding not in ("gzip", "deflate"):
        raise httpx.DecodingError(f"an answer packed by {encoding[:40]}, which was not asked for")
    unpacking = zlib.decompressobj(wbits=47)
    try:
        unpacked = unpacking.decompress(content, MAX_ANSWER_BYTES + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"an answer that is not {encoding}: {error}") from error
    if not unpacking.eof and len(unpacked) <= MAX_ANSWER_BYTES:
        raise httpx.DecodingError(f"an answer that is not whole {encoding}")
    if len(unpacked) > MAX_ANSWER_BYTES:
        raise httpx.DecodingError(f"an answer of more than {MAX_ANSWER_BYTES} bytes when unpacked")
    return unpacked
