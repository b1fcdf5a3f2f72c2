"""The generated model card: valid, true to its records, and nothing without a record."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import disturb
from hub.card_rules import faults
from huggingface_hub import ModelCard

from modeling_lira import LiraError, LiraModel
from modeling_lira.records.model_card import CardSources, model_card, weights_digest
from modeling_lira.records.publishing import card_sources, write_ready
from modeling_lira.records.repository import prepare

TASK = "search of English titles"
TRAINING: dict[str, Any] = {
    "command": "lira train --config retrieval --corpus runs/corpus --output runs/mine",
    "options": {"corpus": "my-org/products", "seed": 3, "multilingual": "a/b", "english": "c/d"},
    "threads": 1,
    "processes": 2,
    "versions": {"torch": "2.13.0"},
    "training": {
        "arca": [{"epoch": 0.0, "eval_score": 0.25}, {"epoch": 1.0, "eval_score": 0.375}, {"seconds": 7.0}],
        "lasr": [
            {"epoch": 0.0, "eval_score": 0.375},
            {"epoch": 1.0, "loss": 0.1},
            {"epoch": 1.0, "eval_score": 0.5},
            {"epoch": 2.0, "eval_score": 0.4},
            {"seconds": 60.4, "cpu_seconds": 100.6},
        ],
    },
}
ROWS: list[dict[str, Any]] = [
    {"system": "encoder | alone", "language": "vi", "value": 0.25, "baseline": True},
    {"system": "LiRA", "language": "vi", "value": 0.51239, "interval": [0.4, 0.6]},
    {"system": "LiRA", "language": "th", "value": 0.75},
    {"system": "LiRA", "language": "mean", "value": 0.6312},
]
EVALUATION: dict[str, Any] = {
    "dataset": "products",
    "split": "test",
    "command": "lira evaluate runs/mine --corpus products",
    "cpu_seconds": 12.3,
    "results": [{**row, "task": TASK, "metric": "ndcg@10"} for row in ROWS],
}


@pytest.fixture(scope="module")
def folder(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter-only model whose backbones are on the Hub."""
    model = disturb(build_model(languages=["vi", "th", "en"]))
    model.config.multilingual_backbone, model.config.english_backbone = "some/multilingual", "some/english"
    folder = tmp_path_factory.mktemp("cards") / "model"
    model.save_pretrained(folder, save_backbones=False)
    return folder


def card_of(folder: Path, **sources: Any) -> Any:
    content = prepare(folder, "my-org/search", CardSources(**sources))["README.md"]
    assert isinstance(content, bytes)
    assert not list(faults(content.decode(), "model"))
    return ModelCard(content.decode())


def test_metadata_follows_from_config_and_records(folder: Path) -> None:
    data = card_of(folder, training=TRAINING, evaluation=EVALUATION, licence="apache-2.0").data
    assert data.language == ["vi", "th", "en"]
    assert data.base_model == ["some/multilingual", "some/english"]
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "transformers", "sentence-similarity")
    assert data.datasets is None  # the folder of the training may be no dataset of the Hub
    assert data.model_name == "search"
    results = [(one.dataset_config, one.metric_type, one.metric_value, one.dataset_type) for one in data.eval_results]
    assert results == [("vi", "ndcg_at_10", 0.51239, "products"), ("th", "ndcg_at_10", 0.75, "products")]
    assert {one.metric_name for one in data.eval_results} == {f"ndcg@10, {TASK}, LiRA"}


def test_the_text_shows_the_records(folder: Path) -> None:
    text = card_of(folder, training=TRAINING, evaluation=EVALUATION, licences={"some/english": "mit"}).text
    for line in (
        "| task | system | vi | th | mean |",
        f"| {TASK} | encoder \\| alone | 25.0 |  |  |",
        f"| {TASK} | **LiRA** | 51.2 (40.0–60.0) | 75.0 | 63.1 |",
        "- arca: 1 epochs, validation score 25.0 before, 37.5 at best, 7 s",
        "- lasr: 2 epochs, validation score 37.5 before, 50.0 at best, 60 s, 101 CPU-s",
        TRAINING["command"],
        EVALUATION["command"],
        "It took 12 CPU-seconds.",
        "some/multilingual: not told here; see its own page; some/english: mit.",
        "Trained weights: none given",
    ):
        assert line in text.splitlines() or line in text, line
    assert "Seed 3." in text and "Processes: 2, threads: 1" in text
    assert "$" not in text


def test_a_card_is_short_and_has_one_table(folder: Path) -> None:
    """What it is, how to use it, one table, limits, licence; a tuned encoder and seven languages are room enough."""
    languages = ["vi", "th", "id", "ms", "ur", "bn", "fil", "en"]
    tasks, systems = (TASK, "search of local titles"), ("BM25", "encoder", "tuned encoder", "translate", "LiRA", "free")
    rows = [
        {"system": system, "task": task, "metric": "ndcg@10", "language": language, "value": 0.5, "interval": [0, 1]}
        for task in tasks for system in systems for language in languages
    ]  # fmt: skip
    stages = {"tune-multilingual": [{"share": 0.5}, {"seconds": 5.0}], **TRAINING["training"]}
    training, evaluation = {**TRAINING, "training": stages}, {**EVALUATION, "results": rows}
    config = json.loads((folder / "config.json").read_text()) | {"tuned_backbones": ["multilingual"]}
    text = model_card(folder, config, "my-org/search", CardSources(training, evaluation))
    assert len(text.splitlines()) <= 120
    assert text.count("\n| ---") == 1 and "- tune-multilingual, 5 s" in text
    assert "tuned: low-rank changes of it are in the weight file" in text
    data: Any = ModelCard(text).data
    assert len(data.eval_results) == len(rows) and data.language == ["vi", "th", "en"]


def test_every_metric_has_its_line(folder: Path) -> None:
    rows = [{**row, "metric": metric} for row in EVALUATION["results"] for metric in ("ndcg@10", "mrr@10")]
    text = card_of(folder, evaluation={**EVALUATION, "results": rows}).text
    assert "| metric | task | system |" in text and f"| mrr@10 | {TASK} | **LiRA** | 51.2" in text


def test_without_records_nothing_is_claimed(folder: Path) -> None:
    card = card_of(folder)
    assert "have not been evaluated" in card.text and "No record of the training" in card.text
    assert card.data.eval_results is None and card.data.datasets is None and card.data.license is None


def test_a_published_corpus_takes_the_place_of_the_folder(folder: Path, tmp_path: Path) -> None:
    local = {**TRAINING, "options": {**TRAINING["options"], "corpus": str(tmp_path)}}
    assert card_of(folder, training=local, evaluation=EVALUATION).data.datasets is None
    card = card_of(folder, training=local, evaluation=EVALUATION, dataset="my-org/shop")
    assert card.data.datasets == ["my-org/shop"]
    assert {one.dataset_type for one in card.data.eval_results} == {"my-org/shop"}
    assert "[my-org/shop](https://huggingface.co/datasets/my-org/shop)" in card.text
    assert str(tmp_path) not in card.text.replace(json.dumps(str(tmp_path)), "")  # but among the options, as typed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "0" * 64}, "is of other weights than these"),
        ({"results": []}, "has no list named results"),
        ({"results": [{**EVALUATION["results"][0], "value": float("nan")}]}, "is no number"),
        ({"results": [{"system": "LiRA", "task": TASK, "metric": "x", "value": 1.0}]}, "lacks 'language'"),
        ({"results": ["x"]}, "lacks 'system'"),
    ],
)
def test_an_evaluation_that_does_not_belong_here_is_refused(folder: Path, changes: dict, message: str) -> None:
    with pytest.raises(LiraError, match=message):
        card_of(folder, evaluation={**EVALUATION, **changes})
    card_of(folder, evaluation={**EVALUATION, "weights": weights_digest(folder)})


def test_records_are_found_beside_the_model(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = folder.parent
    (run / "training.json").write_text(json.dumps(TRAINING))
    (run / "evaluation.json").write_text(json.dumps({**EVALUATION, "weights": weights_digest(folder)}))
    sources = card_sources(run)
    assert sources.training == TRAINING and sources.evaluation is not None
    assert sources.licences["intfloat/multilingual-e5-small"] == "mit"
    (run / "evaluation.json").write_text(json.dumps({**EVALUATION, "weights": "of before"}))
    assert card_sources(run).evaluation is None
    assert "is of other weights: left out of the card" in caplog.text
    of_eval = tmp_path / "record.json"
    of_eval.write_text(json.dumps({"name": "retrieval", "command": "python -m eval x", "payload": EVALUATION}))
    evaluation = card_sources(run, evaluation=of_eval).evaluation
    assert evaluation is not None and evaluation["results"] == EVALUATION["results"]


def test_a_ready_folder_loads_and_tells_the_same(folder: Path, tmp_path: Path, backbones: dict[str, Path]) -> None:
    write_ready(folder, "my-org/search", CardSources(TRAINING, EVALUATION), tmp_path / "ready")
    assert json.loads((tmp_path / "ready" / "evaluation.json").read_text()) == EVALUATION
    assert (tmp_path / "ready" / "README.md").read_text().startswith("---\n")
    paths = {"multilingual_backbone": backbones["xlm-roberta"], "english_backbone": backbones["bert"]}
    assert '"query_instruction": "", "text_instruction": ""' in (tmp_path / "ready" / "README.md").read_text()
    loaded = LiraModel.from_pretrained(tmp_path / "ready", **paths)
    assert (loaded.encode_query("áo") == LiraModel.from_pretrained(folder, **paths).encode_query("áo")).all()


def test_four_bit_weights_are_told_and_nothing_without_a_revision_is_called_pinned(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    known = {config["multilingual_digest"]: "de-quantised from 4 bits (Q4_0, x==1)"}
    text = card_of(folder, training=TRAINING, evaluation=EVALUATION, quantised=known).text
    assert text.count("de-quantised from 4 bits (Q4_0, x==1)") == 2  # beside the backbone and beside the figures
    assert "The float weights on the Hub are others" in text and "pinned" not in text
    assert "A backbone at `main` is fixed to no revision" in text
    assert "4 bits" not in card_of(folder, training=TRAINING, evaluation=EVALUATION).text


HOSTILE = "x|y <img src=a onerror=b> [z](http://a.b)\n\n# big\n```\n"


def test_what_records_say_is_only_text(folder: Path) -> None:
    rows = [{"system": HOSTILE, "language": HOSTILE, "task": HOSTILE, "metric": HOSTILE, "value": 0.5}]
    evaluation = {"dataset": HOSTILE, "split": HOSTILE, "command": HOSTILE, "results": rows}
    log = {HOSTILE: TRAINING["training"]["arca"]}
    training = {**TRAINING, "command": HOSTILE, "versions": {HOSTILE: HOSTILE}, "training": log}
    training["options"] = {**TRAINING["options"], "corpus": HOSTILE}
    text = card_of(folder, training=training, evaluation=evaluation, licence="mit").text
    outside, fence = [], ""
    for line in text.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if len(ticks) >= 3 and (not fence or line == fence):
            fence = "" if fence else ticks
        elif not fence:
            outside.append(line)
    assert not fence
    prose = re.sub(r"(`+)(?:(?!`).)+\1", "", "\n".join(outside))
    assert "<img" not in prose and "](http://a.b)" not in prose and "# big" not in prose.splitlines()
