"""The Hub of the tests itself: rights, revisions, parts of files, and faults that happen as planned."""

import http.client
import json

import pytest

from hub.faults import corrupted, dropped, refused, truncated
from hub.server import READER, WRITER, Hub

DATA = bytes(range(200))
FILE = "/datasets/me/d/resolve/main/a/b.bin"


@pytest.fixture
def filled(hub: Hub) -> Hub:
    """The Hub with one file in a dataset."""
    repo = hub.store.create("datasets", "me/d", private=False)
    repo.commit("one", {"a/b.bin": hub.store.small_file(DATA)})
    return hub


def ask(
    hub: Hub, method: str, path: str, token: str = "", body: bytes = b"", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=10)
    try:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    finally:
        connection.close()


@pytest.mark.parametrize(("token", "status"), [("", 401), ("hf_nobodys", 401), (READER, 403), (WRITER, 200)])
def test_who_may_write(hub: Hub, token: str, status: int) -> None:
    body = json.dumps({"name": "m"}).encode()
    assert ask(hub, "POST", "/api/repos/create", token, body)[0] == status
    assert (("models", "me/m") in hub.store.repos) == (status == 200)


@pytest.mark.parametrize(("token", "status"), [("", 401), ("hf_nobodys", 401), (READER, 200)])
def test_who_may_read_what_is_private(filled: Hub, token: str, status: int) -> None:
    filled.store.repo("datasets", "me/d").private = True
    assert ask(filled, "GET", FILE, token)[0] == status
    assert ask(filled, "GET", "/api/datasets/me/d", token)[0] == status


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [("", 200, DATA), ("bytes=2-5", 206, DATA[2:6]), ("bytes=190-", 206, DATA[190:]), ("bytes=-3", 206, DATA[-3:]),
     ("bytes=195-999", 206, DATA[195:])],
)  # fmt: skip
def test_parts_of_a_file(filled: Hub, wanted: str, status: int, part: bytes) -> None:
    assert ask(filled, "GET", FILE, Range=wanted)[:2] == (status, part)


def test_a_head_request_has_the_length_and_no_body(filled: Hub) -> None:
    status, body, headers = ask(filled, "HEAD", FILE)
    assert (status, body, headers["Content-Length"]) == (200, b"", "200")
    assert headers["X-Repo-Commit"] == filled.store.repo("datasets", "me/d").at("main").oid


def test_trees_of_revisions(filled: Hub) -> None:
    repo = filled.store.repo("datasets", "me/d")
    first = repo.at("main").oid
    repo.tags["v1"] = first
    repo.commit("two", {**repo.at("main").tree, "c.txt": filled.store.small_file(b"c")})

    def listed(revision: str, more: str = "") -> list[tuple[str, str]]:
        rows = json.loads(ask(filled, "GET", f"/api/datasets/me/d/tree/{revision}{more}")[1])
        return [(row["type"], row["path"]) for row in rows]

    assert listed("v1") == listed(first) == listed(first[:8]) == [("directory", "a")]
    assert listed("main") == [("directory", "a"), ("file", "c.txt")]
    assert listed("main", "?recursive=True") == [("directory", "a"), ("file", "a/b.bin"), ("file", "c.txt")]
    assert listed("main", "/a") == [("file", "a/b.bin")]
    status, _, headers = ask(filled, "GET", "/api/datasets/me/d/tree/v9")
    assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_a_commit_changes_all_or_nothing(filled: Hub) -> None:
    lines = [
        {"key": "header", "value": {"summary": "two"}},
        {"key": "file", "value": {"path": "new.txt", "content": "bmV3"}},
        {"key": "lfsFile", "value": {"path": "big", "oid": "0" * 64}},
    ]
    path = "/api/datasets/me/d/commit/main"
    body = "\n".join(map(json.dumps, lines)).encode()
    assert ask(filled, "POST", path, WRITER, body)[0] == 400
    assert filled.files("datasets", "me/d") == {"a/b.bin": DATA}
    body = "\n".join(map(json.dumps, lines[:2])).encode()
    assert ask(filled, "POST", path, WRITER, body)[0] == 200
    assert filled.files("datasets", "me/d") == {"a/b.bin": DATA, "new.txt": b"new"}


def test_faults_happen_as_often_as_planned(filled: Hub) -> None:
    plan = filled.inject(refused(429, retry_after=7), "GET", "/resolve/", times=2)
    answers = [ask(filled, "GET", FILE) for _ in range(3)]
    assert [status for status, _, _ in answers] == [429, 429, 200]
    assert answers[0][2]["Retry-After"] == "7"
    assert plan.hits == 2
    filled.inject(corrupted(), "GET", "/resolve/")
    assert ask(filled, "GET", FILE)[1] == DATA[:-1] + bytes([DATA[-1] ^ 1])
    filled.inject(truncated(50), "GET", "/resolve/")
    with pytest.raises(http.client.IncompleteRead) as stop:
        ask(filled, "GET", FILE)
    assert stop.value.partial == DATA[:50]
    assert [seen.status for seen in filled.seen] == [429, 429, 200, 200, 200]


@pytest.mark.parametrize("done", [False, True])
def test_a_lost_answer_says_nothing_of_what_was_done(hub: Hub, done: bool) -> None:
    hub.inject(dropped(done), "POST", "/create")
    with pytest.raises(http.client.RemoteDisconnected):
        ask(hub, "POST", "/api/repos/create", WRITER, b'{"name": "m"}')
    assert (("models", "me/m") in hub.store.repos) == done


def test_a_damaged_upload_is_refused(hub: Hub) -> None:
    hub.inject(corrupted(), "PUT", "/lfs/")
    assert ask(hub, "PUT", f"/lfs/{'0' * 64}", body=b"data")[0] == 400
    assert hub.store.blobs == {}
