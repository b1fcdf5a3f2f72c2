"""What `python -m eval export` measures: every system in turn, its ratios, and quality beside float32.

In torch alone, for graphs take long to make; tests/test_exporting.py makes and runs them.
"""

import json
from functools import partial
from pathlib import Path

import pytest
from helpers import lira
from tiny_corpus import write_corpus

pytest.importorskip("openvino")
pytest.importorskip("transformers.exporters")

from eval.__main__ import app
from eval.benchmarks import export_benchmark
from eval.benchmarks.export_benchmark import BARE, EXACT, LIRA, REFERENCE, Sizes, measure_export
from eval.report.readme import rendered
from modeling_lira.cli import run
from modeling_lira.exporting.choices import Format

ENGINES = ("torch float32", "torch bfloat16")
SIZES = Sizes(3, 4, 1, 4)


@pytest.fixture
def measured(build_model, tmp_path: Path) -> tuple[Path, Path]:
    """A saved model and a corpus."""
    build_model(query_prefix="query: ").save_pretrained(tmp_path / "model")
    return tmp_path / "model", write_corpus(tmp_path / "corpus", ("vi", "id"))


def test_every_system_is_measured_beside_the_bare_encoder(measured, tmp_path):
    model, corpus = measured
    record = measure_export(str(model), str(corpus), tmp_path / "work", (None, None), SIZES, [])
    systems = record.payload["systems"]
    assert sorted(systems) == sorted(f"{name}, {engine}" for name in (LIRA, BARE) for engine in ENGINES)
    assert systems[REFERENCE]["query_speed"] == systems[REFERENCE]["batch_speed"] == 1.0
    for name, figures in systems.items():
        assert figures["query_ms"] > 0 and figures["texts_per_second"] > 0
        assert ("ndcg@10" in figures) == (name.startswith(LIRA) and name not in EXACT)
    assert systems[f"{LIRA}, torch float32"]["worst_change"] == 0.0
    assert not (model / "onnx").exists()  # the model itself is left as it is
    block = rendered("export", vars(record))
    assert f"| {LIRA}, torch bfloat16 |" in block


def test_another_model_is_measured_beside_its_own_encoder(measured, build_model, tmp_path):
    model, corpus = measured
    build_model("mpnet", query_prefix="query: ").save_pretrained(tmp_path / "other")
    for name in (model, tmp_path / "other"):
        measure_export(str(name), str(corpus), tmp_path / "work", (None, None), SIZES, [])
    configs = (tmp_path / "work").glob("*/encoder/config.json")
    assert {json.loads(path.read_text())["model_type"] for path in configs} == {"xlm-roberta", "mpnet"}


def test_the_command_writes_its_record(measured, tmp_path, monkeypatch):
    asked = []
    record = type("Record", (), {"write": lambda self, folder: asked.append(folder)})()
    monkeypatch.setattr(export_benchmark, "measure_export", lambda *given: asked.extend(given[-2:]) or record)
    options = ["--queries", "5", "--rounds", "2", "--documents", "20", "--format", "onnx", "--records"]
    given = ("--model", measured[0], "--corpus", measured[1], *options, tmp_path)
    assert lira("export", *given, run=partial(run, app, "python -m eval")) == 0
    assert asked == [Sizes(singles=5, rounds=2, queries=5, documents=20), [Format.onnx], tmp_path]
