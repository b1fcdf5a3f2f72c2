"""Both stages on a tiny model: batches, what learns, what is logged, what survives an interruption."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MULTILINGUAL_TEXTS

from modeling_lira import LiraError, LiraModel
from modeling_lira.training import trainer as trainer_module
from modeling_lira.training.data import (
    LanguageSampler,
    PairRows,
    QueryRows,
    RetrievalCollator,
    RetrievalSplit,
    StreamSplit,
    Texts,
    cache_split,
)
from modeling_lira.training.run import run_stage
from modeling_lira.training.stages import ArcaStage, ArcaWeights, LasrStage, LasrWeights
from modeling_lira.training.stream_cache import StreamCache
from modeling_lira.training.trainer import ArcaOptions, LasrOptions
from modeling_lira.training.validation import embed_table, retrieval_ndcg, validation_scores

WORDS = (
    "white shirt",
    "used phone",
    "red rice",
    "small bottle",
    "warm blanket",
    "new camera",
    "fresh fish",
    "old book",
)
SCORES = (9.0, 5.0, 5.0)


def make_split(language: str, offset: int) -> RetrievalSplit:
    """Eight products and eight queries; a query wants the product of its number (3) and its neighbour (1)."""
    local = [f"{MULTILINGUAL_TEXTS[(2 * offset + i) % 14]} {i}" for i in range(8)]
    candidates = [[WORDS[i], WORDS[(i + 3) % 8]] if i % 4 else [] for i in range(8)]
    queries = Texts(
        texts=[text.split()[0] + f" {i}" for i, text in enumerate(local)],
        languages=[language] * 8,
        candidates=candidates,
        scores=[[SCORES, (2.0, 5.0, 5.0)] if row else [] for row in candidates],
    )
    return RetrievalSplit(
        language=language,
        queries=queries,
        kinds=["bare"] * 8,
        unseen_type=[False] * 8,
        document_ids=[f"{language}-{i}" for i in range(8)],
        titles=local,
        english_titles=[f"{word} {i}" for i, word in enumerate(WORDS)],
        gains=[{i: 3, (i + 1) % 8: 1} for i in range(8)],
        hard_negatives=[[(i + 2) % 8, (i + 5) % 8] for i in range(8)],
    )


@pytest.fixture
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return build_model()


@pytest.fixture
def splits(model: LiraModel, tmp_path: Path) -> list[StreamSplit]:
    cache = StreamCache(tmp_path / "streams")
    return [cache_split(model, cache, make_split(language, offset)) for offset, language in enumerate(("vi", "th"))]


def test_a_table_gives_the_streams_of_its_texts(model: LiraModel, splits: list[StreamSplit]) -> None:
    table, texts = splits[0].queries, splits[0].split.queries
    batch = table.batch([1, 0])
    assert batch["candidate_mask"].tolist() == [[True, True, False, False], [False] * 4]
    expected = model.encode_streams([texts.candidates[1][1]], "english", "query")[0]
    torch.testing.assert_close(batch["english_states"][0, 1], expected, atol=2e-2, rtol=1e-2)  # float16 on disk
    assert (batch["english_states"][1] == 0).all()
    assert batch["critic_scores"][0, 0].tolist() == list(SCORES)
    assert batch["critic_scores"][1].isnan().all()
    assert batch["language_ids"].tolist() == [1, 1]


def test_dropping_the_english_path_leaves_the_rest(splits: list[StreamSplit]) -> None:
    full = splits[0].queries.batch([1, 2, 3])
    dropped = splits[0].queries.batch([1, 2, 3], np.array([True, False, True]))
    assert dropped["candidate_mask"].any(1).tolist() == [True, False, True]
    torch.testing.assert_close(full["multilingual_states"], dropped["multilingual_states"])
    torch.testing.assert_close(full["english_states"][0], dropped["english_states"][0])


def test_every_batch_holds_one_language_and_every_epoch_another_order() -> None:
    sampler = LanguageSampler([range(10), range(10, 17)], batch_size=3, seed=5)
    order = list(sampler)
    assert len(order) == len(sampler) == 9 + 6
    for start in range(0, len(order), 3):
        assert len({row >= 10 for row in order[start : start + 3]}) == 1
    assert order == list(LanguageSampler([range(10), range(10, 17)], 3, 5))
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_a_retrieval_batch_holds_its_positives_with_their_gains(splits: list[StreamSplit]) -> None:
    dataset = QueryRows(splits)
    sampler = LanguageSampler(dataset.groups(), 4, seed=0)
    collate = RetrievalCollator(splits, 2, 1, english_path_dropout=0.0, english_titles=1.0, sampler=sampler)
    items = [dataset[index] for index in list(sampler)[:4]]
    batch = collate(items)
    gains = batch["gains"]
    assert gains.shape == (4, len(batch["document_language_ids"]))
    assert (gains == 3).sum(1).tolist() == [1] * 4
    assert (gains == 1).sum(1).tolist() == [1] * 4
    again = collate(items)
    assert all(torch.equal(batch[name].nan_to_num(), again[name].nan_to_num()) for name in batch)
    english_id = splits[0].english.language_ids[0]
    assert set(batch["document_language_ids"].tolist()) == {english_id}


def test_stage_one_learns_on_every_pair_and_only_arca(model: LiraModel, splits: list[StreamSplit]) -> None:
    rows = PairRows(splits)
    assert len(rows) == 2 * (6 + 8)
    stage = ArcaStage(model, {"arca": 1e-3}, ArcaWeights())
    output = stage(**rows.collate([rows[i] for i in range(len(rows))]))
    output["loss"].backward()
    assert set(output) == {"loss", "policy", "anchor", "geometry", "entropy"}
    learning = {name for name, value in model.named_parameters() if value.grad is not None}
    assert learning
    assert all(name.startswith("arca.") for name in learning)


def test_stage_two_leaves_backbones_and_actor_alone(model: LiraModel, splits: list[StreamSplit]) -> None:
    dataset = QueryRows(splits)
    sampler = LanguageSampler(dataset.groups(), 4, seed=0)
    collate = RetrievalCollator(splits, 2, 1, 0.3, 0.5, sampler)
    LasrStage(model, LasrOptions().learning_rates, LasrWeights())(**collate([dataset[i] for i in range(4)]))[
        "loss"
    ].backward()
    learning = {name for name, value in model.named_parameters() if value.grad is not None}
    assert any(name.startswith("lasr.") for name in learning)
    assert not any(name.startswith(("multilingual_encoder.", "english_encoder.", "arca.actor.")) for name in learning)


def test_learning_rates_go_by_the_longest_name_and_the_rest_is_frozen(model: LiraModel) -> None:
    stage = ArcaStage(model, {"lasr": 1e-5, "lasr.gate": 1e-3, "arca.adaptor": 1e-3, "lasr.norm": 0.0}, ArcaWeights())
    groups = {group["lr"]: {id(p) for p in group["params"]} for group in stage.parameter_groups()}
    assert set(groups) == {1e-5, 1e-3}
    named = dict(model.named_parameters())
    assert id(named["lasr.gate.output.weight"]) in groups[1e-3]
    assert id(named["lasr.residual.weight"]) in groups[1e-5]
    assert not named["lasr.norm.weight"].requires_grad
    assert not named["arca.multilingual_projection.weight"].requires_grad


def test_training_improves_what_it_trains_on_and_logs_every_term(
    model: LiraModel, splits: list[StreamSplit], tmp_path: Path
) -> None:
    before = validation_scores(model, splits)["ndcg@10"]
    run_stage("arca", model, splits, splits, tmp_path, options=ArcaOptions(epochs=2, batch_size=8))
    rates = {"arca.adaptor": 1e-2, "lasr": 1e-2}
    options = LasrOptions(epochs=12, batch_size=4, learning_rates=rates, patience=12)
    log = run_stage("lasr", model, splits, splits, tmp_path, options=options)
    assert validation_scores(model, splits)["ndcg@10"] > before + 0.05
    assert any({"loss", "loss_ndcg", "loss_hinge", "loss_mean_variance"} <= set(entry) for entry in log)
    assert sum("eval_ndcg@10" in entry for entry in log) >= 2


def test_the_best_epoch_is_kept_even_if_it_is_none(
    model: LiraModel, splits: list[StreamSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter(range(100, 0, -1))
    monkeypatch.setattr(trainer_module, "validation_scores", lambda *_: {"ndcg@10": next(falling) / 100})
    start = {name: value.clone() for name, value in model.state_dict().items()}
    run_stage("lasr", model, splits, splits, tmp_path, options=LasrOptions(epochs=4, batch_size=4, patience=2))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, start[name], msg=name)


def test_a_finished_stage_is_read_not_repeated(
    build_model: Callable[..., LiraModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(seed: int) -> tuple[LiraModel, list]:
        torch.manual_seed(0)
        model = build_model()
        cache = StreamCache(tmp_path / "streams")
        streams = [cache_split(model, cache, make_split("vi", 0))]
        return model, run_stage("arca", model, streams, streams, tmp_path, seed, ArcaOptions(epochs=1, batch_size=8))

    first, log = trained(0)
    monkeypatch.setattr(trainer_module.LiraTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    second, again = trained(0)
    assert log == again
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name])


def test_an_interrupted_stage_goes_on_and_ends_as_an_uninterrupted_one(
    build_model: Callable[..., LiraModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = LasrOptions(epochs=3, batch_size=4, patience=3)

    def train(folder: str) -> LiraModel:
        torch.manual_seed(0)
        model = build_model()
        cache = StreamCache(tmp_path / "streams")
        streams = [cache_split(model, cache, make_split(language, i)) for i, language in enumerate(("vi", "th"))]
        run_stage("lasr", model, streams, streams, tmp_path / folder, options=options)
        return model

    whole = train("whole")
    real, calls = trainer_module.validation_scores, []

    def interrupt(*arguments: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3:  # the start, the first epoch, then Ctrl-C while the second is scored
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(trainer_module, "validation_scores", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train("cut")
    monkeypatch.setattr(trainer_module, "validation_scores", real)
    resumed = train("cut")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, resumed.state_dict()[name], msg=name)


def test_no_translation_at_all_is_one_clear_error(model: LiraModel, splits: list[StreamSplit], tmp_path: Path) -> None:
    split = make_split("vi", 0)
    bare = Texts(split.queries.texts, split.queries.languages, [[]] * 8, [[]] * 8)
    alone = cache_split(model, StreamCache(tmp_path), RetrievalSplit(**{**vars(split), "queries": bare}))
    with pytest.raises(LiraError, match="lower batch_size"):
        run_stage("lasr", model, [alone], [alone], tmp_path, options=LasrOptions(batch_size=9))


def test_cached_and_direct_embeddings_agree(model: LiraModel, splits: list[StreamSplit]) -> None:
    texts = splits[0].split.queries
    direct = model.encode_query(texts.texts, texts.languages, texts.candidates, texts.scores)
    cached = embed_table(model, splits[0].queries)
    torch.testing.assert_close(direct, cached, atol=3e-3, rtol=0)
    assert retrieval_ndcg(model, splits[0]).shape == (8,)


def test_the_log_is_json_on_disk(model: LiraModel, splits: list[StreamSplit], tmp_path: Path) -> None:
    log = run_stage("arca", model, splits, splits, tmp_path, options=ArcaOptions(epochs=1, batch_size=8))
    (path,) = tmp_path.glob("arca-*/log.json")
    assert json.loads(path.read_text()) == log
    assert not (path.parent / "checkpoints").exists()
