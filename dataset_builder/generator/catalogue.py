"""Products of the synthetic catalogue. Seed, language and index decide a product, so that any can be made again."""

import bisect
import hashlib
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..audience import ADULT
from ..lexicon import BANDS, ENGLISH, Attribute, Brand, Lexicon, ProductType, Vocabulary
from ..name_values import FOR_CHILDREN, name_values
from .selling import SELLER_WORDS, draw_style, needs_met
from .wording import Speaker, fill, slots

_MARKS = {"ur": ("، ", "۔"), "bn": (", ", "।"), "th": (" ", "")}
PRICE_BANDS = ("low", "mid", "high")
ZIPF_OFFSET, ZIPF_EXPONENT = 25, 0.9
_MEASURES = ("volume", "length", "weight", "size")
"""Groups that each say how much of a product there is; of a type that has several, a product states the first."""


@dataclass(frozen=True)
class Product:
    """One product as a seller lists it.

    Both titles name every attribute in `attributes`, the seller's brand among them. What else is true of the product is
    `implied`: by a name in one of its titles ("ceramic mug"), by its type (a smartwatch is smart), or as a whole (it is
    for children). `price` is in US dollars.
    """

    id: str
    index: int
    language: str
    type: str
    department: str
    category: str
    title: str
    title_en: str
    text: str
    attributes: tuple[Attribute, ...]
    implied: tuple[Attribute, ...]
    price: float

    @property
    def facts(self) -> tuple[Attribute, ...]:
        """All that is true of the product, stated or implied."""
        return (*self.attributes, *self.implied)


def stable_hash(*parts: object) -> int:
    """Return a 64-bit hash of the parts that is the same on every machine and in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


def product_id(language: str, index: int) -> str:
    """Return the id of a product, made of its language and its index in the catalogue."""
    return f"{language}-p{index:07d}"


class Popularity:
    """Zipf-like popularity of the product types: types of the first band are the most popular.

    The seed decides the order within a band. `order` lists the type names, the most popular first.
    """

    def __init__(self, lexicon: Lexicon, seed: int) -> None:
        self.order = sorted(
            lexicon.types,
            key=lambda name: (BANDS.index(lexicon.types[name].band), stable_hash(seed, "popularity", name)),
        )
        weights = ((rank + ZIPF_OFFSET) ** -ZIPF_EXPONENT for rank in range(len(self.order)))
        self._cumulative = list(itertools.accumulate(weights))

    def draw(self, rng: random.Random) -> str:
        """Return a type name by popularity."""
        return self.order[bisect.bisect(self._cumulative, rng.random() * self._cumulative[-1])]


class Catalogue:
    """The products of one language.

    Parameters
    ----------
    lexicon : Lexicon
    language : str
    seed : int
    """

    def __init__(self, lexicon: Lexicon, language: str, seed: int) -> None:
        self.lexicon = lexicon
        self.language = language
        self.seed = seed
        self.vocabulary = lexicon.vocabularies[language]
        self.popularity = Popularity(lexicon, seed)

    def __iter__(self) -> Iterator[Product]:
        return (self.product(index) for index in itertools.count())

    def product(self, index: int) -> Product:
        """Return product number `index`."""
        rng = random.Random(f"{self.seed}:{self.language}:{index}")
        product_type = self.lexicon.types[self.popularity.draw(rng)]
        attributes = draw_attributes(product_type, rng)
        if rng.random() < 0.75:
            attributes += (("brand", rng.choice(_brands(self.lexicon, self.language, product_type.department)).latin),)
        words = suited_words(self.lexicon, SELLER_WORDS, product_type.name)
        needs = self._advertised(product_type, attributes)
        style = draw_style(words, needs, rng)
        english = self.lexicon.vocabularies[ENGLISH]

        def speaker(vocabulary: Vocabulary, usual: float) -> Speaker:
            return Speaker(vocabulary, rng, usual, scopes=product_type.scopes)

        local, in_english = speaker(self.vocabulary, 0.45), speaker(english, 0.7)
        names = name_values(self.lexicon)
        forms, forms_en = (self._fitting(code, product_type, attributes) for code in (self.language, ENGLISH))
        latin = self.vocabulary.latin_names(product_type.name)
        latin = names.fitting(self.language, product_type.name, latin, attributes)
        name, name_en = local.choose(forms), in_english.choose(forms_en)
        more = [*forms, *latin[:2], self.lexicon.vocabularies[ENGLISH][f"type:{product_type.name}"].name]
        more = rng.sample(more, min(style.names, len(more)))
        unsaid, unsaid_en = (
            names.unsaid(code, product_type.name, form, attributes)
            for code, form in ((self.language, name), (ENGLISH, name_en))
        )
        title = style.dress(write_title(local, name, unsaid, style.word), local, name, more)
        used = [(self.language, form) for form in (name, *more) if form.casefold() in title.casefold()]
        said = [names.said(code, product_type.name, form) for code, form in (*used, (ENGLISH, name_en))]
        return Product(
            id=product_id(self.language, index),
            index=index,
            language=self.language,
            type=product_type.name,
            department=product_type.department,
            category=product_type.category,
            title=title,
            title_en=style.dress(write_title(in_english, name_en, unsaid_en, style.word), in_english, name_en, ()),
            text=write_description(speaker(self.vocabulary, 0.5), name, attributes, needs, latin),
            attributes=attributes,
            implied=implied_values(self.lexicon, product_type, attributes, said),
            price=draw_price(product_type, attributes, rng),
        )

    def _advertised(self, product_type: ProductType, attributes: tuple[Attribute, ...]) -> list[str]:
        """Return the keys of the needs that a seller names; none for adults' products, birthdays may be children's."""
        met = needs_met(self.lexicon, product_type, attributes) if product_type.audience != ADULT else ()
        return [f"need:{need.name}" for need in met]

    def _fitting(self, language: str, product_type: ProductType, attributes: tuple[Attribute, ...]) -> tuple[str, ...]:
        """Return the type's names that fit a product; the usual one if none does."""
        forms = self.lexicon.vocabularies[language][f"type:{product_type.name}"].forms()
        return name_values(self.lexicon).fitting(language, product_type.name, forms, attributes) or forms[:1]


@lru_cache(maxsize=8192)
def suited_words(lexicon: Lexicon, words: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the words that can be said of a product type."""
    return tuple(word for word in words if lexicon.suits(word, name))


@lru_cache(maxsize=1024)
def _brands(lexicon: Lexicon, language: str, department: str) -> tuple[Brand, ...]:
    return lexicon.brands_for(language, department)


def draw_attributes(product_type: ProductType, rng: random.Random) -> tuple[Attribute, ...]:
    """Draw the two to four attributes that a seller states, without contradictions, in the type's order."""
    groups = list(product_type.attributes)
    count = min(len(groups), rng.choice((2, 2, 3, 3, 3, 4)))
    stated = set(rng.sample(groups, count))
    values = {group: rng.choice(product_type.attributes[group]) for group in groups if group in stated}
    for group in contradictions(values):
        values.pop(group, None)
    return tuple(values.items())


def contradictions(values: dict[str, str]) -> list[str]:
    """Return the groups whose value contradicts another one's."""
    gender, age = values.get("gender"), values.get("age")
    dropped = []
    if gender in ("boys", "girls") and age in ("adult", "senior", "newborn"):
        dropped.append("age")
    if gender in ("men", "women", "unisex") and age not in (None, "adult", "senior"):
        dropped.append("age")
    if values.get("feature") == "unscented":
        dropped.append("scent")
    if values.get("pattern") == "plain" and values.get("colour") == "multicolour":
        dropped.append("pattern")
    if values.get("material") in ("gold_plated", "sterling_silver"):
        dropped.append("colour")
    return dropped + [group for group in _MEASURES if group in values][1:]


def draw_price(product_type: ProductType, attributes: tuple[Attribute, ...], rng: random.Random) -> float:
    """Draw a price in US dollars, log-uniform between the type's bounds; a luxury product is in the upper third."""
    position = rng.random()
    if ("style", "luxury") in attributes:
        position = (2 + position) / 3
    low, high = math.log(product_type.price_low), math.log(product_type.price_high)
    return round(math.exp(low + position * (high - low)), 2)


def price_band(product_type: ProductType, price: float) -> str:
    """Return "low", "mid" or "high": the third of the type's logarithmic price range that a price lies in."""
    low, high = math.log(product_type.price_low), math.log(product_type.price_high)
    position = (math.log(price) - low) / (high - low)
    return PRICE_BANDS[min(max(int(3 * position), 0), 2)]


def implied_values(
    lexicon: Lexicon, product_type: ProductType, attributes: tuple[Attribute, ...], said: Iterable[Iterable[Attribute]]
) -> tuple[Attribute, ...]:
    """Return what is true of a product without being stated: by its type, by what its names say, as a whole."""
    names = name_values(lexicon)
    implied = names.inherent(product_type.name).union(*said).difference(attributes)
    if names.for_children(product_type, dict((*implied, *attributes))):
        implied |= {FOR_CHILDREN}
    return tuple(sorted(implied))


def write_title(speaker: Speaker, name: str, attributes: tuple[Attribute, ...], word: str) -> str:
    """Write a title from one of the language's patterns; attributes that the pattern lacks follow at the end.

    `name` is the type's, `word` the key of a seller's word, which may be empty.
    """
    spoken = speaker.values_by_slot(attributes, name)
    template = speaker.random.choice(_best_templates(speaker.vocabulary, frozenset(spoken)))
    rest = [text for slot, text in spoken.items() if slot not in slots(template)]
    spoken |= {"type": name, "word": speaker.word(word) if word else ""}
    return speaker.vocabulary.grammar.apply(" ".join([fill(template, spoken), *rest]), name)


@lru_cache(maxsize=4096)
def _best_templates(vocabulary: Vocabulary, stated: frozenset[str]) -> tuple[str, ...]:
    """Return the title patterns with the most of the stated slots, and those with one fewer."""
    placed = {template: len(slots(template) & stated) for template in vocabulary.templates("title")}
    most = max(placed.values())
    return tuple(template for template, count in placed.items() if count >= max(most - 1, min(most, 1)))


def write_description(
    speaker: Speaker, name: str, attributes: tuple[Attribute, ...], needs: Sequence[str], latin: Sequence[str]
) -> str:
    """Write a short description: at times the stated attributes again, a closing sentence, words to be found by.

    `name` is the type's in the title, with which the attributes agree.
    """
    comma, stop = _MARKS.get(speaker.vocabulary.language, (", ", "."))
    rng = speaker.random
    values = (speaker.vocabulary.grammar.apply(speaker.value(attribute), name) for attribute in attributes)
    stated = comma.join(values) if rng.random() < 0.5 else ""
    closing = rng.choice(speaker.vocabulary.templates("desc"))
    found_by = [speaker.word(need) for need in needs if rng.random() < 0.75 / (1 + len(needs))]
    if latin and rng.random() < 0.3:
        found_by.append(rng.choice(latin))
    parts = (stated, closing.removesuffix(stop), comma.join(found_by))
    return f"{stop} ".join(part for part in parts if part) + stop
