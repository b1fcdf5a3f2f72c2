"""Steps of datatrove: two workers, one of them killed; a chain of all three steps; the script for Slurm."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from scale_job import translator
from tiny_agents import Oracle

from modeling_lira import LiraError, LiraModel
from modeling_lira.agents import Calibration
from modeling_lira.scale import Critique, Encode, Translate
from modeling_lira.search.choices import DType, Kind

JOB = Path(__file__).with_name("scale_job.py")
ROWS = [("áo", "vi"), ("giày", "vi"), ("អាវ", "km-KH")]


def write_files(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        ids = [f"{number}-{row}" for row in range(len(ROWS))]
        texts, languages = zip(*ROWS, strict=True)
        pq.write_table(pa.table({"id": ids, "text": texts, "lang": languages}), folder / f"part-{number}.parquet")


def test_the_tasks_of_a_killed_job_are_done_again_nothing_twice_and_nothing_lost(tmp_path: Path) -> None:
    write_files(tmp_path / "in", 4)
    command = [sys.executable, str(JOB), str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, timeout=200, check=False, start_new_session=True)
    assert killed.returncode != 0 and (tmp_path / "killed").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    assert "part-2.parquet" in before and not list((tmp_path / "logs" / "completions").glob("*2"))
    subprocess.run(command, capture_output=True, timeout=200, check=True, start_new_session=True)
    files = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in files] == [f"part-{number}.parquet" for number in range(4)]
    assert all(path.stat().st_mtime_ns == before.get(path.name, path.stat().st_mtime_ns) for path in files)
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert [row["id"] for row in rows] == [f"{number}-{row}" for number in range(4) for row in range(len(ROWS))]
    assert [row["candidates"][0]["text"] for row in rows] == ["shirt", "shoe", "shirt"] * 4


def test_three_steps_go_from_texts_to_vectors_on_any_file_system(
    build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    model = build_model(languages=["vi", "km", "en"])
    write_files(tmp_path / "in", 1)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "in"), "/in", recursive=True)
    measured = [(1.0, None, 1.0)] * 3
    Calibration.fit(measured, ["vi", "vi", "km"]).save(tmp_path / "calibration.json")
    steps = [
        Translate("memory://in", "memory://translated", translator, store=tmp_path / "stores"),
        Critique("memory://translated", "memory://scored", Oracle, calibration=tmp_path / "calibration.json"),
        Encode("memory://scored", "memory://vectors", lambda: model, Kind.query, dtype=DType.int8),
    ]
    LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(tmp_path / "logs")).run()
    with memory.open("/vectors/part-0.parquet", "rb") as file:
        vectors = pq.read_table(file).to_pydict()
    assert vectors["id"] == ["0-0", "0-1", "0-2"]
    with memory.open("/scored/part-0.parquet", "rb") as file:
        candidates = pq.read_table(file)["candidates"].to_pylist()
    scores = [[[c["semantic"], c["emotional"] or np.nan, c["pragmatic"]] for c in row] for row in candidates]
    expected = model.encode_query(
        [text for text, _ in ROWS], ["vi", "vi", "km"], [[c["text"] for c in row] for row in candidates], scores
    )
    restored = np.array(vectors["embedding"], np.float32) * np.array(vectors["scale"])[:, None]
    np.testing.assert_allclose(restored, expected.numpy(), atol=0.01)


def test_a_critic_of_many_files_needs_one_calibration(tmp_path: Path) -> None:
    write_files(tmp_path / "in", 1)
    with pytest.raises(LiraError, match="needs a calibration for all files"):
        list(Critique(str(tmp_path / "in"), str(tmp_path / "out"), Oracle).run())


def test_the_slurm_script_asks_for_what_was_given_and_runs_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "in", 3)
    (tmp_path / "bin").mkdir()
    for command, answer in {"sbatch": "Submitted batch job 7", "scontrol": "localhost"}.items():
        (tmp_path / "bin" / command).write_text(f"#!/bin/sh\necho {answer}\n")
        (tmp_path / "bin" / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    job = SlurmPipelineExecutor(
        [Translate(str(tmp_path / "in"), str(tmp_path / "out"), translator)],
        tasks=3,
        time="04:00:00",
        partition="cpu",
        cpus_per_task=8,
        mem_per_cpu_gb=4,
        workers=2,
        logging_dir=str(tmp_path / "logs"),
    )
    job.run()
    script = (tmp_path / "logs" / "launch_script.slurm").read_text()
    for line in ("--cpus-per-task=8", "--mem-per-cpu=4G", "--partition=cpu", "--time=04:00:00", "--array=0-2%2"):
        assert f"#SBATCH {line}" in script, script
    assert f"launch_pickled_pipeline {tmp_path / 'logs' / 'executor.pik'}" in script
    subprocess.run(["bash", "-n", str(tmp_path / "logs" / "launch_script.slurm")], check=True)
    assert json.loads((tmp_path / "logs" / "ranks_to_run.json").read_text()) == [0, 1, 2]
    # What Slurm would start, for the second task of the array.
    for name, value in {"ARRAY_TASK_ID": "1", "NODELIST": "localhost", "JOB_NUM_NODES": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    job.run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-1.parquet"]
