"""The checkpoint that comes with the repository is what the code, its records and its card say."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open

FOLDER = Path(__file__).parents[1] / "model_cards" / "lira-e5-small-minilm"
PACKAGE = Path(__file__).parents[1] / "modeling_lira"


def test_its_code_is_linked_to_the_package_s() -> None:
    for file in FOLDER.glob("*.py"):
        assert file.is_symlink() and file.resolve() == (PACKAGE / file.name).resolve(), (
            f"{file.name} must be a link to ../../modeling_lira/{file.name}, not a copy"
        )


def test_it_holds_small_safetensors_of_trained_parts_only() -> None:
    assert not [path.name for path in FOLDER.rglob("*") if path.suffix in {".bin", ".pt", ".pkl", ".pickle"}]
    assert (FOLDER / "model.safetensors").stat().st_size <= 16 * 2**20
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        assert all(name.startswith(("arca.", "lasr.")) for name in weights.keys())  # noqa: SIM118  # no mapping
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["multilingual_backbone"] == "intfloat/multilingual-e5-small"
    assert config["english_backbone"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_its_code_imports_only_what_transformers_brings() -> None:
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
    for file in FOLDER.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
        names += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - allowed
        assert not foreign, f"{file.name} imports {foreign}"


def test_its_card_says_what_its_records_say() -> None:
    card = ModelCard.load(FOLDER / "README.md")
    training = json.loads((FOLDER / "training.json").read_text())
    evaluation = json.loads((FOLDER / "evaluation.json").read_text())
    assert training["command"] in card.text and evaluation["command"] in card.text
    assert training["options"]["seed"] == 0 and "Seed 0" in card.text
    values = {
        (result.dataset_config, result.metric_name): result.metric_value for result in card.data.eval_results or []
    }
    numbers = {result["value"] for result in evaluation["results"]}
    assert values and set(values.values()) <= numbers


@pytest.mark.timeout(280)
def test_it_loads_and_searches_on_offline_backbones_where_the_package_is_not() -> None:
    script = f"""
import sys
from transformers import AutoModel
sys.modules["modeling_lira"] = None
model = AutoModel.from_pretrained({str(FOLDER)!r}, trust_remote_code=True, multilingual_backbone=sys.argv[1],
                                  english_backbone=sys.argv[2])
queries = model.encode_query(["nồi cơm điện", "เสื้อยืดผู้ชาย"], ["vi", "th"], candidates=[["rice cooker"], []])
titles = model.encode_document(["Electric Rice Cooker 1.8L", "Men's Cotton T-Shirt, Black"], "en")
print((queries @ titles.T).argmax(1).tolist())
"""
    folders = subprocess.run(
        [sys.executable, "-c", "from modeling_lira.backbones import resolve; import sys; print(resolve(sys.argv[1]), "
         "resolve(sys.argv[2]), sep='\\n')", "pypi:multilingual-e5-small", "pypi:all-minilm-l6-v2"],
        capture_output=True, text=True, check=True, cwd=PACKAGE.parent,
    ).stdout.split("\n")  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-P", "-c", script, *folders[:2]],
        capture_output=True,
        text=True,
        cwd=FOLDER.parent,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == "[0, 1]"
