"""The rows of the published configs, from what the generator made."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from ..candidate_source import CandidateSource
from ..layout import RELATIONS, SCHEMAS, Row
from ..lexicon import Lexicon
from ..ranking import draw_documents
from .catalogue import Product, price_band, product_id
from .products import ProductList
from .queries import Query
from .reference import english_reference
from .relevance import EXACT, PARTIAL, SUBSTITUTE, Judgements, satisfies

QRELS_PER_TABLE = 500_000


@dataclass(frozen=True)
class SplitData:
    """One language and split: products and queries; judgements, some complements and hard negatives by query."""

    products: ProductList
    queries: Sequence[Query]
    judgements: Sequence[Judgements]
    complements: Sequence[np.ndarray]
    hard_negatives: Sequence[Sequence[int]]


@dataclass(frozen=True)
class LanguageData:
    """One language of a release."""

    language: str
    seed: int
    unseen: frozenset[str]
    splits: Mapping[str, SplitData]


def corpus_row(lexicon: Lexicon, product: Product, unseen: frozenset[str]) -> Row:
    """Return a row of `{language}-corpus`."""
    return {
        "_id": product.id,
        "title": product.title,
        "text": product.text,
        "title_en": product.title_en,
        "department": product.department,
        "category": product.category,
        "type": product.type,
        "attributes": [f"{group}={value}" for group, value in product.facts],
        "price": product.price,
        "price_band": price_band(lexicon.types[product.type], product.price),
        "language": product.language,
        "unseen_type": product.type in unseen,
    }


def query_rows(lexicon: Lexicon, data: LanguageData, split: str, candidates: CandidateSource) -> Iterator[Row]:
    """Yield the rows of `{language}-queries`; a text without candidates gets an empty list.

    Beside the candidates stand a poor translation and a perfect one: glosses of a dictionary, and the English
    reference.
    """
    part = data.splits[split]
    for query, negatives in zip(part.queries, part.hard_negatives, strict=True):
        yield {
            "_id": query.id,
            "text": query.text,
            "language": query.language,
            "kind": query.kind,
            "band": query.band,
            "type": query.type,
            "unseen_type": query.unseen_type,
            "constraints": [f"{group}={value}" for group, value in query.constraints],
            "hard_negatives": [_id(data, part, row) for row in negatives],
            "candidates": [asdict(candidate) for candidate in candidates.of(query.language, query.text)],
            "gloss": candidates.gloss(query.language, query.text),
            "reference": english_reference(lexicon, query),
        }


def _id(data: LanguageData, part: SplitData, row: int) -> str:
    return product_id(data.language, part.products.indices[row])


def qrel_tables(data: LanguageData, split: str) -> Iterator[pa.Table]:
    """Yield tables of `{language}-qrels`, of about `QRELS_PER_TABLE` rows; of grade 0 it has complements alone."""
    part = data.splits[split]
    ids = pa.array((product_id(data.language, index) for index in part.products.indices), pa.string())
    first, held = 0, 0
    for last, judged in enumerate(part.judgements):
        held += len(judged.rows)
        if held >= QRELS_PER_TABLE or last == len(part.judgements) - 1:
            yield _qrel_table(part, slice(first, last + 1), ids)
            first, held = last + 1, 0


def _qrel_table(part: SplitData, chosen: slice, ids: pa.Array) -> pa.Table:
    pairs = list(zip(part.judgements[chosen], part.complements[chosen], strict=True))
    names = pa.array([query.id for query in part.queries[chosen]], pa.string())
    queries = np.repeat(np.arange(len(pairs)), [len(judged.rows) + len(others) for judged, others in pairs])
    rows = np.concatenate([array for judged, others in pairs for array in (judged.rows, others)])
    grades = np.concatenate([array for judged, others in pairs for array in (judged.grades, 0 * others)])
    relations = pa.array(RELATIONS).take(pa.array(grades))
    columns = [names.take(pa.array(queries)), ids.take(pa.array(rows)), pa.array(grades, pa.int64()), relations]
    return pa.Table.from_arrays(columns, schema=SCHEMAS["qrels"])


def similarity(lexicon: Lexicon, query: Query, product: Product, grade: int) -> float:
    """Return a graded similarity target in [0, 1], finer than the grades.

    It is 1 for grade 3; 0.6 to 0.9 for the same type, rising with the share of wishes that are satisfied; 0.5 for a
    partial match of a vague query; 0.35 for a substitute; 0.1 for another product of the same department, and 0 for
    all others.
    """
    if grade == EXACT:
        return 1.0
    if grade == PARTIAL:
        matched = sum(satisfies(product, wish) for wish in query.constraints)
        return round(0.6 + 0.3 * matched / len(query.constraints), 4) if query.type else 0.5
    if grade == SUBSTITUTE:
        return 0.35
    departments = {lexicon.types[name].department for name in ((query.type,) if query.type else query.types)}
    return 0.1 if product.department in departments else 0.0


def ranking_rows(lexicon: Lexicon, data: LanguageData, split: str) -> Iterator[Row]:
    """Yield the rows of `{language}-ranking`: for every query some products of every grade, see `draw_documents`."""
    part = data.splits[split]
    for query, judged in zip(part.queries, part.judgements, strict=True):
        rng = random.Random(f"{data.seed}:{query.id}:ranking")
        grades = dict(zip(judged.rows.tolist(), judged.grades.tolist(), strict=True))
        for row, grade in draw_documents(rng, grades, range(len(part.products))).items():
            product = part.products[row]
            target = similarity(lexicon, query, product, grade)
            yield {"query": query.text, "title": product.title, "similarity": target, "language": data.language}
