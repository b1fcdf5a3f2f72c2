"""Folders of models in which one file is damaged: a `LiraError`, never another error and never a vector of NaN."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, disturb
from safetensors.torch import load_file, save_file
from tiny_language_models import QUESTIONS, save_language_model
from transformers import AutoModel

from modeling_lira import LiraCausalLMProcessor, LiraError, LiraForCausalLM, LiraModel, LiraProcessor

TEXTS = list(MULTILINGUAL_TEXTS)[:3]
Damage = Callable[[Path], object]
NOT_JSON = {
    "empty": b"",
    "cut": b'{"a": [1,',
    "list": b"[]",
    "null": b"null",
    "number": b"3",
    "binary": b"\xff\xfe\x80\x00",
}


def written(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def gone(name: str) -> Damage:
    def remove(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def field(file: str, name: str, value: object) -> Damage:
    """Change a field of a JSON file; a name with a dot is one inside another."""

    def change(folder: Path) -> None:
        path = folder / file
        content = json.loads(path.read_text())
        *outer, last = name.split(".")
        part = content
        for key in outer:
            part = part[key]
        part[last] = value
        path.write_text(json.dumps(content))

    return change


def weight(key: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Damage:
    """Change the first weight whose name ends so; None takes it away."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        weights = load_file(path)
        name = next(name for name in sorted(weights) if name.endswith(key))
        changed = change(weights.pop(name))
        save_file(weights | ({} if changed is None else {name: changed.contiguous()}), path, metadata={"format": "pt"})

    return damage


def one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[-1] = value
        return tensor

    return change


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lying_header(change: Callable[[dict], None]) -> Damage:
    """Change what the header of the weights says of them."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def _first(header: dict) -> dict:
    return header[next(name for name in header if name != "__metadata__")]


def index(content: bytes) -> Damage:
    """Weights of several files, their list damaged."""

    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        (folder / "model.safetensors.index.json").write_bytes(content)

    return damage


def listed(shard: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": {"a": shard}}).encode()


WEIGHTS = {
    "weights gone": gone("model.safetensors"),
    "weights empty": written("model.safetensors", b""),
    "weights pickled": written("model.safetensors", b"\x80\x04N."),
    "weights of noise": written("model.safetensors", b"\xff" * 200),
    "weights cut": cut,
    "header too long": written("model.safetensors", (10**18).to_bytes(8, "little") + b"{}"),
    "header of another shape": lying_header(lambda header: _first(header).update(shape=[1])),
    "header of another type": lying_header(lambda header: _first(header).update(dtype="F64")),
    "header of an unknown type": lying_header(lambda header: _first(header).update(dtype="Q4")),
    "header of other offsets": lying_header(lambda header: _first(header).update(data_offsets=[0, 10**9])),
    "header of negative offsets": lying_header(lambda header: _first(header).update(data_offsets=[-4, 0])),
    "index of no JSON": index(b"{"),
    "index of a list": index(b"[]"),
    "index without a map": index(b"{}"),
    "index of numbers": index(b'{"weight_map": {"a": 3}}'),
    "index of an empty map": index(b'{"weight_map": {}}'),
    "index of a missing file": index(listed("model-00002-of-00002.safetensors")),
    "index that climbs": index(listed("../model.safetensors")),
    "index of a pickle": index(listed("pytorch_model.bin")),
}


def weights_of(key: str) -> dict[str, Damage]:
    return {
        f"{key} NaN": weight(key, one(float("nan"))),
        f"{key} infinite": weight(key, one(float("inf"))),
        f"{key} minus infinite": weight(key, one(float("-inf"))),
        f"{key} missing": weight(key, lambda tensor: None),
        f"{key} of another shape": weight(key, lambda tensor: torch.zeros(3, 5)),
        f"{key} of whole numbers": weight(key, lambda tensor: tensor.long()),
        f"{key} of booleans": weight(key, lambda tensor: tensor.bool()),
    }


def json_of(name: str, kinds: dict[str, bytes] = NOT_JSON) -> dict[str, Damage]:
    return {f"{name} {kind}": written(name, content) for kind, content in kinds.items()}


CONFIG = {
    **json_of("config.json"),
    "config gone": gone("config.json"),
    "config of another type": field("config.json", "model_type", "bert"),
    "config of a number as a type": field("config.json", "model_type", 3),
    "config of text as a size": field("config.json", "hidden_size", "wide"),
    "config of another size": field("config.json", "hidden_size", 7),
    "config of a list for a backbone": field("config.json", "english_config", []),
    "config of a backbone of no type": field("config.json", "english_config.model_type", "nonsense"),
    "config of a backbone of a negative size": field("config.json", "english_config.num_hidden_layers", -1),
    "config of a backbone whose heads do not fit": field("config.json", "english_config.num_attention_heads", 5),
    "config of an activation that there is not": field("config.json", "english_config.hidden_act", "nonsense"),
    "config of languages that are none": field("config.json", "languages", "vi"),
    "config of more layers": field("config.json", "english_config.num_hidden_layers", 3),
    "config of fewer bins than none": field("config.json", "num_feature_bins", 0),
}

PROCESSOR = {
    **json_of("processor_config.json"),
    "processor gone": gone("processor_config.json"),
    "max_length of text": field("processor_config.json", "max_length", "long"),
    "max_length zero": field("processor_config.json", "max_length", 0),
    "max_length null": field("processor_config.json", "max_length", None),
    "max_length a fraction": field("processor_config.json", "max_length", 3.5),
    "num_candidates of text": field("processor_config.json", "num_candidates", "4"),
    "num_candidates negative": field("processor_config.json", "num_candidates", -1),
    "languages of text": field("processor_config.json", "languages", "vi"),
    "languages a number": field("processor_config.json", "languages", 3),
    "languages of numbers": field("processor_config.json", "languages", [1, 2]),
    "languages doubled": field("processor_config.json", "languages", ["vi", "vi"]),
    "languages too many": field("processor_config.json", "languages", [f"x{row}" for row in range(40)]),
    "query_prefix a number": field("processor_config.json", "query_prefix", 3),
    "document_prefix null": field("processor_config.json", "document_prefix", None),
    "english_query_prefix a list": field("processor_config.json", "english_query_prefix", ["a"]),
    "english_model_type a number": field("processor_config.json", "english_model_type", 3),
    **json_of("tokenizer.json"),
    "tokenizer gone": lambda folder: (
        [gone(name)(folder) for name in ("tokenizer.json", "tokenizer_config.json")] and None
    ),
    **json_of("english_tokenizer/tokenizer.json"),
    "english_tokenizer gone": gone("english_tokenizer"),
    "english tokenizer.json gone": gone("english_tokenizer/tokenizer.json"),
}
PROCESSOR.pop("processor_config.json number", None)

MODEL = (
    WEIGHTS | weights_of("gate.hidden.weight") | weights_of("layer.0.attention.self.query.weight") | CONFIG | PROCESSOR
)


@pytest.fixture(scope="module")
def saved(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "model"
    disturb(build_model(anchor_texts=TEXTS)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "model"
    disturb(build_model(anchor_texts=TEXTS)).save_pretrained(folder, save_backbones=False)
    return folder


@pytest.fixture(scope="module")
def reasoner(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    language_model = save_language_model("llama", tmp_path_factory.mktemp("llama"))
    folder = tmp_path_factory.mktemp("reasoner") / "model"
    LiraForCausalLM.from_lira(build_model(), language_model, projector_size=16).save_pretrained(folder)
    return folder


def damaged(source: Path, folder: Path, damage: Damage) -> Path:
    shutil.copytree(source, folder)
    damage(folder)
    return folder


@pytest.mark.parametrize("name", MODEL)
def test_a_damaged_model(saved, tmp_path, name):
    folder = damaged(saved, tmp_path / "model", MODEL[name])
    with pytest.raises(LiraError):
        LiraModel.from_pretrained(folder).encode_query(TEXTS, "vi", [["a shirt"], [], []])


@pytest.mark.parametrize("name", WEIGHTS | weights_of("gate.hidden.weight"))
def test_a_damaged_adapter(adapter, tmp_path, name):
    damage = (WEIGHTS | weights_of("gate.hidden.weight"))[name]
    with pytest.raises(LiraError):
        LiraModel.from_pretrained(damaged(adapter, tmp_path / "model", damage)).encode_query(TEXTS)


@pytest.mark.parametrize("name", WEIGHTS | weights_of("gate.hidden.weight"))
def test_a_damaged_model_by_its_auto_class(saved, tmp_path, name):
    damage = (WEIGHTS | weights_of("gate.hidden.weight"))[name]
    with pytest.raises(LiraError):
        AutoModel.from_pretrained(damaged(saved, tmp_path / "model", damage))


@pytest.mark.parametrize("name", [name for name in PROCESSOR if name != "languages too many"])
def test_a_damaged_processor(saved, tmp_path, name):
    with pytest.raises(LiraError):
        LiraProcessor.from_pretrained(damaged(saved, tmp_path / "model", PROCESSOR[name]))


BACKBONE = {
    **WEIGHTS,
    **weights_of("attention.self.query.weight"),
    **json_of("config.json"),
    "config gone": gone("config.json"),
    "config of no type": field("config.json", "model_type", "nonsense"),
    "config of text as a size": field("config.json", "hidden_size", "wide"),
    "config of a negative size": field("config.json", "num_hidden_layers", -1),
    "config of heads that do not fit": field("config.json", "num_attention_heads", 5),
    **json_of("tokenizer.json"),
    **json_of("config_sentence_transformers.json"),
    "prompts that are none": written("config_sentence_transformers.json", b'{"prompts": {"query": 3}}'),
    **json_of("lira_backbone.json"),
}


@pytest.mark.parametrize("name", BACKBONE)
def test_a_damaged_backbone(backbones, tmp_path, name):
    folder = damaged(backbones["bert"], tmp_path / "bert", BACKBONE[name])
    with pytest.raises(LiraError, match="bert"):
        LiraModel.from_backbones(backbones["xlm-roberta"], folder, anchor_texts=TEXTS)


@pytest.mark.parametrize("name", WEIGHTS | weights_of("attention.self.query.weight"))
def test_a_damaged_backbone_below_an_adapter(adapter, backbones, tmp_path, name):
    damage = (WEIGHTS | weights_of("attention.self.query.weight"))[name]
    folder = damaged(backbones["bert"], tmp_path / "bert", damage)
    with pytest.raises(LiraError, match="bert"):
        LiraModel.from_pretrained(adapter, english_backbone=folder)


REASONER = {
    **WEIGHTS,
    **weights_of("soft_prompt.linear.weight"),
    **weights_of("language_model.model.layers.0.self_attn.q_proj.weight"),
    **json_of("config.json"),
    "config of no encoder": field("config.json", "lira_config", []),
    "config of an encoder without candidates": field("config.json", "lira_config.num_candidates", 0),
    "config of a language model of no type": field("config.json", "text_config.model_type", "nonsense"),
    "config of no projector": field("config.json", "projector_size", 0),
    **{name: damage for name, damage in PROCESSOR.items() if "too many" not in name},
    "multilingual_tokenizer gone": gone("multilingual_tokenizer"),
}


@pytest.mark.parametrize("name", REASONER)
def test_a_damaged_reasoning_model(reasoner, tmp_path, name):
    folder = damaged(reasoner, tmp_path / "model", REASONER[name])
    with pytest.raises(LiraError):
        LiraForCausalLM.from_pretrained(folder).processor(QUESTIONS)


@pytest.mark.parametrize("name", ["processor_config.json list", "english_tokenizer gone", "max_length zero"])
def test_a_damaged_processor_of_a_reasoning_model(reasoner, tmp_path, name):
    with pytest.raises(LiraError):
        LiraCausalLMProcessor.from_pretrained(damaged(reasoner, tmp_path / "model", PROCESSOR[name]))


def test_numbers_that_are_finite_and_overflow_are_no_embedding(saved, tmp_path):
    folder = damaged(saved, tmp_path / "model", weight("multilingual_projection.weight", lambda tensor: tensor + 1e38))
    with pytest.raises(LiraError, match="not finite"):
        LiraModel.from_pretrained(folder).encode_document(TEXTS)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null"])
def test_a_damaged_list_of_modules_is_named(saved, tmp_path, content):
    pytest.importorskip("sentence_transformers")
    folder = damaged(saved, tmp_path / "model", written("modules.json", content))
    assert LiraModel.from_pretrained(folder).encode_query(TEXTS).isfinite().all()  # which does not read it
