"""A corpus on a Hub: published by the command, loaded over HTTP by processes that know nothing else of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, constants

from dataset_builder.__main__ import main
from dataset_builder.generator import corpus as corpus_module
from dataset_builder.generator.corpus import build_corpus
from dataset_builder.generator.splits import Quota, Release
from dataset_builder.layout import CARD, PARTS, SPLITS
from dataset_builder.lexicon import LANGUAGES
from dataset_builder.quality.baselines import bm25_system, score_system
from hub.conftest import Client
from hub.faults import corrupted, dropped, refused, truncated
from hub.server import READER, WRITER, Hub

TINY = Release("tiny", Quota(12, 6, 9), Quota(6, 3, 4))
REPO = "me/products"
LOAD_ALL = f"""
import json
from datasets import get_dataset_config_names, load_dataset
found = {{}}
for name in get_dataset_config_names("{REPO}"):
    loaded, streamed = load_dataset("{REPO}", name), load_dataset("{REPO}", name, streaming=True)
    found[name] = {{
        "features": loaded["train"].features.to_dict(),
        "rows": loaded.num_rows,
        "same": list(streamed["test"]) == list(loaded["test"]),
    }}
print(json.dumps(found))
"""
LOAD_ONE = f"""
from datasets import load_dataset
print(*load_dataset("{REPO}", "fil-queries", split="test")["_id"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny corpus in all seven languages, with a file beside it that is nobody else's business."""
    folder = tmp_path_factory.mktemp("corpora") / "corpus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "release_named", lambda name: TINY)
        build_corpus(folder)
    (folder / "notes.txt").write_text("private", encoding="utf-8")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".txt"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_every_config_loads_and_streams_over_http_as_the_card_says(hub: Hub, client: Client, folder: Path) -> None:
    published = client("-m", "dataset_builder", "publish", "--folder", folder, "--repo", REPO)
    assert published.returncode == 0, published.stderr
    assert published.stderr.splitlines()[-1].startswith(f"published: {hub.endpoint}/datasets/{REPO}/commit/")
    assert hub.files("datasets", REPO) == files_of(folder)
    read = client("-c", LOAD_ALL, home="another")
    assert read.returncode == 0, read.stderr
    configs = json.loads(read.stdout.splitlines()[-1])
    card = DatasetInfosDict.from_dataset_card_data(DatasetCard.load(folder / CARD).data)
    assert set(configs) == set(card) == {f"{language}-{part}" for language in (*LANGUAGES, "all") for part in PARTS}
    for name, config in configs.items():
        assert config["same"], name
        assert config["features"] == card[name].features.to_dict()
        assert config["rows"] == {split: card[name].splits[split].num_examples for split in SPLITS}
    assert configs["all-corpus"]["rows"] == {"train": 7 * 12, "validation": 7 * 6, "test": 7 * 9}


@pytest.fixture
def publish(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Publish from this process; return what the command says when it fails, one line, or nothing."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))

    def run(*more: str, token: str = WRITER) -> str:
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(SystemExit) as stop:
            main(["publish", "--folder", str(folder), "--repo", REPO, *more])
        stderr = capsys.readouterr().err
        lines = [line for line in stderr.splitlines() if line.startswith("python -m dataset_builder: ")]
        assert (stop.value.code, len(lines)) in ((0, 0), (2, 1)), stderr
        return lines[0].removeprefix("python -m dataset_builder: ") if lines else ""

    return run


def test_publishing_again_removes_what_is_no_longer_there(hub: Hub, publish: Callable[..., str], folder: Path) -> None:
    repo = hub.store.create("datasets", REPO, private=False)
    old = hub.store.small_file(b"old")
    repo.commit("before", {"xx-corpus/test-00000-of-00001.parquet": old, "LICENSE": old})
    assert publish() == ""
    assert hub.files("datasets", REPO) == {**files_of(folder), "LICENSE": b"old"}
    assert [commit.title for commit in repo.commits.values()] == ["initial commit", "before", "Publish the corpus"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "no token for {endpoint}: run `hf auth login` or set HF_TOKEN"),
        ("hf_nobodys", "{endpoint} refused to publish {repo}: 401 Invalid credentials in Authorization header"),
        (READER, "{endpoint} refused to publish {repo}: 403 Forbidden: you must use a write token"),
    ],
)
def test_a_token_that_may_not_write_is_one_line(
    hub: Hub, publish: Callable[..., str], caplog: pytest.LogCaptureFixture, token: str, message: str
) -> None:
    with caplog.at_level("DEBUG"):
        line = publish(token=token)
    assert line.startswith(message.format(endpoint=hub.endpoint, repo=REPO))
    assert not token or token not in line + caplog.text
    assert hub.store.repos == {}


def test_a_private_repository_needs_a_token(hub: Hub, publish: Callable[..., str], client: Client) -> None:
    assert publish("--private") == ""
    assert hub.store.repo("datasets", REPO).private
    assert client("-c", LOAD_ONE, token="").returncode == 1
    truncations = hub.inject(truncated(100), "GET", "/resolve/.*fil-queries/test", times=2)
    assert len(client("-c", LOAD_ONE, token=READER).stdout.split()) == 4
    assert truncations.hits == 2


def test_publishing_survives_a_busy_server_and_lost_connections(
    hub: Hub, publish: Callable[..., str], folder: Path
) -> None:
    plans = [
        hub.inject(refused(429, retry_after=0), "POST", "/commit/"),
        hub.inject(refused(500), "PUT", "/lfs/", times=2),
        hub.inject(dropped(), "PUT", "/lfs/"),
        hub.inject(dropped(done=True), "POST", r"\.git/info/lfs"),
    ]
    assert publish() == ""
    assert [plan.hits for plan in plans] == [1, 2, 1, 1]
    assert hub.files("datasets", REPO) == files_of(folder)


def test_an_upload_that_arrives_damaged_publishes_nothing(hub: Hub, publish: Callable[..., str]) -> None:
    hub.inject(corrupted(), "PUT", "/lfs/", times=1_000)
    assert "the SHA-256 of what arrived is not the announced one" in publish()
    assert hub.files("datasets", REPO) == {}


def test_a_server_that_only_fails_is_one_line(
    hub: Hub, publish: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.inject(refused(503), "POST", "/commit/", times=1_000)
    assert f"{hub.endpoint} refused to publish {REPO}: 503" in publish()
    hub.inject(dropped(), "POST", "/preupload/", times=1_000)
    assert f"cannot reach {hub.endpoint}" in publish()


def test_mteb_reads_it_as_a_retrieval_task(publish: Callable[..., str], client: Client, folder: Path) -> None:
    """Its nDCG@10 of BM25 is ours: the same products, queries and graded judgements."""
    assert publish() == ""
    result = client(Path(__file__).with_name("mteb_client.py"), REPO, "th", "fil")
    assert result.returncode == 0, result.stderr
    scores = json.loads(result.stdout.splitlines()[-1])
    assert set(scores) == {"th", "fil"}
    for language, score in scores.items():
        assert score == pytest.approx(score_system(folder, language, bm25_system).mean, abs=1e-4)
