"""nDCG@10 of a model on cached streams."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modeling_lira.metrics import ndcg
from modeling_lira.modeling_lira import LiraModel

from .data import StreamSplit, StreamTable

_BATCH = 512


@torch.inference_mode()
def embed_table(model: LiraModel, table: StreamTable, with_english: bool = True) -> Tensor:
    """Embed every row of a table, [N, D]; without English the translation-free path runs."""
    parts = []
    for rows in torch.arange(len(table)).split(_BATCH):
        batch = table.batch(rows.numpy())
        if not with_english:
            batch = {name: batch[name] for name in ("multilingual_states", "language_ids")}
        parts.append(model.fuse(**batch)["sentence_embedding"])
    return torch.cat(parts)


def retrieval_ndcg(
    model: LiraModel, split: StreamSplit, *, english_titles: bool = True, with_candidates: bool = True, k: int = 10
) -> Tensor:
    """Return nDCG@k [Q] of each query against all documents of its split.

    Parameters
    ----------
    model : LiraModel
    split : StreamSplit
    english_titles : bool
        Search the English titles; else the local ones, translation-free.
    with_candidates : bool
        Let the queries use their translations.
    k : int
    """
    model.eval()
    queries = embed_table(model, split.queries, with_candidates)
    documents = embed_table(model, split.english if english_titles else split.local, english_titles)
    return ndcg(queries @ documents.T, split.split.gain_matrix(), k)


def validation_scores(model: LiraModel, splits: Sequence[StreamSplit]) -> dict[str, float]:
    """Return the mean over languages of nDCG@10 in the four ways a shop may search, and their mean."""
    ways = {
        "english_titles": (True, True),
        "english_titles_without_translations": (True, False),
        "local_titles": (False, True),
        "local_titles_without_translations": (False, False),
    }
    scores = {}
    for name, (english, candidates) in ways.items():
        means = [
            retrieval_ndcg(model, split, english_titles=english, with_candidates=candidates).nanmean()
            for split in splits
        ]
        scores[name] = float(torch.stack(means).mean())
    return {
        "ndcg@10": sum(scores.values()) / len(scores),
        **{f"ndcg@10_{name}": value for name, value in scores.items()},
    }
