"""Two processes of half a batch each do what one process of the whole batch does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("train_in_processes.py")


def run(folder: Path, backbones: dict[str, Path], launcher: list[str], **lasr: object) -> tuple[list[dict], dict]:
    """Train in new processes; return the losses logged and the weights of both stages in the end."""
    folder.mkdir()
    task = {
        "multilingual": str(backbones["xlm-roberta"]),
        "english": str(backbones["bert"]),
        "streams": str(folder.parent / "streams"),
        "output": str(folder / "run"),
        "lasr": lasr,
    }
    (folder / "task.json").write_text(json.dumps(task))
    command = [sys.executable, *launcher, str(SCRIPT), str(folder / "task.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parent, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    logs, weights = [], {}
    for stage in ("arca", "lasr"):
        (found,) = (folder / "run").glob(f"{stage}-*")
        logs += json.loads((found / "log.json").read_text())
        weights |= {f"{stage}.{name}": value for name, value in load_file(found / "best" / "model.safetensors").items()}
    return logs, weights


def test_two_processes_equal_one_with_the_whole_batch(backbones: dict[str, Path], tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29581"]
    one, alone = run(tmp_path / "one", backbones, [])
    two, together = run(tmp_path / "two", backbones, launcher)
    assert len(one) == len(two) > 6
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            if name == "loss" or name.startswith(("loss_", "eval_")):
                assert second[name] == pytest.approx(first[name], abs=1e-4), name
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-4, rtol=0, msg=name)
