"""`lira serve`: OpenAI's client over real HTTP, live translation, limits, a full queue and a stop in the middle."""

import asyncio
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import uvicorn
from helpers import free_port, lira

from eval.benchmarks.serving_benchmark import _ask, measure_serving
from eval.report.readme import rendered
from modeling_lira import LiraError, LiraModel
from modeling_lira.agents import DictionaryTranslator
from modeling_lira.serving import Limits, LiveTranslator, create_app
from modeling_lira.serving.batcher import Batcher, QueueFullError

SHIRT = "áo sơ mi trắng"
SENT = 250
"""Texts of each request to a server that is stopped."""


@contextmanager
def serving(model: LiraModel, *arguments: object, **options: object) -> Iterator[str]:
    """Serve a model on a port of this machine while the block runs; yields the base URL."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(model, "tiny", *arguments, **options), port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def client(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.mark.parametrize("encoding", [{"encoding_format": "float"}, {}], ids=["float", "base64"])
@pytest.mark.parametrize("kind", ["query", "document"])
def test_openai_client_gets_the_embeddings_of_the_model(
    trained_model: LiraModel, encoding: dict[str, Any], kind: str
) -> None:
    texts = [SHIRT, "baju putih", "white shirt"]
    encode = trained_model.encode_query if kind == "query" else trained_model.encode_document
    candidates = [["white shirt", "a shirt"], [], []]
    expected = encode(texts, ["vi", "id", "en"], candidates).numpy()
    with serving(trained_model) as url:
        answer = client(url).embeddings.create(
            model="tiny",
            input=texts,
            **encoding,
            extra_body={"input_type": kind, "language": ["vi", "id", "en"], "candidates": candidates},
        )
    assert [item.index for item in answer.data] == [0, 1, 2] and answer.model == "tiny"
    np.testing.assert_allclose([item.embedding for item in answer.data], expected, atol=2e-6)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 6


def test_a_live_query_is_translated_once_and_then_read_from_the_cache(trained_model: LiraModel, tmp_path: Path) -> None:
    calls: list[list[str]] = []

    class Counting(DictionaryTranslator):
        def translate(self, texts, languages):
            calls.append(list(texts))
            return super().translate(texts, languages)

    dictionary = Counting({"vi": {"áo": ("shirt",), "trắng": ("white",)}}, name="words", num_candidates=1)
    expected = {
        "translated": trained_model.encode_query(["áo trắng"], "vi", [["shirt white"]]),
        "free": trained_model.encode_query(["áo trắng"], "vi"),
    }
    with serving(trained_model, LiveTranslator(dictionary, tmp_path / "cache")) as url:

        def embedded(**body: object) -> list[float]:
            answer = client(url).embeddings.create(model="", input="áo trắng", extra_body={"language": "vi", **body})
            return answer.data[0].embedding

        for _ in range(2):
            np.testing.assert_allclose(embedded(), expected["translated"][0], atol=2e-6)
        np.testing.assert_allclose(embedded(translate=False), expected["free"][0], atol=2e-6)
        embedded(input_type="document")
        embedded(candidates=[["a white shirt"]])
    assert [texts for texts in calls if texts] == [["áo trắng"]]
    assert list((tmp_path / "cache").glob("shard-*.jsonl"))


def test_a_translator_that_fails_leaves_the_translation_free_embedding(
    trained_model: LiraModel, tmp_path: Path
) -> None:
    class Broken(DictionaryTranslator):
        def translate(self, texts, languages):
            raise LiraError("the translator's server is away")

    expected = trained_model.encode_query([SHIRT], "vi")
    with serving(trained_model, LiveTranslator(Broken({"vi": {}}, name="words"), tmp_path)) as url:
        answer = client(url).embeddings.create(model="", input=SHIRT, extra_body={"language": "vi"})
        counted = httpx.get(f"{url}/metrics").text
    np.testing.assert_allclose(answer.data[0].embedding, expected[0], atol=2e-6)
    assert "lira_untranslated_total 1.0" in counted


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 422, "input: Field required"),
        ({"input": []}, 422, "input: List should have at least 1 item"),
        ({"input": [1, 2]}, 422, "input: Input should be a valid string"),
        ({"input": ""}, 422, "input: String should have at least 1 character"),
        ({"input": "\u200b"}, 400, "visible"),
        ({"input": "áo", "language": "xx"}, 400, "'xx'"),
        ({"input": "áo", "language": ["vi", "vi"]}, 400, "language has 2 entries for 1 texts"),
        ({"input": "áo", "candidates": []}, 400, None),
        ({"input": "áo", "candidates": [["a"], ["b"]]}, 400, "candidates has 2 entries for 1 texts"),
        ({"input": "áo", "candidates": ["shirt"]}, 422, "candidates: Input should be a valid list"),
        ({"input": "áo", "dimensions": 3}, 400, "dimensions is 3"),
        ({"input": "áo", "input_type": "passage"}, 422, "input_type: Input should be 'query' or 'document'"),
        ({"input": "áo", "langauge": "vi"}, 422, "langauge: Extra inputs are not permitted"),
        ({"input": ["áo"] * 9}, 400, "input has 9 texts: send at most 8 a request"),
        ({"input": "x" * 101}, 400, "a text has more than 100 characters"),
        ({"input": "x" * 5000}, 413, "send at most 4000"),
    ],
)
def test_a_bad_request_is_one_clear_sentence(
    shared_server: str, body: dict[str, object], status: int, message: str | None
) -> None:
    answer = httpx.post(f"{shared_server}/v1/embeddings", json=body)
    if message is None:  # no candidates at all is allowed
        assert answer.status_code == 200
        return
    assert answer.status_code == status and set(answer.json()) == {"error"}
    assert message in answer.json()["error"]["message"] and "\n" not in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def shared_server(tiny_model: LiraModel) -> Iterator[str]:
    with serving(tiny_model, limits=Limits(texts=8, characters=100, body=4000)) as url:
        yield url


def test_what_is_no_json_or_no_path_is_an_error_too(shared_server: str) -> None:
    assert httpx.post(f"{shared_server}/v1/embeddings", content=b"{").status_code == 422
    assert httpx.post(f"{shared_server}/v1/embeddings", content=iter([b"{}"])).status_code == 411
    assert httpx.get(f"{shared_server}/nothing").json()["error"]["message"] == "Not Found"
    assert httpx.get(f"{shared_server}/v1/embeddings").status_code == 405


def test_health_models_and_metrics(shared_server: str) -> None:
    assert httpx.get(f"{shared_server}/health").json() == {"status": "ok", "model": "tiny"}
    assert client(shared_server).models.list().data[0].id == "tiny"
    client(shared_server).embeddings.create(model="", input=["a", "b"])
    lines = httpx.get(f"{shared_server}/metrics").text.splitlines()
    assert any(line.startswith('lira_requests_total{status="200"}') for line in lines)
    assert "lira_waiting 0.0" in lines


def test_the_key_is_asked_for(tiny_model: LiraModel) -> None:
    with serving(tiny_model, key="sesame") as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.post(f"{url}/v1/embeddings", json={"input": "a"}).status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client(url, "wrong").embeddings.create(model="", input="a")
        assert client(url, "sesame").embeddings.create(model="", input="a").data


def test_requests_are_batched_and_each_gets_its_own_results() -> None:
    batches: list[list[int]] = []

    def double(items: list[int]) -> list[int]:
        time.sleep(0.02)
        batches.append(items)
        if 13 in items:
            raise LiraError("13 is refused")
        return [2 * item for item in items]

    async def run() -> Sequence[object]:
        batcher = Batcher[int, int](double, batch_size=8, capacity=100)
        batcher.start()
        jobs = [batcher.submit(range(row, row + 3)) for row in range(0, 30, 3)]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        await batcher.stop()
        assert batcher.waiting == 0
        return answers

    answers = asyncio.run(run())
    for row, answer in zip(range(0, 30, 3), answers, strict=True):
        if row == 12:
            assert isinstance(answer, LiraError)
        else:
            assert answer == [2 * row, 2 * row + 2, 2 * row + 4]
    assert max(map(len, batches)) == 6  # two requests of three; a third would be nine, more than eight


def test_a_full_queue_refuses_and_whoever_left_frees_the_room() -> None:
    def slowly(items: list[int]) -> list[int]:
        time.sleep(0.05)
        return items

    async def run() -> None:
        batcher = Batcher[int, int](slowly, batch_size=2, capacity=4)
        batcher.start()
        first, second = (asyncio.create_task(batcher.submit([1, 2])) for _ in range(2))
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFullError, match="4 texts are waiting"):
            await batcher.submit([3])
        second.cancel()
        assert await first == [1, 2]
        await asyncio.sleep(0.15)
        assert batcher.waiting == 0 and await batcher.submit([3]) == [3]
        await batcher.stop()

    asyncio.run(run())


def received(metrics: str) -> float:
    """Texts that a server has been sent, by its metrics: those that wait and those of answered requests."""
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    return float(values["lira_waiting"]) + SENT * float(values.get('lira_requests_total{status="200"}', 0))


def test_a_stopped_server_answers_what_it_was_asked(build_model: Callable[..., LiraModel], tmp_path: Path) -> None:
    build_model().save_pretrained(tmp_path / "model")
    port = free_port()
    command = [sys.executable, "-m", "modeling_lira.cli", "serve", "--model", str(tmp_path / "model"), "--port", port]
    server = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"{url}/health").status_code == 200
            break
        except httpx.TransportError:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)

    def ask(number: int) -> int:
        body = {"input": [f"áo sơ mi trắng cho bé trai {number} {row}" for row in range(SENT)]}
        return httpx.post(f"{url}/v1/embeddings", json=body, timeout=60).status_code

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, number) for number in range(6)]
        while received(httpx.get(f"{url}/metrics").text) < 6 * SENT:
            time.sleep(0.002)
        server.send_signal(signal.SIGTERM)
        assert [answer.result() for answer in asked] == [200] * 6
    assert server.wait(30) in (0, -signal.SIGTERM)
    assert server.stderr is not None and f"answering at {url}/v1/embeddings" in server.stderr.read()


def test_bad_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (("--model", tmp_path / "none"), "none"),
        (("--port", "99999"), "port"),
        (("--timeout", "-1"), "--timeout"),
    ):
        model = () if "--model" in arguments else ("--model", tmp_path)
        assert lira("serve", *model, *arguments) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and message in lines[0]


def test_the_readmes_client_code_runs_as_written(tiny_model: LiraModel) -> None:
    readme = (Path(__file__).parents[1] / "modeling_lira" / "serving" / "README.md").read_text(encoding="utf-8")
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "openai" in block)
    assert "http://localhost:8080" in source
    names: dict[str, Any] = {}
    with serving(tiny_model) as url:
        exec(source.replace("http://localhost:8080", url), names)
    expected = tiny_model.encode_query(["kemeja putih"], "id")
    np.testing.assert_allclose([item.embedding for item in names["answer"].data], expected, atol=2e-6)


def test_load_is_measured_and_what_became_of_requests_when_the_server_was_stopped(
    build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    build_model().save_pretrained(tmp_path / "model")
    texts = [f"áo sơ mi trắng cho bé trai {number}" for number in range(8)]
    record = measure_serving(["--model", str(tmp_path / "model")], texts, "vi", (1, 4))
    for clients, load in zip((1, 4), record.payload["loads"], strict=True):
        assert (load["clients"], load["requests"], load["failed"]) == (clients, 8, 0)
        assert 0 < load["p50_ms"] <= load["p95_ms"]
    assert record.payload["stopped"] == {"asked": 4, "answered": 4}
    assert "Stopped in the middle of 4 requests, the server answered 4 of them" in rendered("serving", vars(record))


def test_requests_that_fail_are_counted_as_such() -> None:
    load = _ask(f"http://127.0.0.1:{free_port()}", ["áo", "giày"], "vi", 2)
    assert (load.requests, load.failed) == (2, 2)
