"""Which texts make a batch: each option changes what it says, and the seed decides what is drawn."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_corpus import QUIET, make_split

from modeling_lira import LiraModel
from modeling_lira.data.corpus import GLOSS, REFERENCE
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.training.batches import LanguageSampler, PairSampler, QueryRows, RetrievalCollator, _joined
from modeling_lira.training.options import LasrOptions

GROUPS = [range(10), range(10, 17)]
STRIDE = 2**24


@pytest.fixture(scope="module")
def splits(build_model: Callable[..., LiraModel], tmp_path_factory: pytest.TempPathFactory) -> list[SplitTables]:
    model, cache = build_model(), StreamCache(tmp_path_factory.mktemp("streams"))
    return [cache_split(model, cache, make_split(code, number)) for number, code in enumerate(("vi", "th"))]


def batch_of(splits: list[SplitTables], chosen: list[int], seed: int = 0, **options: object) -> dict[str, torch.Tensor]:
    """Collate rows of `QueryRows`; nothing is dropped unless an option says so."""
    rows = QueryRows(splits)
    wanted = LasrOptions(batch_size=4, **{**QUIET, **options})
    return RetrievalCollator(splits, wanted, LanguageSampler(rows.groups(), 4, 0.5, seed))(
        [rows[row] for row in chosen]
    )


def test_the_seed_and_the_epoch_decide_the_order():
    for make in (lambda seed: LanguageSampler(GROUPS, 3, 0.5, seed), lambda seed: PairSampler(30, 4, seed)):
        orders = [list(make(seed)) for seed in (5, 5, 6)]
        assert orders[0] == orders[1] != orders[2]
        later = make(5)
        later.set_epoch(1)
        assert list(later) != orders[0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_batches_that_search_english_titles(share):
    order = list(LanguageSampler(GROUPS, 3, share, seed=0))
    assert len(order) == 15 and {row >= 17 for row in order} == {bool(share)}


def test_the_seed_decides_what_is_drawn_for_a_query(splits):
    drawn = [batch_of(splits, list(range(8)), seed, negatives=1)["document_ids"].tolist() for seed in range(6)]
    assert drawn[0] == batch_of(splits, list(range(8)), 0, negatives=1)["document_ids"].tolist()
    noisy = [batch_of(splits, list(range(8)), seed, english_path_dropout=0.5) for seed in range(6)]
    assert len({str(batch["query_candidate_mask"].tolist()) for batch in noisy}) > 1


@pytest.mark.parametrize(("positives", "negatives", "count"), [(1, 0, 1), (2, 0, 2), (1, 1, 2), (1, 2, 3), (2, 2, 4)])
def test_a_query_brings_its_best_document_and_as_many_others_as_asked_for(splits, positives, negatives, count):
    for row in range(8):
        documents = batch_of(splits, [row], positives=positives, negatives=negatives)["document_ids"].tolist()
        assert len(documents) == count and row in documents
        judged, irrelevant = {row, (row + 1) % 8}, {(row + 2) % 8, (row + 5) % 8}
        assert len(judged & {*documents}) == positives and len(irrelevant & {*documents}) == negatives


@pytest.mark.parametrize(("first", "group", "base"), [(0, 0, 0), (8, 2, STRIDE), (16, 1, 0), (24, 3, STRIDE)])
def test_languages_and_kinds_of_titles_are_searched_apart(splits, first, group, base):
    batch = batch_of(splits, [first, first + 1], positives=1, negatives=0)
    assert batch["group"].tolist() == [group]
    assert batch["document_ids"].tolist() == [base, base + 1]
    assert batch["relevant"].tolist() == [[base, base + 1], [base + 1, base + 2]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_graded_pairs_as_asked_for(splits, count):
    batch = batch_of(splits, [0, 1], objective="joint", pairs=count)
    assert batch["pair_targets"].shape == batch["pair_documents"].shape == (2, count)
    assert {round(target, 3) for target in batch["pair_targets"].flatten().tolist()} <= {1.0, 0.4, 0.0}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_of_what_is_dropped(splits, share):
    rows = [1, 2, 3, 5]  # with candidates
    plain = batch_of(splits, rows)
    assert plain["query_candidate_mask"].any(1).all() and (plain["query_language_ids"] > 0).all()
    assert plain["document_candidate_mask"].any(1).all()
    assert batch_of(splits, rows, english_path_dropout=share)["query_candidate_mask"].any() == (share == 0)
    assert (batch_of(splits, rows, language_dropout=share)["query_language_ids"] > 0).any() == (share == 0)
    assert batch_of(splits, rows, document_path_dropout=share)["document_candidate_mask"].any() == (share == 0)


def test_another_querys_candidates_come_without_their_scores(splits):
    plain, noisy = (batch_of(splits, [1, 2, 3], candidate_noise=noise) for noise in (0.0, 1.0))
    assert not plain["query_critic_scores"][plain["query_candidate_mask"]].isnan().any()
    both = zip(plain["query_english_states"], noisy["query_english_states"], strict=True)
    replaced = torch.tensor([not torch.equal(before, after) for before, after in both])
    assert replaced.any() and noisy["query_critic_scores"][replaced].isnan().all()


def english_of(batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The English streams of the candidates that each query has."""
    pairs = zip(batch["query_english_states"], batch["query_candidate_mask"], strict=True)
    return [states[mask] for states, mask in pairs]


@pytest.mark.parametrize("source", [GLOSS, REFERENCE])
def test_a_poor_or_a_perfect_translation_stands_in_for_the_candidates_without_scores(splits, source):
    batch = batch_of(splits, [0, 1, 2, 3], **{source: 1.0})
    table = splits[0].queries
    expected = torch.from_numpy(table.english[table.others[source][:4, 0]].astype(np.float32))
    for states, wanted in zip(english_of(batch), expected, strict=True):  # the first query has no candidates of its own
        assert torch.equal(states, wanted[None])
    assert batch["query_critic_scores"].isnan().all()


def test_a_mixed_set_has_one_good_candidate_among_strangers_without_scores(splits):
    plain, mixed = (english_of(batch_of(splits, [1, 2, 3, 5], mixed=share)) for share in (0.0, 1.0))
    assert batch_of(splits, [1, 2, 3, 5], mixed=1.0)["query_critic_scores"].isnan().all()
    strange = 0
    for good, states in zip(plain, mixed, strict=True):
        is_good = (states[:, None] == good[None]).all((-1, -2)).any(1)
        assert is_good.any()
        strange += int((~is_good).sum())
    assert strange


def test_a_single_candidate_keeps_its_score_and_may_be_a_strangers(splits):
    rows = [1, 2, 3, 5]
    whole, single = (batch_of(splits, rows, single=share) for share in (0.0, 1.0))
    assert (single["query_candidate_mask"].sum(1) == 1).all() and single["query_candidate_mask"][:, 0].all()
    for number in range(len(rows)):
        kept = single["query_critic_scores"][number, 0]
        scores = whole["query_critic_scores"][number][whole["query_candidate_mask"][number]]
        (position,) = (scores == kept).all(1).nonzero()[0].tolist()
        assert torch.equal(english_of(single)[number][0], english_of(whole)[number][position])
    strange = batch_of(splits, rows, single=1.0, candidate_noise=1.0)
    assert strange["query_candidate_mask"].sum(1).max() == 1 and strange["query_critic_scores"].isnan().all()


def test_scores_are_hidden_whoever_made_the_candidates(splits):
    for share in (0.0, 1.0):
        batch = batch_of(splits, [1, 2, 3, 5], score_dropout=share)
        assert batch["query_critic_scores"][batch["query_candidate_mask"]].isnan().any(-1).all() == bool(share)


def test_a_query_without_another_source_keeps_its_candidates(splits):
    bare = [replace(tables, queries=replace(tables.queries, others={})) for tables in splits]
    assert torch.equal(
        batch_of(bare, [1, 2, 3], gloss=0.5, reference=0.5)["query_english_states"],
        batch_of(bare, [1, 2, 3])["query_english_states"],
    )


def test_candidates_that_fill_up_a_batch_have_no_score_and_are_none():
    parts = [
        {"critic_scores": torch.ones(1, count, 3), "candidate_mask": torch.ones(1, count, dtype=torch.bool)}
        for count in (2, 1)
    ]
    joined = _joined(parts)
    assert joined["candidate_mask"].tolist() == [[True, True], [True, False]]
    assert joined["critic_scores"].isnan().any(-1).tolist() == [[False, False], [False, True]]
