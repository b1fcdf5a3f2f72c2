# ruff: noqa: F811  # fixtures of other files
"""`lira evaluate`: its rows, intervals and differences, BM25, corpora without English titles, records kept apart."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import disturb
from test_retrieval import corpus  # noqa: F401  # a fixture
from tiny_corpus import make_split

from eval.benchmarks.retrieval import run_retrieval, score_corpus, summarise, tables_of
from eval.record import corpus_version
from modeling_lira import LiraModel
from modeling_lira.cli import main
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.errors import LiraError
from modeling_lira.evaluation import evaluate
from modeling_lira.evaluation.bm25 import BM25, tokens
from modeling_lira.evaluation.evaluator import METRIC, TASKS
from modeling_lira.evaluation.metrics import bootstrap_interval, ndcg
from modeling_lira.evaluation.names import BM25_ROW, ENCODER, LIRA, LIRA_FREE, TRANSLATE, TRANSLATE_BM25
from modeling_lira.evaluation.scoring import ENGLISH_TITLES, LOCAL_TITLES, TRANSLATED_TITLES, Searchers, systems_of
from modeling_lira.records.publishing import card_sources

ENGLISH, LOCAL = TASKS[ENGLISH_TITLES], TASKS[LOCAL_TITLES]


@pytest.fixture(scope="module")
def run(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    build_model(num_feature_bins=2).save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def record(run: Path, corpus: Path) -> dict:
    return evaluate(run / "model", str(corpus), run / "evaluation.json", run / "streams")


@pytest.fixture(scope="module")
def no_english(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as a log without English titles gives it: the titles stand in their place."""
    folder = tmp_path_factory.mktemp("log") / "corpus"
    for path in corpus.rglob("*"):
        copy = folder / path.relative_to(corpus)
        if path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        if path.suffix == ".parquet" and "corpus" in path.parent.name:
            table = pq.read_table(path)
            column = table.column_names.index("title_en")
            pq.write_table(table.set_column(column, "title_en", table["title"]), copy)
    return folder


def rows_of(record: dict, task: str, system: str) -> dict[str, dict]:
    return {row["language"]: row for row in record["results"] if (row["task"], row["system"]) == (task, system)}


def tables_for(model: LiraModel, folder: Path) -> SplitTables:
    return cache_split(model, StreamCache(folder), make_split("vi", 0))


def test_every_row_has_an_interval_and_the_number_of_its_queries(record: dict, corpus: Path) -> None:
    assert {row["system"] for row in record["results"] if row["task"] == ENGLISH} == {
        ENCODER, TRANSLATE, TRANSLATE_BM25, LIRA, LIRA_FREE,
    }  # fmt: skip
    assert {row["system"] for row in record["results"] if row["task"] == LOCAL} == {BM25_ROW, ENCODER, LIRA, LIRA_FREE}
    assert all(row["interval"][0] <= row["value"] <= row["interval"][1] for row in record["results"])
    lira = rows_of(record, ENGLISH, LIRA)
    assert list(lira) == ["vi", "th", "mean"]
    assert lira["mean"]["value"] == pytest.approx((lira["vi"]["value"] + lira["th"]["value"]) / 2)
    assert lira["mean"]["queries"] == lira["vi"]["queries"] + lira["th"]["queries"]
    assert record["queries"] == {"vi": lira["vi"]["queries"], "th": lira["th"]["queries"]}
    assert record["corpus"] == corpus_version(str(corpus)) and record["hardware"]["threads"] >= 1
    baselines = {row["system"] for row in record["results"] if row.get("baseline")}
    assert baselines == {BM25_ROW, TRANSLATE_BM25, ENCODER, TRANSLATE}


def test_differences_are_paired(record: dict) -> None:
    gains = {(row["task"], row["rival"], row["language"]): row for row in record["differences"]}
    assert {rival for task, rival, _ in gains if task == LOCAL} == {BM25_ROW, ENCODER, LIRA_FREE}
    for (task, rival, language), row in gains.items():
        expected = rows_of(record, task, LIRA)[language]["value"] - rows_of(record, task, rival)[language]["value"]
        assert row["value"] == pytest.approx(expected) and row["system"] == LIRA
        assert row["interval"][0] <= row["value"] <= row["interval"][1]


def test_bm25_searches_words(build_model: Callable[..., LiraModel], tmp_path: Path) -> None:
    tables = tables_for(build_model(), tmp_path)
    split = tables.split
    systems, searchers = systems_of([], True), Searchers(tables)
    (local,), (translated,) = systems[BM25_ROW], systems[TRANSLATE_BM25]
    assert searchers.documents(local) == (LOCAL_TITLES,)
    assert searchers.documents(translated) == (ENGLISH_TITLES, TRANSLATED_TITLES)
    index = BM25(tokens(title, "vi") for title in split.titles)
    expected = np.stack([index.scores(tokens(text, "vi")) for text in split.queries.texts])
    assert searchers.scores(local, LOCAL_TITLES).numpy() == pytest.approx(expected)
    english = BM25(tokens(title, "en") for title in split.english_titles)
    first = [row[0] if row else "" for row in split.queries.candidates]
    expected = np.stack([english.scores(tokens(text, "en")) for text in first])
    assert searchers.scores(translated, ENGLISH_TITLES).numpy() == pytest.approx(expected)


def test_lira_evaluate_and_eval_retrieval_say_the_same(record: dict, run: Path, corpus: Path, tmp_path: Path) -> None:
    report = run_retrieval([str(run / "model")], str(corpus), run / "streams", records=tmp_path)
    for task, documents in ((ENGLISH, ENGLISH_TITLES), (LOCAL, LOCAL_TITLES)):
        assert set(report["search"][documents]) == {row["system"] for row in record["results"] if row["task"] == task}
        for system, metrics in report["search"][documents].items():
            values = {language: row["value"] for language, row in rows_of(record, task, system).items()}
            assert metrics[METRIC] == pytest.approx(values, abs=1e-6)


def test_a_corpus_without_english_titles_has_no_table_of_them(run: Path, no_english: Path, tmp_path: Path) -> None:
    record = evaluate(run / "model", str(no_english), tmp_path / "evaluation.json", run / "streams")
    assert {row["task"] for row in record["results"]} == {row["task"] for row in record["differences"]} == {LOCAL}
    assert {row["system"] for row in record["results"]} == {BM25_ROW, ENCODER, LIRA, LIRA_FREE}
    report = run_retrieval([str(run / "model")], str(no_english), run / "streams", records=tmp_path)
    for part in ("search", "kinds", "types", "differences", "differences_unseen_types", "deviation_over_models"):
        assert set(report[part]) == {LOCAL_TITLES}, part


def test_one_language_without_english_titles_is_left_out_of_their_table(
    build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    model, cache = build_model(), StreamCache(tmp_path)
    whole, log = make_split("vi", 0), make_split("th", 1)
    log = replace(log, english_titles=[""] * len(log.titles))
    tables = [cache_split(model, cache, split) for split in (whole, log)]
    report = summarise(score_corpus([model], tables))
    assert set(report["search"][ENGLISH_TITLES][LIRA][METRIC]) == {"vi", "mean"}
    assert set(report["search"][LOCAL_TITLES][LIRA][METRIC]) == {"vi", "th", "mean"}
    assert tables_of(report | {"languages": ["vi", "th"]})


def test_records_of_other_weights_and_corpora_stay(
    run: Path, record: dict, corpus: Path, no_english: Path, build_model: Callable[..., LiraModel], tmp_path: Path
) -> None:
    output = tmp_path / "evaluation.json"
    output.write_text(json.dumps(record))
    evaluate(run / "model", str(no_english), output, run / "streams")
    other = disturb(build_model(num_feature_bins=2))
    other.save_pretrained(tmp_path / "model")
    evaluate(tmp_path / "model", str(corpus), output, run / "streams")
    kept = [json.loads(path.read_text()) for path in tmp_path.glob("evaluation*.json")]
    assert len(kept) == 3
    assert len({(one["weights"], one["corpus"]) for one in kept}) == 3
    (tmp_path / "model").rename(tmp_path / "other")
    (run / "model").rename(tmp_path / "model")
    try:
        chosen = card_sources(tmp_path).evaluation
    finally:
        (tmp_path / "model").rename(run / "model")
    assert chosen is not None and chosen["weights"] == record["weights"]  # not the newest: that is of other weights


def test_the_command_shows_intervals_differences_and_counts(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(run), "--corpus", str(corpus), "--output", str(tmp_path / "e.json")])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert shown.count("queries") >= 2 and BM25_ROW in shown and "…" in shown
    assert f"{LIRA} - {ENCODER}" in shown.replace("\n", " ") or LIRA in shown


@pytest.mark.parametrize(
    ("languages", "options", "message"),
    [
        (["vi"], ["--split", "nonsense"], "no language with queries for nonsense"),
        (["vi"], ["--split", "train[:"], "no language with queries for train[:"),
        (["km"], [], "have no language in common"),
        ([], [], "languages must hold at least one code"),
    ],
)
def test_a_wrong_split_or_language_is_named_before_the_backbones_load(
    corpus: Path,
    run: Path,
    languages: list[str],
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "model").mkdir()
    config = json.loads((run / "model" / "config.json").read_text()) | {"languages": languages}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(LiraModel, "from_pretrained", lambda *_args, **_kwargs: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(tmp_path), "--corpus", str(corpus), *options])
    assert left.value.code == 2
    assert message in capsys.readouterr().err.replace("'", "")


def test_queries_without_a_relevant_product_are_named_before_the_backbones_load(
    corpus: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    for path in folder.glob("vi-qrels/test*"):
        table = pq.read_table(path)
        zeros = pa.array([0] * len(table), table.schema.field("score").type)
        pq.write_table(table.set_column(table.column_names.index("score"), "score", zeros), path)
    monkeypatch.setattr(LiraModel, "from_pretrained", lambda *_args, **_kwargs: pytest.fail("the model was loaded"))
    with pytest.raises(LiraError, match="no query of the vi part has a relevant product"):
        evaluate(run / "model", str(folder), tmp_path / "evaluation.json", tmp_path / "streams")


def test_one_query_by_hand() -> None:
    gains = torch.tensor([[1.0, 0.0]])
    assert float(ndcg(torch.tensor([[0.0, 1.0]]), gains)[0]) == pytest.approx(1 / np.log2(3))
    assert bootstrap_interval(torch.tensor([0.5, 0.5])) == (0.5, 0.5)
