"""POST requests with a hard limit on time and on bytes, whatever the server does."""

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

# At debug level httpcore logs the headers of replies, and a server may send the key back in one.
logging.getLogger("httpcore").setLevel(logging.INFO)

MAX_ANSWER_BYTES = 1_000_000
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Reply:
    """A complete reply: its content is not compressed."""

    status: int
    headers: httpx.Headers
    content: bytes


class Poster:
    """Posts JSON, each request on its own connection, which is shut down when the request's time is over.

    httpx limits the wait for each piece of a reply, not the whole: headers sent byte by byte, or endless
    `100 Continue` lines, would keep a request open for ever. Redirections are not followed, so that the key reaches no
    other server.

    Parameters
    ----------
    headers : mapping
        Headers of every request.
    timeout : float
        Seconds from the beginning of a request to the end of its reply.
    connections : int
        The most requests at a time.
    """

    def __init__(self, headers: Mapping[str, str], timeout: float, connections: int) -> None:
        self.timeout = timeout
        self._client = httpx.Client(
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
            # No connection is used twice: to shut the right one, its request must be known.
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=0),
            follow_redirects=False,
        )

    def post(self, url: str, body: object) -> Reply:
        """Send `body` as JSON and return the reply.

        Raises
        ------
        httpx.RequestError
            If there is no reply, if it is not complete in time, or if it has more than `MAX_ANSWER_BYTES` bytes,
            compressed or not.
        """
        with _Deadline(self.timeout) as deadline:
            try:
                reply = self._exchange(url, body, deadline)
            except httpx.RequestError as error:
                if deadline.is_over:
                    raise httpx.ReadTimeout("no whole answer in time") from error
                raise
            if deadline.is_over:  # a connection that was shut down may look like the end of a reply
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
    """Shuts down the connection of one request when its time is over."""

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
        """Keep a handle on the connection that httpcore has opened; called by httpcore at every event."""
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
    """Decompress a reply that was compressed unasked; raise httpx.DecodingError if it is invalid or too long."""
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
