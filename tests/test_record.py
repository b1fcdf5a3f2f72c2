"""A record says what was measured and where; a wrong one is refused in one line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.record import Meter, corpus_version, find_record, read_record
from modeling_lira import LiraError
from modeling_lira.records import provenance
from modeling_lira.records.command_line import command_line
from modeling_lira.records.provenance import revision, versions


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    payload: dict[Any, Any] = {"vi": {"ndcg@10": 0.5}, 3: float("nan")}
    written = Meter("retrieval", seeds=(0, 1), corpus="abc").record(payload)
    path = written.write(tmp_path)
    reread = read_record(path, "retrieval", "abc")
    assert path == tmp_path / "retrieval.json"
    assert reread.payload == {"vi": {"ndcg@10": 0.5}, "3": None}
    assert {**vars(reread), "payload": 0} == {**vars(written), "payload": 0}
    assert reread.seeds == (0, 1) and reread.versions["torch"] and int(reread.hardware["threads"]) >= 1
    assert float(reread.hardware["ram_gib"]) > 0.1 and 0.01 < reread.peak_memory_gib < 100 and reread.seconds >= 0


def test_time_is_counted_from_the_meters_start() -> None:
    meter = Meter("work")
    total = sum(number * number for number in range(400_000))
    record = meter.record({"total": total})
    assert 0 < record.cpu_seconds < 60 and 0 < record.seconds < 60


def test_no_figure_is_infinite(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match=r"cost\.payload\.seconds is infinite"):
        Meter("cost").record({"seconds": [1.0, float("inf")]}).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_records_of_different_subjects_are_kept_side_by_side(tmp_path: Path) -> None:
    def measured(weights: str, corpus: str, score: float) -> None:
        meter = Meter("retrieval", corpus=corpus, subject={"weights": [weights]})
        meter.record({"weights": [weights], "score": score}).write(tmp_path)

    for weights, corpus, score in (("a", "c1", 0.1), ("b", "c1", 0.2), ("a", "c2", 0.3), ("b", "c1", 0.4)):
        measured(weights, corpus, score)
    assert len(list(tmp_path.iterdir())) == 3
    scores = {
        (weights, corpus): find_record(tmp_path, "retrieval", corpus, [weights]).payload["score"]
        for weights, corpus in (("a", "c1"), ("b", "c1"), ("a", "c2"))
    }
    assert scores == {("a", "c1"): 0.1, ("b", "c1"): 0.4, ("a", "c2"): 0.3}
    assert read_record(tmp_path / "retrieval.json").payload["score"] == 0.4  # the newest
    with pytest.raises(LiraError, match="no run of 'retrieval' of this corpus and these weights"):
        find_record(tmp_path, "retrieval", "c2", ["b"])


def test_options_and_seeds_tell_records_apart(tmp_path: Path) -> None:
    for seeds, options in (((0,), "x"), ((1,), "x"), ((0,), "y"), ((0,), "x")):
        Meter("noise", seeds, "c1", {"options": options}).record({}).write(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_record_of_before_is_kept_and_read(tmp_path: Path) -> None:
    path = Meter("retrieval", corpus="c0").record({"score": 1}).write(tmp_path)
    old = json.loads(path.read_text())
    del old["subject"]
    path.write_text(json.dumps(old))
    assert read_record(path).subject == {}
    Meter("retrieval", corpus="c1").record({"score": 2}).write(tmp_path)
    assert find_record(tmp_path, "retrieval", "c0").payload == {"score": 1}


def test_wrong_records_are_named(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match=r"no run of 'retrieval'.*run `python -m eval retrieval` first"):
        read_record(tmp_path / "retrieval.json", "retrieval")
    path = Meter("retrieval", corpus="old").record({}).write(tmp_path)
    with pytest.raises(LiraError, match=r"measured on corpus version old, this is new: run it again"):
        read_record(path, corpus="new")
    with pytest.raises(LiraError, match="is a record of 'retrieval', not of 'cost'"):
        read_record(path, "cost")
    other = json.loads(path.read_text())
    del other["revision"]
    path.write_text(json.dumps(other))
    with pytest.raises(LiraError, match=r"not a record of this version \(revision\)"):
        read_record(path)
    for content in ("[]", "{", b"\xff\xfe"):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(LiraError, match="is not a record"):
            read_record(path)


def test_another_corpus_has_another_version(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "vi-corpus").mkdir(parents=True)
    file = corpus / "vi-corpus" / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({"title": ["a"]}), file)
    first = corpus_version(str(corpus))
    (corpus / "README.md").write_text("a card may change")
    assert corpus_version(str(corpus)) == first and len(first) == 12
    pq.write_table(pa.table({"title": ["b"]}), file)
    assert corpus_version(str(corpus)) != first
    changed = corpus_version(str(corpus))
    file.rename(file.with_name("train-00000-of-00001.parquet"))  # the same bytes in another split
    assert corpus_version(str(corpus)) != changed
    with pytest.raises(LiraError, match="there is no such folder"):
        corpus_version(str(tmp_path / "nothing"))


def test_a_command_tells_nothing_of_the_machine() -> None:
    shown = command_line(
        [
            "/home/me/lira/eval/__main__.py",
            "generalisation",
            "--xquad",
            "/me/xquad",
            "--cldr=../data/cldr",
            "-n",
            "a b",
        ]
    )
    assert shown == "python -m eval generalisation --xquad xquad --cldr=cldr -n 'a b'"
    assert command_line(["/usr/bin/lira", "evaluate", "--model", "runs/mine"]) == "lira evaluate --model runs/mine"


def test_a_revision_says_whether_files_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision() == "unknown"
    (tmp_path / "a").write_text("1")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "a"], [*author, "commit", "-qm", "one"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    clean = revision()
    assert len(clean) == 12 and "+" not in clean
    (tmp_path / "a").write_text("2")
    assert revision() == f"{clean}+changes"
    (tmp_path / "site-packages").mkdir()  # an installed package within somebody else's repository
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "site-packages")
    assert revision() == "unknown"


def test_versions_are_of_this_python() -> None:
    assert versions()["python"] == ".".join(map(str, sys.version_info[:3]))
