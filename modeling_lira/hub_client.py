"""Talk to a Hub: patient with a server that is busy, one clear error for everything else."""

import time
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub import constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from .errors import LiraError

Result = TypeVar("Result")
ATTEMPTS = 5
LONGEST_WAIT = 30.0
BUSY = (408, 429, 500, 502, 503, 504)
_FAILED: tuple[type[Exception], ...] = (
    next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError"),
    ConnectionError,
)
"""What a failed request raises; which HTTP library the Hub client uses differs by version."""
_CAUGHT: tuple[type[Exception], ...] = (*_FAILED, RuntimeError)


def require_token() -> None:
    """Refuse to go on without a token.

    Raises
    ------
    LiraError
        Neither `hf auth login` nor HF_TOKEN gave one.

    Source: ours.
    """
    if get_token() is None:
        raise LiraError(f"no token for {constants.ENDPOINT}: run `hf auth login` or set HF_TOKEN")


def on_hub(what: str, action: Callable[[], Result]) -> Result:
    """Do something on the Hub, again if the server is busy or the connection breaks.

    The Hub client itself repeats reads and uploads of large files, but neither making a repository nor a commit.

    Parameters
    ----------
    what : str
        Said in an error after "refused to": "publish org/name".
    action : callable
        Safe to repeat.

    Raises
    ------
    LiraError
        A name that is none, a request that the Hub refuses, or no connection, after `ATTEMPTS` attempts.

    Source: ours.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except HFValidationError as error:
            raise LiraError(f"cannot {what}: {str(error).splitlines()[0]}") from error
        except _CAUGHT as error:
            failure = error if isinstance(error, _FAILED) else error.__cause__  # the client wraps failed uploads
            if not isinstance(failure, _FAILED):
                raise
            if attempt == ATTEMPTS or not _may_pass(failure):
                raise LiraError(_said(what, failure)) from error
            time.sleep(min(_wait(failure, attempt), LONGEST_WAIT))
    raise AssertionError("the last attempt returns or raises")


def _may_pass(failure: BaseException) -> bool:
    """Tell a busy server or a broken connection from a refusal."""
    return not isinstance(failure, HfHubHTTPError) or failure.response.status_code in BUSY


def _said(what: str, failure: BaseException) -> str:
    """Return the failure in one line, without the request and its headers."""
    if not isinstance(failure, HfHubHTTPError):
        return f"cannot reach {constants.ENDPOINT}: {failure or type(failure).__name__}"
    response = failure.response
    reason = f"{response.status_code} {failure.server_message or response.reason_phrase}".strip()
    return f"{constants.ENDPOINT} refused to {what}: {reason}"


def _wait(failure: BaseException, attempt: int) -> float:
    """Return the seconds that the server asks for, or else twice as many each time."""
    asked = failure.response.headers.get("Retry-After", "") if isinstance(failure, HfHubHTTPError) else ""
    return float(asked) if asked.isdecimal() else 2.0 ** (attempt - 1)
