"""A shop's log becomes a corpus that loads; every row is kept or counted; a bad log leaves nothing behind."""

import csv
import io
import random
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from datasets import load_dataset
from helpers import largest_file

from dataset_builder.__main__ import main
from dataset_builder.judged import CatalogueItem, JudgedQuery, split_of_text, write_judged
from dataset_builder.layout import SPLITS, read_part
from dataset_builder.lexicon import Lexicon, load_lexicon
from dataset_builder.logs.clicks import ACTION_NUMBERS
from dataset_builder.logs.collect import Log, collect
from dataset_builder.logs.corpus import build_log_corpus, by_languages, item_id, judge
from dataset_builder.logs.reading import BadRow, LogRow
from dataset_builder.logs.store import full_disk_named
from dataset_builder.quality.leakage import check_language
from modeling_lira.errors import LiraError

NONE = Path("no candidates")


def row(query: str, product: str, action: str = "impression", **more: str) -> LogRow:
    return LogRow(query, product, action, **more)


def events(log: Log) -> list[tuple[str, str, str, int, int]]:
    names = list(ACTION_NUMBERS)
    columns = zip(*vars(log.events).values(), strict=True)
    return [
        (log.queries[query].text, log.products[product].title, names[action], position, count)
        for query, product, action, position, count in columns
    ]


def judged_as(log: Log, language: str, seed: int) -> list[JudgedQuery]:
    return [query for queries in judge(log, log.queries, language, seed)[0].values() for query in queries]


def ids(log: Log, language: str) -> dict[str, str]:
    return {item_id(language, product.key): product.title for product in log.products}


def test_rows_are_grouped_and_every_other_one_is_counted() -> None:
    log = collect(
        [
            row("Áo Thun", "Áo thun nam", "view", position="1"),
            row("áo  thun 😍", "Áo thun nam", "Add to cart"),
            row("áo thun", "ÁO THUN NAM", "purchase"),
            row("áo thun", "Nồi cơm", position="0"),
            row("áo thun", "Nồi cơm", "wish"),
            row("", "Nồi cơm"),
            row("null", "Nồi cơm"),
            row("🔥", "Nồi cơm"),
            row("a@b.co", "Nồi cơm"),
            row("x" * 201, "Nồi cơm"),
            row("áo", ""),
            BadRow("not JSON"),
        ]
    )
    assert log.rows == 12
    assert log.kept == 3
    assert log.dropped == {
        "position is not a whole number from 1": 1,
        "unknown action": 1,
        "no query": 2,
        "query is empty after cleaning": 2,
        "query is longer than 200 characters": 1,
        "no product": 1,
        "not JSON": 1,
    }
    assert log.scrubbed["email"] == 1
    [query] = log.queries
    assert query.text == "áo thun"
    assert log.actions == {"wish": 1}
    assert events(log) == [
        ("áo thun", "Áo thun nam", "impression", 1, 1),
        ("áo thun", "Áo thun nam", "cart", 0, 1),
        ("áo thun", "Áo thun nam", "purchase", 0, 1),
    ]


def test_only_rows_with_a_session_or_time_can_be_duplicates() -> None:
    twice = [row("mug", "red mug", "click")] * 2
    log = collect([*twice, *[row("mug", "red mug", "click", session="s", time="t")] * 3])
    assert log.dropped == {"duplicate": 2}
    assert events(log) == [("mug", "red mug", "click", 0, 3)]


def test_products_with_one_title_are_one() -> None:
    log = collect(
        [row("mug", "Red Mug", "click", product_id="b2"), row("mug", "red mug", product_id="a1", position="4")]
    )
    [product] = log.products
    assert product.key == "a1"
    assert events(log) == [("mug", "red mug", "impression", 4, 1), ("mug", "red mug", "click", 0, 1)]
    assert item_id("en", "a1") == "en-a1"
    assert item_id("en", "title:redmug") != "en-title:redmug"


def test_languages_are_the_declared_ones_or_else_told_from_query_and_titles() -> None:
    log = collect(
        [
            row("500 ml", "น้ำดื่มตราช้าง 500 มล.", "click"),
            row("botol 2L", "botol minum olahraga anti bocor", "click", language="id-ID"),
            row("botol 2L", "botol minum", "impression", language="en"),
            row("botol 2L", "botol minum anak", "click", language="id"),
            row("кружка", "красная кружка", "click"),
            row("mok", "rode mok", "click", language="nl"),
        ]
    )
    groups = by_languages(log, ("th", "id", "en"))
    texts = {code: [query.text for query in queries] for code, queries in groups.items()}
    assert texts == {"th": ["500 ml"], "id": ["botol 2L"]}
    assert log.dropped == {
        "language nl is not among those asked for": 1,
        "language is none of those asked for": 1,
    }
    assert log.guessed == {"th": 1}


def test_queries_and_languages_that_nobody_touched_are_counted() -> None:
    log = collect(
        [
            row("red mug", "a red mug", "click", language="en"),
            row("blue mug", "a blue mug", language="en"),
            row("เสื้อ", "เสื้อยืด", language="th"),
            row("เสื้อ", "เสื้อแดง", language="th"),
        ]
    )
    groups = by_languages(log, ("th", "en"))
    assert {code: len(queries) for code, queries in groups.items()} == {"en": 2}
    assert log.dropped == {"in a language without any click, cart or purchase": 2}
    assert (log.kept, log.untouched) == (2, 1)


def test_safe_negatives_were_seen_and_never_touched_by_like_queries() -> None:
    seen = [
        row("red mug", product, position="1")
        for product in ("tall vase", "blue mug", "red cup", "plate", "mug red best")
        for _ in range(4)
    ]
    log = collect(
        [
            *seen,
            *[row("red mug", "best red mug", position="1")] * 8,
            *[row("red mug", "best red mug", "click")] * 6,
            row("red mug", "spoon", position="1"),
            row("mug", "blue mug", "click"),
        ]
    )
    for seed in range(20):
        [query] = [query for query in judged_as(log, "en", seed) if query.text == "red mug"]
        titles = ids(log, "en")
        assert {titles[name] for name in query.hard_negatives} == {"tall vase", "red cup", "plate"}
        assert {titles[name] for name in query.grades} == {"best red mug"}


def write_log(path: Path, rows: int) -> int:
    """Write a log in Vietnamese, Thai and Bengali with faults of every kind; return how many rows it has."""
    rng = random.Random(0)
    lexicon = load_lexicon(languages=("vi", "th", "bn"))
    types = list(lexicon.types)
    brands = [brand.latin for brand in lexicon.brands]
    shelves = {
        language: {
            name: [f"{_form(lexicon, language, name, rng)} {rng.choice(brands)} {number}" for number in range(3)]
            for name in types
        }
        for language in ("vi", "th", "bn")
    }
    legacy = {"vi": "cp1258", "th": "cp874", "bn": "utf-16-le"}
    buffer = io.BytesIO(b"search,item,event,rank,visit\n")
    buffer.seek(0, io.SEEK_END)
    for visit in range(rows // 9):
        language = rng.choice(list(shelves))
        name = types[int(len(types) * rng.random() ** 2)]
        query = lexicon.vocabularies[language][f"type:{name}"].name
        others = rng.sample([other for other in types if other != name], 3)
        shown = [*shelves[language][name], *(rng.choice(shelves[language][other]) for other in others)]
        rng.shuffle(shown)
        events = [(query, title, "impression", str(position)) for position, title in enumerate(shown, 1)]
        bought, clicked, _ = shelves[language][name]
        events += [(query, bought, "click", ""), (query, bought, "purchase", "")]
        if visit % 3 == 0:
            events.append((query, clicked, "click", ""))
        events.append((f"{query} {rng.choice(['😍', '0812-3456-7890', '<b>', ''])}", bought, "click", "1"))
        for number, event in enumerate(events):
            buffer.write(_spoiled(rng, [*event, f"{visit}-{number}"], legacy[language]))
    path.write_bytes(buffer.getvalue())
    return len(buffer.getvalue().split(b"\n")) - 2


def _form(lexicon: Lexicon, language: str, name: str, rng: random.Random) -> str:
    return rng.choice(lexicon.vocabularies[language][f"type:{name}"].forms())


def _spoiled(rng: random.Random, cells: list[str], encoding: str) -> bytes:
    """Return a line, one in fifty with a fault."""
    fault = rng.randrange(400)
    if fault < 5:
        cells[(0, 1, 2, 3, 0)[fault]] = ("", "null", "wish", "first", "🔥🔥")[fault]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells[:3] if fault == 5 else cells)
    line = text.getvalue()
    if fault == 6:
        return line.encode(encoding, "replace")
    if fault == 7:
        return b'"' + line.encode()
    return line.encode() * (2 if fault == 8 else 1)


@pytest.mark.slow
def test_two_hundred_thousand_rows_are_all_accounted_for(tmp_path: Path) -> None:
    rows = write_log(tmp_path / "log.csv", 200_000)
    start = time.process_time()
    columns = {"query": "search", "product": "item", "action": "event", "position": "rank", "session": "visit"}
    log = build_log_corpus(tmp_path / "corpus", tmp_path / "log.csv", columns=columns, candidates=NONE)
    assert time.process_time() - start < 60
    assert rows >= 200_000
    assert log.rows == rows
    assert log.kept + log.dropped.total() == rows
    assert log.kept > 0.9 * rows
    assert set(log.dropped) >= {
        "no query",
        "no product",
        "unknown action",
        "position is not a whole number from 1",
        "query is empty after cleaning",
        "wrong number of columns",
        "not UTF-8 text",
        "broken quotes or too long a cell",
        "duplicate",
    }
    card = (tmp_path / "corpus" / "README.md").read_text(encoding="utf-8")
    for reason, count in log.dropped.items():
        assert f"| {reason} | {count:,} |" in card
    for language in ("vi", "th", "bn"):
        loaded = load_dataset(str(tmp_path / "corpus"), f"{language}-queries", cache_dir=str(tmp_path / "cache"))
        assert loaded.num_rows["train"] > 100
        counts = check_language(tmp_path / "corpus", language)
        apart = (
            "query texts in two splits",
            "judgements of unknown queries or products",
            "hard negatives that are relevant",
        )
        assert [counts[check] for check in apart] == [0, 0, 0]
        assert counts["queries without a relevant product"] == 0
    _check_grades(tmp_path / "corpus")


def _check_grades(folder: Path) -> None:
    """Of each query's own products, numbered, 0 is bought, 1 clicked now and then, 2 left alone; so are all others."""
    grades: dict[str, Counter[int]] = {number: Counter() for number in "012"}
    negatives: Counter[str] = Counter()
    for split in SPLITS:
        titles = {row["_id"]: row["title"] for row in read_part(folder, "th", "corpus", split).to_pylist()}
        for judgement in read_part(folder, "th", "qrels", split).to_pylist():
            grades[titles[judgement["corpus-id"]][-1]][judgement["score"]] += 1
        for query in read_part(folder, "th", "queries", split).to_pylist():
            negatives.update(titles[name][-1] for name in query["hard_negatives"])
    assert set(grades["0"]) == {3}
    assert set(grades["1"]) == {1, 2}
    assert not grades["2"]
    assert negatives["2"] > 100


def test_rebuilt_log_corpus_is_byte_identical(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", 3_000)
    columns = {"query": "search", "product": "item", "action": "event"}
    for name in ("one", "two"):
        build_log_corpus(tmp_path / name, tmp_path / "log.csv", ("vi", "th", "bn"), columns, candidates=NONE)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (b"", [], "is empty"),
        (b"query,product\na,b\n", [], "has no column 'action'"),
        (
            b"query,product,action\na,b,wish\n",
            [],
            "has no query with a click, cart or purchase: 1 rows, 1 unknown action",
        ),
        (b"query,product,action\n", [], "0 rows, none dropped"),
        (b"query,product,action\nmug,red mug,impression\n", ["--languages", "en"], "has no query with a click"),
        (b"x", ["--column", "query"], "--column 'query': expected OURS=THEIRS"),
        (b"x", ["--column", "term=a"], "column 'term' is unknown"),
        (b"x", ["--size", "mega"], "--size is for --source catalogue"),
        (b"x", ["--languages", "vn"], "unknown language 'vn': give a BCP 47 code such as vi, km or zh-Hant"),
    ],
)
def test_bad_logs_are_one_line_and_leave_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, more: list[str], message: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["build", "--source", "logs", "--input", str(log), "--output", str(tmp_path / "corpus"), *more])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "logs"], "source 'logs' needs --input"),
        (["--source", "web"], "source 'web' is unknown: choose catalogue, logs or cldr"),
        (["--input", "log.csv"], "--input and --column are for --source logs or cldr"),
        (["--source", "logs", "--input", "none.csv"], "no input file 'none.csv'"),
    ],
)
def test_wrong_sources_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["build", "--output", str(tmp_path / "corpus"), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_positions_change_the_grade(tmp_path: Path) -> None:
    """Two products with equal clicks and views: the one lower down is graded no lower."""
    rows = []
    for number in range(60):
        rows.append(row("mug", "top mug", position="1"))
        rows.append(row("mug", "deep mug", position="9"))
        if number < 12:
            rows += [row("mug", "top mug", "click"), row("mug", "deep mug", "click")]
    others = [row("cup", f"cup {number}", position="1") for number in range(40)]
    clicked = [row("cup", f"cup {number}", "click") for number in range(40) if number % 3]
    log = collect([*rows, *others, *clicked])
    [query] = [query for query in judged_as(log, "en", 0) if query.text == "mug"]
    names = {title: name for name, title in ids(log, "en").items()}
    assert query.grades[names["deep mug"]] > query.grades[names["top mug"]]
    assert [query.rows for query in log.queries if query.text == "mug"] == [144]


def test_a_log_without_its_library_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from dataset_builder.logs.language_id import _identifier

    (tmp_path / "log.csv").write_text("query,product,action\ncheap mug,red mug,click\n", "utf-8")
    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(LiraError, match="py3langid"):
        build_log_corpus(tmp_path / "corpus", tmp_path / "log.csv", min_sessions=1)
    assert not (tmp_path / "corpus").exists()


def test_often_asked_queries_are_head_and_rare_ones_tail() -> None:
    counts = {"red mug": 12, "blue bag": 6, "old lamp": 4, "tiny chair": 2}
    log = collect(
        row(query, f"the {query}", "click", language="en") for query, count in counts.items() for _ in range(count)
    )
    bands = {query.text: query.band for query in judged_as(log, "en", 0)}
    assert bands == {"red mug": "head", "blue bag": "mid", "old lamp": "tail", "tiny chair": "tail"}


def test_the_seed_and_the_language_decide_a_querys_split() -> None:
    keys = [f"query {number}" for number in range(300)]
    first = [split_of_text(key, "vi", 0) for key in keys]
    assert first == [split_of_text(key, "vi", 0) for key in keys]
    for other in ([split_of_text(key, "vi", 1) for key in keys], [split_of_text(key, "th", 0) for key in keys]):
        same = sum(one == two for one, two in zip(first, other, strict=True)) / len(keys)
        assert same == pytest.approx(0.66, abs=0.1)  # chance, with shares of 0.8, 0.1 and 0.1


def test_hard_negatives_are_for_training_alone(tmp_path: Path) -> None:
    items = [CatalogueItem(name, f"title {name}", f"title {name}") for name in "ab"]
    queries = {split: [JudgedQuery(f"q {split}", "log", "head", {"a": 3}, ["b"])] for split in SPLITS}
    write_judged(tmp_path, "vi", items, queries, None, 0)
    negatives = {split: read_part(tmp_path, "vi", "queries", split)["hard_negatives"].to_pylist() for split in SPLITS}
    assert negatives == {"train": [["b"]], "validation": [[]], "test": [[]]}


def test_a_disk_too_full_for_the_events_is_one_clear_error(tmp_path):
    rows = "".join(f"mug {number},red mug,click\n" for number in range(30_000))
    (tmp_path / "log.csv").write_text(f"query,product,action\n{rows}", "utf-8")
    with largest_file(40_000), pytest.raises(LiraError, match=r"events cannot be stored on disk .*File too large"):
        build_log_corpus(tmp_path / "corpus", tmp_path / "log.csv", candidates=NONE)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]

    @full_disk_named()
    def write() -> None:
        raise duckdb.IOException("database or disk is full")

    with pytest.raises(LiraError, match=r"events cannot be stored on disk .*: database or disk is full"):
        write()
