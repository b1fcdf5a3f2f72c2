"""The config: defaults that follow from the backbones, limits, and its way through JSON."""

import json
import re
import typing

import pytest
from conftest import SHAPES
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel, BertConfig, LlamaConfig, XLMRobertaConfig

from modeling_lira import LiraCausalLMConfig, LiraConfig, LiraError, LiraModel

BACKBONES = {"multilingual_config": SHAPES["xlm-roberta"].to_dict(), "english_config": SHAPES["bert"].to_dict()}


def test_defaults_follow_the_multilingual_backbone():
    config = LiraConfig(**BACKBONES)
    assert (config.hidden_size, config.embedding_size, config.fusion_intermediate_size) == (48, 96, 256)
    assert config.num_attention_heads == 2
    assert config.languages == ["vi", "th", "id", "ms", "ur", "bn", "fil", "en"]
    assert isinstance(config.multilingual_config, XLMRobertaConfig)
    assert isinstance(config.english_config, BertConfig)


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (200, 2), (1, 1), (97, 1), (320, 5)])
def test_default_heads_divide_the_width(width, heads):
    assert LiraConfig(**BACKBONES, fusion_size=width).num_attention_heads == heads


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 4096))
def test_every_width_has_default_heads(width):
    heads = LiraConfig(**BACKBONES, fusion_size=width).num_attention_heads
    assert width % heads == 0 and heads <= max(1, width // 64)


WRONG = [
    ("hidden_size", 0),
    ("hidden_size", -8),
    ("hidden_size", 10**9),
    ("num_feature_bins", 0),
    ("num_feature_bins", 10**6),
    ("num_candidates", 0),
    ("num_candidates", 10**5),
    ("adaptor_size", 0),
    ("actor_size", -1),
    ("num_fusion_layers", 0),
    ("num_fusion_layers", 1000),
    ("fusion_intermediate_size", 0),
    ("fusion_intermediate_size", 10**9),
    ("num_attention_heads", 0),
    ("num_attention_heads", -2),
    ("num_attention_heads", 7),
    ("num_attention_heads", 96),
    ("english_weight_init", 0),
    ("english_weight_init", 1.0),
    ("english_weight_init", -0.5),
    ("english_weight_init", float("nan")),
    ("truncate_dim", 0),
    ("truncate_dim", 97),
    ("truncate_dim", -1),
    ("languages", []),
    ("languages", ["vi", "th", "vi"]),
    ("languages", ["vi", ""]),
    # of another type
    ("hidden_size", "wide"),
    ("truncate_dim", 1.5),
    ("truncate_dim", True),
    ("num_candidates", 2.0),
    ("num_candidates", None),
    ("num_feature_bins", True),
    ("languages", "vi"),
    ("languages", [1]),
    ("languages", {"vi": 1}),
    ("english_weight_init", "half"),
    ("english_weight_init", float("inf")),
    ("multilingual_backbone", 3),
    ("english_revision", 3),
    ("backbones_included", "yes"),
    ("english_config", []),
    ("english_config", "bert"),
]


def constructed(folder, **fields):
    LiraConfig(**BACKBONES | fields)


def overridden(folder, **fields):
    LiraConfig(**BACKBONES).save_pretrained(folder)
    LiraConfig.from_pretrained(folder, **fields)


def on_disk(folder, **fields):
    LiraConfig(**BACKBONES).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    LiraConfig.from_pretrained(folder)


def by_auto(folder, **fields):
    LiraConfig(**BACKBONES).save_pretrained(folder)
    AutoConfig.from_pretrained(folder, **fields)


def set_and_saved(folder, **fields):
    config = LiraConfig(**BACKBONES)
    for name, value in fields.items():
        setattr(config, name, value)
    config.save_pretrained(folder)


def inside_a_reasoning_model(folder, **fields):
    LiraCausalLMConfig(lira_config=LiraConfig(**BACKBONES).to_dict() | fields)


ENTRANCES = [constructed, overridden, on_disk, by_auto, set_and_saved, inside_a_reasoning_model]


@pytest.mark.parametrize("enter", ENTRANCES, ids=lambda enter: enter.__name__)
@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_value_is_named_wherever_it_comes_in(tmp_path, enter, field, value):
    with pytest.raises(LiraError) as caught:
        enter(tmp_path, **{field: value})
    assert field in str(caught.value) and str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", None), ("english_config", {"model_type": "nonsense"}), ("english_config", {"hidden_size": -1})],
)
def test_a_value_that_only_the_whole_shows_wrong_is_refused_before_it_is_saved(tmp_path, field, value):
    with pytest.raises(LiraError):
        set_and_saved(tmp_path, **{field: value})
    assert not list(tmp_path.glob("config.json"))


@pytest.mark.parametrize(("field", "value"), [("truncate_dim", 97), ("num_candidates", 0), ("languages", ["vi", "vi"])])
def test_a_model_is_not_loaded_with_a_wrong_value(tiny_model, tmp_path, field, value):
    tiny_model.save_pretrained(tmp_path)
    for auto in (LiraModel, AutoModel):
        with pytest.raises(LiraError, match=field):
            auto.from_pretrained(tmp_path, **{field: value})


def test_from_backbones_takes_no_wrong_value(build_model):
    with pytest.raises(LiraError, match="truncate_dim"):
        build_model(truncate_dim=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("projector_size", 0),
        ("projector_size", -1),
        ("projector_size", 10**6),
        ("projector_size", "x"),
        ("stream", "x"),
        ("stream", 3),
        ("text_model", 3),
        ("text_config", []),
        ("text_config", {"model_type": "nonsense"}),
        ("lira_config", []),
    ],
)
def test_a_reasoning_model_s_wrong_values(tmp_path, field, value):
    good = {"lira_config": LiraConfig(**BACKBONES).to_dict()}
    with pytest.raises(LiraError):
        LiraCausalLMConfig(**good | {field: value})
    LiraCausalLMConfig(**good).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(LiraError):
        LiraCausalLMConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"3", b"\xff\xfe\x80", b'{"model_type": "bert"}']
)
@pytest.mark.parametrize("config_class", [LiraConfig, LiraCausalLMConfig])
def test_a_file_that_holds_no_config_is_named(tmp_path, config_class, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(LiraError, match=re.escape(str(tmp_path))):
        config_class.from_pretrained(tmp_path)


def test_json_round_trip(tmp_path):
    fields = {
        "hidden_size": 24,
        "fusion_size": 24,
        "num_attention_heads": 3,
        "languages": ["bn", "en"],
        "multilingual_revision": "abc",
    }
    first = LiraConfig(**BACKBONES, **fields)
    first.save_pretrained(tmp_path)
    second = LiraConfig.from_pretrained(tmp_path)
    assert second.to_dict() == first.to_dict()
    assert isinstance(second.english_config, BertConfig)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "lira"


def test_unknown_fields_are_kept_as_transformers_does(tmp_path):
    LiraConfig(**BACKBONES).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "from_the_future": 3}))
    assert LiraConfig.from_pretrained(tmp_path).from_the_future == 3


def test_a_whole_number_in_json_fits_every_fractional_field():
    types = {name: typing.get_args(kind) or (kind,) for name, kind in LiraConfig.__annotations__.items()}
    fractional = [name for name, kinds in types.items() if float in kinds]
    assert fractional == ["english_weight_init"]
    assert all(int in types[name] for name in fractional)


def test_two_configs_share_nothing():
    first, second = LiraConfig(**BACKBONES), LiraConfig(**BACKBONES)
    first.languages.append("km")
    first.english_config.hidden_size = 99
    assert second.languages[-1] == "en" and second.english_config.hidden_size == 32


def test_a_saved_config_does_not_say_from_which_folders_its_parts_were_read(build_model, tmp_path):
    model = build_model()
    assert model.config.english_config._name_or_path
    model.save_pretrained(tmp_path)
    whole = LiraCausalLMConfig(lira_config=model.config, text_config=LlamaConfig(name_or_path="/home/me/llama"))
    assert whole.text_config._name_or_path == "/home/me/llama"
    for saved in (json.loads((tmp_path / "config.json").read_text()), whole.to_dict(), whole.to_dict()["lira_config"]):
        parts = [value for value in saved.values() if isinstance(value, dict)]
        assert len(parts) >= 2 and not any("_name_or_path" in part for part in parts)
