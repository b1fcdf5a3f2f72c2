"""Check that a corpus's splits share no texts or products, and that its parts refer to existing rows."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ..layout import SPLITS, languages_in, read_part
from ..lexicon import normalise_text
from ..scripts import bag_of_words

Tables = Mapping[str, pa.Table]
"""One part's tables by split."""


def check_leakage(folder: Path) -> dict[str, dict[str, int]]:
    """Count faults by language and check; every count of a sound corpus is 0.

    Parameters
    ----------
    folder : Path
        A corpus folder, whatever made it.
    """
    return {language: check_language(folder, language) for language in languages_in(folder)}


def check_language(folder: Path, language: str) -> dict[str, int]:
    """Count the faults of one language by check; see `check_leakage`."""

    def read(part: str, *columns: str) -> Tables:
        return {split: read_part(folder, language, part, split, list(columns)) for split in SPLITS}

    products = read("corpus", "_id", "title", "title_en", "type", "unseen_type")
    queries = read("queries", "_id", "text", "type", "unseen_type", "hard_negatives")
    qrels = read("qrels", "query-id", "corpus-id", "score")
    checks = {
        "query texts in two splits": _shared(queries, "text", normalise_text),
        "queries of the same words in two splits": _shared(queries, "text", bag_of_words),
        "query ids in two splits": _shared(queries, "_id"),
        "query texts twice in a split": sum(_repeated(table, "text") for table in queries.values()),
        "titles twice in a split": sum(_repeated(table, "title") for table in products.values()),
        "judgements of unknown queries or products": _dangling(products, queries, qrels),
        "queries without a relevant product": _unanswered(queries, qrels),
        "hard negatives that are relevant": _relevant_negatives(queries, qrels),
    }
    if has_one_catalogue(products):
        return checks
    return {
        **checks,
        "products in two splits": _shared(products, "_id"),
        "titles in two splits": _shared(products, "title", normalise_text),
        "titles of the same words in two splits": _shared(products, "title", bag_of_words),
        "English titles in two splits": _shared(products, "title_en", normalise_text),
        "unseen types in training queries": sum(queries["train"]["unseen_type"].to_pylist()),
        "unseen types in training products": _unseen_in_training(products, queries),
    }


def has_one_catalogue(products: Tables) -> bool:
    """Return whether every split has the same products, without types, as in a corpus from a log."""
    catalogues = [set(table["_id"].to_pylist()) for table in products.values() if table.num_rows]
    typed = any(name for table in products.values() for name in pc.unique(table["type"]).to_pylist())
    return not typed and len(catalogues) > 1 and all(catalogue == catalogues[0] for catalogue in catalogues)


def _shared(tables: Tables, column: str, key: Callable[[str], str] = str) -> int:
    values = [{key(text) for text in table[column].to_pylist()} for table in tables.values()]
    return sum(len(first & second) for first, second in combinations(values, 2))


def _repeated(table: pa.Table, column: str) -> int:
    texts = table[column].to_pylist()
    return len(texts) - len({normalise_text(text) for text in texts})


def _unseen_in_training(products: Tables, queries: Tables) -> int:
    """Count training products marked as unseen, or of a type that any row marks as unseen."""
    marked = {
        name
        for tables in (products, queries)
        for table in tables.values()
        for name, unseen in _rows(table, "type", "unseen_type")
        if unseen
    }
    return sum(unseen or name in marked for name, unseen in _rows(products["train"], "type", "unseen_type"))


def _dangling(products: Tables, queries: Tables, qrels: Tables) -> int:
    """Count the judgements whose query or product is not in the same split."""
    count = 0
    for split, table in qrels.items():
        for column, owners in (("query-id", queries), ("corpus-id", products)):
            known = pa.array(owners[split]["_id"].to_pylist(), pa.string())
            count += table.num_rows - (pc.sum(pc.is_in(table[column], known)).as_py() or 0)
    return count


def _unanswered(queries: Tables, qrels: Tables) -> int:
    count = 0
    for split, table in queries.items():
        relevant = _relevant(qrels[split])
        count += len(set(table["_id"].to_pylist()) - set(relevant["query-id"].unique().to_pylist()))
    return count


def _relevant_negatives(queries: Tables, qrels: Tables) -> int:
    count = 0
    for split, table in queries.items():
        negatives = [f"{query}\t{name}" for query, names in _rows(table, "_id", "hard_negatives") for name in names]
        relevant = _relevant(qrels[split])
        pairs = pc.binary_join_element_wise(relevant["query-id"], relevant["corpus-id"], "\t")
        count += pc.sum(pc.is_in(pairs, pa.array(negatives, pa.string()))).as_py() or 0
    return count


def _relevant(qrels: pa.Table) -> pa.Table:
    return qrels.filter(pc.greater(qrels["score"], 0))


def _rows(table: pa.Table, *columns: str) -> Iterable[tuple]:
    return zip(*(table[column].to_pylist() for column in columns), strict=True)
