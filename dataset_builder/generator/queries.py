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
    SIZE_RANGES,
    Attribute,
    Lexicon,
    Vocabulary,
    normalise_text,
)
from ..name_values import name_values
from ..scripts import bag_of_words, strip_diacritics
from .catalogue import Product, stable_hash, suited_words
from .misspelling import abbreviate, misspell
from .money import in_dollars, round_amount, say_amount
from .selling import needs_met
from .splits import Release
from .wording import Speaker, fill, slot_of, slots

KINDS = (
    "bare", "synonym", "attribute", "brand", "price", "negation", "vague", "misspelt", "code_mixed", "abbreviated",
    "romanised",
)  # fmt: skip
_WEIGHTS = {
    "bare": 10, "synonym": 12, "attribute": 24, "brand": 12, "price": 7, "negation": 3, "vague": 9, "misspelt": 11,
    "code_mixed": 11, "abbreviated": 6,
}  # fmt: skip
_ROMANISED_WEIGHT = {"vi": 12, "ur": 16, "bn": 16, "th": 3}
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
    "free_shipping",
    "beautiful",
)
_PATTERNS = {"attribute": "query", "brand": "brandquery", "price": "pricequery", "negation": "notquery"}
_BARE_PER_BUNDLE = 8
"""Of about so many bare queries one names a second product as well."""
_MAX_WORDS = 8
_MAX_ATTEMPTS = 200


@dataclass(frozen=True)
class Query:
    """One query with what it asks for.

    `type` is empty for a vague query and for a bundle, which any of `types` may answer instead. `constraints` are the
    attributes asked for, `("brand", …)` among them, and three kinds of wishes: `("price_up_to", "8.0000")` and
    `("price_from", …)` in US dollars; `("not:material", "plastic")` for a stated material that is not plastic;
    `("fits:gender", "men")` for a product that does not state another gender.
    """

    id: str
    text: str
    language: str
    split: str
    kind: str
    band: str
    type: str
    types: tuple[str, ...]
    constraints: tuple[Attribute, ...]
    unseen_type: bool


@dataclass(frozen=True)
class Draft:
    """A query without its id: its text and what it asks for, see `Query`."""

    text: str
    type: str
    types: tuple[str, ...]
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
        if kind == "bare":
            return self._draft(product, "{type}", usual_type=1.0)
        if kind == "misspelt":
            return self._misspelt(product)
        writers = {
            "synonym": self._synonym,
            "vague": self._vague,
            "code_mixed": self._code_mixed,
            "abbreviated": self._abbreviated,
            "romanised": self._romanised,
        }
        return writers[kind](product) if kind in writers else self._patterned(_PATTERNS[kind], product)

    def _patterned(self, patterns: str, product: Product, romanised: bool = False) -> Draft | None:
        template = self._pick(patterns, product, romanised)
        return self._draft(product, template, romanised=romanised) if template else None

    def _plain(self, product: Product, romanised: bool = False) -> Draft | None:
        """Return a query of a plain kind, which `_changed` misspells, shortens or romanises."""
        draw = self.random.random()
        if draw < 0.45:
            return self._draft(product, "{type}", usual_type=0.65, romanised=romanised)
        return self._patterned("brandquery" if draw > 0.88 else "query", product, romanised)

    def _synonym(self, product: Product) -> Draft | None:
        if len(self.vocabulary[f"type:{product.type}"].forms()) < 2:
            return None
        template = self._pick("query", product) if self.random.random() < 0.4 else "{type}"
        return self._draft(product, template or "{type}", usual_type=0.0)

    def _vague(self, product: Product) -> Draft | None:
        """Name a need that the product meets, at times with a budget."""
        needs = needs_met(self.lexicon, self.lexicon.types[product.type], product.attributes)
        if not needs:
            return None
        need, romanised = self.random.choice(needs), self._romanises(0.3)
        words = Speaker(self.vocabulary, self.random, 0.3, romanised).word(f"need:{need.name}")
        patterns = [
            pattern
            for pattern in self.vocabulary.templates("pricequery", romanised)
            if slots(pattern) == {"type", "price"}
        ]
        pattern = self.random.choice(patterns) if self.random.random() < 0.35 else "{type}"
        prices, wishes = self._budget(product, slots(pattern), romanised)
        text = unicodedata.normalize("NFC", fill(pattern, {"type": words, **prices}))
        wishes = (*((f"fits:{group}", value) for group, value in need.wishes), *wishes)
        return Draft(text, "", need.types, wishes) if len(text.split()) <= _MAX_WORDS else None

    def _romanises(self, share: float) -> bool:
        return self.language in ROMANISED_LANGUAGES and self.random.random() < share

    def _misspelt(self, product: Product) -> Draft | None:
        romanised = self._romanises(0.3)
        draft = self._plain(product, romanised)
        return self._changed(draft, lambda text: misspell(text, self.language, self.random, romanised))

    def _code_mixed(self, product: Product) -> Draft | None:
        """Mix in English words that the language's shoppers use, and that differ from its own."""
        romanised = self._romanises(0.4)
        template = self._pick("codemix", product, romanised)
        if template is None:
            return None
        english = self.lexicon.vocabularies[ENGLISH]
        if "en_type" in slots(template) and product.type not in self.vocabulary["english_names"].name.split():
            return None
        keys = {"en_type": f"type:{product.type}"}
        keys |= {f"en_{slot_of(group)}": f"{group}:{value}" for group, value in product.attributes}
        for slot in slots(template) & keys.keys():
            local = {normalise_text(form) for form in self.vocabulary[keys[slot]].forms(romanised)}
            if local & {normalise_text(form) for form in english[keys[slot]].forms()}:
                return None
        return self._draft(product, template, romanised=romanised)

    def _abbreviated(self, product: Product) -> Draft | None:
        romanised = self._romanises(0.5)
        if self.random.random() < 0.85:
            draft = self._patterned("shortened", product, romanised)
        else:
            draft = self._draft(product, "{type} {word}", romanised=romanised, words=_SHORTENED_WORDS)
        pairs = self.vocabulary.abbreviations(romanised)
        return self._changed(draft, lambda text: abbreviate(text, pairs, spaced=self.language != "th"))

    def _romanised(self, product: Product) -> Draft | None:
        if self.language == "vi":
            return self._changed(self._plain(product), strip_diacritics)
        if self.language in ROMANISED_LANGUAGES:
            return self._plain(product, romanised=True)
        names = self.vocabulary.latin_names(product.type)
        return Draft(self.random.choice(names), product.type, (), ()) if names else None

    def _pick(self, kind: str, product: Product, romanised: bool = False) -> str | None:
        """Return a pattern whose slots the product can all fill, rather one with many slots; None if there is none."""
        stated = frozenset(slot_of(group) for group, _ in _askable(product))
        if self._denied(product):
            stated |= {"not"}
        fitting = _fitting(self.vocabulary, kind, romanised, stated)
        if not fitting:
            return None
        return self.random.choices(fitting, [1 + 2 * len(_asked_slots(template) & stated) for template in fitting])[0]

    def _denied(self, product: Product) -> list[Attribute]:
        """Return what may be said not to be wanted: values that the type comes in, where the product states another."""
        values = self.lexicon.types[product.type].attributes
        return [
            (f"not:{group}", value)
            for group, stated in product.attributes
            for value in values.get(group, ())
            if value != stated and f"not:{group}:{value}" in self.vocabulary.entries
        ]

    def _budget(
        self, product: Product, needed: frozenset[str], romanised: bool
    ) -> tuple[dict[str, str], tuple[Attribute, ...]]:
        """Return the words and the wishes of the price slots of a pattern; the product's price lies between them."""
        formats, number = self.vocabulary.templates("money", romanised), self.random.randrange(100)
        values, wishes = {}, []
        for slot, group in (("price", "price_up_to"), ("least", "price_from")):
            if slot in needed:
                amount = round_amount(product.price, self.language, slot == "price", self.random)
                values[slot] = say_amount(amount, formats, number)
                wishes.append((group, in_dollars(amount, self.language)))
        return values, tuple(wishes)

    def _draft(
        self,
        product: Product,
        template: str,
        usual_type: float = 0.5,
        romanised: bool = False,
        words: tuple[str, ...] = _SHOPPER_WORDS,
    ) -> Draft | None:
        """Fill a pattern from the product; None if the text would name a value twice or be longer than `_MAX_WORDS`."""
        local = Speaker(self.vocabulary, self.random, 0.5, romanised, self.lexicon.types[product.type].scopes)
        needed = slots(template)
        constraints = self._asked(product, needed)
        name = self._name(product, usual_type, romanised)
        if name is None:
            return None
        unsaid = name_values(self.lexicon).unsaid(self.language, product.type, name, constraints)
        values = local.values_by_slot(unsaid, name)
        if {_local_slot(slot) for slot in needed} & {slot_of(group) for group, _ in constraints} - values.keys():
            return None
        if _literals(template) & set(name.casefold().split()):
            return None
        values["type"] = name
        prices, wishes = self._budget(product, needed, romanised)
        if "word" in needed:
            suited = suited_words(self.lexicon, words, product.type)
            values["word"] = local.word(f"word:{self.random.choice(suited)}")
        values |= self._english_values(product, constraints) | prices
        if "raw_size" in needed - values.keys():
            return None
        for slot, language in (("type", self.language), ("en_type", ENGLISH)):
            if slot in needed:
                said = name_values(self.lexicon).said(language, product.type, values[slot])
                wishes += tuple(sorted(said.difference(constraints, wishes)))
        text = unicodedata.normalize("NFC", self.vocabulary.grammar.apply(fill(template, values), name))
        return Draft(text, product.type, (), (*constraints, *wishes)) if len(text.split()) <= _MAX_WORDS else None

    def _name(self, product: Product, usual: float, romanised: bool) -> str | None:
        """Return a name of the product's type that says only what is true of it; the usual one as often as asked for.

        A share of 1 or 0 is always or never the usual name: None if there is no such name.
        """
        names = self._true_names(product, self.language, romanised)
        main = self.vocabulary[f"type:{product.type}"].forms(romanised)[0]
        if usual in (0, 1):
            names = [name for name in names if (name == main) == bool(usual)]
            return self.random.choice(names) if names else None
        return Speaker(self.vocabulary, self.random, usual).choose(tuple(names)) if names else None

    def _true_names(self, product: Product, language: str, romanised: bool = False) -> list[str]:
        """Return the names of the product's type that say nothing but what is true of it, the usual one first."""
        said = name_values(self.lexicon).said
        forms = self.lexicon.vocabularies[language][f"type:{product.type}"].forms(romanised)
        return [form for form in forms if said(language, product.type, form) <= {*product.facts}]

    def _english_values(self, product: Product, constraints: tuple[Attribute, ...]) -> dict[str, str]:
        scopes = self.lexicon.types[product.type].scopes
        speaker = Speaker(self.lexicon.vocabularies[ENGLISH], self.random, 0.9, scopes=scopes)
        values = {f"en_{slot}": text for slot, text in speaker.values_by_slot(constraints).items()}
        names = self._true_names(product, ENGLISH) or [self.lexicon.vocabularies[ENGLISH][f"type:{product.type}"].name]
        values["en_type"] = speaker.choose(tuple(names))
        for group, value in constraints:
            if group in ("size_clothing", "size_shoe"):
                values["raw_size"] = value
        return values

    def _asked(self, product: Product, needed: frozenset[str]) -> tuple[Attribute, ...]:
        """Return the attributes that a pattern asks for, one for each slot."""
        wanted = {_local_slot(slot) for slot in needed}
        asked: dict[str, Attribute] = {}
        for attribute in _askable(product):
            slot = slot_of(attribute[0])
            if slot in wanted and (slot not in asked or self.random.random() < 0.5):
                asked[slot] = attribute
        if "not" in wanted:
            asked["not"] = self.random.choice(self._denied(product))
        return tuple(asked.values())

    @staticmethod
    def _changed(draft: Draft | None, change: Callable[[str], str]) -> Draft | None:
        """Return the draft with its text changed, or None when the change does nothing."""
        if draft is None:
            return None
        text = unicodedata.normalize("NFC", change(draft.text))
        if normalise_text(text) == normalise_text(draft.text):
            return None
        return Draft(text, draft.type, draft.types, draft.constraints)


@lru_cache(maxsize=8192)
def _fitting(vocabulary: Vocabulary, kind: str, romanised: bool, stated: frozenset[str]) -> tuple[str, ...]:
    """Return the patterns of a kind whose attribute slots are all stated."""
    return tuple(template for template in vocabulary.templates(kind, romanised) if _asked_slots(template) <= stated)


@lru_cache(maxsize=4096)
def _asked_slots(template: str) -> frozenset[str]:
    """Return the attribute slots of a pattern; `en_colour`, the English word, counts as `colour`."""
    return frozenset(_local_slot(slot) for slot in slots(template)) - {"type", "word", "price", "least"}


def _local_slot(slot: str) -> str:
    return slot.removeprefix("en_").removeprefix("raw_")


@lru_cache(maxsize=4096)
def _literals(template: str) -> frozenset[str]:
    """Return the words of a pattern itself."""
    return frozenset(word for word in template.casefold().split() if "{" not in word)


def _askable(product: Product) -> tuple[Attribute, ...]:
    """Return the attributes that a query may name: not a range of sizes, of which a shopper needs one."""
    return tuple(attribute for attribute in product.attributes if attribute[1] not in SIZE_RANGES)


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
    """Generate the queries of a language; no text occurs twice, in any order of words, not even in another split.

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
                if kind == "bare" and (bundle := _bundle(lexicon, language, product, unseen)):
                    kind, draft = "vague", bundle
                keys = {normalise_text(draft.text), bag_of_words(draft.text)}
                if texts & keys:
                    continue
                texts |= keys
                number, counts[split] = counts[split], counts[split] + 1
                yield Query(
                    id=f"{language}-q-{split}-{number:05d}",
                    text=draft.text,
                    language=language,
                    split=split,
                    kind=kind,
                    band=lexicon.types[product.type].band if draft.type else "head",
                    type=draft.type,
                    types=draft.types,
                    constraints=draft.constraints,
                    unseen_type=draft.type in unseen,
                )


def _bundle(lexicon: Lexicon, language: str, product: Product, unseen: frozenset[str]) -> Draft | None:
    """Return, for few products, a query for one of its type together with what goes with it, which is a need of two.

    The product's id decides alone, so that no other query depends on it.
    """
    rng = random.Random(stable_hash("bundle", product.id))
    others = lexicon.types[product.type].complements
    if rng.randrange(_BARE_PER_BUNDLE) or not others:
        return None
    types = (product.type, rng.choice(others))
    vocabulary = lexicon.vocabularies[language]
    names = dict(zip(("type", "other"), (vocabulary[f"type:{name}"].name for name in types), strict=True))
    text = unicodedata.normalize("NFC", fill(rng.choice(vocabulary.templates("bundle")), names))
    return None if unseen.intersection(types) or len(text.split()) > _MAX_WORDS else Draft(text, "", types, ())


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
