"""The client of a server, against a real HTTP server that delays, fails, truncates, and repeats the key."""

import json
import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
from llm_server import Fault, Request, message, serving

from agents.served import KEY, SPOKEN, TEXTS, WHOLE, chat, translate, translations
from modeling_lira import agents
from modeling_lira.agents.chat_server import (
    ASKS,
    ATTEMPTS,
    IN_A_ROW,
    ChatServer,
)
from modeling_lira.agents.posting import MAX_ANSWER_BYTES
from modeling_lira.agents.server_agents import ServerTranslator
from modeling_lira.agents.store import CandidateStore
from modeling_lira.errors import LiraError


@pytest.mark.parametrize(
    "fault",
    [
        Fault(drop=True),
        Fault(status=500),
        Fault(status=503),
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(status=429, headers={"Retry-After": "soon"}),
        Fault(short_by=7),
        Fault(raw=b'{"choices": [{"mess'),
        Fault(raw=b"<html>welcome to the hotel</html>"),
        Fault(raw=b"[]"),
        Fault(raw=b"[" * 100_000),
        Fault(raw=b" " * (MAX_ANSWER_BYTES + 1)),
        Fault(raw=message('{"translations": ["cut', finish_reason="length")),
        Fault(content='{"translations": ["cut'),
        Fault(content=""),
    ],
    ids=lambda fault: str(fault)[6:60],
)
def test_a_fault_twice_costs_nothing_but_time(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    with serving(translations, {0: fault, 1: fault}) as server, caplog.at_level(logging.WARNING):
        assert translate(server, concurrency=1) == WHOLE
        assert len(server.requests) == len(TEXTS) + 2
    assert not caplog.records


@pytest.mark.parametrize("fault", [Fault(delay=1.5), Fault(drip=0.1)], ids=["silent", "dripping"])
def test_an_answer_that_takes_too_long_is_asked_for_again(fault: Fault) -> None:
    with serving(translations, {0: fault}) as server:
        start = time.monotonic()
        assert translate(server, TEXTS[:1], SPOKEN[:1], timeout=0.4) == {0: WHOLE[0]}
        assert time.monotonic() - start >= 0.4
        assert len(server.requests) == 2


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_heeded(as_date: bool) -> None:
    def fault(number: int, request: Request) -> Fault:
        then = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return Fault(status=429, headers={"Retry-After": then if as_date else "0.6"}) if number == 0 else Fault()

    with serving(translations, fault) as server:
        assert translate(server, TEXTS[:1], SPOKEN[:1]) == {0: WHOLE[0]}
        first, second = server.requests
    assert second.at - first.at >= 0.6


def test_a_server_that_asks_for_an_hour_is_named_at_once() -> None:
    with serving(translations, lambda *_: Fault(status=429, headers={"Retry-After": "3600"})) as server:
        with pytest.raises(LiraError, match="asks to wait for 3600 s"):
            translate(server, concurrency=1)
        assert len(server.requests) == 1


def test_pauses_double() -> None:
    with serving(translations, {number: Fault(status=500) for number in range(3)}) as server:
        assert translate(server, TEXTS[:1], SPOKEN[:1], first_pause=0.08) == {0: WHOLE[0]}
        times = [request.at for request in server.requests]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause >= 0.04 * 2**attempt for attempt, pause in enumerate(pauses)), pauses


def test_a_server_that_stays_away_is_one_clear_line() -> None:
    with serving(translations) as server:
        url = server.url
    agent = ServerTranslator(ChatServer("tiny", url, first_pause=0.001))
    with pytest.raises(
        LiraError, match=rf"^server {url} cannot be reached: .*refused.*finished work is kept$"
    ) as error:
        next(agent.translate(TEXTS, SPOKEN))
    assert "\n" not in str(error.value)


def test_a_server_that_only_fails_is_one_clear_line() -> None:
    with serving(translations, lambda *_: Fault(status=500, reason="out of\nmemory \x1b[31m")) as server:
        with pytest.raises(LiraError, match=rf"answered 500: out of memory \[31m \({ATTEMPTS} times\)"):
            translate(server, TEXTS[:2], SPOKEN[:2], first_pause=0.001)
        assert len(server.requests) == 2 * ATTEMPTS


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "answered 401: it refuses the key in OPENAI_API_KEY"),
        (403, "answered 403: it refuses the key in OPENAI_API_KEY"),
        (404, "answered 404: no model for .*; check the base URL, most end in /v1, and the model's name, 'tiny'"),
        (308, "answered 308, a redirection"),
    ],
)
def test_what_waiting_cannot_mend_is_named_at_once_and_without_the_key(
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    with serving(translations, lambda *_: Fault(status=status, reason=f"no model for {KEY}")) as server:
        with pytest.raises(LiraError, match=message) as error:
            translate(server, concurrency=1)
        assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"]
    assert KEY not in str(error.value) and KEY not in caplog.text


def test_a_missing_key_is_named() -> None:
    with (
        serving(translations, lambda *_: Fault(status=401)) as server,
        pytest.raises(LiraError, match="answered 401: it wants a key: set OPENAI_API_KEY"),
    ):
        translate(server)


@pytest.mark.parametrize("key", ["sk-áo-4711", "sk-47\n11"])
def test_a_key_that_no_header_can_hold_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(LiraError, match="OPENAI_API_KEY holds characters") as error:
        ChatServer("tiny", "http://localhost/v1")
    assert "47" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no server: give its base URL.*or set OPENAI_BASE_URL"),
        ("localhost:8000/v1", "is no base URL, such as http"),
        ("ftp://host/v1", "is no base URL"),
        ("http://host/v1?key=1", "is no base URL"),
        ("http://[::1/v1", "the server's URL is none"),
        ("http://me:hush@host/v1", "no user name or password"),
    ],
)
def test_a_url_that_is_none_is_named(url: str, message: str) -> None:
    with pytest.raises(LiraError, match=message) as error:
        ChatServer("tiny", url)
    assert "hush" not in str(error.value)


def test_the_url_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host/v1/")
    assert ChatServer("tiny").base_url == "http://host/v1"
    assert ChatServer("tiny", "http://other/v1").base_url == "http://other/v1"


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"timeout": 0.0}])
def test_bad_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LiraError, match="must be positive"):
        ChatServer("tiny", "http://localhost/v1", **wrong)


@pytest.mark.parametrize(
    ("refused", "status", "left_out"),
    [
        ({"response_format"}, 400, {"response_format"}),
        ({"response_format"}, 422, {"response_format"}),
        ({"response_format"}, 500, {"response_format"}),
        ({"temperature"}, 400, {"response_format", "temperature", "seed", "max_tokens"}),
    ],
)
def test_what_a_server_refuses_is_left_out_from_then_on(refused: set[str], status: int, left_out: set[str]) -> None:
    def fault(number: int, request: Request) -> Fault:
        unknown = refused & set(request.body)
        return Fault(status=status, reason=f"unknown field {unknown}") if unknown else Fault()

    with serving(translations, fault) as server:
        assert translate(server, concurrency=1) == WHOLE
        everything = set(server.requests[0].body)
        tries = 2 if left_out == {"response_format"} else 3
        assert len(server.requests) == len(TEXTS) + tries - 1
        assert all(set(request.body) == everything - left_out for request in server.requests[tries - 1 :])


def test_a_text_that_is_refused_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def fault(number: int, request: Request) -> Fault:
        return Fault(status=400, reason="content policy") if request.fields["text"] == TEXTS[0] else Fault()

    with serving(translations, fault) as server, caplog.at_level(logging.WARNING):
        assert translate(server, concurrency=1) == {row: WHOLE[row] for row in (1, 2, 3)}
        assert all("response_format" in request.body for request in server.answered)
    assert "1 of 4 questions have no valid answer, the last because answered 400: content policy" in caplog.text


def test_a_server_that_refuses_every_text_is_an_error() -> None:
    with (
        serving(translations, lambda *_: Fault(status=400, reason="no such parameter")) as server,
        pytest.raises(LiraError, match="answered 400: no such parameter"),
    ):
        translate(server)


def test_many_bad_answers_in_a_row_end_the_run_and_keep_what_is_finished() -> None:
    texts = [f"áo {number}" for number in range(100)]
    rule = lambda fields, body: translations(fields) if int(fields["text"][3:]) < 5 else {"text": "I cannot"}  # noqa: E731
    with serving(rule) as server:
        agent = ServerTranslator(chat(server, concurrency=2))
        answers: dict[int, object] = {}
        with pytest.raises(LiraError, match=f"{IN_A_ROW} questions in a row have no valid answer, at last: .*'text'"):
            for batch in agent.translate(texts, ["vi"] * 100):
                answers |= dict(batch)
        assert set(answers) == set(range(5))
        assert len(server.requests) <= 5 + ASKS * (IN_A_ROW + 6)


def test_a_redirection_takes_the_key_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(translations) as other:
        elsewhere = {"Location": f"{other.url}/chat/completions"}
        with (
            serving(translations, lambda *_: Fault(status=307, headers=elsewhere)) as server,
            pytest.raises(LiraError, match="answered 307, a redirection"),
        ):
            translate(server)
        assert not other.requests


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(content=json.dumps({"translations": [f"the key is {KEY}"]})),
        Fault(content=f'{{"translations": ["{escaped(KEY)}"]}}'),
        Fault(content=json.dumps({"translations": [f"Bearer {KEY.upper()}"]})),
        Fault(content=f"I was given {KEY}"),
        Fault(content=f'["{KEY}"]'),
        Fault(raw=f"no JSON but {KEY}".encode()),
        Fault(raw=b'{"choices": [], "' + KEY.encode() + b'": 1}'),
        Fault(status=400, reason="x" * 190 + KEY),
        Fault(status=500, reason=f"x {KEY}"),
        Fault(status=400, raw=("x" * 195 + KEY).encode()),
        Fault(status=500, headers={"X-Key": KEY}),
    ],
    ids=lambda fault: str(fault)[6:50],
)
def test_an_echoed_key_gets_into_no_log_no_error_and_no_store(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with serving(translations, dict.fromkeys(range(100), fault)) as server, CandidateStore(tmp_path) as store:
        agent = ServerTranslator(chat(server, first_pause=0.001))
        with pytest.raises(LiraError) as error:
            agents.translate(agent, TEXTS[:2], SPOKEN[:2], store, progress=False)
        assert not len(store)
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    for text in (str(error.value), caplog.text, written):
        assert KEY.lower() not in text.lower() and KEY[:9] not in text


def test_a_key_that_is_no_secret_refuses_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    rule = lambda fields, body: {"translations": ["an empty box"]}  # noqa: E731
    with serving(rule) as server:
        assert translate(server, ["áo"], ["vi"]) == {0: ["an empty box"]}


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://host.example/v1", True),
        ("http://192.168.0.7:8000/v1", True),
        ("http://localhost.example/v1", True),
        ("http://127.0.0.1.example/v1", True),
        ("https://host.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.2/v1", False),
        ("http://[::1]:8000/v1", False),
    ],
)
def test_a_key_over_plain_http_to_another_machine_is_warned_of(
    url: str, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ChatServer("tiny", url)
    assert not caplog.records  # without a key there is nothing to read
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ChatServer("tiny", url)
    assert (f"server {url}: the key in OPENAI_API_KEY is sent unencrypted" in caplog.text) == warned
    assert KEY not in caplog.text


@pytest.mark.parametrize("count", [1, 3, 15, 40])
def test_junk_alone_is_one_clear_error(count: int) -> None:
    texts = [f"áo {number}" for number in range(count)]
    with serving(lambda *_: {"text": "junk"}) as server:
        with pytest.raises(LiraError, match=r"no valid answer.*at last: the answer has the keys 'text'") as error:
            translate(server, texts, ["vi"] * count)
        assert "\n" not in str(error.value)


def test_one_text_without_an_answer_does_not_stop_a_run_that_has_answers_already(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rule = lambda fields, body: {} if fields["text"] == TEXTS[0] else translations(fields)  # noqa: E731
    with serving(rule) as server, CandidateStore(tmp_path) as store:
        agent = ServerTranslator(chat(server))
        first = agents.translate(agent, TEXTS, SPOKEN, store, progress=False)
        assert agents.translate(agent, TEXTS, SPOKEN, store, progress=False) == first and not first[0]
    assert "gave no valid answer to any of 1 questions" in caplog.text
