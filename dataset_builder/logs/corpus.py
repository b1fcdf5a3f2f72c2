"""Build a corpus from a shop's own log: identify languages, grade products by what shoppers did, split by query."""

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modeling_lira.data.languages import letters_of, match_language
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.bm25 import tokens
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import one_line

from ..candidate_source import CANDIDATES_FILE, CandidateSource
from ..card import write_card
from ..generator.catalogue import stable_hash
from ..judged import CatalogueItem, JudgedQuery, split_of_text, without_empty_splits, write_judged
from ..layout import SPLITS
from ..lexicon import LANGUAGES, QUERY_LANGUAGES, load_lexicon, normalise_text
from ..page import Paragraph, Table, to_markdown
from ..staging import staged
from .clicks import IMPRESSION, Events, Pairs, average_rates, examination, grades, tally
from .collect import Log, LogQuery, collect
from .files import log_files
from .language_id import known_to_identifier, tell_languages
from .negatives import SafeNegatives
from .reading import read_logs
from .store import full_disk_named

logger = logging.getLogger(__name__)
MIN_SESSIONS = 3
UNTOUCHED_LANGUAGE = "in a language without any click, cart or purchase"
_TITLES_TO_IDENTIFY = 3
_PLAIN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_CODE = re.compile("[a-z]{2,3}(-[A-Z][a-z]{3})?")
Judged = dict[str, list[JudgedQuery]]


@full_disk_named()
def build_log_corpus(
    folder: Path,
    inputs: str | Path | Sequence[str | Path],
    languages: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    candidates: Path = CANDIDATES_FILE,
    min_sessions: int = MIN_SESSIONS,
) -> Log:
    """Build a corpus folder from a log of one file or many; every row that is left out is counted under its reason.

    Parameters
    ----------
    folder : Path
        New, empty, or an earlier corpus, which is replaced in the end.
    inputs : str, Path or sequence
        The log's files, as `log_files` takes them: tables that `read_log` reads.
    languages : sequence of str, optional
        Languages that the shop's customers write, by default all of `QUERY_LANGUAGES`; any others must be named here.
        The fewer are given, the more reliably the language of a query is identified.
    columns : mapping of str, optional
        The log's column names by ours.
    seed : int
    candidates : Path
        Compressed candidates to join to the queries; other queries get the gloss.
    min_sessions : int
        Queries of fewer sessions are left out: a text that only one person typed may identify them.

    Returns
    -------
    Log
        What was kept, left out and removed.

    Raises
    ------
    LiraError
        If the log cannot be read, is in another encoding than UTF-8 or UTF-16, or has no usable query.
    """
    inputs = [inputs] if isinstance(inputs, str | Path) else inputs
    name = " ".join(map(str, inputs))
    with staged(folder, {"log": name, "seed": seed}) as stage:
        rows = Progress(read_logs(log_files(inputs), columns), desc="log", unit="row")
        log = collect(rows, min_sessions, stage.folder)
        _warn_of_languages(languages or QUERY_LANGUAGES)
        by_language = by_languages(log, languages or QUERY_LANGUAGES)
        _report(log, name, languages)
        if not by_language:
            hint = "" if languages else "; by default the corpus' languages are kept, --languages names others"
            raise LiraError(f"log {name} has no query with a click, cart or purchase: {_main_reasons(log)}{hint}")
        source = CandidateSource(load_lexicon(languages=LANGUAGES), candidates)
        least = {}
        for language, queries in by_language.items():
            judged, least[language] = judge(log, queries, language, seed)
            items = _items(log, queries, language)
            write_judged(stage.folder, language, items, judged, source, seed)
        write_card(stage.folder, "logs", _facts(log, seed, min_sessions, least))
    return log


def _warn_of_languages(languages: Sequence[str]) -> None:
    """Say which of the languages have no lexicon, and which of them queries must declare to be counted as theirs."""
    beyond = [code for code in languages if code not in QUERY_LANGUAGES]
    if beyond:
        logger.info("no lexicon of %s: no glosses; candidates come from --candidates alone", ", ".join(beyond))
    rivals = {code for code in beyond for other in languages if code != other and letters_of(code) & letters_of(other)}
    if untold := sorted(rivals - set(known_to_identifier(sorted(rivals)))):
        logger.warning("%s cannot be told from other languages: their queries must say it", ", ".join(untold))


def by_languages(log: Log, languages: Sequence[str]) -> dict[str, list[LogQuery]]:
    """Group the queries by their declared or identified language; drop and count those of other languages.

    Languages in which nobody clicked, carted or bought anything are dropped and counted too.
    """
    touched = touched_queries(log)
    groups: dict[str, list[LogQuery]] = {code: [] for code in languages}
    for query, given in zip(log.queries, _languages(log, languages), strict=True):
        code = given and match_language(given, groups)
        if code:
            groups[code].append(query)
        elif query.language:
            log.dropped[_foreign(query.language)] += query.rows
        else:
            log.dropped["language is none of those asked for"] += query.rows
    for code, queries in list(groups.items()):
        untouched = sum(not touched[query.number] for query in queries)
        if untouched < len(queries):
            log.untouched += untouched
        else:
            log.dropped[UNTOUCHED_LANGUAGE] += sum(query.rows for query in queries)
            del groups[code]
    log.dropped = +log.dropped
    return groups


def touched_queries(log: Log) -> np.ndarray:
    """Return whether anybody clicked, carted or bought anything under each query, [queries]."""
    touched = np.zeros(len(log.queries), bool)
    touched[log.events.query[log.events.action != IMPRESSION]] = True
    return touched


def _foreign(code: str) -> str:
    """Return the reason for dropping a declared language; only a code is repeated, as the rest may be any text."""
    return f"language {code} is not among those asked for" if _CODE.fullmatch(code) else "language is not a code"


def _languages(log: Log, languages: Sequence[str]) -> list[str | None]:
    """Return the declared or else the identified language of each query, None if unknown; count the identified ones."""
    declared = Counter(query.language for query in log.queries if query.language)
    unknown = [query for query in log.queries if not query.language]
    if not unknown:
        return [query.language for query in log.queries]
    titles = _commonest_titles(log)
    guesses = tell_languages([(query.text, titles[query.number]) for query in unknown], languages, declared)
    log.guessed.update(code for code in guesses if code)
    by_number = {query.number: code for query, code in zip(unknown, guesses, strict=True)}
    return [query.language or by_number[query.number] for query in log.queries]


def _commonest_titles(log: Log) -> list[list[str]]:
    """Return up to three titles for each query: those of the products with most events under it."""
    query, product, count = tally(log.events.query, log.events.product, weights=log.events.count)
    titles: list[list[str]] = [[] for _ in log.queries]
    for row in np.lexsort((product, -count, query)).tolist():
        chosen = titles[query[row]]
        if len(chosen) < _TITLES_TO_IDENTIFY:
            chosen.append(log.products[product[row]].title)
    return titles


def judge(log: Log, queries: Sequence[LogQuery], language: str, seed: int) -> tuple[Judged, float]:
    """Return a language's judged queries by split, and `SafeNegatives.least`, the views that a hard negative needs."""
    pairs = Pairs(_events_of(log, queries))
    chances = examination(pairs)
    grade = grades(pairs, chances, average_rates(pairs, chances))
    texts, titles = [query.text for query in log.queries], [product.title for product in log.products]
    negatives = SafeNegatives(pairs, pairs.exposure(chances), texts, titles, language)
    names = [item_id(language, product.key) for product in log.products]
    bands = _bands(queries)
    judged: Judged = {split: [] for split in SPLITS}
    for query in queries:
        rows = slice(*np.searchsorted(pairs.query, [query.number, query.number + 1]))
        if not grade[rows].any():
            continue
        graded = zip(pairs.product[rows].tolist(), grade[rows].tolist(), strict=True)
        words = " ".join(sorted(tokens(query.text, ""))) or normalise_text(query.text)
        judged[split_of_text(words, language, seed)].append(
            JudgedQuery(
                text=query.text,
                kind="log",
                band=bands[query.number],
                grades={names[product]: level for product, level in graded if level},
                hard_negatives=[names[product] for product in negatives.of_query(rows)],
            )
        )
    return without_empty_splits(judged), negatives.least


def _events_of(log: Log, queries: Sequence[LogQuery]) -> Events:
    chosen = np.zeros(len(log.queries), bool)
    chosen[[query.number for query in queries]] = True
    return log.events.of_queries(chosen)


def _bands(queries: Sequence[LogQuery]) -> dict[int, str]:
    """Return "head", "mid" or "tail" by query number: each band has a third of the log's rows."""
    total, before = sum(query.rows for query in queries), 0
    bands: dict[int, str] = {}
    for query in sorted(queries, key=lambda query: (-query.rows, query.number)):
        bands[query.number] = ("head", "mid", "tail")[min(3 * before // total, 2)]
        before += query.rows
    return bands


def item_id(language: str, key: str) -> str:
    """Return a product's published id: the shop's own where it has a plain one, else a digest of the title."""
    return f"{language}-{key}" if _PLAIN_ID.fullmatch(key) else f"{language}-{stable_hash('product', key):016x}"


def _items(log: Log, queries: Sequence[LogQuery], language: str) -> list[CatalogueItem]:
    """Return the products that the language's queries were shown, in order of their keys."""
    shown = (log.products[number] for number in np.unique(_events_of(log, queries).product))
    return [
        CatalogueItem(item_id(language, product.key), product.title, product.title_en or product.title)
        for product in shown
    ]


def _report(log: Log, name: str, languages: Sequence[str] | None) -> None:
    logger.info("%s: %d of %d rows kept", name, log.kept, log.rows)
    for reason, count in log.dropped.most_common():
        logger.info("%9d  %s", count, reason)
    if log.actions:
        logger.info("unknown actions: %s", one_line(_listed(log.actions)))
    logger.info("%d of %d queries are left out: nobody touched anything", log.untouched, len(log.queries))
    if log.guessed and not languages:
        logger.warning(
            "the log does not say the language of %d queries; by their text: %s. If the shop's customers write "
            "only some of these, name them: --languages %s",
            log.guessed.total(), _listed(log.guessed), " ".join(_usual(log.guessed)),
        )  # fmt: skip


def _usual(counts: Counter[str]) -> list[str]:
    """Return the languages of at least a twentieth of the queries."""
    return [code for code, count in counts.most_common() if 20 * count >= counts.total()]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def _main_reasons(log: Log) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in log.dropped.most_common(3)) or "none dropped"
    actions = f"; unknown actions: {_listed(log.actions)}" if log.actions else ""
    return f"{log.rows} rows, {reasons}{one_line(actions)}"


def _facts(log: Log, seed: int, min_sessions: int, least: Mapping[str, float]) -> dict[str, str | int]:
    """Return what the card says of this log."""
    seen = ", ".join(f"{language} {times:.0f}" for language, times in least.items() if math.isfinite(times))
    english = (
        "`title_en` is the shop's English title, or repeats the title of a product that has none"
        if log.has_english_titles
        else "the log has **no English titles**: `title_en` repeats the title and must not be used as English"
    )
    return {
        "seed": seed, "min_sessions": min_sessions, "min_seen": seen or "none", "english": english,
        "drops": _counts(log),
    }  # fmt: skip


def _counts(log: Log) -> str:
    """Return what was left out and removed, as a part of the card."""
    rows = [["kept", log.kept], *log.dropped.most_common()]
    guessed = f"{log.guessed.total():,} queries had no declared language; by their text: {_listed(log.guessed)}."
    sentences = [
        f"Queries under which nobody touched anything are left out, {log.untouched:,} of {len(log.queries):,}; their "
        "products are in the corpus.",
        f"Removed from texts as possible personal data: {_listed(+log.scrubbed) or 'nothing'}.",
        *([f"Unknown actions: {_listed(log.actions)}."] if log.actions else []),
        *([f"{log.rare:,} queries of too few sessions are left out."] if log.rare else []),
        *([guessed] if log.guessed else []),
    ]
    table = Table(["rows", "count"], rows)
    return to_markdown([Paragraph(f"Of {log.rows:,} rows:"), table, *map(Paragraph, sentences)])
