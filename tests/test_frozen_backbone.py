"""Backbones: whose weights they are, what they want before a text, and quietly loaded."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, save_backbone
from safetensors.torch import load_file, save_file
from tiny_language_models import save_language_model
from transformers import AutoModel

from modeling_lira import LiraConfig, LiraError, LiraForCausalLM, LiraModel
from modeling_lira.backbones.own_settings import pooling_of, prompts_of
from modeling_lira.backbones.resolution import load_encoder
from modeling_lira.frozen_backbone import FrozenBackbone, same_weights, weights_sketch

TEXTS = list(MULTILINGUAL_TEXTS)
WARNING = "has other weights than this checkpoint was trained on"


@pytest.fixture(scope="module")
def adapter(build_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "model"
    build_model(anchor_texts=TEXTS).save_pretrained(folder, save_backbones=False)
    return folder


def four_bits(weight: torch.Tensor) -> torch.Tensor:
    """Round as Q4_0 does: sixteen steps in every block of 32."""
    if weight.numel() % 32:
        return weight
    blocks = weight.reshape(-1, 32)
    scale = blocks.abs().amax(1, keepdim=True).clamp_min(1e-9) / 8
    return ((blocks / scale).round().clamp(-8, 7) * scale).reshape(weight.shape)


def changed(source: Path, folder: Path, change) -> Path:
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: change(name, one) for name, one in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


# ---------------------------------------------------------------- digests


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_digest_is_of_the_weights_and_not_of_their_precision(tiny_model, dtype):
    encoder = AutoModel.from_config(tiny_model.config.english_config)
    digest = weights_sketch(encoder)
    assert same_weights(digest, weights_sketch(encoder.to(dtype)))
    assert same_weights(weights_sketch(encoder), weights_sketch(encoder.float()))
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.1)
    assert not same_weights(digest, weights_sketch(encoder))


@pytest.mark.parametrize("save_backbones", [True, False])
def test_the_weights_that_it_was_built_on_are_in_the_config(tiny_model, tmp_path, save_backbones):
    tiny_model.save_pretrained(tmp_path, save_backbones=save_backbones)
    config = LiraConfig.from_pretrained(tmp_path)
    assert config.multilingual_digest == weights_sketch(tiny_model.multilingual_encoder)
    assert config.english_digest == weights_sketch(tiny_model.english_encoder)


def test_the_same_weights_load_without_a_word(adapter, backbones, tmp_path, caplog):
    half = changed(backbones["bert"], tmp_path / "half", lambda name, one: one.half())
    for given in ({}, {"english_backbone": backbones["bert"]}, {"english_backbone": half}, {"dtype": torch.float16}):
        LiraModel.from_pretrained(adapter, **given)
    assert WARNING not in caplog.text


@pytest.mark.parametrize("kind", ["4 bits", "fine-tuned", "others"])
def test_other_weights_are_told(adapter, backbones, tmp_path, caplog, kind):
    other = tmp_path / "other"
    if kind == "others":
        save_backbone("bert", other, initializer_range=0.3)
    else:
        change = four_bits if kind == "4 bits" else lambda one: one + 1e-3 * torch.randn(one.shape)
        changed(backbones["bert"], other, lambda name, one: change(one))
    LiraModel.from_pretrained(adapter, english_backbone=other)
    assert caplog.text.count(WARNING) == 1 and str(other) in caplog.text


def test_an_older_checkpoint_says_nothing_of_its_weights(adapter, backbones, tmp_path, caplog):
    old = shutil.copytree(adapter, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    del config["multilingual_digest"], config["english_digest"]
    (old / "config.json").write_text(json.dumps(config))
    other = save_backbone("bert", tmp_path / "other", initializer_range=0.3)
    loaded = LiraModel.from_pretrained(old, english_backbone=other)
    assert WARNING not in caplog.text
    loaded.save_pretrained(tmp_path / "again", save_backbones=True)
    again = LiraConfig.from_pretrained(tmp_path / "again")
    assert again.english_digest == weights_sketch(loaded.english_encoder)


def test_the_digest_stays_that_of_training_when_other_weights_are_put_in(adapter, tmp_path, caplog):
    other = save_backbone("bert", tmp_path / "other", initializer_range=0.3)
    LiraModel.from_pretrained(adapter, english_backbone=other).save_pretrained(tmp_path / "again", save_backbones=False)
    caplog.clear()
    LiraModel.from_pretrained(tmp_path / "again")
    assert WARNING in caplog.text


def test_a_language_model_has_a_digest_too(tiny_model, tmp_path, caplog):
    folder = save_language_model("llama", tmp_path / "llama")
    model = LiraForCausalLM.from_lira(tiny_model, folder, projector_size=16)
    model.save_pretrained(tmp_path / "model", save_backbones=False)
    LiraForCausalLM.from_pretrained(tmp_path / "model")
    assert WARNING not in caplog.text
    other = save_language_model("llama", tmp_path / "other", sharpness=3)
    LiraForCausalLM.from_pretrained(tmp_path / "model", text_model=other)
    assert caplog.text.count(WARNING) == 1


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("path", ["team-e5x/mpnet", "multilingual-e5-small", "intfloat/multilingual-e5-small"])
def test_a_path_that_looks_like_another_model_brings_no_prompts(backbones, tmp_path, monkeypatch, path):
    folder = shutil.copytree(backbones["mpnet"], tmp_path / path)
    assert prompts_of(FrozenBackbone(folder)) == ("", "")
    model = LiraModel.from_backbones(folder, backbones["bert"], anchor_texts=TEXTS)
    assert (model.processor.query_prefix, model.processor.document_prefix) == ("", "")


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"query": "find: ", "document": "text: "}, ("find: ", "text: ")),
        ({"query": "find: ", "passage": "text: "}, ("find: ", "text: ")),
        ({"query": "find: "}, ("find: ", "")),
        ({}, ("", "")),
    ],
)
def test_a_backbone_s_own_prompts_are_used_on_both_paths(backbones, tmp_path, prompts, expected):
    folders = [shutil.copytree(backbones[name], tmp_path / name) for name in ("mpnet", "bert")]
    for folder in folders:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    processor = LiraModel.from_backbones(*folders, anchor_texts=TEXTS).processor
    assert (processor.query_prefix, processor.document_prefix) == expected
    assert (processor.english_query_prefix, processor.english_document_prefix) == expected
    given = LiraModel.from_backbones(*folders, anchor_texts=TEXTS, query_prefix="mine: ").processor
    assert (given.query_prefix, given.document_prefix) == ("mine: ", expected[1])


def test_a_converted_folder_has_the_prompts_of_what_it_was_made_from(backbones, tmp_path):
    folder = shutil.copytree(backbones["mpnet"], tmp_path / "x")
    for source, expected in (("intfloat/multilingual-e5-base", ("query: ", "passage: ")), ("team/e5-like", ("", ""))):
        (folder / "lira_backbone.json").write_text(json.dumps({"source": source}))
        assert prompts_of(FrozenBackbone(folder)) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, "mean"),
        ({}, "mean"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["lasttoken"]}, "lasttoken"),
    ],
)
def test_a_backbone_s_own_pooling_is_read(backbones, tmp_path, settings, expected):
    folder = shutil.copytree(backbones["mpnet"], tmp_path / "x")
    if settings is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    assert pooling_of(FrozenBackbone(folder)) == expected


@pytest.mark.parametrize(
    "content",
    ['{"pooling_mode_max_tokens": true}', '{"pooling_mode": ["cls", "mean"]}', '{"pooling_mode": 3}', "[]", "{"],
)
def test_a_pooling_that_nothing_here_does_is_an_error(backbones, tmp_path, content):
    folder = shutil.copytree(backbones["mpnet"], tmp_path / "x")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(content)
    with pytest.raises(LiraError, match=r"backbone .*(pooling must be|is damaged)"):
        pooling_of(FrozenBackbone(folder))


# ---------------------------------------------------------------- one loader


def test_every_loader_refuses_weights_that_are_not_there(backbones, tmp_path):
    folder = shutil.copytree(backbones["bert"], tmp_path / "torn")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for load in (load_encoder, lambda path: FrozenBackbone(path).load_encoder(torch.float32)):
        with pytest.raises(LiraError, match=r"lacks weight 'encoder\.layer\.0\.output\.dense\.weight'"):
            load(folder)


def test_loading_is_silent(adapter, backbones, tmp_path, capfd, caplog):
    """Neither a report on a pooler that nobody uses nor a bar a file."""
    with caplog.at_level(logging.WARNING):
        LiraModel.from_backbones(backbones["xlm-roberta"], backbones["bert"], anchor_texts=TEXTS)
        LiraModel.from_pretrained(adapter)
    printed = "".join(capfd.readouterr())
    assert "LOAD REPORT" not in printed + caplog.text and "Loading weights" not in printed


@pytest.mark.parametrize("name", ["~nosuchuser/model", "~nosuchuser"])
def test_the_home_of_nobody_is_named(backbones, name):
    with pytest.raises(LiraError, match="nosuchuser"):
        LiraModel.from_backbones(name, backbones["bert"], anchor_texts=TEXTS)
    with pytest.raises(LiraError, match="nosuchuser"):
        load_encoder(name)


def test_without_a_home_the_cache_says_what_to_set(monkeypatch):
    from modeling_lira.backbones.cache import cache_root

    for name in ("LIRA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(LiraError, match="LIRA_CACHE"):
        cache_root()
