"""What LiRA is compared with, on the same data and with the same care: encoders, their fusions, simple heads."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import get_cosine_schedule_with_warmup

from modeling_lira.data.tables import SplitTables, Table
from modeling_lira.evaluation.comparison import (
    encoder_alone,
    english_vectors,
    multilingual_vectors,
    translate_then_encode,
)
from modeling_lira.evaluation.embedded import Embedded
from modeling_lira.evaluation.scoring import ENGLISH_TITLES, LOCAL_TITLES, Words
from modeling_lira.faces.progress import Progress
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.batches import QueryRows, RetrievalCollator
from modeling_lira.training.losses import contrastive_loss
from modeling_lira.training.negatives import gains_of
from modeling_lira.training.options import LasrOptions

LEARNING_RATES = (1e-3, 3e-3, 1e-2)
"""What every head may choose from, by its validation score."""
WEIGHTS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""What the weighted sum may choose from, likewise."""
TEMPERATURE = 0.05


def concatenation(tables: SplitTables) -> Embedded:
    """Join both frozen encoders' vectors, unweighted; where there is no English only the multilingual ones meet."""

    def joined(table: Table, with_english: bool) -> Tensor:
        english = english_vectors(table)
        return F.normalize(
            torch.cat([multilingual_vectors(table), english if with_english else english * 0], -1), dim=-1
        )

    return Embedded(
        tables,
        {wanted: joined(tables.queries, wanted) for wanted in (True, False)},
        {english: joined(tables.documents(english), english) for english in (True, False)},
    )


@dataclass(frozen=True)
class Ranked(Embedded):
    """A search whose scores no embedding gives.

    `score` returns them, [Q, N], as `scores` is asked for them.
    """

    score: Callable[[bool, bool], Tensor]

    def scores(self, english_titles: bool, with_candidates: bool) -> Tensor:
        """Return the score of every document for every query, [Q, N]."""
        return self.score(english_titles, with_candidates)


def lexical(tables: SplitTables) -> Embedded:
    """Search by BM25: English titles by the first translation where there is one, else by the query itself."""
    words = Words(tables)

    def score(english_titles: bool, with_candidates: bool) -> Tensor:
        titles = ENGLISH_TITLES if english_titles else LOCAL_TITLES
        return words.scores(titles, english_titles and with_candidates).float()

    return Ranked(tables, {}, {}, score)


def _fused(tables: SplitTables, fuse: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Embedded:
    """Fuse the scores of the multilingual encoder and of translate-then-encode, where a query has a translation.

    `fuse` takes both scores [Q, N] and which queries have one, [Q, 1].
    """
    multilingual, translated = encoder_alone(tables), translate_then_encode(tables)
    present = torch.from_numpy(tables.queries.has_english)[:, None]

    def score(english_titles: bool, with_candidates: bool) -> Tensor:
        first = multilingual.scores(english_titles, with_candidates)
        if not (english_titles and with_candidates):
            return first
        return fuse(first, translated.scores(True, True), present)

    return Ranked(tables, {}, {}, score)


def weighted_sum(weight: float) -> Callable[[SplitTables], Embedded]:
    """Return the search by a weighted sum of both encoders' scores, each with mean 0 and deviation 1 by query."""

    def standard(scores: Tensor) -> Tensor:
        return (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True).clamp_min(1e-6)

    return lambda tables: _fused(
        tables, lambda first, second, present: standard(first) + weight * present * standard(second)
    )


def reciprocal_rank_fusion(tables: SplitTables) -> Embedded:
    """Add the reciprocals of a document's ranks by both encoders.

    Source: Cormack, Clarke and Buettcher (2009), with their constant of 60.
    """

    def reciprocal(scores: Tensor) -> Tensor:
        return 1 / (60 + scores.argsort(dim=1, descending=True, stable=True).argsort(1))

    return _fused(tables, lambda first, second, present: reciprocal(first) + present * reciprocal(second))


def best_weight(validation: Sequence[SplitTables]) -> float:
    """Return the weight of the translations' scores that finds most on validation queries."""

    def reached(weight: float) -> float:
        scores = [weighted_sum(weight)(tables).ndcg().nanmean() for tables in validation]
        return float(torch.stack(scores).mean())

    return max(WEIGHTS, key=reached)


class Head(Protocol):
    """A trained embedder over cached streams."""

    def embed(self, table: Table, is_english: bool) -> Tensor:
        """Return unit vectors [N, D] of a table's texts; `is_english` where they are English titles."""
        ...


def embedded_by(head: Head, tables: SplitTables) -> Embedded:
    """Embed a split by a head that needs no candidates."""
    with torch.inference_mode():
        queries = head.embed(tables.queries, False)
        return Embedded(
            tables,
            {True: queries, False: queries},
            {english: head.embed(tables.documents(english), english) for english in (True, False)},
        )


class LinearHead(nn.Module):
    """One matrix on the multilingual encoder's centred sentence vector; the identity at the start."""

    def __init__(self, model: LiraModel) -> None:
        super().__init__()
        self.centre = nn.Buffer(model.arca.multilingual_projection.centre.clone())
        width = len(self.centre)
        self.linear = nn.Linear(width, width)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: Tensor, is_english: bool, english: Tensor | None = None) -> Tensor:
        """Map streams [B, S, dg] to unit vectors [B, dg]."""
        return F.normalize(self.linear(states.mean(1) - self.centre), dim=-1)

    def embed(self, table: Table, is_english: bool) -> Tensor:
        """Return unit vectors of a table's texts."""
        return _embedded(self, table, is_english)


class EnglishMapping(nn.Module):
    """Two layers that map the multilingual encoder's sentence vector to the English encoder's of the translation.

    Source: after MindMerger's mapping stage (Huang et al., 2024).
    """

    def __init__(self, model: LiraModel) -> None:
        super().__init__()
        self.centre = nn.Buffer(model.arca.multilingual_projection.centre.clone())
        width, target = len(self.centre), model.config.backbone("english").hidden_size
        self.hidden = nn.Linear(width, 2 * width)
        self.output = nn.Linear(2 * width, target)

    def forward(self, states: Tensor, is_english: bool, english: Tensor | None = None) -> Tensor:
        """Map streams [B, S, dg] to unit vectors [B, dh]."""
        centred = F.normalize(states.mean(1) - self.centre, dim=-1) * states.shape[-1] ** 0.5
        return F.normalize(self.output(F.gelu(self.hidden(centred))), dim=-1)

    def embed(self, table: Table, is_english: bool) -> Tensor:
        """Return unit vectors of a table's texts; English titles are read by the English encoder itself."""
        return english_vectors(table) if is_english else _embedded(self, table, is_english)


def _embedded(head: nn.Module, table: Table, is_english: bool) -> Tensor:
    streams = table.multilingual
    parts = [
        head(torch.from_numpy(streams[start : start + 512].astype(np.float32)), is_english)
        for start in range(0, len(streams), 512)
    ]
    return torch.cat(parts)


Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]


def retrieval_loss(head: nn.Module, batch: Batch) -> Tensor:
    """Return InfoNCE of a stage-2 batch."""
    is_english = bool(batch["group"] % 2)
    queries = head(batch["query_multilingual_states"], False)
    documents = head(batch["document_multilingual_states"], is_english, batch["document_english_states"][:, 0])
    gains = gains_of(batch["relevant"], batch["grades"], batch["document_ids"])
    return contrastive_loss(queries @ documents.T, gains, TEMPERATURE)


def mapping_loss(head: nn.Module, batch: Batch) -> Tensor:
    """Return the mean squared distance of queries and titles to the English encoder's vectors of their translations."""
    losses = []
    for side in ("query", "document"):
        present = batch[f"{side}_candidate_mask"][:, 0]
        target = F.normalize(batch[f"{side}_english_states"][:, 0].mean(1), dim=-1)
        mapped = head(batch[f"{side}_multilingual_states"], False)
        losses.append((mapped - target).square().sum(-1)[present])
    return torch.cat(losses).mean()


@dataclass(frozen=True)
class TrainedHead:
    """A head at its best epoch, with the learning rate and the validation score that chose it."""

    head: Head
    learning_rate: float
    score: float


NO_NOISE: dict[str, Any] = {"english_path_dropout": 0.0, "candidate_noise": 0.0, "mixed": 0.0}
"""Options of stage 2 by which every query keeps its own translations, and no other query's."""


def train_head(
    make: Callable[[], nn.Module],
    loss: Loss,
    train: Sequence[SplitTables],
    score: Callable[[Head], float],
    options: LasrOptions,
    seed: int,
    pulled: bool = False,
) -> TrainedHead:
    """Train a head on the very batches that stage 2 sees, once for each learning rate; keep the best epoch of all.

    Parameters
    ----------
    make : callable
        Makes an untrained head.
    loss : callable
        Of a head and a batch.
    train : sequence of SplitTables
    score : callable
        Validation score of a head; higher is better.
    options : LasrOptions
        Epochs, batch size and what a batch is made of.
    seed : int
    pulled : bool
        Whether weights decay towards their start and are averaged with it, as LiRA's are.
    """
    options = replace(options, objective="retrieval", **NO_NOISE)
    if not pulled:
        options = replace(options, decay=0.0, start_share=0.0)
    best: TrainedHead | None = None
    for rate in LEARNING_RATES:
        torch.manual_seed(seed)
        head = make()
        for state in _epochs(head, loss, train, options, seed, rate):
            reached = score(head)  # type: ignore[arg-type]
            if best is None or reached > best.score:
                kept = make()
                kept.load_state_dict(state)
                best = TrainedHead(kept.eval(), rate, reached)  # type: ignore[arg-type]
    assert best is not None
    return best


def _epochs(
    head: nn.Module, loss: Loss, train: Sequence[SplitTables], options: LasrOptions, seed: int, rate: float
) -> Iterator[dict[str, Tensor]]:
    """Train with LiRA's schedule, clipping, decay and average; yield the averaged weights after every epoch."""
    rows = QueryRows(train)
    sampler = rows.sampler(options, seed)
    collate = RetrievalCollator(train, options, sampler)
    size = sampler.batch_size  # less than asked for where no language has so many queries
    steps = len(sampler) // size * options.epochs
    start = {name: weights.detach().clone() for name, weights in head.named_parameters()}
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, max(1, steps // 20), steps)
    for epoch in Progress(range(options.epochs), desc=f"{type(head).__name__} {rate:g}", unit="epoch"):
        sampler.set_epoch(epoch)
        order = list(sampler)
        head.train()
        for first in range(0, len(order), size):
            batch = collate([rows[index] for index in order[first : first + size]])
            optimizer.zero_grad()
            loss(head, batch).backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            pull = schedule.get_last_lr()[0] * options.decay
            optimizer.step()
            schedule.step()
            _towards(head, start, pull)
        head.eval()
        averaged = copy.deepcopy(head)
        _towards(averaged, start, options.start_share)
        yield averaged.state_dict()


@torch.no_grad()
def _towards(head: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Bring every weight a share of the way back to where it began."""
    for name, weights in head.named_parameters():
        weights.lerp_(start[name], share)
