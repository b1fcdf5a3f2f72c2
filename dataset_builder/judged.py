"""Write queries with judgements on one catalogue, for corpora of which only the queries are split."""

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from .candidate_source import CandidateSource
from .generator.catalogue import stable_hash
from .layout import SPLITS, WHOLE, PartWriter, Row
from .ranking import draw_documents

SIMILARITY = {3: 1.0, 2: 0.7, 1: 0.4, 0: 0.0}
_TRAIN, _VALIDATION = 0.8, 0.1


@dataclass(frozen=True)
class CatalogueItem:
    """A document: its id, its title in the language and in English, and a text, which may be empty."""

    id: str
    title: str
    title_en: str
    text: str = ""


@dataclass(frozen=True)
class JudgedQuery:
    """A query, the grades 1 to 3 of relevant documents by id, and ids of documents that look relevant but are not."""

    text: str
    kind: str
    band: str
    grades: Mapping[str, int]
    hard_negatives: Sequence[str] = ()


def split_of_text(key: str, language: str, seed: int) -> str:
    """Return the split of a query, decided by a hash of the seed, the language and the key, its normalised text."""
    share = stable_hash(seed, "query-split", language, key) / 2**64
    if share < _TRAIN:
        return "train"
    return "validation" if share < _TRAIN + _VALIDATION else "test"


def without_empty_splits(queries: Mapping[str, Sequence[JudgedQuery]]) -> dict[str, list[JudgedQuery]]:
    """Return the queries with one query moved from the largest split to each empty one, as far as there are enough.

    Training is filled first, then test, then validation.
    """
    filled = {split: list(queries[split]) for split in SPLITS}
    for split in ("train", "test", "validation"):
        largest = max(SPLITS, key=lambda other: len(filled[other]))
        if not filled[split] and len(filled[largest]) > (split != "train"):
            filled[split].append(filled[largest].pop())
    return filled


def write_judged(
    folder: Path,
    language: str,
    items: Sequence[CatalogueItem],
    queries: Mapping[str, Sequence[JudgedQuery]],
    candidates: CandidateSource | None,
    seed: int,
) -> None:
    """Write a language's four configs; every split has the whole catalogue, so that each query searches all of it.

    The catalogue is written once. A split without queries is not written.

    Parameters
    ----------
    folder : Path
    language : str
    items : sequence of CatalogueItem
    queries : mapping of split to sequence of JudgedQuery
    candidates : CandidateSource, optional
        If None, the queries get no candidates.
    seed : int
    """
    titles = {item.id: item.title for item in items}
    with PartWriter(folder, language, "corpus", WHOLE) as corpus:
        corpus.add_all(_corpus_row(item, language) for item in items)
    for split in filter(queries.get, SPLITS):
        with ExitStack() as stack:
            rows, qrels, ranking = (
                stack.enter_context(PartWriter(folder, language, part, split))
                for part in ("queries", "qrels", "ranking")
            )
            for number, query in enumerate(queries[split]):
                name = f"{language}-q-{split}-{number:05d}"
                rows.add(_query_row(name, query, language, split, candidates))
                grades = dict(sorted(query.grades.items()))
                for item, grade in grades.items():
                    qrels.add({"query-id": name, "corpus-id": item, "score": grade, "relation": ""})
                rng = random.Random(f"{seed}:{name}:ranking")
                for item, grade in draw_documents(rng, grades, list(titles), query.hard_negatives).items():
                    pair = {"query": query.text, "title": titles[item], "similarity": SIMILARITY[grade]}
                    ranking.add({**pair, "language": language})


def _corpus_row(item: CatalogueItem, language: str) -> Row:
    fields = {"_id": item.id, "title": item.title, "text": item.text, "title_en": item.title_en}
    unknown: Row = {"department": "", "category": "", "type": "", "attributes": [], "price": None, "price_band": ""}
    return {**fields, **unknown, "language": language, "unseen_type": False}


def _query_row(name: str, query: JudgedQuery, language: str, split: str, candidates: CandidateSource | None) -> Row:
    translations = candidates.of(language, query.text) if candidates else []
    return {
        "_id": name,
        "text": query.text,
        "language": language,
        "kind": query.kind,
        "band": query.band,
        "type": "",
        "unseen_type": False,
        "constraints": [],
        "hard_negatives": list(query.hard_negatives) if split == "train" else [],
        "candidates": [asdict(candidate) for candidate in translations],
    }
