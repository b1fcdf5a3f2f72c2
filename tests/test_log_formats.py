"""A log of any spreadsheet and system becomes the same corpus, or is refused in one line that names the file."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_builder.__main__ import main
from dataset_builder.logs.corpus import build_log_corpus
from modeling_lira.errors import LiraError

NONE = Path("no candidates")
ACTIONS = ("impression", "click", "cart", "purchase", "impression")
EVENTS = [
    (f"áo thun nam {number % 5}", f'Áo thun "nam"; loại {number % 5},\ncổ tròn', ACTIONS[number // 5], f"s{number}")
    for number in range(25)
]


def separated(separator: str, end: str = "\r\n", query: str = "query") -> str:
    """The log as a spreadsheet saves it: cells with separators, quotes or line ends are quoted."""
    writer = csv.writer(buffer := io.StringIO(), delimiter=separator, lineterminator=end)
    writer.writerow([query, "product", "action", "session"])
    writer.writerows(EVENTS)
    return buffer.getvalue()


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "commas": ("log.csv", lambda: separated(",").encode()),
    "Excel's semicolons": ("log.csv", lambda: separated(";").encode("utf-8-sig")),
    "Excel's line on separators": ("log.csv", lambda: f"sep=;\r\n{separated(';')}".encode()),
    "Excel's Unicode text": ("log.csv", lambda: separated("\t").encode("utf-16")),
    "UTF-16 LE without a mark": ("log.csv", lambda: separated(";").encode("utf-16-le")),
    "UTF-16 BE": ("log.csv", lambda: b"\xfe\xff" + separated(",").encode("utf-16-be")),
    "tabs": ("log.tsv", lambda: separated("\t", "\n").encode()),
    "gzip": ("log.csv.gz", lambda: gzip.compress(separated(";").encode())),
    "gzip of tabs": ("log.tsv.gz", lambda: gzip.compress(separated("\t").encode("utf-16"))),
}


@pytest.mark.parametrize("name", FILES)
def test_twenty_five_events_stay_twenty_five(tmp_path: Path, name: str) -> None:
    file, content = FILES[name]
    (tmp_path / file).write_bytes(content())
    log = build_log_corpus(tmp_path / "corpus", tmp_path / file, ("vi",), min_sessions=1, candidates=NONE)
    assert (log.rows, log.kept) == (25, 25), log.dropped
    assert [query.text for query in log.queries] == [f"áo thun nam {number}" for number in range(5)]
    assert {product.title for product in log.products} == {f'Áo thun "nam"; loại {n}, cổ tròn' for n in range(5)}


@pytest.mark.parametrize("file", ["log.csv", "log.tsv", "log.csv.gz", "log.jsonl"])
@pytest.mark.parametrize(("encoding", "word"), [("cp1258", "mư"), ("cp1252", "mê"), ("cp874", "หมวก")])
def test_another_encoding_is_one_line_that_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, encoding: str, word: str
) -> None:
    """Rows of ASCII alone would make a corpus without most of the language's words."""
    queries = [f"dep {n}" for n in range(60)] + [f"{word} {n}" for n in range(40)]
    if file == "log.jsonl":
        lines = [f'{{"query": "{query}", "product": "{query} le", "action": "click"}}' for query in queries]
    else:
        cells = [("query", "product", "action"), *((query, f"{query} le", "click") for query in queries)]
        lines = [("\t" if file == "log.tsv" else ",").join(row) for row in cells]
    content = "\n".join(lines).encode(encoding)
    (tmp_path / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
    arguments = ["build", "--source", "logs", "--languages", "vi", "--min-sessions", "1", "--input"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, str(tmp_path / file), "--output", str(tmp_path / "corpus")])
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert file in message and "40 of 100 rows are not UTF-8 text: save the file as UTF-8" in message
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_a_header_of_another_encoding_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(separated(",", query="truy vư").encode("cp1258", "replace"))
    with pytest.raises(LiraError, match=r"log\.csv' line 1 is not UTF-8 text"):
        build_log_corpus(tmp_path / "corpus", tmp_path / "log.csv", candidates=NONE)


def test_a_few_rows_of_another_encoding_are_counted(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(separated(",").encode() + "mư,mư,click,s\n".encode("cp1258"))
    log = build_log_corpus(tmp_path / "corpus", tmp_path / "log.csv", ("vi",), min_sessions=1, candidates=NONE)
    assert log.dropped == {"not UTF-8 text": 1}
