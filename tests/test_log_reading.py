"""Logs of every format and fault: each row is read or counted under a reason, each bad file is one clear line."""

import gzip
import io
import json
import random
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_builder.lexicon import LANGUAGES, read_table
from dataset_builder.logs.clicks import ACTION_NUMBERS
from dataset_builder.logs.columns import COLUMNS
from dataset_builder.logs.reading import BadRow, LogRow, read_log
from dataset_builder.logs.words import WORDS, names_of_actions, plain
from modeling_lira.data import table_file
from modeling_lira.errors import LiraError

ROWS = [
    {"query": "áo thun", "product": "Áo thun nam", "action": "click", "position": "2"},
    {"query": "เสื้อ, ยืด", "product": 'เสื้อยืด "ดี"', "action": "impression", "position": ""},
]
EXPECTED = [LogRow(**row) for row in ROWS]


def write_csv(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def lines_of_csv() -> list[str]:
    quoted = [",".join('"' + row[name].replace('"', '""') + '"' for name in row) for row in ROWS]
    return ["query,product,action,position", *quoted]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv(tmp_path: Path, encoding: str) -> None:
    assert list(read_log(write_csv(tmp_path / "log.csv", *lines_of_csv(), encoding=encoding))) == EXPECTED


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_tsv_gzip_large_suffixes_and_windows_line_ends(tmp_path: Path, end: bytes) -> None:
    content = end.join([b"query\tproduct\taction", b"a\tb\tclick", b""])
    (tmp_path / "LOG.TSV.GZ").write_bytes(gzip.compress(content))
    (tmp_path / "LOG.TSV").write_bytes(content)
    for name in ("LOG.TSV.GZ", "LOG.TSV"):
        assert list(read_log(tmp_path / name)) == [LogRow("a", "b", "click")]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    assert list(read_log(path)) == EXPECTED
    path.write_text('{"query": "a", "product": "b", "action": null, "position": 3}\n', encoding="utf-8")
    assert list(read_log(path)) == [LogRow("a", "b", "", position="3")]


def test_parquet(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{**row, "position": int(row["position"] or 0)} for row in ROWS])
    pq.write_table(table, tmp_path / "log.parquet")
    rows = list(read_log(tmp_path / "log.parquet"))
    assert all(isinstance(row, LogRow) for row in rows)
    assert [(row.query, row.position) for row in rows if isinstance(row, LogRow)] == [
        ("áo thun", "2"),
        ("เสื้อ, ยืด", "0"),
    ]


def test_columns_are_mapped_by_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "when,event,term,item", "now,click,a,b")
    columns = {"query": "term", "product": "item", "action": "event", "time": "when"}
    assert list(read_log(path, columns)) == [LogRow("a", "b", "click", time="now")]
    with pytest.raises(LiraError, match="column 'search' is unknown: map some of query, product, action"):
        read_log(path, {"search": "term"})


def test_usual_names_are_guessed_and_every_column_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(
        tmp_path / "log.csv",
        "Search Term,sku,title,event,Rank,lang,session-id,ts,colour",
        "mug,7,red mug,click,2,id,s,now,red",
    )
    with caplog.at_level("INFO"):
        rows = list(read_log(path, {"language": "lang"}))
    assert rows == [
        LogRow("mug", "red mug", "click", product_id="7", language="id", position="2", session="s", time="now")
    ]
    table = [line.split("  ") for line in caplog.text.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in table]
    assert ["Search Term", "query", "guessed"] in cells
    assert ["lang", "language", "as asked"] in cells
    assert ["colour", "–", "not read"] in cells


def test_our_own_names_and_asked_ones_come_before_guesses(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "title,product,query,term,action", "a,b,c,d,click")
    assert list(read_log(path)) == [LogRow("c", "b", "click")]
    assert list(read_log(path, {"product": "title"})) == [LogRow("c", "a", "click")]


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", "term,thing,rank", "a,b,1")
    with pytest.raises(LiraError, match="has no column 'product' and no column 'action', only 'term thing rank'"):
        list(read_log(path))
    with pytest.raises(LiraError, match=r"has no column 'rnak' for position, .*; did you mean position=rank\?"):
        list(read_log(path, {"position": "rnak"}))


LOCAL = {
    "vi": ("Từ khoá,Tên sản phẩm,Hành động,Mã SP,Ngôn ngữ,Vị trí,Phiên,Ngày giờ", "nhấp chuột", "đặt hàng"),
    "th": ("คำค้นหา,ชื่อสินค้า,เหตุการณ์,รหัสสินค้า,ภาษา,อันดับ,รหัสผู้ใช้,วันที่", "คลิก", "สั่งซื้อ"),
    "id": ("kata_kunci,NamaProduk,Aksi,Kode Barang,BAHASA,posisi,ID-pengguna,tanggal (WIB)", "diklik", "beli"),
    "ms": ("carian,Tajuk Produk,tindakan,kod_produk,bahasa,kedudukan,sesi,tarikh", "Klik", "pembelian"),
    "ur": ("تلاش,پروڈكٹ كا نام,عمل,پروڈکٹ کوڈ,زبان,پوزیشن,صارف,تاریخ", "کلک", "خریداری"),
    "bn": ("অনুসন্ধান,পণ্যের নাম,ক্রিয়া,পণ্য আইডি,ভাষা,অবস্থান,সেশন,সময়", "ক্লিক", "ক্রয়"),
    "fil": ("hinanap,pangalan_ng_produkto,aksyon,id ng produkto,wika,puwesto,sesyon,petsa", "pinindot", "Binili"),
    "en": ("searchTerm,Item.Name,Event Type,SKU,Locale,result_rank,UserID,date_time", "Clicked", "order"),
}


@pytest.mark.parametrize("language", LOCAL)
def test_columns_and_actions_are_known_in_the_shops_own_language(tmp_path: Path, language: str) -> None:
    header, click, purchase = LOCAL[language]
    for form in ("NFC", "NFD"):
        path = write_csv(tmp_path / "log.csv", unicodedata.normalize(form, header), "a,b,c,1,d,2,e,f")
        assert list(read_log(path)) == [LogRow("a", "b", "c", "1", "", "d", "2", "e", "f")]
    assert [names_of_actions()[plain(text)] for text in (click, purchase)] == ["click", "purchase"]


@pytest.mark.parametrize("header", ["tu khoa,ten san pham,hanh dong", "TỪ_KHÓA,TÊN SẢN PHẨM,HÀNH-ĐỘNG"])
def test_case_and_accents_of_a_name_do_not_matter(tmp_path: Path, header: str) -> None:
    assert list(read_log(write_csv(tmp_path / "log.csv", header, "a,b,c"))) == [LogRow("a", "b", "c")]


def test_a_name_that_may_mean_something_else_is_mentioned_and_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_csv(tmp_path / "log.csv", "pencarian,nama,jenis,harga", "a,b,c,d")
    with pytest.raises(LiraError, match=r"OURS=THEIRS, perhaps --column product=nama or --column action=jenis$"):
        read_log(path)
    assert list(read_log(path, {"product": "nama", "action": "jenis"}))
    path = write_csv(tmp_path / "log.csv", "kueri,nama produk,judul,aksi,kode,harga", "a,b,c,d,e,f")
    with caplog.at_level("INFO"):
        assert list(read_log(path)) == [LogRow("a", "b", "d")]
    lines = [" ".join(line.split()) for line in caplog.text.splitlines()]
    assert "judul – not read; --column product=judul if it is that" in lines
    assert "kode – not read; --column product_id=kode if it is that" in lines
    assert "harga – not read" in lines


def test_every_word_has_one_meaning() -> None:
    """A word that may mean two of our columns stands with a question mark, or it would be read as the first of them."""
    assert LogRow._fields == COLUMNS
    rows = read_table(WORDS, ("meaning", "language", "words"))
    assert {row["language"] for row in rows} == {*LANGUAGES, "en"}
    meanings: dict[tuple[bool, str], set[str]] = {}
    for row in rows:
        meaning, is_action, of = row["meaning"].partition("=")
        assert (meaning.removesuffix("?") in COLUMNS) and (not is_action or of in ACTION_NUMBERS)
        for word in row["words"].split(" | "):
            meanings.setdefault((bool(is_action), plain(word)), set()).add(row["meaning"])
    assert {word: several for word, several in meanings.items() if len(several) > 1 or not word[1]} == {}


def test_every_bad_row_has_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(
        b"query,product,action\n"
        b"good,mug,click\n"
        b"\n"
        b"two,cells\n"
        b'"open,mug,click\n'
        b"four,mug,click,more\n"
        + "caf\u00e9,mug,click\n".encode("cp1252")
        + "wide,mug,click".encode("utf-16-le")
        + b"\n"
        + b"last,mug,click"
    )
    rows = list(read_log(path))
    assert Counter(row.reason for row in rows if isinstance(row, BadRow)) == {
        "empty line": 1,
        "wrong number of columns": 2,
        "broken quotes or too long a cell": 1,
        "not UTF-8 text": 2,
    }
    assert [row.query for row in rows if isinstance(row, LogRow)] == ["good", "last"]


def test_rows_read_by_blocks_are_those_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of fault at any place, in blocks of which most have none."""
    rng = random.Random(0)
    good = ["áo,thun,click", '"a, b","c ""d""",click', '"two\nlines",mug,click', "a,b,click\r", "mug, cup ,view,,"]
    bad = ["", "   ", "a,b", "a,b,c,d", '"open,b,click', 'a"b,c,click', '"a"b,c,click', "a\rb,c,click", "a\0,b,click"]
    lines = [rng.choice(bad if rng.random() < 0.02 else good[: 1 + number // 800]) for number in range(4_000)]
    path = tmp_path / "log.csv"
    path.write_bytes("\n".join(["query,product,action", *lines]).encode() + b"\n\xff,b,click\n")
    rows = list(read_log(path))
    monkeypatch.setattr(table_file, "_block", lambda *_: [])
    assert rows == list(read_log(path))
    assert len({row.reason for row in rows if isinstance(row, BadRow)}) == 4


def test_bad_json_lines_have_their_reasons(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = json.dumps(ROWS[0])
    bad = {
        '{"query": ': "not JSON",
        "[1]": "not a JSON object",
        "": "empty line",
        '{"query": "\\ud800", "product": "b", "action": "c"}': "not UTF-8 text",
        '{"query": {"text": "a"}, "product": "b", "action": "c"}': "a list or an object where a text should be",
        "[" * 100_000: "not JSON",
        f'{{"query": {"1" * 5_000}}}': "not JSON",
    }
    path.write_text("\n".join([good, *bad, good]), "utf-8")
    rows = list(read_log(path))
    assert [row.reason for row in rows if isinstance(row, BadRow)] == list(bad.values())
    assert rows[0] == rows[-1] == EXPECTED[0]


def parquet() -> bytes:
    """A file whose pages are compressed."""
    titles = [f"red mug {number}" for number in range(5_000)]
    table = pa.table({"query": ["mug"] * 5_000, "product": titles, "action": ["click"] * 5_000})
    pq.write_table(table, buffer := io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("us"),
        pa.timestamp("us", tz="Mars/Olympus"),
        pa.timestamp("ns"),
        pa.date32(),
        pa.duration("s"),
        pa.time64("us"),
    ],
    ids=str,
)
def test_times_that_no_calendar_has_are_told_apart_and_are_no_error(tmp_path: Path, kind: pa.DataType) -> None:
    times = pa.array([0, 2**30 if kind == pa.date32() else 2**62, None]).cast(
        pa.int32() if kind == pa.date32() else pa.int64()
    )
    table = {"query": ["a", "a", "a"], "product": ["b", "b", "b"], "action": ["click"] * 3, "time": times.view(kind)}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    rows = list(read_log(tmp_path / "log.parquet"))
    assert len({row.time for row in rows if isinstance(row, LogRow)}) == 3


def damaged(content: bytes) -> bytes:
    """Change bytes in the middle of a file."""
    return content[:40] + bytes(byte ^ 0x5A for byte in content[40:400]) + content[400:]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"\n\n", "is empty"),
        ("log.csv", b"\xff\xfe", "is empty"),
        (
            "log.csv",
            b"query,thing,event\na,b,c\n",
            r"has no column 'product', only 'query thing event': map it with --column OURS=THEIRS",
        ),
        ("log.csv", bytes(range(256)), "line 1 is not UTF-8 text"),
        ("log.csv", b'"' + b"a" * 200_000 + b"\nb\n", "has no header that can be read"),
        ("log.jsonl", b"hello\n", "has no line that is a JSON object"),
        ("log.jsonl", b'{"query": "a"}\n', "has no column 'product'"),
        ("log.parquet", b"PAR1 and no more", "is not a Parquet file or is damaged"),
        ("log.csv.gz", b"not gzip", "is damaged"),
        (
            "log.csv.gz",
            damaged(gzip.compress(b"query,product,action\n" + b"mug,red mug,click\n" * 5_000)),
            "is damaged",
        ),
        ("log.parquet", damaged(parquet()), "is not a Parquet file or is damaged"),
        ("log.xlsx", b"x", r"name must end in \.jsonl, \.parquet, \.csv, \.tsv"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LiraError, match=message) as error:
        list(read_log(tmp_path / name))
    assert "\n" not in str(error.value)


def test_missing_file_and_missing_parquet_column(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match="no input file"):
        read_log(tmp_path / "none.csv")
    pq.write_table(pa.table({"query": ["a"], "product": ["b"]}), tmp_path / "log.parquet")
    with pytest.raises(LiraError, match="has no column 'action', only 'query product'"):
        list(read_log(tmp_path / "log.parquet"))
