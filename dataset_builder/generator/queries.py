"""Queries as shoppers type them; each is made from a product of its split, so that it has a relevant product."""

import random
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..layout import SPLITS
from ..lexicon import (
    BANDS,
    ENGLISH,
    ROMANISED_LANGUAGES,
    Lexicon,
    Vocabulary,
    normalise_text,
)
from .catalogue import Product, suited_words
from .misspelling import abbreviate, misspell, strip_diacritics
from .splits import Release
from .wording import Attribute, Speaker, fill, says, slot_of, slots

KINDS = ("bare", "synonym", "attribute", "vague", "misspelt", "code_mixed", "abbreviated", "romanised")
_WEIGHTS = {"bare": 12, "synonym": 15, "attribute": 34, "vague": 8, "misspelt": 10, "code_mixed": 12, "abbreviated": 5}
_ROMANISED_WEIGHT = {"vi": 12, "ur": 16, "bn": 16}
_BAND_WEIGHTS = (40, 35, 25)
_SHOPPER_WORDS = (
    "cheap",
    "good_quality",
    "original",
    "new_arrival",
    "best_seller",
    "promo",
    "durable",
    "beautiful",
    "recommended",
)
_SHORTENED_WORDS = (
    "cheap",
    "original",
    "how_much",
    "good_quality",
    "for_kids",
    "free_shipping",
    "birthday",
    "beautiful",
)
_MAX_WORDS = 8
_MAX_ATTEMPTS = 200


@dataclass(frozen=True)
class Query:
    """One query with what it asks for.

    `type` is empty for a vague query, which asks for a `department` (empty: anywhere in the shop) instead.
    `constraints` are the attributes asked for.
    """

    id: str
    text: str
    language: str
    split: str
    kind: str
    band: str
    type: str
    department: str
    constraints: tuple[Attribute, ...]
    unseen_type: bool


@dataclass(frozen=True)
class Draft:
    """A query without its id: its text and what it asks for, see `Query`."""

    text: str
    type: str
    department: str
    constraints: tuple[Attribute, ...]


@dataclass(frozen=True)
class Writer:
    """Writes queries about one product.

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    random : random.Random
        Source of every random choice.
    """

    lexicon: Lexicon
    language: str
    random: random.Random

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of the query's language."""
        return self.lexicon.vocabularies[self.language]

    def write(self, kind: str, product: Product) -> Draft | None:
        """Return a draft of the kind, or None if none can be made from the product in the language."""
        if kind == "vague":
            return self._vague(product)
        if kind == "code_mixed":
            return self._code_mixed(product)
        if kind == "bare":
            return self._draft(product, "{type}", usual_type=1.0)
        if kind == "synonym":
            return self._synonym(product)
        if kind == "misspelt":
            return self._changed(self._plain(product), lambda text: misspell(text, self.language, self.random))
        if kind == "abbreviated":
            return self._abbreviated(product)
        if kind == "romanised":
            return self._romanised(product)
        return self._attribute(product)

    def _attribute(self, product: Product, romanised: bool = False) -> Draft | None:
        template = self._pick("query", product, romanised)
        return self._draft(product, template, romanised=romanised) if template else None

    def _plain(self, product: Product) -> Draft | None:
        """Return a bare or an attribute query, which `_changed` misspells, shortens or romanises."""
        return (
            self._draft(product, "{type}", usual_type=0.7) if self.random.random() < 0.5 else self._attribute(product)
        )

    def _synonym(self, product: Product) -> Draft | None:
        if len(self.vocabulary[f"type:{product.type}"].forms()) < 2:
            return None
        template = self._pick("query", product) if self.random.random() < 0.4 else "{type}"
        return self._draft(product, template or "{type}", usual_type=0.0)

    def _vague(self, product: Product) -> Draft | None:
        template = self._pick("vague", product)
        if template is None:
            return None
        draft = self._draft(product, template)
        if draft is None or _asks_for_everyone(draft.constraints):
            return None
        return Draft(draft.text, "", product.department if "department" in slots(template) else "", draft.constraints)

    def _code_mixed(self, product: Product) -> Draft | None:
        romanised = self.language in ROMANISED_LANGUAGES and self.random.random() < 0.3
        template = self._pick("codemix", product, romanised)
        if template is None:
            return None
        local = {normalise_text(form) for form in self.vocabulary[f"type:{product.type}"].forms(romanised)}
        english = {normalise_text(form) for form in self.lexicon.vocabularies[ENGLISH][f"type:{product.type}"].forms()}
        if "en_type" in slots(template) and local & english:
            return None
        return self._draft(product, template, romanised=romanised)

    def _abbreviated(self, product: Product) -> Draft | None:
        romanised = self.language in ROMANISED_LANGUAGES and self.random.random() < 0.4
        draft = self._attribute(product, romanised) if self.random.random() < 0.5 else None
        draft = draft or self._draft(product, "{type} {word}", romanised=romanised, words=_SHORTENED_WORDS)
        pairs = self.vocabulary.abbreviations(romanised)
        return self._changed(draft, lambda text: abbreviate(text, pairs, spaced=self.language != "th"))

    def _romanised(self, product: Product) -> Draft | None:
        if self.language == "vi":
            return self._changed(self._plain(product), strip_diacritics)
        if self.random.random() < 0.45:
            return self._draft(product, "{type}", usual_type=0.6, romanised=True)
        return self._attribute(product, romanised=True)

    def _pick(self, kind: str, product: Product, romanised: bool = False) -> str | None:
        """Return a pattern whose slots the product can all fill, rather one with many slots; None if there is none."""
        stated = frozenset(slot_of(group) for group, _ in product.attributes)
        fitting = _fitting(self.vocabulary, kind, romanised, stated)
        if not fitting:
            return None
        return self.random.choices(fitting, [1 + 2 * len(_asked_slots(template) & stated) for template in fitting])[0]

    def _draft(
        self,
        product: Product,
        template: str,
        usual_type: float = 0.8,
        romanised: bool = False,
        words: tuple[str, ...] = _SHOPPER_WORDS,
    ) -> Draft | None:
        """Fill a pattern from the product; None if the text would name a value twice or be longer than `_MAX_WORDS`."""
        local = Speaker(self.vocabulary, self.random, 0.65, romanised, self.lexicon.types[product.type].scopes)
        type_forms = self.vocabulary[f"type:{product.type}"].forms(romanised)
        needed = slots(template)
        constraints = self._asked(product.attributes, needed)
        values = local.values_by_slot(constraints)
        name = Speaker(self.vocabulary, self.random, usual_type, romanised).choose(type_forms)
        if any(says(name, value) for slot, value in values.items() if slot in needed):
            return None
        values["type"] = name
        if "word" in needed:
            suited = suited_words(self.lexicon, words, product.type)
            values["word"] = local.word(f"word:{self.random.choice(suited)}")
        if "department" in needed:
            values["department"] = local.word(f"department:{product.department}")
        values |= self._english_values(product, constraints)
        text = unicodedata.normalize("NFC", fill(template, values))
        return Draft(text, product.type, "", constraints) if len(text.split()) <= _MAX_WORDS else None

    def _english_values(self, product: Product, constraints: tuple[Attribute, ...]) -> dict[str, str]:
        scopes = self.lexicon.types[product.type].scopes
        speaker = Speaker(self.lexicon.vocabularies[ENGLISH], self.random, 0.9, scopes=scopes)
        values = {f"en_{slot}": text for slot, text in speaker.values_by_slot(constraints).items()}
        values["en_type"] = speaker.word(f"type:{product.type}")
        for group, value in constraints:
            if slot_of(group) == "size":
                values["raw_size"] = value
        return values

    def _asked(self, attributes: tuple[Attribute, ...], needed: frozenset[str]) -> tuple[Attribute, ...]:
        """Return the attributes that a pattern asks for, one for each slot."""
        wanted = {_local_slot(slot) for slot in needed}
        asked: dict[str, Attribute] = {}
        for attribute in attributes:
            slot = slot_of(attribute[0])
            if slot in wanted and (slot not in asked or self.random.random() < 0.5):
                asked[slot] = attribute
        return tuple(asked.values())

    @staticmethod
    def _changed(draft: Draft | None, change: Callable[[str], str]) -> Draft | None:
        """Return the draft with its text changed, or None when the change does nothing."""
        if draft is None:
            return None
        text = unicodedata.normalize("NFC", change(draft.text))
        if normalise_text(text) == normalise_text(draft.text):
            return None
        return Draft(text, draft.type, draft.department, draft.constraints)


@lru_cache(maxsize=8192)
def _fitting(vocabulary: Vocabulary, kind: str, romanised: bool, stated: frozenset[str]) -> tuple[str, ...]:
    """Return the patterns of a kind whose attribute slots are all stated."""
    return tuple(template for template in vocabulary.templates(kind, romanised) if _asked_slots(template) <= stated)


@lru_cache(maxsize=4096)
def _asked_slots(template: str) -> frozenset[str]:
    """Return the attribute slots of a pattern; `en_colour`, the English word, counts as `colour`."""
    return frozenset(_local_slot(slot) for slot in slots(template)) - {"type", "word", "department"}


def _local_slot(slot: str) -> str:
    return slot.removeprefix("en_").removeprefix("raw_")


def _asks_for_everyone(constraints: tuple[Attribute, ...]) -> bool:
    return ("gender", "unisex") in constraints or ("compatibility", "universal") in constraints


class Anchors:
    """Products of one split and release, by band and type, to make queries from."""

    def __init__(self, lexicon: Lexicon, products: Sequence[Product]) -> None:
        self._types: dict[str, dict[str, list[Product]]] = {band: {} for band in BANDS}
        for product in products:
            self._types[lexicon.types[product.type].band].setdefault(product.type, []).append(product)

    def draw(self, rng: random.Random) -> Product:
        """Draw a band, then a type of it, then a product of the type."""
        bands = [band for band in BANDS if self._types[band]]
        band = rng.choices(bands, [_BAND_WEIGHTS[BANDS.index(band)] for band in bands])[0]
        return rng.choice(self._types[band][rng.choice(list(self._types[band]))])


def generate_queries(
    lexicon: Lexicon,
    language: str,
    seed: int,
    releases: Sequence[Release],
    products: Mapping[str, Sequence[Product]],
    unseen: frozenset[str],
) -> Iterator[Query]:
    """Generate the queries of a language; no text occurs twice, not even in different splits.

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    seed : int
    releases : sequence of Release
        From the smallest on; the queries of one release come before those that the next one adds, and are made from
        products that it holds.
    products : mapping of split to products in stream order
        At least as many as the largest release with queries of its own.
    unseen : frozenset of str

    Yields
    ------
    Query
    """
    texts: set[str] = set()
    counts = dict.fromkeys(SPLITS, 0)
    for release in releases:
        for split in SPLITS:
            if counts[split] >= release.queries[split]:
                continue
            anchors = Anchors(lexicon, products[split][: release.products[split]])
            stream = _drafts(lexicon, language, f"{seed}:{language}:{release.name}:{split}", anchors)
            while counts[split] < release.queries[split]:
                kind, product, draft = next(stream)
                key = normalise_text(draft.text)
                if key in texts:
                    continue
                texts.add(key)
                number, counts[split] = counts[split], counts[split] + 1
                yield Query(
                    id=f"{language}-q-{split}-{number:05d}",
                    text=draft.text,
                    language=language,
                    split=split,
                    kind=kind,
                    band=lexicon.types[product.type].band if draft.type else "head",
                    type=draft.type,
                    department=draft.department,
                    constraints=draft.constraints,
                    unseen_type=draft.type in unseen,
                )


def _drafts(lexicon: Lexicon, language: str, seed: str, anchors: Anchors) -> Iterator[tuple[str, Product, Draft]]:
    """Yield drafts endlessly; if a product does not suit the drawn kind of query, up to `_MAX_ATTEMPTS` are tried."""
    weights = dict(_WEIGHTS)
    if language in _ROMANISED_WEIGHT:
        weights["romanised"] = _ROMANISED_WEIGHT[language]
    number = 0
    while True:
        rng = random.Random(f"{seed}:{number}")
        number += 1
        kind = rng.choices(list(weights), list(weights.values()))[0]
        writer = Writer(lexicon, language, rng)
        for _ in range(_MAX_ATTEMPTS):
            product = anchors.draw(rng)
            draft = writer.write(kind, product)
            if draft is not None:
                yield kind, product, draft
                break
