"""Build a corpus: catalogues, queries, judgements, ranking pairs, and the published folder of Parquet files."""

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from modeling_lira.files import atomic_path, atomic_write_text

from .candidates import Candidate, CandidateKey
from .catalogue import Catalogue, Product
from .lexicon import Lexicon
from .queries import Query, generate_queries
from .relevance import HardNegatives, Judgements, SplitIndex
from .splits import SPLITS, Release, releases_up_to, split_products, unseen_types

logger = logging.getLogger(__name__)

PARTS = ("corpus", "queries", "qrels", "ranking")
ALL = "all"
MAX_RANKING_PAIRS = 8
_CANDIDATE = pa.struct(
    [
        ("text", pa.string()),
        ("agent", pa.string()),
        ("semantic", pa.float64()),
        ("emotional", pa.float64()),
        ("pragmatic", pa.float64()),
    ]
)
SCHEMAS = {
    "corpus": pa.schema(
        [
            ("_id", pa.string()),
            ("title", pa.string()),
            ("text", pa.string()),
            ("title_en", pa.string()),
            ("department", pa.string()),
            ("category", pa.string()),
            ("type", pa.string()),
            ("attributes", pa.list_(pa.string())),
            ("price", pa.float64()),
            ("language", pa.string()),
            ("unseen_type", pa.bool_()),
        ]
    ),
    "queries": pa.schema(
        [
            ("_id", pa.string()),
            ("text", pa.string()),
            ("language", pa.string()),
            ("kind", pa.string()),
            ("band", pa.string()),
            ("type", pa.string()),
            ("unseen_type", pa.bool_()),
            ("hard_negatives", pa.list_(pa.string())),
            ("candidates", pa.list_(_CANDIDATE)),
        ]
    ),
    "qrels": pa.schema([("query-id", pa.string()), ("corpus-id", pa.string()), ("score", pa.int64())]),
    "ranking": pa.schema(
        [("query", pa.string()), ("title", pa.string()), ("similarity", pa.float64()), ("language", pa.string())]
    ),
}


@dataclass(frozen=True)
class SplitData:
    """One language and split: its products, its queries, and each query's judgements and hard negatives, in order."""

    products: Sequence[Product]
    queries: Sequence[Query]
    judgements: Sequence[Judgements]
    hard_negatives: Sequence[Sequence[int]]


@dataclass(frozen=True)
class LanguageData:
    """One language of a release."""

    language: str
    seed: int
    unseen: frozenset[str]
    splits: Mapping[str, SplitData]


def build_language(lexicon: Lexicon, language: str, release: Release, seed: int) -> LanguageData:
    """Generate one language of a release in memory.

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    release : Release
    seed : int

    Source: ours.
    """
    unseen = unseen_types(lexicon, seed)
    products: dict[str, list[Product]] = {split: [] for split in SPLITS}
    for split, product in split_products(Catalogue(lexicon, language, seed), release.products, unseen, seed):
        products[split].append(product)
    queries: dict[str, list[Query]] = {split: [] for split in SPLITS}
    for query in generate_queries(lexicon, language, seed, releases_up_to(release), products, unseen):
        queries[query.split].append(query)
    splits = {split: _judge(lexicon, language, seed, split, products[split], queries[split]) for split in SPLITS}
    return LanguageData(language, seed, unseen, splits)


def _judge(
    lexicon: Lexicon, language: str, seed: int, split: str, products: Sequence[Product], queries: Sequence[Query]
) -> SplitData:
    """Judge every query against the whole split; only training queries get hard negatives."""
    index = SplitIndex(lexicon, products)
    judgements = [index.judge(query) for query in queries]
    finder = HardNegatives(lexicon, language, index, seed)
    negatives: list[list[int]] = [
        finder.find(query, judged) if split == "train" else [] for query, judged in zip(queries, judgements, strict=True)
    ]
    return SplitData(products, queries, judgements, negatives)


def corpus_rows(data: LanguageData, split: str) -> Iterator[dict[str, object]]:
    """Yield the rows of `{language}-corpus`."""
    for product in data.splits[split].products:
        yield {
            "_id": product.id,
            "title": product.title,
            "text": product.text,
            "title_en": product.title_en,
            "department": product.department,
            "category": product.category,
            "type": product.type,
            "attributes": [f"{group}={value}" for group, value in product.attributes],
            "price": product.price,
            "language": product.language,
            "unseen_type": product.type in data.unseen,
        }


def query_rows(
    data: LanguageData, split: str, candidates: Mapping[CandidateKey, Sequence[Candidate]]
) -> Iterator[dict[str, object]]:
    """Yield the rows of `{language}-queries`; a text without candidates gets an empty list."""
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
            "hard_negatives": [part.products[row].id for row in negatives],
            "candidates": [vars(candidate) for candidate in candidates.get((query.language, query.text), ())],
        }


def qrel_rows(data: LanguageData, split: str) -> Iterator[dict[str, object]]:
    """Yield the rows of `{language}-qrels`: grades 1 to 3, everything else is irrelevant."""
    part = data.splits[split]
    for query, judged in zip(part.queries, part.judgements, strict=True):
        for row, grade in zip(judged.rows.tolist(), judged.grades.tolist(), strict=True):
            yield {"query-id": query.id, "corpus-id": part.products[row].id, "score": grade}


def similarity(lexicon: Lexicon, query: Query, product: Product, grade: int) -> float:
    """Return a graded similarity target in [0, 1], finer than the grades.

    1 exact; 0.6 to 0.9 the same type, by the share of attributes that match; 0.35 a sibling type; 0.25 a complement;
    for a vague query 0.5 a partial match; 0.1 the same department; 0 the rest.

    Source: ours.
    """
    if grade == 3:
        return 1.0
    if query.type and product.type == query.type:
        matched = sum(attribute in product.attributes for attribute in query.constraints)
        return round(0.6 + 0.3 * matched / len(query.constraints), 4)
    if grade == 1:
        if not query.type:
            return 0.5
        return 0.35 if product.type in lexicon.siblings(query.type) else 0.25
    department = lexicon.types[query.type].department if query.type else query.department
    return 0.1 if product.department == department else 0.0


def ranking_rows(lexicon: Lexicon, data: LanguageData, split: str) -> Iterator[dict[str, object]]:
    """Yield the rows of `{language}-ranking`: of every query pairs of all grades, the irrelevant ones drawn at random.

    Source: ours.
    """
    part = data.splits[split]
    for query, judged in zip(part.queries, part.judgements, strict=True):
        rng = random.Random(f"{data.seed}:{query.id}:ranking")
        grades = dict(zip(judged.rows.tolist(), judged.grades.tolist(), strict=True))
        chosen = [row for grade in (3, 2, 1) for row in _sample(rng, [row for row, own in grades.items() if own == grade], 2)]
        while len(chosen) < MAX_RANKING_PAIRS:
            row = rng.randrange(len(part.products))
            if row not in grades and row not in chosen:
                chosen.append(row)
        for row in chosen:
            product = part.products[row]
            target = similarity(lexicon, query, product, grades.get(row, 0))
            yield {"query": query.text, "title": product.title, "similarity": target, "language": data.language}


def _sample(rng: random.Random, rows: list[int], count: int) -> list[int]:
    return rng.sample(rows, min(count, len(rows)))


def part_rows(
    lexicon: Lexicon,
    data: LanguageData,
    part: str,
    split: str,
    candidates: Mapping[CandidateKey, Sequence[Candidate]],
) -> Iterator[dict[str, object]]:
    """Yield the rows of one part of `PARTS` and one split."""
    if part == "corpus":
        return corpus_rows(data, split)
    if part == "queries":
        return query_rows(data, split, candidates)
    return qrel_rows(data, split) if part == "qrels" else ranking_rows(lexicon, data, split)


def parquet_path(folder: Path, config: str, split: str, shard: int = 0, shards: int = 1) -> Path:
    """Return where a shard of a config and split is published."""
    return folder / config / f"{split}-{shard:05d}-of-{shards:05d}.parquet"


def write_language(
    lexicon: Lexicon, data: LanguageData, candidates: Mapping[CandidateKey, Sequence[Candidate]], folder: Path
) -> int:
    """Write the four configs of a language, file by file.

    Returns
    -------
    int
        How many queries have no candidates.

    Source: ours.
    """
    for part in PARTS:
        for split in SPLITS:
            rows = list(part_rows(lexicon, data, part, split, candidates))
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[part])
            _write_table(table, parquet_path(folder, f"{data.language}-{part}", split))
    queries = [query for split in SPLITS for query in data.splits[split].queries]
    missing = sum(not candidates.get((query.language, query.text)) for query in queries)
    logger.info("%s: %d of %d queries have no candidates", data.language, missing, len(queries))
    return missing


def _write_table(table: pa.Table, path: Path) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_all_configs(folder: Path, languages: Sequence[str]) -> None:
    """Write the `all-*` configs: the languages' files one after the other.

    Source: ours.
    """
    for part in PARTS:
        for split in SPLITS:
            with (
                atomic_path(parquet_path(folder, f"{ALL}-{part}", split)) as temporary,
                pq.ParquetWriter(temporary, SCHEMAS[part], compression="zstd") as writer,
            ):
                for language in languages:
                    writer.write_table(pq.read_table(parquet_path(folder, f"{language}-{part}", split), schema=SCHEMAS[part]))


def write_readme(folder: Path, languages: Sequence[str], release: Release, seed: int) -> None:
    """Write the card: what the configs are, in the YAML that `load_dataset` reads, and what they hold.

    Source: ours.
    """
    configs = [f"{language}-{part}" for language in (*languages, ALL) for part in PARTS]
    text = "\n".join(
        [
            "---",
            "language:",
            *(f"- {language}" for language in (*languages, "en")),
            "license: cc-by-4.0",
            "task_categories:",
            "- text-retrieval",
            "- sentence-similarity",
            "configs:",
            *_config_lines(configs),
            "---",
            "",
            f"# Product retrieval in {len(languages)} languages ({release.name}, seed {seed})",
            "",
            "Products and queries are generated from a hand-written lexicon; relevance follows from structure.",
            "",
            f"Each language has {release.products.total:,} products and {release.queries.total:,} queries.",
            "",
        ]
    )
    atomic_write_text(folder / "README.md", text)


def _config_lines(configs: Iterable[str]) -> Iterator[str]:
    for config in configs:
        yield f"- config_name: {config}"
        yield "  data_files:"
        for split in SPLITS:
            yield f"  - split: {split}"
            yield f"    path: {config}/{split}-*"
