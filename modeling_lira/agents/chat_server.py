"""A client of OpenAI-compatible servers: concurrent requests, retries, and answers that are checked before use."""

import ipaddress
import json
import logging
import math
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, NoReturn, TypeVar

import httpx

from ..errors import LiraError
from .candidate import NoAnswerError
from .concurrency import as_finished
from .limits import check_limits
from .posting import Poster
from .text import MAX_TEXT_CHARACTERS, harmless, one_line

logger = logging.getLogger(__name__)

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"

ATTEMPTS = 6
"""How often one request is sent before it counts as failed."""
LONGEST_PAUSE = 120.0
"""Seconds. The run stops if a server's Retry-After asks for a longer pause."""
ASKS = 3
"""How often a question is asked before its answer counts as missing."""
ASKING_AGAIN = 0.7
"""Least temperature of the second and third time: at 0 the same invalid answer would come again."""
IN_A_ROW = 16
"""The run stops after so many questions in a row without a valid answer: the server is at fault, not the questions."""
MAX_TOKENS = 2048
"""The most tokens of an answer."""
MAX_REASON_CHARACTERS = 200
"""The most characters of a server's text that a message quotes."""
SHORTEST_SECRET = 6
"""Characters. Shorter keys are placeholders, such as EMPTY or none, which may occur in any text."""

BUSY = (408, 409, 425, 429)
"""Client-error codes after which the same request may succeed later."""
OPTIONAL = (("response_format",), ("response_format", "temperature", "seed", "max_tokens"))
"""The fields that are left out of a request, step by step, for a server that refuses them."""

_CONTROL = re.compile(r"\[(/?[A-Z_]+)\]")
_FENCED = re.compile(r"```(?:json)?(.*)```", re.DOTALL)
Json = Mapping[str, object]
T = TypeVar("T")


class BadAnswerError(Exception):
    """An answer that is not what was asked for."""


class RefusedError(Exception):
    """The server refused a request, and would refuse the same request again."""


class MissingError(Exception):
    """A question got no valid answer, however often it was asked."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """A prompt, and how its answer is read.

    Attributes
    ----------
    prompt : str
    schema : mapping
        JSON schema of the answer, for servers that can constrain a model to one.
    read : callable
        Turns the answer's JSON object into the result; raises `BadAnswerError` if the object is not as asked for.
    temperature : float
    seed : int
    """

    prompt: str
    schema: Json
    read: Callable[[Json], T]
    temperature: float = 0.0
    seed: int = 0


class ChatServer:
    """One model on a server that answers `POST {base_url}/chat/completions`: vLLM, llama.cpp, Ollama, a hosted one.

    A request is sent again after a time-out, a broken connection, 429 or 5xx; the pause before it doubles each time,
    with jitter, and is at least what the server's Retry-After asks for. A question whose answer is not a JSON object of
    the wanted form is asked again, up to `ASKS` times. The key is read from OPENAI_API_KEY only, sent to this server
    only, and never logged, stored or shown.

    Parameters
    ----------
    model : str
        The server's name for the model.
    base_url : str, optional
        Such as `http://localhost:8000/v1`; by default the value of OPENAI_BASE_URL.
    concurrency : int
        The most requests at a time.
    timeout : float
        The most seconds from a request to the end of its answer.
    first_pause : float
        Seconds before a request is sent for the second time.

    Raises
    ------
    LiraError
        If there is no URL or it is not valid, if the key has characters that no header can hold, or if `concurrency`
        or `timeout` is not positive or too large.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        concurrency: int = 8,
        timeout: float = 120.0,
        first_pause: float = 0.5,
    ) -> None:
        check_limits(concurrency=concurrency, timeout=timeout)
        self.model, self.concurrency, self.timeout, self.first_pause = model, concurrency, timeout, first_pause
        self.base_url = _checked_url(base_url or os.environ.get(URL_VARIABLE, ""))
        self._key = _checked_key(os.environ.get(KEY_VARIABLE, "").strip())
        self._secret = _pattern_of(self._key)
        self._warn_of_plain_key()
        self._poster = Poster({"Authorization": f"Bearer {self._key}"} if self._key else {}, timeout, concurrency)
        self._left_out: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def _warn_of_plain_key(self) -> None:
        url = httpx.URL(self.base_url)
        if self._key and url.scheme == "http" and not _is_this_machine(url.host):
            logger.warning(
                "server %s: the key in %s is sent unencrypted, for anyone on the way to read: use https",
                self.base_url,
                KEY_VARIABLE,
            )

    def ask(self, questions: Sequence[Question[T]]) -> Iterator[list[tuple[int, T]]]:
        """Yield batches of (index of the question, what was read from its answer) as answers arrive.

        A question that gets no valid answer is left out; a warning at the end says how many were.

        Raises
        ------
        LiraError
            If the server cannot be reached, refuses the key, does not know the model, or leaves many questions in a
            row, or all of them, without an answer.
        """
        valid, in_a_row, missing = 0, 0, 0
        problem: MissingError | None = None
        for batch in as_finished(lambda number: self._try(questions[number]), len(questions), self.concurrency):
            answers: list[tuple[int, T]] = []
            for number, result in batch:
                if isinstance(result, MissingError):
                    problem, in_a_row, missing = result, in_a_row + 1, missing + 1
                else:
                    answers.append((number, result))
                    in_a_row = 0
            valid += len(answers)
            if answers:
                yield answers
            if problem is not None and in_a_row >= max(IN_A_ROW, 2 * self.concurrency):
                self._fail(f"{in_a_row} questions in a row have no valid answer, at last: {problem}")
        if problem is not None and not valid:
            self._fail(f"gave no valid answer to any of {missing} questions, at last: {problem}", NoAnswerError)
        if problem is not None:
            logger.warning(
                "server %s: %d of %d questions have no valid answer, the last because %s; run again to ask them again",
                self.base_url,
                missing,
                len(questions),
                problem,
            )

    def _try(self, question: Question[T]) -> T | MissingError:
        problem = ""
        for ask in range(ASKS):
            try:
                answer = read_object(self._complete(question, ask))
                self._refuse_secret(json.dumps(answer, ensure_ascii=False))
                return question.read(answer)
            except BadAnswerError as error:
                problem = str(error)
            except (MissingError, RefusedError) as error:
                return MissingError(str(error))
        return MissingError(problem)

    def _refuse_secret(self, text: str) -> None:
        """Raise BadAnswerError if an answer contains the key, which must not get into a store or a log."""
        if self._secret is not None and self._secret.search(text):
            raise BadAnswerError(f"the answer holds the key in {KEY_VARIABLE}, and is not kept")

    def _redacted(self, text: str) -> str:
        return self._secret.sub("...", text) if self._secret is not None else text

    def _complete(self, question: Question[T], ask: int) -> str:
        """Return the text of an answer; fields that this server refuses are left out of the request."""
        body: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": question.prompt}],
            "stream": False,
            "temperature": max(question.temperature, ASKING_AGAIN) if ask else question.temperature,
            "seed": question.seed + ask,
            "max_tokens": MAX_TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": question.schema},
            },
        }
        left_out = self._left_out
        while True:
            try:
                answer = self._post({name: value for name, value in body.items() if name not in left_out})
            except RefusedError:
                more = [names for names in OPTIONAL if len(names) > len(left_out)]
                if not more:
                    raise
                left_out = more[0]
                continue
            self._remember(left_out)
            return _content(answer)

    def _remember(self, left_out: tuple[str, ...]) -> None:
        with self._lock:
            if len(left_out) > len(self._left_out):
                self._left_out = left_out
                logger.warning("server %s does not take %s: asking without", self.base_url, ", ".join(left_out))

    def _post(self, body: Json) -> object:
        """Send a request, up to `ATTEMPTS` times, and return the decoded JSON of a reply with status 200.

        Raises
        ------
        LiraError
            If the server cannot be reached, refuses the key, or does not know the URL or the model.
        RefusedError
            If the server refuses this request, so that another form of it may be tried.
        MissingError
            If all attempts failed.
        BadAnswerError
            If the reply is not JSON, or contains the key.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            pause = self.first_pause * 2**attempt * random.uniform(0.5, 1.0)
            reached = False
            try:
                reply = self._poster.post(f"{self.base_url}/chat/completions", body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = f"cannot be reached: {self._line(str(error)) or type(error).__name__}"
            except httpx.TimeoutException:
                problem, reached = f"gave no answer within {self.timeout:g} s", True
            except httpx.RequestError as error:
                problem, reached = f"broke off: {self._line(str(error)) or type(error).__name__}", True
            else:
                if reply.status == 200:
                    return self._json(reply.content)
                problem, reached = f"answered {reply.status}: {self._reason(reply.content)}", reply.status != 429
                self._refuse(reply.status, reply.content, problem)
                pause = max(pause, self._wait(reply.headers.get("retry-after", "")))
            if attempt + 1 < ATTEMPTS:
                logger.debug("server %s %s; trying again in %.1f s", self.base_url, problem, pause)
                time.sleep(pause)
        if not reached:
            self._fail(f"{problem} ({ATTEMPTS} times)")
        raise MissingError(f"{problem} ({ATTEMPTS} times)")

    def _refuse(self, status: int, content: bytes, problem: str) -> None:
        """Raise LiraError or RefusedError for a status after which the same request would fail again."""
        if status in (401, 403):
            # The server's reason is not quoted: it may contain a part of the key.
            self._fail(f"answered {status}: " + (f"it refuses the key in {KEY_VARIABLE}" if self._key else NO_KEY))
        if status in (404, 405):
            self._fail(f"{problem}; check the base URL, most end in /v1, and the model's name, {self.model!r}")
        if 300 <= status < 400:
            self._fail(f"answered {status}, a redirection: give the URL that it leads to")
        # Some servers answer 500 if they do not know `response_format`.
        if status not in BUSY and (status < 500 or b"response_format" in content):
            raise RefusedError(problem)

    def _wait(self, retry_after: str) -> float:
        """Return the seconds that a Retry-After header, a number or a date, asks for; 0 if it is missing or invalid."""
        try:
            seconds = float(retry_after)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                return 0.0
        if seconds > LONGEST_PAUSE:
            self._fail(f"asks to wait for {seconds:.0f} s: run again then")
        return max(seconds, 0.0) if math.isfinite(seconds) else 0.0

    def _reason(self, content: bytes) -> str:
        """Return the reason that an error reply gives, as one short line without the key."""
        try:
            error = json.loads(content)
            error = error.get("error", error) if isinstance(error, dict) else error
            reason = str(error.get("message", error) if isinstance(error, dict) else error)
        except (ValueError, RecursionError):
            reason = content.decode("utf-8", "replace")
        return self._line(reason) or "no reason given"

    def _line(self, text: str) -> str:
        """Return a server's text as one short line without the key, which is removed before a cut could split it."""
        return _line(self._redacted(text))

    def _json(self, content: bytes) -> object:
        text = content.decode("utf-8", "replace")
        self._refuse_secret(text)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BadAnswerError(f"the server's answer is not JSON: {_line(text)!r}") from error
        self._refuse_secret(json.dumps(answer, ensure_ascii=False))
        return answer

    def _fail(self, problem: str, kind: type[LiraError] = LiraError) -> NoReturn:
        raise kind(self._redacted(f"server {self.base_url} {problem}; finished work is kept"))


NO_KEY = f"it wants a key: set {KEY_VARIABLE}"


def as_data(fields: Mapping[str, str]) -> str:
    """Return untrusted texts as one line of JSON, which no text can break out of.

    JSON's quotes delimit each text, the line end delimits the whole; anything that a chat template or a tokenizer could
    take for a control token is broken up. Texts longer than `MAX_TEXT_CHARACTERS` are cut.
    """
    clean = {name: _CONTROL.sub(r"[ \1 ]", harmless(text)[:MAX_TEXT_CHARACTERS]) for name, text in fields.items()}
    return json.dumps(clean, ensure_ascii=False)


def read_object(content: str) -> Json:
    """Parse an answer that is a JSON object, alone or in one code fence.

    The object is not searched for among other words: these may quote the untrusted text, which may contain an object.

    Raises
    ------
    BadAnswerError
        If the answer is not one JSON object, or a key occurs in it twice.
    """
    answer = content.rpartition("</think>")[2].strip()
    fenced = _FENCED.fullmatch(answer)
    try:
        value = json.loads(fenced[1] if fenced else answer, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"the answer is not JSON: {_line(content)!r}") from error
    if not isinstance(value, dict):
        raise BadAnswerError(f"the answer is no JSON object: {_line(content)!r}")
    return value


def require_keys(answer: Json, keys: Sequence[str]) -> None:
    """Raise BadAnswerError if the keys of an answer are not exactly these."""
    if set(answer) != set(keys):
        raise BadAnswerError(f"the answer has the keys {_line(', '.join(answer))!r}, not {', '.join(keys)!r}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError("a key stands twice")
    return named


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _content(answer: object) -> str:
    try:
        choice = answer["choices"][0]  # type: ignore[index]
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise BadAnswerError(f"the server's answer holds no message: {_line(json.dumps(answer))!r}") from error
    if choice.get("finish_reason") == "length":
        raise BadAnswerError(f"the answer was cut off at {MAX_TOKENS} tokens")
    if not isinstance(content, str):
        raise BadAnswerError("the answer holds no text")
    return content


def _line(text: str) -> str:
    return one_line(text[: 2 * MAX_REASON_CHARACTERS])[:MAX_REASON_CHARACTERS]


def _checked_url(url: str) -> str:
    if not url:
        raise LiraError(f"no server: give its base URL, such as http://localhost:8000/v1, or set {URL_VARIABLE}")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise LiraError(f"the server's URL is none: {error}") from error
    if parsed.userinfo:
        raise LiraError(f"the server's URL must hold no user name or password: the key goes into {KEY_VARIABLE}")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise LiraError(f"server {url!r} is no base URL, such as http://localhost:8000/v1")
    return url.rstrip("/")


def _checked_key(key: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise LiraError(f"{KEY_VARIABLE} holds characters that no key has: set it again")
    return key


def _pattern_of(key: str) -> re.Pattern[str] | None:
    """Return a pattern that matches the key in plain text and in JSON; None for a placeholder or no key."""
    if len(key) < SHORTEST_SECRET:
        return None
    forms = {key, json.dumps(key)[1:-1]}
    return re.compile("|".join(map(re.escape, forms)), re.IGNORECASE)


def _is_this_machine(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
