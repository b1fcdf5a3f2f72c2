"""Load and validate the hand-written lexicon: product types, quantities, brands and one vocabulary a language."""

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from modeling_lira.errors import LiraError

from .audience import ADULT, CHILD_VALUES, CHILD_WORDS, check_audience
from .grammar import Grammar, read_grammars
from .scripts import strip_diacritics

LEXICON_FOLDER = Path(__file__).parent / "lexicon"
LANGUAGES = ("vi", "th", "id", "ms", "ur", "bn", "fil")
ENGLISH = "en"
QUERY_LANGUAGES = (*LANGUAGES, ENGLISH)
"""Languages that the queries of a shop's log may be in."""
ROMANISED_LANGUAGES = ("ur", "bn")
BANDS = ("head", "mid", "tail")
QUANTITY_GROUPS = ("volume", "weight", "storage", "length", "power", "battery", "screen", "pack", "pages")
SIZE_GROUPS = {
    "size": ("mini", "small", "medium", "large", "extra_large"),
    "size_bed": ("single", "double", "queen", "king"),
    "size_clothing": ("XS", "S", "M", "L", "XL", "2XL", "3XL"),
    "size_shoe": tuple(str(size) for size in range(36, 46)),
}
EVERYWHERE = "*"
_CLOTHING = SIZE_GROUPS["size_clothing"]
_RANGES = (
    *(_CLOTHING[first:last] for first, last in ((1, 5), (1, 6), (1, 7), (2, 6), (2, 7))),
    *(tuple(map(str, range(first, last + 1))) for first, last in ((36, 40), (36, 45), (38, 43), (39, 44), (40, 45))),
)
SIZE_RANGES = {f"{sizes[0]}-{sizes[-1]}": sizes for sizes in _RANGES}
"""The sizes that a product is sold in which states a range of them."""
VALUE_GROUPS = (
    "colour", "material", "pattern", "gender", "age", "style", "feature", "flavour", "scent", "compatibility",
)  # fmt: skip


Attribute = tuple[str, str]
"""A group and a value, such as ("colour", "red")."""


def normalise_text(text: str) -> str:
    """Return the form by which two texts count as the same: NFC, casefolded, without white space."""
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


@dataclass(frozen=True)
class ProductType:
    """What the shop knows of one kind of product, in no language.

    `audience` is "adult" for what no child wears or uses, "all" for the rest. `attributes` maps a group such as
    `material` to the value ids that make sense for the type.
    """

    name: str
    department: str
    category: str
    band: str
    audience: str
    price_low: float
    price_high: float
    attributes: Mapping[str, tuple[str, ...]]
    complements: tuple[str, ...]

    @property
    def scopes(self) -> tuple[str, str, str]:
        """What a row of the lexicon may be limited to, the narrowest first: the type, its category, its department."""
        return self.name, self.category, self.department


@dataclass(frozen=True)
class Brand:
    """An invented brand; an empty `language` means all languages, empty `departments` all departments."""

    name: str
    latin: str
    language: str
    departments: tuple[str, ...]


@dataclass(frozen=True)
class Need:
    """What shoppers name without naming a product: a gift for a father, camping. `types` are the products that fit.

    A product that states a group of `wishes` must have the value wished: no gift for a father is for women. Products
    of the types `also` fit less well.
    """

    name: str
    wishes: tuple[tuple[str, str], ...]
    types: tuple[str, ...]
    also: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One language's words for one key: the usual name, other names, and romanised forms if people write these."""

    name: str
    synonyms: tuple[str, ...] = ()
    romanised: tuple[str, ...] = ()

    def forms(self, romanised: bool = False) -> tuple[str, ...]:
        """Return the usual name first, then the others, all native or all romanised."""
        return self.romanised if romanised else (self.name, *self.synonyms)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """One language's file: entries by key, such as `type:rice_cooker`, `colour:red`, `query:3`.

    `scoped` holds, by key and scope, the words that replace an entry's for some types, categories or departments: the
    file's row `feature:wireless@ironing,massagers` says what is wireless with these.
    """

    language: str
    entries: Mapping[str, Entry]
    scoped: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict)
    grammar: Grammar = field(default_factory=Grammar)

    def __getitem__(self, key: str) -> Entry:
        try:
            return self.entries[key]
        except KeyError:
            raise LiraError(f"lexicon/{self.language}.tsv has no entry {key!r}: add a line for it") from None

    def entry(self, key: str, scopes: Sequence[str] = ()) -> Entry:
        """Return the words of a key, those of the first of the scopes that has words of its own for it."""
        by_scope = self.scoped.get(key, {})
        return next((by_scope[scope] for scope in scopes if scope in by_scope), None) or self[key]

    def rows(self) -> Iterator[tuple[str, Entry]]:
        """Yield every key with each of its entries, the scoped ones too."""
        yield from self.entries.items()
        for key, by_scope in self.scoped.items():
            yield from ((key, entry) for entry in dict.fromkeys(by_scope.values()))

    def latin_names(self, name: str) -> tuple[str, ...]:
        """Return a product type's names in plain Latin letters, if people type these instead of the language's own."""
        if self.language == "vi":
            return tuple(strip_diacritics(form) for form in self[f"type:{name}"].forms())
        latin = self.entries.get(f"latin:{name}")
        return latin.forms() if latin else self[f"type:{name}"].romanised

    def templates(self, kind: str, romanised: bool = False) -> tuple[str, ...]:
        """Return the sentence patterns of a kind in file order."""
        return _templates(self, kind, romanised)

    def abbreviations(self, romanised: bool = False) -> tuple[tuple[str, str], ...]:
        """Return (full form, short form) pairs in file order, longest full form first."""
        kind = "abbrev_latin" if romanised else "abbrev"
        pairs = [(entry.name, entry.synonyms[0]) for entry in _numbered(self, kind)]
        return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


def _numbered(vocabulary: Vocabulary, kind: str) -> Iterator[Entry]:
    number = 1
    while (entry := vocabulary.entries.get(f"{kind}:{number}")) is not None:
        yield entry
        number += 1


@lru_cache(maxsize=256)
def _templates(vocabulary: Vocabulary, kind: str, romanised: bool) -> tuple[str, ...]:
    rows = [entry.romanised[:1] if romanised else (entry.name,) for entry in _numbered(vocabulary, kind)]
    return tuple(text for row in rows for text in row)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The whole authored lexicon."""

    types: Mapping[str, ProductType]
    brands: tuple[Brand, ...]
    vocabularies: Mapping[str, Vocabulary]
    suited: Mapping[str, Mapping[str, bool]]
    """By word of sellers and shoppers: whether it suits the types of a scope; a word that is not there suits all."""
    needs: tuple[Need, ...] = ()
    folder: Path = LEXICON_FOLDER

    @cached_property
    def needs_of(self) -> Mapping[str, tuple[Need, ...]]:
        """The needs that each product type fits, in file order."""
        return {name: tuple(need for need in self.needs if name in need.types) for name in self.types}

    @cached_property
    def by_category(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Type names of each (department, category), in file order."""
        groups: dict[tuple[str, str], list[str]] = {}
        for product_type in self.types.values():
            groups.setdefault((product_type.department, product_type.category), []).append(product_type.name)
        return {key: tuple(names) for key, names in groups.items()}

    def suits(self, word: str, name: str) -> bool:
        """Return whether a word such as `durable` can be said of a type; words for children never of one for adults."""
        product_type = self.types[name]
        if word in CHILD_WORDS and product_type.audience == ADULT:
            return False
        by_scope = self.suited.get(word, {})
        return next((by_scope[scope] for scope in (*product_type.scopes, EVERYWHERE) if scope in by_scope), True)

    def brands_for(self, language: str, department: str) -> tuple[Brand, ...]:
        """Return the brands that sell a department in a language."""
        return tuple(
            brand
            for brand in self.brands
            if brand.language in ("", language) and (not brand.departments or department in brand.departments)
        )


def load_lexicon(folder: Path = LEXICON_FOLDER, languages: tuple[str, ...] = LANGUAGES) -> Lexicon:
    """Read and check the lexicon.

    Parameters
    ----------
    folder : Path
        Holds `structure.tsv`, `quantities.tsv`, `brands.tsv`, `words.tsv`, `nouns.tsv`, `needs.tsv` and for each
        language `{language}.tsv`, its words, and `{language}-queries.tsv`, how its shoppers type.
    languages : tuple of str
        Vocabularies to load besides English.

    Raises
    ------
    LiraError
        A file, column, entry or reference that is missing or contradictory; the message names file and key.
    """
    quantities = _read_quantities(folder / "quantities.tsv")
    types = _read_structure(folder / "structure.tsv", quantities)
    brands = _read_brands(folder / "brands.tsv")
    names = (ENGLISH, *(language for language in languages if language != ENGLISH))
    vocabularies = {language: _read_vocabulary(folder, language, brands) for language in names}
    english = (form for entry in vocabularies[ENGLISH].entries.values() for form in entry.forms())
    grammars = read_grammars(read_table(folder / "nouns.tsv", ("language", "agreement", "words")), english)
    for language in grammars.keys() & vocabularies.keys():
        vocabularies[language] = replace(vocabularies[language], grammar=grammars[language])
    suited, needs = _read_words(folder / "words.tsv", types), _read_needs(folder / "needs.tsv", types)
    lexicon = Lexicon(types, brands, vocabularies, suited, needs, folder)
    _check_complements(types)
    for vocabulary in vocabularies.values():
        _check_vocabulary(vocabulary, types)
        _check_needs(vocabulary, lexicon)
    return lexicon


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a TSV whose header is exactly `columns`; cells are NFC."""
    if not path.is_file():
        raise LiraError(f"lexicon file {path} does not exist")
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or tuple(rows[0]) != columns:
        raise LiraError(f"{path.name}: the first line must be the columns {' '.join(columns)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(columns):
            raise LiraError(f"{path.name} line {number}: {len(row)} columns, expected {len(columns)}")
    return [
        {column: unicodedata.normalize("NFC", cell) for column, cell in zip(columns, row, strict=True)}
        for row in rows[1:]
    ]


def _read_quantities(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    table = read_table(path, ("group", "scope", "values"))
    return {(row["group"], row["scope"]): tuple(row["values"].split()) for row in table}


def _read_structure(path: Path, quantities: Mapping[tuple[str, str], tuple[str, ...]]) -> dict[str, ProductType]:
    columns = (
        "type", "department", "category", "band", "audience", "price_low", "price_high", "attributes", "complements"
    )  # fmt: skip
    types: dict[str, ProductType] = {}
    for row in read_table(path, columns):
        name = row["type"]
        if name in types:
            raise LiraError(f"{path.name}: type {name!r} is there twice")
        if row["band"] not in BANDS:
            raise LiraError(f"{path.name}: type {name!r} has band {row['band']!r}, expected one of {' '.join(BANDS)}")
        low, high = float(row["price_low"]), float(row["price_high"])
        if not 0 < low < high:
            raise LiraError(f"{path.name}: type {name!r} has prices {low} to {high}, expected 0 < low < high")
        scopes = (name, row["category"], row["department"], "*")
        groups = dict(_parse_attribute(item, scopes, quantities, path.name) for item in row["attributes"].split())
        check_audience(path.name, row, groups)
        types[name] = ProductType(
            name,
            row["department"],
            row["category"],
            row["band"],
            row["audience"],
            low,
            high,
            groups,
            tuple(row["complements"].split()),
        )
    return types


def _parse_attribute(
    item: str, scopes: tuple[str, ...], quantities: Mapping[tuple[str, str], tuple[str, ...]], file: str
) -> tuple[str, tuple[str, ...]]:
    """Parse `group` or `group=value,value`; the values of a bare group come from the closed lists."""
    group, _, listed = item.partition("=")
    if listed:
        return group, tuple(listed.split(","))
    if group in SIZE_GROUPS:
        sizes = SIZE_GROUPS[group]
        return group, (*sizes, *(name for name, listed in SIZE_RANGES.items() if set(listed) <= set(sizes)))
    if group in _OPEN_VALUES:
        return group, _OPEN_VALUES[group]
    for scope in scopes:
        if (group, scope) in quantities:
            return group, quantities[group, scope]
    raise LiraError(f"{file}: type {scopes[0]!r} has attribute {item!r}, which has no list of values")


_OPEN_VALUES = {
    "colour": (
        "black", "white", "red", "blue", "navy", "green", "yellow", "pink", "purple", "orange", "brown", "beige",
        "grey", "gold", "silver", "multicolour",
    ),
    "pattern": (
        "plain", "striped", "floral", "checked", "polka_dot", "batik", "camouflage", "cartoon", "geometric",
        "animal_print",
    ),
    "gender": ("men", "women", "unisex", "boys", "girls"),
    "age": ("newborn", "infant", "toddler", "preschool", "school", "adult", "senior"),
}  # fmt: skip


def _read_brands(path: Path) -> tuple[Brand, ...]:
    return tuple(
        Brand(
            name=row["name"],
            latin=row["latin"],
            language="" if row["language"] == "*" else row["language"],
            departments=() if row["departments"] == "*" else tuple(row["departments"].split()),
        )
        for row in read_table(path, ("name", "latin", "language", "departments"))
    )


def _read_words(path: Path, types: Mapping[str, ProductType]) -> dict[str, dict[str, bool]]:
    """Read what each word suits and what not; the narrowest scope decides."""
    words: dict[str, dict[str, bool]] = {}
    for row in read_table(path, ("word", "suits", "except")):
        by_scope = {scope: suits for suits in (True, False) for scope in row["suits" if suits else "except"].split()}
        _check_known(by_scope, types, f"{path.name}: word {row['word']!r}", EVERYWHERE)
        words[row["word"]] = by_scope
    return words


def _check_known(scopes: Iterable[str], types: Mapping[str, ProductType], where: str, *more: str) -> None:
    """Raise LiraError for a scope that is no type, category or department."""
    known = {scope for product_type in types.values() for scope in product_type.scopes}
    for scope in scopes:
        if scope not in known and scope not in more:
            raise LiraError(f"{where} is limited to {scope!r}, which is no type, category or department")


def _read_needs(path: Path, types: Mapping[str, ProductType]) -> tuple[Need, ...]:
    """Read the needs.

    Raises
    ------
    LiraError
        If a need fits an unknown type, or is a child's and fits a type for adults.
    """
    needs = []
    for row in read_table(path, ("need", "wishes", "types", "also")):
        wishes = tuple((group, value) for group, _, value in (wish.partition("=") for wish in row["wishes"].split()))
        need = Need(row["need"], wishes, tuple(row["types"].split()), tuple(row["also"].split()))
        childs = any(value in CHILD_VALUES.get(group, ()) for group, value in wishes)
        for name in (*need.types, *need.also):
            if name not in types or (childs and types[name].audience == ADULT):
                raise LiraError(f"{path.name}: need {need.name!r} does not go with the type {name!r}")
        needs.append(need)
    return tuple(needs)


def _read_vocabulary(folder: Path, language: str, brands: Sequence[Brand]) -> Vocabulary:
    """Read a language's words and how its shoppers type; the brands' names are words as well."""
    romanised = ("romanised",) if language in ROMANISED_LANGUAGES else ()
    entries: dict[str, dict[str, Entry]] = {f"brand:{brand.latin}": {"": _brand(brand, language)} for brand in brands}
    for path in (folder / f"{language}.tsv", folder / f"{language}-queries.tsv"):
        for row in read_table(path, ("key", "name", "synonyms", *romanised)):
            if not row["name"]:
                raise LiraError(f"{path.name}: key {row['key']!r} has no name")
            entry = Entry(row["name"], _names(row["synonyms"]), _names(row.get("romanised", "")))
            key, _, listed = row["key"].partition("@")
            for scope in listed.split(","):
                if scope in entries.setdefault(key, {}):
                    raise LiraError(f"{path.name}: key {row['key']!r} is there twice")
                entries[key][scope] = entry
    general = {key: by_scope.pop("") for key, by_scope in entries.items() if "" in by_scope}
    return Vocabulary(language, general, {key: by_scope for key, by_scope in entries.items() if by_scope})


def _brand(brand: Brand, language: str) -> Entry:
    """Return a brand's name: in its own script, or else in Latin letters; in English in Latin letters alone."""
    native = brand.latin if language == ENGLISH else brand.name
    return Entry(native, () if native == brand.latin else (brand.latin,), (brand.latin,))


def _names(cell: str) -> tuple[str, ...]:
    return tuple(cell.split("|")) if cell else ()


def _check_complements(types: Mapping[str, ProductType]) -> None:
    for product_type in types.values():
        for other in product_type.complements:
            if other not in types or other == product_type.name:
                raise LiraError(f"structure.tsv: type {product_type.name!r} has an unknown complement {other!r}")


def _check_vocabulary(vocabulary: Vocabulary, types: Mapping[str, ProductType]) -> None:
    """Raise LiraError for a missing entry, or a name of two types, whose queries could not be judged."""
    romanised = vocabulary.language in ROMANISED_LANGUAGES
    for script in (False, True) if romanised else (False,):
        owners: dict[str, str] = {}
        for name in types:
            for form in vocabulary[f"type:{name}"].forms(script):
                owner = owners.setdefault(normalise_text(form), name)
                if owner != name:
                    raise LiraError(f"lexicon/{vocabulary.language}.tsv: {form!r} names both {owner!r} and {name!r}")
                if vocabulary.grammar.nouns and not vocabulary.grammar.agreement(form):
                    raise LiraError(f"lexicon/nouns.tsv: {form!r} ends in no known noun: add its gender and number")
    _check_scopes(vocabulary, types)
    needed = [(key, vocabulary[key]) for key in _needed_keys(types)]
    scoped = [(key, entry) for key, by_scope in vocabulary.scoped.items() for entry in by_scope.values()]
    for key, entry in [*needed, *scoped]:
        if romanised and not entry.romanised:
            raise LiraError(f"lexicon/{vocabulary.language}.tsv: key {key!r} has no romanised form")


def _check_scopes(vocabulary: Vocabulary, types: Mapping[str, ProductType]) -> None:
    """Raise LiraError for a row limited to what is no type, category or department, or whose key has no usual words."""
    for key, by_scope in vocabulary.scoped.items():
        vocabulary[key]
        _check_known(by_scope, types, f"lexicon/{vocabulary.language}.tsv: key {key!r}")


def _check_needs(vocabulary: Vocabulary, lexicon: Lexicon) -> None:
    """Raise LiraError for a need without words, or with those of a product type, which would not be vague."""
    names = {normalise_text(form) for name in lexicon.types for form in vocabulary[f"type:{name}"].forms()}
    for need in lexicon.needs:
        for form in vocabulary[f"need:{need.name}"].forms():
            if normalise_text(form) in names:
                raise LiraError(f"lexicon/{vocabulary.language}-queries.tsv: need {form!r} is a product type's name")


def _needed_keys(types: Mapping[str, ProductType]) -> list[str]:
    keys = {f"type:{name}" for name in types} | {f"department:{row.department}" for row in types.values()}
    for product_type in types.values():
        for group, values in product_type.attributes.items():
            if group in VALUE_GROUPS or group in ("size", "size_bed"):
                keys |= {f"{group}:{value}" for value in values}
    return sorted(keys)
