"""The tokens that an answer can come from."""

import numpy as np
import pytest
import torch
from tiny_agents import make_model
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_lira.agents.batching import encode
from modeling_lira.agents.prompts import (
    EXAMPLES,
)
from modeling_lira.agents.vocabulary import OutputHead, Vocabulary, stop_tokens


def test_english_tokens_are_all_printable_ascii_ones(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = Vocabulary(tokenizer).english().tolist()
    wanted = [
        index
        for index in range(3, len(tokenizer))
        if (piece := str(tokenizer.decode([index]))).isascii() and piece.isprintable() and not set("<>") & set(piece)
    ]
    assert tokens == wanted
    assert {tokenizer.decode([index]) for index in tokens} >= set("0123456789abcXYZ '.")


def test_english_words_are_whole_however_rare_their_tokens(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeling_lira.agents.vocabulary.ENGLISH_PIECES", 60)
    tokens = set(Vocabulary(tokenizer).english().tolist())
    assert tokens >= {*encode(tokenizer, "Wireless bluetooth earphones"), *encode(tokenizer, " stainless steel")}
    assert tokens.isdisjoint(encode(tokenizer, "ก"))
    assert len(tokens) < len(tokenizer) - 100


def test_a_languages_tokens_cover_its_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = Vocabulary(tokenizer)
    for language, texts in EXAMPLES.items():
        known = set(vocabulary.of_language(language).tolist())
        used = [index for text in texts for index in encode(tokenizer, text)]
        assert np.mean([index in known for index in used]) > 0.9, language


def test_answers_end_at_line_ends_and_end_of_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    stops = stop_tokens(model, tokenizer, Vocabulary(tokenizer)).tolist()
    assert tokenizer.eos_token_id in stops
    assert encode(tokenizer, "\n")[0] in stops
    assert encode(tokenizer, " a")[-1] not in stops


@pytest.mark.parametrize("kind", ["gemma3", "gemma2"])
def test_head_agrees_with_the_whole_output_layer(kind: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_model(tokenizer, kind)
    tokens = torch.arange(10, 200, 3)
    head = OutputHead(model, tokens)
    ids = torch.tensor([[5, 40, 70, 11, 13]])
    hidden = model.get_decoder()(input_ids=ids).last_hidden_state[0].detach()
    logits = model(ids).logits[0].detach()
    best, chosen = head.top(hidden, 7)
    wanted, order = logits[:, tokens].sort(descending=True)
    torch.testing.assert_close(best, wanted[:, :7], atol=1e-4, rtol=1e-4)
    assert torch.equal(chosen, tokens[order[:, :7]])
    inside = head.log_probability(hidden, torch.tensor([10, 13, 16, 10, 10]))
    among = logits[:, tokens].log_softmax(-1)
    torch.testing.assert_close(inside, among[torch.arange(5), [0, 1, 2, 0, 0]], atol=1e-4, rtol=1e-4)
    outside = head.log_probability(hidden[:1], torch.tensor([11]))  # not among the tokens: joins them
    wanted = logits[0, [11, *tokens.tolist()]].log_softmax(-1)[0]
    torch.testing.assert_close(outside[0], wanted, atol=1e-4, rtol=1e-4)
