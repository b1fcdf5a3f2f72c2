"""Clean a log's rows and group them by query and product; what is left out is counted under its reason."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from modeling_lira.data.languages import language_code

from ..lexicon import normalise_text
from . import statements as sql
from .cleaning import clean_text
from .clicks import ACTION_NUMBERS, DEEPEST, Events, tally
from .personal_data import scrub
from .reading import BadRow, LogRow
from .store import Store
from .words import names_of_actions, plain

LONGEST = {"query": 200, "product": 500}
LONGEST_RAW = 2_000
"""Characters of a cell, markup included; a longer one is not even cleaned."""
_LISTED_ACTIONS = 20
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
        Where rows are stored while the log is read; by default the system's folder for temporary files.
    """
    with TemporaryDirectory(prefix=".spill-", dir=folder) as name, Store(Path(name)) as store:
        log = Log()
        for row in rows:
            log.rows += 1
            if isinstance(row, BadRow):
                log.dropped[row.reason] += 1
            else:
                store.add(row)
        store.close_log()
        _Cleaner(log).clean(store)
        _Grouping(log, store).group(min_sessions)
        return log


class _Cleaner:
    """Reads the distinct values of a log's columns and stores what they mean, or why a row with them is left out."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def clean(self, store: Store) -> None:
        """Make a table of each column's distinct values."""
        store.add_table("actions(action VARCHAR, number TINYINT)", self._action, sql.ACTIONS)
        store.add_table("positions(position VARCHAR, depth TINYINT)", _position, sql.POSITIONS)
        store.add_table("languages(language VARCHAR, code VARCHAR)", _language, sql.LANGUAGES)
        meaning = "fault VARCHAR, key VARCHAR, text VARCHAR"
        store.add_table(f"cleaned_queries(query VARCHAR, {meaning})", self._query, sql.QUERIES)
        given = "product VARCHAR, product_id VARCHAR, title_en VARCHAR, row BIGINT"
        store.add_table(f"cleaned_products({given}, {meaning}, english VARCHAR)", self._product, sql.PRODUCTS)
        store.run(sql.NUMBER_QUERIES)
        store.run(sql.NUMBER_PRODUCTS)

    def _action(self, given: str, rows: int) -> tuple[str, int | None]:
        action = names_of_actions().get(plain(given[:LONGEST_RAW]))
        if action is not None:
            return given, ACTION_NUMBERS[action]
        name = clean_text(given[:LONGEST_RAW])
        self._log.dropped["unknown action" if name else "no action"] += rows
        if name and (name in self._log.actions or len(self._log.actions) < _LISTED_ACTIONS):
            self._log.actions[name] += rows
        return given, None

    def _query(self, raw: str) -> tuple[str, str | None, str | None, str | None]:
        """Return a query, why it cannot be used, its normalised text and its clean text."""
        text, fault = self._text("query", raw)
        return (raw, fault, None, None) if fault else (raw, None, normalise_text(text), text)

    def _product(
        self, raw: str, shop_id: str, title_en: str, row: int
    ) -> tuple[str, str, str, int, str | None, str | None, str | None, str | None]:
        """Return a product, why it cannot be used, its key, its clean title and its clean English title."""
        text, fault = self._text("product", raw)
        given = raw, shop_id, title_en, row
        if fault:
            return *given, fault, None, None, None
        english, _ = self._text("product", title_en)
        return *given, None, shop_id.strip() or f"title:{normalise_text(text)}", text, english or None

    def _text(self, name: str, raw: str) -> tuple[str, str]:
        """Return the clean text and "", or "" and the reason why it cannot be used."""
        if raw.strip().casefold() in _NO_VALUES:
            return "", f"no {name}"
        # A very long cell is dropped below anyway, so that cleaning it would only take time.
        text = scrub(clean_text(raw), self._log.scrubbed) if len(raw) <= LONGEST_RAW else raw
        if len(text) > LONGEST[name]:
            return "", f"{name} is longer than {LONGEST[name]} characters"
        return (text, "") if any(char.isalnum() for char in text) else ("", f"{name} is empty after cleaning")


class _Grouping:
    """Counts a store's rows by query, product, action and position."""

    def __init__(self, log: Log, store: Store) -> None:
        self._log, self._store = log, store

    def group(self, min_sessions: int) -> None:
        """Add the queries, products and events to the log, and count the rows that are left out."""
        log, run = self._log, self._store.run
        run(sql.EVENTS)
        log.dropped.update(dict(run(sql.FAULTS)))
        run(sql.DISTINCT)
        [[repeats]] = run(sql.REPEATS)
        run(sql.SESSIONS)
        [[log.rare, rare_rows]] = run(sql.RARE.format(min_sessions))
        log.dropped += Counter({"duplicate": repeats, f"query of fewer than {min_sessions} sessions": rare_rows})
        run(sql.FREQUENT.format(min_sessions))
        query_numbers, product_numbers = self._add_queries(), self._add_products()
        query, product, action, position, count = self._store.columns(sql.COUNTS)
        columns = (query_numbers(query), product_numbers(product), action, position)
        log.events = Events(*tally(*columns, weights=count))

    def _add_queries(self) -> Callable[[np.ndarray], np.ndarray]:
        """Add the queries in the order of their texts; return a function from their ids to their numbers."""
        declared = dict(self._store.run(sql.DECLARED))
        rows = sorted(
            (normalise_text(text), query, text, count) for query, text, count in self._store.run(sql.SPELLINGS)
        )
        for number, (_, query, text, count) in enumerate(rows):
            self._log.queries.append(LogQuery(number, text, declared.get(query, ""), count))
        return _numbering({query: number for number, (_, query, *_) in enumerate(rows)})

    def _add_products(self) -> Callable[[np.ndarray], np.ndarray]:
        """Add the products in the order of their keys; products of equal titles become one.

        Returns a function from their ids to their numbers.
        """
        owners: dict[str, int] = {}
        numbers: dict[int, int] = {}
        for product, key, title, title_en in self._store.run(sql.TITLES):
            normalised = normalise_text(title)
            if normalised not in owners:
                owners[normalised] = len(self._log.products)
                self._log.products.append(LogProduct(key, title, title_en or ""))
            numbers[product] = owners[normalised]
        return _numbering(numbers)


def _numbering(numbers: Mapping[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that maps ids to their numbers."""
    ids = np.fromiter(numbers, np.int64, len(numbers))
    order = np.argsort(ids)
    values = np.fromiter(numbers.values(), np.int64, len(numbers))[order]
    return lambda wanted: values[np.searchsorted(ids[order], wanted)]


def _language(given: str) -> tuple[str, str]:
    return given, language_code(given[:LONGEST_RAW])


def _position(given: str) -> tuple[str, int | None]:
    """Return a position and its number, at most `DEEPEST`; 0 if none is given, None if it is no whole number from 1."""
    text = given.strip()
    if text.casefold() in _NO_VALUES:
        return given, 0
    try:
        number = float(text)
    except ValueError:
        return given, None
    return given, int(min(number, DEEPEST)) if 1 <= number < 2**31 and number == int(number) else None
