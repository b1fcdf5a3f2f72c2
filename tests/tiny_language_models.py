"""Tiny random language models, and reasoning models on them whose every weight matters."""

import copy
from pathlib import Path

import torch
from conftest import MULTILINGUAL_TEXTS, disturb
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

from modeling_lira import LiraForCausalLM

QUESTIONS = ["áo sơ mi trắng cho bé trai", "white shirt", "সাদা শার্ট"]
SHAPES = {
    "llama": LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    ),
    "gpt2": GPT2Config(n_embd=24, n_layer=2, n_head=2, n_positions=128),
    "gemma3": Gemma3TextConfig(
        hidden_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=64,
        max_position_embeddings=128,
        sliding_window=20,
        layer_types=["sliding_attention", "full_attention"],
    ),
}
"""Rotary positions; learnt absolute positions and no bos; scaled embeddings, tied head and a window shorter than the
prompts with their soft tokens."""


def save_language_model(name: str, folder: Path, pad: bool = True, eos: bool = True, sharpness: float = 4) -> Path:
    """Save a tiny random language model with a real byte-level tokenizer."""
    special = {
        "bos_token": "<bos>",
        **({"eos_token": "<eos>"} if eos else {}),
        **({"pad_token": "<pad>"} if pad else {}),
    }
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(MULTILINGUAL_TEXTS, trainer)
    if name != "gpt2":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    ids = {f"{kind}_id": getattr(fast, f"{kind}_id") for kind in ("bos_token", "eos_token", "pad_token")}
    config = type(SHAPES[name])(**{**SHAPES[name].to_dict(), "vocab_size": len(fast), **ids})
    torch.manual_seed(sum(name.encode()))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # as sharp as trained ones, so that different prompts get different answers
        for parameter in model.parameters():
            parameter.mul_(sharpness if parameter.dim() > 1 else 1)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def opened(model: LiraForCausalLM) -> LiraForCausalLM:
    """A copy whose gate is open and whose every trained weight is off its start."""
    processor = model.processor
    model = copy.deepcopy(model)
    model.processor = processor
    disturb(model.lira)
    model.open_gate()
    torch.nn.init.normal_(model.soft_prompt.up.weight, std=0.3)
    return model
