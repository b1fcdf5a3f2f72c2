"""Graded relevance from the products' types and attributes, not from words; every product of a split is graded."""

import random
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from ..lexicon import ADULT, CHILD_VALUES, Lexicon, normalise_text
from .catalogue import Product
from .queries import Query
from .wording import Attribute, accepted_values

EXACT, SUBSTITUTE, PARTIAL = 3, 2, 1
Key = TypeVar("Key", str, Attribute)


def satisfies(product: Product, wish: Attribute) -> bool:
    """Return whether a product satisfies one of the wishes of `Query.constraints`."""
    relation, _, group = wish[0].rpartition(":")
    if group == "price_up_to":
        return product.price <= float(wish[1])
    if group == "price_from":
        return product.price >= float(wish[1])
    stated = dict(product.attributes).get(group)
    if relation == "not":
        return stated not in (None, wish[1])
    return stated in accepted_values((group, wish[1])) or (relation == "fits" and stated is None)


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
        for attribute in product.attributes:
            self._attributes.add(attribute, self.count)
            self._groups.add(attribute[0], self.count)
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
        """Grade the whole split for a query.

        For a query that names a type, a product is graded 3 if it is of the type and has every attribute asked for, 2
        if it is of the type, 1 if its type is of the same category or a complement.

        For a vague query it is graded 3 if it is of a type that fits and satisfies every wish, 1 if it fails that for
        the price alone. Other products have grade 0 and are not listed, and neither are products for adults if the
        query asks for something for children.
        """
        judged = self._judge_type(query) if query.type else self._judge_vague(query)
        if not any(value in CHILD_VALUES.get(group, ()) for group, value in query.constraints):
            return judged
        fit = np.isin(judged.rows, self._adult_rows, assume_unique=True, invert=True)
        return Judgements(judged.rows[fit], judged.grades[fit])

    @cached_property
    def _adult_rows(self) -> np.ndarray:
        """The rows of every type that is for adults, ascending."""
        return self.of_types([name for name, row in self.lexicon.types.items() if row.audience == ADULT])

    def _judge_type(self, query: Query) -> Judgements:
        same_type = self.of_types([query.type])
        matched = self._matched(same_type, query.constraints)
        partial = self.of_types((*self.lexicon.siblings(query.type), *self.lexicon.types[query.type].complements))
        grades = np.where(matched == len(query.constraints), EXACT, SUBSTITUTE)
        return _ordered(np.concatenate([same_type, partial]), np.concatenate([grades, np.full(len(partial), PARTIAL)]))

    def _judge_vague(self, query: Query) -> Judgements:
        rows = self.of_types(query.types)
        wishes = tuple(wish for wish in query.constraints if not wish[0].startswith("price"))
        rows = rows[self._matched(rows, wishes) == len(wishes)]
        matched = self._matched(rows, query.constraints)
        return _ordered(rows, np.where(matched == len(query.constraints), EXACT, PARTIAL))

    def _matched(self, rows: np.ndarray, constraints: tuple[Attribute, ...]) -> np.ndarray:
        """Count the satisfied constraints of each row, [len(rows)]."""
        matched = np.zeros(len(rows), np.int64)
        for constraint in constraints:
            matched += np.isin(rows, self.satisfying(constraint), assume_unique=True)
        return matched

    def department(self, name: str) -> np.ndarray:
        """Return the rows of a department, ascending."""
        return self._departments.rows(name)


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


class HardNegatives:
    """Finds irrelevant products that look relevant: by a similar name of their type, or by the attributes asked for.

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    index : SplitIndex
    seed : int
    lookalikes, attribute_sharers : int
        Largest number of products with a similar name, and of those with an attribute asked for.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        language: str,
        index: SplitIndex,
        seed: int,
        lookalikes: int = 4,
        attribute_sharers: int = 4,
    ) -> None:
        self.lexicon = lexicon
        self.index = index
        self.seed = seed
        self.lookalikes = lookalikes
        self.attribute_sharers = attribute_sharers
        self._parts = {name: name_parts(lexicon, language, name) for name in lexicon.types}
        self._owners: dict[str, list[str]] = {}
        for name, parts in self._parts.items():
            for part in sorted(parts):
                self._owners.setdefault(part, []).append(name)

    def find(self, query: Query, judged: Judgements) -> list[int]:
        """Return rows of the split with grade 0, ascending."""
        rng = random.Random(f"{self.seed}:{query.id}:negatives")
        similar = _without(self.index.of_types(self.lookalike_types(query.type)), judged.rows)
        plain = [wish for wish in query.constraints if wish[0] not in ("price_up_to", "price_from")]
        sharing = _without(_union([self.index.satisfying(wish) for wish in plain]), judged.rows)
        drawn = {*_sample(rng, similar, self.lookalikes), *_sample(rng, sharing, self.attribute_sharers)}
        if not drawn:
            department = self.lexicon.types[(query.type or query.types[0])].department
            drawn.update(_sample(rng, _without(self.index.department(department), judged.rows), self.lookalikes))
        return sorted(drawn)

    def lookalike_types(self, name: str) -> list[str]:
        """Return the types whose names share a part with the type's that at most a twentieth of all types have."""
        limit = max(2, len(self.lexicon.types) // 20)
        parts = sorted(self._parts.get(name, ()))
        owners = (self._owners[part] for part in parts if len(self._owners[part]) <= limit)
        return sorted({other for group in owners for other in group} - {name})


def name_parts(lexicon: Lexicon, language: str, name: str) -> frozenset[str]:
    """Return the words of a type's names; in Thai, which has no spaces, runs of five characters."""
    forms = lexicon.vocabularies[language][f"type:{name}"].forms()
    if language == "th":
        keys = [normalise_text(form) for form in forms]
        return frozenset(key[start : start + 5] for key in keys for start in range(len(key) - 4))
    return frozenset(word for form in forms for word in form.casefold().split() if len(word) > 2)


def _sample(rng: random.Random, rows: np.ndarray, count: int) -> list[int]:
    return [int(rows[position]) for position in rng.sample(range(len(rows)), min(count, len(rows)))]
