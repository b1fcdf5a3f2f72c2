"""A log of many files, given by names and globs, is read as one; each file is checked by itself."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_builder.__main__ import main
from dataset_builder.logs.collect import Log, collect
from dataset_builder.logs.files import log_files
from dataset_builder.logs.reading import read_logs
from modeling_lira.errors import LiraError

ROWS = [
    {"query": f"áo {n % 3}", "product": f"áo thun {n % 4}", "action": "click", "session": f"s{n}"} for n in range(40)
]
CSV = "query,product,action,session\n"


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(f"{','.join(row.values())}\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rows in four files of four formats, and a file that no pattern may match."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "1.csv").write_text(CSV + lines(ROWS[:10]), "utf-8")
    (tmp_path / "logs" / "2.csv.gz").write_bytes(gzip.compress(f"{CSV}{lines(ROWS[10:20])}".encode()))
    (tmp_path / "logs" / "3.jsonl").write_text("\n".join(map(json.dumps, ROWS[20:30])), "utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS[30:]), tmp_path / "logs" / "4.parquet")
    (tmp_path / "logs" / ".hidden.csv").write_text("damaged", "utf-8")
    return tmp_path / "logs"


def counted(log: Log) -> tuple[object, ...]:
    events = [column.tolist() for column in vars(log.events).values()]
    return log.queries, log.products, events, log.rows, log.dropped


def test_many_files_are_one_log(folder: Path) -> None:
    whole = folder.parent / "whole.csv"
    whole.write_text(CSV + lines(ROWS), "utf-8")
    files = log_files([folder / "*.csv", folder / "*", folder / "1.csv"])
    assert [path.name for path in files] == ["1.csv", "2.csv.gz", "3.jsonl", "4.parquet"]
    assert counted(collect(read_logs(files))) == counted(collect(read_logs([whole])))


def test_a_file_named_like_a_pattern_is_itself(tmp_path: Path) -> None:
    for name in ("log[1].csv", "log1.csv"):
        (tmp_path / name).write_text(CSV, "utf-8")
    assert log_files([tmp_path / "log[1].csv"]) == [tmp_path / "log[1].csv"]


def test_repeats_are_found_across_files(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(CSV + lines(ROWS), "utf-8")
    assert collect(read_logs(log_files([tmp_path / "?.csv"]))).dropped == {"duplicate": 40}


def build(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["build", *map(str, arguments)])
    return f"{stop.value.code} {(capsys.readouterr().err.strip().splitlines() or [''])[-1]}"


def test_the_command_takes_several_words_and_patterns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = folder.parent / "corpus"
    inputs = ["--input", folder / "1.csv", folder / "2.*", "--input", folder / "[34].*"]
    assert build(capsys, "--source", "logs", *inputs, "--languages", "vi", "en", "--output", output).startswith("0 ")
    assert "Of 40 rows:" in (output / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "logs", "--input", "none-*.csv"], "no input file 'none-*.csv'"),
        (["--source", "cldr", "--input", "a", "b"], "source 'cldr' takes one --input, not 2"),
    ],
)
def test_wrong_inputs_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    printed = build(capsys, *arguments, "--output", tmp_path / "corpus")
    assert printed.startswith("2 ") and message in printed
    assert list(tmp_path.iterdir()) == []


def test_columns_of_all_files_are_checked_before_the_first_row_is_read(folder: Path) -> None:
    (folder / "5.csv").write_text("query,thing,action\n", "utf-8")
    with pytest.raises(LiraError, match=r"5\.csv has no column 'product'"):
        read_logs(log_files([folder / "*"]))  # no row is asked for


def test_one_file_of_another_encoding_is_named(folder: Path) -> None:
    """Among the rows of the others its own would be few."""
    (folder / "5.csv").write_bytes((CSV + lines(ROWS[:3])).replace("á", "ư").encode("cp1258", "ignore"))
    rows = read_logs([*log_files([folder / "*"]), folder / "1.csv"])
    with pytest.raises(LiraError, match=r"5\.csv: 3 of 3 rows are not UTF-8 text"):
        list(rows)


def test_columns_are_reported_once_for_each_header(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "5.csv").write_text("search,item,event\n", "utf-8")
    with caplog.at_level("INFO"):
        list(read_logs(log_files([folder / "*"])))
    assert [record.message.split("\n")[0].rpartition("/")[2] for record in caplog.records] == ["1.csv", "5.csv"]
