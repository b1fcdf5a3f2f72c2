"""Autocast, half precision of a part or of the whole, another default dtype: float32 embeddings as before."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, disturb
from torch import Tensor
from torch.nn import functional as F

from modeling_lira import LiraModel

TEXTS = list(MULTILINGUAL_TEXTS)
CODES = [code for code in ("vi", "th", "id", "ms", "ur", "bn", "fil", "en") for _ in range(2)]
CANDIDATES = [[f"white shirt {row}", "phone", "old rice"][: row % 4] for row in range(len(TEXTS))]
SCORES = [[[1 + row % 9, 3, 10 - column] for column in range(len(names))] for row, names in enumerate(CANDIDATES)]
HALVES = (torch.bfloat16, torch.float16)


def embeddings(model: LiraModel) -> list[Tensor]:
    """With and without candidates, both kinds, by texts and by tensors."""
    batch = dict(model.processor(TEXTS, CANDIDATES, CODES, critic_scores=SCORES))
    streams = model.streams(
        *(batch[f"{path}{name}"] for path in ("", "english_") for name in ("input_ids", "attention_mask"))
    )
    rest = {name: batch[name] for name in ("candidate_mask", "critic_scores", "language_ids")}
    return [
        model.encode_query(TEXTS, CODES),
        model.encode_query(TEXTS, CODES, CANDIDATES, SCORES),
        model.encode_document(TEXTS, CODES, CANDIDATES),
        model(**batch).sentence_embedding,
        model.fuse(*streams, **rest).sentence_embedding,
    ]


def check(computed: list[Tensor], expected: list[Tensor]) -> None:
    for rows, exact in zip(computed, expected, strict=True):
        assert rows.dtype == torch.float32 and rows.shape == exact.shape
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(len(TEXTS), dtype=torch.float32))
        assert F.cosine_similarity(rows, exact).min() >= 0.999


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("names", [("xlm-roberta", "bert"), ("mpnet", "modernbert")])
def test_autocast(build_model, names, dtype):
    model = disturb(build_model(*names, anchor_texts=TEXTS))
    expected = embeddings(model)
    with torch.autocast("cpu", dtype):
        check(embeddings(model), expected)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [*HALVES, torch.float64])
@pytest.mark.parametrize(
    "part", ["", "multilingual_encoder", "english_encoder", "arca", "lasr"], ids=lambda part: part or "whole"
)
def test_another_precision_of_a_part_or_of_the_whole(trained_model, part, dtype):
    expected = embeddings(trained_model)
    trained_model.get_submodule(part).to(dtype)
    check(embeddings(trained_model), expected)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, *HALVES])
def test_default_dtype_while_encoding(trained_model, dtype):
    expected = embeddings(trained_model)
    with default_dtype(dtype):
        check(embeddings(trained_model), expected)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("hidden_size", [None, 16])
def test_default_dtype_while_building_and_loading(build_model, tmp_path, hidden_size, dtype):
    expected = embeddings(build_model(hidden_size=hidden_size))
    with default_dtype(dtype):
        model = build_model(hidden_size=hidden_size)
        model.save_pretrained(tmp_path)
        loaded = LiraModel.from_pretrained(tmp_path)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        check(embeddings(model), expected)
        check(embeddings(loaded), expected)


def test_a_training_step_under_autocast(trained_model):
    model = trained_model.train()
    batch = dict(model.processor(TEXTS, CANDIDATES, CODES, critic_scores=SCORES))
    target = torch.randn(model.config.embedding_size, generator=torch.Generator().manual_seed(3))
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = (model(**batch).sentence_embedding @ target).float().pow(2).mean()
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert gradients[1].dtype == torch.float32
    assert F.cosine_similarity(*gradients, dim=0) > 0.99
