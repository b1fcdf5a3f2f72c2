"""`torch.export` gives one graph for any number of texts and any length."""

import itertools

import pytest
import torch
from conftest import SHAPES, disturb
from torch import Tensor
from torch.export import Dim

from modeling_lira import LiraModel

TEXTS = ["white shirt", "áo sơ mi trắng cho bé trai", "ซื้อเสื้อ", "harga ponsel bekas murah", "puting polo"]
CANDIDATES = [["shirt", "a white shirt"], ["white shirt for boys", "shirt"], ["buy"], [], ["a", "polo shirt"]]
SCORES = [[[9, 8, 7], [3, 2, 1]], [[1, 1, 1], [9, 9, 9]], [[5, 5, 5]], [], []]
BATCH, LENGTH, ENGLISH_LENGTH = Dim("batch", max=64), Dim("length", max=60), Dim("english_length", max=60)
SHAPE = {
    "input_ids": {0: BATCH, 1: LENGTH},
    "attention_mask": {0: BATCH, 1: LENGTH},
    "language_ids": {0: BATCH},
    "english_input_ids": {0: BATCH, 2: ENGLISH_LENGTH},
    "english_attention_mask": {0: BATCH, 2: ENGLISH_LENGTH},
    "candidate_mask": {0: BATCH},
    "critic_scores": {0: BATCH},
}


def batch(model: LiraModel, rows: slice, kind: str, candidates: bool) -> dict[str, Tensor]:
    given = (CANDIDATES[rows], SCORES[rows]) if candidates else (None, None)
    return dict(model.processor(TEXTS[rows], given[0], "vi", kind, given[1]))


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("candidates", [False, True])
def test_one_graph_for_any_batch_and_length_of_queries_and_documents(build_model, name, candidates):
    model = disturb(build_model(name, name, anchor_texts=TEXTS, document_prefix="passage: ")).eval()
    example = batch(model, slice(1, 4), "query", candidates)
    shapes = {name: SHAPE[name] for name in example}
    with torch.no_grad():
        exported = torch.export.export(model, (), example, dynamic_shapes=shapes).module()
        for rows, kind in itertools.product((slice(0, 1), slice(0, 2), slice(0, 5)), ("query", "document")):
            inputs = batch(model, rows, kind, candidates)
            expected = model(**inputs).sentence_embedding
            torch.testing.assert_close(exported(**inputs).sentence_embedding, expected, atol=1e-6, rtol=0)
