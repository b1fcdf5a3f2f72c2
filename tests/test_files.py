"""Files that are written whole or not at all, and nothing left behind by a writer that was killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from modeling_lira.files import atomic_path, atomic_write_text
from modeling_lira.leftovers import sweep

WRITER = """
import sys
from modeling_lira.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writer(path: Path) -> tuple[subprocess.Popen, Path]:
    """Start a process that stands in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, path.with_name(process.stdout.readline().strip())


def test_the_next_writer_of_a_file_removes_what_a_killed_one_left(tmp_path):
    process, temporary = writer(tmp_path / "rows.1.jsonl")
    assert temporary.read_text() == "half"
    atomic_write_text(tmp_path / "rows.1.jsonl", "other")  # the first is still writing: its file stays
    assert temporary.is_file()
    process.send_signal(signal.SIGKILL)
    process.wait()
    atomic_write_text(tmp_path / "rows.2.jsonl", "another file")
    assert temporary.is_file()
    atomic_write_text(tmp_path / "rows.1.jsonl", "whole")
    assert names(tmp_path) == ["rows.1.jsonl", "rows.2.jsonl"]
    assert (tmp_path / "rows.1.jsonl").read_text() == "whole"


def test_sweep_removes_abandoned_files_and_folders_of_these_names_only(tmp_path):
    (tmp_path / ".shard-1.abcdefgh.parquet").write_text("")
    (tmp_path / ".shard-2.0123456789ab.parquet").write_text("")
    (tmp_path / ".shard-3.abcdefgh").mkdir()
    (tmp_path / ".shard-3.abcdefgh" / "file").write_text("")
    kept = [".shard-1.parquet", ".shard-1.ABCDEFGH.parquet", "shard-1.abcdefgh.parquet", ".other.abcdefgh.parquet"]
    for name in kept:
        (tmp_path / name).write_text("")
    (tmp_path / ".shard-4.abcdefgh.parquet").symlink_to(tmp_path / kept[0])
    sweep(tmp_path, "shard-*.parquet", "shard-3")
    assert names(tmp_path) == sorted([*kept, ".shard-4.abcdefgh.parquet"])
    sweep(tmp_path / "none", "*")


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path):
    atomic_write_text(tmp_path / "[a]*.txt", "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "[a]*.txt") as temporary:
        temporary.write_text("new")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["[a]*.txt"]
    assert (tmp_path / "[a]*.txt").read_text() == "old"


def test_a_full_disk_under_safetensors_is_an_error_of_the_system(tmp_path):
    with (
        pytest.raises(OSError, match=r"model\.safetensors: No space left"),
        atomic_path(tmp_path / "model.safetensors"),
    ):
        raise SafetensorError("No space left on device")
    assert names(tmp_path) == []
