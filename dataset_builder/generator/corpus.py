"""Build a corpus from the authored lexicon: catalogues, queries, judgements, ranking pairs, the published folder."""

import hashlib
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from modeling_lira.errors import LiraError
from modeling_lira.faces.progress import Progress

from ..candidate_source import CANDIDATES_FILE, CandidateSource
from ..layout import SPLITS, PartWriter
from ..lexicon import ENGLISH, LANGUAGES, LEXICON_FOLDER, Lexicon, load_lexicon
from ..staging import Settings, staged
from .catalogue import Catalogue, Product
from .negatives import POOL, HardNegatives
from .products import ProductList
from .queries import Query, generate_queries
from .relevance import SplitIndex
from .rows import LanguageData, SplitData, corpus_row, qrel_tables, query_rows, ranking_rows
from .splits import Release, release_named, releases_up_to, split_products, unseen_types

logger = logging.getLogger(__name__)
OnProduct = Callable[[str, Product], None]


def build_corpus(
    folder: Path,
    size: str = "slice",
    languages: Sequence[str] = LANGUAGES,
    seed: int = 0,
    candidates: Path = CANDIDATES_FILE,
) -> None:
    """Build a corpus folder that `load_dataset` reads; it appears only when it is complete, README.md included.

    Parameters
    ----------
    folder : Path
        New, empty, or an earlier corpus, which is replaced in the end.
    size : "slice", "default" or "mega"
    languages : sequence of str
    seed : int
        Decides every product and query.
    candidates : Path
        Compressed candidates to join to the queries.

    Raises
    ------
    LiraError
        If the size or a language is unknown, the folder is not a corpus, or the candidates file is damaged.
    """
    from ..card import write_card

    start = time.perf_counter()
    release, codes = release_named(size), known_languages(languages)
    lexicon = load_lexicon(languages=codes)
    source = CandidateSource(lexicon, candidates)
    settings: Settings = {"size": size, "languages": list(codes), "seed": seed, "inputs": _fingerprint(candidates)}
    total = release.products.total * len(codes)
    with (
        staged(Path(folder), settings) as stage,
        Progress(total=total, desc="corpus", unit="product") as progress,
    ):
        for language in codes:
            progress.set_postfix_str(language)
            if language not in stage.finished:
                write_language(lexicon, language, release, seed, source, stage.folder, progress.update)
                stage.finish(language)
        write_card(stage.folder, "catalogue", _facts(lexicon, release, seed), (ENGLISH,))
    logger.info("%s: %s products in %.0f s, %s", folder, f"{total:,}", time.perf_counter() - start, _peak_memory())


def _peak_memory() -> str:
    unit = 2**20 if sys.platform == "linux" else 2**30
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.2f} GiB at most"


def known_languages(given: Sequence[str], known: Sequence[str] = LANGUAGES) -> tuple[str, ...]:
    """Return the languages asked for, in the usual order.

    Raises
    ------
    LiraError
        If none is given, or one is not among the known ones.
    """
    unknown = sorted(set(given) - set(known))
    if unknown or not given:
        raise LiraError(f"language {' '.join(unknown) or '(none)'} is unknown: choose from {' '.join(known)}")
    return tuple(code for code in known if code in given)


def build_language(
    lexicon: Lexicon, language: str, release: Release, seed: int, on_product: OnProduct | None = None
) -> LanguageData:
    """Generate one language of a release; of a large one, most products are not kept in memory (see `ProductList`).

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    release : Release
    seed : int
    on_product : callable, optional
        Called with the split and the product for each product that is made.
    """
    unseen = unseen_types(lexicon, seed)
    catalogue = Catalogue(lexicon, language, seed)
    products = {split: ProductList(catalogue) for split in SPLITS}
    indices = {split: SplitIndex(lexicon) for split in SPLITS}
    for split, product in split_products(catalogue, release.products, unseen, seed):
        products[split].append(product)
        indices[split].add(product)
        if on_product is not None:
            on_product(split, product)
    queries: dict[str, list[Query]] = {split: [] for split in SPLITS}
    for query in generate_queries(lexicon, language, seed, releases_up_to(release), products, unseen):
        queries[query.split].append(query)
    splits = {split: _judge(seed, split, products[split], indices[split], queries[split]) for split in SPLITS}
    return LanguageData(language, seed, unseen, splits)


def _judge(seed: int, split: str, products: ProductList, index: SplitIndex, queries: Sequence[Query]) -> SplitData:
    """Grade every product of the split for every query; only training queries get hard negatives."""
    judgements = [index.judge(query) for query in queries]
    if split == "train":
        finder = HardNegatives(index.lexicon, index, products[:POOL])
        negatives = [finder.find(query, judged) for query, judged in zip(queries, judgements, strict=True)]
    else:
        negatives = [[] for _ in queries]
    complements = [index.complements(query, judged) for query, judged in zip(queries, judgements, strict=True)]
    return SplitData(products, queries, judgements, complements, negatives)


def write_language(
    lexicon: Lexicon,
    language: str,
    release: Release,
    seed: int,
    candidates: CandidateSource,
    folder: Path,
    on_progress: Callable[[int], object] = lambda count: None,
) -> None:
    """Generate a language and write its four configs; each product is written as soon as it is made."""
    unseen = unseen_types(lexicon, seed)
    with ExitStack() as stack:
        writers = {split: stack.enter_context(PartWriter(folder, language, "corpus", split)) for split in SPLITS}

        def write(split: str, product: Product) -> None:
            writers[split].add(corpus_row(lexicon, product, unseen))
            on_progress(1)

        data = build_language(lexicon, language, release, seed, write)
    for split in SPLITS:
        with PartWriter(folder, language, "queries", split) as writer:
            writer.add_all(query_rows(lexicon, data, split, candidates))
        with PartWriter(folder, language, "qrels", split) as writer:
            for table in qrel_tables(data, split):
                writer.add_table(table)
        with PartWriter(folder, language, "ranking", split) as writer:
            writer.add_all(ranking_rows(lexicon, data, split))


@dataclass(frozen=True)
class SliceQuery:
    """A query of the smallest release with its candidates: `text`, `agent`, `semantic`, `emotional`, `pragmatic`."""

    text: str
    language: str
    split: str
    kind: str
    candidates: list[dict[str, str | float | None]]


def slice_queries(languages: Sequence[str] = LANGUAGES, seed: int = 0) -> Iterator[SliceQuery]:
    """Yield the queries of the slice, language by language, with the committed candidates or else the gloss."""
    codes = known_languages(languages)
    lexicon = load_lexicon(languages=codes)
    source = CandidateSource(lexicon, CANDIDATES_FILE)
    for query in release_queries(lexicon, codes, release_named("slice"), seed):
        candidates = [asdict(candidate) for candidate in source.of(query.language, query.text)]
        yield SliceQuery(query.text, query.language, query.split, query.kind, candidates)


def release_queries(
    lexicon: Lexicon, languages: Sequence[str], release: Release, seed: int, most: int = 0
) -> Iterator[Query]:
    """Yield the queries of a release, language by language and split by split.

    Parameters
    ----------
    lexicon : Lexicon
    languages : sequence of str
    release : Release
    seed : int
    most : int
        Largest number of queries for each language, 0 for no limit. Training queries are left out first, and among
        them those of a smaller release last.
    """
    for language in tqdm(languages, desc="languages", unit="language", disable=None):
        data = build_language(lexicon, language, release, seed)
        queries = [query for split in SPLITS for query in data.splits[split].queries]
        first = sorted(queries, key=lambda query: query.split == "train")
        chosen = {query.id for query in first[: most or None]}
        yield from (query for query in queries if query.id in chosen)


def _facts(lexicon: Lexicon, release: Release, seed: int) -> dict[str, str | int]:
    departments = {product_type.department for product_type in lexicon.types.values()}
    return {"release": release.name, "seed": seed, "types": len(lexicon.types), "departments": len(departments)}


def _fingerprint(candidates: Path) -> str:
    """Return a digest of the lexicon and of the candidates file."""
    digest = hashlib.sha256()
    for path in (*sorted(LEXICON_FOLDER.glob("*.tsv")), candidates):
        digest.update(path.read_bytes() if path.is_file() else b"none")
    return digest.hexdigest()
