"""On logs whose truth is known: languages are told, hard negatives are irrelevant, rare queries stay out."""

from pathlib import Path

import pytest
from datasets import get_dataset_config_names, load_dataset
from log_simulation import CLICKED, simulate

from dataset_builder.layout import SPLITS, check_complete, read_part
from dataset_builder.lexicon import Lexicon, load_lexicon
from dataset_builder.logs.collect import Log, collect
from dataset_builder.logs.corpus import build_log_corpus, by_languages, item_id, judge
from dataset_builder.logs.reading import LogRow

NONE = Path("no candidates")


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


@pytest.mark.parametrize("languages", [("id", "th"), ("ms", "vi", "ur"), ("id",)])
def test_languages_that_the_log_does_not_say_are_told(lexicon: Lexicon, languages: tuple[str, ...]) -> None:
    simulation = simulate(lexicon, languages, 1_500, seed=3)
    log = collect(simulation.rows)
    groups = by_languages(log, ("vi", "th", "id", "ms", "ur", "bn", "fil", "en"))
    identified = {query.text: code for code, queries in groups.items() for query in queries}
    assert len(log.queries) > 150
    assert len(identified) >= len(log.queries) - sum(log.dropped.values())  # none is lost without being counted
    for language in languages:
        truth = [query.text for query in log.queries if simulation.languages[query.text] == language]
        assert sum(identified.get(text) == language for text in truth) >= 0.9 * len(truth)
    assert log.guessed.total() == len(log.queries)


@pytest.mark.parametrize("clicked", [CLICKED, {3: 0.3, 2: 0.12, 1: 0.05, 0: 0.01}, {3: 0.6, 2: 0.3, 1: 0.08, 0: 0.03}])
def test_hard_negatives_are_irrelevant(lexicon: Lexicon, clicked: dict[int, float]) -> None:
    """Every relevant product, however weakly, counts as a false negative."""
    right = wrong = 0
    for seed in (0, 1):
        simulation = simulate(lexicon, ("id",), 4_000, seed, declared=True, clicked=clicked)
        log = collect(simulation.rows, 3)
        titles = {item_id("id", product.key): product.title for product in log.products}
        for queries in judge(log, log.queries, "id", 0)[0].values():
            for query in queries:
                grades = [simulation.grades.get((query.text, titles[name]), 0) for name in query.hard_negatives]
                wrong += sum(grade > 0 for grade in grades)
                right += grades.count(0)
    assert right >= 4
    assert wrong <= 0.1 * (right + wrong)


def asked(query: str, sessions: int, session: bool = True) -> list[LogRow]:
    rows = []
    for number in range(sessions):
        event = {"session": f"{query}-{number}" if session else "", "language": "id"}
        rows += [LogRow(query, "sprei katun", "impression", **event), LogRow(query, "sprei katun", "click", **event)]
        rows += [LogRow(query, f"bantal {row}", "impression", **event) for row in range(9)]
    return rows


def test_queries_of_few_sessions_stay_out() -> None:
    rows = [*asked("sprei", 3), *asked("sprei a/n Budi Santoso", 2)]
    log = collect(rows, 3)
    assert [query.text for query in log.queries] == ["sprei"]
    assert log.dropped == {"query of fewer than 3 sessions": 22}
    assert log.rare == 1
    assert len(collect(rows, 2).queries) == 2


def test_without_sessions_a_search_shows_a_product_once() -> None:
    """Eleven rows of one search are not eleven sessions."""
    log = collect([*asked("sprei", 3, session=False), *asked("sprei a/n Budi Santoso", 2, session=False)], 3)
    assert [query.text for query in log.queries] == ["sprei"]


def build(folder: Path, rows: list[LogRow], **options: int) -> Log:
    lines = ["\t".join(LogRow._fields), *("\t".join(row) for row in rows)]
    (folder / "log.tsv").write_text("\n".join(lines), "utf-8")
    return build_log_corpus(folder / "corpus", folder / "log.tsv", candidates=NONE, **options)


@pytest.mark.parametrize(("queries", "splits"), [(1, ["train"]), (2, ["train", "test"]), (4, list(SPLITS))])
def test_no_split_is_empty(tmp_path: Path, queries: int, splits: list[str]) -> None:
    build(tmp_path, [row for number in range(queries) for row in asked(f"sprei {number}", 3)])
    corpus = tmp_path / "corpus"
    check_complete(corpus)
    for config in get_dataset_config_names(str(corpus)):
        loaded = load_dataset(str(corpus), config, cache_dir=str(tmp_path / "cache"))
        assert sorted(loaded) == sorted(splits)
        assert all(loaded.num_rows.values())
    assert sorted(load_dataset(str(corpus), cache_dir=str(tmp_path / "cache"))) == sorted(splits)
    assert sum(read_part(corpus, "id", "queries", split).num_rows for split in SPLITS) == queries


def test_the_card_says_what_there_is_not(tmp_path: Path) -> None:
    build(tmp_path, asked("sprei", 3))
    card = (tmp_path / "corpus" / "README.md").read_text("utf-8")
    assert "**no English titles**" in card
    assert "annotations_creators:\n- found" in card  # clicks, not a machine's
    assert "No pattern finds names of people, street addresses" in card
    assert "fewer than 3 sessions" in card
    rows = [row._replace(title_en="cotton sheet") for row in asked("sprei", 3)]
    build(tmp_path, rows)
    assert "**no English titles**" not in (tmp_path / "corpus" / "README.md").read_text("utf-8")
    titles = read_part(tmp_path / "corpus", "id", "corpus", "train")["title_en"].to_pylist()
    assert "cotton sheet" in titles


def test_a_language_that_nobody_named_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row._replace(language="") for query in ("sprei katun", "bantal tidur") for row in asked(query, 3)]
    with caplog.at_level("WARNING"):
        build(tmp_path, rows)
    assert "name them: --languages id" in caplog.text


def test_numbers_of_any_length_and_depth_are_counted_rows(tmp_path: Path) -> None:
    good = '{"query": "sprei", "product": "sprei katun", "action": "click", "language": "id", "position": 1}'
    long, deep = "9" * 5_000, "[" * 5_000
    bad = [good.replace("1}", f"{long}}}"), good.replace("1}", f"{long[:4_000]}}}"), good.replace("1}", deep)]
    (tmp_path / "log.jsonl").write_text("\n".join([*[good] * 3, *bad]), "utf-8")
    log = build_log_corpus(tmp_path / "corpus", tmp_path / "log.jsonl", candidates=NONE)
    assert log.kept == 3
    assert log.dropped == {"not JSON": 2, "position is not a whole number from 1": 1}
