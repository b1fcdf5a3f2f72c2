"""Commands killed at a few points and run again; `python tests/kill_points.py --all` tries every one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fresh import Forks

Failures = Callable[..., list[str]]
RUN = "import sys, kill_points; sys.exit(kill_points.main(sys.argv[1:]))"
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


@pytest.fixture(scope="module")
def killer() -> Iterator[Forks]:
    """Imports the libraries once for all tests."""
    forks = Forks(("kill_points",), Path(__file__).parent)
    yield forks
    forks.stop()


@pytest.fixture
def failures(killer: Forks, tmp_path: Path) -> Failures:
    """Kill commands as the script's arguments say; return what failed."""

    def run(commands: tuple[str, ...], *arguments: str) -> list[str]:
        output = tmp_path / "results.json"
        chosen = [word for name in commands for word in ("--command", name)]
        done = killer.run(RUN, "--output", str(output), *chosen, *arguments, cwd=tmp_path)
        assert output.exists(), done.stdout + done.stderr
        results = json.loads(output.read_text())
        assert len(results) >= len(commands) and all(result["tried"] for result in results)
        return [f"{result['name']}: {failure}" for result in results for failure in result["failures"]]

    return run


@pytest.mark.timeout(600)
def test_commands_that_were_killed_end_as_those_left_alone(failures: Failures) -> None:
    assert failures(COMMANDS, "--sample", "2", "--random", "1") == []


@pytest.mark.timeout(600)
def test_killed_training_ends_as_training_that_was_left_alone(failures: Failures) -> None:
    assert failures(("train", "train-reasoning"), "--sample", "1", "--random", "0") == []


@pytest.mark.timeout(600)
def test_after_ctrl_c_or_a_full_disk_the_same_command_goes_on(failures: Failures) -> None:
    chosen = ("encode-parquet", "add-first-exact", "translate-dictionary", "convert-again")
    actions = ("--action", "interrupt", "--action", "full")
    assert failures(chosen, "--sample", "2", "--random", "0", *actions) == []


@pytest.mark.timeout(600)
def test_no_room_read_only_and_another_user_are_one_line_each(failures: Failures) -> None:
    assert failures(("encode-parquet", "convert"), "--room", "2") == []
