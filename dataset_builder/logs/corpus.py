"""Build a corpus from a shop's own log: tell the languages, judge by actions, split by query."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from modeling_lira.errors import LiraError

from ..bm25 import tokens
from ..candidate_source import CANDIDATES_FILE, CandidateSource
from ..card import write_card
from ..generator.catalogue import stable_hash
from ..judged import CatalogueItem, JudgedQuery, split_of_text, write_judged
from ..layout import SPLITS
from ..lexicon import LANGUAGES, load_lexicon
from ..page import Paragraph, Table, to_markdown
from ..staging import staged
from .clicks import LEAST_SEEN, average_rates, examination, exposure, grades
from .collect import Log, LogQuery, collect
from .language_id import SUPPORTED, identify
from .reading import read_log

logger = logging.getLogger(__name__)
MAX_NEGATIVES = 8
UNTOUCHED_LANGUAGE = "in a language without any click, cart or purchase"
_TITLES_TO_IDENTIFY = 3
_PLAIN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
Queries = dict[str, LogQuery]


def build_log_corpus(
    folder: Path,
    path: Path,
    languages: Sequence[str] = SUPPORTED,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    candidates: Path = CANDIDATES_FILE,
) -> Log:
    """Build a corpus folder from a log; every row that is left out is counted under its reason.

    Parameters
    ----------
    folder : Path
        New, empty, or an earlier corpus, which is replaced in the end.
    path : Path
        The log; see `read_log`.
    languages : sequence of str
        Those that the shop's customers write: the fewer, the surer is the identification.
    columns : mapping of str, optional
        The log's column names by ours.
    seed : int
    candidates : Path
        Compressed candidates to join to the queries; other queries get the gloss.

    Returns
    -------
    Log
        What was kept, left out and removed.

    Raises
    ------
    LiraError
        A log that cannot be read, or of which nothing is left.

    Source: ours.
    """
    with staged(folder, {"log": str(path), "seed": seed}) as stage:
        log = collect(tqdm(read_log(path, columns), desc="rows", unit=" rows", disable=None))
        by_language = by_languages(log, languages)
        _say(log, path)
        if not by_language:
            reasons = ", ".join(f"{count} {reason}" for reason, count in log.dropped.most_common(3)) or "none dropped"
            raise LiraError(f"log {path} has no query with a click, cart or purchase: {log.rows} rows, {reasons}")
        source = CandidateSource(load_lexicon(languages=LANGUAGES), candidates)
        for language, queries in by_language.items():
            items = list(_items(log, queries, language))
            judged = judge(log, queries, language, seed)
            write_judged(stage.folder, language, items, judged, source if language in LANGUAGES else None, seed)
        write_card(stage.folder, "logs", {"seed": seed, "min_seen": f"{LEAST_SEEN:.0f}", "drops": _counts(log)})
    return log


def by_languages(log: Log, languages: Sequence[str]) -> dict[str, Queries]:
    """Group the queries by language, the declared one or else the identified one; others are dropped and counted.

    So are languages in which nobody touched anything.

    Source: ours.
    """
    found: dict[str, Queries] = {code: {} for code in SUPPORTED if code in languages}
    for key, query in log.queries.items():
        code = _language(log, query, languages)
        if code in found:
            found[code][key] = query
        elif query.declared:
            log.dropped[f"language {code} is not among those asked for"] += query.rows
        else:
            log.dropped["language is uncertain or not among those asked for"] += query.rows
    touched: dict[str, Queries] = {}
    for code, queries in found.items():
        untouched = sum(not query.touched for query in queries.values())
        if untouched < len(queries):
            touched[code] = queries
            log.untouched += untouched
        elif queries:
            log.dropped[UNTOUCHED_LANGUAGE] += sum(query.rows for query in queries.values())
    return touched


def _language(log: Log, query: LogQuery, languages: Sequence[str]) -> str | None:
    """Return the commonest declared language, or that of the query together with the titles of its products."""
    if query.declared:
        return min(query.declared, key=lambda code: (-query.declared[code], code))
    commonest = sorted(query.pairs, key=lambda key: (-len(query.pairs[key].positions) - query.pairs[key].clicks, key))
    titles = (log.products[key].title for key in commonest[:_TITLES_TO_IDENTIFY])
    return identify(" ".join([query.text, *titles]), languages)


def judge(log: Log, queries: Queries, language: str, seed: int) -> dict[str, list[JudgedQuery]]:
    """Return a language's queries with relevant products, by split.

    Source: ours.
    """
    pairs = [pair for query in queries.values() for pair in query.pairs.values()]
    chances = examination(pairs)
    rates = average_rates(pairs, chances)
    bands = _bands(queries)
    touched = _touched_by_word(queries, language)
    shown = {key for query in queries.values() for key in query.pairs}
    words = {key: frozenset(tokens(log.products[key].title, language)) for key in shown}
    judged: dict[str, list[JudgedQuery]] = {split: [] for split in SPLITS}
    for key, query in queries.items():
        own = grades(query.pairs, chances, rates)
        if own:
            negatives = _safe_negatives(query, touched, chances, words, language)
            names = {item: item_id(language, item) for item in query.pairs}
            judged[split_of_text(key, language, seed)].append(
                JudgedQuery(
                    text=query.text,
                    kind="log",
                    band=bands[key],
                    grades={names[item]: grade for item, grade in own.items()},
                    hard_negatives=[names[item] for item in negatives],
                )
            )
    return judged


def _bands(queries: Queries) -> dict[str, str]:
    """Return head, mid or tail by query: a third of the rows each."""
    total, before = sum(query.rows for query in queries.values()), 0
    bands: dict[str, str] = {}
    for key in sorted(queries, key=lambda key: (-queries[key].rows, key)):
        bands[key] = ("head", "mid", "tail")[min(3 * before // total, 2)]
        before += queries[key].rows
    return bands


def _touched_by_word(queries: Queries, language: str) -> dict[str, set[str]]:
    """Return the products that anybody touched, by each word of the queries."""
    touched: dict[str, set[str]] = {}
    for query in queries.values():
        own = {key for key, pair in query.pairs.items() if pair.touched}
        for word in set(tokens(query.text, language)):
            touched.setdefault(word, set()).update(own)
    return touched


def _safe_negatives(
    query: LogQuery,
    touched: Mapping[str, set[str]],
    chances: list[float],
    words: Mapping[str, frozenset[str]],
    language: str,
) -> list[str]:
    """Return products that were well seen under the query and left alone.

    None that anybody touched under this query or one that shares a word with it, and none whose title has the very
    words of such a product.
    """
    wanted = set().union(*(touched[word] for word in tokens(query.text, language)))
    same_words = {words[key] for key in wanted}
    seen = {
        key: exposure(pair, chances)
        for key, pair in query.pairs.items()
        if key not in wanted and words[key] not in same_words
    }
    well_seen = [key for key, times in seen.items() if times >= LEAST_SEEN]
    return sorted(well_seen, key=lambda key: (-seen[key], key))[:MAX_NEGATIVES]


def item_id(language: str, key: str) -> str:
    """Return a product's published id: the shop's own where it has a plain one, else a digest of the title.

    Source: ours.
    """
    return f"{language}-{key}" if _PLAIN_ID.fullmatch(key) else f"{language}-{stable_hash('product', key):016x}"


def _items(log: Log, queries: Queries, language: str) -> Iterator[CatalogueItem]:
    """Yield the products that the language's queries were shown, in order of their ids."""
    for key in sorted({key for query in queries.values() for key in query.pairs}):
        product = log.products[key]
        yield CatalogueItem(item_id(language, key), product.title, product.title_en or product.title)


def _say(log: Log, path: Path) -> None:
    logger.info("%s: %d of %d rows kept", path, log.kept, log.rows)
    for reason, count in log.dropped.most_common():
        logger.info("%9d  %s", count, reason)
    logger.info("%d of %d queries are left out: nobody touched anything", log.untouched, len(log.queries))


def _counts(log: Log) -> str:
    """Return what was left out and removed, as a part of the card."""
    removed = ", ".join(f"{kind} {count:,}" for kind, count in (+log.scrubbed).most_common()) or "nothing"
    rows = [["kept", log.kept], *log.dropped.most_common()]
    return to_markdown(
        [
            Paragraph(f"Of {log.rows:,} rows:"),
            Table(["rows", "count"], rows),
            Paragraph(
                f"Queries under which nobody touched anything are left out, {log.untouched:,} of {len(log.queries):,}; "
                "their products are in the corpus."
            ),
            Paragraph(f"Removed from distinct texts as possible personal data: {removed}."),
        ]
    )
