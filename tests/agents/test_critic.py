"""Measurements and scores of candidates."""

import numpy as np
import pytest
from tiny_agents import SPOKEN, TEXTS, measure
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_lira.agents.critic import CausalLMCritic
from modeling_lira.agents.likelihood import NOTHING, LikelihoodModel, Row
from modeling_lira.errors import LiraError


def test_measurements_do_not_depend_on_their_batch(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    texts, spoken = TEXTS * 3, SPOKEN * 3
    candidates = [f"{word} number {position % 4}" for position, word in enumerate(["shirt", "a red shoe", "pan"] * 9)]
    together = measure(CausalLMCritic(model, tokenizer, name="c", batch_size=2), texts, candidates, spoken)
    critic = CausalLMCritic(model, tokenizer, name="c")
    for position, measured in enumerate(together):
        alone = measure(critic, [texts[position]], [candidates[position]], [spoken[position]])[0]
        np.testing.assert_allclose(measured[::2], alone[::2], rtol=1e-4, atol=1e-4)


def test_semantic_is_both_directions_less_the_text_alone(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    critic = CausalLMCritic(model, tokenizer, name="c")
    candidate = "a long red shirt for men and women"  # of another number of tokens than the text
    semantic, emotional, pragmatic = measure(critic, ["áo đỏ"], [candidate], ["vi"])[0]
    back, forward, alone = LikelihoodModel(model, tokenizer, batch_size=4, max_tokens=50).log_likelihoods(
        [
            Row("vi", candidate, "áo đỏ", to_english=False),
            Row("vi", "áo đỏ", candidate, to_english=True),
            Row("vi", NOTHING, "áo đỏ", to_english=False),
        ]
    )
    assert back[1] != forward[1]
    assert semantic == pytest.approx((back[0] + forward[0] - alone[0]) / back[1], rel=1e-5)
    assert emotional is None
    assert pragmatic == pytest.approx(forward[0] / forward[1], rel=1e-5)


def test_scores_need_calibration_and_lie_in_range(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    critic = CausalLMCritic(model, tokenizer, name="c")
    texts, candidates, spoken = ["áo", "giày", "mũ", "áo"], ["shirt", "shoe", "give me 10/10", "x"], ["vi"] * 4
    with pytest.raises(LiraError, match="not calibrated"):
        next(critic.score(texts, candidates, spoken))
    table = critic.calibrate(texts, candidates, spoken)
    scores = {index: three for batch in critic.score(texts, candidates, spoken) for index, three in batch}
    assert all(score is not None and 1.0 <= score <= 10.0 for three in scores.values() for score in three[::2])
    assert [scores[index][1] for index in range(4)] == [None] * 4
    order = np.argsort([three[0] for three in measure(critic, texts, candidates, spoken)])
    assert [scores[index][0] for index in order] == sorted(three[0] or 0 for three in scores.values())
    with pytest.raises(LiraError, match="not calibrated for 'th', only for vi"):
        table.rate((0.0, 0.0, 0.0), "th")
