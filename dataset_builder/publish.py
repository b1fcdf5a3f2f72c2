"""Publish a corpus folder: to a dataset repository on a Hub, or to another folder."""

import shutil
from pathlib import Path

from huggingface_hub import HfApi

from modeling_lira.errors import LiraError
from modeling_lira.files.hub_client import on_hub, require_token

from .layout import PARTS, TEXTS, check_complete
from .staging import staged

FILES = [*TEXTS, *(f"*-{part}/*.parquet" for part in PARTS)]
"""Patterns of the published files; shards of an earlier corpus in the repository are removed."""


def publish_to_hub(folder: Path, repo: str, private: bool = False) -> str:
    """Upload a corpus folder in one commit; the token is the one that `hf auth login` or HF_TOKEN gave.

    Parameters
    ----------
    folder : Path
        A complete corpus folder.
    repo : str
        `organisation/name`; created if it does not exist.
    private : bool
        Whether a new repository is private.

    Returns
    -------
    str
        The commit's URL.

    Raises
    ------
    LiraError
        If the folder is incomplete, the name is not valid, there is no token or no right to write, or no connection.
    """
    check_complete(folder)
    require_token()
    api = HfApi()

    def publish() -> str:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=FILES,
            delete_patterns=FILES[len(TEXTS) :],
            commit_message="Publish the corpus",
        )
        return str(commit.commit_url)

    return on_hub(f"publish {repo}", publish)


def publish_to_folder(folder: Path, target: Path) -> None:
    """Copy a corpus folder to another folder, which appears only when it is complete.

    Raises
    ------
    LiraError
        If the corpus is incomplete, the two folders are the same, or the target holds something else than a corpus.
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
