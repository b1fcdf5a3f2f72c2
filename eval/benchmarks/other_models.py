"""Any model of sentence-transformers, beside LiRA."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from modeling_lira.backbones.resolution import PREFIX
from modeling_lira.backbones.text_encoder import TextEncoder
from modeling_lira.data.tables import SplitTables
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.comparison import Embedder, check_finite
from modeling_lira.evaluation.embedded import Embedded
from modeling_lira.evaluation.scoring import ENGLISH_TITLES, LOCAL_TITLES, TRANSLATED_TITLES, System, Vectors
from modeling_lira.modeling_lira import LiraModel

LONGEST = 512
"""Tokens of a text that an encoder reads which brings no settings of its own."""

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def is_lira(name: str) -> bool:
    """Return whether a folder or Hub id holds a model of LiRA; what has no config to say so is taken for one."""
    try:
        kind = PreTrainedConfig.get_config_dict(name)[0].get("model_type")
    except (OSError, ValueError):
        return True  # loading it says what is wrong
    return kind in (LiraModel.config_class.model_type, None)


def load_sentence_transformer(name: str) -> "SentenceTransformer":
    """Load a model of sentence-transformers, without running code that lies beside it.

    Raises
    ------
    LiraError
        Neither a folder nor a Hub id of such a model.
    """
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LiraError(f"{name!r} cannot be loaded by sentence-transformers: {reason}") from error


Encode = Callable[[Sequence[str]], Tensor]
"""Maps texts to unit vectors [N, d]."""


def embedder(name: str) -> Embedder:
    """Return how a model embeds a split; it reads no translation.

    Parameters
    ----------
    name : str
        Folder or Hub id of a model of sentence-transformers, or a `pypi:` name of an encoder.

    Raises
    ------
    LiraError
        None of them.
    """
    encode_query, encode_document = _of_package(name) if name.startswith(PREFIX) else _of_library(name)

    def embed(tables: SplitTables) -> Embedded:
        split = tables.split
        queries = encode_query(split.queries.texts)
        local, titles = encode_document(split.titles), split.searched_titles(True)
        english = local if titles == split.titles else encode_document(titles)
        return check_finite(Embedded(tables, {True: queries, False: queries}, {True: english, False: local}), name)

    return embed


def baseline(name: str) -> System:
    """Return a model of sentence-transformers as a row of a table. Errors as in loading it."""
    embed = embedder(name)

    def read(tables: SplitTables) -> Vectors:
        embedded = embed(tables)
        english, local = embedded.documents[True], embedded.documents[False]
        return Vectors(embedded.queries, {ENGLISH_TITLES: english, LOCAL_TITLES: local, TRANSLATED_TITLES: local})

    return System(read, with_candidates=False)


def _of_library(name: str) -> tuple[Encode, Encode]:
    model = load_sentence_transformer(name)

    def normalised(vectors: Tensor) -> Tensor:
        return torch.nn.functional.normalize(vectors.float().cpu(), dim=-1)

    return (
        lambda texts: normalised(model.encode_query(list(texts), convert_to_tensor=True)),
        lambda texts: normalised(model.encode_document(list(texts), convert_to_tensor=True)),
    )


def _of_package(name: str) -> tuple[Encode, Encode]:
    encoder = TextEncoder(name, max_tokens=LONGEST)

    def encode(prompt: str) -> Encode:
        return lambda texts: torch.from_numpy(encoder.encode([f"{prompt}{text}" for text in texts]))

    return encode(encoder.query_prompt), encode(encoder.document_prompt)
