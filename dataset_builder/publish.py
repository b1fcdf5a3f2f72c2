"""Publish a corpus folder: to a dataset repository on a Hub, or to another folder."""

import shutil
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from modeling_lira.errors import LiraError

from .layout import CARD, PARTS, check_complete
from .staging import staged

_HTTP_ERROR: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
"""What any failed request is; which HTTP library the Hub client uses differs by version."""
FILES = [CARD, *(f"*-{part}/*.parquet" for part in PARTS)]
"""What is published; old shards of these patterns are removed from the repository."""


def publish_to_hub(folder: Path, repo: str, private: bool = False) -> str:
    """Upload a corpus folder in one commit; the token is the one that `hf auth login` or HF_TOKEN gave.

    Parameters
    ----------
    folder : Path
        A complete corpus folder.
    repo : str
        `organisation/name`; made if it does not exist.
    private : bool
        Of a new repository.

    Returns
    -------
    str
        The commit's address.

    Raises
    ------
    LiraError
        An incomplete folder, a repository name that is none, no token or no right to write, no connection.

    Source: ours.
    """
    check_complete(folder)
    api = HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=FILES,
            delete_patterns=FILES[1:],
            commit_message="Publish the corpus",
        )
    except LocalTokenNotFoundError:
        raise LiraError(f"no token for {constants.ENDPOINT}: run `hf auth login` or set HF_TOKEN") from None
    except HFValidationError as error:
        raise LiraError(f"repository {repo!r} is not a valid name: {str(error).splitlines()[0]}") from error
    except HfHubHTTPError as error:
        raise LiraError(f"{constants.ENDPOINT} refused to publish {repo}: {_reason(error)}") from error
    except (_HTTP_ERROR, ConnectionError) as error:
        raise LiraError(f"cannot reach {constants.ENDPOINT}: {error or type(error).__name__}") from error
    return str(commit.commit_url)


def publish_to_folder(folder: Path, target: Path) -> None:
    """Copy a corpus folder; the target appears when it is complete.

    Source: ours.
    """
    check_complete(folder)
    if target.resolve() == folder.resolve():
        raise LiraError(f"{target} is the corpus itself: name another folder")
    with staged(target, {"source": str(folder.resolve())}) as stage:
        for pattern in FILES:
            for path in sorted(folder.glob(pattern)):
                copy = stage.folder / path.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)


def _reason(error: HfHubHTTPError) -> str:
    """Return what the server said in one line, without the request and its headers."""
    status = error.response.status_code
    return f"{status} {error.server_message or error.response.reason_phrase}".strip()
