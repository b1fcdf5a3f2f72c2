"""Which texts make a batch, and in which order.

Everything that is drawn follows from the seed, the epoch and the row for which it is drawn, never from a generator's
state. So an interrupted run goes on with the batches that it would have had, and several processes share the batches of
one.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler

from ..data.corpus import GLOSS, REFERENCE, RetrievalSplit
from ..data.tables import SplitTables, Table
from ..errors import LiraError
from .options import LasrOptions
from .run_folder import process_state

logger = logging.getLogger(__name__)

LANGUAGE_STRIDE = 2**24
"""Distance between two languages' document ids: more than a split holds."""


def fitting_batch_size(batch_size: int, rows: int, what: str) -> int:
    """Return how many of `rows` make a batch: fewer than asked for where there are not so many, as a small shop's log.

    Raises
    ------
    LiraError
        Fewer rows than processes; `what` the rows are stands in the message.
    """
    processes = process_state().num_processes
    size = min(batch_size, rows // processes * processes)
    if not size:
        raise LiraError(f"{rows} {what} are too few to train on (processes: {processes}): take a larger corpus")
    if size < batch_size:
        logger.info("batches of %d instead of %d: there are no more than %d %s", size, batch_size, rows, what)
    return size


class EpochSampler(Sampler[int]):
    """Base of samplers whose order follows from the seed and the epoch."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's shuffle; the same seed and epoch always give the same order."""
        self.epoch = epoch

    def random(self, *row: int) -> np.random.Generator:
        """Return a generator for this epoch, or for one row of it."""
        return np.random.default_rng([self.seed, self.epoch, *row])


class PairSampler(EpochSampler):
    """Shuffle `count` rows, leaving out the rest that does not fill a batch.

    A loss over all pairs of a batch has another scale in a smaller one.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        super().__init__(seed)
        self.count = count
        self.batch_size = batch_size

    def __len__(self) -> int:
        return self.count // self.batch_size * self.batch_size

    def __iter__(self) -> Iterator[int]:
        return iter(self.random().permutation(self.count)[: len(self)].tolist())


class LanguageSampler(EpochSampler):
    """Shuffle rows so that every batch holds one language and searches one kind of titles.

    Queries are judged on the documents of their own language only: another language's would be false negatives. For a
    batch that searches English titles, the sampler yields row + number of rows in place of the row.

    Parameters
    ----------
    groups : sequence of sequences of int
        Rows of each language.
    batch_size : int
        Of all processes together. Rows that do not fill a batch of their language are left out of the epoch.
    english_titles : float, or sequence of float
        Share of the batches that search English titles: of all languages, or of each group's.
    seed : int
    """

    def __init__(
        self, groups: Sequence[Sequence[int]], batch_size: int, english_titles: float | Sequence[float], seed: int
    ) -> None:
        super().__init__(seed)
        self.groups = [np.asarray(group, np.int64) for group in groups]
        self.batch_size = batch_size
        shares = [english_titles] * len(self.groups) if isinstance(english_titles, float | int) else english_titles
        self.shares = list(shares)

    def __len__(self) -> int:
        return sum(len(group) // self.batch_size for group in self.groups) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        random = self.random()
        total = sum(map(len, self.groups))
        batches = []
        for group, share in zip(self.groups, self.shares, strict=True):
            full = len(group) // self.batch_size * self.batch_size
            batches += [(batch, share) for batch in random.permutation(group)[:full].reshape(-1, self.batch_size)]
        for index in random.permutation(len(batches)):
            batch, share = batches[index]
            offset = total if random.random() < share else 0
            yield from (batch + offset).tolist()


@dataclass(frozen=True)
class QueryItem:
    """A training query: its language's number, its row there, its number among all, and which titles to search."""

    language: int
    row: int
    number: int
    english_titles: bool


class QueryRows(Dataset[QueryItem]):
    """The training queries of all languages, once for each kind of titles.

    Parameters
    ----------
    splits : sequence of SplitTables
    ranking : bool
        Take the queries with graded pairs, not those with a relevant document.
    """

    def __init__(self, splits: Sequence[SplitTables], ranking: bool = False) -> None:
        self.splits = splits
        self.pairs = [
            (number, row)
            for number, split in enumerate(splits)
            for row, judged in enumerate(split.split.pairs if ranking else split.split.gains)
            if judged
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> QueryItem:
        number = index % len(self.pairs)
        return QueryItem(*self.pairs[number], number, index >= len(self.pairs))

    def groups(self) -> list[list[int]]:
        """Return the rows of each language."""
        return [
            [row for row, (number, _) in enumerate(self.pairs) if number == language] for language in self._languages()
        ]

    def sampler(self, options: LasrOptions, seed: int) -> LanguageSampler:
        """Return a sampler of these rows, in which a language without English titles never searches them."""
        known = [self.splits[language].split.has_english_titles for language in self._languages()]
        shares = [options.english_titles * has_english for has_english in known]
        groups = self.groups()
        largest = max(map(len, groups), default=0)
        size = fitting_batch_size(options.batch_size, largest, "training queries of a language")
        for language, group in zip(self._languages(), groups, strict=True):
            if len(group) < size:
                name = self.splits[language].split.language
                logger.warning("%s is not trained on: its %d queries fill no batch of %d", name, len(group), size)
        return LanguageSampler(groups, size, shares, seed)

    def _languages(self) -> list[int]:
        return sorted({number for number, _ in self.pairs})


class PairRows(Dataset[tuple[int, int, int]]):
    """Every training text that has a translation: queries with candidates, local titles with their English title."""

    def __init__(self, splits: Sequence[SplitTables]) -> None:
        self.tables = [table for split in splits for table in (split.queries, split.local)]
        self.pairs = [
            (number, int(row)) for number, table in enumerate(self.tables) for row in np.flatnonzero(table.has_english)
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        return (*self.pairs[index], index)


@dataclass(frozen=True)
class PairCollator:
    """Build a stage-1 batch across tables, padded to the largest number of candidates."""

    tables: Sequence[Table]
    sampler: EpochSampler

    def __call__(self, items: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
        """Collate (table, row, position) triples."""
        ordered = sorted(items)
        numbers = np.asarray([number for number, _, _ in ordered])
        parts = [
            self.tables[number].batch(np.asarray([row for table, row, _ in ordered if table == number]))
            for number in np.unique(numbers)
        ]
        uniform = [self.sampler.random(position).random() for _, _, position in ordered]
        return {**_joined(parts), "uniform": torch.tensor(uniform, dtype=torch.float32)}


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate batches whose candidates or tokens differ in number."""
    joined = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        shape = [max(lengths) for lengths in zip(*(value.shape[1:] for value in values), strict=True)]
        filler = float("nan") if name == "critic_scores" else 0
        joined[name] = torch.cat([_padded(value, shape, filler) for value in values])
    return joined


def _padded(values: Tensor, shape: Sequence[int], filler: float) -> Tensor:
    if list(values.shape[1:]) == list(shape):
        return values
    padded = torch.full((len(values), *shape), filler, dtype=values.dtype)
    padded[tuple(slice(0, size) for size in values.shape)] = values
    return padded


@dataclass(frozen=True)
class RetrievalCollator:
    """Build a stage-2 batch: queries of one language, documents for them, their judgements and graded pairs.

    Parameters
    ----------
    splits : sequence of SplitTables
    options : LasrOptions
    sampler : EpochSampler
        Its seed and epoch decide everything that is drawn.

    Source: METHOD.md, LaSR 3 and 5.
    """

    splits: Sequence[SplitTables]
    options: LasrOptions
    sampler: EpochSampler

    def __call__(self, items: Sequence[QueryItem]) -> dict[str, Tensor]:
        """Collate queries of one language that search the same titles."""
        number, english_titles = items[0].language, items[0].english_titles
        tables = self.splits[number]
        split = tables.split
        draws = [self.sampler.random(item.number) for item in items]
        rows = np.asarray([item.row for item in items])
        pairs = [self._pairs(split, int(row), draw) for row, draw in zip(rows, draws, strict=True)]
        documents = self._documents(items, tables, draws, pairs)
        queries, candidates = self._queries(tables, rows, draws)
        relevant = [split.gains[row] for row in rows]
        base = number * LANGUAGE_STRIDE  # so that no two languages share a document's id in a queue
        return {
            **_prefixed("query_", queries),
            **_prefixed("document_", self._document_batch(tables, documents, number, english_titles)),
            "document_ids": torch.from_numpy(base + documents),
            "group": torch.tensor([2 * number + english_titles]),
            "relevant": _ragged([[base + row for row in judged] for judged in relevant], -1, torch.long),
            "grades": _ragged([list(judged.values()) for judged in relevant], 0, torch.float32),
            "other_candidate": torch.from_numpy(_one_candidate(candidates, draws)),
            "uniform": torch.tensor([draw.random() for draw in draws], dtype=torch.float32),
            "pair_documents": _ragged([[base + row for row, _ in graded] for graded in pairs], -1, torch.long),
            "pair_targets": _ragged(
                [[target for _, target in graded] for graded in pairs], float("nan"), torch.float32
            ),
        }

    def _pairs(self, split: RetrievalSplit, row: int, draw: np.random.Generator) -> list[tuple[int, float]]:
        if self.options.objective == "retrieval" or not split.pairs:
            return []
        pairs = split.pairs[row]
        return [pairs[index] for index in draw.permutation(len(pairs))[: self.options.pairs]]

    def _documents(
        self,
        items: Sequence[QueryItem],
        tables: SplitTables,
        draws: Sequence[np.random.Generator],
        pairs: Sequence[Sequence[tuple[int, float]]],
    ) -> np.ndarray:
        """Return the rows of the documents to embed, ascending."""
        drawn = {row for graded in pairs for row, _ in graded}
        if self.options.objective != "ranking":
            for item, draw in zip(items, draws, strict=True):
                drawn.update(self._positives(tables.split.gains[item.row], draw))
                negatives = tables.split.hard_negatives[item.row]
                drawn.update(negatives[index] for index in draw.permutation(len(negatives))[: self.options.negatives])
        return np.asarray(sorted(drawn), np.int64)

    def _positives(self, gains: dict[int, int], draw: np.random.Generator) -> list[int]:
        """Draw one of the most relevant documents, then any relevant ones."""
        rows = list(gains)
        best = [row for row in rows if gains[row] == max(gains.values())]
        first = best[draw.integers(len(best))]
        rest = [rows[index] for index in draw.permutation(len(rows)) if rows[index] != first]
        return [first, *rest[: self.options.positives - 1]]

    def _queries(
        self, tables: SplitTables, rows: np.ndarray, draws: Sequence[np.random.Generator]
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        """Return the batch's queries, and the rows [B, K] of their candidates in the table, -1 for none.

        Where candidates come from, whether their scores are known and the language are drawn for each query.
        """
        table = tables.queries
        drawn = [self._candidates(table, int(row), draw) for row, draw in zip(rows, draws, strict=True)]
        candidates, scores = (np.stack(several) for several in zip(*drawn, strict=True))
        no_language = [draw.random() < self.options.language_dropout for draw in draws]
        batch = table.batch(rows, candidates, scores)
        batch["language_ids"] = batch["language_ids"].masked_fill(torch.tensor(no_language), 0)
        return batch, candidates

    def _candidates(self, table: Table, row: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the candidates [K] and scores [K, 3] of one query; those that another source gives have no scores."""
        # All are drawn, needed or not, so that one option never changes what another one draws.
        dropped, source, hidden, mixed, chosen = draw.random(5)
        width = table.rows.shape[1]
        strangers = np.asarray(draw.integers(len(table), size=width))
        order = draw.permutation(width)
        alone, kept = draw.random(2)
        unscored = np.full_like(table.scores[row], np.nan)
        if dropped < self.options.english_path_dropout:
            return np.full_like(table.rows[row], -1), unscored
        others = self._of_another_source(table, row, source, int(strangers[0]))
        if others is not None and (others >= 0).any():
            candidates, scores = others, unscored
        else:
            candidates = table.rows[row]
            scores = unscored if hidden < self.options.score_dropout else table.scores[row]
        present = np.asarray(candidates[candidates >= 0])
        if mixed < self.options.mixed and len(present):
            one = present[int(chosen * len(present))]
            return np.append(table.rows[strangers[1:], 0], one)[order], unscored
        if alone < self.options.single and len(present):
            return _only(candidates, scores, np.flatnonzero(candidates >= 0)[int(kept * len(present))])
        return candidates, scores

    def _of_another_source(self, table: Table, row: int, drawn: float, stranger: int) -> np.ndarray | None:
        """Return the candidates [K] of the source that `drawn` in [0, 1) stands for; None for the query's own."""
        options = self.options
        sources = ((options.candidate_noise, table.rows[stranger]), (options.gloss, table.others.get(GLOSS)),
                   (options.reference, table.others.get(REFERENCE)))  # fmt: skip
        for number, (share, rows) in enumerate(sources):
            if drawn < share:
                return rows if number == 0 or rows is None else rows[row]
            drawn -= share
        return None

    def _document_batch(
        self, tables: SplitTables, rows: np.ndarray, number: int, english_titles: bool
    ) -> dict[str, Tensor]:
        table = tables.documents(english_titles)
        if english_titles:
            return table.batch(rows)
        draws = [self.sampler.random(1, number, int(row)).random() for row in rows]
        dropped = np.asarray(draws) < self.options.document_path_dropout
        return table.batch(rows, np.where(dropped[:, None], -1, table.rows[rows]))


def _only(candidates: np.ndarray, scores: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a row of candidates [K] and their scores [K, 3] of which only one is left, in the first place."""
    rest = np.full_like(candidates[1:], -1), np.full_like(scores[1:], np.nan)
    return np.append(candidates[kept], rest[0]), np.concatenate([scores[kept : kept + 1], rest[1]])


def _one_candidate(rows: np.ndarray, draws: Sequence[np.random.Generator]) -> np.ndarray:
    """Choose one candidate of each text [B, K] that has any."""
    chosen = np.zeros(rows.shape, bool)
    for position, draw in enumerate(draws):
        present = np.flatnonzero(rows[position] >= 0)
        if len(present):
            chosen[position, present[draw.integers(len(present))]] = True
    return chosen


def _ragged(rows: Sequence[Sequence[float]], filler: float, dtype: torch.dtype) -> Tensor:
    """Return rows of different lengths as one padded tensor."""
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], batch_first=True, padding_value=filler)


def _prefixed(prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in values.items()}
