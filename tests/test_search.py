"""The index: what it finds, how it grows, and what a failure leaves behind."""

import contextlib
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import MULTILINGUAL_TEXTS
from helpers import largest_file, lira

from modeling_lira import LiraError, LiraModel, files
from modeling_lira.search import SearchIndex
from modeling_lira.search import index as search
from modeling_lira.search import vectors as stored
from modeling_lira.search.choices import DType, Format, Method
from modeling_lira.search.embeddings import EmbeddingFolder, Settings
from modeling_lira.search.encode import encode_file

WIDTH = 24
METHODS = list(Method)
TEXTS = list(MULTILINGUAL_TEXTS)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Unit rows around a few centres."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(20, WIDTH))[random.integers(20, size=count)] + random.normal(size=(count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def names(count: int, first: int = 0) -> list[str]:
    return [f"p{row}" for row in range(first, first + count)]


def brute_force(rows: np.ndarray, queries: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    cosines = queries @ rows.T
    order = np.argsort(-cosines, axis=1)[:, :top]
    return order, np.take_along_axis(cosines, order, 1)


def recall(rows: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len({*one} & {*other}) / len(other) for one, other in zip(rows, truth, strict=True)]))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


# ---------------------------------------------------------------- finding


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 1e-3), ("int8", 2e-2)])
def test_what_is_found_is_what_comparing_all_finds(tmp_path, method, dtype, tolerance):
    rows, queries = vectors(700), vectors(50, seed=1)
    index = SearchIndex.create(tmp_path / "index", WIDTH, method, dtype)
    index.add(names(700), rows)
    index.save()
    truth, _ = brute_force(rows, queries, 10)
    unit = [values / np.linalg.norm(values, axis=1, keepdims=True) for values in (queries, rows)]
    least = 1.0 if (method, dtype) == ("exact", "float32") else 0.95  # a graph is another at every build
    for opened in (index, SearchIndex.open(tmp_path / "index")):
        nearest, scores = opened.nearest(queries, 10)
        assert recall(nearest, truth) >= least
        np.testing.assert_allclose(scores, np.take_along_axis(unit[0] @ unit[1].T, nearest, 1), atol=tolerance)
        assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_hits_carry_ids_texts_and_cosines(tmp_path, method):
    index = SearchIndex.create(tmp_path / "index", 2, method, "float32")
    index.add(["east", "north"], np.array([[3, 0], [0, 5]]), ["right", "up"])
    index.save()
    index.add(["west", "far west"], torch.tensor([[-1.0, 0.0], [-1.0, -1.0]]), ["left", "further"])  # not saved
    (hits,) = index.search(np.array([[0.6, 0.8]]), top=5)
    assert [(hit.id, hit.text) for hit in hits] == [
        ("north", "up"),
        ("east", "right"),
        ("west", "left"),
        ("far west", "further"),
    ]
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.6, -0.6, -1.4 / 2**0.5], abs=1e-6)
    assert [len(hits) for hits in index.search(np.eye(2), top=2)] == [2, 2]


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_index_finds_nothing(tmp_path, method):
    index = SearchIndex.create(tmp_path / "index", WIDTH, method)
    assert index.search(vectors(3)) == [[], [], []]
    index.save()
    assert len(SearchIndex.open(tmp_path / "index")) == 0
    assert SearchIndex.open(tmp_path / "index").search(vectors(1)) == [[]]
    assert index.search(np.empty((0, WIDTH))) == []
    index.add([], np.empty((0, WIDTH)))
    index.add(["a"], vectors(1))
    assert index.search(vectors(1))[0][0].id == "a"


def test_lengths_do_not_count(tmp_path):
    rows, queries = vectors(100), vectors(10, seed=1)
    scaled = rows * np.logspace(-30, 30, 100)[:, None]
    for method in METHODS:
        index = SearchIndex.create(tmp_path / method, WIDTH, method, "float16")
        index.add(names(100), scaled)
        assert recall(index.nearest(1e30 * queries, 5)[0], brute_force(rows, queries, 5)[0]) >= 0.95


def test_expansion_is_what_hnsw_looks_at(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "COMPARED", 100)  # so few are all compared otherwise
    monkeypatch.setattr(stored, "_SPARE", 10)
    rows, queries = vectors(3000), vectors(100, seed=1)
    index = SearchIndex.create(tmp_path / "index", WIDTH, "hnsw", "float32")
    index.add(names(3000), rows)
    index.save()  # until then new rows are compared
    truth = brute_force(rows, queries, 10)[0]
    assert index.expansion == stored.EXPANSION_SEARCH
    recalls = []
    for index.expansion in (1, 64, 512):
        recalls.append(recall(index.nearest(queries, 10)[0], truth))
    assert recalls[0] < 0.95 < recalls[1] <= recalls[2]
    with pytest.raises(LiraError, match="only hnsw has an expansion"):
        SearchIndex.create(tmp_path / "exact", WIDTH, "exact").expansion = 3


# ---------------------------------------------------------------- growing


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", list(DType))
def test_growing_in_steps_equals_one_step(tmp_path, method, dtype):
    rows, queries = vectors(300), vectors(20, seed=1)
    whole = SearchIndex.create(tmp_path / "whole", WIDTH, method, dtype)
    whole.add(names(300), rows)
    SearchIndex.create(tmp_path / "steps", WIDTH, method, dtype).save()
    for first, last in ((0, 100), (100, 250), (250, 300)):
        steps = SearchIndex.open(tmp_path / "steps")
        middle = (first + last) // 2
        steps.add(names(middle - first, first), rows[first:middle])
        steps.add(names(last - middle, middle), rows[middle:last])
        steps.save()
        steps.save()
        assert {path.name.split("-")[0].split(".")[0] for path in (tmp_path / "steps").iterdir()} == {
            "documents",
            "index",
            "lock",
            "vectors",
        }
        assert len(list((tmp_path / "steps").iterdir())) == 4  # nothing of earlier states
    for index in (steps, SearchIndex.open(tmp_path / "steps")):
        assert len(index) == 300
        assert recall(index.nearest(queries, 10)[0], whole.nearest(queries, 10)[0]) >= (
            0.95 if method == "hnsw" else 0.999
        )
        assert [hit.id for hit in index.search(rows[[0, 120, 299]], 1)[2]] == ["p299"]


def test_what_is_on_disk_is_mapped_not_read(tmp_path):
    index = SearchIndex.create(tmp_path / "index", WIDTH, "exact")
    index.add(names(50), vectors(50))
    index.save()
    assert isinstance(SearchIndex.open(tmp_path / "index")._vectors._parts[0], np.memmap)
    assert (tmp_path / "index" / "vectors.bin").stat().st_size == 50 * WIDTH
    graph = SearchIndex.create(tmp_path / "graph", WIDTH, "hnsw")
    graph.add(names(5000), vectors(5000))
    graph.save()
    mapped = SearchIndex.open(tmp_path / "graph")
    assert mapped._graph.index.memory_usage < graph._graph.index.memory_usage / 4


@pytest.mark.parametrize(
    ("ids", "rows", "texts", "message"),
    [
        (["a", "b", "a"], vectors(3), None, "id 'a' is there already"),
        (["old"], vectors(1), None, "id 'old' is there already"),
        (["new"], vectors(1), None, "id 'new' is there already"),
        (["a"], vectors(2), None, "1 ids, 2 embeddings and 1 texts"),
        (["a"], vectors(1), ["b", "c"], "1 ids, 1 embeddings and 2 texts"),
        ([1], vectors(1), None, "id 0 must be str, got 1"),
        (["a", "\ud83d"], vectors(2), None, "id 1 holds half of a character"),
        (["a"], vectors(1), [None], "text 0 must be str, got None"),
        (["a"], vectors(1)[:, :5], None, r"must have shape \(N, 24\), got \(1, 5\)"),
        (["a"], vectors(1)[0], None, r"must have shape \(N, 24\), got \(24,\)"),
        (["a"], [["x"] * WIDTH], None, "must be a matrix of numbers"),
        (["a", "b"], np.stack([np.ones(WIDTH), np.zeros(WIDTH)]), None, "embedding 1 is zero or not finite"),
        (["a"], np.full((1, WIDTH), np.nan), None, "embedding 0 is zero or not finite"),
        (["a"], np.full((1, WIDTH), np.inf), None, "embedding 0 is zero or not finite"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_added(tmp_path, ids, rows, texts, message):
    for method in METHODS:
        index = SearchIndex.create(tmp_path / method, WIDTH, method)
        index.add(["old"], vectors(1))
        index.save()
        index.add(["new"], vectors(1, seed=2))
        with pytest.raises(LiraError, match=message):
            index.add(ids, rows, texts)
        assert len(index) == 2
        index.save()
        assert len(SearchIndex.open(tmp_path / method)) == 2


def test_other_bad_input(tmp_path):
    index = SearchIndex.create(tmp_path / "index", WIDTH)
    for call, message in (
        *(
            (partial(index.search, vectors(1), top), f"top must be a positive whole number, got {top!r}")
            for top in (0, -1, True, 2.0, float("inf"), "3", None)
        ),
        (lambda: index.search(vectors(1)[:, :3]), "must have shape"),
        (lambda: SearchIndex.create(tmp_path / "other", 0), "width must be a positive whole number, got 0"),
        (lambda: SearchIndex.create(tmp_path / "other", 3, "lsh"), "'lsh' is not a valid Method"),
        (lambda: SearchIndex.create(tmp_path / "other", 3, "hnsw", "int4"), "'int4' is not a valid DType"),
        (lambda: SearchIndex.open(tmp_path / "other"), "there is no index in"),
        (lambda: SearchIndex.create(Path(__file__).parent, 3), "is there already"),
        (lambda: SearchIndex.create(Path(__file__), 3), "is there already"),
    ):
        with pytest.raises(LiraError, match=message):
            call()


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [1_000, 20_000])
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path, method, limit):
    rows = vectors(600)
    index = SearchIndex.create(tmp_path / "index", WIDTH, method, "float32")
    index.add(names(100), rows[:100], ["some text"] * 100)
    index.save()
    before = content(tmp_path / "index")
    index.add(names(500, 100), rows[100:], ["some text"] * 500)
    with largest_file(limit), pytest.raises(LiraError, match="cannot save the index"):
        index.save()
    after = content(tmp_path / "index")
    assert after.keys() == before.keys()
    assert all(after[name].startswith(data) for name, data in before.items())
    opened = SearchIndex.open(tmp_path / "index")
    assert opened.search(rows[[50]], 1)[0][0].id == "p50" and len(opened) == 100
    index.save()  # there is room again
    assert SearchIndex.open(tmp_path / "index").search(rows[[555]], 1)[0][0].id == "p555"


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_while_adding_leaves_what_was_saved(tmp_path, monkeypatch, method):
    rows = vectors(100)
    index = SearchIndex.create(tmp_path / "index", WIDTH, method)
    index.add(names(10), rows[:10])
    index.save()
    monkeypatch.setattr(search, "_SLICE", 20)
    original, calls = type(index._vectors).add, []

    def add(self, part):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(part))
        original(self, part)

    with monkeypatch.context() as patched:
        patched.setattr(type(index._vectors), "add", add)
        with pytest.raises(KeyboardInterrupt):
            index.add(names(90, 10), rows[10:])
    assert calls == [20, 20] and len(index) == 10
    index.add(names(90, 10), rows[10:])
    index.save()
    assert [hits[0].id for hits in SearchIndex.open(tmp_path / "index").search(rows, 1)] == names(100)


def test_two_writers_do_not_overwrite_each_other(tmp_path):
    SearchIndex.create(tmp_path / "index", WIDTH).save()
    first, second = SearchIndex.open(tmp_path / "index"), SearchIndex.open(tmp_path / "index")
    first.add(["a"], vectors(1))
    second.add(["b"], vectors(1))
    first.save()
    with pytest.raises(LiraError, match="changed by another process: open it again"):
        second.save()
    assert SearchIndex.open(tmp_path / "index").search(vectors(1))[0][0].id == "a"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kept", [0, 30, 1000])
@pytest.mark.parametrize("which", ["vectors", "documents"])
def test_a_file_that_was_cut_off_is_named(tmp_path, method, which, kept):
    index = SearchIndex.create(tmp_path / "index", WIDTH, method, "float32")
    index.add(names(100), vectors(100), ["text"] * 100)
    index.save()
    (path,) = (tmp_path / "index").glob(f"{which}*")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(LiraError, match=rf"index file '.*{which}.*' is damaged"):
        SearchIndex.open(tmp_path / "index")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"vectors": "../../secret.bin", "documents": "documents-3.arrow"}},
        {"files": {"vectors": "vectors-3.pkl", "documents": "documents-3.arrow"}},
        {"files": {"vectors": "vectors-3.usearch"}},
        {"files": {"vectors": 3, "documents": "documents-3.arrow"}},
        {"files": []},
        {"width": 10**12},
        {"width": -1},
        {"width": 25},
        {"count": -1},
        {"count": 4},
        {"count": "3"},
        {"count": 10**15},
        {"method": "pickle"},
        {"method": "exact"},
        {"dtype": "object"},
        {"dtype": "float32"},
        {"unknown": 1},
    ],
)
def test_a_manifest_that_makes_no_sense(tmp_path, change):
    index = SearchIndex.create(tmp_path / "index", WIDTH)
    index.add(names(3), vectors(3))
    index.save()
    path = tmp_path / "index" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(LiraError, match=r"is not an index|is damaged"):
        SearchIndex.open(tmp_path / "index")


class Trap:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("a pickle was opened",)


def test_no_pickle_is_opened(tmp_path):
    for method in METHODS:
        index = SearchIndex.create(tmp_path / method, WIDTH, method)
        index.add(names(3), vectors(3))
        index.save()
        for path in (tmp_path / method).iterdir():
            content = path.read_bytes()
            path.write_bytes(pickle.dumps([Trap()]) + bytes(10_000))
            if path.name not in ("lock", "vectors.bin"):  # rows of numbers are whatever they are
                with pytest.raises(LiraError):
                    SearchIndex.open(tmp_path / method)
            path.write_bytes(content)


# ---------------------------------------------------------------- from lira encode to lira search


def folder_of(path: Path, rows: np.ndarray, shards: range, first: int = 0, fingerprint: str = "f") -> EmbeddingFolder:
    """Write some of the shards, of ten rows each."""
    settings = Settings(
        "model", fingerprint, path.name, "document", DType.float32, Format.parquet, len(rows), 10, WIDTH
    )
    folder = EmbeddingFolder.create(path, settings)
    for number in shards:
        part = slice(10 * number, 10 * number + 10)
        ids = names(len(rows), first)[part]
        folder.write(number, ids, [f"text of {name}" for name in ids], rows[part])
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_folders_are_added_as_they_grow(tmp_path, method):
    rows, more = vectors(35), vectors(12, seed=1)
    index = SearchIndex.create(tmp_path / "index", WIDTH, method)
    assert index.add_folder(folder_of(tmp_path / "a", rows, range(2))) == 20
    assert index.add_folder(folder_of(tmp_path / "a", rows, range(2))) == 0
    index = SearchIndex.open(tmp_path / "index")
    assert index.add_folder(folder_of(tmp_path / "a", rows, range(4)), save_every=5) == 15
    assert index.add_folder(folder_of(tmp_path / "b", more, range(2), first=35)) == 12
    index = SearchIndex.open(tmp_path / "index")
    assert index.manifest.sources == {"a": 35, "b": 12} and index.manifest.model == "model"
    hits = index.search(np.concatenate([rows, more]), 1)
    assert [(hit.id, hit.text) for (hit,) in hits] == [(name, f"text of {name}") for name in names(47)]
    with pytest.raises(LiraError, match="embeddings of another model"):
        index.add_folder(folder_of(tmp_path / "c", rows, range(1), first=99, fingerprint="g"))


def test_a_shard_that_is_missing_in_the_middle_stops_the_adding_there(tmp_path):
    rows = vectors(30)
    index = SearchIndex.create(tmp_path / "index", WIDTH)
    folder = folder_of(tmp_path / "a", rows, range(0, 3, 2))
    assert index.add_folder(folder) == 10
    folder_of(tmp_path / "a", rows, range(1, 2))
    assert index.add_folder(folder) == 20
    assert [hits[0].id for hits in index.search(rows, 1)] == names(30)


@pytest.fixture(scope="module")
def encoded(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and the embeddings that it made."""
    root = tmp_path_factory.mktemp("encoded")
    build_model(anchor_texts=TEXTS).save_pretrained(root / "model")
    model = LiraModel.from_pretrained(root / "model")
    rows = [{"id": f"\x1b[31m{row}", "text": f"{text} \x07"} for row, text in enumerate(TEXTS)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    encode_file(model, root / "rows.jsonl", root / "embeddings")
    return root


@pytest.mark.parametrize("method", METHODS)
def test_the_command_builds_and_searches(encoded, tmp_path, capfd, method):
    common = ("search", "--index", tmp_path / "index")
    assert lira(*common, "--add", encoded / "embeddings", "--method", method, "--dtype", "float16") == 0
    assert lira(*common, "--add", encoded / "embeddings", TEXTS[2], TEXTS[14], "--top", 2, "--language", "th") == 0
    out = capfd.readouterr().out
    rows = [line.split("│") for line in out.splitlines() if "│" in line]
    assert [row[1].strip() for row in rows if row[1].strip()] == ["1", "2", "1", "2"]
    firsts = [row for row in rows if row[1].strip() == "1"]
    assert [row[3].strip() for row in firsts] == ["[31m2", "[31m14"]
    assert "\x1b" not in out and "\x07" not in out
    assert lira(*common, TEXTS[2], "--candidate", "white shirt", "--candidate", "boys") == 0
    assert SearchIndex.open(tmp_path / "index").manifest.dtype == "float16"


def test_bad_input_is_one_line_and_exit_code_2(encoded, tmp_path, capfd, build_model):
    common = ("search", "--index", tmp_path / "index")
    assert lira(*common, "--add", encoded / "embeddings") == 0
    SearchIndex.create(tmp_path / "own", WIDTH).save()
    capfd.readouterr()
    for arguments, message in (
        (common, "give something to search for"),
        ((*common, "a", "b", "--candidate", "c"), "give one query"),
        ((*common, "a", "--method", "exact"), "is hnsw, not exact"),
        ((*common, "a", "--dtype", "float32"), "is int8, not float32"),
        ((*common, "a", "--language", "xx"), "language 'xx' is not in the model's config"),
        ((*common, " "), "text 0 is empty"),
        ((*common, "a", "--model", tmp_path / "none"), "there is no such folder"),
        ((*common, "--add", tmp_path), "is not a folder of embeddings"),
        (("search", "--index", tmp_path / "none", "a"), "there is no index in"),
        (("search", "--index", tmp_path / "own", "a"), "give --model"),
        (("search", "--index", tmp_path / "own", "a", "--model", encoded / "model"), "must have shape (N, 24)"),
    ):
        assert lira(*arguments) == 2
        error = capfd.readouterr().err.strip()
        assert message in error and len(error.splitlines()) == 1, error
    other = build_model(anchor_texts=TEXTS[:4])
    other.save_pretrained(tmp_path / "other")
    assert lira(*common, "a", "--model", tmp_path / "other") == 2
    assert "did not make the embeddings of this index" in capfd.readouterr().err


def test_help_shows_an_example(capsys):
    assert lira("search", "--help") == 0
    assert "Example: lira search --index runs/index --add" in " ".join(capsys.readouterr().out.split())


# ---------------------------------------------------------------- equal and nearly equal rows


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def crowds(noise: float, titles: int = 20, copies: int = 60, width: int = WIDTH, others: int = 200) -> np.ndarray:
    """Some titles with many copies each, equal or nearly so, and others that stand alone."""
    random = np.random.default_rng(5)
    rows = np.repeat(random.normal(size=(titles, width)), copies, axis=0)
    rows = rows + noise * random.normal(size=rows.shape) * (random.random(len(rows)) < 0.9)[:, None]
    return unit(np.concatenate([rows, random.normal(size=(others, width))]))


def build(folder: Path, rows: np.ndarray, how: str, method: str, dtype: str) -> SearchIndex:
    index = SearchIndex.create(folder, rows.shape[1], method, dtype)
    step = {"one add": len(rows), "many adds": 37, "reopened": 400}[how]
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        index.add(names(len(part), first), part)
        if how == "reopened":
            index.save()
            index = SearchIndex.open(folder)
    return index


def assert_as_exact(index: SearchIndex, rows: np.ndarray, least: float = 1.0, top: int = 10) -> None:
    """Every row is found by its own vector, and what is found is as near as what exact search finds."""
    kept = search.quantise(index._checked(rows), index.manifest.dtype)[0].astype(np.float64)
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    cosines = np.einsum("id,jd->ij", kept, kept)
    nearest, scores = index.nearest(rows, top)
    of_nearest = np.take_along_axis(cosines, nearest, 1)
    np.testing.assert_allclose(scores, of_nearest, atol=1e-6)
    as_near = of_nearest >= -np.sort(-cosines, axis=1)[:, :top] - 1e-7
    assert as_near.mean() >= least
    assert all(len(set(several)) == top for several in nearest.tolist())
    equal = (kept[nearest[:, 1:]] == kept[nearest[:, :-1]]).all(2)
    assert (np.diff(nearest, axis=1)[equal] > 0).all()  # equal rows come in their order
    itself = (nearest == np.arange(len(rows))[:, None]).any(1)
    crowded = (of_nearest > 1 - 1e-15).all(1)  # others that are just as near fill the list
    assert (itself | crowded).all()


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("how", ["one add", "many adds", "reopened"])
def test_every_row_is_found_beside_equal_and_nearly_equal_ones(tmp_path, monkeypatch, graph, noise, dtype, how):
    if graph:  # as if there were too many to compare them all
        monkeypatch.setattr(stored, "COMPARED", 100)
    rows = crowds(noise)
    if how == "many adds":
        rows = rows[np.random.default_rng(1).permutation(len(rows))]
    least = 0.98 if graph else 1.0
    index = build(tmp_path / "index", rows, how, "hnsw", dtype)
    assert_as_exact(index, rows, least)
    index.save()
    opened = SearchIndex.open(tmp_path / "index")
    assert_as_exact(opened, rows, least)
    assert (opened.nearest(rows[:50], 7)[0] == index.nearest(rows[:50], 7)[0]).all()
    if noise == 0:
        assert len(opened._graph.index) <= 220


@pytest.mark.parametrize("dtype", ["int8", "float32", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_as_many_rows_come_back_as_there_are(tmp_path, monkeypatch, method, dtype):
    monkeypatch.setattr(stored, "COMPARED", 100)
    rows = crowds(0.0, copies=50)
    index = build(tmp_path / "index", rows, "one add", method, dtype)
    for top in (1, 10, 300, len(rows) - 1, len(rows), len(rows) + 1, 2**40):
        nearest, scores = index.nearest(rows[:3], top)
        assert nearest.shape == scores.shape == (3, min(top, len(rows)))
        assert all(len(set(row)) == len(row) for row in nearest.tolist()) and (np.diff(scores, axis=1) <= 0).all()
    assert len(index.search(rows[:1], np.int64(10_000))[0]) == len(rows)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", list(DType))
def test_equal_rows_come_in_their_order(tmp_path, method, dtype):
    rows = np.concatenate([vectors(3), np.repeat(vectors(1, seed=3), 200, axis=0), vectors(3)])
    index = build(tmp_path / "index", rows, "many adds", method, dtype)
    assert index.nearest(rows[100:101], 20)[0][0].tolist() == list(range(3, 23))
    assert index.nearest(rows[:1], 2)[0][0].tolist() == [0, 203]


def first_format(folder: Path, rows: np.ndarray, dtype: str) -> None:
    """Write an index as version 0.1 did: every row in the graph, ids and texts, a manifest without a format."""
    graph = stored._empty(rows.shape[1], stored._SCALARS[DType(dtype)])
    graph.add(np.arange(len(rows), dtype=np.uint64), search.quantise(rows, dtype)[0])
    folder.mkdir()
    graph.save(folder / f"vectors-{len(rows)}.usearch")
    table = pa.table({"id": names(len(rows)), "text": [""] * len(rows)})
    with (
        pa.OSFile(str(folder / f"documents-{len(rows)}.arrow"), "wb") as file,
        pa.ipc.new_file(file, table.schema) as out,
    ):
        out.write_table(table)
    files = {"vectors": f"vectors-{len(rows)}.usearch", "documents": f"documents-{len(rows)}.arrow"}
    fields = {"method": "hnsw", "dtype": dtype, "width": rows.shape[1], "count": len(rows), "files": files}
    (folder / "index.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("more", [0, 40])
def test_an_index_of_the_first_format_opens_and_is_brought_up_to_date(tmp_path, monkeypatch, dtype, noise, more):
    monkeypatch.setattr(stored, "COMPARED", 100)
    rows = crowds(noise, copies=40)
    first_format(tmp_path / "index", rows[: len(rows) - more], dtype)
    index = SearchIndex.open(tmp_path / "index")
    assert_as_exact(index, rows[: len(rows) - more])
    if more:
        index.add(names(more, len(rows) - more), rows[-more:])
    index.save()
    assert_as_exact(index, rows, 0.98)
    opened = SearchIndex.open(tmp_path / "index")
    assert opened.manifest.format == search.FORMAT and len(list((tmp_path / "index").iterdir())) == 4
    assert_as_exact(opened, rows, 0.98)
    if noise == 0:
        assert len(opened._graph.index) < len(rows) / 2


def test_an_index_of_a_newer_format_is_not_read(tmp_path):
    SearchIndex.create(tmp_path / "index", WIDTH).save()
    path = tmp_path / "index" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": search.FORMAT + 1}))
    with pytest.raises(LiraError, match="a newer version made it"):
        SearchIndex.open(tmp_path / "index")


def test_columns_of_the_graph_that_make_no_sense(tmp_path):
    rows = vectors(20)
    for first in (
        np.arange(20)[::-1],
        np.full(20, -1),
        np.arange(20) - (np.arange(20) == 5) * 1 - (np.arange(20) == 4),
    ):
        folder = tmp_path / str(first[4])
        SearchIndex.create(folder, WIDTH).save()
        index = SearchIndex.open(folder)
        index.add(names(20), rows)
        index._vectors.columns = lambda first=first: {"first": first, "apart": np.zeros(20, bool)}
        with pytest.raises(LiraError, match="damaged"):
            index.save()
            SearchIndex.open(folder)


# ---------------------------------------------------------------- what an interrupted save leaves


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", range(12))
def test_an_interrupted_first_save_goes_on(tmp_path, monkeypatch, method, step):
    """Whatever file operation of the first save is the last, the same command goes on and leaves nothing behind."""
    rows = vectors(60)

    class Killed(BaseException):
        pass

    def killing(original, calls):
        def call(*arguments, **options):
            if len(calls) == step:
                raise Killed
            calls.append(arguments)
            return original(*arguments, **options)

        return call

    def command(folder: Path) -> None:
        path = folder / "index.json"
        index = SearchIndex.open(folder) if path.exists() else SearchIndex.create(folder, WIDTH, method)
        if len(index) < 60:
            index.add(names(60 - len(index), len(index)), rows[len(index) :])
            index.save()

    with monkeypatch.context() as patched:
        calls: list = []
        for name in ("mkdir", "replace", "unlink", "chmod"):
            patched.setattr(Path, name, killing(getattr(Path, name), calls))
        patched.setattr(files.os, "fsync", killing(files.os.fsync, calls))
        with contextlib.suppress(Killed):
            command(tmp_path / "index")
    if (tmp_path / "index").is_dir():  # what kill -9 leaves: nobody tidies up
        (tmp_path / "index" / ".vectors-60-60.abcdefgh.usearch").write_text("half")
        (tmp_path / "index" / ".index.abcdefgh.json").write_text("half")
    command(tmp_path / "index")
    assert SearchIndex.open(tmp_path / "index").nearest(rows, 1)[0][:, 0].tolist() == list(range(60))
    command(tmp_path / "index")
    SearchIndex.open(tmp_path / "index").save()
    assert len(list((tmp_path / "index").iterdir())) == 4


@pytest.mark.parametrize("method", METHODS)
def test_a_full_disk_at_the_first_save(tmp_path, method):
    index = SearchIndex.create(tmp_path / "index", WIDTH, method, "float32")
    index.add(names(400), vectors(400), ["some text"] * 400)
    for limit in (0, 1_000, 30_000):
        with largest_file(limit), pytest.raises(LiraError, match="cannot save the index"):
            index.save()
    again = SearchIndex.create(tmp_path / "index", WIDTH, method, "float32")
    again.add(names(100), vectors(100))
    again.save()
    assert len(SearchIndex.open(tmp_path / "index")) == 100 and len(list((tmp_path / "index").iterdir())) == 4
    if method == "exact":
        assert (tmp_path / "index" / "vectors.bin").stat().st_size == 100 * WIDTH * 4


def test_another_methods_leavings_and_foreign_files(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "vectors.bin").write_bytes(bytes(1000))
    (tmp_path / "index" / ".vectors-9.abcdefgh.usearch").write_bytes(bytes(10))
    index = SearchIndex.create(tmp_path / "index", WIDTH, "hnsw")
    index.add(names(9), vectors(9))
    index.save()
    assert len(list((tmp_path / "index").iterdir())) == 4
    for name in ("notes.txt", ".hidden", ".notes.abcdefgh.txt", "index.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("mine")
        with pytest.raises(LiraError, match="is there already"):
            SearchIndex.create(tmp_path / name, WIDTH)


def test_a_large_graph_is_built_by_all_processors(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "ONE_THREAD", 100)
    index, threads, add = SearchIndex.create(tmp_path / "index", 8), [], stored.Index.add
    monkeypatch.setattr(
        stored.Index, "add", lambda *given, **more: threads.append(more["threads"]) or add(*given, **more)
    )
    for start in (0, 80, 160):
        index.add([str(start + row) for row in range(80)], np.random.default_rng(start).standard_normal((80, 8)))
    assert threads == [1, 0, 0]


def test_the_same_rows_make_the_same_graph(tmp_path):
    rows, files = crowds(0.01), []
    for name in ("first", "second"):
        index = build(tmp_path / name, rows, "one add", "hnsw", "int8")
        index.save()
        (graph,) = (tmp_path / name).glob("*.usearch")
        files.append(graph.read_bytes())
    assert files[0] == files[1]
