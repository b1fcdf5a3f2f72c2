"""Any model of sentence-transformers, beside LiRA."""

from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedConfig

from modeling_lira.data.tables import SplitTables
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.comparison import check_finite
from modeling_lira.evaluation.embedded import Embedded
from modeling_lira.evaluation.scoring import ENGLISH_TITLES, LOCAL_TITLES, TRANSLATED_TITLES, System, Vectors
from modeling_lira.modeling_lira import LiraModel

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


def baseline(name: str) -> System:
    """Return a model of sentence-transformers as a row of a table; it reads no translation. Errors as in loading it."""
    model = load_sentence_transformer(name)

    def read(tables: SplitTables) -> Vectors:
        split = tables.split
        queries = _normalised(model.encode_query(split.queries.texts, convert_to_tensor=True))
        local, english = (
            _normalised(model.encode_document(titles, convert_to_tensor=True))
            for titles in (split.titles, split.english_titles)
        )
        both = {True: queries, False: queries}
        check_finite(Embedded(tables, both, {True: english, False: local}), name)
        return Vectors(both, {ENGLISH_TITLES: english, LOCAL_TITLES: local, TRANSLATED_TITLES: local})

    return System(read, with_candidates=False)


def _normalised(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors.float().cpu(), dim=-1)
