"""What a name says beyond its type: a "ceramic mug" is of ceramic, and a smartwatch is smart without saying so."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from modeling_lira.data.languages import is_unspaced
from modeling_lira.errors import LiraError

from .audience import CHILD_VALUES
from .lexicon import (
    ENGLISH,
    SIZE_GROUPS,
    VALUE_GROUPS,
    Attribute,
    Lexicon,
    ProductType,
    Vocabulary,
    read_table,
)
from .scripts import strip_diacritics

EXCLUSIVE_GROUPS = frozenset({*VALUE_GROUPS, *SIZE_GROUPS} - {"feature"})
"""Groups of which a product has one value: what is red is not blue, but what is waterproof may be light as well."""
FOR_CHILDREN: Attribute = ("audience", "children")
"""What "for kids" asks for, and what products for a child's gender or age, and toys, have."""
ANY = "*"
_CHILDRENS_DEPARTMENTS = ("baby", "toys")
_ALWAYS_OF_THE_TYPE = ("gender", "compatibility")


@dataclass(frozen=True)
class NameRule:
    """A line of `names.tsv`: what a name says without the word of a value, or does not say in spite of it.

    A `language`, `type` or `form` of "*" stands for all. `dropped` are the values that the name does not say; an empty
    value stands for the whole group.
    """

    language: str
    type: str
    form: str
    added: frozenset[Attribute]
    dropped: frozenset[Attribute]

    def covers(self, language: str, name: str, form: str) -> bool:
        """Return whether the rule is about a form of a type."""
        pairs = ((self.language, language), (self.type, name), (self.form, form))
        return all(mine in (ANY, other) for mine, other in pairs)


def _read_rules(lexicon: Lexicon) -> list[NameRule]:
    """Read lines of a name and its values; a value after a minus sign is one that the name does not say."""
    rules = []
    for row in read_table(lexicon.folder / "names.tsv", ("language", "type", "form", "values")):
        if row["type"] not in lexicon.types and row["type"] != ANY:
            raise LiraError(f"names.tsv: type {row['type']!r} is unknown")
        items = row["values"].split()
        added = frozenset(_attribute(item) for item in items if not item.startswith("-"))
        dropped = frozenset(_attribute(item[1:]) for item in items if item.startswith("-"))
        rules.append(NameRule(row["language"], row["type"], row["form"], added, dropped))
    return rules


def _attribute(item: str) -> Attribute:
    group, _, value = item.partition("=")
    return group, value


@lru_cache(maxsize=8)
def name_values(lexicon: Lexicon) -> "NameValues":
    """Return the values that a lexicon's names say; the same object for the same lexicon."""
    return NameValues(lexicon)


class NameValues:
    """Finds the values that names say: the words of values that the type can have, corrected by the lexicon's rules."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._types = lexicon.types
        self._vocabularies = lexicon.vocabularies
        self._rules: dict[str, list[NameRule]] = {}
        for rule in _read_rules(lexicon):
            self._rules.setdefault(rule.type, []).append(rule)
        self._inherent = {name: self._of_every_product(name) for name in lexicon.types}
        self._said: dict[tuple[str, str], dict[str, frozenset[Attribute]]] = {}
        self._with_words: dict[tuple[str, str, str], frozenset[Attribute]] = {}

    def inherent(self, name: str) -> frozenset[Attribute]:
        """Return what every product of a type has, stated or not."""
        return self._inherent[name]

    def said(self, language: str, name: str, form: str) -> frozenset[Attribute]:
        """Return what a form of a type's name says that not every product of the type has; nothing of another text."""
        key = (language, name)
        if key not in self._said:
            entry = self._vocabularies[language][f"type:{name}"]
            forms = {
                form: self._values_in(language, name, form, romanised) - self._inherent[name]
                for romanised in (True, False)
                for form in entry.forms(romanised)
            }
            # Vietnamese is often typed without its marks, and says the same.
            plain = {strip_diacritics(form): values for form, values in forms.items()} if language == "vi" else {}
            self._said[key] = plain | forms
        return self._said[key].get(form, frozenset())

    def unsaid(self, language: str, name: str, form: str, stated: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
        """Return the stated values that have no word of theirs in a form of a type's name, which would say them twice.

        A colour is always said: few of its words in a name are meant as colours.
        """
        key = (language, name, form)
        if key not in self._with_words:
            self._with_words[key] = frozenset(self._in_words_of_the_type(*key))
        said = self._with_words[key]
        return tuple(value for value in stated if value[0] == "colour" or value not in said)

    def _in_words_of_the_type(self, language: str, name: str, form: str) -> Iterator[Attribute]:
        """Yield the values that a form says in words that the type has for them."""
        vocabulary, scopes = self._vocabularies[language], self._types[name].scopes
        for romanised in {False, bool(vocabulary[f"type:{name}"].romanised)}:
            for group, value in self._worded(language, name, form, romanised):
                words = vocabulary.entry(f"{group}:{value}", scopes).forms(romanised)
                if any(_pattern(word, language).search(form.casefold()) for word in words):
                    yield group, value

    def fitting(self, language: str, name: str, forms: tuple[str, ...], stated: Iterable[Attribute]) -> tuple[str, ...]:
        """Return those of a type's names that contradict nothing that a product states."""
        if not any(self.said(language, name, form) for form in forms):
            return forms
        values = dict(stated)
        return tuple(form for form in forms if not _contradicts(self.said(language, name, form), values))

    def for_children(self, product_type: ProductType, values: Mapping[str, str]) -> bool:
        """Return whether a product is for children: by its gender or age, or because its type is."""
        if any(values.get(group) in listed for group, listed in CHILD_VALUES.items()):
            return True
        return _only_children(product_type) and values.keys().isdisjoint(CHILD_VALUES)

    def _of_every_product(self, name: str) -> frozenset[Attribute]:
        """Return what the English name of a type says, what it can only be, and what a rule for all names adds."""
        values = self._values_in(ENGLISH, name, self._vocabularies[ENGLISH][f"type:{name}"].name, False)
        groups = self._types[name].attributes
        only = {(group, groups[group][0]) for group in _ALWAYS_OF_THE_TYPE if len(groups.get(group, ())) == 1}
        return values | only

    def _values_in(self, language: str, name: str, form: str, romanised: bool) -> frozenset[Attribute]:
        values = self._worded(language, name, form, romanised)
        values |= {value for rule in self._rules_of(language, name, form) for value in rule.added}
        children = {(group, value) for group, value in values if group == "age" and value in CHILD_VALUES["age"]}
        if children and not _only_children(self._types[name]):
            values.add(FOR_CHILDREN)
        return frozenset(values - children)

    def _rules_of(self, language: str, name: str, form: str) -> list[NameRule]:
        return [rule for key in (name, ANY) for rule in self._rules.get(key, ()) if rule.covers(language, name, form)]

    def _worded(self, language: str, name: str, form: str, romanised: bool) -> set[Attribute]:
        """Return the values with words in a form that are meant by them."""
        dropped = {value for rule in self._rules_of(language, name, form) for value in rule.dropped}
        words = self._words_in(language, name, form, romanised)
        return {(group, value) for group, value in words if dropped.isdisjoint({(group, value), (group, "")})}

    def _words_in(self, language: str, name: str, form: str, romanised: bool) -> set[Attribute]:
        """Return the values of the type with words in a form; of overlapping words of a group the longest counts."""
        vocabulary = self._vocabularies[language]
        spans = [
            (group, value, match.span())
            for group, values in self._types[name].attributes.items()
            if group in VALUE_GROUPS
            for value in values
            for word in _words(vocabulary, f"{group}:{value}", self._types[name].scopes, romanised)
            for match in _pattern(word, language).finditer(form.casefold())
        ]
        return {
            (group, value)
            for group, value, (start, stop) in spans
            if not any(
                other == group and first <= start and stop <= last and last - first > stop - start
                for other, _, (first, last) in spans
            )
        }


def _contradicts(said: Iterable[Attribute], values: Mapping[str, str]) -> bool:
    """Return whether a name says what a product with these values cannot be."""
    for group, value in said:
        if (group, value) == FOR_CHILDREN:
            if any(values.get(other) not in (None, *listed) for other, listed in CHILD_VALUES.items()):
                return True
        elif group in EXCLUSIVE_GROUPS and values.get(group, value) != value:
            return True
    return False


def _only_children(product_type: ProductType) -> bool:
    """Return whether a type is for children alone, such as a toy without an adult's age."""
    ages = product_type.attributes.get("age", ())
    if ages:
        return set(ages) <= set(CHILD_VALUES["age"])
    return product_type.department in _CHILDRENS_DEPARTMENTS


def _words(vocabulary: Vocabulary, key: str, scopes: tuple[str, ...], romanised: bool) -> set[str]:
    """Return the usual words of a key and those for a type."""
    return {*vocabulary[key].forms(romanised), *vocabulary.entry(key, scopes).forms(romanised)}


@lru_cache(maxsize=20_000)
def _pattern(word: str, language: str) -> re.Pattern[str]:
    """Return the pattern of a whole word; in Thai, which has no spaces, of the letters anywhere."""
    text = re.escape(word.casefold())
    # A combining mark after the letters belongs to the word, but is no word character for `re`.
    return re.compile(text if is_unspaced(language) else rf"(?<!\w){text}(?![\w\u0900-\u0dff])")
