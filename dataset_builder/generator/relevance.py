"""Graded relevance from the products' types and attributes, not from words; every product of a split is graded."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from ..audience import ADULT, CHILD_VALUES
from ..layout import RELATIONS
from ..lexicon import Attribute, Lexicon
from ..name_values import EXCLUSIVE_GROUPS, FOR_CHILDREN
from ..substitutes import substitutes
from .catalogue import Product
from .queries import Query
from .wording import accepted_values

COMPLEMENT, SUBSTITUTE, PARTIAL, EXACT = range(len(RELATIONS))
COMPLEMENTS = 2
"""Complements of a query that are listed at most, as examples of what is near and does not answer it."""
_LIMITS = {"price_up_to": 1.5, "price_from": 1 / 1.5}
"""Groups of wishes for a price, and by how much a product may miss the limit for a vague query."""
_NEEDED = ("brand", *_LIMITS)
"""Groups of which a substitute must satisfy the wish; of others it is enough not to contradict it."""
Key = TypeVar("Key", str, Attribute)


def satisfies(product: Product, wish: Attribute) -> bool:
    """Return whether a product satisfies one of the wishes of `Query.constraints`."""
    relation, _, group = wish[0].rpartition(":")
    if group == "price_up_to":
        return product.price <= float(wish[1])
    if group == "price_from":
        return product.price >= float(wish[1])
    values = {value for other, value in product.facts if other == group}
    if relation == "not":
        return bool(values) and wish[1] not in values
    return not values.isdisjoint(accepted_values((group, wish[1]))) or (relation == "fits" and not values)


@dataclass(frozen=True)
class Judgements:
    """The relevant rows of a split for one query, ascending, with their grades 1 to 3."""

    rows: np.ndarray
    grades: np.ndarray


class SplitIndex:
    """One split's products by type, department and attribute, so that a query touches only what it can match.

    Parameters
    ----------
    lexicon : Lexicon
    products : iterable of Product
        Rows 0, 1, …; `add` goes on after them.
    """

    def __init__(self, lexicon: Lexicon, products: Iterable[Product] = ()) -> None:
        self.lexicon = lexicon
        self.count = 0
        self._types: _Postings[str] = _Postings()
        self._departments: _Postings[str] = _Postings()
        self._attributes: _Postings[Attribute] = _Postings()
        self._groups: _Postings[str] = _Postings()
        self._prices = array("d")
        self._satisfying: dict[Attribute, np.ndarray] = {}
        for product in products:
            self.add(product)

    def add(self, product: Product) -> None:
        """Add the next row; all rows must be added before the first call of any other method."""
        self._types.add(product.type, self.count)
        self._departments.add(product.department, self.count)
        self._prices.append(product.price)
        for attribute in product.facts:
            self._attributes.add(attribute, self.count)
        for group in {group for group, _ in product.facts}:
            self._groups.add(group, self.count)
        self.count += 1

    def of_types(self, names: Sequence[str]) -> np.ndarray:
        """Return the rows of several types, ascending."""
        return _union([self._types.rows(name) for name in names])

    def satisfying(self, wish: Attribute) -> np.ndarray:
        """Return the rows that satisfy a wish, ascending; see `Query.constraints` and `accepted_values`."""
        group, value = wish
        if group in ("price_up_to", "price_from"):
            prices, limit = np.frombuffer(self._prices), float(value)
            return np.flatnonzero(prices <= limit if group == "price_up_to" else prices >= limit).astype(np.int32)
        if wish not in self._satisfying:
            self._satisfying[wish] = self._rows_satisfying(group, value)
        return self._satisfying[wish]

    def _rows_satisfying(self, group: str, value: str) -> np.ndarray:
        relation, _, stated = group.rpartition(":")
        if relation == "not":
            return _without(self._groups.rows(stated), self._attributes.rows((stated, value)))
        accepted = [(stated, other) for other in accepted_values((stated, value))]
        rows = _union([self._attributes.rows(attribute) for attribute in accepted])
        if relation == "fits":
            contradicting = _without(self._groups.rows(stated), rows)
            return _without(np.arange(self.count, dtype=np.int32), contradicting)
        return rows

    def judge(self, query: Query) -> Judgements:
        """Grade the whole split for a query; products of grade 0 are not listed.

        For a query that names a type, a product is graded

        - 3, exact: it is of the type and satisfies every wish;
        - 2, partial: it is of the type and fails a wish;
        - 1, substitute: it is of a type that does the same job and contradicts no wish.

        For a vague query it is graded 3 if it is of a type that fits and satisfies every wish, 2 if it is too dear or
        too cheap by less than half the limit, or of a type that fits less well. Products for adults are not relevant
        if the query asks for something for children.
        """
        judged = self._judge_type(query) if query.type else self._judge_vague(query)
        if not any(_is_for_child(wish) for wish in query.constraints):
            return judged
        fit = np.isin(judged.rows, self._adult_rows, assume_unique=True, invert=True)
        return Judgements(judged.rows[fit], judged.grades[fit])

    def complements(self, query: Query, judged: Judgements) -> np.ndarray:
        """Return up to `COMPLEMENTS` rows of types that go with the type asked for and cannot stand in for it.

        They are the first ones, so that a larger release lists those of a smaller one.
        """
        if not query.type:
            return judged.rows[:0]
        others = substitutes(self.lexicon)[query.type]
        names = [name for name in self.lexicon.types[query.type].complements if name not in others]
        return _without(self.of_types(names), judged.rows)[:COMPLEMENTS]

    @cached_property
    def _adult_rows(self) -> np.ndarray:
        """The rows of every type that is for adults, ascending."""
        return self.of_types([name for name, row in self.lexicon.types.items() if row.audience == ADULT])

    def _judge_type(self, query: Query) -> Judgements:
        same_type = self.of_types([query.type])
        matched = self._matched(same_type, query.constraints)
        grades = np.where(matched == len(query.constraints), EXACT, PARTIAL)
        others = self.of_types(substitutes(self.lexicon)[query.type])
        for wish in query.constraints:
            others = self._not_contradicting(others, wish)
        return _ordered(np.concatenate([same_type, others]), np.concatenate([grades, np.full(len(others), SUBSTITUTE)]))

    def _not_contradicting(self, rows: np.ndarray, wish: Attribute) -> np.ndarray:
        """Return the rows without those that have another value of a group of which a product has one value."""
        relation, _, group = wish[0].rpartition(":")
        if group in _NEEDED:
            return rows[np.isin(rows, self.satisfying(wish), assume_unique=True)]
        if relation == "not":
            return _without(rows, self._attributes.rows((group, wish[1])))
        groups = tuple(CHILD_VALUES) if wish == FOR_CHILDREN else (group,)
        stating = _union([self._groups.rows(other) for other in groups if other in EXCLUSIVE_GROUPS])
        return _without(rows, _without(stating, self.satisfying(wish)))

    def _judge_vague(self, query: Query) -> Judgements:
        unpriced = [wish for wish in query.constraints if wish[0] not in _LIMITS]
        priced = [wish for wish in query.constraints if wish[0] in _LIMITS]
        near = [(group, str(float(limit) * _LIMITS[group])) for group, limit in priced]
        rows, others = (self._having(self.of_types(names), unpriced) for names in (query.types, self.also(query)))
        exact = self._having(rows, priced)
        partial = np.concatenate([_without(self._having(rows, near), exact), self._having(others, priced)])
        grades = np.concatenate([np.full(len(exact), EXACT), np.full(len(partial), PARTIAL)])
        return _ordered(np.concatenate([exact, partial]), grades)

    def also(self, query: Query) -> tuple[str, ...]:
        """Return the types that fit a vague query less well."""
        return next((need.also for need in self.lexicon.needs if need.types == query.types), ())

    def _having(self, rows: np.ndarray, wishes: Sequence[Attribute]) -> np.ndarray:
        """Return the rows that satisfy all of some wishes."""
        return rows[self._matched(rows, wishes) == len(wishes)]

    def _matched(self, rows: np.ndarray, constraints: Sequence[Attribute]) -> np.ndarray:
        """Count the satisfied constraints of each row, [len(rows)]."""
        matched = np.zeros(len(rows), np.int64)
        for constraint in constraints:
            matched += np.isin(rows, self.satisfying(constraint), assume_unique=True)
        return matched

    def department(self, name: str) -> np.ndarray:
        """Return the rows of a department, ascending."""
        return self._departments.rows(name)


def _is_for_child(wish: Attribute) -> bool:
    return wish == FOR_CHILDREN or wish[1] in CHILD_VALUES.get(wish[0].rpartition(":")[2], ())


class _Postings(Generic[Key]):
    """Rows by key; four bytes a row, so that a million products fit."""

    def __init__(self) -> None:
        self._lists: dict[Key, array[int]] = {}

    def add(self, key: Key, row: int) -> None:
        """Add a row, higher than the last one."""
        self._lists.setdefault(key, array("i")).append(row)

    def rows(self, key: Key) -> np.ndarray:
        """Return the rows of a key, ascending."""
        return np.frombuffer(self._lists[key], np.int32) if key in self._lists else np.empty(0, np.int32)


def _union(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of any of the arrays, each ascending, in ascending order."""
    if len(arrays) == 1:
        return arrays[0]
    return np.unique(np.concatenate(arrays)) if arrays else np.empty(0, np.int32)


def _without(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return rows[np.isin(rows, others, assume_unique=True, invert=True)]


def _ordered(rows: np.ndarray, grades: np.ndarray) -> Judgements:
    order = np.argsort(rows, kind="stable")
    return Judgements(rows[order], grades[order].astype(np.int8))
