"""Publishing: only what belongs to the corpus leaves, the token stays, and every failure is one line."""

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import huggingface_hub
import pytest
from datasets import load_dataset

from dataset_builder.__main__ import main
from dataset_builder.candidates import CandidateSource
from dataset_builder.card import write_card
from dataset_builder.corpus import write_language
from dataset_builder.lexicon import load_lexicon
from dataset_builder.publish import FILES, publish_to_folder, publish_to_hub
from dataset_builder.splits import Quota, Release
from modeling_lira.errors import LiraError

TINY = Release("tiny", Quota(60, 20, 40), Quota(20, 5, 10))
TOKEN = "hf_thisIsVerySecret"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny corpus in Malay, with a file in it that is none of its own."""
    folder = tmp_path / "corpus"
    lexicon = load_lexicon(languages=("ms",))
    write_language(lexicon, "ms", TINY, 0, CandidateSource(lexicon, Path("none")), folder)
    write_card(folder, "catalogue", {"release": "tiny", "seed": 0, "types": 614, "departments": 17})
    (folder / "notes.txt").write_text("private", encoding="utf-8")
    return folder


class Refusing(BaseHTTPRequestHandler):
    """A Hub that knows nobody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(401)
        self.send_header("X-Error-Message", "Invalid username or password.")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing_hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr("dataset_builder.publish.HfApi", lambda: huggingface_hub.HfApi(endpoint, token=TOKEN))


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_published_folder_loads_and_holds_nothing_else(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["publish", "--folder", str(folder), "--to", str(tmp_path / "public")])
    assert stop.value.code == 0
    loaded = load_dataset(str(tmp_path / "public"), "ms-queries", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == {"train": 20, "validation": 5, "test": 10}
    assert not (tmp_path / "public" / "notes.txt").exists()


def test_upload_is_one_commit_of_the_corpus_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict]] = []

    class Recorder:
        def create_repo(self, repo: str, **how: object) -> None:
            calls.append(("create", {"repo": repo, **how}))

        def upload_folder(self, **how: object) -> SimpleNamespace:
            calls.append(("upload", how))
            return SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr("dataset_builder.publish.HfApi", Recorder)
    assert publish_to_hub(folder, "org/name", private=True) == "https://hub/commit/1"
    (create, made), (upload, sent) = calls
    assert (create, upload) == ("create", "upload")
    assert made == {"repo": "org/name", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert (
        sent["allow_patterns"]
        == FILES
        == ["README.md", *(f"*-{part}/*.parquet" for part in ("corpus", "queries", "qrels", "ranking"))]
    )
    assert "README.md" not in sent["delete_patterns"]


def test_refused_token_is_one_line_and_never_shown(
    folder: Path,
    refusing_hub: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    use_hub(monkeypatch, refusing_hub)
    with caplog.at_level(logging.DEBUG):
        line = fails(capsys, "publish", "--folder", folder, "--repo", "org/name")
    assert "refused to publish org/name: 401 Invalid username or password." in line
    assert TOKEN not in line
    assert TOKEN not in caplog.text


def test_unreachable_hub_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")
    assert "cannot reach http://127.0.0.1:9" in fails(capsys, "publish", "--folder", folder, "--repo", "org/name")


def test_wrong_targets(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a valid name" in fails(capsys, "publish", "--folder", folder, "--repo", "a/b/c")
    assert "either --repo ORG/NAME or --to DIR" in fails(capsys, "publish", "--folder", folder)
    assert "name another folder" in fails(capsys, "publish", "--folder", folder, "--to", folder)
    assert "is not a complete corpus folder" in fails(capsys, "publish", "--folder", tmp_path / "no", "--to", "x")


def test_an_incomplete_corpus_is_refused(folder: Path, tmp_path: Path) -> None:
    next((folder / "ms-qrels").glob("test-*")).unlink()
    with pytest.raises(LiraError, match="lacks the test split of ms-qrels"):
        publish_to_folder(folder, tmp_path / "public")
    assert not (tmp_path / "public").exists()
