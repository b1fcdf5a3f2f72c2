"""From a corpus folder to batches of cached streams."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from datasets import Dataset, load_dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from modeling_lira.errors import LiraError
from modeling_lira.modeling_lira import LiraModel

from .stream_cache import StreamCache

ENGLISH = "en"
NO_SCORES = (float("nan"),) * 3


@dataclass(frozen=True)
class Texts:
    """Texts with their languages, candidates and critics' scores, row by row."""

    texts: list[str]
    languages: list[str]
    candidates: list[list[str]] = field(default_factory=list)
    scores: list[list[tuple[float, float, float]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class RetrievalSplit:
    """One language and split of a corpus.

    `titles` are the documents in the language, `english_titles` the same documents in English; `gains` maps a query's
    row to {document row: grade}; `hard_negatives` a query's row to document rows.
    """

    language: str
    queries: Texts
    kinds: list[str]
    unseen_type: list[bool]
    document_ids: list[str]
    titles: list[str]
    english_titles: list[str]
    gains: list[dict[int, int]]
    hard_negatives: list[list[int]]

    def gain_matrix(self) -> Tensor:
        """Return all grades, [Q, N], float32."""
        gains = torch.zeros(len(self.queries), len(self.titles))
        for row, grades in enumerate(self.gains):
            gains[row, list(grades)] = torch.tensor(list(grades.values()), dtype=torch.float32)
        return gains


def load_split(corpus: str, language: str, split: str) -> RetrievalSplit:
    """Read one language and split of a corpus folder or Hub repository.

    Parameters
    ----------
    corpus : str
        Folder or dataset id with configs `{language}-corpus`, `{language}-queries`, `{language}-qrels`.
    language : str
    split : "train", "validation" or "test"

    Raises
    ------
    LiraError
        A corpus, language or split that is not there.

    Source: ours (the layout of MTEB's retrieval loader).
    """
    try:
        documents, queries, qrels = (
            load_dataset(corpus, f"{language}-{part}", split=split) for part in ("corpus", "queries", "qrels")
        )
    except (ValueError, FileNotFoundError) as error:
        raise LiraError(f"corpus {corpus!r} has no {language} {split} split: {str(error).splitlines()[0]}") from error
    document_ids = list(documents["_id"])
    document_rows = {name: row for row, name in enumerate(document_ids)}
    query_rows = {name: row for row, name in enumerate(queries["_id"])}
    gains: list[dict[int, int]] = [{} for _ in query_rows]
    for query, document, score in zip(qrels["query-id"], qrels["corpus-id"], qrels["score"], strict=True):
        if score > 0:
            gains[query_rows[query]][document_rows[document]] = int(score)
    return RetrievalSplit(
        language=language,
        queries=_query_texts(queries),
        kinds=list(queries["kind"]),
        unseen_type=list(queries["unseen_type"]),
        document_ids=document_ids,
        titles=list(documents["title"]),
        english_titles=list(documents["title_en"]),
        gains=gains,
        hard_negatives=[
            [document_rows[name] for name in row if name in document_rows] for row in queries["hard_negatives"]
        ],
    )


def _query_texts(queries: Dataset) -> Texts:
    rows = list(queries["candidates"])
    return Texts(
        texts=list(queries["text"]),
        languages=list(queries["language"]),
        candidates=[[candidate["text"] for candidate in row] for row in rows],
        scores=[[_scores(candidate) for candidate in row] for row in rows],
    )


def _scores(candidate: Mapping[str, float | None]) -> tuple[float, float, float]:
    return _number(candidate["semantic"]), _number(candidate["emotional"]), _number(candidate["pragmatic"])


def _number(score: float | None) -> float:
    return float("nan") if score is None else float(score)


@dataclass(frozen=True)
class StreamTable:
    """Cached streams of texts with candidates.

    `multilingual` [N, S, dg]; `english` [M, S, dh] of distinct candidates; `rows` [N, K] into it, -1 where there is
    none; `scores` [N, K, 3]; `language_ids` [N].
    """

    multilingual: np.ndarray
    english: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    language_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.language_ids)

    def batch(self, index: Sequence[int] | np.ndarray, keep_english: np.ndarray | None = None) -> dict[str, Tensor]:
        """Gather rows [B] as `LiraModel.fuse` takes them; `keep_english` [B] drops the others' candidates."""
        rows = self.rows[index]
        if keep_english is not None:
            rows = np.where(keep_english[:, None], rows, -1)
        mask = rows >= 0
        states = np.zeros((*rows.shape, *self.english.shape[1:]), np.float32)
        states[mask] = self.english[rows[mask]]
        return {
            "multilingual_states": torch.from_numpy(self.multilingual[index].astype(np.float32)),
            "english_states": torch.from_numpy(states),
            "candidate_mask": torch.from_numpy(mask),
            "critic_scores": torch.from_numpy(self.scores[index]),
            "language_ids": torch.from_numpy(self.language_ids[index]),
        }


def cache_table(model: LiraModel, cache: StreamCache, texts: Texts, kind: str, num_candidates: int) -> StreamTable:
    """Cache both paths' streams of `texts`; at most `num_candidates` of each text's candidates are kept."""
    chosen = [row[:num_candidates] for row in texts.candidates]
    distinct = sorted({text for row in chosen for text in row})
    position = {text: index for index, text in enumerate(distinct)}
    rows = np.full((len(texts), num_candidates), -1, np.int64)
    scores = np.full((len(texts), num_candidates, 3), np.nan, np.float32)
    for index, row in enumerate(chosen):
        rows[index, : len(row)] = [position[text] for text in row]
        for column, values in enumerate(texts.scores[index][:num_candidates]):
            scores[index, column] = values
    return StreamTable(
        multilingual=cache.get(model, texts.texts, "multilingual", kind),
        english=cache.get(model, distinct, "english", kind),
        rows=rows,
        scores=scores,
        language_ids=model.processor.language_ids(texts.languages).numpy(),
    )


@dataclass(frozen=True)
class StreamSplit:
    """Cached streams of a `RetrievalSplit`: queries, local titles (English ones as translations), English titles."""

    split: RetrievalSplit
    queries: StreamTable
    local: StreamTable
    english: StreamTable


def cache_split(model: LiraModel, cache: StreamCache, split: RetrievalSplit) -> StreamSplit:
    """Cache every stream that training and evaluation need of one language and split."""
    count = len(split.titles)
    unscored = [[NO_SCORES]] * count
    translations = [[title] for title in split.english_titles]
    local = Texts(split.titles, [split.language] * count, translations, unscored)
    english = Texts(split.english_titles, [ENGLISH] * count, translations, unscored)
    return StreamSplit(
        split=split,
        queries=cache_table(model, cache, split.queries, "query", model.config.num_candidates),
        local=cache_table(model, cache, local, "document", 1),
        english=cache_table(model, cache, english, "document", 1),
    )


class LanguageSampler(Sampler[int]):
    """Shuffle rows so that every batch holds one language, whose judgements are known to be complete.

    Parameters
    ----------
    groups : sequence of sequences of int
        Rows of each language.
    batch_size : int
        Rows that do not fill a batch of their language wait for another epoch.
    seed : int

    Source: ours.
    """

    def __init__(self, groups: Sequence[Sequence[int]], batch_size: int, seed: int) -> None:
        self.groups = [np.asarray(group) for group in groups]
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's shuffle; the same seed and epoch always give the same order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(group) // self.batch_size for group in self.groups) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        batches = []
        for group in self.groups:
            full = len(group) // self.batch_size * self.batch_size
            batches += list(random.permutation(group)[:full].reshape(-1, self.batch_size))
        for index in random.permutation(len(batches)):
            yield from batches[index].tolist()


class QueryRows(TorchDataset):
    """The training queries of all languages as (language index, query row) pairs."""

    def __init__(self, splits: Sequence[StreamSplit]) -> None:
        self.pairs = [
            (number, row)
            for number, split in enumerate(splits)
            for row, grades in enumerate(split.split.gains)
            if grades
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        return (*self.pairs[index], index)

    def groups(self) -> list[list[int]]:
        """Return the rows of each language."""
        languages = sorted({number for number, _ in self.pairs})
        return [[row for row, (number, _) in enumerate(self.pairs) if number == language] for language in languages]


class PairRows(TorchDataset):
    """Every training text that has a translation: queries with candidates, local titles with their English title."""

    def __init__(self, splits: Sequence[StreamSplit]) -> None:
        self.tables = [table for split in splits for table in (split.queries, split.local)]
        self.pairs = [
            (number, int(row))
            for number, table in enumerate(self.tables)
            for row in np.flatnonzero((table.rows >= 0).any(1))
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self.pairs[index]

    def collate(self, items: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
        """Gather a batch across tables, padded to the largest number of candidates."""
        parts = []
        for number in sorted({number for number, _ in items}):
            parts.append(self.tables[number].batch([row for table, row in items if table == number]))
        width = max(part["candidate_mask"].shape[1] for part in parts)
        return {name: torch.cat([_widen(part[name], width, name) for part in parts]) for name in parts[0]}


def _widen(values: Tensor, width: int, name: str) -> Tensor:
    """Pad the candidate axis of a batch to `width`."""
    if name not in ("english_states", "candidate_mask", "critic_scores") or values.shape[1] == width:
        return values
    shape = (values.shape[0], width - values.shape[1], *values.shape[2:])
    filler = float("nan") if name == "critic_scores" else 0
    return torch.cat([values, torch.full(shape, filler, dtype=values.dtype)], 1)


@dataclass
class RetrievalCollator:
    """Build a stage-2 batch: queries of one language, some of their relevant documents and hard negatives, all gains.

    Parameters
    ----------
    splits : sequence of StreamSplit
    positives, negatives : int
        Documents drawn for each query.
    english_path_dropout : float
        Share of queries, and of local titles, that lose their English path.
    english_titles : float
        Share of batches whose documents are the English titles.
    sampler : LanguageSampler
        Its seed and epoch, with the queries' numbers, decide everything that is drawn.

    Source: ours (method, LaSR 3 and 5).
    """

    splits: Sequence[StreamSplit]
    positives: int
    negatives: int
    english_path_dropout: float
    english_titles: float
    sampler: LanguageSampler

    def __call__(self, items: Sequence[tuple[int, int, int]]) -> dict[str, Tensor]:
        """Collate (language index, query row, position) triples of one language."""
        random = np.random.default_rng([self.sampler.seed, self.sampler.epoch, *(position for _, _, position in items)])
        split = self.splits[items[0][0]]
        rows = [row for _, row, _ in items]
        documents = self._documents(split.split, rows, random)
        table = split.english if random.random() < self.english_titles else split.local
        keep = random.random(len(documents)) >= (self.english_path_dropout if table is split.local else 0.0)
        batch = {f"document_{name}": value for name, value in table.batch(documents, keep).items()}
        keep = random.random(len(rows)) >= self.english_path_dropout
        batch |= {f"query_{name}": value for name, value in split.queries.batch(rows, keep).items()}
        gains = [[split.split.gains[row].get(int(document), 0) for document in documents] for row in rows]
        return batch | {"gains": torch.tensor(gains, dtype=torch.float32)}

    def _documents(self, split: RetrievalSplit, rows: Sequence[int], random: np.random.Generator) -> np.ndarray:
        drawn: set[int] = set()
        for row in rows:
            drawn.update(_draw(random, list(split.gains[row]), self.positives))
            drawn.update(_draw(random, split.hard_negatives[row], self.negatives))
        return np.asarray(sorted(drawn))


def _draw(random: np.random.Generator, values: Sequence[int], count: int) -> list[int]:
    if not len(values):
        return []
    return random.choice(np.asarray(values), size=min(count, len(values)), replace=False).tolist()
