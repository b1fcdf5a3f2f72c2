"""The checkpoints that come with the repository are what the code, their records and their cards say."""

import ast
import json
import sys
from pathlib import Path

import pytest
from fresh import Forks
from huggingface_hub import ModelCard
from safetensors import safe_open

from modeling_lira.backbones import resolve

CARDS = Path(__file__).parents[1] / "model_cards"
FOLDERS = [CARDS / "lira-e5-small-minilm", CARDS / "lira-e5-small-minilm-tuned"]
each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
PACKAGE = Path(__file__).parents[1] / "modeling_lira"


@each
def test_its_code_is_linked_to_the_package_s(folder: Path) -> None:
    for file in folder.glob("*.py"):
        assert file.is_symlink() and file.resolve() == (PACKAGE / file.name).resolve(), (
            f"{file.name} must be a link to ../../modeling_lira/{file.name}, not a copy"
        )


def test_together_they_take_12_mib() -> None:
    assert sum((folder / "model.safetensors").stat().st_size for folder in FOLDERS) <= 12 * 2**20


@each
def test_it_holds_safetensors_of_trained_parts_only_and_changes_of_low_rank(folder: Path) -> None:
    assert not [path.name for path in folder.rglob("*") if path.suffix in {".bin", ".pt", ".pkl", ".pickle"}]
    config = json.loads((folder / "config.json").read_text())
    parts = ["arca.", "lasr.", *(f"{path}_encoder." for path in config.get("tuned_backbones", []))]
    with safe_open(folder / "model.safetensors", "pt") as weights:
        names = list(weights.keys())
        assert {name[: len(part)] for part in parts for name in names if name.startswith(part)} == set(parts)
        assert all(name.startswith(tuple(parts)) for name in names)
        changes = [weights.get_slice(name).get_shape() for name in names if "_encoder." in name]
    assert all(min(shape, default=0) <= 16 for shape in changes)
    assert "/" not in str(config["multilingual_config"].get("_name_or_path", ""))
    assert config["multilingual_backbone"] == "intfloat/multilingual-e5-small"
    assert config["english_backbone"] == "sentence-transformers/all-MiniLM-L6-v2"


@each
def test_its_code_imports_only_what_transformers_brings(folder: Path) -> None:
    allowed = {
        "torch",
        "transformers",
        "huggingface_hub",
        "safetensors",
        "numpy",
        "sentence_transformers",
        "httpx",
        "tqdm",
    }
    for file in folder.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
        names += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - allowed
        assert not foreign, f"{file.name} imports {foreign}"


@each
def test_its_card_says_what_its_records_say(folder: Path) -> None:
    card = ModelCard.load(folder / "README.md")
    training = json.loads((folder / "training.json").read_text())
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert training["command"] in card.text and evaluation["command"] in card.text
    assert training["options"]["seed"] == 0 and "Seed 0" in card.text
    values = {
        (result.dataset_config, result.metric_name): result.metric_value for result in card.data.eval_results or []
    }
    numbers = {result["value"] for result in evaluation["results"]}
    assert values and set(values.values()) <= numbers


@each
@pytest.mark.timeout(280)
def test_it_loads_and_searches_on_offline_backbones_where_the_package_is_not(
    folder: Path, forks: Forks, tmp_path: Path
) -> None:
    script = f"""
import sys
from transformers import AutoModel
sys.modules["modeling_lira"] = None
model = AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=True, multilingual_backbone=sys.argv[1],
                                  english_backbone=sys.argv[2])
queries = model.encode_query(["nồi cơm điện", "เสื้อยืดผู้ชาย"], ["vi", "th"], candidates=[["rice cooker"], []])
titles = model.encode_document(["Electric Rice Cooker 1.8L", "Men's Cotton T-Shirt, Black"], "en")
print((queries @ titles.T).argmax(1).tolist())
"""
    encoders = [str(resolve(name)) for name in ("pypi:multilingual-e5-small", "pypi:all-minilm-l6-v2")]
    result = forks.run(script, *encoders, cwd=CARDS, environment={"HF_HOME": str(tmp_path / "hf")})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == "[0, 1]"
