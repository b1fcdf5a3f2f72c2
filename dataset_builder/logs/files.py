"""The files of a log: names, globs, and addresses of a Hub."""

from collections.abc import Sequence
from functools import partial
from glob import glob
from pathlib import Path

from huggingface_hub import HfFileSystem, hf_hub_download
from huggingface_hub.hf_file_system import HfFileSystemResolvedPath, HfFileSystemResolvedRepositoryPath

from modeling_lira.errors import LiraError
from modeling_lira.files.hub_client import on_hub

HUB = "hf://"


def log_files(inputs: Sequence[str | Path]) -> list[Path]:
    """Return the files of a log, each once, those of a pattern in the order of their names.

    Parameters
    ----------
    inputs : sequence of str or Path
        Files, patterns such as `logs/**/*.csv.gz`, and both on a Hub: `hf://datasets/my-org/logs/2026-*.parquet`.
        What is on a Hub is downloaded into its cache.

    Raises
    ------
    LiraError
        If there is no such file, or the Hub cannot be reached.
    """
    files: list[Path] = []
    for given in map(str, inputs):
        matched = on_hub(f"read {given}", partial(_on_hub, given)) if given.startswith(HUB) else _on_disk(given)
        if not matched:
            raise LiraError(f"no input file {given!r}")
        files += matched
    return list(dict.fromkeys(files))


def _on_disk(given: str) -> list[Path]:
    if Path(given).exists():
        return [Path(given)]
    names = sorted(glob(given, recursive=True))  # noqa: PTH207 (that of Path matches hidden files as well)
    return [path for path in map(Path, names) if path.is_file()]


def _on_hub(given: str) -> list[Path]:
    hub = HfFileSystem()
    try:
        return [_downloaded(hub.resolve_path(name)) for name in sorted(hub.glob(given))]
    except FileNotFoundError as error:
        raise LiraError(f"cannot read {given}: {str(error).splitlines()[0]}") from error


def _downloaded(file: HfFileSystemResolvedPath) -> Path:
    if not isinstance(file, HfFileSystemResolvedRepositoryPath):
        raise LiraError(f"{HUB}{file} is in no repository: only those of datasets and models are read")
    return Path(hf_hub_download(file.repo_id, file.path_in_repo, repo_type=file.repo_type, revision=file.revision))
