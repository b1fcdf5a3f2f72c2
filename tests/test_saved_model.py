"""One way to load a saved model for every command: a run, its model, a Hub id; trained offline, used offline."""

import json
from pathlib import Path

import pytest
from conftest import MULTILINGUAL_TEXTS, disturb
from helpers import lira

from modeling_lira import LiraError
from modeling_lira.records.publishing import card_sources
from modeling_lira.records.saved_model import chosen_backbones, load_model, model_folder, training_record

TEXTS = list(MULTILINGUAL_TEXTS)[:4]
NOWHERE = "someone/not-on-this-machine"


@pytest.fixture(scope="module")
def run(build_model, backbones, tmp_path_factory) -> Path:
    """What training on folders left: an adapter whose config names the Hub, and a record that names the folders."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    model = disturb(build_model(anchor_texts=TEXTS))
    model.config.multilingual_backbone = model.config.english_backbone = NOWHERE
    model.save_pretrained(run / "model", save_backbones=False)
    options = {"multilingual": str(backbones["xlm-roberta"]), "english": str(backbones["bert"])}
    (run / "training.json").write_text(json.dumps({"command": "lira train", "options": options}))
    return run


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("name", [".", "model"])
def test_a_run_loads_on_what_it_was_trained_on(run, backbones, name):
    model = load_model(run / name)
    assert model.encode_query(TEXTS).isfinite().all()
    assert chosen_backbones(run / name, multilingual="x", english=None) == {
        "multilingual_backbone": "x",
        "english_backbone": str(backbones["bert"]),
    }


def test_what_is_given_goes_before_what_was_trained_on(run, backbones):
    with pytest.raises(LiraError, match="modernbert"):
        load_model(run, english=str(backbones["modernbert"]))


def test_without_the_record_the_error_names_the_ways_out(run, tmp_path):
    import shutil

    alone = shutil.copytree(run / "model", tmp_path / "alone")
    with pytest.raises(LiraError, match=r"not-on-this-machine.*multilingual_backbone.*pypi:.*save_backbones=True"):
        load_model(alone)


def test_a_self_contained_model_loads_its_own(run, tmp_path):
    import shutil

    shutil.copy(run / "training.json", tmp_path / "training.json")
    load_model(run).save_pretrained(tmp_path / "model", save_backbones=True)
    assert chosen_backbones(tmp_path, multilingual=None, english=None) == {}
    assert load_model(tmp_path).encode_query(TEXTS).isfinite().all()


@pytest.mark.parametrize("name", [".", "model"])
def test_records_are_found_from_the_run_and_from_its_model(run, name):
    assert training_record(run / name) is not None and model_folder(run / name) == run / "model"
    assert card_sources(run / name).training is not None


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(LiraError, match="holds no model"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", [".", "model"])
def test_encode_and_search_take_what_evaluate_takes(run, backbones, tmp_path, name, capsys):
    (tmp_path / "titles.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    paths = ["--input", tmp_path / "titles.jsonl", "--output", tmp_path / "out"]
    assert lira("encode", "--model", run / name, *paths) == 0
    given = ["--multilingual", backbones["xlm-roberta"], "--english", backbones["bert"]]
    assert lira("encode", "--model", run / name, *paths, *given) == 0
    index = ["--index", tmp_path / "index"]
    assert lira("search", *index, "--add", tmp_path / "out", TEXTS[0]) == 0
    assert TEXTS[0] in capsys.readouterr().out
    assert lira("search", *index, "--model", run / name, *given, TEXTS[1]) == 0


@pytest.mark.parametrize(
    ("licence", "hint"),
    [("apache", "apache-2.0"), ("Apache-2.0", "apache-2.0"), ("MIT", "mit"), ("nonsense!", "other")],
)
def test_a_licence_that_the_hub_does_not_know_is_refused(run, tmp_path, capsys, licence, hint):
    assert lira("push", run, "--output", tmp_path / "ready", "--license", licence) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "ready").exists()
