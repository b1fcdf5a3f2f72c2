"""A log without English titles is trained, validated and scored as one that has none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_corpus import write_corpus

from dataset_builder.logs.corpus import build_log_corpus
from eval.benchmarks.retrieval import LOCAL_TITLES, score_corpus, summarise, tables_of
from eval.studies.systems import SYSTEMS, WAYS
from modeling_lira import LiraModel
from modeling_lira.data.corpus import GLOSS, REFERENCE, RetrievalSplit, load_split
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation import evaluate
from modeling_lira.evaluation.comparison import encoder_alone
from modeling_lira.evaluation.names import ENCODER, LIRA
from modeling_lira.training import train
from modeling_lira.training.batches import PairRows, QueryRows, RetrievalCollator
from modeling_lira.training.options import LasrOptions, read_options
from modeling_lira.training.validation import validation_scores

SEARCHES = {"search of English titles", "search of titles in the query's language"}


def titles_of(folder: Path) -> RetrievalSplit:
    return load_split(str(folder), "vi", "train")


@pytest.mark.parametrize(
    ("english", "has_column"), [("repeated", True), (["", *[" "] * 7], True), ([None] * 8, True), ("own", False)]
)
def test_what_repeats_the_title_or_is_missing_is_no_english_title(
    english: object, has_column: bool, tmp_path: Path
) -> None:
    split = titles_of(write_corpus(tmp_path, english=english, has_column=has_column))
    assert not any(split.english_titles) and not split.has_english_titles
    assert split.searched_titles(True) == split.searched_titles(False) == split.titles


def test_own_english_titles_stay_and_repeats_among_them_are_none(tmp_path: Path) -> None:
    split = titles_of(write_corpus(tmp_path / "own"))
    assert all(split.english_titles) and split.has_english_titles
    mixed = [split.titles[0].upper(), f"  {split.titles[1]} ", *split.english_titles[2:]]
    some = titles_of(write_corpus(tmp_path / "mixed", english=mixed))
    assert some.english_titles == ["", "", *split.english_titles[2:]] and some.has_english_titles
    assert some.searched_titles(True) == [*split.titles[:2], *split.english_titles[2:]]
    few = titles_of(write_corpus(tmp_path / "few", english=[*split.english_titles[:3], *split.titles[3:]]))
    assert not few.has_english_titles


def test_two_corpora_of_one_name_are_two_and_one_that_is_built_again_is_read_again(tmp_path: Path) -> None:
    titles = [[str(number)] * 8 for number in range(3)]
    first = write_corpus(tmp_path / "a" / "corpus", ["vi"], english=titles[0])
    second = write_corpus(tmp_path / "b" / "corpus", ["vi"], english=titles[1])
    assert [titles_of(folder).english_titles for folder in (first, second)] == titles[:2]
    write_corpus(first, ["vi"], english=titles[2])
    assert [titles_of(folder).english_titles for folder in (first, second)] == [titles[2], titles[1]]


@pytest.mark.parametrize("english", ["own", "repeated"])
def test_a_corpus_without_glosses_and_references_makes_do(english: str, tmp_path: Path) -> None:
    """Half of a candidate's words stand in for a gloss, the English title of a best product for a reference."""
    split = titles_of(write_corpus(tmp_path, ["vi"], english=english))
    halves = [[text.split()[0] for text in row] for row in split.queries.candidates]
    assert split.queries.others[GLOSS] == halves and any(halves)
    titles = [[title] if title else [] for title in split.english_titles]
    assert split.queries.others[REFERENCE] == titles


@pytest.fixture
def tables(build_model: Callable[..., LiraModel], tmp_path: Path) -> list[SplitTables]:
    """Vietnamese without English titles, Thai with them."""
    model, cache = build_model(), StreamCache(tmp_path / "streams")
    without = write_corpus(tmp_path / "without", ["vi"], english="repeated")
    with_titles = write_corpus(tmp_path / "with", ["vi", "th"])
    return [
        cache_split(model, cache, load_split(str(without), "vi", "train")),
        cache_split(model, cache, load_split(str(with_titles), "th", "train")),
    ]


def test_no_title_is_its_own_translation(tables: list[SplitTables]) -> None:
    assert not tables[0].local.has_english.any() and not tables[0].english.has_english.any()
    assert set(tables[0].english.language_ids) == set(tables[0].local.language_ids)
    assert tables[1].local.has_english.all()
    pairs = {(number, row) for number, row, _ in (PairRows(tables)[index] for index in range(len(PairRows(tables))))}
    assert {number for number, _ in pairs} == {0, 2, 3}  # no local titles of the first language


def test_no_batch_of_that_language_searches_english_titles(tables: list[SplitTables]) -> None:
    options = LasrOptions(batch_size=4, english_titles=1.0)
    rows = QueryRows(tables)
    sampler = rows.sampler(options, 0)
    items = [rows[row] for row in sampler]
    assert {(item.language, item.english_titles) for item in items} == {(0, False), (1, True)}
    batch = RetrievalCollator(tables, options, sampler)([item for item in items if item.language == 0][:4])
    assert batch["group"].tolist() == [0] and not batch["document_candidate_mask"].any()


def test_validation_searches_what_is_there(build_model: Callable[..., LiraModel], tables: list[SplitTables]) -> None:
    model = build_model()
    scores = validation_scores(model, tables[:1])
    assert not any("english" in name for name in scores)
    local = [scores["ndcg@10_local_titles"], scores["ndcg@10_local_titles_without_translations"]]
    assert scores["score"] == pytest.approx(np.mean(local))
    assert "ndcg@10_english_titles" in validation_scores(model, tables)


def test_the_ablations_have_no_value_for_a_search_that_is_none(tables: list[SplitTables]) -> None:
    for system in (LIRA, ENCODER):
        scores = SYSTEMS[system].scores(encoder_alone(tables[0]), WAYS)
        assert {way for way in WAYS if scores[f"{way}/vi"].isnan().all()} == {
            way for way, (english, _) in WAYS.items() if english
        }


def test_the_benchmark_searches_what_is_there(build_model: Callable[..., LiraModel], tables: list[SplitTables]) -> None:
    record = summarise(score_corpus([build_model()], tables[:1]))
    assert set(record["search"]) == {LOCAL_TITLES} and tables_of(record)
    assert len(summarise(score_corpus([build_model()], tables[1:]))["search"]) == 3


@pytest.mark.parametrize("english", ["repeated", "own"])
def test_train_and_evaluate_a_corpus(english: str, backbones: dict[str, Path], tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus", ["vi"], english=english), tmp_path / "out"
    config = tmp_path / "config.yaml"
    given = {
        "corpus": str(corpus),
        "multilingual": str(backbones["xlm-roberta"]),
        "english": str(backbones["bert"]),
        "arca": {"epochs": 1, "batch_size": 4},
        "lasr": {"epochs": 1, "batch_size": 4},
    }
    config.write_text(yaml.safe_dump(given), encoding="utf-8")
    train(read_options(config), out)
    record = evaluate(out / "model", str(corpus), out / "evaluation.json", out / "streams")
    tasks = {row["task"] for row in record["results"]}
    assert tasks == (SEARCHES if english == "own" else SEARCHES - {"search of English titles"})
    logged = {name for entry in json.loads((out / "training.json").read_text())["training"]["lasr"] for name in entry}
    assert ("eval_ndcg@10_english_titles" in logged) == (english == "own")


def test_a_log_without_the_column_says_so_to_training(tmp_path: Path) -> None:
    rows = [
        f"{query} {word},{query} {word} {kind},{action}"
        for word in ("nam", "nữ", "trẻ em", "đẹp")
        for query in ("áo thun", "nồi cơm", "giày da", "túi vải", "bình nước", "đèn bàn")
        for kind, action in (("đỏ", "purchase"), ("xanh", "view"), ("tím", "impression"))
    ]
    log = tmp_path / "log.csv"
    log.write_text("query,product,action\n" + "\n".join(rows * 3) + "\n", encoding="utf-8")
    build_log_corpus(tmp_path / "corpus", log, languages=("vi",))
    assert not load_split(str(tmp_path / "corpus"), "vi", "train").has_english_titles
