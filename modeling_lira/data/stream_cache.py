"""Run each frozen backbone once per text and keep the result on disk."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import LiraError
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..processing_lira import normalise

_CHUNK = 1024


class StreamCache:
    """A folder of pooled backbone streams: memory-mapped float16, made once, resumable chunk by chunk.

    Parameters
    ----------
    folder : path
        One sub-folder a set of texts; safe to delete at any time.

    Source: ours.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def get(self, model: LiraModel, texts: Sequence[str], path: str, kind: str = "query") -> np.ndarray:
        """Return the streams of `texts`, computing what is not there yet.

        They are found again by the backbone's name, revision and weights, the texts in their order, and whatever
        else changes a stream: number of bins, prefix, longest text.

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
            Streams too large for float16.
        OSError
            A disk without room for all streams, before the first is computed.

        Source: ours.
        """
        folder = self.folder / self._key(model, texts, path, kind)
        encoder = getattr(model.config, f"{path}_config")
        shape = (len(texts), model.config.num_feature_bins, encoder.hidden_size)
        if not texts:
            return np.zeros(shape, np.float16)
        states = self._open(folder, shape)
        done = self._done(folder)
        bar = tqdm(
            total=len(texts),
            initial=done,
            desc=f"{path} streams",
            unit="text",
            disable=None if done < len(texts) else True,
        )
        while done < len(texts):
            part = texts[done : done + _CHUNK]
            states[done : done + len(part)] = _half(model.encode_streams(part, path, kind))
            states.flush()
            done += len(part)
            atomic_write_text(folder / "progress.json", json.dumps({"done": done}))
            bar.update(len(part))
        bar.close()
        return np.load(folder / "states.npy", mmap_mode="r")

    @staticmethod
    def _key(model: LiraModel, texts: Sequence[str], path: str, kind: str) -> str:
        processor = model.processor
        settings = {
            "backbone": getattr(model.config, f"{path}_backbone"),
            "revision": getattr(model.config, f"{path}_revision"),
            "weights": _fingerprint(model.get_submodule(f"{path}_encoder")),
            "bins": model.config.num_feature_bins,
            "prefix": getattr(processor, f"{'english_' if path == 'english' else ''}{kind}_prefix"),
            "max_length": processor.max_length,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for text in texts:
            digest.update(json.dumps(normalise(text)).encode())
        return f"{path}-{kind}-{digest.hexdigest()[:20]}"

    @staticmethod
    def _open(folder: Path, shape: tuple[int, ...]) -> np.memmap:
        path = folder / "states.npy"
        try:
            found = np.load(path, mmap_mode="r")  # opened for writing, a file that is too short would grow by zeros
            if found.shape == shape and found.dtype == np.float16:
                return np.lib.format.open_memmap(path, mode="r+")
        except (OSError, ValueError):  # not there yet, or torn while it was created
            pass
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "progress.json").unlink(missing_ok=True)
        states = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        _reserve(path)
        return states

    @staticmethod
    def _done(folder: Path) -> int:
        path = folder / "progress.json"
        return int(json.loads(path.read_text())["done"]) if path.is_file() else 0


def _half(streams: Tensor) -> np.ndarray:
    half = streams.half()
    if not half.isfinite().all():
        raise LiraError(f"streams reach {streams.abs().max():g}, too large for float16: this backbone cannot be cached")
    return half.numpy()


def _fingerprint(encoder: nn.Module) -> str:
    """Digest a few numbers of every weight: two backbones of one name differ, and none is read in full."""
    digest = hashlib.sha256()
    for name, parameter in encoder.named_parameters():
        digest.update(name.encode() + parameter.detach().flatten()[:8].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _reserve(path: Path) -> None:
    """Take the file's room on the disk now: writing to a mapped file on a full disk would kill the process."""
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    try:
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError:
        path.unlink()
        raise
