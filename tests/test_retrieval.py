"""The measurement of a saved model on a corpus: what is scored, its slices, its refusals."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import make_split

from dataset_builder.generator import corpus as corpus_module
from dataset_builder.generator.splits import Quota, Release
from eval.__main__ import app
from eval.benchmarks.correlations import CorrelationSums, correlation_difference
from eval.benchmarks.library_metrics import METRICS, MRR, NDCG, RECALL
from eval.benchmarks.retrieval import (
    DOCUMENTS,
    ENGLISH_TITLES,
    LOCAL_TITLES,
    SEEN,
    TRANSLATED_TITLES,
    UNSEEN,
    Scores,
    lira_vectors,
    score_corpus,
    summarise,
)
from eval.record import corpus_version, read_record
from modeling_lira import LiraError, LiraModel
from modeling_lira.cli import run
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation.metrics import ndcg, pearson, spearman
from modeling_lira.evaluation.names import BM25_ROW, ENCODER, LIRA, LIRA_FREE, TRANSLATE, TRANSLATE_BM25

CODES = ("vi", "th")


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    torch.manual_seed(0)  # whatever ran before
    return build_model(num_feature_bins=2)


@pytest.fixture(scope="module")
def tables(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> list[SplitTables]:
    cache = StreamCache(tmp_path_factory.mktemp("streams"))
    splits = [make_split(code, seed) for seed, code in enumerate(CODES)]
    kinds, unseen = ["bare"] * 6 + ["vague"] * 2, [False] * 5 + [True] * 3
    return [cache_split(model, cache, replace(split, kinds=kinds, unseen_type=unseen)) for split in splits]


@pytest.fixture(scope="module")
def scores(model: LiraModel, tables: list[SplitTables]) -> Scores:
    return score_corpus([model], tables)


def test_every_way_of_searching_is_that_of_the_models_own_encoding(
    model: LiraModel, tables: list[SplitTables], scores: Scores
) -> None:
    split = tables[0].split
    asked = split.queries
    queries = {
        LIRA: model.encode_query(asked.texts, "vi", asked.candidates, [row or [] for row in asked.scores]),
        LIRA_FREE: model.encode_query(asked.texts, "vi"),
    }
    documents = {
        ENGLISH_TITLES: model.encode_document(split.english_titles, "en"),
        LOCAL_TITLES: model.encode_document(split.titles, "vi"),
        TRANSLATED_TITLES: model.encode_document(split.titles, "vi", [[title] for title in split.english_titles]),
    }
    vectors = lira_vectors(model, tables[0])
    for name, given in ((LIRA, True), (LIRA_FREE, False)):  # streams are kept as float16
        torch.testing.assert_close(vectors.queries[given], queries[name], atol=5e-3, rtol=0)
        for what in DOCUMENTS:
            torch.testing.assert_close(vectors.documents[what], documents[what], atol=5e-3, rtol=0)
            expected = ndcg(vectors.queries[given] @ vectors.documents[what].T, split.gain_matrix())
            torch.testing.assert_close(scores.values[what][name]["vi"][NDCG], expected[None], atol=1e-9, rtol=0)
    assert set(scores.values[LOCAL_TITLES]) == {BM25_ROW, ENCODER, LIRA, LIRA_FREE}
    assert set(scores.values[TRANSLATED_TITLES]) == {ENCODER, TRANSLATE_BM25, TRANSLATE, LIRA, LIRA_FREE}
    encoder = scores.values
    assert torch.equal(encoder[LOCAL_TITLES][ENCODER]["th"][NDCG], encoder[TRANSLATED_TITLES][ENCODER]["th"][NDCG])


def test_slices_and_means_by_hand() -> None:
    def values(first: list[float], second: list[float]) -> dict[str, dict[str, torch.Tensor]]:
        return {
            code: dict.fromkeys(METRICS, torch.tensor([amount], dtype=torch.float64))
            for code, amount in (("vi", first), ("th", second))
        }

    made = Scores(
        kinds={"vi": ["bare", "vague", "bare"], "th": ["bare", "bare"]},
        unseen={"vi": torch.tensor([False, True, True]), "th": torch.tensor([False, False])},
        documents={"vi": 9, "th": 8},
        values={
            ENGLISH_TITLES: {
                ENCODER: values([0.2, 0.4, 0.6], [0.3, 0.1]),
                LIRA: values([0.4, 0.6, 0.8], [0.3, 0.3]),
                LIRA_FREE: values([0.2, 0.4, 0.6], [0.3, 0.1]),
            }
        },
    )
    summary = summarise(made)
    asked = summarise(replace(made, questions={"vi": ["a", "b", "c"], "th": ["a", "b"]}))
    count = [
        one["differences"][ENGLISH_TITLES][f"{LIRA} against {ENCODER}"]["mean"]["questions"] for one in (summary, asked)
    ]
    assert count == [5, 3]  # the same queries in two languages are the same questions
    assert asked["differences_unseen_types"][ENGLISH_TITLES][f"{LIRA} against {ENCODER}"]["mean"]["questions"] == 2
    assert summary["queries"] == {"vi": 3, "th": 2} and summary["documents"] == {"vi": 9, "th": 8}
    lira = summary["search"][ENGLISH_TITLES][LIRA]
    assert set(lira) == {NDCG, RECALL, MRR}
    assert lira[NDCG] == pytest.approx({"vi": 0.6, "th": 0.3, "mean": 0.45})
    kinds = summary["kinds"][ENGLISH_TITLES][LIRA]
    assert kinds["bare"] == pytest.approx({"vi": 0.6, "th": 0.3, "mean": 0.45})
    assert kinds["vague"] == pytest.approx({"vi": 0.6, "mean": 0.6})  # no vague Thai query
    types = summary["types"][ENGLISH_TITLES][LIRA]
    assert types[SEEN] == pytest.approx({"vi": 0.4, "th": 0.3, "mean": 0.35})
    assert types[UNSEEN] == pytest.approx({"vi": 0.7, "mean": 0.7})
    gain = summary["differences"][ENGLISH_TITLES][f"{LIRA} against {ENCODER}"]
    assert (gain["vi"]["mean"], gain["th"]["mean"], gain["mean"]["mean"]) == pytest.approx((0.2, 0.1, 0.15))
    unseen = summary["differences_unseen_types"][ENGLISH_TITLES][f"{LIRA} against {ENCODER}"]
    assert list(unseen) == ["vi", "mean"] and unseen["vi"]["count"] == 2
    assert summary["deviation_over_models"][ENGLISH_TITLES][LIRA] == 0.0


def test_models_of_several_seeds_are_averaged_and_their_spread_is_told(
    build_model: Callable[..., LiraModel], model: LiraModel, tables: list[SplitTables]
) -> None:
    other = build_model(num_feature_bins=2)
    with torch.no_grad():
        other.arca.multilingual_projection.weight.add_(torch.randn(other.arca.multilingual_projection.weight.shape))
    both = summarise(score_corpus([model, other], tables))
    alone = [summarise(score_corpus([amount_model], tables)) for amount_model in (model, other)]
    means = [amount_model["search"][LOCAL_TITLES][LIRA][NDCG]["mean"] for amount_model in alone]
    assert means[0] != means[1]
    assert both["search"][LOCAL_TITLES][LIRA][NDCG]["mean"] == pytest.approx(np.mean(means))
    assert both["deviation_over_models"][LOCAL_TITLES][LIRA] == pytest.approx(np.std(means, ddof=1))
    ranked = [amount_model["ranking"][LIRA]["pearson"]["th"] for amount_model in alone]
    assert both["ranking"][LIRA]["pearson"]["th"] == pytest.approx(np.mean(ranked))


def test_without_candidates_no_row_pretends_to_have_them(
    model: LiraModel, tables: list[SplitTables], tmp_path: Path
) -> None:
    split = tables[0].split
    bare = replace(split, queries=replace(split.queries, candidates=[[]] * 8, scores=[[]] * 8))
    summary = summarise(score_corpus([model], [cache_split(model, StreamCache(tmp_path), bare)]))
    assert set(summary["search"][ENGLISH_TITLES]) == {ENCODER, LIRA_FREE}


# ---------------------------------------------------------------- ranking


def test_correlations_over_sums_are_the_correlations_of_the_pairs() -> None:
    owners = torch.arange(40).repeat_interleave(5)
    wanted = torch.randint(0, 4, (200,)) / 3
    predicted = 0.8 + 0.05 * wanted + 0.02 * torch.randn(200)
    sums = CorrelationSums.of(predicted, wanted, owners)
    assert sums.correlation("pearson") == pytest.approx(pearson(predicted, wanted))
    assert sums.correlation("spearman") == pytest.approx(spearman(predicted, wanted))
    weights = torch.zeros(1, 40, dtype=torch.float64)
    weights[0, 3], weights[0, 7] = 2, 1
    drawn = torch.cat([(owners == 3).nonzero()[:, 0], (owners == 3).nonzero()[:, 0], (owners == 7).nonzero()[:, 0]])
    assert float(sums.drawn("pearson", weights)[0]) == pytest.approx(pearson(predicted[drawn], wanted[drawn]))


def test_the_interval_of_a_correlations_difference_holds_it() -> None:
    owners, wanted = torch.arange(60).repeat_interleave(4), torch.rand(240)
    good, poor = (CorrelationSums.of(wanted + noise * torch.randn(240), wanted, owners) for noise in (0.1, 1.0))
    difference = correlation_difference([good], [poor], "pearson")
    assert difference["mean"] == pytest.approx(good.correlation("pearson") - poor.correlation("pearson"))
    assert 0 < difference["low"] < difference["mean"] < difference["high"]
    assert difference == correlation_difference([good], [poor], "pearson", seed=0)
    assert difference["low"] != correlation_difference([good], [poor], "pearson", seed=1)["low"]
    assert set(correlation_difference([good], [good], "spearman").values()) == {0.0}
    with pytest.raises(LiraError, match="correlation 'kendall' is unknown"):
        good.correlation("kendall")


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "release_named", lambda _: Release("tiny", Quota(24, 12, 24), Quota(8, 8, 12)))
        corpus_module.build_corpus(folder, languages=CODES)
    return folder


@pytest.fixture(scope="module")
def saved(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


def order(saved: Path, corpus: Path, folder: Path, *more: str) -> list[str]:
    streams = ["--streams", str(folder / "streams"), "--records", str(folder)]
    return ["retrieval", "--model", str(saved), "--corpus", str(corpus), *streams, *more]


def test_the_command_writes_a_record_of_this_corpus(
    saved: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", order(saved, corpus, tmp_path))
    assert left.value.code == 0
    record = read_record(tmp_path / "retrieval.json", "retrieval", corpus_version(str(corpus)))
    assert record.payload["languages"] == list(CODES)
    gain = record.payload["differences"][ENGLISH_TITLES][f"{LIRA} against {ENCODER}"]["mean"]
    assert gain["questions"] == gain["count"]  # every language of the corpus asks its own
    assert record.payload["models"] == [saved.name] and record.payload["corpus"] == "tiny"
    shown = capsys.readouterr().out
    for title in (*DOCUMENTS, "pearson", SEEN):
        assert title in shown


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--languages", "bn"], "has no language 'bn', only vi, th"),
        (["--split", "dev"], "has no vi dev split"),
        (["--corpus", "nowhere"], "corpus 'nowhere': there is no such folder here, and no such dataset on the Hub"),
        (["--multilingual", "nowhere"], "'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    more: list[str], message: str, saved: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", order(saved, corpus, tmp_path, *more))
    assert left.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_model_without_a_language_of_the_corpus_is_named(
    build_model: Callable[..., LiraModel], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_model(languages=["vi", "en"]).save_pretrained(tmp_path / "small")
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", order(tmp_path / "small", corpus, tmp_path))
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the model does not know language 'th', only vi, en" in line
