"""Commands killed at a few points and run again; `python tests/kill_points.py --all` tries every one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_points.py")
COMMANDS = (
    "encode-parquet",
    "add-first-exact",
    "add-later-hnsw",
    "translate-server",
    "build-again",
    "build-logs",
    "publish-folder",
    "push-hub",
    "save-model",
    "convert-again",
)


def failures(tmp_path: Path, commands: tuple[str, ...], *arguments: str) -> list[str]:
    output = tmp_path / "results.json"
    chosen = [word for name in commands for word in ("--command", name)]
    order = [sys.executable, str(SCRIPT), "--output", str(output), *chosen, *arguments]
    done = subprocess.run(order, capture_output=True, text=True, check=False, timeout=590)
    assert output.exists(), done.stdout + done.stderr
    results = json.loads(output.read_text())
    assert len(results) >= len(commands) and all(result["tried"] for result in results)
    return [f"{result['name']}: {failure}" for result in results for failure in result["failures"]]


@pytest.mark.timeout(600)
def test_commands_that_were_killed_end_as_those_left_alone(tmp_path):
    assert failures(tmp_path, COMMANDS, "--sample", "2", "--random", "1") == []


@pytest.mark.timeout(600)
def test_killed_training_ends_as_training_that_was_left_alone(tmp_path):
    assert failures(tmp_path, ("train", "train-reasoning"), "--sample", "1", "--random", "0") == []


@pytest.mark.timeout(600)
def test_after_ctrl_c_or_a_full_disk_the_same_command_goes_on(tmp_path):
    chosen = ("encode-parquet", "add-first-exact", "translate-dictionary", "convert-again")
    actions = ("--action", "interrupt", "--action", "full")
    assert failures(tmp_path, chosen, "--sample", "2", "--random", "0", *actions) == []


@pytest.mark.timeout(600)
def test_no_room_read_only_and_another_user_are_one_line_each(tmp_path):
    assert failures(tmp_path, ("encode-parquet", "convert"), "--room", "2") == []
