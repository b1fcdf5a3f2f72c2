"""Encoders tuned before the head: every way trains, saves, loads, resumes; changes of another backbone are refused."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_backbone
from datasets import DatasetDict
from fresh import Forks
from helpers import lira
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tiny_corpus import make_split, write_corpus
from tiny_language_models import save_language_model
from torch.nn import functional as F
from torch.testing import assert_close
from train_in_processes import run_alone_and_together

from modeling_lira import LiraForCausalLM, LiraModel
from modeling_lira.errors import LiraError
from modeling_lira.frozen_backbone import FrozenBackbone, weights_sketch
from modeling_lira.training import tuning
from modeling_lira.training.graded_loss import Judgements, ranking_loss
from modeling_lira.training.options import TrainingOptions, TuneOptions
from modeling_lira.training.train import train
from modeling_lira.training.tuning import RIVAL, EncoderTrainer, averaged, low_rank_changes, prepare, tune_encoders

OPTIONS = TuneOptions(
    epochs=2, batch_size=2, rank=4, learning_rate=0.02, shares=(1.0,), negatives=1, english_titles=0.5
)
SPLITS = [make_split(language, number) for number, language in enumerate(("vi", "th"))]
TEXTS = ["áo thun nam", "เสื้อเชิ้ต", "old book 3"]


@pytest.fixture
def names(backbones: dict[str, Path]) -> dict[str, str]:
    return {"multilingual": str(backbones["xlm-roberta"]), "english": str(backbones["bert"])}


def tuned(model: LiraModel, names: dict[str, str], folder: Path, seed: int = 0, **options: object) -> LiraModel:
    tune_encoders(model, names, SPLITS, SPLITS, folder, replace(OPTIONS, **options), seed)
    return model


def encoders(model: LiraModel) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if "_encoder." in name}


def moved(model: LiraModel, start: LiraModel) -> set[str]:
    before = encoders(start)
    return {name for name, value in encoders(model).items() if not value.equal(before[name])}


@pytest.mark.parametrize("way", ["lora", "layers:1", "full"])
def test_every_way_trains_what_it_says_saves_little_and_loads_equal(
    way: str, build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path
) -> None:
    start = build_model()
    model = tuned(build_model(), names, tmp_path / "run", multilingual=way)
    changed = moved(model, start)
    assert changed and all(name.startswith("multilingual_encoder.encoder.layer.") for name in changed)
    if way == "layers:1":
        assert all(".layer.1." in name for name in changed)
    model.save_pretrained(tmp_path / "model", save_backbones=False)
    saved = load_file(tmp_path / "model" / "model.safetensors")
    changes = {name: value for name, value in saved.items() if "encoder." in name}
    assert {value.dtype for value in changes.values()} == {torch.float16}
    assert {name.rpartition(".")[0] for name in changes} == changed
    loaded = LiraModel.from_pretrained(tmp_path / "model")
    assert_close(encoders(loaded), encoders(model), atol=0, rtol=0)
    assert_close(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-6, rtol=0)
    assert weights_sketch(loaded.multilingual_encoder) == weights_sketch(model.multilingual_encoder)
    loaded.save_pretrained(tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert_close(again, saved, atol=0, rtol=0)


def test_a_merged_save_needs_no_backbone(
    build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tuned(build_model(), names, tmp_path / "run")
    model.save_pretrained(tmp_path / "model", save_backbones=False)
    assert lira("merge", tmp_path / "model", "--output", tmp_path / "whole") == 0
    loaded = LiraModel.from_pretrained(tmp_path / "whole")
    assert list(loaded.config.tuned_backbones) == [] and model.config.tuned_backbones == ["multilingual"]
    assert loaded.config.multilingual_digest == weights_sketch(model.multilingual_encoder)
    assert_close(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-6, rtol=0)
    LiraModel.from_pretrained(tmp_path / "whole", multilingual_backbone=names["multilingual"])
    assert "has other weights than this checkpoint was trained on" in caplog.text
    next(model.multilingual_encoder.parameters()).data += 1
    with pytest.raises(LiraError, match="the backbones changed"):
        model.save_pretrained(tmp_path / "no", save_backbones=False)


@pytest.mark.parametrize(("share", "as_start"), [(0.0, True), (1.0, False)])
def test_a_share_of_nothing_is_the_start_and_one_of_all_is_the_tuned_encoder(
    share: float, as_start: bool, build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path
) -> None:
    model = tuned(build_model(), names, tmp_path / "run", shares=(share,))
    (rival,) = (tmp_path / "run").glob(f"*/{RIVAL}")
    vectors = F.normalize(model.encode_streams(TEXTS, "multilingual").mean(1), dim=-1)
    before = F.normalize(build_model().encode_streams(TEXTS, "multilingual").mean(1), dim=-1)
    by_library = SentenceTransformer(str(rival), device="cpu").encode_query(TEXTS, convert_to_tensor=True)
    expected = before if as_start else by_library
    assert_close(vectors, expected, atol=2e-3 * (not as_start), rtol=0)
    assert (by_library - before).abs().max() > 0.01  # five times what the comparison lets pass


def test_the_share_is_the_best_on_validation(
    build_model: Callable[..., LiraModel],
    names: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = iter([{"score": 0.3}, {"score": 0.5}, {"score": 0.4}])
    monkeypatch.setattr(tuning, "encoder_scores", lambda *_: next(scores))
    model = build_model()
    log = tune_encoders(model, names, SPLITS, SPLITS, tmp_path, replace(OPTIONS, shares=(0.25, 0.5, 1.0)), 0)
    shares = {row["share"]: row["score"] for row in log["tune-multilingual"] if "share" in row}
    assert shares == {0.25: 0.3, 0.5: 0.5, 1.0: 0.4}
    monkeypatch.undo()
    half = tuned(build_model(), names, tmp_path / "half", shares=(0.5,))
    assert_close(encoders(model), encoders(half), atol=0, rtol=0)


@pytest.mark.parametrize("way", ["lora", "full"])
def test_an_interrupted_run_ends_with_the_weights_of_a_whole_one(
    way: str,
    build_model: Callable[..., LiraModel],
    names: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = tuned(build_model(), names, tmp_path / "whole", multilingual=way)
    step = EncoderTrainer.training_step
    steps = []

    def killed(self: EncoderTrainer, *arguments: object, **others: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return step(self, *arguments, **others)

    monkeypatch.setattr(EncoderTrainer, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        tuned(build_model(), names, tmp_path / "cut", multilingual=way)
    again = tuned(build_model(), names, tmp_path / "cut", multilingual=way)
    total = len(steps)
    assert_close(encoders(again), encoders(whole), atol=0, rtol=0)
    tuned(build_model(), names, tmp_path / "cut", multilingual=way)
    assert len(steps) == total  # a finished run is read


def test_the_english_encoder_is_tuned_on_translations_and_english_titles(
    build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path
) -> None:
    data, _ = tuning.training_rows(SPLITS, "english", OPTIONS, 0)
    translations = {text for split in SPLITS for row in split.queries.candidates for text in row}
    titles = {title for split in SPLITS for title in split.english_titles}
    for rows in data.values():
        assert set(rows["anchor"]) <= translations and set(rows["positive"]) | set(rows["negative_0"]) <= titles
    model = tuned(build_model(), names, tmp_path, multilingual="none", english="lora")
    changed = moved(model, build_model())
    assert changed and all(name.startswith("english_encoder.") for name in changed)
    assert model.config.tuned_backbones == ["english"]


def test_rows_are_of_one_language_with_a_best_title_some_that_do_not_fit_and_one_that_fits_in_part() -> None:
    options = replace(OPTIONS, epochs=4, negatives=2)
    data, judgements = tuning.training_rows(SPLITS, "multilingual", options, 0)
    assert sorted(data) == ["th english", "th local", "vi english", "vi local"]
    assert sum(map(len, data.values())) == 4 * 16
    assert sorted(label for rows in data.values() for label in rows["label"]) == list(range(4 * 16))
    split = SPLITS[0]
    for kind, titles in (("english", split.english_titles), ("local", split.titles)):
        for row in data[f"vi {kind}"]:
            query = split.queries.texts.index(row["anchor"])
            assert titles.index(row["positive"]) == query  # grade 3; its neighbour has 1
            assert titles.index(row["negative_0"]) in split.hard_negatives[query]
            assert split.gains[query][titles.index(row["partial"])] == 1
            assert_close(judgements.targets([row["label"]], [row["label"]]), torch.tensor([[0.75, 0, 0, 0.25]]))
    fewer, _ = tuning.training_rows(SPLITS, "multilingual", replace(options, queries=3), 0)
    assert len(fewer["vi local"]) < 12
    with pytest.raises(LiraError, match="too few to train on"):
        tuning.fitted(DatasetDict(), options)


def test_the_usual_loss_gets_the_same_pairs_and_no_grades() -> None:
    graded, _ = tuning.training_rows(SPLITS, "multilingual", OPTIONS, 0)
    pairs, _ = tuning.training_rows(SPLITS, "multilingual", replace(OPTIONS, loss="pairs"), 0)
    for group, rows in pairs.items():
        assert rows.column_names == ["anchor", "positive", "negative_0"]
        assert rows.to_dict() == graded[group].remove_columns(["partial", "label"]).to_dict()


@pytest.mark.parametrize("loss", ["graded", "pairs"])
def test_a_shop_with_fewer_pairs_than_a_batch_is_tuned_on_them(
    loss: str, build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path
) -> None:
    large = replace(OPTIONS, batch_size=64, loss=loss)
    data, _ = tuning.training_rows(SPLITS, "multilingual", large, 0)
    groups, options = tuning.fitted(data, large)
    assert 1 <= options.batch_size <= 8 and all(len(rows) >= options.batch_size for rows in groups.values())
    assert tuning.fitted(data, replace(OPTIONS, loss=loss)) == (data, replace(OPTIONS, loss=loss))
    assert moved(tuned(build_model(), names, tmp_path, batch_size=64, loss=loss), build_model())


def test_a_query_without_hard_negatives_or_poorer_titles_gets_others_that_do_not_fit() -> None:
    split = replace(SPLITS[0], hard_negatives=[[]] * 8, gains=[{2: 2, 5: 2}] * 8)
    documents = tuning._documents(split, 2, 3, np.random.default_rng(0))
    assert documents[0] in (2, 5) and len(documents) == 5
    assert not {*documents[1:]} & {2, 5}


def test_full_changes_are_kept_as_the_nearest_ones_of_low_rank() -> None:
    layer = torch.nn.Linear(6, 5)
    start = copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        layer.weight.add_(torch.outer(torch.arange(5.0), torch.ones(6)))
        layer.bias.add_(1)
    changes = averaged(low_rank_changes(layer, start, 1), 0.5)
    changed = tuning.with_changes(start, changes, "test")
    assert_close(changed["weight"], (start["weight"] + layer.weight) / 2, atol=1e-2, rtol=0)
    assert_close(changed["bias"], start["bias"] + 0.5)


def spoilt(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})
    return folder


NAME = "multilingual_encoder.encoder.layer.0.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(f"{NAME}.change_up"), "is damaged"),
        (lambda w: w.pop(f"{NAME}.change_start"), "is damaged"),
        (lambda w: w.update({f"{NAME}.change_up": torch.zeros(48, 3).half()}), "is damaged"),
        (lambda w: w.update({f"{NAME}.change_up": torch.zeros(47, 4).half()}), "is damaged"),
        (lambda w: w.update({f"{NAME}.change_up": torch.full((48, 4), torch.nan).half()}), "not finite"),
        (lambda w: w.update({"multilingual_encoder.nothing.weight.change": torch.zeros(2).half()}), "does not have"),
        (lambda w: [w.pop(name) for name in list(w) if name.startswith("multilingual_encoder.")], "lacks the changes"),
        (
            lambda w: [w.update({name: 5 * torch.ones(len(w[name])).half()}) for name in w if name.endswith("start")],
            "another backbone",
        ),
    ],
)
def test_damaged_changes_are_one_clear_error(
    change: Callable[[dict[str, torch.Tensor]], object],
    message: str,
    build_model: Callable[..., LiraModel],
    names: dict[str, str],
    tmp_path: Path,
) -> None:
    model = build_model()
    model.save_pretrained(saved(model, names, tmp_path), save_backbones=False)
    with pytest.raises(LiraError, match=message):
        LiraModel.from_pretrained(spoilt(tmp_path / "model", change))


def saved(model: LiraModel, names: dict[str, str], folder: Path) -> Path:
    """Change a model as tuning does, without training, and return where to save it."""
    model._remember_changes(changes_of(model))
    model.config.tuned_backbones = ["multilingual"]
    state = tuning.with_changes(model.state_dict(), model._changes, "test")
    model.load_state_dict(state)
    model._remember_frozen()
    return folder / "model"


def changes_of(model: LiraModel) -> dict[str, torch.Tensor]:
    weight = model.state_dict()[NAME]
    up, down = 0.1 * torch.randn(48, 4), torch.randn(4, 48)
    pair = tuning._pair(NAME, up, down, {NAME: weight})
    return averaged(pair, 1.0)


def test_changes_of_another_backbone_are_refused_and_those_of_rounded_weights_are_not(
    build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = build_model()
    model.save_pretrained(saved(model, names, tmp_path), save_backbones=False)
    other = tmp_path / "other"
    shutil.copytree(names["multilingual"], other)
    spoilt(other, lambda weights: weights.update({name: torch.randn(v.shape) for name, v in weights.items()}))
    with pytest.raises(LiraError, match="made on another backbone"):
        LiraModel.from_pretrained(tmp_path / "model", multilingual_backbone=other)
    narrow = save_backbone("bert", tmp_path / "narrow")
    with pytest.raises(LiraError, match="does not fit this checkpoint"):
        LiraModel.from_pretrained(tmp_path / "model", multilingual_backbone=narrow)
    rounded = tmp_path / "rounded"
    shutil.copytree(names["multilingual"], rounded)
    spoilt(
        rounded, lambda weights: weights.update({k: v * (1 + 0.05 * torch.randn(v.shape)) for k, v in weights.items()})
    )
    LiraModel.from_pretrained(tmp_path / "model", multilingual_backbone=rounded)
    assert "has other weights than this checkpoint was trained on" in caplog.text


def test_tuned_backbones_are_backbones_and_their_changes_are_there(
    build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    model = build_model()
    model.config.tuned_backbones = ["decoder"]
    with pytest.raises(LiraError, match="tuned_backbones must be among multilingual, english"):
        model.config.validate()
    model.config.tuned_backbones = []
    model.save_pretrained(tmp_path, save_backbones=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tuned_backbones": ["english"]}))
    with pytest.raises(LiraError, match="lacks the changes of its english backbone"):
        LiraModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("included", [False, True])
def test_a_reasoning_model_keeps_the_changes_of_its_encoder(
    included: bool, build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path
) -> None:
    lira_model = build_model()
    saved(lira_model, names, tmp_path)
    model = LiraForCausalLM.from_lira(lira_model, save_language_model("llama", tmp_path / "text"), projector_size=8)
    model.save_pretrained(tmp_path / "model", save_backbones=included)
    loaded = LiraForCausalLM.from_pretrained(tmp_path / "model")
    assert_close(encoders(loaded.lira), encoders(lira_model), atol=0, rtol=0)
    assert list(loaded.lira.config.tuned_backbones) == ([] if included else ["multilingual"])
    loaded.lira.processor = lira_model.processor
    loaded.lira.save_pretrained(tmp_path / "lira")
    again = LiraModel.from_pretrained(tmp_path / "lira")
    assert_close(encoders(again), encoders(lira_model), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"multilingual": "adapter"}, "tune.multilingual must be none, lora, full or layers:K"),
        ({"english": "layers:0"}, "tune.english must be"),
        ({"shares": ()}, "at least one share"),
        ({"shares": (1.5,)}, "shares must be between 0 and 1"),
        ({"precision": "int8"}, "precision 'int8' is unknown"),
        ({"rank": 0}, "rank must be at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(LiraError, match=message):
        TuneOptions(**given)


def test_more_layers_than_there_are_is_an_error(
    build_model: Callable[..., LiraModel], names: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(LiraError, match="more layers than the encoder's 2"):
        tuned(build_model(), names, tmp_path, multilingual="layers:3")


@pytest.mark.slow
def test_training_with_tuning_writes_a_small_model_that_searches(names: dict[str, str], tmp_path: Path) -> None:
    small = {"epochs": 1, "batch_size": 4}
    options = TrainingOptions(
        corpus=str(write_corpus(tmp_path / "corpus")),
        **names,
        arca=None,
        lasr=small,
        tune=OPTIONS,
    )
    model = train(options, tmp_path / "out")
    loaded = LiraModel.from_pretrained(tmp_path / "out" / "model")
    assert not loaded.config.backbones_included and loaded.config.tuned_backbones == ["multilingual"]
    assert_close(loaded.encode_query(TEXTS), model.encode_query(TEXTS), atol=1e-6, rtol=0)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert set(record["training"]) == {"tune-multilingual", "lasr"}


def tune_alone(task: dict[str, str]) -> None:
    """Tune in this process, which may be one of several."""
    model = LiraModel.from_backbones(task["multilingual"], task["english"], adaptor_size=16, actor_size=8)
    names = {path: task[path] for path in ("multilingual", "english")}
    tune_encoders(model, names, SPLITS, SPLITS, Path(task["output"]), OPTIONS, 0)


@pytest.mark.slow
def test_two_processes_share_each_batch_of_one(backbones: dict[str, Path], forks: Forks, tmp_path: Path) -> None:
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # it draws in each process apart
    torch.manual_seed(0)
    names = {
        "multilingual": str(save_backbone("xlm-roberta", tmp_path / "g", **still)),
        "english": str(backbones["bert"]),
    }
    folders = tmp_path / "one", tmp_path / "two"
    run_alone_and_together(forks, tune_alone, *({**names, "output": str(folder)} for folder in folders))
    results = []
    for folder in folders:
        (best,) = folder.glob("tune-*/best/model.safetensors")
        results.append(load_file(best))
    assert_close(results[0], results[1], atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("graded", [True, False])
def test_a_batch_in_small_parts_has_the_gradient_of_the_whole(
    graded: bool, build_model: Callable[..., LiraModel], names: dict[str, str]
) -> None:
    judgements = Judgements()
    for row in range(5):
        judgements.add({row: 3, (row + 1) % 5: 1}, [row])
    gradients = []
    for rows in (0, 2):
        encoder = tuning.sentence_transformer(build_model(), "multilingual", FrozenBackbone(names["multilingual"]))
        prepare(encoder.eval(), "full", 0)
        columns = [["áo", "giày", "sách", "nón", "cá"], ["shirt", "shoe", "book", "hat", "fish"]]
        loss = ranking_loss(encoder, judgements if graded else None, rows, {"scale": 20.0})
        value = loss([encoder.preprocess(column) for column in columns], torch.arange(5))
        value.backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert len(gradients[0]) > 20
    assert max(gradient.abs().max() for gradient in gradients[0].values()) > 1e-3
    assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_the_encoder_for_the_library_embeds_as_the_models_own_streams(
    build_model: Callable[..., LiraModel], names: dict[str, str]
) -> None:
    model = build_model(query_prefix="query: ", document_prefix="passage: ")
    encoder = tuning.sentence_transformer(model, "multilingual", FrozenBackbone(names["multilingual"]))
    for kind, embed in (("query", encoder.encode_query), ("document", encoder.encode_document)):
        vectors = F.normalize(model.encode_streams(TEXTS, "multilingual", kind).mean(1), dim=-1)
        assert_close(embed(TEXTS, convert_to_tensor=True), vectors, atol=1e-5, rtol=0)


def test_scores_are_those_of_a_search_with_the_encoder_alone(build_model: Callable[..., LiraModel]) -> None:
    unseen = replace(SPLITS[0], unseen_type=[True] * 2 + [False] * 6)
    scores = tuning.encoder_scores(build_model(), "multilingual", [tuning._fewer(unseen, 8)])
    assert scores["score"] == pytest.approx((scores["ndcg@10"] + scores["ndcg@10_unseen"]) / 2)
    part = tuning._fewer(unseen, 1)
    assert part.rows == [0] and {0, 1} <= set(part.documents) and len(part.documents) == 7
