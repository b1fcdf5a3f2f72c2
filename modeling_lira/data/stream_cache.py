"""Run each frozen backbone once on every text, and keep the streams on disk."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from torch import Tensor

from ..errors import LiraError
from ..faces.progress import Progress
from ..files import atomic_write_text
from ..frozen_backbone import weights_sketch
from ..modeling_lira import LiraModel
from ..processing_lira import normalise

logger = logging.getLogger(__name__)

_CHUNK = 1024
STATES, PROGRESS = "states.npy", "progress.json"


class StreamCache:
    """A folder of pooled backbone streams, memory-mapped float16; computing them can be interrupted and continued.

    Parameters
    ----------
    folder : path
        One sub-folder a set of texts; safe to delete at any time.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def get(self, model: LiraModel, texts: Sequence[str], path: str, kind: str = "query") -> np.ndarray:
        """Return the streams of `texts`, computing those that are not in the cache.

        Their key in the cache is made of the backbone's name and revision, its weights as they are, tuned or not, the
        texts in their order, and everything else that changes a stream: number of bins, pooling, prefix, length of the
        longest text.

        Parameters
        ----------
        model : LiraModel
        texts : sequence of str, N of them
        path : "multilingual" or "english"
        kind : "query" or "document"

        Returns
        -------
        ndarray, [N, S, H], float16, memory-mapped read-only

        Raises
        ------
        LiraError
            If a stream has numbers too large for float16.
        OSError
            If the disk has no room for all streams; nothing is computed then.
        """
        folder = self.folder / self._key(model, texts, path, kind)
        encoder = getattr(model.config, f"{path}_config")
        shape = (len(texts), model.config.num_feature_bins, encoder.hidden_size)
        if not texts:
            return np.zeros(shape, np.float16)
        if not self._is_whole(folder, shape):
            with self._writing(folder):
                self._compute(model, texts, path, kind, self._open(folder, shape))
        return np.load(folder / "states.npy", mmap_mode="r")

    def _compute(self, model: LiraModel, texts: Sequence[str], path: str, kind: str, states: np.memmap) -> None:
        """Fill in the streams that are missing, and write after each part how many are done."""
        folder = Path(str(states.filename)).parent
        done = self._done(folder)
        with Progress(total=len(texts), initial=done, desc=f"{path} encoder", unit="text") as bar:
            while done < len(texts):
                part = texts[done : done + _CHUNK]
                states[done : done + len(part)] = _half(model.encode_streams(part, path, kind))
                states.flush()
                done += len(part)
                atomic_write_text(folder / PROGRESS, json.dumps({"done": done}))
                bar.update(len(part))

    def _is_whole(self, folder: Path, shape: tuple[int, ...]) -> bool:
        return self._done(folder) >= shape[0] and _opened(folder / STATES, shape) is not None

    @staticmethod
    @contextmanager
    def _writing(folder: Path) -> Iterator[None]:
        """Lock a folder of streams; another process that needs the same ones waits and then reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("%s: another process is computing these streams: waiting for it", folder)
            lock.acquire()
        try:
            for left in folder.glob(f".{Path(PROGRESS).stem}.*"):  # of a killed process
                left.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    @staticmethod
    def _key(model: LiraModel, texts: Sequence[str], path: str, kind: str) -> str:
        processor = model.processor
        settings = {
            "backbone": getattr(model.config, f"{path}_backbone"),
            "revision": getattr(model.config, f"{path}_revision"),
            "weights": weights_sketch(model.get_submodule(f"{path}_encoder")),
            "bins": model.config.num_feature_bins,
            "prefix": getattr(processor, f"{'english_' if path == 'english' else ''}{kind}_prefix"),
            "max_length": processor.max_length,
        }
        if (pooling := getattr(model.config, f"{path}_pooling")) != "mean":  # streams of older versions keep their key
            settings["pooling"] = pooling
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for text in texts:
            digest.update(json.dumps(normalise(text)).encode())
        return f"{path}-{kind}-{digest.hexdigest()[:20]}"

    @staticmethod
    def _open(folder: Path, shape: tuple[int, ...]) -> np.memmap:
        path = folder / STATES
        if _opened(path, shape) is not None:
            return np.lib.format.open_memmap(path, mode="r+")
        (folder / PROGRESS).unlink(missing_ok=True)
        states = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        _reserve(path)
        return states

    @staticmethod
    def _done(folder: Path) -> int:
        try:
            return int(json.loads((folder / PROGRESS).read_text(encoding="utf-8"))["done"])
        except (OSError, ValueError, KeyError, TypeError):  # not there yet, or damaged: what it counts is made again
            return 0


def _opened(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """Open a file of streams for reading; None if it is missing, incomplete or of another shape."""
    try:
        states = np.load(path, mmap_mode="r")  # in mode "r+" a file that is too short would be filled up by zeros
    except (OSError, ValueError):
        return None
    return states if states.shape == shape and states.dtype == np.float16 else None


def _half(streams: Tensor) -> np.ndarray:
    half = streams.half()
    if not half.isfinite().all():
        raise LiraError(f"streams reach {streams.abs().max():g}, too large for float16: this backbone cannot be cached")
    return half.numpy()


def _reserve(path: Path) -> None:
    """Allocate the file's blocks on the disk now: writing to a mapped file on a full disk would kill the process."""
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    try:
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError:
        path.unlink()
        raise
