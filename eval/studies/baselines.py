"""What LiRA is compared with: frozen encoders, and simple heads trained on the same data with the same care."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modeling_lira.data.tables import SplitTables, Table
from modeling_lira.evaluation.comparison import english_vectors, multilingual_vectors
from modeling_lira.evaluation.embedded import Embedded
from modeling_lira.faces.progress import Progress
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.batches import QueryRows, RetrievalCollator
from modeling_lira.training.losses import contrastive_loss
from modeling_lira.training.negatives import gains_of
from modeling_lira.training.options import LasrOptions

LEARNING_RATES = (1e-3, 3e-3, 1e-2)
"""What every head may choose from, by its validation score."""
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


class Connector(nn.Module):
    """Feed the multilingual stream to the frozen English encoder as if it were its word embeddings.

    English titles are read by the English encoder itself.

    Source: after LUSIFER (Man et al., 2025).
    """

    def __init__(self, model: LiraModel) -> None:
        super().__init__()
        self.centre = nn.Buffer(model.arca.multilingual_projection.centre.clone())
        encoder, width = model.english_encoder, len(self.centre)
        words = cast(nn.Embedding, encoder.get_input_embeddings()).weight.detach()
        self.scale = float(words.std(0).norm())
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, words.shape[1])
        self._encoder = [encoder]  # in a list: frozen, and no part of this module

    def forward(self, states: Tensor, is_english: bool, english: Tensor | None = None) -> Tensor:
        """Map streams [B, S, dg], or English ones [B, S, dh], to unit vectors [B, dh]."""
        if is_english:
            assert english is not None
            return F.normalize(english.mean(1), dim=-1)
        words = self.output(F.gelu(self.hidden(F.normalize(states - self.centre, dim=-1) * states.shape[-1] ** 0.5)))
        words = F.normalize(words, dim=-1) * self.scale
        return F.normalize(self._encoder[0](inputs_embeds=words)[0].mean(1), dim=-1)

    def embed(self, table: Table, is_english: bool) -> Tensor:
        """Return unit vectors of a table's texts."""
        return english_vectors(table) if is_english else _embedded(self, table, is_english)


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


def train_head(
    make: Callable[[], nn.Module],
    loss: Loss,
    train: Sequence[SplitTables],
    score: Callable[[Head], float],
    options: LasrOptions,
    seed: int,
    learning_rates: Sequence[float] = LEARNING_RATES,
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
    learning_rates : sequence of float
    """
    options = replace(options, english_path_dropout=0.0, candidate_noise=0.0, objective="retrieval")
    best: TrainedHead | None = None
    for rate in learning_rates:
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
    """Train and yield the weights after every epoch."""
    rows = QueryRows(train)
    sampler = rows.sampler(options, seed)
    collate = RetrievalCollator(train, options, sampler)
    steps = len(sampler) // options.batch_size
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * options.epochs)
    for epoch in Progress(range(options.epochs), desc=f"{type(head).__name__} {rate:g}", unit="epoch"):
        sampler.set_epoch(epoch)
        order = list(sampler)
        head.train()
        for start in range(0, len(order), options.batch_size):
            batch = collate([rows[index] for index in order[start : start + options.batch_size]])
            optimizer.zero_grad()
            loss(head, batch).backward()
            optimizer.step()
            schedule.step()
        head.eval()
        yield {name: value.clone() for name, value in head.state_dict().items()}
