"""From a shop's log to a model on a Hub as the README and the tutorial say it, block by block, with tiny encoders."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from hub.conftest import ROOT
from hub.server import WRITER, Hub

WORDS = {
    "áo thun": "t-shirt",
    "quần jean": "jeans",
    "nồi cơm": "rice cooker",
    "điện thoại": "phone",
    "giày thể thao": "sneakers",
    "balo": "backpack",
}
COLOURS = {"đen": "black", "trắng": "white", "đỏ": "red", "xanh": "blue", "vàng": "yellow", "hồng": "pink"}
SETTINGS = {
    "multilingual": "me/xlm-roberta",
    "english": "me/bert",
    "model": {"adaptor_size": 16, "actor_size": 8, "fusion_size": 16, "num_feature_bins": 1},
    "arca": {"epochs": 1, "batch_size": 8},
    "lasr": {"epochs": 1, "batch_size": 4},
}


def block(name: str) -> str:
    """Return the code of a marked block of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name} -->\n```\w*\n(.*?)```\n<!-- /{name} -->", text, re.DOTALL)
    assert match is not None
    return match[1]


def write_log(path: Path) -> None:
    """Every product is found by its own words, and by half of them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["search_term", "product", "title_en", "action", "language", "position", "session"])
        for word, english in WORDS.items():
            for colour, english_colour in COLOURS.items():
                title, title_en = f"{word} {colour} cao cấp", f"Premium {english_colour} {english}"
                for query in (f"{word} {colour}", f"{word} màu {colour}", f"{word} {colour} giá rẻ"):
                    for session in range(3):  # a query of fewer sessions is not published
                        rows.writerow([query, title, title_en, "impression", "vi", 1, session])
                        rows.writerow([query, title, title_en, "click", "vi", 1, session])


@pytest.fixture
def shop(hub: Hub, backbones: dict[str, Path], tmp_path: Path) -> Path:
    """A folder with the log and the training's settings; the Hub has the backbones."""
    for name in ("xlm-roberta", "bert"):
        upload(hub, f"me/{name}", backbones[name])
    folder = tmp_path / "shop"
    folder.mkdir()
    write_log(folder / "log.csv")
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"corpus": "given by the command", **SETTINGS}))
    return folder


def test_the_commands_of_the_readme(hub: Hub, shop: Path, tmp_path: Path) -> None:
    run_page(hub, shop, [["", block("from-log").replace("--config tuned", "--config tiny.yaml")]])
    files = hub.files("models", "my-org/product-search")
    assert hub.store.repo("models", "my-org/product-search").private
    assert {"config.json", "model.safetensors", "training.json", "evaluation.json", "st_lira.py"} <= files.keys()
    check_card(files)
    (shop / "load.py").write_text(block("load-elsewhere"))
    (shop / "elsewhere").mkdir()
    printed = run(hub, shop / "elsewhere", ["-I", "../load.py"], home="another").stdout
    first, second = map(float, re.findall(r"-?\d\.\d+", printed))
    assert -1 <= second < first <= 1.0001  # the product of those words comes before the other


def test_the_tutorial(hub: Hub, backbones: dict[str, Path], tmp_path: Path) -> None:
    """Every block as it stands on the page; the Hub has tiny encoders under the names of the real ones."""
    upload(hub, "intfloat/multilingual-e5-small", backbones["xlm-roberta"])
    upload(hub, "sentence-transformers/all-MiniLM-L6-v2", backbones["bert"])
    page = (ROOT / "modeling_lira" / "training" / "TUTORIAL.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert {language for language, _ in blocks} == {"", "python", "yaml"}
    done = run_page(hub, tmp_path, blocks)
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    assert "kata kunci query guessed" in lines and "keterangan – not read" in lines
    assert "log.csv: 450 of 453 rows kept" in lines
    assert "96 numbers" in done.stdout and done.stdout.count("Panci Hitam") >= 2
    files = hub.files("models", "my-org/product-search")
    assert {"config.json", "README.md", "evaluation.json"} <= files.keys()
    noise = re.compile("Loaded|Saving|Generating|Sampler|it/s|Batches|Warning")
    assert not [line for line in lines if noise.search(line)]  # a user's log shows our own lines alone


def upload(hub: Hub, name: str, folder: Path) -> None:
    repo = hub.store.create("models", name, private=False)
    repo.commit("backbone", {path.name: hub.store.small_file(path.read_bytes()) for path in folder.iterdir()})


def run_page(hub: Hub, folder: Path, blocks: list[Any]) -> subprocess.CompletedProcess[str]:
    return run(hub, folder, [str(ROOT / "tests" / "page_runner.py")], typed=json.dumps(blocks))


def run(
    hub: Hub, folder: Path, arguments: list[str], home: str = "home", typed: str = ""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=typed,
        env={**os.environ, "OMP_NUM_THREADS": "1", **hub.environment(WRITER, folder / home)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stderr[-4000:]}"
    return done


def check_card(files: dict[str, bytes]) -> None:
    """Its figures are those of the records."""
    card: Any = ModelCard(files["README.md"].decode())
    records = {name: json.loads(files[f"{name}.json"]) for name in ("training", "evaluation")}
    rows = [row for row in records["evaluation"]["results"] if not row.get("baseline") and row["language"] != "mean"]
    assert [result.metric_value for result in card.data.eval_results] == [row["value"] for row in rows]
    assert {result.dataset_config for result in card.data.eval_results} == {"vi"}
    assert card.data.language == ["vi", "en"]
    assert card.data.base_model == ["me/xlm-roberta", "me/bert"]
    assert "train --config tiny.yaml --corpus runs/shop --output runs/search" in card.text
    assert "evaluate runs/search --corpus runs/shop" in card.text
    assert "Seed 0." in card.text
