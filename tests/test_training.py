"""Both stages on a tiny model: batches, what learns, what is logged, what survives an interruption."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import disturb
from tiny_corpus import QUIET, SCORES, make_split
from transformers import TrainingArguments

from modeling_lira import LiraError, LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation.embedded import embed_split, embed_table, retrieval_ndcg
from modeling_lira.training import trainer as trainer_module
from modeling_lira.training.batches import (
    LanguageSampler,
    PairCollator,
    PairRows,
    PairSampler,
    QueryRows,
    RetrievalCollator,
)
from modeling_lira.training.callbacks import TowardsStart
from modeling_lira.training.losses import geometry_loss, sampled_actions
from modeling_lira.training.options import ArcaOptions, ArcaWeights, LasrOptions, LasrWeights
from modeling_lira.training.resumable import run_stage
from modeling_lira.training.stages import ArcaStage, LasrStage, frozen_embedding
from modeling_lira.training.trainer import TermTrainer, average_with_start, trained_parts
from modeling_lira.training.validation import validation_scores


@pytest.fixture
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return build_model()


@pytest.fixture
def splits(model: LiraModel, tmp_path: Path) -> list[SplitTables]:
    cache = StreamCache(tmp_path / "streams")
    return [cache_split(model, cache, make_split(language, offset)) for offset, language in enumerate(("vi", "th"))]


def test_a_table_gives_the_streams_of_its_texts(model: LiraModel, splits: list[SplitTables]) -> None:
    table, texts = splits[0].queries, splits[0].split.queries
    batch = table.batch(np.array([1, 0]))
    assert batch["candidate_mask"].tolist() == [[True, True, False, False], [False] * 4]
    expected = model.encode_streams([texts.candidates[1][1]], "english", "query")[0]
    torch.testing.assert_close(batch["english_states"][0, 1], expected, atol=2e-2, rtol=1e-2)  # float16 on disk
    assert (batch["english_states"][1] == 0).all()
    assert batch["critic_scores"][0, 0].tolist() == list(SCORES)
    assert batch["critic_scores"][1].isnan().all()
    assert batch["language_ids"].tolist() == [1, 1]


def test_replaced_candidates_leave_the_rest(splits: list[SplitTables]) -> None:
    table, index = splits[0].queries, np.array([1, 2, 3])
    full, rows = table.batch(index), table.rows[index].copy()
    rows[1] = -1
    dropped = table.batch(index, rows)
    assert dropped["candidate_mask"].any(1).tolist() == [True, False, True]
    torch.testing.assert_close(full["multilingual_states"], dropped["multilingual_states"])
    torch.testing.assert_close(full["english_states"][0], dropped["english_states"][0])


def test_every_batch_holds_one_language_and_one_kind_of_titles_and_every_epoch_another_order() -> None:
    sampler = LanguageSampler([range(10), range(10, 17)], batch_size=3, english_titles=0.5, seed=5)
    order = list(sampler)
    assert len(order) == len(sampler) == 9 + 6
    kinds = [{(row % 17 >= 10, row >= 17) for row in order[start : start + 3]} for start in range(0, len(order), 3)]
    assert all(len(kind) == 1 for kind in kinds)
    assert {english for ((_, english),) in kinds} == {True, False}
    assert order == list(LanguageSampler([range(10), range(10, 17)], 3, 0.5, 5))
    sampler.set_epoch(1)
    assert list(sampler) != order


def collator(splits: list[SplitTables], batch_size: int = 4, **options: object) -> tuple[RetrievalCollator, QueryRows]:
    rows = QueryRows(splits)
    chosen = LasrOptions(batch_size=batch_size, **options)
    return RetrievalCollator(splits, chosen, LanguageSampler(rows.groups(), batch_size, 0.5, seed=0)), rows


def test_a_retrieval_batch_holds_documents_with_their_judgements(splits: list[SplitTables]) -> None:
    collate, rows = collator(splits, positives=2, negatives=1, **QUIET)
    batch = collate([rows[len(rows) + 8 + index] for index in range(4)])  # Thai queries, English titles
    ids = batch["document_ids"].tolist()
    assert ids == sorted(set(ids))
    assert batch["group"].tolist() == [3]
    for index in range(4):
        judged = dict(zip(batch["relevant"][index].tolist(), batch["grades"][index].tolist(), strict=True))
        assert judged == {2**24 + index: 3.0, 2**24 + (index + 1) % 8: 1.0}
        assert set(judged) <= set(ids)
    assert set(batch["document_language_ids"].tolist()) == {int(splits[0].english.language_ids[0])}
    again = collate([rows[len(rows) + 8 + index] for index in range(4)])
    assert all(torch.equal(batch[name].nan_to_num(), again[name].nan_to_num()) for name in batch)


def test_what_is_drawn_for_a_query_does_not_depend_on_its_batch(splits: list[SplitTables]) -> None:
    collate, rows = collator(splits, english_path_dropout=0.5, candidate_noise=0.5, language_dropout=0.5)
    whole = collate([rows[index] for index in range(4)])
    halves = [collate([rows[index] for index in part]) for part in ((0, 1), (2, 3))]
    for name in ("query_candidate_mask", "query_english_states", "query_language_ids", "other_candidate"):
        assert torch.equal(whole[name], torch.cat([half[name] for half in halves]))
    assert set(whole["document_ids"].tolist()) == {row for half in halves for row in half["document_ids"].tolist()}
    dropped = {
        int(row): bool(mask.any())
        for row, mask in zip(whole["document_ids"], whole["document_candidate_mask"], strict=True)
    }
    for half in halves:
        for row, mask in zip(half["document_ids"], half["document_candidate_mask"], strict=True):
            assert dropped[int(row)] == bool(mask.any())


def test_the_other_candidate_is_one_that_is_there(splits: list[SplitTables]) -> None:
    collate, rows = collator(splits, english_path_dropout=0.4, candidate_noise=0.5)
    batch = collate([rows[index] for index in range(8)])
    mask, other = batch["query_candidate_mask"], batch["other_candidate"]
    assert not (other & ~mask).any()
    assert (other.sum(1) == mask.any(1).long()).all()


def test_candidates_of_another_query_carry_no_scores(splits: list[SplitTables]) -> None:
    collate, rows = collator(splits, **{**QUIET, "candidate_noise": 1.0})
    batch = collate([rows[index] for index in (1, 2, 3)])
    untouched = splits[0].queries.batch(np.array([1, 2, 3]))
    changed = [
        not torch.equal(a, b) for a, b in zip(batch["query_english_states"], untouched["english_states"], strict=True)
    ]
    assert any(changed)
    for index, has_changed in enumerate(changed):
        assert bool(batch["query_critic_scores"][index].isnan().all()) >= has_changed


def test_stage_one_learns_on_every_pair_and_only_arca(model: LiraModel, splits: list[SplitTables]) -> None:
    rows = PairRows(splits)
    assert len(rows) == 2 * (6 + 8)
    stage = ArcaStage(model, {"arca": 1e-3}, ArcaWeights())
    collate = PairCollator(rows.tables, PairSampler(len(rows), 8, seed=0))
    output = stage(**collate([rows[i] for i in range(len(rows))]))
    output["loss"].backward()
    assert set(output) == {"loss", "policy", "anchor", "geometry", "critic", "entropy"}
    learning = {name for name, value in model.named_parameters() if value.grad is not None}
    assert learning
    assert all(name.startswith("arca.") for name in learning)


def arca_batch(splits: list[SplitTables]) -> dict[str, torch.Tensor]:
    rows = PairRows(splits)
    collate = PairCollator(rows.tables, PairSampler(len(rows), 8, seed=0))
    return collate([rows[row] for row in range(len(rows))])


@pytest.mark.parametrize("term", ["policy", "anchor", "geometry", "critic", "entropy"])
def test_stage_one_is_the_weighted_sum_of_its_terms_less_the_entropy(
    term: str, model: LiraModel, splits: list[SplitTables]
) -> None:
    disturb(model)
    weights = ArcaWeights(eta=0.7, geometry=3.0, critic=0.4, entropy=0.2)
    output = ArcaStage(model, {"arca": 1e-3}, weights)(**arca_batch(splits))
    signed = {"policy": 1.0, "anchor": 0.7, "geometry": 3.0, "critic": 0.4, "entropy": -0.2}
    assert float(output[term]) != 0
    expected = sum(weight * float(output[name]) for name, weight in signed.items())
    assert float(output["loss"]) == pytest.approx(expected, abs=1e-5)


def test_the_entropy_bonus_makes_the_policy_less_sure(model: LiraModel, splits: list[SplitTables]) -> None:
    nothing_else = dict.fromkeys(("alpha", "beta", "gamma", "delta", "eta", "geometry"), 0.0)
    stage = ArcaStage(model, {"arca.actor": 1e-3}, ArcaWeights(**nothing_else, entropy=1.0))
    batch = arca_batch(splits)
    optimizer = torch.optim.SGD(stage.parameter_groups(), lr=0.1)
    before = stage(**batch)
    before["loss"].backward()
    for group in optimizer.param_groups:
        group["lr"] = 1.0
    optimizer.step()
    assert float(stage(**batch)["entropy"]) > float(before["entropy"]) + 1e-4


def test_both_paths_keep_their_backbones_geometry(model: LiraModel, splits: list[SplitTables]) -> None:
    disturb(model)
    batch, arca = arca_batch(splits), model.arca
    with torch.no_grad():
        geometry = ArcaStage(model, {"arca": 1e-3}, ArcaWeights())(**batch)["geometry"]
        output = arca(
            batch["multilingual_states"], batch["english_states"], batch["candidate_mask"], batch["critic_scores"]
        )
        rows, actions = torch.arange(len(batch["uniform"])), sampled_actions(output.policy_logits, batch["uniform"])
        english = geometry_loss(
            output.candidate_embeddings[rows, actions],
            frozen_embedding(arca.english_projection.centre, batch["english_states"][rows, actions]),
        )
        multilingual = geometry_loss(
            output.multilingual_embedding,
            frozen_embedding(arca.multilingual_projection.centre, batch["multilingual_states"]),
        )
    assert min(float(english), float(multilingual)) > 1e-4
    assert float(geometry) == pytest.approx(float(english + multilingual), abs=1e-6)


def test_the_queues_remember_training_alone(model: LiraModel, splits: list[SplitTables]) -> None:
    collate, rows = collator(splits, objective="joint", doc_queue=100, corr_queue=10)
    stage = LasrStage(model, collate.options, 16).eval()
    batch = collate([rows[row] for row in range(4)])
    stage(**batch)
    assert len(stage.doc_queue) == len(stage.corr_queue) == 0
    stage.train()(**batch)
    assert len(stage.doc_queue) and len(stage.corr_queue)


def test_stage_two_leaves_backbones_and_the_critics_map_alone(model: LiraModel, splits: list[SplitTables]) -> None:
    collate, rows = collator(splits)
    LasrStage(model, LasrOptions(), 16)(**collate([rows[i] for i in range(4)]))["loss"].backward()
    learning = {name for name, value in model.named_parameters() if value.grad is not None}
    assert any(name.startswith("lasr.") for name in learning) and "arca.actor.preference" in learning
    frozen = ("multilingual_encoder.", "english_encoder.", "arca.critic_map.")
    assert not any(name.startswith(frozen) for name in learning)


TERMS = {
    "retrieval": {"ndcg", "contrastive", "hinge", "mean_variance", "consistency", "policy"},
    "ranking": {"correlation", "mean_variance", "consistency"},
    "joint": {"ndcg", "contrastive", "hinge", "mean_variance", "consistency", "correlation", "policy"},
}


@pytest.mark.parametrize("objective", TERMS)
def test_every_objective_has_its_terms_and_fills_its_queues(
    objective: str, model: LiraModel, splits: list[SplitTables]
) -> None:
    weights = LasrWeights(hinge=0.5, consistency=0.1)
    collate, rows = collator(splits, objective=objective, weights=weights, doc_queue=100, corr_queue=10)
    stage = LasrStage(model, collate.options, 16).train()
    outputs = [stage(**collate([rows[index + start] for index in range(4)])) for start in (0, 4, 0)]
    assert all(set(output) == {"loss", *TERMS[objective]} for output in outputs)
    assert all(output["loss"].isfinite() for output in outputs)
    assert 0 < len(stage.doc_queue) <= 8
    assert len(stage.corr_queue) == (0 if objective == "retrieval" else 10)


def test_queued_documents_count_as_what_they_are(model: LiraModel, splits: list[SplitTables]) -> None:
    """A batch's loss with all eight documents in the batch equals that with some of them in the queue."""
    options = {"weights": LasrWeights(mean_variance=0.0), **QUIET}
    collate, rows = collator(splits, **options, doc_queue=100, negatives=0)
    everything, _ = collator(splits, **options, doc_queue=100, negatives=8)
    stage = LasrStage(model, collate.options, 16).train()
    with torch.no_grad():
        stage(**everything([rows[index] for index in range(8)]))
        assert len(stage.doc_queue) == 8
        queued = stage(**collate([rows[index] for index in range(3)]))["ndcg"]
        alone = LasrStage(model, collate.options, 0)(**collate([rows[index] for index in range(3)]))["ndcg"]
        batch = everything([rows[index] for index in range(8)])
        for name in list(batch):
            if name.startswith("query_") or name in ("relevant", "grades", "other_candidate", "uniform"):
                batch[name] = batch[name][:3]
        batch |= {"pair_documents": torch.zeros(3, 0, dtype=torch.long), "pair_targets": torch.zeros(3, 0)}
        full = LasrStage(model, collate.options, 0)(**batch)["ndcg"]
    assert queued.item() == pytest.approx(full.item(), abs=1e-6)
    assert alone.item() != pytest.approx(full.item(), abs=1e-4)


def test_truncated_embeddings_are_trained_too(model: LiraModel, splits: list[SplitTables]) -> None:
    collate, rows = collator(splits, matryoshka=(16,))
    stage = LasrStage(model, collate.options, 0).eval()
    batch = collate([rows[index] for index in range(4)])
    plain = LasrStage(model, LasrOptions(batch_size=4), 0).eval()
    both, full = stage(**batch), plain(**batch)
    assert both["ndcg"].item() != pytest.approx(full["ndcg"].item(), abs=1e-6)
    assert both.keys() == full.keys()


def test_learning_rates_go_by_the_longest_name_and_the_rest_is_frozen(model: LiraModel) -> None:
    stage = ArcaStage(model, {"lasr": 1e-5, "lasr.gate": 1e-3, "arca.adaptor": 1e-3, "lasr.norm": 0.0}, ArcaWeights())
    groups = {group["lr"]: {id(p) for p in list(group["params"])} for group in stage.parameter_groups()}
    assert set(groups) == {1e-5, 1e-3}
    named = dict(model.named_parameters())
    assert id(named["lasr.gate.output.weight"]) in groups[1e-3]
    assert id(named["lasr.residual.weight"]) in groups[1e-5]
    assert not named["lasr.norm.weight"].requires_grad
    assert not named["arca.multilingual_projection.weight"].requires_grad


def test_a_weight_may_be_named_by_itself_and_a_backbone_stays_frozen(model: LiraModel) -> None:
    rates = {"arca.multilingual_projection.weight": 1e-3, "multilingual_encoder": 1e-2}
    stage = ArcaStage(model, rates, ArcaWeights())
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learning == ["arca.multilingual_projection.weight"]
    assert [group["lr"] for group in stage.parameter_groups()] == [1e-3]


def test_training_improves_what_it_trains_on_and_logs_every_term(
    model: LiraModel, splits: list[SplitTables], tmp_path: Path
) -> None:
    before = validation_scores(model, splits)["ndcg@10_english_titles"]
    run_stage("arca", model, splits, splits, tmp_path, options=ArcaOptions(epochs=2, batch_size=8))
    rates = {"arca.adaptor": 1e-2, "lasr": 1e-2}
    options = LasrOptions(epochs=12, batch_size=4, learning_rates=rates, patience=12, **QUIET)
    log = run_stage("lasr", model, splits, splits, tmp_path, options=options)
    assert validation_scores(model, splits)["ndcg@10_english_titles"] > before + 0.05
    terms = {"loss", "loss_ndcg", "loss_contrastive", "loss_mean_variance", "loss_policy"}
    assert any(terms <= set(entry) for entry in log)
    assert sum("eval_ndcg@10" in entry for entry in log) >= 2


def test_the_best_epoch_is_kept_even_if_it_is_none(
    model: LiraModel, splits: list[SplitTables], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter(range(100, 0, -1))
    monkeypatch.setattr(trainer_module, "validation_scores", lambda *_: {"score": next(falling) / 100})
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


def test_a_shop_with_fewer_queries_than_a_batch_trains_on_them(
    splits: list[SplitTables], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = QueryRows(splits)
    assert rows.sampler(LasrOptions(), 0).batch_size == 8 == len(rows.sampler(LasrOptions(), 0)) // 2
    assert "batches of 8 instead of 128: there are no more than 8 training queries of a language" in caplog.text
    uneven = QueryRows(splits)
    uneven.pairs = uneven.pairs[:11]
    assert uneven.sampler(LasrOptions(), 0).batch_size == 8 and "fill no batch of 8" in caplog.text
    uneven.pairs = []
    with pytest.raises(LiraError, match="0 training queries of a language are too few to train on"):
        uneven.sampler(LasrOptions(), 0)


def test_cached_and_direct_embeddings_agree(model: LiraModel, splits: list[SplitTables]) -> None:
    texts = splits[0].split.queries
    direct = model.encode_query(texts.texts, texts.languages, texts.candidates, texts.scores)
    cached = embed_table(model, splits[0].queries)
    torch.testing.assert_close(direct, cached, atol=3e-3, rtol=0)
    assert retrieval_ndcg(model, splits[0]).shape == (8,)


def test_the_log_is_json_on_disk(model: LiraModel, splits: list[SplitTables], tmp_path: Path) -> None:
    log = run_stage("arca", model, splits, splits, tmp_path, options=ArcaOptions(epochs=1, batch_size=8))
    (path,) = tmp_path.glob("arca-*/log.json")
    assert json.loads(path.read_text()) == log
    assert not (path.parent / "checkpoints").exists()


def test_correlations_of_graded_pairs(model: LiraModel, splits: list[SplitTables]) -> None:
    embedded = embed_split(model, splits[0])
    predicted, wanted = embedded.graded_pairs()
    assert wanted.tolist() == pytest.approx([1.0, 0.4, 0.0] * 8)
    queries, documents = embedded.queries[True], embedded.documents[False]
    assert predicted[4].item() == pytest.approx(float(queries[1] @ documents[2]), abs=1e-6)
    linear, ranked = embedded.correlations()
    assert linear == pytest.approx(np.corrcoef(predicted, wanted)[0, 1], abs=1e-6)
    assert -1 <= ranked <= 1


def test_decay_pulls_towards_the_start(model: LiraModel) -> None:
    stage = LasrStage(model, LasrOptions(learning_rates={"lasr.gate": 0.01, "lasr.leave": 0.02}), 16)
    callback = TowardsStart(stage, decay=10.0, exempt=["lasr.gate.output"])
    start = {name: value.clone() for name, value in trained_parts(model).items()}
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter.add_(1.0)
    optimizer = torch.optim.SGD(stage.parameter_groups(), lr=1.0)
    callback.on_optimizer_step(None, None, None, optimizer=optimizer)
    for name, left in (
        ("lasr.gate.hidden.bias", 0.9), ("lasr.gate.output.bias", 1.0), ("lasr.leave.bias", 0.8),
        ("lasr.norm.bias", 1.0),
    ):  # fmt: skip
        moved = trained_parts(model)[name] - start[name]
        torch.testing.assert_close(moved, torch.full_like(moved, left), atol=1e-5, rtol=0)


def test_average_with_the_start(model: LiraModel) -> None:
    start = {name: value.clone() for name, value in trained_parts(model).items()}
    backbone = model.multilingual_encoder.state_dict()
    with torch.no_grad():
        for parameter in model.lasr.parameters():
            parameter.add_(1.0)
    average_with_start(model, start, 0.3, ["lasr.gate"])
    for name, left in (("lasr.leave.bias", 0.7), ("lasr.gate.hidden.bias", 1.0)):
        moved = trained_parts(model)[name] - start[name]
        torch.testing.assert_close(moved, torch.full_like(moved, left), atol=1e-5, rtol=0)
    assert all(value.equal(backbone[name]) for name, value in model.multilingual_encoder.state_dict().items())


def test_a_full_disk_under_a_checkpoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("unexpected pos 120512 vs 120400")  # what torch makes of it

    monkeypatch.setattr("transformers.Trainer._save_checkpoint", full)
    trainer = object.__new__(TermTrainer)
    trainer.args = TrainingArguments(output_dir="run")
    with pytest.raises(LiraError, match="cannot write a checkpoint to run: unexpected pos"):
        trainer._save_checkpoint(torch.nn.Identity(), None)
