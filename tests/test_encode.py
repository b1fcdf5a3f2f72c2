"""Texts in files, and their embeddings on disk: the same numbers, whatever the format and however often interrupted."""

import copy
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import MULTILINGUAL_TEXTS, disturb
from filelock import FileLock
from helpers import lira

from modeling_lira import LiraError, LiraModel
from modeling_lira.records.saved_model import fingerprint
from modeling_lira.search import encode as encoding
from modeling_lira.search.choices import DType, Format, Kind
from modeling_lira.search.embeddings import EmbeddingFolder, Settings, quantise, restore
from modeling_lira.search.encode import encode_file
from modeling_lira.search.text_file import Columns, TextFile

TEXTS = list(MULTILINGUAL_TEXTS)
CODES = [code for code in ("vi", "th", "id", "ms", "ur", "bn", "fil", "en") for _ in range(2)]
ROWS: list[dict[str, Any]] = [
    {
        "_id": f"p{row}",
        "text": text,
        "language": code,
        "candidates": [
            {"text": f"white shirt {row}", "agent": "a", "semantic": 1 + row % 9, "emotional": 3, "pragmatic": 10},
            {"text": "old phone", "agent": "b", "semantic": None, "emotional": None, "pragmatic": None},
        ][: row % 3],
    }
    for row, (text, code) in enumerate(zip(TEXTS, CODES, strict=True))
]
CANDIDATES = [[candidate["text"] for candidate in row["candidates"]] for row in ROWS]
NAN = float("nan")
SCORES = [[[1 + number % 9, 3, 10], [NAN, NAN, NAN]][: number % 3] for number in range(len(ROWS))]


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return disturb(build_model(anchor_texts=TEXTS, query_prefix="query: ", document_prefix="passage: "))


def write(path: Path, rows: Sequence[dict]) -> Path:
    """Write rows in the format of the name."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path, **columns: str) -> TextFile:
    return TextFile(path, Columns(**columns), ["vi", "th", "id", "ms", "ur", "bn", "fil", "en"], 4)


# ---------------------------------------------------------------- quantise


def test_int8_uses_its_whole_range_in_every_row():
    rows = np.array([[0.5, -1.0, 0.25], [0.002, 0.001, 0.0]], np.float32)
    stored, scale = quantise(rows, DType.int8)
    assert stored.tolist() == [[64, -127, 32], [127, 64, 0]]  # 63.5 and 31.75 rounded, halves to even
    np.testing.assert_allclose(scale, [1 / 127, 0.002 / 127], rtol=1e-6)
    np.testing.assert_allclose(restore(stored, scale), rows, atol=1 / 254)


@pytest.mark.parametrize("dtype", [DType.float32, DType.float16])
def test_floats_are_stored_as_they_are(dtype):
    rows = np.array([[0.5, -0.125], [3.0, 0.0]], np.float32)
    stored, scale = quantise(rows, dtype)
    assert stored.dtype == str(dtype) and scale is None
    assert restore(stored, scale).tolist() == rows.tolist()


# ---------------------------------------------------------------- text files


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_of_a_file(tmp_path, suffix):
    file = read(write(tmp_path / f"rows.{suffix}", ROWS))
    assert file.rows == len(ROWS)
    batches = list(file.batches(5))
    assert [len(batch) for batch in batches] == [5, 5, 5, 1]
    assert [name for batch in batches for name in batch.ids] == [f"p{row}" for row in range(len(ROWS))]
    assert [text for batch in batches for text in batch.texts] == TEXTS
    assert [code for batch in batches for code in batch.languages] == CODES
    assert [texts for batch in batches for texts in batch.candidates] == CANDIDATES
    np.testing.assert_equal([scores for batch in batches for scores in batch.scores], SCORES)


def test_the_digest_is_of_what_is_said_not_of_the_format(tmp_path):
    digests = [read(write(tmp_path / f"rows.{suffix}", ROWS)).digest for suffix in ("jsonl", "parquet")]
    assert digests[0] == digests[1]
    other = [*ROWS[:-1], {**ROWS[-1], "text": "another"}]
    assert read(write(tmp_path / "other.jsonl", other)).digest != digests[0]


def test_a_csv_file_with_columns_of_other_names(tmp_path):
    path = write(tmp_path / "rows.csv", [{"sku": 7, "title": 'a "b", c'}, {"sku": 8, "title": "d\ne"}])
    rows = next(read(path, text="title", id="sku", language="vi").batches(9))
    assert (rows.ids, rows.texts, rows.languages) == (["7", "8"], ['a "b", c', "d\ne"], ["vi", "vi"])


def test_without_ids_and_languages(tmp_path):
    rows = next(read(write(tmp_path / "rows.jsonl", [{"text": "a"}, {"text": "b", "candidates": None}])).batches(9))
    assert (rows.ids, rows.languages, rows.candidates) == (["0", "1"], [None, None], [[], []])


def test_candidates_as_plain_strings_and_no_more_than_the_model_takes(tmp_path):
    rows = next(read(write(tmp_path / "rows.jsonl", [{"text": "a", "candidates": list("bcdefg")}])).batches(9))
    assert rows.candidates == [["b", "c", "d", "e"]]


def test_half_a_character_is_replaced(tmp_path):
    rows = next(read(write(tmp_path / "r.jsonl", [{"id": "\ud83d", "text": "\ud83d\ude00 \udc00"}])).batches(9))
    assert (rows.ids, rows.texts) == (["\ufffd"], ["😀 \ufffd"])


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([{"text": "a"}, {"text": " "}], {}, r"row 2: column 'text' must hold a text, not ' '"),
        ([{"text": "a"}, {"text": "\u200b\ufeff"}], {}, r"row 2: column 'text' must hold a text"),
        ([{"text": "a", "candidates": ["\xad"]}], {}, r"row 1: a candidate needs a text"),
        ([{"text": None}], {}, r"row 1: column 'text' must hold a text, not None"),
        ([{"title": "a"}], {}, r"no column 'text', only title: use --text-column"),
        ([{"text": "a"}], {"id": "sku"}, r"no column 'sku', only text: use --id-column"),
        ([{"text": "a"}], {"language_column": "tongue"}, r"no column 'tongue', only text: use --language-column"),
        ([{"text": "a"}], {"language": "xx"}, r"unknown language 'xx'; the model knows vi"),
        ([{"text": "a", "lang": "xx"}], {}, r"row 1: unknown language 'xx'"),
        ([{"text": "a", "id": 1}, {"text": "b", "id": "1"}], {}, r"row 2: id '1' was there before"),
        ([{"text": "a", "id": ""}], {}, r"row 1: column 'id' must hold an id, not ''"),
        ([{"text": "a", "candidates": "b"}], {}, r"row 1: candidates must be a list, not 'b'"),
        ([{"text": "a", "candidates": [""]}], {}, r"row 1: a candidate needs a text, but there is ''"),
        ([{"text": "a", "candidates": [{"text": "b", "semantic": 11}]}], {}, r"row 1: .*from 1 to 10, not 11"),
        ([], {}, r"has no rows"),
    ],
)
def test_a_bad_row_is_named(tmp_path, rows, columns, message):
    with pytest.raises(LiraError, match=message):
        read(write(tmp_path / "rows.jsonl", rows), **columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.txt", b"", r"must end in \.jsonl, \.parquet, \.csv"),
        ("rows.jsonl", b"{", "line 1 is not JSON"),
        ("rows.jsonl", b"[1]", "line 1 is not a JSON object"),
        ("rows.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("rows.parquet", b"PAR1 no PAR1", "is not a Parquet file"),
        ("rows.parquet", b"", "is not a Parquet file"),
        ("rows.csv", b"text\n" + b"a" * (2**24 + 1), "row 1 .*too long"),
        ("rows.csv", b"", "has no rows"),
        ("rows.csv", b"text\n", "has no rows"),
        ("rows.csv", b"text\na\nb,c\n", "row 2 has 2 cells, but the header names 1 columns"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LiraError, match=message):
        read(tmp_path / name)


def test_a_parquet_file_of_no_rows(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    with pytest.raises(LiraError, match="has no rows"):
        read(tmp_path / "rows.parquet")


# ---------------------------------------------------------------- encode_file


def expected(model: LiraModel, kind: Kind = Kind.document) -> np.ndarray:
    encode = model.encode_query if kind is Kind.query else model.encode_document
    return encode(TEXTS, CODES, CANDIDATES, SCORES).numpy()


def all_of(folder: EmbeddingFolder) -> tuple[list[str], list[str], np.ndarray]:
    shards = list(folder)
    return (
        [name for shard in shards for name in shard.ids],
        [text for shard in shards for text in shard.texts],
        np.concatenate([shard.embeddings for shard in shards]),
    )


@pytest.mark.parametrize(("rows", "shards"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_no_shard_is_empty(tmp_path, rows, shards):
    settings = Settings("m", "f", "i", Kind.document, DType.int8, Format.parquet, rows, shard_size=4, width=3)
    assert EmbeddingFolder(tmp_path, settings).shards == shards


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 3e-4), ("int8", 3e-3)])
def test_every_format_holds_the_models_own_embeddings(model, tmp_path, format, dtype, tolerance):
    file = write(tmp_path / "rows.jsonl", ROWS)
    encode_file(model, file, tmp_path / "out", dtype=DType(dtype), format=format, shard_size=5)
    folder = EmbeddingFolder.open(tmp_path / "out")
    assert folder.shards == 4 and folder.settings.width == model.config.embedding_size
    ids, texts, embeddings = all_of(folder)
    assert (ids, texts) == ([f"p{row}" for row in range(len(ROWS))], TEXTS)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected(model), atol=tolerance)
    assert np.abs(embeddings - expected(model)).max() > tolerance / 1000 or dtype == "float32"


def test_a_shard_is_a_plain_parquet_file(model, tmp_path):
    encode_file(model, write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out", Kind.query, shard_size=9)
    table = pq.read_table(tmp_path / "out" / "shard-00000-of-00002.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), model.config.embedding_size)
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), expected(model, Kind.query)[:9], atol=3e-4)


def interrupting(monkeypatch: pytest.MonkeyPatch, after: int) -> list[int]:
    """Let Ctrl-C come after some batches; the list fills with the sizes of what was embedded."""
    embedded: list[int] = []
    original = encoding._encode

    def embed(model, rows, *others):
        if len(embedded) == after:
            raise KeyboardInterrupt
        embedded.append(len(rows))
        return original(model, rows, *others)

    monkeypatch.setattr(encoding, "_encode", embed)
    return embedded


@pytest.mark.parametrize("format", list(Format))
def test_it_goes_on_where_it_was(model, tmp_path, monkeypatch, format):
    file = write(tmp_path / "rows.jsonl", ROWS)
    with monkeypatch.context() as patched:
        interrupting(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            encode_file(model, file, tmp_path / "out", format=format, shard_size=5)
    assert len(list(EmbeddingFolder.open(tmp_path / "out"))) == 2
    embedded = interrupting(monkeypatch, 99)
    folder = encode_file(model, file, tmp_path / "out", format=format, shard_size=5)
    assert embedded == [5, 1]
    np.testing.assert_allclose(all_of(folder)[2], expected(model), atol=3e-4)
    encode_file(model, file, tmp_path / "out", format=format, shard_size=5)
    assert embedded == [5, 1]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_folder_of_other_settings_is_left_alone(model, tmp_path, build_model):
    file = write(tmp_path / "rows.jsonl", ROWS)
    encode_file(model, file, tmp_path / "out")
    other = write(tmp_path / "other.jsonl", [*ROWS[:-1], {**ROWS[-1], "text": "another"}])
    for arguments, message in (
        ((model, other, tmp_path / "out"), "another input file"),
        ((build_model(anchor_texts=TEXTS), file, tmp_path / "out"), "another model"),
        ((model, file, tmp_path / "out", Kind.query), r"another kind \(document, now query\)"),
        ((model, file, tmp_path / "out", Kind.document, None, DType.int8), r"another dtype \(float16, now int8\)"),
    ):
        with pytest.raises(LiraError, match=message):
            encode_file(*arguments)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(LiraError, match="folder of something else"):
        encode_file(model, file, tmp_path / "mine")
    with pytest.raises(LiraError, match="is a file"):
        encode_file(model, file, file)


def test_one_process_at_a_time(model, tmp_path):
    file = write(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / "lock"), pytest.raises(LiraError, match="in use by another process"):
        encode_file(model, file, tmp_path / "out")
    encode_file(model, file, tmp_path / "out")


@pytest.mark.parametrize("format", list(Format))
def test_a_damaged_shard_is_named(model, tmp_path, format):
    folder = encode_file(model, write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out", format=format, shard_size=9)
    path = tmp_path / "out" / f"shard-00001-of-00002.{format}"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(LiraError, match=r"shard '.*shard-00001-of-00002.*' is damaged"):
        folder.read(1)
    assert len(folder.read(0).ids) == 9


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": 1}', "[" * 100_000, '{"rows": ' + "1" * 5_000 + "}"])
def test_a_folder_without_embeddings(tmp_path, content):
    with pytest.raises(LiraError, match="is not a folder of embeddings"):
        EmbeddingFolder.open(tmp_path)
    (tmp_path / "embeddings.json").write_text(content)
    with pytest.raises(LiraError, match="is not a folder of embeddings"):
        EmbeddingFolder.open(tmp_path)


def test_fingerprints_tell_models_apart(model, build_model, tmp_path):
    model.save_pretrained(tmp_path)
    assert fingerprint(LiraModel.from_pretrained(tmp_path)) == fingerprint(model)
    untrained, other = build_model(anchor_texts=TEXTS), copy.deepcopy(model)
    other.processor = copy.copy(model.processor)
    other.processor.query_prefix = "q: "
    assert len({fingerprint(one) for one in (model, untrained, other)}) == 3


# ---------------------------------------------------------------- lira encode


def test_the_command(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    file = write(tmp_path / "rows.jsonl", [{"title": text} for text in TEXTS])
    options = ("--text-column", "title", "--language", "th", "--kind", "query", "--dtype", "int8", "--shard-size", 7)
    arguments = ("encode", "--model", tmp_path / "model", "--input", file, "--output", tmp_path / "out", *options)
    assert lira(*arguments) == 0 and lira(*arguments) == 0
    ids, texts, embeddings = all_of(EmbeddingFolder.open(tmp_path / "out"))
    assert (ids, texts) == ([str(row) for row in range(len(TEXTS))], TEXTS)
    np.testing.assert_allclose(embeddings, model.encode_query(TEXTS, "th").numpy(), atol=3e-3)


def test_bad_input_is_one_line_and_exit_code_2(model, tmp_path, capfd):
    model.save_pretrained(tmp_path / "model")
    file = write(tmp_path / "rows.jsonl", ROWS)
    capfd.readouterr()  # the progress of saving
    for model_name, input_name, message in (
        (tmp_path / "none", file, "there is no such folder"),
        (tmp_path / "model", tmp_path / "none.jsonl", "no input file"),
        (tmp_path / "model", write(tmp_path / "empty.jsonl", []), "has no rows"),
    ):
        assert lira("encode", "--model", model_name, "--input", input_name, "--output", tmp_path / "out") == 2
        error = capfd.readouterr().err.strip()
        assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_help_shows_an_example(capsys):
    assert lira("encode", "--help") == 0
    assert "Example: lira encode --model" in " ".join(capsys.readouterr().out.split())


def test_candidates_and_ids_of_every_format(tmp_path):
    candidates = [["b", {"text": "c", "semantic": 2}], []]
    rows = [{"id": row + 0.0, "text": "a", "candidates": candidates[row]} for row in range(2)]
    files = [write(tmp_path / "rows.jsonl", rows)]
    files.append(write(tmp_path / "rows.csv", [{**row, "candidates": json.dumps(row["candidates"])} for row in rows]))
    same = [
        {**row, "candidates": [c if isinstance(c, dict) else {"text": c} for c in row["candidates"]]} for row in rows
    ]
    files.append(write(tmp_path / "rows.parquet", same))
    for file in files:
        batch = next(read(file).batches(9))
        assert batch.ids == (["0.0", "1.0"] if file.suffix == ".csv" else ["0", "1"])  # a CSV cell is a text
        assert batch.candidates == [["b", "c"], []] and batch.scores[0][1][0] == 2


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (pa.array([1.0, 2.0]), ["1", "2"]),
        (pa.array([1, 2], pa.timestamp("s")), ["1970-01-01 00:00:01", "1970-01-01 00:00:02"]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array([2**63, 1], pa.uint64()), [str(2**63), "1"]),
        (pa.array([True, False]), None),
        (pa.array(["a", None]), None),
        (pa.array([1.0, float("nan")]), None),
        (pa.array([b"a", b"\xff"]), None),
    ],
)
def test_ids_of_every_parquet_type(tmp_path, values, ids):
    unused = pa.array([2**62, 0], pa.timestamp("us"))
    pq.write_table(pa.table({"id": values, "text": ["a", "b"], "unused": unused}), tmp_path / "rows.parquet")
    if ids:
        assert next(read(tmp_path / "rows.parquet").batches(9)).ids == ids
        return
    with pytest.raises(LiraError, match=r"row [12]: column 'id' must hold an id, not"):
        read(tmp_path / "rows.parquet")


def test_a_language_that_is_missing(tmp_path):
    codes = [None, float("nan"), "", " ", "vi"]
    file = write(tmp_path / "rows.jsonl", [{"text": "a", "lang": code} for code in codes])
    assert next(read(file).batches(9)).languages == [None] * 4 + ["vi"]


def test_the_right_row_is_named_after_empty_lines(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n\n\n{"text": NaN}\n')
    with pytest.raises(LiraError, match=r"row 4: column 'text' must hold a text, not nan"):
        read(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert next(read(tmp_path / "rows.jsonl").batches(9)).ids == ["0", "1"]


def test_what_a_killed_run_left_is_swept_and_the_folder_is_taken_up(model, tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out"
    out.mkdir()
    (out / "lock").touch()
    (out / ".embeddings.abcdefgh.json").write_text("{")  # killed while its manifest was written
    encode_file(model, file, out, shard_size=9)
    before = {path.name for path in out.iterdir()}
    assert before == {"embeddings.json", "lock", *(f"shard-0000{number}-of-00002.parquet" for number in range(2))}
    (out / ".shard-00001-of-00002.abcdefgh.parquet").write_text("half")
    (out / ".shard-00001-of-00002-texts.abcdefgh.parquet").write_text("half")
    encode_file(model, file, out, shard_size=9)
    assert {path.name for path in out.iterdir()} == before


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("format", list(Format))
def test_what_is_not_finite_is_never_written(model, tmp_path, monkeypatch, bad, format):
    original = encoding._encode

    def embed(model, rows, *others):
        embeddings = original(model, rows, *others)
        embeddings[2, 3] = bad
        return embeddings

    monkeypatch.setattr(encoding, "_encode", embed)
    with pytest.raises(LiraError, match="embedding of 'p2' is not finite"):
        encode_file(model, write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out", format=format)
    assert not list((tmp_path / "out").glob("shard*"))


@pytest.mark.parametrize("name", ["shard_size", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, True, 2.5, None])
def test_sizes_are_positive_whole_numbers(model, tmp_path, name, value):
    with pytest.raises(LiraError, match=f"{name} must be a positive whole number, got {value}"):
        encode_file(model, write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out", **{name: value})
    assert not (tmp_path / "out").exists()
