"""Clean a log's rows and group them by query and product; what is left out is counted under its reason."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..generator.catalogue import stable_hash
from ..lexicon import normalise_text
from .cleaning import clean_text
from .clicks import ACTIONS, PairEvents
from .language_id import language_code
from .personal_data import scrub
from .reading import BadRow, LogRow

LONGEST = {"query": 200, "product": 500}
_TOO_LONG = "\0"


@dataclass
class LogQuery:
    """A query, its spellings and declared languages by how often, and what happened to each product under it."""

    spellings: Counter[str] = field(default_factory=Counter)
    declared: Counter[str] = field(default_factory=Counter)
    pairs: dict[str, PairEvents] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows of the log the query has."""
        return self.spellings.total()

    @property
    def touched(self) -> bool:
        """Whether anybody clicked, carted or bought anything."""
        return any(pair.touched for pair in self.pairs.values())

    @property
    def text(self) -> str:
        """The commonest spelling, the first in order among equals."""
        return min(self.spellings, key=lambda text: (-self.spellings[text], text))


@dataclass
class LogProduct:
    """A product's titles by how often, and its English title where the log has one."""

    titles: Counter[str] = field(default_factory=Counter)
    title_en: str = ""

    @property
    def title(self) -> str:
        """The commonest title, the first in order among equals."""
        return min(self.titles, key=lambda text: (-self.titles[text], text))


@dataclass
class Log:
    """A cleaned log: queries by normalised text, products by key, and what was left out or removed.

    `rows` is `kept` and all that `dropped` counts; `scrubbed` counts the kinds of personal data in distinct texts,
    `untouched` the queries under which nobody did more than look.
    """

    queries: dict[str, LogQuery] = field(default_factory=dict)
    products: dict[str, LogProduct] = field(default_factory=dict)
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    scrubbed: Counter[str] = field(default_factory=Counter)
    untouched: int = 0

    @property
    def kept(self) -> int:
        """How many rows are in."""
        return self.rows - self.dropped.total()


def collect(rows: Iterable[LogRow | BadRow]) -> Log:
    """Clean the rows and group them; products with one title are one product.

    Source: ours.
    """
    collector = _Collector()
    for row in rows:
        collector.log.rows += 1
        reason = row.reason if isinstance(row, BadRow) else collector.add(row)
        if reason:
            collector.log.dropped[reason] += 1
    _merge_same_titles(collector.log)
    return collector.log


class _Collector:
    """Adds rows to a log; remembers cleaned texts, which repeat a lot, and the events seen."""

    def __init__(self) -> None:
        self.log = Log()
        self._texts: dict[str, str] = {}
        self._events: set[int] = set()

    def add(self, row: LogRow) -> str:
        """Add a row, or return why it is left out."""
        action = ACTIONS.get("_".join(row.action.casefold().replace("-", " ").split()))
        if action is None:
            return "unknown action" if row.action.strip() else "no action"
        query, product = self._clean(row.query), self._clean(row.product)
        reason = _fault("query", row.query, query) or _fault("product", row.product, product)
        if reason:
            return reason
        position = _position(row.position)
        if position is None:
            return "position is not a whole number from 1"
        if self._repeats(row, query, product, action):
            return "duplicate"
        self._count(row, query, product, action, position)
        return ""

    def _count(self, row: LogRow, query: str, product: str, action: str, position: int) -> None:
        key = row.product_id.strip() or f"title:{normalise_text(product)}"
        found = self.log.queries.setdefault(normalise_text(query), LogQuery())
        found.spellings[query] += 1
        if row.language.strip():
            found.declared[language_code(row.language)] += 1
        found.pairs.setdefault(key, PairEvents()).add(action, position)
        known = self.log.products.setdefault(key, LogProduct())
        known.titles[product] += 1
        known.title_en = known.title_en or self._clean(row.title_en)

    def _clean(self, text: str) -> str:
        if text not in self._texts:
            self._texts[text] = scrub(clean_text(text), self.log.scrubbed)
        return self._texts[text]

    def _repeats(self, row: LogRow, query: str, product: str, action: str) -> bool:
        """Tell whether the same event came before; without session and time a repeat is another event."""
        if not (row.session or row.time):
            return False
        event = stable_hash(row.session, row.time, query, product, row.product_id, action, row.position)
        repeats = event in self._events
        self._events.add(event)
        return repeats


def _fault(name: str, given: str, text: str) -> str:
    """Return why a text cannot be used, if it cannot."""
    if not given.strip() or given.strip().casefold() in ("null", "none", "nan"):
        return f"no {name}"
    if len(text) > LONGEST[name]:
        return f"{name} is longer than {LONGEST[name]} characters"
    return "" if any(char.isalnum() for char in text) else f"{name} is empty after cleaning"


def _position(given: str) -> int | None:
    """Return a position from 1, 0 where none is given, None for anything else."""
    text = given.strip()
    if not text or text.casefold() in ("nan", "none", "null"):
        return 0
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if 1 <= number < 2**31 and number == int(number) else None


def _merge_same_titles(log: Log) -> None:
    """Make one product of those with one title: shoppers cannot tell them apart, nor could a judgement."""
    owners: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for key in sorted(log.products):
        owner = owners.setdefault(normalise_text(log.products[key].title), key)
        if owner != key:
            renamed[key] = owner
    for key in renamed:
        del log.products[key]
    for query in log.queries.values():
        for key in [key for key in query.pairs if key in renamed]:
            pair = query.pairs.pop(key)
            query.pairs.setdefault(renamed[key], PairEvents()).merge(pair)
