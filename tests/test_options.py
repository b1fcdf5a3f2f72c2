"""Training options from YAML, and `lira train` from the command line."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from test_training import make_split
from torch.testing import assert_close
from typer.testing import CliRunner

from modeling_lira import LiraError, LiraModel
from modeling_lira.cli import app
from modeling_lira.cli.train import named_options
from modeling_lira.training.options import LasrOptions, LoraOptions, TrainingOptions, read_options

# The public name `modeling_lira.training.train` is the function.
train_module = importlib.import_module("modeling_lira.training.train")


def written(folder: Path, options: object) -> Path:
    path = folder / "options.yaml"
    path.write_text(options if isinstance(options, str) else yaml.safe_dump(options), encoding="utf-8")
    return path


def test_nested_options_replace_defaults_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, {"corpus": "c", "seed": 3, "lasr": {"epochs": 1, "weights": {"hinge": 2}}, "lora": {}})
    options = read_options(path, seed=7, languages=None)
    assert isinstance(options.lasr, LasrOptions)
    assert (options.seed, options.languages, options.lora) == (7, (), LoraOptions())
    assert options.lasr.weights.hinge == 2.0 and isinstance(options.lasr.weights.hinge, float)
    assert options.lasr.batch_size == LasrOptions().batch_size
    assert read_options(written(tmp_path, {"corpus": "c", "arca": None})).arca is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("- a list", "must be a mapping"),
        ("a: [", "cannot be read"),
        ({}, "corpus"),
        ({"corpus": "c", "lerning_rate": 1}, "'lerning_rate' is unknown"),
        ({"corpus": "c", "lasr": {"epoch": 1}}, "lasr: option 'epoch' is unknown"),
        ({"corpus": "c", "lasr": {"epochs": "two"}}, "lasr: epochs: expected int, got 'two'"),
        ({"corpus": "c", "seed": True}, "seed: expected int, got True"),
        ({"corpus": "c", "lasr": {"objective": "sorting"}}, "objective 'sorting' is unknown"),
        ({"corpus": "c", "lasr": {"precision": "int4"}}, "precision 'int4' is unknown"),
        ({"corpus": "c", "lasr": {"batch_size": 0}}, "batch_size must be"),
        ({"corpus": "c", "lasr": {"start_share": 1.5}}, "start_share must be"),
        ({"corpus": "c", "languages": "vi"}, "languages: expected tuple"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(options: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(LiraError) as caught:
        read_options(written(tmp_path, options))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_every_config_that_comes_with_the_package_is_readable() -> None:
    for name in ("retrieval", "ranking", "joint", "lora"):
        options = named_options(name, corpus="elsewhere")
        assert isinstance(options, TrainingOptions) and options.corpus == "elsewhere"


@pytest.fixture
def small(backbones: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Options of a run on two languages of eight queries, and on tiny random backbones."""
    monkeypatch.setattr(train_module, "load_split", lambda corpus, code, part: make_split(code, part == "train"))
    return {
        "corpus": "c",
        "languages": ["vi", "th"],
        "multilingual": str(backbones["xlm-roberta"]),
        "english": str(backbones["bert"]),
        "arca": {"epochs": 1, "batch_size": 4},
        "lasr": {"epochs": 4, "batch_size": 4, "learning_rates": {"lasr": 0.01}, "start_share": 0.0},
    }


def test_lira_train_saves_a_model_and_its_record(small: dict[str, object], tmp_path: Path) -> None:
    config = written(tmp_path, small)
    result = CliRunner().invoke(
        app, ["train", "--config", str(config), "--output", str(tmp_path / "out"), "--seed", "4"]
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["options"]["seed"] == 4 and set(record["training"]) == {"arca", "lasr"}
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_lora_changes_the_backbone_and_is_merged_when_saved(
    small: dict[str, object], build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    lora = {"rank": 2, "learning_rate": 0.05, "backbones": ["multilingual"]}
    options = read_options(written(tmp_path, {**small, "arca": None, "lora": lora}))
    trained = train_module.train(options, tmp_path / "out")
    before, after = build_model().state_dict(), trained.state_dict()
    moved = {name for name, value in before.items() if "encoder." in name and not after[name].equal(value)}
    assert moved and all(name.startswith("multilingual_encoder.") for name in moved)
    assert all("query" in name or "value" in name for name in moved)
    loaded = LiraModel.from_pretrained(tmp_path / "out" / "model")
    assert_close(loaded.encode_query(["áo thun"]), trained.encode_query(["áo thun"]))


def test_bfloat16_training_ends_near_float32(small: dict[str, object], tmp_path: Path) -> None:
    vectors = []
    for precision in ("float32", "bfloat16"):
        changed = {
            **small,
            "arca": None,
            "lasr": {"epochs": 4, "batch_size": 4, "learning_rates": {"lasr": 0.01}, "precision": precision},
        }
        model = train_module.train(read_options(written(tmp_path, changed)), tmp_path / precision)
        assert all(value.dtype.itemsize == 4 for value in model.parameters())
        vectors.append(model.encode_query(["áo thun nam", "nồi cơm"]))
    assert (vectors[0] * vectors[1]).sum(-1).min() > 0.99
    assert not vectors[0].equal(vectors[1])
