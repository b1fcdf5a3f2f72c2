"""The config: defaults that follow from the backbones, limits, and its way through JSON."""

import json
import typing

import pytest
from conftest import SHAPES
from huggingface_hub.errors import StrictDataclassFieldValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, XLMRobertaConfig

from modeling_lira import LiraConfig, LiraError

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


@pytest.mark.parametrize(
    ("field", "value"),
    [
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
        ("languages", []),
        ("languages", ["vi", "th", "vi"]),
    ],
)
def test_absurd_values_are_named(field, value):
    with pytest.raises(LiraError) as caught:
        LiraConfig(**BACKBONES, **{field: value})
    assert field in str(caught.value) and str(value) in str(caught.value)


def test_a_value_of_another_type_is_named():
    with pytest.raises(StrictDataclassFieldValidationError, match=r"(?s)hidden_size.*wide"):
        LiraConfig(**BACKBONES, hidden_size="wide")


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
