"""Requests end in time and within their bytes, whatever a server does."""

import gzip
import resource
import time
import zlib
from socket import socket

import httpx
import pytest
from llm_server import Fault, message, serving, talking

from agents.served import translate, translations
from modeling_lira.agents.chat_server import (
    ChatServer,
)
from modeling_lira.agents.posting import Poster
from modeling_lira.agents.server_agents import ServerTranslator
from modeling_lira.errors import LiraError


def drip(connection: socket, start: bytes, piece: bytes, pause: float = 0.02) -> None:
    """Say a beginning, and then the same piece until the other side has gone."""
    connection.sendall(start)
    while True:
        connection.sendall(piece)
        time.sleep(pause)


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "silence": lambda connection: time.sleep(20),
    "status line": lambda connection: drip(connection, b"", b"H", 0.1),
    "headers": lambda connection: drip(connection, OK, b"X-A: b\r\n", 0.1),
    "100 Continue": lambda connection: drip(connection, b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "102 Processing": lambda connection: drip(connection, b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "chunks": lambda connection: drip(connection, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "no length": lambda connection: drip(connection, OK + b"\r\n", b" "),
    "length": lambda connection: drip(connection, OK + b"Content-Length: 900000\r\n\r\n", b" "),
    "trailers": lambda connection: drip(
        connection, OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", b"X-A: b\r\n", 0.1
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_no_server_keeps_a_request_beyond_its_time(name: str) -> None:
    with talking(ENDLESS[name]) as url:
        poster = Poster({}, timeout=0.6, connections=1)
        start, cpu = time.monotonic(), time.process_time()
        with pytest.raises(httpx.ReadTimeout):
            poster.post(f"{url}/chat/completions", {})
        assert 0.5 <= time.monotonic() - start < 10
        assert time.process_time() - cpu < 3


def test_an_endless_server_is_one_clear_line() -> None:
    with (
        talking(ENDLESS["headers"]) as url,
        pytest.raises(
            LiraError, match=rf"^server {url} gave no valid answer to any .* no answer within 0.2 s \(6 times"
        ),
    ):
        list(ServerTranslator(ChatServer("tiny", url, timeout=0.2, first_pause=0.001)).translate(["áo"], ["vi"]))


def test_time_that_others_take_is_not_counted() -> None:
    with serving(translations, lambda *_: Fault(delay=0.3)) as server:
        texts = [f"áo {number}" for number in range(8)]
        assert len(translate(server, texts, ["vi"] * 8, concurrency=2, timeout=1.0)) == 8
        assert len(server.requests) == 8


BOMB = gzip.compress(b" " * 50_000_000)


@pytest.mark.parametrize(
    ("head", "body", "problem"),
    [
        (b"Content-Encoding: gzip\r\n", BOMB, "more than 1000000 bytes when unpacked"),
        (b"Content-Encoding: deflate\r\n", zlib.compress(b" " * 50_000_000), "more than 1000000 bytes when unpacked"),
        (b"Content-Encoding: gzip, gzip\r\n", gzip.compress(BOMB), "packed by gzip, gzip"),
        (b"Content-Encoding: br\r\n", b"x", "packed by br"),
        (b"Content-Encoding: gzip\r\n", b"x", "not whole gzip"),
        (b"", b" " * 2_000_000, "more than 1000000 bytes"),
    ],
)
def test_bombs_are_not_unpacked(head: bytes, body: bytes, problem: str) -> None:
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    with talking(lambda connection: connection.sendall(OK + head + body)) as url:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(httpx.RequestError, match=problem):
            Poster({}, timeout=10, connections=1).post(url, {})
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


def test_a_packed_answer_is_read_all_the_same() -> None:
    body = gzip.compress(message('{"translations": ["red"]}'))
    head = b"Content-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with talking(lambda connection: connection.sendall(OK + head + body)) as url:
        agent = ServerTranslator(ChatServer("tiny", url, timeout=5))
        assert list(agent.translate(["áo"], ["vi"])) == [[(0, ["red"])]]
