"""The losses of both stages from their terms; every weight and every switch changes what it says."""

import copy
from collections.abc import Callable

import pytest
import torch
from conftest import disturb
from tiny_corpus import QUIET, make_split
from torch.nn import functional as F

from modeling_lira import LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.training import gathering
from modeling_lira.training.batches import (
    LanguageSampler,
    PairCollator,
    PairRows,
    PairSampler,
    QueryRows,
    RetrievalCollator,
)
from modeling_lira.training.losses import geometry_loss, sampled_actions
from modeling_lira.training.options import ArcaWeights, LasrOptions, LasrWeights
from modeling_lira.training.stages import ArcaStage, LasrStage, _truncated, frozen_embedding
from modeling_lira.training.validation import validation_scores


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return disturb(build_model())


@pytest.fixture(scope="module")
def splits(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> list[SplitTables]:
    cache = StreamCache(tmp_path_factory.mktemp("streams"))
    return [cache_split(model, cache, make_split(code, number)) for number, code in enumerate(("vi", "th"))]


@pytest.fixture(scope="module")
def pairs(splits: list[SplitTables]) -> dict[str, torch.Tensor]:
    """A batch of stage 1."""
    rows = PairRows(splits)
    return PairCollator(rows.tables, PairSampler(len(rows), 8, seed=0))([rows[row] for row in range(8)])


def stage_of(model: LiraModel, documents: int = 0, **options: object) -> LasrStage:
    return LasrStage(model, LasrOptions(batch_size=4, **{**QUIET, **options}), documents).eval()


def batch_of(splits: list[SplitTables], chosen: list[int], **options: object) -> dict[str, torch.Tensor]:
    rows = QueryRows(splits)
    wanted = LasrOptions(batch_size=4, **{**QUIET, **options})
    return RetrievalCollator(splits, wanted, LanguageSampler(rows.groups(), 4, 0.5, 0))([rows[row] for row in chosen])


# ---------------------------------------------------------------- stage 1


@pytest.mark.parametrize("name", ["eta", "geometry", "critic", "entropy"])
def test_every_weight_of_stage_one_adds_its_term_and_entropy_is_a_bonus(model, pairs, name):
    nothing = {"eta": 0.0, "geometry": 0.0, "critic": 0.0, "entropy": 0.0}
    plain = ArcaStage(model, {"arca": 1e-3}, ArcaWeights(**nothing))(**pairs)
    weighed = ArcaStage(model, {"arca": 1e-3}, ArcaWeights(**{**nothing, name: 0.7}))(**pairs)
    term = plain["anchor" if name == "eta" else name]
    assert term > 1e-4 and plain["loss"].item() == pytest.approx(plain["policy"].item(), abs=1e-6)
    gained = -0.7 * term if name == "entropy" else 0.7 * term
    assert (weighed["loss"] - plain["loss"]).item() == pytest.approx(gained.item(), abs=1e-5)


def test_the_geometry_of_both_paths_is_that_of_the_frozen_encoders(model, pairs):
    stage = ArcaStage(model, {"arca": 1e-3}, ArcaWeights())
    batch = {name: value for name, value in pairs.items() if name != "uniform"}
    states = batch["multilingual_states"], batch["english_states"]
    output = model.arca(*states, batch["candidate_mask"], batch["critic_scores"])
    rows, actions = torch.arange(8), sampled_actions(output.policy_logits, pairs["uniform"])
    chosen = states[1][rows, actions].mean(1) - model.arca.english_projection.centre
    english = geometry_loss(output.candidate_embeddings[rows, actions], F.normalize(chosen, dim=-1))
    centred = states[0].mean(1) - model.arca.multilingual_projection.centre
    multilingual = geometry_loss(output.multilingual_embedding, F.normalize(centred, dim=-1))
    assert english > 1e-4 and multilingual > 1e-4
    assert stage(**pairs)["geometry"].item() == pytest.approx((english + multilingual).item(), abs=1e-6)


def test_the_critics_weights_reach_the_reward(model, pairs):
    """The policy's loss is linear in the rewards: it doubles with all of their weights."""
    losses = [
        ArcaStage(model, {"arca": 1e-3}, ArcaWeights(alpha=a, beta=b, gamma=g, delta=d))(**pairs)["policy"].item()
        for a, b, g, d in ((1, 0, 0, 0), (2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1), (1, 1, 0, 1))
    ]
    assert losses[1] == pytest.approx(2 * losses[0], abs=1e-6) and abs(losses[0]) > 1e-5
    assert losses[4] == pytest.approx(losses[0] + losses[2] + losses[3], abs=1e-5)


def test_frozen_embeddings_are_centred_unit_means():
    states, centre = torch.randn(2, 3, 4), torch.randn(4)
    torch.testing.assert_close(frozen_embedding(centre, states), F.normalize(states.mean(1) - centre, dim=-1))


# ---------------------------------------------------------------- stage 2


@pytest.mark.parametrize("name", ["contrastive", "hinge", "mean_variance", "correlation", "consistency", "policy"])
def test_every_weight_of_stage_two_adds_its_term(model, splits, name):
    one = LasrWeights(contrastive=0.1, hinge=0.1, mean_variance=0.1, correlation=0.1, consistency=0.1, policy=0.1)
    more = LasrWeights(**{**vars(one), name: 0.9})
    batch = batch_of(splits, [0, 1, 2, 3], objective="joint")
    first, second = (stage_of(model, objective="joint", weights=weights)(**batch) for weights in (one, more))
    assert first[name].abs() > 1e-5
    assert (second["loss"] - first["loss"]).item() == pytest.approx(0.8 * first[name].item(), rel=1e-3, abs=1e-5)


def test_only_training_fills_the_queues(model, splits):
    options = {"objective": "joint", "doc_queue": 100, "corr_queue": 10}
    batch, stage = batch_of(splits, [0, 1, 2, 3], **options), stage_of(model, 16, **options)
    stage(**batch)
    assert len(stage.doc_queue) == len(stage.corr_queue) == 0
    stage.train()(**batch)
    assert len(stage.doc_queue) > 0 and len(stage.corr_queue) > 0


def test_the_doc_queue_holds_half_of_the_documents_at_most(model):
    assert [stage_of(model, count, doc_queue=100).doc_queue.capacity for count in (16, 1_000)] == [8, 100]


def test_queued_documents_are_no_part_of_the_mean_and_variance(model, splits):
    queued, plain = stage_of(model, 16, doc_queue=100), stage_of(model)
    batch = batch_of(splits, [0, 1], negatives=0)
    queued.train()(**batch_of(splits, [4, 5], negatives=0))
    both = [stage.eval()(**batch) for stage in (queued, plain)]
    assert both[0]["mean_variance"].item() == pytest.approx(both[1]["mean_variance"].item(), abs=1e-7)
    assert both[0]["ndcg"].item() != pytest.approx(both[1]["ndcg"].item(), abs=1e-6)


def test_the_widths_share_the_loss_and_each_is_normalised(model, splits):
    batch = batch_of(splits, [0, 1, 2, 3])
    whole = model.config.embedding_size
    plain, twice = (stage_of(model, matryoshka=widths)(**batch) for widths in ((), (whole,)))
    assert twice["ndcg"].item() == pytest.approx(plain["ndcg"].item(), abs=1e-6)
    torch.testing.assert_close(_truncated(torch.randn(3, 8), 4).norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("name", ["ndcg", "contrastive", "hinge"])
def test_documents_like_a_relevant_one_are_no_negatives_in_any_term(model, splits, name):
    weights = LasrWeights(contrastive=1.0, hinge=1.0, margin=0.5)
    batch = batch_of(splits, [0, 1, 2, 3])
    every, safe = (stage_of(model, weights=weights, safe_negatives=limit)(**batch) for limit in (1.0, 0.01))
    assert every[name].item() > safe[name].item() + 1e-6


def test_the_views_are_one_path_alone_and_another_candidate(model, splits):
    batch = batch_of(splits, [1, 2, 3, 5])
    stage = stage_of(model)
    queries = {name.removeprefix("query_"): value for name, value in batch.items() if name.startswith("query_")}
    without, _, other = stage._views(model.fuse(**queries), queries, batch["other_candidate"])
    alone = model.fuse(queries["multilingual_states"], language_ids=queries["language_ids"])
    torch.testing.assert_close(without, alone.sentence_embedding)
    masked = model.fuse(**{**queries, "candidate_mask": batch["other_candidate"]})
    torch.testing.assert_close(other, masked.sentence_embedding)
    flipped = queries["candidate_mask"] & ~batch["other_candidate"]
    again = list(stage._views(model.fuse(**queries), queries, flipped))[2]
    assert not torch.allclose(again, other)


def test_the_score_of_each_objective(model, splits):
    scores = {name: validation_scores(model, splits, name) for name in ("retrieval", "ranking", "joint")}
    ndcg, spearman = scores["joint"]["ndcg@10"], scores["joint"]["spearman"]
    search = ndcg - scores["joint"]["worst_regret"]
    expected = {"retrieval": search, "ranking": spearman, "joint": (search + spearman) / 2}
    assert {name: values["score"] for name, values in scores.items()} == pytest.approx(expected)
    ways = [value for name, value in scores["joint"].items() if name.startswith("ndcg@10_")]
    assert len(ways) == 8 and ndcg == pytest.approx(sum(ways) / 8)
    regrets = [value for name, value in scores["joint"].items() if name.startswith("regret_")]
    assert scores["joint"]["worst_regret"] == max([0.0, *regrets]) and len(regrets) == 5


# ---------------------------------------------------------------- several processes


def test_the_gradient_of_a_gathered_loss_is_that_of_all_processes(monkeypatch):
    monkeypatch.setattr(gathering, "processes", lambda: 3)
    weight = torch.tensor(2.0, requires_grad=True)
    loss = gathering.summed_gradient(weight**2)
    loss.backward()
    assert (loss.item(), weight.grad.item()) == (4.0, 12.0)


def test_the_actors_reward_is_the_retrieval_margin_of_each_candidate_alone(model, splits):
    """The critic praises another document's title, the reward a relevant one's: REINFORCE makes that more likely."""
    batch = batch_of(splits, [8 * 2 + row for row in (1, 2, 3, 5)])  # English titles
    titles = batch["document_english_states"]
    first = torch.searchsorted(batch["document_ids"], batch["relevant"][:, :1])
    batch["query_english_states"] = torch.cat([titles[first[:, 0]], titles[first[:, 0]].roll(1, 0)], 1)
    batch["query_candidate_mask"] = torch.ones(4, 2, dtype=torch.bool)
    batch["query_critic_scores"] = torch.tensor([2.0, 9.0])[None, :, None].expand(4, 2, 3)
    stage = LasrStage(copy.deepcopy(model), LasrOptions(batch_size=4, learning_rates={"arca.actor": 0.02}, **QUIET), 0)
    stage._task_terms = lambda *_: {}  # nothing else teaches the actor here
    preferred = []
    optimizer = torch.optim.Adam(stage.parameter_groups())
    for step in range(60):
        batch["uniform"] = torch.rand(4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        stage(**batch)["loss"].backward()
        optimizer.step()
        queries = {name.removeprefix("query_"): value for name, value in batch.items() if name.startswith("query_")}
        preferred.append(stage.lira.fuse(**queries).policy_logits.softmax(-1)[:, 0].mean().item())
    assert preferred[-1] > preferred[0] + 0.02
