"""Clean a log's rows and group them by query and product; what is left out is counted under its reason."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..generator.catalogue import stable_hash
from ..lexicon import normalise_text
from .cleaning import clean_text
from .clicks import ACTION_NUMBERS, ACTIONS, DEEPEST, Events, tally
from .language_id import language_code
from .personal_data import scrub
from .reading import BadRow, LogRow
from .spill import EventSpill

LONGEST = {"query": 200, "product": 500}
LONGEST_RAW = 2_000
"""Characters of a cell, markup included; a longer one is not even cleaned."""
_CACHED_TEXTS = 200_000
_LISTED_ACTIONS = 20
_DIGEST = (1 << 63) - 1
_ENGLISH = "English title"
_NO_VALUES = ("", "null", "none", "nan")


@dataclass(frozen=True)
class LogQuery:
    """A query: its number, its commonest spelling, its declared language ("" if none), and how many rows it has."""

    number: int
    text: str
    language: str
    rows: int


@dataclass(frozen=True)
class LogProduct:
    """A product: its key, which is the shop's id or made of its title, its commonest title and its English title."""

    key: str
    title: str
    title_en: str


@dataclass
class Log:
    """A cleaned log: its queries, products and events, and counts of what was left out or removed.

    Attributes
    ----------
    queries, products : list
        By number.
    events : Events
    rows : int
        All rows of the log, those left out included: `kept` plus the total of `dropped`.
    dropped : Counter
        Rows left out, by reason.
    scrubbed : Counter
        Pieces of personal data removed from distinct texts, by kind.
    actions : Counter
        Rows of unknown actions, by the action's name.
    rare : int
        Queries left out because too few sessions asked them.
    beyond_ascii : int
        Rows that could be read and whose query or product has other characters than ASCII.
    untouched : int
        Queries under which nobody clicked, carted or bought.
    guessed : Counter
        Queries without a declared language, by the language that was guessed.
    """

    queries: list[LogQuery] = field(default_factory=list)
    products: list[LogProduct] = field(default_factory=list)
    events: Events = field(default_factory=lambda: Events(*(np.empty(0, np.int64) for _ in range(5))))
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    scrubbed: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    rare: int = 0
    beyond_ascii: int = 0
    untouched: int = 0
    guessed: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """How many rows were not left out."""
        return self.rows - self.dropped.total()

    @property
    def has_english_titles(self) -> bool:
        """Whether any product has an English title."""
        return any(product.title_en for product in self.products)


def collect(rows: Iterable[LogRow | BadRow], min_sessions: int = 1, folder: Path | None = None) -> Log:
    """Clean the rows and group them; products with one title are one product.

    Parameters
    ----------
    rows : iterable of LogRow or BadRow
    min_sessions : int
        Queries of fewer sessions are left out: a text that only one person typed may identify them.
    folder : Path, optional
        Where events are stored while the log is read; by default the system's folder for temporary files.
    """
    with TemporaryDirectory(prefix=".spill-", dir=folder) as name, EventSpill(Path(name)) as spill:
        collector = _Collector(spill)
        for row in rows:
            collector.add(row)
        return _Grouping(collector, spill, min_sessions).log()


class _Collector:
    """Writes the events of a log into an `EventSpill`; caches cleaned texts, since most of them occur many times."""

    def __init__(self, spill: EventSpill) -> None:
        self.log = Log()
        self.languages = [""]
        self._spill = spill
        self._query = lru_cache(_CACHED_TEXTS)(self._read_query)
        self._product = lru_cache(_CACHED_TEXTS)(self._read_product)
        self._language = lru_cache(_CACHED_TEXTS)(self._read_language)

    def add(self, row: LogRow | BadRow) -> None:
        """Add a row, or count why it is left out."""
        self.log.rows += 1
        if isinstance(row, LogRow):
            self.log.beyond_ascii += not (row.query.isascii() and row.product.isascii())
        reason = row.reason if isinstance(row, BadRow) else self._add(row)
        if reason:
            self.log.dropped[reason] += 1

    def _add(self, row: LogRow) -> str:
        action = _action(row.action)
        if action is None:
            return self._unknown_action(row.action)
        query, product = self._query(row.query), self._product(row.product, row.product_id.strip(), row.title_en)
        if isinstance(query, str):
            return query
        if isinstance(product, str):
            return product
        position = _position(row.position)
        if position is None:
            return "position is not a whole number from 1"
        # A row that repeats an event of the same session and time was logged twice; without either, nobody can know.
        event = (row.session, row.time, query, product, action, row.position)
        repeatable = hash(event) & _DIGEST if row.session or row.time else 0
        session = hash(row.session) & _DIGEST if row.session else 0
        self._spill.add((*query, *product, session, repeatable, self._language(row.language), action, position))
        return ""

    def _unknown_action(self, given: str) -> str:
        name = clean_text(given[:LONGEST_RAW])
        if not name:
            return "no action"
        if name in self.log.actions or len(self.log.actions) < _LISTED_ACTIONS:
            self.log.actions[name] += 1
        return "unknown action"

    def _read_query(self, raw: str) -> tuple[int, int] | str:
        """Return the digests of a query's normalised and cleaned text, or why it cannot be used."""
        text, fault = self._clean("query", raw)
        return fault or (_digest(normalise_text(text)), self._remember(text))

    def _read_product(self, raw: str, shop_id: str, title_en: str) -> tuple[int, int] | str:
        """Return the digests of a product's key and title, or why it cannot be used."""
        text, fault = self._clean("product", raw)
        if fault:
            return fault
        key = self._remember(shop_id or f"title:{normalise_text(text)}")
        english, fault = self._clean("product", title_en)
        if not fault:
            self._spill.remember(_digest(_ENGLISH, key), english)
        return key, self._remember(text)

    def _clean(self, name: str, raw: str) -> tuple[str, str]:
        """Return the clean text and "", or "" and the reason why it cannot be used."""
        if raw.strip().casefold() in _NO_VALUES:
            return "", f"no {name}"
        # A very long cell is dropped below anyway, so that cleaning it would only take time.
        text = scrub(clean_text(raw), self.log.scrubbed) if len(raw) <= LONGEST_RAW else raw
        if len(text) > LONGEST[name]:
            return "", f"{name} is longer than {LONGEST[name]} characters"
        return (text, "") if any(char.isalnum() for char in text) else ("", f"{name} is empty after cleaning")

    def _remember(self, text: str) -> int:
        number = _digest(text)
        self._spill.remember(number, text)
        return number

    def _read_language(self, given: str) -> int:
        code = language_code(given[:LONGEST_RAW])
        if code not in self.languages:
            self.languages.append(code)
        return self.languages.index(code)


class _Grouping:
    """Groups the events of a spill by query and product, a share of the queries at a time."""

    def __init__(self, collector: _Collector, spill: EventSpill, min_sessions: int) -> None:
        self._log, self._languages, self._spill = collector.log, collector.languages, spill
        shares = [self._kept(share, min_sessions) for share in spill.shares()]
        self._tables = [
            [np.concatenate(columns) for columns in zip(*tables, strict=True)] for tables in zip(*shares, strict=True)
        ]

    def log(self) -> Log:
        """Return the log with its queries, products and events."""
        if not self._tables:
            return self._log
        spellings, declared, titles, (query, product, action, position, count) = self._tables
        query_numbers = self._add_queries(spellings, declared)
        product_numbers = self._add_products(titles)
        columns = (query_numbers(query), product_numbers(product), action, position)
        self._log.events = Events(*tally(*columns, weights=count))
        return self._log

    def _kept(self, share: np.ndarray, min_sessions: int) -> tuple[list[np.ndarray], ...]:
        """Return the tallies of a share: spellings, declared languages, titles and events of its frequent queries."""
        share = self._without_repeats(share)
        queries, index = np.unique(share["query"], return_inverse=True)
        frequent = _sessions(share, index, len(queries)) >= min_sessions
        rows = frequent[index]
        if not rows.all():
            reason = f"query of fewer than {min_sessions} sessions"
            self._log.dropped[reason] += int((~rows).sum())
            self._log.rare += int((~frequent).sum())
        share = share[rows]
        query, declared = share["query"], share["language"] > 0
        return (
            tally(query, share["spelling"]),
            tally(query[declared], share["language"][declared]),
            tally(share["product"], share["title"]),
            tally(query, share["product"], share["action"], share["position"]),
        )

    def _without_repeats(self, share: np.ndarray) -> np.ndarray:
        """Keep the first of equal events; events without session and time have no number and are all kept."""
        _, first = np.unique(share["event"], return_index=True)
        kept = share["event"] == 0
        kept[first] = True
        repeats = len(share) - int(kept.sum())
        if repeats:
            self._log.dropped["duplicate"] += repeats
        return share[kept]

    def _add_queries(
        self, spellings: Sequence[np.ndarray], declared: Sequence[np.ndarray]
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Add the queries in the order of their texts; return a function from their digests to their numbers."""
        spelling = _commonest(spellings, self._spill.texts(np.unique(spellings[1]).tolist()))
        language = _commonest(declared, dict(enumerate(self._languages)))
        keys, counts = tally(spellings[0], weights=spellings[2])
        rows = dict(zip(keys.tolist(), counts.tolist(), strict=True))
        ordered = sorted(spelling, key=lambda key: (normalise_text(spelling[key]), key))
        for number, key in enumerate(ordered):
            self._log.queries.append(LogQuery(number, spelling[key], language.get(key, ""), rows[key]))
        return _numbering({key: number for number, key in enumerate(ordered)})

    def _add_products(self, table: Sequence[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        """Add the products in the order of their keys; products of equal titles become one.

        Returns a function from the digests of their keys to their numbers.
        """
        titles = _commonest(table, self._spill.texts(np.unique(table[1]).tolist()))
        keys = self._spill.texts(titles)
        english = {digest: _digest(_ENGLISH, digest) for digest in titles}
        texts_en = self._spill.texts(english.values())
        owners: dict[str, int] = {}
        numbers: dict[int, int] = {}
        for digest in sorted(titles, key=lambda digest: keys[digest]):
            normalised = normalise_text(titles[digest])
            if normalised not in owners:
                owners[normalised] = len(self._log.products)
                title_en = texts_en.get(english[digest], "")
                self._log.products.append(LogProduct(keys[digest], titles[digest], title_en))
            numbers[digest] = owners[normalised]
        return _numbering(numbers)


def _sessions(share: np.ndarray, index: np.ndarray, queries: int) -> np.ndarray:
    """Return how many sessions asked each query, [queries].

    Events without a session come from at least n sessions if one of them occurs n times, since a search shows a product
    only once.
    """
    known = share["session"] != 0
    sessions = np.bincount(tally(index[known], share["session"][known])[0], minlength=queries)
    events = tally(index[~known], share["product"][~known], share["action"][~known])
    np.maximum.at(sessions, events[0], events[-1])
    return sessions


def _commonest(table: Sequence[np.ndarray], texts: Mapping[int, str]) -> dict[int, str]:
    """Return each owner's commonest text, of equally common ones the first in order.

    A table is three arrays of one length: owners, digests of texts, counts.
    """
    owners, digests, counts = tally(*table[:2], weights=table[2])
    best: dict[int, tuple[int, str]] = {}
    for owner, digest, count in zip(owners.tolist(), digests.tolist(), counts.tolist(), strict=True):
        candidate = (-count, texts[digest])
        best[owner] = min(best.get(owner, candidate), candidate)
    return {owner: text for owner, (_, text) in best.items()}


def _numbering(numbers: Mapping[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that maps digests to their numbers."""
    digests = np.fromiter(numbers, np.int64, len(numbers))
    order = np.argsort(digests)
    values = np.fromiter(numbers.values(), np.int64, len(numbers))[order]
    return lambda wanted: values[np.searchsorted(digests[order], wanted)]


def _digest(*parts: object) -> int:
    return stable_hash(*parts) & _DIGEST


@lru_cache(_CACHED_TEXTS)
def _action(given: str) -> int | None:
    name = ACTIONS.get("_".join(given[:LONGEST_RAW].casefold().replace("-", " ").split()))
    return None if name is None else ACTION_NUMBERS[name]


@lru_cache(_CACHED_TEXTS)
def _position(given: str) -> int | None:
    """Return the position, at most `DEEPEST`; 0 if none is given, None if it is not a whole number from 1."""
    text = given.strip()
    if text.casefold() in _NO_VALUES:
        return 0
    try:
        number = float(text)
    except ValueError:
        return None
    return int(min(number, DEEPEST)) if 1 <= number < 2**31 and number == int(number) else None
