"""Encoders of other shapes than e5: decoders, last-token and CLS pooling, instructions, dense layers after pooling."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, SHAPES, _trained, save_backbone
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tiny_corpus import make_split
from tokenizers import processors
from transformers import (
    AutoModel,
    Gemma3TextConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from modeling_lira import LiraError, LiraModel
from modeling_lira.backbones.own_settings import dense_of, pooling_of
from modeling_lira.backbones.text_encoder import TextEncoder
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_split
from modeling_lira.frozen_backbone import FrozenBackbone
from modeling_lira.training.options import ArcaOptions
from modeling_lira.training.resumable import run_stage

TEXTS = [text for text in MULTILINGUAL_TEXTS if len(text) < 40]
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}


@dataclass(frozen=True)
class Shape:
    """What a family of encoders is like: architecture, pooling, side of padding, prompts, widths of dense layers."""

    config: PreTrainedConfig | str
    pooling: str = "mean"
    padding: str = "right"
    query: str = ""
    document: str = ""
    dense: Sequence[int] = ()


INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
FAMILIES = {
    "Qwen3-Embedding": Shape(Qwen3Config(**DECODER), "lasttoken", "left", INSTRUCTION),
    "gte-Qwen2": Shape(Qwen2Config(**DECODER), "lasttoken", "right", INSTRUCTION),
    "SGPT": Shape(Qwen3Config(**DECODER), "weightedmean", "left"),
    "EmbeddingGemma": Shape(
        Gemma3TextConfig(
            **DECODER,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
            use_bidirectional_attention=True,
        ),
        query="task: search result | query: ",
        document="title: none | text: ",
        dense=(40, 32),
    ),
    "bge-m3": Shape("xlm-roberta", "cls"),
    "LaBSE": Shape("bert", "cls", dense=(32,)),
    "gte-modernbert": Shape("modernbert", "cls"),
    "paraphrase-mpnet": Shape("mpnet", "mean"),
}  # fmt: skip


def save_family(name: str, folder: Path) -> Path:
    """Save a tiny random encoder of a family as sentence-transformers does."""
    shape = FAMILIES[name]
    if isinstance(shape.config, str):
        save_backbone(shape.config, folder)
        width = SHAPES[shape.config].hidden_size
    else:
        width = _save_decoder(shape, folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        widths = [width, *shape.dense]
        identity = torch.nn.Identity() if "Gemma" in name else torch.nn.Tanh()
        dense = [
            Dense(one, other, bias="Gemma" not in name, activation_function=identity) for one, other in pairwise(widths)
        ]
    modules = [Transformer(str(folder)), Pooling(width, shape.pooling), *dense, Normalize()]
    prompts = {"query": shape.query, "document": shape.document}
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save_pretrained(str(folder))
    return folder


def _save_decoder(shape: Shape, folder: Path) -> int:
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    tokenizer = _trained("modernbert", ["[UNK]", *special.values()])
    end = ("<eos>", tokenizer.token_to_id("<eos>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[end])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side=shape.padding, **special)
    assert isinstance(shape.config, PreTrainedConfig)
    config = type(shape.config)(
        **{**shape.config.to_dict(), "vocab_size": len(fast), "pad_token_id": fast.pad_token_id}
    )
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(20)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return config.hidden_size


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_family(name, tmp_path_factory.mktemp("family")) for name in FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
def test_embeddings_are_those_of_sentence_transformers(name: str, families: dict[str, Path]) -> None:
    theirs = SentenceTransformer(str(families[name]), device="cpu")
    ours = TextEncoder(str(families[name]), batch_size=3)
    assert (ours.query_prompt, ours.document_prompt) == (FAMILIES[name].query, FAMILIES[name].document)
    for prompt, encode in ((ours.query_prompt, theirs.encode_query), (ours.document_prompt, theirs.encode_document)):
        vectors = torch.from_numpy(ours.encode([prompt + text for text in TEXTS]))
        torch.testing.assert_close(vectors, encode(TEXTS, convert_to_tensor=True).cpu(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_on_it_is_saved_streamed_and_trained(
    name: str, families: dict[str, Path], backbones: dict[str, Path], tmp_path: Path
) -> None:
    model = LiraModel.from_backbones(
        families[name], backbones["bert"], adaptor_size=8, actor_size=4, num_feature_bins=3
    )
    assert model.config.multilingual_pooling == FAMILIES[name].pooling and model.config.english_pooling == "mean"
    assert model.processor.query_prefix == FAMILIES[name].query
    # The mean of a stream is what the encoder was trained to give, before its dense layers.
    bare = SentenceTransformer(str(families[name]), device="cpu")
    pooled = torch.nn.Sequential(bare[0], bare[1])
    tokens = bare.preprocess([FAMILIES[name].query + text for text in TEXTS])
    with torch.no_grad():
        expected = pooled(tokens)["sentence_embedding"]
    streams = model.encode_streams(TEXTS, "multilingual", "query", batch_size=3)
    torch.testing.assert_close(streams.mean(1), expected, atol=1e-4, rtol=1e-4)
    assert (streams[:, 0] - streams[:, 2]).abs().max() > 0.1  # and its bins still tell the beginning from the end

    tables = [cache_split(model, StreamCache(tmp_path / "streams"), make_split("vi", 0))]
    run_stage("arca", model, tables, tables, tmp_path / "run", options=ArcaOptions(epochs=1, batch_size=8))
    model.save_pretrained(tmp_path / "saved")
    loaded = LiraModel.from_pretrained(tmp_path / "saved")
    for texts in (TEXTS, TEXTS[:1]):
        first, second = (one.encode_query(texts, None, [["a shirt"]] * len(texts)) for one in (model, loaded))
        torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
    alone = torch.cat([loaded.encode_query([text]) for text in TEXTS[:3]])
    torch.testing.assert_close(alone, loaded.encode_query(TEXTS[:3]), atol=1e-4, rtol=0)


def test_a_decoder_keeps_no_keys_and_values(families: dict[str, Path]) -> None:
    encoder = FrozenBackbone(families["Qwen3-Embedding"]).load_encoder(torch.float32)
    assert encoder(input_ids=torch.tensor([[5, 6]])).past_key_values is None


def test_a_tokenizer_without_a_token_for_padding_gets_one(families: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(families["gte-Qwen2"])
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((families["gte-Qwen2"] / "config.json").read_text())
    assert FrozenBackbone(tmp_path).load_tokenizer().pad_token == "<eos>"


def listed(folder: str, kind: str, **settings: object) -> dict[str, object]:
    """Return the files of one module of sentence-transformers."""
    files: dict[str, object] = {"modules.json": [{"path": folder, "type": f"x.{kind}"}]}
    return files | ({f"{folder}/config.json": settings} if settings else {})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (listed("../other", "Pooling"), "modules.json .*folder of its own"),
        ({"modules.json": {"path": 3}}, "modules.json"),
        (
            listed("1_Pooling", "Pooling", include_prompt=False)
            | {"config_sentence_transformers.json": {"prompts": {"query": "q: "}}},
            "leaves the prompt out",
        ),
        (listed("p", "Pooling", pooling_mode="max"), "pooling must be"),
        (listed("2_Dense", "Dense"), "2_Dense .*it has no safetensors weights"),
        (listed("2_Dense", "Dense", activation_function="os.system"), "activation 'os.system': not known here"),
    ],
)
def test_files_that_ask_for_what_is_not_done_here_are_one_line(
    files: dict[str, object], message: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(LiraError, match=message):
        pooling_of(FrozenBackbone(tmp_path))
        dense_of(FrozenBackbone(tmp_path))
