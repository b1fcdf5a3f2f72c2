"""Talk to a Hub: patient with a server that is busy, one clear error for everything else."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TypeVar

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from ..errors import LiraError

Result = TypeVar("Result")
ATTEMPTS = 5
LONGEST_WAIT = 30.0
BUSY = (408, 429, 500, 502, 503, 504)
FAILED: tuple[type[Exception], ...] = (
    next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError"),
    ConnectionError,
)
"""What a failed request raises; which HTTP library the Hub client uses differs by version."""
_CAUGHT: tuple[type[Exception], ...] = (*FAILED, RuntimeError)


def require_token(token: str | bool | None = None) -> None:
    """Raise `LiraError` where there is no token, neither given here nor by `hf auth login` nor in HF_TOKEN."""
    if not isinstance(token, str) and get_token() is None:
        raise LiraError(f"no token for {constants.ENDPOINT}: run `hf auth login` or set HF_TOKEN")


def on_hub(what: str, action: Callable[[], Result], repeatable: bool = True) -> Result:
    """Do something on the Hub, again if the server is busy or the connection breaks.

    The Hub client itself repeats reads and uploads of large files, but neither making a repository nor a commit.

    Parameters
    ----------
    what : str
        Said in an error after "refused to": "publish org/name".
    action : callable
    repeatable : bool
        Whether the action may be done twice: with False it is repeated where the server said no, but not where its
        answer was lost.

    Raises
    ------
    LiraError
        A name that no repository can have, a request that the Hub refuses, or no connection, after `ATTEMPTS` attempts.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except HFValidationError as error:
            raise LiraError(f"cannot {what}: {str(error).splitlines()[0]}") from error
        except _CAUGHT as error:
            failure = error if isinstance(error, FAILED) else error.__cause__  # the client wraps failed uploads
            if not isinstance(failure, FAILED):
                raise
            unsure = not repeatable and not isinstance(failure, HfHubHTTPError)
            if attempt == ATTEMPTS or unsure or not _may_pass(failure):
                raise LiraError(_in_one_line(what, failure)) from error
            time.sleep(min(_wait(failure, attempt), LONGEST_WAIT))
    raise AssertionError("the last attempt returns or raises")


def _may_pass(failure: BaseException) -> bool:
    """Tell a busy server or a broken connection from a refusal."""
    return not isinstance(failure, HfHubHTTPError) or failure.response.status_code in BUSY


def _in_one_line(what: str, failure: BaseException) -> str:
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


STALE = ("model*.safetensors", "model*.safetensors.index.json", "onnx/*/*", "openvino/*/*")
"""What a push removes from a repository where it is not part of the push: weights of another layout, old exports."""
_HARMLESS = re.compile(r"\.gitattributes|\.gitignore|README\.md|LICENSE.*|NOTICE.*", re.IGNORECASE)
Content = Path | bytes
CONFIG = {"model": "config.json", "space": "model/config.json"}
"""Where a repository of each kind has its model's config."""


def push_files(
    files: Mapping[str, Content],
    repo: str,
    *,
    message: str = "Upload model",
    description: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    kind: str = "model",
) -> CommitInfo:
    """Put a model's files, or those of a Space that shows one, into a repository, all in one commit or none.

    Large files are sent first, one by one; those that have arrived are not sent again, after an interruption neither.

    Parameters
    ----------
    files : mapping
        Path in the repository -> file or bytes; with the model's config, `CONFIG[kind]`.
    repo : str
        `organisation/name`; made if it does not exist.
    message, description : str
        Of the commit.
    private : bool, optional
        Of a new repository.
    revision : str, optional
        Branch to commit to, made from main if it does not exist; by default main.
    create_pr : bool
        Open a pull request and leave main as it is.
    token : str, optional
        By default that of `hf auth login` or HF_TOKEN.
    kind : "model" or "space"
        Of the repository.

    Raises
    ------
    LiraError
        No token or right to write, no such name or connection, a repository that holds something else.
    """
    require_token(token)
    if create_pr and revision is not None:
        raise LiraError(f"a pull request goes to main: leave out either it or the revision {revision!r}")
    api, what = HfApi(token=token), f"push to {repo}"
    repo = on_hub(what, partial(_make, api, repo, private, revision, kind))
    held = on_hub(what, partial(api.list_repo_files, repo, revision=revision, repo_type=kind))
    if not create_pr:
        _check_same_kind(files[CONFIG[kind]], repo, held, revision, token, kind)

    def commit() -> CommitInfo:  # with new operations every time: the client marks those that it has used
        operations, about = _operations(files, held), (message, description)
        return _commit(api, repo, operations, about, kind, revision, create_pr)

    return on_hub(what, commit, repeatable=not create_pr)


def _make(api: HfApi, repo: str, private: bool | None, revision: str | None, kind: str) -> str:
    """Make a repository and a branch of it, where they do not exist; returns the repository's whole name."""
    sdk = "gradio" if kind == "space" else None
    made = api.create_repo(repo, private=private, exist_ok=True, repo_type=kind, space_sdk=sdk).repo_id
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(made, branch=revision, exist_ok=True, repo_type=kind)
    return made


def _commit(
    api: HfApi,
    repo: str,
    operations: Sequence[CommitOperationAdd | CommitOperationDelete],
    about: tuple[str, str | None],
    kind: str,
    revision: str | None,
    create_pr: bool,
) -> CommitInfo:
    return api.create_commit(
        repo,
        operations,
        commit_message=about[0],
        commit_description=about[1],
        repo_type=kind,
        revision=revision,
        create_pr=create_pr,
    )


def _operations(files: Mapping[str, Content], held: Sequence[str]) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Return what adds the files and deletes stale weights of those that the repository holds."""
    stale = [name for name in held if name not in files and any(fnmatch(name, pattern) for pattern in STALE)]
    added = (CommitOperationAdd(path, content) for path, content in sorted(files.items()))
    return [*added, *(CommitOperationDelete(name) for name in stale)]


def _check_same_kind(
    config: Content, repo: str, held: Sequence[str], revision: str | None, token: str | bool | None, kind: str
) -> None:
    """Raise `LiraError` where a repository holds a model of another type, or files but no model."""
    others = [name for name in held if not _HARMLESS.fullmatch(name)]
    if not others:
        return
    content = others[0]
    if CONFIG[kind] in others:
        read = partial(hf_hub_download, repo, CONFIG[kind], revision=revision, token=token, repo_type=kind)
        content = _model_type(Path(on_hub(f"read {repo}", read)))
        if content == _model_type(config):
            return
    raise LiraError(f"{repo} holds something else already ({content}): choose another name, or make a pull request")


def _model_type(config: Content) -> str:
    data = config if isinstance(config, bytes) else config.read_bytes()
    try:
        return str(json.loads(data)["model_type"])
    except (ValueError, KeyError, TypeError):
        return "config.json"
