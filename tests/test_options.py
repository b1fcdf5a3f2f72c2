"""Training options from YAML, and `lira train` from the command line."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fresh import Forks
from tiny_corpus import make_split, write_corpus
from typer.testing import CliRunner

from modeling_lira import LiraError, LiraModel
from modeling_lira.cli import app, main
from modeling_lira.cli.train import named_options
from modeling_lira.training.options import (
    ArcaOptions,
    ArcaWeights,
    LanguageModelLora,
    LasrOptions,
    LasrWeights,
    ReasoningOptions,
    TrainingOptions,
    TuneOptions,
    read_options,
)
from modeling_lira.training.stages import LasrStage

# The public name `modeling_lira.training.train` is the function.
train_module = importlib.import_module("modeling_lira.training.train")


def written(folder: Path, options: object) -> Path:
    path = folder / "options.yaml"
    path.write_text(options if isinstance(options, str) else yaml.safe_dump(options), encoding="utf-8")
    return path


def test_nested_options_replace_defaults_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, {"corpus": "c", "seed": 3, "lasr": {"epochs": 1, "weights": {"hinge": 2}}, "tune": {}})
    options = read_options(path, seed=7, languages=None)
    assert isinstance(options.lasr, LasrOptions)
    assert (options.seed, options.languages, options.tune) == (7, (), TuneOptions())
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


def test_an_unknown_config_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match=r"no config 'tunde': name a YAML file or one of frozen, .*tuned"):
        named_options("tunde")
    with pytest.raises(LiraError, match="there is no config"):
        named_options(str(tmp_path))


def test_every_config_that_comes_with_the_package_is_readable() -> None:
    for name in ("tuned", "frozen", "ranking", "joint", "retrieval", "lora"):
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
        vectors.append(model.encode_query(["áo thun nam", "nồi cơm"], "vi", [["men's t-shirt"], ["rice cooker"]]))
    assert (vectors[0] * vectors[1]).sum(-1).min() > 0.99
    assert not vectors[0].equal(vectors[1])


def run_train(folder: Path, config: Path, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as done:
        main(["train", "--config", str(config), "--output", str(folder), *arguments])
    return done.value.code, str(folder)  # type: ignore[return-value]


def test_another_seed_does_not_replace_a_model_and_the_same_command_goes_on(
    small: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = written(tmp_path, {**small, "arca": None}), tmp_path / "out"
    assert run_train(out, config)[0] == 0
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "streams" not in path.parts}
    capsys.readouterr()
    assert run_train(out, config, "--seed", "1")[0] == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "differs in seed (0 there, 1 here)" in line
    (tmp_path / "other").mkdir()
    changed = written(tmp_path / "other", {**small, "arca": None, "lasr": {"epochs": 1, "batch_size": 4}})
    assert run_train(out, changed)[0] == 2
    assert "lasr.epochs (4 there, 1 here)" in capsys.readouterr().err
    assert run_train(out, config)[0] == 0  # and the record keeps the true cost
    assert {path: path.read_bytes() for path in files} == files


def test_another_corpus_under_the_same_name_is_another_run(
    small: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = read_options(written(tmp_path, {**small, "arca": None, "lasr": {"epochs": 1, "batch_size": 4}}))
    train_module.train(options, tmp_path / "out")
    monkeypatch.setattr(train_module, "load_split", lambda corpus, code, part: make_split(code, 2))
    with pytest.raises(LiraError, match="differs in corpus"):
        train_module.train(options, tmp_path / "out")


@pytest.mark.parametrize("first", ["face", "module"])
def test_the_name_train_is_the_function_whichever_is_imported_first(first: str, forks: Forks, tmp_path: Path) -> None:
    lines = [
        "from modeling_lira.training import train, TrainingOptions, ArcaOptions, LasrOptions; assert callable(train)",
        "from modeling_lira.training.train import train as function; assert callable(function)",
        "from modeling_lira.training.options import TrainingOptions as Options",
    ]
    code = "\n".join(lines if first == "face" else lines[::-1])
    code += "\nimport modeling_lira.training as face; assert face.train is train is function"
    code += "\nassert Options is TrainingOptions"
    done = forks.run(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingOptions("c", languages="id"), r"languages: expected tuple of several, such as \[\"id\"\]"),
        (lambda: TrainingOptions("c", languages=("id", "id")), "languages must not name one thing twice"),
        (lambda: TrainingOptions("c", languages=("id", 3)), "languages: expected str, got 3"),
        (lambda: TrainingOptions("c", languages={"id"}), "languages: expected tuple"),
        (lambda: TrainingOptions(3), "corpus: expected str"),
        (lambda: TrainingOptions("c", seed=-1), "seed must be between 0 and"),
        (lambda: TrainingOptions("c", seed=2**32), "seed must be between 0 and"),
        (lambda: TrainingOptions("c", seed="1"), "seed: expected int"),
        (lambda: TrainingOptions("c", arca=LasrOptions()), "arca: expected ArcaOptions"),
        (lambda: TrainingOptions("c", model=["languages"]), "model: expected dict"),
        (lambda: ArcaOptions(epochs=0), "epochs must be at least 1, got 0"),
        (lambda: ArcaOptions(epochs=1.5), "epochs: expected int"),
        (lambda: ArcaOptions(patience=0), "patience must be at least 1"),
        (lambda: ArcaOptions(decay=-1), "decay must be at least 0"),
        (lambda: ArcaOptions(decay=float("nan")), "decay must be at least 0, got nan"),
        (lambda: ArcaOptions(learning_rates={"arca": -1e-3}), "learning_rates.arca must be at least 0"),
        (lambda: ArcaOptions(learning_rates={"arca": "fast"}), "learning_rates.arca: expected float"),  # type: ignore[dict-item]
        (lambda: ArcaOptions(must_improve=1), "must_improve: expected bool"),
        (lambda: ArcaWeights(entropy=-0.1), "entropy must be at least 0"),
        (lambda: LasrOptions(matryoshka=64), "matryoshka: expected tuple"),
        (lambda: LasrOptions(matryoshka=(0,)), "matryoshka must be at least 1"),
        (lambda: LasrOptions(matryoshka=(64, 64)), "matryoshka must not name one thing twice"),
        (lambda: LasrOptions(candidate_noise=1.2), "candidate_noise must be between 0 and 1"),
        (lambda: LasrOptions(english_titles=-0.1), "english_titles must be between 0 and 1"),
        (lambda: LasrOptions(doc_queue=-1), "doc_queue must be at least 0"),
        (lambda: LasrWeights(temperature=0), "temperature must be a number above 0"),
        (lambda: LasrWeights(k=0), "k must be at least 1"),
        (lambda: LasrWeights(pearson_share=2), "pearson_share must be between 0 and 1"),
        (lambda: TuneOptions(shares="all"), "shares: expected tuple"),
        (lambda: LanguageModelLora(rank=0), "rank must be at least 1"),
        (lambda: ReasoningOptions("q", mapping=-1), "mapping must be at least 0"),
        (lambda: ReasoningOptions("q", projector_size=0), "projector_size must be at least 1"),
        (lambda: ReasoningOptions("q", consistency=float("inf")), "consistency must be at least 0, got inf"),
    ],
)
def test_options_of_a_wrong_type_or_out_of_range_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(LiraError, match=message):
        make()


def test_lists_and_whole_numbers_are_taken_for_what_they_mean() -> None:
    options = TrainingOptions("c", languages=["vi", "th"], lasr=LasrOptions(decay=1, matryoshka=[64]))
    assert options.languages == ("vi", "th") and options.lasr is not None
    assert options.lasr.matryoshka == (64,) and isinstance(options.lasr.decay, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"num_feature_bin": 4}}, "model: option 'num_feature_bin' is unknown"),
        ({"languages": ["vi", "xx"]}, "has no language 'xx', only vi, th"),
        ({"corpus": "nowhere"}, "'nowhere'"),
    ],
)
def test_what_is_wrong_is_said_before_a_backbone_is_loaded(
    changes: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it asks again for half a minute
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(LiraModel, "from_backbones", lambda *_, **__: pytest.fail("a backbone was loaded"))
    options = read_options(written(tmp_path, {"corpus": str(corpus), **changes}))
    with pytest.raises(LiraError, match=message):
        train_module.train(options, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_learning_rate_of_no_part_is_named(tiny_model: LiraModel) -> None:
    with pytest.raises(LiraError, match=r"learning rate of 'lasr\.gates': the model has no part of that name"):
        LasrStage(tiny_model, LasrOptions(learning_rates={"lasr.gates": 0.1}), 1)
