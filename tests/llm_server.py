"""An OpenAI-compatible server over real HTTP that answers by a rule, and misbehaves where it is told to."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, create_server, socket
from typing import Any

Body = dict[str, Any]
Rule = Callable[[dict[str, str], Body], object]


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of, or before, its answer; the fields that are set apply."""

    delay: float = 0.0
    drop: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = "a fault of the test"
    content: str | None = None  # of the message, in an otherwise good answer
    raw: bytes | None = None  # of the whole answer
    short_by: int = 0  # bytes that the length promises and that never come
    drip: float = 0.0  # seconds between bytes


GOOD = Fault()


@dataclass
class Request:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Body
    at: float

    @property
    def prompt(self) -> str:
        return self.body["messages"][-1]["content"]

    @property
    def fields(self) -> dict[str, str]:
        return decode(self.prompt)


def decode(prompt: str) -> dict[str, str]:
    """Return what stands between the delimiters: the one line of the prompt that is a JSON object."""
    lines = [line for line in prompt.split("\n") if line.startswith("{")]
    assert len(lines) == 1, f"{len(lines)} lines of data"
    return json.loads(lines[0])


class LLMServer:
    """Serves `rule(fields, body)` as the JSON content of a message.

    `fault(number, request)` is asked before each answer; `requests` has all that came, `most_at_once` how many were
    being answered at a time.
    """

    def __init__(self, rule: Rule, fault: Callable[[int, Request], Fault] = lambda number, request: GOOD) -> None:
        self.rule, self.fault = rule, fault
        self.requests: list[Request] = []
        self.answered: list[Request] = []
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def arrive(self, request: Request) -> int:
        with self._lock:
            self.requests.append(request)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            return len(self.requests) - 1

    def leave(self, request: Request, *, answered: bool) -> None:
        with self._lock:
            self._now -= 1
            if answered:
                self.answered.append(request)


@contextmanager
def serving(
    rule: Rule, fault: Callable[[int, Request], Fault] | Mapping[int, Fault] | None = None
) -> Iterator[LLMServer]:
    """Run a server; faults come from a function, or by the number of the request."""
    if isinstance(fault, Mapping):
        by_number = fault
        fault = lambda number, request: by_number.get(number, GOOD)  # noqa: E731
    server = LLMServer(rule) if fault is None else LLMServer(rule, fault)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def message(content: str, finish_reason: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()


def _handler(server: LLMServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body, time.monotonic())
            number = server.arrive(request)
            answered = False
            try:
                answered = self._answer(request, server.fault(number, request))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                server.leave(request, answered=answered)

        def _answer(self, request: Request, fault: Fault) -> bool:
            time.sleep(fault.delay)
            if fault.drop:
                self.connection.shutdown(SHUT_RDWR)
                self.close_connection = True
                return False
            if request.path != "/v1/chat/completions":
                fault = Fault(status=404, reason="no such path")
            if fault.raw is not None:
                raw = fault.raw
            elif fault.status != 200:
                raw = json.dumps({"error": {"message": fault.reason}}).encode()
            elif fault.content is not None:
                raw = message(fault.content)
            else:
                raw = message(json.dumps(server.rule(request.fields, request.body), ensure_ascii=False))
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw) + fault.short_by))
            self.end_headers()
            if fault.drip:
                for byte in raw:
                    self.wfile.write(bytes([byte]))
                    time.sleep(fault.drip)
            else:
                self.wfile.write(raw)
            if fault.short_by:
                self.wfile.flush()
                self.connection.shutdown(SHUT_RDWR)
                self.close_connection = True
            return fault.status == 200 and not fault.short_by

    return Handler


@contextmanager
def talking(talk: Callable[[socket], None]) -> Iterator[str]:
    """Run a server that reads a request and then says over the bare connection whatever it likes; yield its URL."""
    listener = create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received or not received.rstrip().endswith(b"}"):
                received += connection.recv(65536)
            talk(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()
