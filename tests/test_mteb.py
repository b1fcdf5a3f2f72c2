# ruff: noqa: F811  # fixtures of other files
"""LiRA in MTEB: every text gets its language, prefix and translations, and the scores are ours."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mteb
import pytest
import torch
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.cache import ResultCache
from mteb.types import PromptType
from test_retrieval import corpus, saved  # noqa: F401  # fixtures
from test_unseen import QUESTIONS, candidates, cldr, xquad  # noqa: F401  # fixtures
from tiny_corpus import make_split

from eval.__main__ import app
from eval.benchmarks.mteb_model import LiraEncoder, subsets_spoken
from eval.benchmarks.mteb_run import ENGLISH_PRODUCTS, PRODUCTS, Sources, run_mteb
from eval.benchmarks.mteb_tasks import PUBLIC, splits_task
from eval.benchmarks.unseen import XQUAD, measure_unseen, read_candidates, unseen_tables
from eval.record import corpus_version, read_record, weights_of
from modeling_lira import LiraModel
from modeling_lira.cli import run
from modeling_lira.configuration_lira import LANGUAGES
from modeling_lira.data.corpus import load_split
from modeling_lira.data.languages import language_code
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_split
from modeling_lira.evaluation.comparison import LIRA, LIRA_FREE
from modeling_lira.evaluation.embedded import embed_split


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    torch.manual_seed(0)  # whatever ran before
    return build_model(num_feature_bins=2, query_prefix="query: ", document_prefix="passage: ")


@pytest.fixture(autouse=True)
def _no_results_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "mteb"))
    yield


def test_a_text_gets_its_language_prefix_and_translations(model: LiraModel, tmp_path: Path) -> None:
    split = make_split("th", 1)
    task, cache = splits_task("Tiny", "Tiny", [split]), StreamCache(tmp_path)
    untranslated: dict[tuple[str, str], list[Any]] = {("th", text): [] for text in split.queries.texts}
    encoder = LiraEncoder(model, cache, untranslated)
    batches = [{"text": split.queries.texts[:5]}, {"text": split.queries.texts[5:]}]
    order = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "th"}
    encoded = encoder.encode(batches, **order, prompt_type=PromptType.query)
    torch.testing.assert_close(encoded, model.encode_query(split.queries.texts, "th"), atol=5e-3, rtol=0)
    documents = encoder.encode([{"text": split.english_titles}], **order, prompt_type=PromptType.document)
    torch.testing.assert_close(documents, model.encode_document(split.english_titles, "en"), atol=5e-3, rtol=0)
    untold = encoder.encode([{"text": split.english_titles}], **order)  # a symmetric task of two languages
    torch.testing.assert_close(untold, model.encode_query(split.english_titles), atol=5e-3, rtol=0)
    assert (documents - untold).abs().max() > 0.02


def test_its_scores_on_unseen_text_are_the_evaluations_own(
    model: LiraModel,
    xquad: Path,
    candidates: Path,
    tmp_path: Path,
) -> None:
    cache = StreamCache(tmp_path)
    sets = unseen_tables(model, cache, xquad, candidates=candidates)
    ours = measure_unseen(model, sets, samples=100)[XQUAD]["ndcg@10"]
    task = splits_task(
        "Questions", "Questions", [parsed.split for parsed in sets[XQUAD] if parsed.split.language != "en"]
    )
    for name, given in ((LIRA, read_candidates(candidates)), (LIRA_FREE, None)):
        result = mteb.evaluate(
            LiraEncoder(model, cache, given), task, cache=None, co2_tracker=False, show_progress_bar=False
        )
        rows = {row["hf_subset"]: row["ndcg_at_10"] for row in result.task_results[0].scores["test"]}
        assert rows["th"] == pytest.approx(ours[name]["th"], abs=1e-4)


def test_the_corpus_is_a_task_whose_lists_do_not_stop_mteb(
    model: LiraModel,
    saved: Path,
    corpus: Path,
    tmp_path: Path,
) -> None:
    measured = run_mteb(
        str(saved), [PRODUCTS, ENGLISH_PRODUCTS], Sources(str(corpus)), tmp_path / "streams", records=tmp_path
    )
    assert set(measured[PRODUCTS]["test"]) == {"vi", "th"}
    loaded = LiraModel.from_pretrained(saved)
    tables = cache_split(loaded, StreamCache(tmp_path / "streams"), load_split(str(corpus), "vi", "test"))
    expected = float(embed_split(loaded, tables).ndcg().mean())
    assert measured[ENGLISH_PRODUCTS]["test"]["vi"]["ndcg_at_10"] == pytest.approx(expected, abs=1e-4)
    check_results_folder(tmp_path / "mteb" / "results", saved, measured[PRODUCTS]["test"])
    record = read_record(tmp_path / "mteb-products.json", "mteb-products", corpus_version(str(corpus)))
    assert record.payload["scores"] == measured[PRODUCTS] and record.payload["translations"]


def check_results_folder(results: Path, saved: Path, expected: dict[str, dict[str, float]]) -> None:
    """MTEB reads it as a results repository: model, revision, experiment, task, and the model's description."""
    [folder] = results.glob("lira__*/*/experiments/translations_True")
    assert folder.parents[2].name == f"lira__{saved.name}" and folder.parents[1].name == weights_of(str(saved))
    meta = json.loads((folder / "model_meta.json").read_text())
    assert meta["name"] == f"lira/{saved.name}" and "tha-Thai" in meta["languages"] and meta["n_parameters"] > 0
    loaded = ResultCache(results.parent).load_results(load_experiments="match_name")
    [mine] = [model for model in loaded.model_results if model.model_name == f"lira/{saved.name}"]
    read = {row["hf_subset"]: row["ndcg_at_10"] for task in mine.task_results for row in task.scores["test"]
            if task.task_name != "EnglishProductRetrieval"}  # fmt: skip
    assert read == {subset: pytest.approx(values["ndcg_at_10"]) for subset, values in expected.items()}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_tasks_are_run_on_what_the_model_speaks(name: str) -> None:
    task = mteb.get_task(name)
    subsets = subsets_spoken(task.metadata, list(LANGUAGES))
    spoken = {code for subset in subsets for code in task.metadata.hf_subsets_to_langscripts[subset]}
    if name.startswith("STS22"):
        assert subsets == []  # it has none of the seven languages
    else:
        assert subsets and set(map(language_code, spoken)) <= set(LANGUAGES)
    if name == "BelebeleRetrieval":
        assert {"tha_Thai-eng_Latn", "eng_Latn-vie_Latn", "ben_Beng-ben_Beng"} <= set(subsets)
    if isinstance(task, AbsTaskBitextMining):
        assert {"tha-eng", "vie-eng", "urd-eng", "ind-eng"} <= set(subsets)


@pytest.mark.parametrize(
    ("tasks", "more", "message"),
    [
        ("NoSuchTask", [], "task 'NoSuchTask' is unknown"),
        ("xquad", [], "task 'xquad' needs --xquad"),
        ("cldr", [], "task 'cldr' needs --cldr"),
        ("products", ["--languages", "fr"], "does not know language 'fr'"),
        ("Tatoeba", [], "the data of task 'Tatoeba' cannot be had"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tasks: str, more: list[str], message: str, saved: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    order = ["mteb", "--model", str(saved), "--tasks", tasks, "--records", str(tmp_path), *more]
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", order)
    assert left.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def plain_model(backbones: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of sentence-transformers that has nothing to do with LiRA."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("plain") / "model"
    model = SentenceTransformer(str(backbones["xlm-roberta"]))
    model.max_seq_length = 60
    model.save(str(folder))
    return folder


def test_any_sentence_transformers_model_is_measured_alike(
    plain_model: Path, saved: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    alone = run_mteb(str(plain_model), [ENGLISH_PRODUCTS], Sources(str(corpus)), tmp_path / "streams", records=tmp_path)
    record = read_record(tmp_path / f"mteb-{ENGLISH_PRODUCTS}.json")
    assert record.payload["model"] == plain_model.name and not record.payload["translations"]
    run_mteb(str(saved), [ENGLISH_PRODUCTS], Sources(str(corpus)), tmp_path / "streams", records=tmp_path / "beside",
             baselines=[str(plain_model)])  # fmt: skip
    beside = read_record(tmp_path / "beside" / f"mteb-{ENGLISH_PRODUCTS}.json").payload
    assert beside["baselines"] == {plain_model.name: alone[ENGLISH_PRODUCTS]}
    order = ["--corpus", str(corpus), "--streams", str(tmp_path / "streams"), "--records", str(tmp_path)]
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", ["retrieval", "--model", str(saved), "--baseline", str(plain_model), *order])
    assert left.value.code == 0
    payload = read_record(tmp_path / "retrieval.json").payload
    beside = payload["search"]["English titles"][plain_model.name]["ndcg@10"]
    for language in ("vi", "th"):
        assert beside[language] == pytest.approx(alone[ENGLISH_PRODUCTS]["test"][language]["ndcg_at_10"], abs=1e-4)
    assert f"{LIRA} against {plain_model.name}" in payload["differences"]["English titles"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it asks again for a minute
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", ["retrieval", "--model", str(saved), "--baseline", "nowhere/at-all", *order])
    assert left.value.code == 2
    assert "'nowhere/at-all' cannot be loaded by sentence-transformers" in capsys.readouterr().err.splitlines()[-1]
