"""Publishing a reasoning model: its card, its records, and what stays on this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hub.card_rules import faults
from huggingface_hub import ModelCard
from test_reasoning_eval import LANGUAGES, called, write_questions
from tiny_language_models import opened, save_language_model

from modeling_lira import LiraError, LiraForCausalLM
from modeling_lira.records.model_card import CardSources
from modeling_lira.records.publishing import card_sources, write_ready

TRAINING: dict[str, Any] = {
    "command": "lira train-reasoning --questions runs/questions --output runs/mine",
    "options": {"questions": "runs/questions", "seed": 3, "lora": None},
    "questions": 1200,
    "seconds": 70.4,
    "versions": {"torch": "2.13.0"},
    "logs": {
        "mapping": [{"loss_answer": 8.0}, {"loss_answer": 4.5}, {"seconds": 20.0}],
        "augmentation": [{"seconds": 0.2}],
    },
}


@pytest.fixture(scope="module")
def run(build_model, tmp_path_factory) -> Path:
    """A run's folder with a self-contained model, whose parts came from folders of this machine."""
    root = tmp_path_factory.mktemp("reasoning")
    language_model = save_language_model("llama", root / "llama")
    torch.manual_seed(0)
    lira = build_model(num_feature_bins=3, languages=LANGUAGES)
    opened(LiraForCausalLM.from_lira(lira, language_model, projector_size=8)).save_pretrained(root / "run" / "model")
    (root / "run" / "training.json").write_text(json.dumps(TRAINING))
    return root / "run"


def test_the_card_tells_training_and_evaluation_and_the_folder_loads(run, tmp_path):
    data, record = write_questions(tmp_path / "questions"), tmp_path / "records" / "own.json"
    arguments = ["own", "--data", data, "--model", run / "model", "--streams", tmp_path / "s", "--output", tmp_path]
    assert called(*arguments, "--records", record.parent) == 0
    write_ready(run, "my-org/answers", card_sources(run, evaluation=record), tmp_path / "ready")
    card = ModelCard.load(tmp_path / "ready" / "README.md")
    assert not list(faults(str(card), "model"))
    assert card.data.pipeline_tag == "text-generation" and card.data.language == LANGUAGES
    assert "sentence-transformers" not in card.data.tags and card.data.base_model is None
    metrics = {(one.dataset_config, one.metric_type) for one in card.data.eval_results or []}
    assert metrics == {(code, "accuracy") for code in ("vi", "bn", "en")}
    for line in (
        "1,200 questions of the train split, the language model frozen. Seed 3.",
        "- mapping: loss of the answer 8.00 to 4.50, 20 s",
        "- augmentation, 0 s",
        TRAINING["command"],
        "- language model: a model of its author's own, at main, llama, 2 layers, 32 wide, ",
        "**LiRA without translations**",
    ):
        assert line in card.text, line
    assert len((tmp_path / "ready" / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    assert "| language model alone |" in card.text and "$" not in card.text
    assert 'AutoModelForCausalLM.from_pretrained("my-org/answers"' in card.text
    config = (tmp_path / "ready" / "config.json").read_text()
    assert str(run.parent) not in config and "/" not in json.loads(config)["text_model"]
    loaded, whole = (LiraForCausalLM.from_pretrained(folder) for folder in (tmp_path / "ready", run / "model"))
    asked = loaded.processor(["áo sơ mi?"], languages="vi")
    assert torch.equal(loaded.generate(**asked, max_new_tokens=4), whole.generate(**asked, max_new_tokens=4))


def test_trained_parts_are_counted_without_the_frozen_ones(run, tmp_path):
    write_ready(run, "my-org/answers", CardSources(), tmp_path / "ready")
    model = LiraForCausalLM.from_pretrained(run / "model")
    frozen = model.backbone_keys()
    trained = sum(tensor.numel() for name, tensor in model.state_dict().items() if name not in frozen)
    assert f"{trained:,} parameters of LiRA's own" in (tmp_path / "ready" / "README.md").read_text()


def test_a_record_of_several_models_or_of_another_is_refused(run, tmp_path):
    for weights, message in ((["a", "b"], "of other weights"), (["0" * 12], "of other weights")):
        record = tmp_path / "own.json"
        record.write_text(json.dumps({"name": "own", "payload": {"weights": weights, "results": [{}]}}))
        with pytest.raises(LiraError, match=message):
            write_ready(run, "my-org/answers", card_sources(run, evaluation=record), tmp_path / "ready")


def test_parts_that_nobody_else_has_are_not_left_out(run, tmp_path):
    model = LiraForCausalLM.from_pretrained(run / "model")
    model.save_pretrained(tmp_path / "adapter", save_backbones=False)
    with pytest.raises(LiraError, match=r"backbone is '/.*', which nobody else has"):
        write_ready(tmp_path / "adapter", "my-org/answers", CardSources(), tmp_path / "ready")
    path = tmp_path / "adapter" / "config.json"
    config = json.loads(path.read_text())
    config["lira_config"] |= {"multilingual_backbone": "some/multilingual", "english_backbone": "some/english"}
    path.write_text(json.dumps(config))
    with pytest.raises(LiraError, match=r"language model is '/.*', which nobody else has"):
        write_ready(tmp_path / "adapter", "my-org/answers", CardSources(), tmp_path / "ready")
