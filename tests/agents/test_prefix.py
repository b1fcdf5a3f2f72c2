"""Rows that share the beginning of their prompt."""

import pytest
import torch
from tiny_agents import CONFIGS, make_model
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from modeling_lira.agents.prefix import PrefixedModel


@pytest.mark.parametrize("kind", sorted(CONFIGS))
@pytest.mark.parametrize("shared", [True, False])
def test_rows_after_a_prefix_read_as_whole_prompts(
    kind: str, shared: bool, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(tokenizer, kind)
    monkeypatch.setattr(type(model), "_supports_attention_backend", shared)
    prefixed = PrefixedModel(model)
    assert prefixed.shared is shared
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(3, len(tokenizer), (4, 60), generator=generator)
    prompts[:, :40] = prompts[0, :40]  # longer than the sliding window of 24
    wanted = model.get_decoder()(input_ids=prompts).last_hidden_state
    rows = prefixed.open(prefixed.read(prompts[0, :40].tolist()), 4)
    parts = [prefixed.advance(rows, prompts[:, 40:52])]
    rows.keep(torch.tensor([3, 3, 1, 1, 1, 1]))
    kept = prompts[[3, 3, 1, 1, 1, 1]]
    parts.append(prefixed.advance(rows, kept[:, 52:53]))
    parts.append(prefixed.advance(rows, kept[:, 53:]))
    torch.testing.assert_close(parts[0], wanted[:, 40:52], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat(parts[1:], 1), wanted[[3, 3, 1, 1, 1, 1], 52:], atol=2e-5, rtol=1e-4)


def test_the_callers_model_is_left_as_it_was(model: PreTrainedModel) -> None:
    ids = torch.tensor([[5, 6, 7]])
    before = model(ids).logits
    prefixed = PrefixedModel(model)
    prefixed.read([5, 6])
    assert prefixed.shared
    assert model.config._attn_implementation == "eager"
    torch.testing.assert_close(model(ids).logits, before)
