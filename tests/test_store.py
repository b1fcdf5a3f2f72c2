import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modeling_lira.agents.store import CandidateStore, Record
from modeling_lira.errors import LiraError

WORKER = """
import sys, time
from modeling_lira.agents.resumable import translate
from modeling_lira.agents.store import CandidateStore

class Slow:
    name = "slow"
    settings = {"name": "slow"}

    def translate(self, texts, languages):
        for start in range(0, len(texts), 5):
            time.sleep(0.02)
            yield [(i, [texts[i].upper(), texts[i].title()]) for i in range(start, min(start + 5, len(texts)))]
            print(start, flush=True)

texts = [f"text {i}" for i in range(int(sys.argv[2]))]
with CandidateStore(sys.argv[1], shard_bytes=4000) as store:
    translate(Slow(), texts, ["vi"] * len(texts), store, progress=False)
"""

HOLDER = """
import sys
from modeling_lira.agents.store import CandidateStore
store = CandidateStore(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def record(number: int, value: tuple[str, ...] = ("one", "two")) -> Record:
    return Record(f"áo số {number}", "vi", "agent", "s", value)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.jsonl"))


def test_records_are_there_after_opening_again(tmp_path: Path) -> None:
    measured = Record("áo", "vi", "critic", "s", (-1.5, 0.0, -2.25), candidate="shirt")
    with CandidateStore(tmp_path) as store:
        store.put([record(1), record(2, ()), measured])
    with CandidateStore(tmp_path) as store:
        assert len(store) == 3
        assert store.get(record(1).key) == ("one", "two")
        assert store.get(record(2).key) == ()
        assert store.get(measured.key) == (-1.5, 0.0, -2.25)
        assert store.get(record(3).key) is None


@pytest.mark.parametrize(
    "other",
    [
        Record("áo x", "vi", "agent", "s", ()),
        Record("áo", "id", "agent", "s", ()),
        Record("áo", "vi", "agent 2", "s", ()),
        Record("áo", "vi", "agent", "s2", ()),
        Record("áo", "vi", "agent", "s", (), candidate="shirt"),
    ],
)
def test_key_depends_on_all_that_was_asked(other: Record) -> None:
    assert other.key != Record("áo", "vi", "agent", "s", ()).key


def test_key_does_not_depend_on_the_answer() -> None:
    assert record(1, ("a",)).key == record(1, ("b",)).key


def test_first_answer_stays(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put([record(1, ("first",))])
        store.put([record(1, ("second",)), record(2)])
        assert store.get(record(1).key) == ("first",)
    assert len(shards(tmp_path)[0].read_text().splitlines()) == 2


def test_missing_names_a_repeated_key_once(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put([record(1)])
        keys = [record(number).key for number in (3, 1, 2, 3, 2)]
        assert store.missing(keys) == [0, 2]


def test_a_torn_end_costs_one_record_wherever_it_tears(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put([record(1), record(2)])
        store.put([record(3)])
    shard = shards(tmp_path)[0]
    whole = shard.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for length in range(start + 1, len(whole)):
        shard.write_bytes(whole[:length])
        with CandidateStore(tmp_path) as store:
            assert len(store) == 2
        assert shard.read_bytes() == whole[:start]
    with CandidateStore(tmp_path) as store:
        store.put([record(3)])
    assert shard.read_bytes() == whole


def test_unwritten_blocks_at_the_end_are_cut_off(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put([record(1)])
    shard = shards(tmp_path)[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole + b'{"key": "x\n' + bytes(4096))
    with CandidateStore(tmp_path) as store:
        assert len(store) == 1
    assert shard.read_bytes() == whole


def test_damage_before_whole_records_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put([record(1), record(2), record(3)])
    shard = shards(tmp_path)[0]
    lines = shard.read_bytes().splitlines(keepends=True)
    shard.write_bytes(lines[0] + b"rubbish\n" + lines[2])
    with pytest.raises(LiraError, match=r"shard-00000\.jsonl' is damaged at line 2"):
        CandidateStore(tmp_path)
    shard.write_bytes(lines[0] + lines[2])
    with CandidateStore(tmp_path) as store:  # and the failed opening has not kept the lock
        assert len(store) == 2


def test_full_shards_are_followed_by_new_ones(tmp_path: Path) -> None:
    for number in range(6):
        with CandidateStore(tmp_path, shard_bytes=300) as store:
            store.put([record(number)])
    with CandidateStore(tmp_path) as store:
        assert len(store) == 6
    assert len(shards(tmp_path)) > 1
    assert sum(len(shard.read_text().splitlines()) for shard in shards(tmp_path)) == 6


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(LiraError, match="in use by another process"):
        CandidateStore(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with CandidateStore(tmp_path) as store:
        assert len(store) == 0


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LiraError, match="is a file"):
        CandidateStore(tmp_path / "file")


def test_ten_thousand_texts_open_in_two_seconds(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put(
            [record(number, ("a candidate of some length", "another", "a third one", "4")) for number in range(10_000)]
        )
    start = time.process_time()
    with CandidateStore(tmp_path) as store:
        assert len(store) == 10_000
    assert time.process_time() - start < 2


def test_settings_are_written_down_once(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        name = store.describe({"seed": 1, "name": "a"})
        assert store.describe({"name": "a", "seed": 1}) == name
        assert store.describe({"name": "a", "seed": 2}) != name
    assert json.loads((tmp_path / f"settings-{name}.json").read_text()) == {"name": "a", "seed": 1}
    assert len(list(tmp_path.glob("settings-*.json"))) == 2


def test_kill_9_loses_at_most_the_batch_in_flight(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "killed"), "120"]
    done = 0
    for batches in (3, 5):
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        for _ in range(batches):  # a line is printed when the next batch is asked for, so when this one is stored
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
        reported = batches + len(worker.stdout.readlines())
        assert worker.wait() == -signal.SIGKILL
        with CandidateStore(tmp_path / "killed") as store:
            assert done + 5 * reported <= len(store) <= done + 5 * (reported + 1)
            done = len(store)
    assert done < 120
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert len(finished.stdout.splitlines()) == -(-(120 - done) // 5)
    subprocess.run([*command[:3], str(tmp_path / "whole"), "120"], stdout=subprocess.PIPE, check=True)
    assert lines_of(tmp_path / "killed") == lines_of(tmp_path / "whole")


def lines_of(folder: Path) -> list[str]:
    return sorted(line for shard in shards(folder) for line in shard.read_text().splitlines())


def test_a_batch_is_on_the_disk_before_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system still held in memory, a power cut would take."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    with CandidateStore(tmp_path) as store:
        for number in range(3):
            store.put([record(number)])
            assert synced[-1] == shards(tmp_path)[0].stat().st_size


def test_whole_records_before_a_torn_end_are_kept(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        store.put([record(number) for number in range(50)])
    shard = shards(tmp_path)[0]
    whole = shard.read_bytes()
    for end in (b'{"key": "x", "val', b'{"key": "x"}\n', bytes(4096), b"rubbish\n" + bytes(512)):
        shard.write_bytes(whole + end)
        with CandidateStore(tmp_path) as store:
            assert [store.get(record(number).key) for number in range(50)] == [("one", "two")] * 50
        assert shard.read_bytes() == whole


def test_what_a_killed_writer_of_settings_left_is_swept(tmp_path: Path) -> None:
    with CandidateStore(tmp_path) as store:
        name = store.describe({"seed": 1})
    (tmp_path / f".settings-{name}.abcdefgh.json").write_text("{")
    with CandidateStore(tmp_path):
        assert not list(tmp_path.glob(".*"))
