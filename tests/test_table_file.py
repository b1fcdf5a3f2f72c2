"""Tables of every format: one reader for all commands, each row read as it was written or named as bad."""

import csv
import datetime
import gzip
import json
import random
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeling_lira import LiraError
from modeling_lira.data import table_file
from modeling_lira.data.cells import candidate_fields, cell_text, critic_scores, identifier, is_missing
from modeling_lira.data.table_file import BadRow, column_names, read_any_rows, read_rows

ROWS = [{"id": "1", "text": "Áo thun"}, {"id": "2", "text": 'เสื้อ, "ยืด"; \t x'}, {"id": "3", "text": "two\nlines"}]


def csv_text(separator: str = ",", end: str = "\r\n") -> str:
    cells = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    quoted = (separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells)
    return "".join(f"{line}{end}" for line in quoted)


def rows_of(path: Path) -> list[dict]:
    return [dict(row) for _, row in read_rows(path)]


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", csv_text()),
        ("rows.csv", csv_text(";")),
        ("rows.csv", "sep=;\r\n" + csv_text(";")),
        ("rows.csv", csv_text("\t", "\n")),
        ("rows.csv", csv_text(end="\r")),
        ("ROWS.TSV", csv_text("\t")),
        ("rows.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS)),
        ("rows.ndjson", "\n".join(json.dumps(row) for row in ROWS)),
    ],
)
def test_text_in_every_encoding_and_with_every_separator(tmp_path, name, content, encoding):
    path, packed = tmp_path / name, tmp_path / f"{name}.gz"
    path.write_bytes(content.encode(encoding))
    packed.write_bytes(gzip.compress(content.encode(encoding)))
    assert rows_of(path) == rows_of(packed) == ROWS
    assert column_names(path) == ["id", "text"]


def test_utf_16_of_the_other_byte_order(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"\xfe\xff" + csv_text().encode("utf-16-be"))
    assert rows_of(tmp_path / "rows.csv") == ROWS


@pytest.mark.parametrize("encoding", ["cp1258", "cp874", "tis-620", "latin-1"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
@pytest.mark.parametrize("line", [0, 1])
def test_another_encoding_is_one_clear_error_with_the_files_name(tmp_path, encoding, name, line):
    text = "áo" if encoding in ("cp1258", "latin-1") else "เสื้อ"
    rows = ["{}", json.dumps({"text": text}, ensure_ascii=False)] if name == "rows.jsonl" else ["text", text]
    (tmp_path / name).write_bytes("\n".join(rows[:: 1 if line else -1]).encode(encoding))
    with pytest.raises(LiraError, match=rf"{name}' .*is not UTF-8 text: save the file as UTF-8"):
        column_names(tmp_path / name)
        rows_of(tmp_path / name)


def test_a_cell_of_a_million_characters(tmp_path):
    for text in ("a" * 1_000_000, "a,\n" * 300_000):
        (tmp_path / "rows.csv").write_text(f'id,text\n1,"{text}"\n', newline="")
        assert rows_of(tmp_path / "rows.csv") == [{"id": "1", "text": text}]


def test_parquet_values_and_only_the_columns_that_are_needed(tmp_path):
    table = pa.table(
        {
            "id": pa.array([1.0, None]),
            "bytes": pa.array([b"abc", b"\xff"]),
            "when": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "Mars/Olympus")),
            "day": pa.array([datetime.date(2024, 2, 29), None]),
            "never": pa.array([2**62, 0], pa.timestamp("us")),
            "ok": [True, None],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    first, second = rows_of(tmp_path / "rows.parquet")
    assert first["id"] == 1.0 and first["bytes"] == "abc" and second["bytes"] == b"\xff"
    assert first["when"] == "2023-11-14 22:13:20.123456789Z" and first["day"] == "2024-02-29"
    assert "out of range" in first["never"] and first["ok"] is True
    assert {second[name] for name in ("id", "when", "day", "ok")} == {None}
    assert [row for _, row in read_rows(tmp_path / "rows.parquet", ["id", "none"])] == [{"id": 1.0}, {"id": None}]
    assert column_names(tmp_path / "rows.parquet") == table.schema.names


# ---------------------------------------------------------------- bad rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.txt", b"", r"must end in \.jsonl, \.parquet, \.csv"),
        ("rows.parquet.gz", b"", r"must end in"),
        ("rows.jsonl", b"{}\n\n{", "rows.jsonl' line 3 is not JSON"),
        ("rows.jsonl", b"{}\n[1]", "line 2 is not a JSON object"),
        ("rows.jsonl", b"[" * 100_000, "line 1 is not JSON: it is nested too deeply"),
        ("rows.jsonl", b'{"a": ' + b"1" * 5_000 + b"}", "line 1 is not JSON"),
        ("rows.jsonl", b'{"a": "\0"}', "line 1 is not UTF-8 text"),
        ("rows.csv", b"a,b\n1,2\n\n1,2,3\n", "row 3 has 3 cells, but the header names 2 columns"),
        ("rows.csv", b"a,b\n1\n", "row 1 has 1 cells"),
        ("rows.csv", b'a,b\n1,2\n1,"2\n', "row 2 has broken quotes"),
        ("rows.csv", b"a,b\n1,\0\n", "row 1 is not UTF-8 text"),
        ("rows.csv", b"a,a\n1,2\n", "two columns 'a'"),
        ("rows.csv", b'"a\n1,2\n', "has no header that can be read"),
        ("rows.csv.gz", b"a,b", "is damaged or cannot be read"),
        ("rows.parquet", b"PAR1", "is not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LiraError, match=message) as error:
        rows_of(tmp_path / name)
    assert "\n" not in str(error.value)
    with pytest.raises(LiraError, match="no input file"):
        rows_of(tmp_path / f"other-{'x.csv'}")


def test_cells_that_a_spreadsheet_adds_are_no_cells(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2,,\n")
    assert rows_of(tmp_path / "rows.csv") == [{"a": "1", "b": "2"}]


def test_a_stray_quote_costs_one_row_and_quoted_line_ends_none(tmp_path):
    lines = ["q,p", 'a,"one\ntwo"', '"open,x', "b,c", 'd,"e""\nf"', 'g,"h', 'i,"j"', "k,l"]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    rows = [row if isinstance(row, BadRow) else tuple(row.values()) for _, row in read_any_rows(tmp_path / "rows.csv")]
    bad = [row for row in rows if isinstance(row, BadRow)]
    assert {row.reason for row in bad} == {"broken quotes or too long a cell"} and len(bad) == 2
    assert [row for row in rows if row not in bad] == [
        ("a", "one\ntwo"),
        ("b", "c"),
        ("d", 'e"\nf'),
        ("i", "j"),
        ("k", "l"),
    ]


def test_any_cells_are_read_as_csv_wrote_them(tmp_path):
    chance = random.Random(0)
    rows = [["".join(chance.choices('ab",;\n\r\tá ', k=chance.randrange(9))) for _ in range(3)] for _ in range(300)]
    rows = [["x" + row[0], *row[1:]] for row in rows]  # a row of nothing is an empty line
    for name, separator in (("rows.csv", ","), ("rows.csv", ";"), ("rows.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=separator).writerows([["a", "b", "c"], *rows])
        assert [list(row.values()) for row in rows_of(tmp_path / name)] == rows


@pytest.mark.parametrize("line", ['"a', '"""', 'a",",c', '"x,"y"', ',"', '"a""b'])
def test_no_quotes_take_more_than_linear_time(tmp_path, line, monkeypatch):
    monkeypatch.setattr(table_file, "LONGEST", 2**17)
    (tmp_path / "rows.csv").write_text("a,b\n" + f"{line}\n" * 60_000)
    start = time.process_time()
    assert 0 < sum(1 for _ in read_any_rows(tmp_path / "rows.csv")) <= 60_000
    assert time.process_time() - start < 10


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    peaks = []
    for count in (20_000, 80_000):
        path = tmp_path / f"{count}-{name}"
        texts = [f"title number {row}" for row in range(count)]
        if path.suffix == ".parquet":
            pq.write_table(pa.table({"text": texts}), path, row_group_size=10_000)
        else:
            rows = ["text", *texts] if path.suffix == ".csv" else [json.dumps({"text": text}) for text in texts]
            path.write_text("\n".join(rows))
        del texts
        tracemalloc.start()
        assert sum(1 for _ in read_rows(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


# ---------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (7, "7"), (7.0, "7"), (-2.5, "-2.5"), (10**30, str(10**30)), (2.0**52, str(2**52))],
)
def test_ids(value, text):
    assert identifier(value) == text == cell_text(value)


@pytest.mark.parametrize("value", [None, "", True, float("nan"), float("inf"), 2.0**53, [1], {}, b"\xff"])
def test_what_is_no_id(value):
    with pytest.raises(ValueError, match="must hold an id, not"):
        identifier(value)


def test_missing():
    assert all(map(is_missing, [None, "", " \n", float("nan")])) and not any(map(is_missing, [0, False, "a", [], {}]))
    assert [cell_text(value) for value in (None, float("nan"), " ", True, 1e300)] == ["", "", "", "True", "1e+300"]


def test_candidates():
    assert (
        candidate_fields(None) == candidate_fields("") == candidate_fields(float("nan")) == candidate_fields([]) == []
    )
    both = [{"text": "a"}, {"text": "b", "semantic": 3}]
    assert candidate_fields(["a", both[1]]) == candidate_fields(json.dumps(["a", both[1]])) == both
    assert critic_scores({"semantic": 3, "emotional": float("nan")}) == (3.0, None, None)
    for value in ("a", "[1", 3, [None], [""], [{"text": float("nan")}], ["a", None], "[" * 100_000):
        with pytest.raises(ValueError):
            candidate_fields(value)
    for score in (0, 11, "3", True, float("inf")):
        with pytest.raises(ValueError, match="from 1 to 10"):
            critic_scores({"pragmatic": score})
