"""Tiny random translation models with real tokenizers of their kinds, made on the spot."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from conftest import MULTILINGUAL_TEXTS
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSeq2SeqLM,
    M2M100Config,
    M2M100Tokenizer,
    MarianConfig,
    MarianTokenizer,
    NllbTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
)
from vocabularies import unigram_tokenizer

SHAPE = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 300,
    "scale_embedding": True,
}
T5_SHAPE = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}


def pieces(folder: Path) -> Path:
    """Train a real SentencePiece model."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(MULTILINGUAL_TEXTS * 4),
        model_prefix=str(folder / "spm"),
        vocab_size=260,
        character_coverage=1.0,
        bos_id=-1,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "spm.model"


def piece_names(spm: Path) -> list[str]:
    """Return the pieces of a SentencePiece model but for those that every tokenizer adds itself."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    return [piece for piece in map(processor.id_to_piece, range(len(processor))) if piece not in ("<unk>", "</s>")]


def marian(folder: Path, source: str = "vie", target: str = "eng", codes: Sequence[str] = ()) -> MarianTokenizer:
    spm = pieces(folder)
    vocabulary = folder / "vocab.json"
    words = ["</s>", "<unk>", *piece_names(spm), *codes, "<pad>"]
    vocabulary.write_text(json.dumps({word: index for index, word in enumerate(words)}))
    return MarianTokenizer(str(spm), str(spm), str(vocabulary), source_lang=source, target_lang=target)


def m2m_100(folder: Path) -> M2M100Tokenizer:
    spm = pieces(folder)
    vocabulary = folder / "vocab.json"
    words = ["<s>", "<pad>", "</s>", "<unk>", *piece_names(spm)]
    vocabulary.write_text(json.dumps({word: index for index, word in enumerate(words)}))
    return M2M100Tokenizer(str(vocabulary), str(spm))


def nllb(folder: Path) -> NllbTokenizer:
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    raw.train_from_iterator(
        MULTILINGUAL_TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    model = json.loads(raw.to_str())["model"]
    return NllbTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])  # type: ignore[misc]


def with_words(words: Sequence[str]) -> PreTrainedTokenizerFast:
    raw = unigram_tokenizer(MULTILINGUAL_TEXTS, ["<pad>", "</s>", "<unk>", *words], size=300)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", additional_special_tokens=words
    )


def madlad_400(folder: Path) -> PreTrainedTokenizerFast:
    return with_words(["<2en>", "<2vi>"])


def config(kind: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    special: dict[str, Any] = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    if kind == "madlad":
        special |= {"decoder_start_token_id": tokenizer.pad_token_id}
        return T5Config(**T5_SHAPE, **special, vocab_size=len(tokenizer))
    if kind == "marian":
        special |= {"decoder_start_token_id": tokenizer.pad_token_id, "forced_eos_token_id": None}
        return MarianConfig(**SHAPE, **special, vocab_size=len(tokenizer))
    # Language codes and eight unused words stand at the end of the vocabulary.
    return M2M100Config(
        **SHAPE, **special, vocab_size=len(tokenizer) + 120, decoder_start_token_id=tokenizer.eos_token_id
    )


MAKERS: dict[str, Callable[[Path], PreTrainedTokenizerBase]] = {
    "nllb": nllb,
    "m2m": m2m_100,
    "marian": lambda folder: marian(folder, source="mul"),
    "madlad": madlad_400,
}


def save(kind: str, folder: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    torch.manual_seed(1)
    model = AutoModelForSeq2SeqLM.from_config(config(kind, tokenizer))
    with torch.no_grad():  # random weights of this size: without it, all tokens are about equally likely
        for parameter in model.parameters():
            parameter.mul_(6.0 if parameter.ndim == 2 else 1.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
