"""Log-likelihoods of one text after another."""

import pytest
import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_lira.agents.batching import encode, encode_beginning
from modeling_lira.agents.likelihood import NOTHING, LikelihoodModel, Row
from modeling_lira.agents.prompts import (
    LANGUAGE_NAMES,
    few_shot,
)
from modeling_lira.agents.vocabulary import Vocabulary


def test_log_likelihoods_agree_with_the_whole_prompt(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = [
        Row("vi", "red shirt", "áo đỏ", to_english=False),
        Row("vi", "áo đỏ", "red shirt", to_english=True),
        Row("vi", "áo đỏ", "a longer red shirt for men", to_english=True),
        Row("vi", NOTHING, "áo đỏ", to_english=False),
        Row("th", "red shirt", "เสื้อสีแดง", to_english=False),
        Row("th", "เสื้อสีแดง", "red shirt", to_english=True),
        Row("bn", "red shirt", "লাল শার্ট", to_english=False),
    ]
    results = LikelihoodModel(model, tokenizer, batch_size=4, max_tokens=50).log_likelihoods(rows)
    vocabulary = Vocabulary(tokenizer)
    for row, (value, count) in zip(rows, results, strict=True):
        label = "English" if row.to_english else LANGUAGE_NAMES[row.language]
        before = encode_beginning(tokenizer, few_shot(row.language, to_english=row.to_english), chat=False)
        before += encode(tokenizer, " " + row.condition) + encode(tokenizer, f"\n{label}:")
        target = encode(tokenizer, " " + row.target)
        logits = model(torch.tensor([before + target])).logits[0, len(before) - 1 : -1].detach()
        tokens = vocabulary.of_language("en" if row.to_english else row.language).tolist()
        wanted = sum(
            step[sorted({*tokens, index})].log_softmax(-1)[sorted({*tokens, index}).index(index)].item()
            for step, index in zip(logits, target, strict=True)
        )
        assert count == len(target)
        assert value == pytest.approx(wanted, rel=1e-3)


def test_long_texts_are_cut_before_their_likelihood(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    judge = LikelihoodModel(model, tokenizer, batch_size=4, max_tokens=6)
    beginning = "áo thun nam " * 20
    rows = [
        Row("vi", condition, beginning + end, to_english=False)
        for end in ("đỏ", "giày nữ size 38")
        for condition in ("shirt", "red " * 20 + "shoes", "red " * 20)
    ]
    results = judge.log_likelihoods(rows)
    assert [count for _, count in results] == [6] * 6  # of hundreds
    assert results[:3] == results[3:]  # what is cut off the target changes nothing
    assert results[1] == results[2] != results[0]  # nor what is cut off the condition
