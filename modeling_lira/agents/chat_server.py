"""Ask any OpenAI-compatible server: many questions at once, patiently, and believe nothing unchecked."""

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
from .concurrency import as_finished
from .text import harmless, one_line

logger = logging.getLogger(__name__)

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"

ATTEMPTS = 6
LONGEST_PAUSE = 120.0
"""Seconds; a server that asks for more is taken to be closed."""
ASKS = 3
"""How often a question is put before its answer counts as missing."""
ASKING_AGAIN = 0.7
"""Temperature of the second and third time: at 0 the answer would be the same."""
IN_A_ROW = 16
"""So many questions in a row without a valid answer, and it is not the questions."""
MAX_TOKENS = 2048
MAX_ANSWER_BYTES = 1_000_000
MAX_TEXT_CHARACTERS = 2000
MAX_REASON_CHARACTERS = 200

BUSY = (408, 409, 425, 429)
OPTIONAL = (("response_format",), ("response_format", "temperature", "seed", "max_tokens"))
"""What is left out, step by step, where a server refuses a request."""

_CONTROL = re.compile(r"\[(/?[A-Z_]+)\]")
_FENCED = re.compile(r"```(?:json)?(.*)```", re.DOTALL)
Json = Mapping[str, object]
T = TypeVar("T")


class BadAnswerError(Exception):
    """An answer that is not what was asked for."""


class RefusedError(Exception):
    """A request that the server understands and will not serve."""


class MissingError(Exception):
    """A question that is left without an answer; `served` if the server did answer, but not validly."""

    def __init__(self, problem: str, *, served: bool) -> None:
        super().__init__(problem)
        self.served = served


@dataclass(frozen=True)
class Question(Generic[T]):
    """What to ask and how to read the answer.

    Attributes
    ----------
    prompt : str
    schema : mapping
        JSON schema of the answer, for servers that hold a model to one.
    read : callable
        From the answer's JSON object to what is wanted; raises `BadAnswerError`.
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

    A request is tried again after a time-out, a broken connection, 429 or 5xx, waiting twice as long each time, with
    jitter, or as long as the server's Retry-After says. An answer that is no JSON object of the wanted form is asked
    for again, and then given up. The key is read from the environment alone, sent to this server alone, and shown
    nowhere.

    Parameters
    ----------
    model : str
        As the server calls it.
    base_url : str, optional
        Such as `http://localhost:8000/v1`; by default what OPENAI_BASE_URL says.
    concurrency : int
        Requests at a time.
    timeout : float
        Seconds that an answer may take.
    first_pause : float
        Seconds before a request is first tried again.

    Raises
    ------
    LiraError
        Without a URL, or with one that is none; with a key that no header can hold.

    Source: ours.
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
        if concurrency < 1 or timeout <= 0:
            raise LiraError(f"concurrency={concurrency}, timeout={timeout}: both must be positive")
        self.model, self.concurrency, self.timeout, self.first_pause = model, concurrency, timeout, first_pause
        self.base_url = _checked_url(base_url or os.environ.get(URL_VARIABLE, ""))
        self._key = _checked_key(os.environ.get(KEY_VARIABLE, "").strip())
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx.Limits(max_connections=concurrency),
        )
        self._left_out: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def ask(self, questions: Sequence[Question[T]]) -> Iterator[list[tuple[int, T]]]:
        """Yield batches of (index of the question, what was read from its answer) as they come.

        A question that gets no valid answer is left out, and a warning says how many were.

        Raises
        ------
        LiraError
            If the server cannot be reached, refuses the key, does not know the model, or leaves many questions in a
            row, or all of them, without an answer.
        """
        served, row, missing = False, 0, 0
        problem: MissingError | None = None
        for batch in as_finished(lambda place: self._try(questions[place]), len(questions), self.concurrency):
            found: list[tuple[int, T]] = []
            for place, result in batch:
                if isinstance(result, MissingError):
                    problem, row, missing, served = result, row + 1, missing + 1, served or result.served
                else:
                    found.append((place, result))
                    row, served = 0, True
            if found:
                yield found
            if problem is not None and row >= max(IN_A_ROW, 2 * self.concurrency):
                self._fail(f"{row} questions in a row have no valid answer, at last: {problem}")
        if problem is not None and not served:
            self._fail(str(problem))
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
                return question.read(read_object(self._complete(question, ask)))
            except BadAnswerError as error:
                problem = str(error)
            except MissingError as error:
                return error
            except RefusedError as error:
                return MissingError(str(error), served=False)
        return MissingError(problem, served=True)

    def _complete(self, question: Question[T], ask: int) -> str:
        """Return the text of an answer, leaving out what this server refuses to hear."""
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
        """Return the decoded body of a 200.

        Raises
        ------
        LiraError, RefusedError, MissingError, BadAnswerError
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            pause = self.first_pause * 2**attempt * random.uniform(0.5, 1.0)
            reached = False
            try:
                status, headers, content = self._send(body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = f"cannot be reached: {_line(str(error)) or type(error).__name__}"
            except httpx.TimeoutException:
                problem, reached = f"gave no answer within {self.timeout:g} s", True
            except httpx.RequestError as error:
                problem, reached = f"broke off: {_line(str(error)) or type(error).__name__}", True
            else:
                if status == 200:
                    return _json(content)
                problem, reached = f"answered {status}: {self._reason(content)}", status != 429
                self._refuse(status, content, problem)
                pause = max(pause, self._wait(headers.get("retry-after", "")))
            if attempt + 1 < ATTEMPTS:
                logger.debug("server %s %s; trying again in %.1f s", self.base_url, problem, pause)
                time.sleep(pause)
        if not reached:
            self._fail(f"{problem} ({ATTEMPTS} times)")
        raise MissingError(f"{problem} ({ATTEMPTS} times)", served=False)

    def _send(self, body: Json) -> tuple[int, httpx.Headers, bytes]:
        """Return status, headers and body, giving up on one that drips or does not end."""
        deadline = time.monotonic() + self.timeout
        content = bytearray()
        with self._client.stream("POST", f"{self.base_url}/chat/completions", json=body) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise httpx.ReadError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer drips")
            return response.status_code, response.headers, bytes(content)

    def _refuse(self, status: int, content: bytes, problem: str) -> None:
        """Raise unless trying again may help."""
        if status in (401, 403):
            # What the server says of a key may hold a part of it.
            self._fail(f"answered {status}: " + (f"it refuses the key in {KEY_VARIABLE}" if self._key else NO_KEY))
        if status in (404, 405):
            self._fail(f"{problem}; check the base URL, most end in /v1, and the model's name, {self.model!r}")
        if 300 <= status < 400:
            self._fail(f"answered {status}, a redirection: give the URL that it leads to")
        # Some servers call it an internal error that they do not know a form of answer.
        if status not in BUSY and (status < 500 or b"response_format" in content):
            raise RefusedError(problem)

    def _wait(self, retry_after: str) -> float:
        """Read a Retry-After header, seconds or a date; 0 if there is none that makes sense."""
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
        """Return what a server says of an error, on one line, short, and without the key."""
        try:
            error = json.loads(content)
            error = error.get("error", error) if isinstance(error, dict) else error
            said = str(error.get("message", error) if isinstance(error, dict) else error)
        except (ValueError, RecursionError):
            said = content.decode("utf-8", "replace")
        return _line(said.replace(self._key, "...") if self._key else said) or "no reason given"

    def _fail(self, problem: str) -> NoReturn:
        raise LiraError(f"server {self.base_url} {problem}; finished work is kept")


NO_KEY = f"it wants a key: set {KEY_VARIABLE}"


def as_data(fields: Mapping[str, str]) -> str:
    """Write untrusted texts as one line of JSON that no text can leave.

    JSON's quotes delimit a text, the line end delimits the whole; what a chat template or a tokenizer could take for a
    control token is broken up. Long texts are cut.

    Source: ours.
    """
    clean = {name: _CONTROL.sub(r"[ \1 ]", harmless(text)[:MAX_TEXT_CHARACTERS]) for name, text in fields.items()}
    return json.dumps(clean, ensure_ascii=False)


def read_object(content: str) -> Json:
    """Read the JSON object that an answer is, alone or in one code fence.

    It is not looked for amid other words: they may quote the untrusted text, and that may hold an object.

    Raises
    ------
    BadAnswerError
        If there is no such object, or a key stands in it twice.

    Source: ours.
    """
    answer = content.rpartition("</think>")[2].strip()
    fenced = _FENCED.fullmatch(answer)
    try:
        found = json.loads(fenced[1] if fenced else answer, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"the answer is not JSON: {_line(content)!r}") from error
    if not isinstance(found, dict):
        raise BadAnswerError(f"the answer is no JSON object: {_line(content)!r}")
    return found


def require_keys(answer: Json, keys: Sequence[str]) -> None:
    """Raise `BadAnswerError` unless an answer has these keys and no others."""
    if set(answer) != set(keys):
        raise BadAnswerError(f"the answer has the keys {_line(', '.join(answer))!r}, not {', '.join(keys)!r}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(
            f"the server's answer is not JSON: {_line(content.decode('utf-8', 'replace'))!r}"
        ) from error


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
