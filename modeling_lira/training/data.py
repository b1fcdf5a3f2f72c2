"""From a corpus folder to tables of streams or of token ids."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from datasets import Dataset, load_dataset
from torch import Tensor

from ..errors import LiraError
from ..modeling_lira import LiraModel
from ..processing_lira import LiraProcessor
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
    row to {document row: grade}; `hard_negatives` a query's row to document rows; `pairs` a query's row to
    (document row, graded similarity), and is empty where the corpus has no ranking part.
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
    pairs: list[list[tuple[int, float]]] = field(default_factory=list)

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
        Folder or dataset id with configs `{language}-corpus`, `{language}-queries`, `{language}-qrels` and
        `{language}-ranking`.
    language : str
    split : "train", "validation" or "test"

    Raises
    ------
    LiraError
        A corpus, language or split that is not there.

    Source: ours (the layout of MTEB's retrieval loader).
    """
    try:
        documents, queries, qrels, ranking = (
            load_dataset(corpus, f"{language}-{part}", split=split)
            for part in ("corpus", "queries", "qrels", "ranking")
        )
    except (ValueError, FileNotFoundError) as error:
        raise LiraError(f"corpus {corpus!r} has no {language} {split} split: {str(error).splitlines()[0]}") from error
    document_ids, titles = list(documents["_id"]), list(documents["title"])
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
        titles=titles,
        english_titles=list(documents["title_en"]),
        gains=gains,
        hard_negatives=[
            [document_rows[name] for name in row if name in document_rows] for row in queries["hard_negatives"]
        ],
        pairs=_graded_pairs(ranking, list(queries["text"]), titles),
    )


def _graded_pairs(ranking: Dataset, queries: Sequence[str], titles: Sequence[str]) -> list[list[tuple[int, float]]]:
    """Return each query's graded pairs, whose texts are those of the corpus."""
    rows = {text: row for row, text in enumerate(queries)}
    documents = {title: row for row, title in enumerate(titles)}
    pairs: list[list[tuple[int, float]]] = [[] for _ in queries]
    for query, title, similarity in zip(ranking["query"], ranking["title"], ranking["similarity"], strict=True):
        if query not in rows or title not in documents:
            raise LiraError(f"ranking pair ({query!r}, {title!r}) is not of the corpus' queries and titles")
        pairs[rows[query]].append((documents[title], float(similarity)))
    return pairs


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
class Table(ABC):
    """Texts with candidates, ready to be gathered into batches.

    `rows` [N, K] are places in the table of distinct English texts, -1 where there is none; `scores` [N, K, 3];
    `language_ids` [N].
    """

    rows: np.ndarray
    scores: np.ndarray
    language_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.language_ids)

    @property
    def has_english(self) -> np.ndarray:
        """Whether each text has a candidate, [N]."""
        return np.asarray((self.rows >= 0).any(1))

    @abstractmethod
    def batch(
        self, index: np.ndarray, rows: np.ndarray | None = None, scores: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """Gather texts [B] as `LiraModel.forward` takes them; `rows` and `scores` replace the table's own."""


@dataclass(frozen=True)
class StreamTable(Table):
    """A table over cached streams: `multilingual` [N, S, dg]; `english` [M, S, dh] of distinct candidates."""

    multilingual: np.ndarray
    english: np.ndarray

    def batch(
        self, index: np.ndarray, rows: np.ndarray | None = None, scores: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """Gather the streams of texts [B] and of their candidates."""
        rows = self.rows[index] if rows is None else rows
        present = rows >= 0
        states = np.zeros((*rows.shape, *self.english.shape[1:]), np.float32)
        states[present] = self.english[rows[present]]
        return {
            "multilingual_states": torch.from_numpy(self.multilingual[index].astype(np.float32)),
            "english_states": torch.from_numpy(states),
            "candidate_mask": torch.from_numpy(present),
            "critic_scores": torch.from_numpy(self.scores[index] if scores is None else scores),
            "language_ids": torch.from_numpy(self.language_ids[index]),
        }


@dataclass(frozen=True)
class TokenTable(Table):
    """A table over texts themselves, for backbones that change while they train."""

    texts: list[str]
    english: list[str]
    kind: str
    processor: LiraProcessor

    def batch(
        self, index: np.ndarray, rows: np.ndarray | None = None, scores: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """Gather the token ids of texts [B] and of their candidates."""
        rows = self.rows[index] if rows is None else rows
        present = rows >= 0
        batch = self.processor.tokenize([self.texts[place] for place in index], self.kind)
        batch["language_ids"] = torch.from_numpy(self.language_ids[index])
        if not present.any():
            return batch
        tokens = self.processor.tokenize([self.english[place] for place in rows[present]], self.kind, "english")
        for name, values in tokens.items():
            padded = values.new_zeros(*rows.shape, values.shape[-1])
            padded[torch.from_numpy(present)] = values
            batch[f"english_{name}"] = padded
        batch["candidate_mask"] = torch.from_numpy(present)
        batch["critic_scores"] = torch.from_numpy(self.scores[index] if scores is None else scores)
        return batch


def _english_rows(texts: Texts, num_candidates: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the distinct candidates, and each text's rows among them and scores; at most `num_candidates` are kept."""
    chosen = [row[:num_candidates] for row in texts.candidates]
    distinct = sorted({text for row in chosen for text in row})
    position = {text: index for index, text in enumerate(distinct)}
    rows = np.full((len(texts), num_candidates), -1, np.int64)
    scores = np.full((len(texts), num_candidates, 3), np.nan, np.float32)
    for index, row in enumerate(chosen):
        rows[index, : len(row)] = [position[text] for text in row]
        for column, values in enumerate(texts.scores[index][:num_candidates]):
            scores[index, column] = values
    return distinct, rows, scores


def cache_table(model: LiraModel, cache: StreamCache, texts: Texts, kind: str, num_candidates: int) -> StreamTable:
    """Cache both paths' streams of `texts`; at most `num_candidates` of each text's candidates are kept."""
    distinct, rows, scores = _english_rows(texts, num_candidates)
    return StreamTable(
        rows=rows,
        scores=scores,
        language_ids=model.processor.language_ids(texts.languages).numpy(),
        multilingual=cache.get(model, texts.texts, "multilingual", kind),
        english=cache.get(model, distinct, "english", kind),
    )


def token_table(model: LiraModel, texts: Texts, kind: str, num_candidates: int) -> TokenTable:
    """Return a table of texts whose backbones run at every step; at most `num_candidates` candidates are kept."""
    distinct, rows, scores = _english_rows(texts, num_candidates)
    return TokenTable(
        rows=rows,
        scores=scores,
        language_ids=model.processor.language_ids(texts.languages).numpy(),
        texts=texts.texts,
        english=distinct,
        kind=kind,
        processor=model.processor,
    )


@dataclass(frozen=True)
class SplitTables:
    """Tables of a `RetrievalSplit`: queries, local titles (English ones as translations), English titles."""

    split: RetrievalSplit
    queries: Table
    local: Table
    english: Table

    def documents(self, english_titles: bool) -> Table:
        """Return the English titles or the local ones."""
        return self.english if english_titles else self.local


def split_tables(split: RetrievalSplit, table: Callable[[Texts, str, int], Table], num_candidates: int) -> SplitTables:
    """Make the tables of one language and split by `table(texts, kind, num_candidates)`."""
    count = len(split.titles)
    unscored = [[NO_SCORES]] * count
    translations = [[title] for title in split.english_titles]
    local = Texts(split.titles, [split.language] * count, translations, unscored)
    english = Texts(split.english_titles, [ENGLISH] * count, translations, unscored)
    return SplitTables(
        split=split,
        queries=table(split.queries, "query", num_candidates),
        local=table(local, "document", 1),
        english=table(english, "document", 1),
    )


def cache_split(model: LiraModel, cache: StreamCache, split: RetrievalSplit) -> SplitTables:
    """Cache every stream that training and evaluation need of one language and split."""
    return split_tables(split, partial(cache_table, model, cache), model.config.num_candidates)


def token_split(model: LiraModel, split: RetrievalSplit) -> SplitTables:
    """Return the tables of one language and split for training with LoRA."""
    return split_tables(split, partial(token_table, model), model.config.num_candidates)
