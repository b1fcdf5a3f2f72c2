"""`lira demo` from beginning to end in fresh processes, on tiny random encoders: everything but the numbers is real."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def run_demo(backbones: dict[str, Path], folder: Path) -> subprocess.CompletedProcess[str]:
    names = ("--multilingual", str(backbones["xlm-roberta"]), "--english", str(backbones["bert"]))
    return subprocess.run(
        [BIN / "lira", "demo", "--output", "demo", *names],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=580,
        check=False,
    )


@pytest.mark.timeout(1200)
def test_the_demo_trains_saves_reloads_and_searches_and_then_reuses_it_all(
    backbones: dict[str, Path], tmp_path: Path
) -> None:
    first = run_demo(backbones, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "nDCG@10 x 100 on test, searching English titles" in first.stdout
    assert "95% interval" in first.stdout
    assert "tsinelas na pambabae" in first.stdout

    demo = tmp_path / "demo"
    results = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    assert results["largest_reload_difference"] <= 1e-6
    english, local = results["ndcg@10"].values()
    assert set(english["systems"]) == {
        "multilingual encoder alone",
        "translate, then encode",
        "untrained fusion",
        "multilingual encoder tuned, alone",
        "LiRA",
        "LiRA without translations",
    }
    assert "translate, then encode" not in local["systems"]
    for values in english["systems"].values():
        assert set(values) == {"vi", "th", "id", "ms", "ur", "bn", "fil", "mean"}
        assert all(0 <= value <= 1 for value in values.values())
    assert (demo / "chart.png").read_bytes().startswith(b"\x89PNG")
    saved = {path.name for path in (demo / "model").iterdir()}
    assert {"config.json", "model.safetensors", "modeling_lira.py", "arca.py", "lasr.py", "tokenizer.json"} <= saved
    assert not any(path.suffix in {".bin", ".pt", ".pkl"} for path in (demo / "model").rglob("*"))

    second = run_demo(backbones, tmp_path)
    assert second.returncode == 0, second.stderr
    again = json.loads((demo / "results.json").read_text(encoding="utf-8"))
    assert again["ndcg@10"] == results["ndcg@10"]
    assert again["training"] == results["training"]
    streams = "read every text with both encoders"  # of other steps, the clock tells what else the machine does
    assert again["seconds"][streams] < results["seconds"][streams]
