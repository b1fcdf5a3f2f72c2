"""Count the rows, kinds, grades and agents of a corpus folder from its Parquet files."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from modeling_lira.evaluation.bm25 import tokens

from .layout import SPLITS, languages_in, read_part, shards

TITLES_READ = 20_000


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one language and split; `grades` has the judgements by grade, `agents` the candidates by agent.

    `scored` counts the candidates that a critic has scored, `translated` the queries that have such.
    """

    products: int
    queries: int
    judgements: int
    pairs: int
    unseen_queries: int
    kinds: Mapping[str, int]
    grades: Mapping[int, int]
    agents: Mapping[str, int]
    scored: int
    translated: int


def count_corpus(folder: Path) -> dict[str, dict[str, SplitCounts]]:
    """Return the counts of every language and split."""
    return {
        language: {split: count_split(folder, language, split) for split in SPLITS} for language in languages_in(folder)
    }


def count_split(folder: Path, language: str, split: str) -> SplitCounts:
    """Count one language and split; the product texts and qrels ids are not read."""
    queries = read_part(folder, language, "queries", split, ["kind", "unseen_type", "candidates"])
    grades = read_part(folder, language, "qrels", split, ["score"])["score"]
    candidates = pc.list_flatten(queries["candidates"])
    agents = pc.struct_field(candidates, "agent").to_pylist()
    scored = pc.is_valid(pc.struct_field(candidates, "semantic"))
    return SplitCounts(
        products=rows_of(folder, language, "corpus", split),
        queries=queries.num_rows,
        judgements=len(grades),
        pairs=rows_of(folder, language, "ranking", split),
        unseen_queries=sum(queries["unseen_type"].to_pylist()),
        kinds=dict(Counter(queries["kind"].to_pylist())),
        grades={row["values"]: row["counts"] for row in pc.value_counts(grades).to_pylist()},
        agents=dict(Counter(agents)),
        scored=pc.sum(scored).as_py() or 0,
        translated=pc.count_distinct(pc.list_parent_indices(queries["candidates"]).filter(scored)).as_py(),
    )


def rows_of(folder: Path, language: str, part: str, split: str) -> int:
    """Return the rows of a config and split, from the files' footers."""
    return sum(pq.read_metadata(path).num_rows for path in shards(folder, f"{language}-{part}", split))


def seen_words(folder: Path, language: str) -> float:
    """Return the share of the words of test queries and titles that occur in those of training; NaN without words.

    Of titles, the first `TITLES_READ` of a split are read. In an unspaced language, a word is a run of three letters.
    """
    known = set(_words(folder, language, "train"))
    counts = Counter(_words(folder, language, "test"))
    seen = sum(count for word, count in counts.items() if word in known)
    return seen / counts.total() if counts else float("nan")


def _words(folder: Path, language: str, split: str) -> Iterator[str]:
    for part, column in (("queries", "text"), ("corpus", "title")):
        for text in read_part(folder, language, part, split, [column])[column].slice(0, TITLES_READ).to_pylist():
            yield from tokens(text, language)
