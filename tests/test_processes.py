"""Two processes of half a batch each do what one of the whole batch does; `lira train` by accelerate and torchrun."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from fresh import Forks
from safetensors.torch import load_file
from tiny_corpus import write_corpus
from train_in_processes import run_alone_and_together, train_both_stages
from transformers import TrainingArguments

from modeling_lira import LiraModel
from modeling_lira.training.options import ArcaWeights
from modeling_lira.training.stages import ArcaStage
from modeling_lira.training.trainer import LiraTrainer, training_arguments


def results(folder: Path) -> tuple[list[dict], dict]:
    """Return the losses logged and the weights of both stages in the end."""
    logs: list[dict] = []
    weights: dict[str, torch.Tensor] = {}
    for stage in ("arca", "lasr"):
        (stage_folder,) = folder.glob(f"{stage}-*")
        logs += json.loads((stage_folder / "log.json").read_text())
        weights |= {
            f"{stage}.{name}": value for name, value in load_file(stage_folder / "best" / "model.safetensors").items()
        }
    return logs, weights


def test_two_processes_equal_one_with_the_whole_batch(backbones: dict[str, Path], forks: Forks, tmp_path: Path) -> None:
    task = {
        "multilingual": str(backbones["xlm-roberta"]),
        "english": str(backbones["bert"]),
        "streams": str(tmp_path / "streams"),
    }
    alone_task, together_task = ({**task, "output": str(tmp_path / name)} for name in ("one", "two"))
    run_alone_and_together(forks, train_both_stages, alone_task, together_task)
    (one, alone), (two, together) = results(tmp_path / "one"), results(tmp_path / "two")
    assert len(one) == len(two) > 6
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            if name == "loss" or name.startswith(("loss_", "eval_")):
                assert second[name] == pytest.approx(first[name], abs=1e-4), name
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-4, rtol=0, msg=name)


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29584"],
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "29583"],
}


def launched(folder: Path, launcher: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `lira train` in two processes."""
    command = [sys.executable, "-m", *LAUNCHERS[launcher], "-m", "modeling_lira.cli", "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=240, check=False)


def test_lira_train_in_two_processes_writes_one_run_and_refuses_another(
    backbones: dict[str, Path], tmp_path: Path
) -> None:
    options = {
        "corpus": str(write_corpus(tmp_path / "corpus")),
        "multilingual": str(backbones["xlm-roberta"]),
        "english": str(backbones["bert"]),
        "tune": {"epochs": 1, "batch_size": 4, "rank": 2},
        "arca": {"epochs": 1, "batch_size": 4},
        "lasr": {"epochs": 2, "batch_size": 4, "learning_rates": {"lasr": 0.01}},
    }
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(options))
    arguments = ["--config", str(tmp_path / "options.yaml"), "--output", str(tmp_path / "out")]
    done = launched(tmp_path, "accelerate", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["processes"] == 2 and set(record["training"]) == {"tune-multilingual", "arca", "lasr"}
    kinds = sorted(path.name.partition("-")[0] for path in (tmp_path / "out").iterdir())
    assert kinds == [".lock", "arca", "lasr", "model", "run.json", "streams", "training.json", "tune"]
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [path for path in files if "checkpoints" in path.parts]
    refused = launched(tmp_path, "torchrun", *arguments, "--seed", "5")
    assert refused.returncode != 0 and "holds another run's model, which differs in seed (0 there, 5 here)" in (
        " ".join(refused.stderr.split())
    )
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("should_save", [True, False])
def test_only_the_process_that_saves_writes_a_checkpoint(
    should_save: bool, build_model: Callable[..., LiraModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingArguments, "should_save", should_save)
    stage = ArcaStage(build_model(), {"arca": 1e-4}, ArcaWeights())
    LiraTrainer(stage, training_arguments(tmp_path, 0, 4, 1, 1), lambda _: {"score": 0.0})._save(str(tmp_path / "new"))
    assert (tmp_path / "new" / "model.safetensors").is_file() == should_save
    assert (tmp_path / "new" / "queues.safetensors").is_file() == should_save
