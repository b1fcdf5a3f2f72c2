"""The ablation study: what each system changes, that all of them train, and the numbers of its tables."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import make_split
from torch.nn import functional as F

from eval.studies.ablations import Results, run_ablations, score
from eval.studies.baselines import concatenation
from eval.studies.systems import (
    SYSTEMS,
    WAYS,
    TrainingPlan,
    first_candidate_only,
    without_critic_scores,
    without_translations,
)
from modeling_lira import LiraError, LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation.comparison import encoder_alone, translate_then_encode
from modeling_lira.evaluation.metrics import bootstrap_interval, ndcg
from modeling_lira.evaluation.names import ENCODER, LIRA
from modeling_lira.training.options import ArcaOptions, LasrOptions, TrainingOptions


@pytest.fixture(scope="module")
def tables(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> list[SplitTables]:
    cache = StreamCache(tmp_path_factory.mktemp("streams"))
    return [cache_split(build_model(), cache, make_split(code, row)) for row, code in enumerate(("vi", "th"))]


def means(streams: np.ndarray) -> torch.Tensor:
    return F.normalize(torch.from_numpy(np.asarray(streams, np.float32)).mean(1), dim=-1)


def test_the_encoder_alone_is_the_cosine_of_mean_vectors(tables: list[SplitTables]) -> None:
    table = tables[0]
    queries, titles = means(table.queries.multilingual), means(table.english.multilingual)
    expected = ndcg(queries @ titles.T, table.split.gain_matrix())
    assert torch.equal(encoder_alone(table).ndcg(english_titles=True), expected)


def test_translating_first_uses_the_greedy_candidate_and_finds_nothing_without_one(tables: list[SplitTables]) -> None:
    embedded = translate_then_encode(tables[0])
    table = tables[0].queries
    assert torch.equal(embedded.queries[True][1], means(table.english)[table.rows[1, 0]])
    assert (embedded.queries[True][0] == 0).all()  # query 0 has no candidate


def test_concatenation_without_english_is_the_encoder_alone(tables: list[SplitTables]) -> None:
    both, alone = concatenation(tables[0]), encoder_alone(tables[0])
    for english in (True, False):
        scores_of = both.ndcg(english_titles=english, with_candidates=False)
        assert torch.equal(scores_of, alone.ndcg(english_titles=english, with_candidates=False))


def test_what_the_ablations_take_away(tables: list[SplitTables]) -> None:
    table = tables[0]
    assert np.isnan(without_critic_scores(table).queries.scores).all()
    greedy = first_candidate_only(table).queries.rows
    assert (greedy[:, 0] == table.queries.rows[:, 0]).all()
    assert (greedy[:, 1:] == -1).all()
    nothing = without_translations(table)
    assert not nothing.queries.has_english.any() and not nothing.local.has_english.any()
    assert nothing.english.has_english.all()
    assert table.queries.has_english.any()  # the tables themselves stay


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_trains_and_embeds(
    name: str, build_model: Callable[..., LiraModel], tables: list[SplitTables], tmp_path: Path
) -> None:
    arca = ArcaOptions(epochs=1, batch_size=8)
    lasr = LasrOptions(epochs=1, batch_size=4, doc_queue=8)
    embed, details = SYSTEMS[name].build(TrainingPlan(build_model, tables, tables, arca, lasr, tmp_path), 0)
    columns = score(SYSTEMS[name], embed(tables[0]))
    values = columns["English titles/vi"]
    assert values.shape == (8,) and ((values >= 0) & (values <= 1)).all()
    assert bool(columns["local titles/vi"].isnan().all()) == (not SYSTEMS[name].local_titles)
    assert all(np.isfinite(value) for value in details.values())


def test_means_gains_and_spread_by_hand() -> None:
    def run(lira: float) -> dict[str, torch.Tensor]:
        return {f"{way}/{code}": torch.tensor([lira, lira + 0.2]) for way in WAYS for code in ("vi", "th")}

    runs = {LIRA: [run(0.4), run(0.6)], ENCODER: [run(0.3)]}
    unseen = {"vi": torch.tensor([True, False]), "th": torch.tensor([True, False])}
    results = Results(("vi", "th"), unseen, runs, {LIRA: [{}, {}], ENCODER: [{}]})
    assert results.mean(LIRA, "local titles") == pytest.approx(0.6)
    assert results.mean(LIRA, "local titles", unseen=True) == pytest.approx(0.5)
    assert results.spread(LIRA, "local titles") == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert results.spread(ENCODER, "local titles") == 0.0
    mean, low, high = results.gain("English titles", ENCODER, "English titles")
    assert (mean, low, high) == pytest.approx((0.2, 0.2, 0.2))


def test_wrong_studies_are_named(tmp_path: Path) -> None:
    options = TrainingOptions(corpus=str(tmp_path))
    with pytest.raises(LiraError, match="system 'magic' is unknown"):
        run_ablations(options, tmp_path, tmp_path, [0], ["magic"])
    with pytest.raises(LiraError, match="needs a seed"):
        run_ablations(options, tmp_path, tmp_path, [], [])
    with pytest.raises(LiraError, match="both stages"):
        run_ablations(replace(options, arca=None), tmp_path, tmp_path, [0], [])


def test_a_question_of_several_languages_counts_once_in_the_interval_of_a_gain() -> None:
    codes = ("vi", "th", "id")
    scores = torch.rand(40, generator=torch.Generator().manual_seed(0))
    runs = {LIRA: [{f"{way}/{code}": scores for way in WAYS for code in codes}]}
    runs[ENCODER] = [{key: values * 0 for key, values in runs[LIRA][0].items()}]
    unseen = {code: torch.arange(40) < 20 for code in codes}

    def gain(questions: dict[str, list[str]], language: str | None = None, unseen_types: bool = False) -> tuple:
        results = Results(codes, unseen, runs, {}, questions)
        return results.gain("local titles", ENCODER, "local titles", language, unseen_types)

    shared = {code: [f"q{row}" for row in range(40)] for code in codes}
    apart = {code: [f"{code} {row}" for row in range(40)] for code in codes}
    assert gain(shared) == pytest.approx(gain(shared, "vi"))  # three times the same says no more than once
    assert gain(shared, unseen_types=True) == pytest.approx(gain(shared, "th", unseen_types=True))
    _, *interval = gain(apart)
    assert tuple(interval) == bootstrap_interval(scores.repeat(3))  # as ever, where no question is shared
    assert gain({}) == gain(apart)
    assert interval[1] - interval[0] < 0.7 * (gain(shared)[2] - gain(shared)[1])
