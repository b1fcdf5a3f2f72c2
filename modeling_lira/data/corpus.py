"""Read one language and split of a corpus from its folder or Hub repository."""

import hashlib
import json
import logging
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import datasets
import torch
from datasets import Dataset, get_dataset_config_names, get_dataset_split_names, load_dataset
from torch import Tensor

from ..configuration_lira import LANGUAGES
from ..errors import LiraError
from ..files.sources import check_source
from .progress import quiet_datasets

logger = logging.getLogger(__name__)

ENGLISH = "en"
GLOSS, REFERENCE = "gloss", "reference"
"""Sources of a query's further translations: a dictionary's gloss, and what the query says in plain English."""
NO_SCORES = (float("nan"),) * 3
"""The scores of a candidate that no critic has scored."""


@dataclass(frozen=True)
class Texts:
    """Texts with their languages, candidates and critics' scores, row by row.

    `others` are further translations of each text by the name of their source, "gloss" (poor) and "reference" (as good
    as perfect): no critic has scored them.
    """

    texts: list[str]
    languages: list[str]
    candidates: list[list[str]] = field(default_factory=list)
    scores: list[list[tuple[float, float, float]]] = field(default_factory=list)
    others: dict[str, list[list[str]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, rows: Sequence[int]) -> "Texts":
        """Return the texts at some rows."""
        return Texts(
            texts=[self.texts[row] for row in rows],
            languages=[self.languages[row] for row in rows],
            candidates=[self.candidates[row] for row in rows],
            scores=[self.scores[row] for row in rows],
            others={name: [several[row] for row in rows] for name, several in self.others.items()},
        )


@dataclass(frozen=True)
class RetrievalSplit:
    """One language and split of a corpus.

    `titles` are the documents in the language, `english_titles` the same documents in English, empty where a document
    has no English title. Lists by query: `gains`, {document row: grade}; `hard_negatives`, document rows; `pairs`,
    (document row, graded similarity), empty if the corpus has no ranking part; `query_ids`, as in the corpus.
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
    query_ids: list[str] = field(default_factory=list)

    @property
    def questions(self) -> list[str]:
        """The id of each query; the same id in two languages is the same question. Without ids, each row is one."""
        return self.query_ids or [f"{self.language} {row}" for row in range(len(self.queries))]

    @property
    def has_english_titles(self) -> bool:
        """Whether at least half of the documents have an English title, so that English titles can be searched."""
        return 2 * sum(map(bool, self.english_titles)) >= max(1, len(self.english_titles))

    def searched_titles(self, english: bool) -> list[str]:
        """Return the titles to search: if `english`, the English ones, and the local one where there is none."""
        if not english:
            return self.titles
        return [title_en or title for title_en, title in zip(self.english_titles, self.titles, strict=True)]

    def gain_matrix(self) -> Tensor:
        """Return the grade of every document for every query, [Q, N], float32; 0 where not relevant."""
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
        If there is no such corpus, language or split.

    Source: the layout is that of MTEB's retrieval loader.
    """
    check_source("corpus", corpus, "dataset")
    try:
        with quiet_datasets():
            documents, queries, qrels, ranking = (
                load_dataset(corpus, f"{language}-{part}", split=split, cache_dir=_cache_folder(corpus))
                for part in ("corpus", "queries", "qrels", "ranking")
            )
    except (ValueError, FileNotFoundError) as error:
        corpus_languages(corpus, [language])  # names a corpus or language that is not there
        raise LiraError(f"corpus {corpus!r} has no {language} {split} split: {str(error).splitlines()[0]}") from error
    document_ids, titles = list(documents["_id"]), list(documents["title"])
    document_rows = {name: row for row, name in enumerate(document_ids)}
    query_rows = {name: row for row, name in enumerate(queries["_id"])}
    gains: list[dict[int, int]] = [{} for _ in query_rows]
    for query, document, score in zip(qrels["query-id"], qrels["corpus-id"], qrels["score"], strict=True):
        if score > 0:
            gains[query_rows[query]][document_rows[document]] = int(score)
    english_titles = _english_titles(documents, titles)
    return RetrievalSplit(
        language=language,
        queries=replace(_query_texts(queries), others=_other_translations(queries, gains, english_titles)),
        kinds=list(queries["kind"]),
        unseen_type=list(queries["unseen_type"]),
        document_ids=document_ids,
        titles=titles,
        english_titles=english_titles,
        gains=gains,
        hard_negatives=[
            [document_rows[name] for name in row if name in document_rows] for row in queries["hard_negatives"]
        ],
        pairs=_graded_pairs(ranking, list(queries["text"]), titles),
        query_ids=list(queries["_id"]),
    )


def _cache_folder(corpus: str) -> str | None:
    """Return the folder in which `datasets` caches this state of a local corpus; None, the default, for a Hub dataset.

    In the default folder `datasets` takes a corpus that was built again, or another folder of the same name, for the
    one that it converted first.
    """
    folder = Path(corpus)
    if not folder.is_dir():
        return None
    stats = [(str(path), path.stat()) for path in sorted(folder.resolve().rglob("*")) if path.is_file()]
    seen = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    digest = hashlib.sha256(json.dumps(seen).encode("utf-8", "surrogatepass")).hexdigest()
    return str(Path(datasets.config.HF_DATASETS_CACHE) / "lira" / digest[:16])


def _english_titles(documents: Dataset, titles: Sequence[str]) -> list[str]:
    """Return the English titles, empty where there is none or it only repeats the title."""
    if "title_en" not in documents.column_names:
        return [""] * len(titles)
    pairs = zip(documents["title_en"], titles, strict=True)
    return ["" if _plain(title_en or "") in ("", _plain(title)) else title_en for title_en, title in pairs]


def _plain(title: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


def _graded_pairs(ranking: Dataset, queries: Sequence[str], titles: Sequence[str]) -> list[list[tuple[int, float]]]:
    """Return each query's graded pairs; raise LiraError for a pair whose texts are not in the corpus."""
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


def _other_translations(
    queries: Dataset, gains: Sequence[Mapping[int, int]], english_titles: Sequence[str]
) -> dict[str, list[list[str]]]:
    """Return a poor and a good translation of each query.

    Where a corpus has none, such as a shop's own log, it makes do: the candidates with half of their words left out,
    and the English title of a most relevant product.
    """
    nothing = [None] * len(queries)
    glosses, references = (queries[name] if name in queries.column_names else nothing for name in (GLOSS, REFERENCE))
    poor = [[" ".join(text.split()[::2]) for text in row] for row in _query_texts(queries).candidates]
    best = [max(judged, key=judged.__getitem__, default=None) for judged in gains]
    titles = ["" if row is None else english_titles[row] for row in best]
    good = [reference or title for reference, title in zip(references, titles, strict=True)]
    return {
        GLOSS: [gloss or row for gloss, row in zip(glosses, poor, strict=True)],
        REFERENCE: [[text] if text else [] for text in good],
    }


def _scores(candidate: Mapping[str, float | None]) -> tuple[float, float, float]:
    return _number(candidate["semantic"]), _number(candidate["emotional"]), _number(candidate["pragmatic"])


def _number(score: float | None) -> float:
    return float("nan") if score is None else float(score)


def corpus_languages(corpus: str, chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the languages of a corpus folder or repository, the seven of this package first.

    Parameters
    ----------
    corpus : str
    chosen : sequence of str
        If any, they are returned instead, after a check that the corpus has them.

    Raises
    ------
    LiraError
        If there is no corpus, or it has not a chosen language.
    """
    check_source("corpus", corpus, "dataset")
    try:
        configs = get_dataset_config_names(corpus)
    except (OSError, ValueError) as error:
        raise LiraError(f"corpus {corpus!r} cannot be read: {str(error).splitlines()[0]}") from error
    codes = {name.removesuffix("-queries") for name in configs if name.endswith("-queries")} - {"all"}
    if not codes:
        raise LiraError(f"corpus {corpus!r} has no config named LANGUAGE-queries: build one first")
    languages = (*(code for code in LANGUAGES if code in codes), *sorted(codes - set(LANGUAGES)))
    for code in chosen:
        if code not in codes:
            raise LiraError(f"corpus {corpus!r} has no language {code!r}, only {', '.join(languages)}")
    return tuple(chosen) or languages


def languages_with(corpus: str, splits: Sequence[str]) -> tuple[str, ...]:
    """Return the languages of a corpus that have every one of these splits; a warning names the others.

    A log in one language has a few queries in others, too few to keep some of them for validation and test. Errors are
    those of `corpus_languages`, and a `LiraError` where no language has them all.
    """
    with quiet_datasets():
        present = {code: get_dataset_split_names(corpus, f"{code}-queries") for code in corpus_languages(corpus)}
    whole = tuple(code for code in present if not set(splits) - set(present[code]))
    wanted = " and ".join(splits)
    if not whole:
        raise LiraError(f"corpus {corpus!r} has no language with queries for {wanted}: it needs more of them")
    if lacking := [code for code in present if code not in whole]:
        logger.warning("left out: %s, of which the corpus has no queries for %s", ", ".join(lacking), wanted)
    return whole
