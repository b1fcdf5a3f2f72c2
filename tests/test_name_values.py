"""What names say becomes a wish of the query and a fact of the product, in every language."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from wishes import satisfies

from dataset_builder.generator.catalogue import Catalogue, Product
from dataset_builder.generator.queries import Query, generate_queries
from dataset_builder.generator.relevance import SplitIndex
from dataset_builder.generator.splits import Quota, Release, split_products, unseen_types
from dataset_builder.layout import SPLITS
from dataset_builder.lexicon import ENGLISH, LANGUAGES, Entry, Lexicon, Vocabulary, load_lexicon
from dataset_builder.name_values import EXCLUSIVE_GROUPS, FOR_CHILDREN, NameValues, name_values

SEEN: dict[str, int] = {}
"""Names that say something, by language."""
RELEASE = Release("small", Quota(900, 100, 400), Quota(500, 40, 160))


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


def with_names(lexicon: Lexicon, language: str, name: str, *forms: str) -> NameValues:
    """The lexicon with other forms of a type's name, as an editor might write them tomorrow."""
    entries = {**lexicon.vocabularies[language].entries, f"type:{name}": Entry(forms[0], forms[1:])}
    vocabulary = Vocabulary(language, entries, lexicon.vocabularies[language].scoped)
    vocabularies = {**lexicon.vocabularies, language: vocabulary}
    return NameValues(replace(lexicon, vocabularies=vocabularies))


@pytest.mark.parametrize(
    ("language", "name", "form", "said"),
    [
        ("vi", "coffee_mug", "ly sứ", {("material", "ceramic")}),
        ("vi", "perfume", "nước hoa nam", {("gender", "men")}),
        ("vi", "perfume", "nuoc hoa nam", {("gender", "men")}),
        ("vi", "vacuum_cleaner", "robot hút bụi", {("feature", "smart")}),
        ("vi", "formal_shoes", "giày da nam", {("material", "leather")}),
        ("id", "tasbih", "tasbih kayu", {("material", "wood")}),
        ("th", "dinner_plate", "จานเซรามิก", {("material", "ceramic")}),
        ("fil", "mattress", "foam na higaan", {("material", "foam")}),
        ("bn", "lungi", "সুতি লুঙ্গি", {("material", "cotton")}),
        ("ur", "kurta", "مردانہ کرتا", {("gender", "men")}),
        ("ms", "ear_thermometer", "termometer telinga bayi", {FOR_CHILDREN}),
        ("ms", "kick_scooter", "skuter kanak-kanak", set()),
        ("th", "induction_cooker", "เตาแม่เหล็กไฟฟ้า", set()),
        ("ms", "whiteboard_marker", "marker papan putih", set()),
        ("id", "sunglasses", "kacamata hitam", set()),
        ("vi", "flip_phone_case", "bao giả da", {("material", "faux_leather")}),
        ("en", "smartwatch", "smart watch", set()),
    ],
)
def test_what_a_name_says(lexicon: Lexicon, language: str, name: str, form: str, said: set[tuple[str, str]]) -> None:
    written = {"nuoc hoa nam": "nước hoa nam"}.get(form, form)
    assert with_names(lexicon, language, name, written, "x").said(language, name, form) == said


def test_every_product_of_a_type_is_what_its_english_name_says(lexicon: Lexicon) -> None:
    names = name_values(lexicon)
    assert names.inherent("waterproof_phone_pouch") == {("feature", "waterproof")}
    assert names.inherent("wood_pellet_litter") == {("material", "wood")}
    assert names.inherent("blouse") == {("gender", "women")}
    assert names.inherent("smartwatch") == {("feature", "smart")}
    assert names.inherent("drinking_glass") == frozenset()


def test_names_that_fit_a_product(lexicon: Lexicon) -> None:
    cups = ("cốc", "ly sứ", "cốc inox")
    names = with_names(lexicon, "vi", "coffee_mug", *cups)
    assert names.fitting("vi", "coffee_mug", cups, [("material", "ceramic")]) == ("cốc", "ly sứ")
    assert names.fitting("vi", "coffee_mug", cups, [("colour", "red")]) == cups
    forms = ("termometer telinga bayi", "termometer telinga")
    thermometer = with_names(lexicon, "ms", "ear_thermometer", *forms)
    assert thermometer.fitting("ms", "ear_thermometer", forms, [("age", "adult")]) == forms[1:]
    assert thermometer.fitting("ms", "ear_thermometer", forms, [("age", "infant")]) == forms


@pytest.fixture(scope="module", params=LANGUAGES)
def built(lexicon: Lexicon, request: pytest.FixtureRequest) -> tuple[dict[str, list[Product]], list[Query]]:
    """Products and queries of one language."""
    unseen = unseen_types(lexicon, 5)
    products: dict[str, list[Product]] = {name: [] for name in SPLITS}
    for name, product in split_products(Catalogue(lexicon, request.param, 5), RELEASE.products, unseen, 5):
        products[name].append(product)
    return products, list(generate_queries(lexicon, request.param, 5, (RELEASE,), products, unseen))


def names_in(lexicon: Lexicon, language: str, name: str, text: str) -> Iterator[str]:
    """The longest names of a type that a text holds."""
    entry = lexicon.vocabularies[language][f"type:{name}"]
    held = [form for form in (*entry.forms(), *entry.romanised) if form.casefold() in text.casefold()]
    return (form for form in held if not any(form.casefold() in other.casefold() != form.casefold() for other in held))


def test_no_title_contradicts_its_product(
    lexicon: Lexicon, built: tuple[dict[str, list[Product]], list[Query]]
) -> None:
    names, seen = name_values(lexicon), 0
    for product in (product for products in built[0].values() for product in products):
        for language, text in ((product.language, product.title), (ENGLISH, product.title_en)):
            for form in names_in(lexicon, language, product.type, text):
                if form == lexicon.vocabularies[language][f"type:{product.type}"].name:
                    continue  # kept where no other name fits either
                for attribute in names.said(language, product.type, form):
                    values = {value for group, value in product.attributes if group == attribute[0]}
                    values -= {"faux_leather"} & {f"faux_{attribute[1]}"}  # "faux leather" and then "bag"
                    assert attribute[0] not in EXCLUSIVE_GROUPS or values <= {attribute[1]}, (text, attribute)
                    seen += 1
    assert seen > 5


def test_what_a_querys_name_says_is_a_wish(
    lexicon: Lexicon, built: tuple[dict[str, list[Product]], list[Query]]
) -> None:
    """Only products that satisfy it are exact, and there is one."""
    products, queries = built
    names, seen = name_values(lexicon), 0
    indices = {split: SplitIndex(lexicon, rows) for split, rows in products.items()}
    for query in queries:
        judged = indices[query.split].judge(query)
        exact = [products[query.split][row] for row in judged.rows[judged.grades == 3].tolist()]
        assert exact
        if query.kind in ("misspelt", "code_mixed", "romanised") or not query.type:
            continue
        for form in names_in(lexicon, query.language, query.type, query.text):
            for wish in names.said(query.language, query.type, form):
                assert all(satisfies(product, wish) for product in exact), (query.text, wish)
                seen += 1
    SEEN[queries[0].language] = seen
    assert len(SEEN) < len(LANGUAGES) or sum(SEEN.values()) > 0  # names say few values since they were read


def test_what_a_name_says_in_another_of_its_words_is_not_said_twice(lexicon: Lexicon) -> None:
    names = name_values(lexicon)
    stated = (("gender", "women"), ("colour", "purple"), ("material", "leather"))
    assert names.unsaid("fil", "handbag", "bag na pambabae", stated) == stated[1:]
    assert names.unsaid("fil", "handbag", "handbag", stated) == stated
    assert names.unsaid("ur", "smartwatch", "سمارٹ واچ", (("feature", "smart"),)) == ()
    assert names.unsaid("ur", "wooden_puzzle_board", "ووڈن پزل", (("material", "wood"),)) == ()
    rose = (("scent", "rose"),)
    assert names.unsaid("vi", "toner", "nước hoa hồng", rose) == rose, "rose water is what a toner is called"
