"""The rivals that a user would pick, by hand, and LiRA's regret for not being the best of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import QUIET, make_split
from tiny_studies import tuned_setting

from eval.report.blocks import regret_block
from eval.studies import baselines
from eval.studies.baselines import LinearHead, best_weight, lexical, reciprocal_rank_fusion, weighted_sum
from eval.studies.conditions import CRITIC, LOCAL, NONE, REFERENCE, UNSEEN
from eval.studies.regret import conditions, measure_regret, payload_of
from eval.studies.setting import Setting
from eval.studies.systems import AS_IT_COMES, SYSTEMS, TUNED_AS_ASKED, WEIGHTED, WHOLE, whole
from modeling_lira import LiraError, LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation.comparison import encoder_alone, translate_then_encode
from modeling_lira.evaluation.names import BM25_ROW, ENCODER, LIRA, TRANSLATE, TUNED, TUNED_WHOLE
from modeling_lira.training.options import LasrOptions


@pytest.fixture(scope="module")
def tables(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> SplitTables:
    return cache_split(build_model(), StreamCache(tmp_path_factory.mktemp("streams")), make_split("vi", 0))


def test_the_weighted_sum_is_of_both_encoders_scores_brought_to_one_scale(tables: SplitTables) -> None:
    fused = weighted_sum(0.5)(tables).scores(True, True)
    first, second = (embed(tables).scores(True, True) for embed in (encoder_alone, translate_then_encode))
    for row in range(len(tables.queries)):
        expected = (first[row] - first[row].mean()) / first[row].std()
        if tables.queries.has_english[row]:
            expected = expected + 0.5 * (second[row] - second[row].mean()) / second[row].std()
        assert torch.allclose(fused[row], expected, atol=1e-4)


@pytest.mark.parametrize("fused", [weighted_sum(2.0), reciprocal_rank_fusion])
def test_fusions_without_a_translation_rank_as_the_encoder_alone(
    fused: Callable[[SplitTables], baselines.Embedded], tables: SplitTables
) -> None:
    alone = encoder_alone(tables)
    for english, candidates in ((True, False), (False, True), (False, False)):
        ways = {"english_titles": english, "with_candidates": candidates}
        assert torch.equal(fused(tables).ndcg(**ways), alone.ndcg(**ways))
    nothing = ~tables.queries.has_english
    assert torch.equal(fused(tables).ndcg()[nothing], alone.ndcg()[nothing])


def test_reciprocal_ranks_by_hand(tables: SplitTables) -> None:
    scores = reciprocal_rank_fusion(tables).scores(True, True)
    both = [embed(tables).scores(True, True).numpy() for embed in (encoder_alone, translate_then_encode)]
    row = int(np.flatnonzero(tables.queries.has_english)[0])
    for document in range(len(tables.split.titles)):
        ranks = [int((values[row] > values[row, document]).sum()) for values in both]
        assert scores[row, document] == pytest.approx(sum(1 / (60 + rank) for rank in ranks))


def test_the_weight_is_the_one_that_finds_most_on_validation(tables: SplitTables) -> None:
    translated = translate_then_encode(tables).scores(True, True).argsort(1, descending=True)[:, 0].tolist()
    alone = encoder_alone(tables).scores(True, True).argsort(1, descending=True)[:, 0].tolist()
    for best, weight in ((translated, max(baselines.WEIGHTS)), (alone, 0.0)):
        split = replace(tables.split, gains=[{document: 3} for document in best])
        rows = [row for row in range(8) if tables.queries.has_english[row]]
        chosen = best_weight([replace(tables, split=split)])
        found = weighted_sum(chosen)(replace(tables, split=split)).ndcg()[rows]
        assert found.mean() >= weighted_sum(weight)(replace(tables, split=split)).ndcg()[rows].mean()


def test_bm25_reads_the_first_translation_for_english_titles_and_the_query_for_its_own(tables: SplitTables) -> None:
    found = lexical(tables)
    rows = np.flatnonzero(tables.queries.has_english)
    assert (
        found.scores(True, True)[rows].argmax(1) == torch.from_numpy(rows)
    ).all()  # "white shirt" in "white shirt 0"
    assert found.ndcg(english_titles=False, with_candidates=False).mean() > 0.5
    assert not found.scores(True, True)[~tables.queries.has_english].any()


def test_a_pulled_head_stays_near_its_start(build_model: Callable[..., LiraModel], tables: SplitTables) -> None:
    options = LasrOptions(epochs=2, batch_size=4, doc_queue=0, corr_queue=0, decay=30.0, start_share=0.5, **QUIET)
    moved = []
    for pulled in (False, True):
        head = baselines.train_head(
            lambda: LinearHead(build_model()), baselines.retrieval_loss, [tables], lambda _: 0.0, options, 0, pulled
        ).head
        moved.append(float((head.linear.weight.detach() - torch.eye(len(head.centre))).abs().max()))  # type: ignore[attr-defined]
    assert 0 < moved[1] < 0.6 * moved[0]


def test_a_head_learns_from_no_other_querys_translation(
    build_model: Callable[..., LiraModel], tables: SplitTables
) -> None:
    def seen(**noise: float) -> list[torch.Tensor]:
        batches = []

        def loss(head: torch.nn.Module, batch: baselines.Batch) -> torch.Tensor:
            batches.append(batch["query_english_states"])
            return baselines.mapping_loss(head, batch)

        options = LasrOptions(epochs=1, batch_size=4, doc_queue=0, corr_queue=0, **{**QUIET, **noise})
        baselines.train_head(lambda: baselines.EnglishMapping(build_model()), loss, [tables], lambda _: 0.0, options, 0)
        return batches

    clean, spoiled = seen(), seen(candidate_noise=0.5, mixed=1.0)
    assert all(map(torch.equal, clean, spoiled))


@pytest.fixture(scope="module")
def setting(backbones: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return tuned_setting(backbones, tmp_path_factory.mktemp("regret"), (0, 1))


def test_regret_measures_every_rival_on_the_encoder_that_it_says(setting: Setting) -> None:
    wanted = (ENCODER, TUNED, TUNED_WHOLE, TRANSLATE, BM25_ROW, WEIGHTED, whole(WEIGHTED))
    path = measure_regret(replace(setting, quick=False), wanted)
    assert path.is_file() and (setting.output / "regret-tuned.png").stat().st_size > 10_000
    states = (AS_IT_COMES, TUNED_AS_ASKED, WHOLE)
    start, half, full = (encoder_alone(setting.tables_of(state)["test"][0]).queries[False] for state in states)
    assert 0 < float((half - start).abs().max()) < float((full - start).abs().max())  # a share of .5
    assert encoder_alone(setting.tables["test"][0]).queries[False].equal(half)  # LiRA's is the tuned one


def test_without_tuning_no_rival_works_on_a_tuned_encoder(setting: Setting) -> None:
    frozen = replace(setting, options=replace(setting.options, tune=None))
    assert frozen.systems([LIRA, TUNED, TUNED_WHOLE, ENCODER, whole(WEIGHTED)]) == [LIRA, ENCODER]
    with pytest.raises(LiraError, match="system 'magic' is unknown"):
        frozen.systems(["magic"])


def test_regret_by_hand(setting: Setting) -> None:
    """LiRA .5 against .3 and .6 on one condition, above all others on the rest."""
    names = conditions(("swap",), (1.0,))
    assert names == [NONE, NONE + UNSEEN, LOCAL, CRITIC, CRITIC + UNSEEN, "lexicon's gloss", REFERENCE, "swap 1"]
    codes = setting.languages
    questions = {code: len(setting.questions[code]) for code in codes}

    def run(value: float, worst: float) -> dict[str, torch.Tensor]:
        return {
            f"{name}/{code}": torch.full((questions[code],), worst if name == REFERENCE else value)
            for name in names
            for code in codes
        }

    closed = {key: value * float("nan") if LOCAL in key else value for key, value in run(0.45, 0.6).items()}
    runs = {LIRA: [run(0.6, 0.4), run(0.6, 0.6)], ENCODER: [run(0.3, 0.3)], TRANSLATE: [closed]}
    payload = payload_of(setting, runs, names)
    assert payload["regret"]["condition"] == REFERENCE
    assert payload["regret"]["mean"] == pytest.approx(0.1)
    rows = payload["conditions"]
    assert rows[REFERENCE]["best rival"] == TRANSLATE and rows[LOCAL]["best rival"] == ENCODER
    assert rows[REFERENCE]["LiRA by seed"] == pytest.approx([0.4, 0.6])
    assert rows[NONE]["behind"]["mean"]["mean"] == pytest.approx(-0.15)
    shown = regret_block({"payload": payload, "seeds": [0, 1], "command": "python -m eval regret"})
    assert f"| {REFERENCE} | 50.0 | {TRANSLATE} | 60.0 | -10.0 (-10.0 … -10.0) |" in shown
    assert f"| {NONE} | 60.0 | {TRANSLATE} | 45.0 | +15.0 (+15.0 … +15.0) |" in shown
    assert "is ahead: +10.0 (+10.0 … +10.0), where the translations are reference" in shown
    assert set(SYSTEMS) >= set(runs)
