"""What a name stands for: a folder of this machine, or a repository on the Hub."""

from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from ..errors import LiraError, one_line
from . import home_expanded
from .hub_client import FAILED

ASKED = 10.0
"""Seconds that the Hub may take to say whether it has a repository."""
_NO_ANSWER: tuple[type[Exception], ...] = (*FAILED, OSError)


def check_source(what: str, name: str | Path, kind: str = "model") -> None:
    """Raise `LiraError` where a name is that of nothing, before a loader waits for a Hub that cannot give it.

    Parameters
    ----------
    what : str
        Said in an error before the name: "model".
    name : str or path
        Folder or Hub id.
    kind : "model" or "dataset"
        Of the repository.
    """
    if not is_here(what, name) and not _is_cached(str(name), kind):
        _ask_hub(what, str(name), kind)


def is_here(what: str, name: str | Path) -> bool:
    """Return whether a name is that of a folder here; raise `LiraError` for a file or a path that is not there."""
    folder = home_expanded(name)
    if folder.is_dir():
        return True
    if folder.exists():
        raise LiraError(f"{what} {str(name)!r} is a file: give a folder")
    if isinstance(name, Path) or _is_path(name, folder):
        raise no_folder(what, name)
    return False


def no_folder(what: str, name: str | Path) -> LiraError:
    """Return the error that says that a folder is not there, and which one of a similar name is."""
    folder = home_expanded(name)
    beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    near = [str(folder.with_name(match)) for match in get_close_matches(folder.name, beside, n=1)]
    return LiraError(f"{what} {str(name)!r}: there is no such folder" + "".join(f"; did you mean {n!r}?" for n in near))


def _is_path(name: str, folder: Path) -> bool:
    """Return whether a name can only be a path: no repository is called so, or it begins with a folder that is here."""
    if name.startswith((".", "~", "/")) or (folder.parent != Path() and folder.parent.is_dir()):
        return True
    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    return False


def _is_cached(name: str, kind: str) -> bool:
    return (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind)).is_dir()


def _ask_hub(what: str, name: str, kind: str) -> None:
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=ASKED)
    except GatedRepoError:
        return  # whoever loads it says what to accept
    except _NO_ANSWER as error:
        if isinstance(error, HfHubHTTPError) and not isinstance(error, RepositoryNotFoundError):
            return  # a busy server: whoever loads it is patient
        raise LiraError(
            f"{what} {name!r}: there is no such folder here, and no such {kind} on the Hub: {hub_reason(error)}"
        ) from error


def hub_reason(error: Exception) -> str:
    """Return why the Hub does not give a repository."""
    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError
        return "it is gated: accept its terms there, then run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository, or a private one and you are not logged in"
    if isinstance(error, RevisionNotFoundError):
        return "no such revision"
    reason = one_line(error).partition(". ")[0]
    is_answer = isinstance(error, HfHubHTTPError) or not isinstance(error, FAILED)
    return (
        reason if is_answer and not isinstance(error, LocalEntryNotFoundError) else f"it cannot be reached ({reason})"
    )
