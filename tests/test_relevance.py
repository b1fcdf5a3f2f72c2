"""Grades equal a brute-force reading of the rules; hard negatives are irrelevant and look relevant."""

from collections import Counter

import numpy as np
import pytest
from wishes import satisfies

from dataset_builder.audience import CHILD_VALUES
from dataset_builder.generator.catalogue import Catalogue, Product, implied_values
from dataset_builder.generator.negatives import COUNT, HardNegatives
from dataset_builder.generator.queries import Query, generate_queries
from dataset_builder.generator.relevance import COMPLEMENTS, SplitIndex, accepted_values
from dataset_builder.generator.rows import similarity
from dataset_builder.generator.splits import Quota, Release, split_products, unseen_types
from dataset_builder.layout import SPLITS
from dataset_builder.lexicon import Lexicon, load_lexicon
from dataset_builder.name_values import FOR_CHILDREN
from dataset_builder.substitutes import substitutes
from modeling_lira.evaluation.bm25 import BM25, tokens

RELEASE = Release("small", Quota(250, 60, 150), Quota(150, 30, 60))


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon(languages=("ms", "th"))


@pytest.fixture(scope="module", params=["ms", "th"])
def split(lexicon: Lexicon, request: pytest.FixtureRequest) -> tuple[list[Product], list[Query]]:
    """Training products and all queries of one language, judged against those products."""
    unseen = unseen_types(lexicon, 0)
    products: dict[str, list[Product]] = {name: [] for name in SPLITS}
    for name, product in split_products(Catalogue(lexicon, request.param, 0), RELEASE.products, unseen, 0):
        products[name].append(product)
    queries = list(generate_queries(lexicon, request.param, 0, (RELEASE,), products, unseen))
    return products["train"], queries


def contradicts(product: Product, wish: tuple[str, str]) -> bool:
    """Whether a product of another type cannot stand in: it has another value, or not the brand or price."""
    relation, _, group = wish[0].rpartition(":")
    if group in ("brand", "price_up_to", "price_from"):
        return not satisfies(product, wish)
    if relation == "not":
        return (group, wish[1]) in product.facts
    groups = ("gender", "age") if wish == FOR_CHILDREN else (group,)
    stated = [group for group, _ in product.facts if group in groups and group in EXCLUSIVE]
    return bool(stated) and not satisfies(product, wish)


EXCLUSIVE = (
    "colour", "material", "pattern", "gender", "age", "style", "flavour", "scent", "compatibility", "size", "size_bed",
    "size_clothing", "size_shoe",
)  # fmt: skip


def for_child(wish: tuple[str, str]) -> bool:
    return wish == FOR_CHILDREN or wish[1] in CHILD_VALUES.get(wish[0].split(":")[-1], ())


def grade(lexicon: Lexicon, query: Query, product: Product) -> int:
    matched = sum(satisfies(product, wish) for wish in query.constraints)
    if any(map(for_child, query.constraints)) and lexicon.types[product.type].audience == "adult":
        return 0
    if product.type == query.type:
        return 3 if matched == len(query.constraints) else 2
    if query.type:
        stands_in = product.type in substitutes(lexicon)[query.type]
        return int(stands_in and not any(contradicts(product, wish) for wish in query.constraints))
    unpriced = [wish for wish in query.constraints if not wish[0].startswith("price")]
    if not all(satisfies(product, wish) for wish in unpriced):
        return 0
    if product.type in query.types:
        near = all(misses_by_less_than_half(product, wish) for wish in query.constraints if wish not in unpriced)
        return 3 if matched == len(query.constraints) else 2 * near
    also = next((need.also for need in lexicon.needs if need.types == query.types), ())  # a bundle is no need
    return 2 if product.type in also and matched == len(query.constraints) else 0


def misses_by_less_than_half(product: Product, wish: tuple[str, str]) -> bool:
    limit = float(wish[1])
    return product.price <= limit * 1.5 if wish[0] == "price_up_to" else product.price >= limit / 1.5


def test_grades_equal_brute_force(lexicon: Lexicon, split: tuple[list[Product], list[Query]]) -> None:
    products, queries = split
    index = SplitIndex(lexicon, products)
    seen: set[int] = set()
    for query in queries:
        judged = index.judge(query)
        expected = {row: level for row, product in enumerate(products) if (level := grade(lexicon, query, product))}
        assert dict(zip(judged.rows.tolist(), judged.grades.tolist(), strict=True)) == expected
        assert judged.rows.tolist() == sorted(expected)
        seen |= set(expected.values())
    assert seen == {1, 2, 3}
    assert any(not query.type for query in queries)


def test_rows_added_one_by_one_are_the_same(lexicon: Lexicon, split: tuple[list[Product], list[Query]]) -> None:
    products, queries = split
    whole, grown = SplitIndex(lexicon, products), SplitIndex(lexicon, products[:100])
    for product in products[100:]:
        grown.add(product)
    for query in queries:
        assert whole.judge(query).rows.tolist() == grown.judge(query).rows.tolist()


def test_hard_negatives_are_irrelevant_and_rank_high(
    lexicon: Lexicon, split: tuple[list[Product], list[Query]]
) -> None:
    """Each shares a word with the query or its category or department, and those with words come in BM25's order."""
    products, queries = split
    index = SplitIndex(lexicon, products)
    language = products[0].language
    finder = HardNegatives(lexicon, index, products)
    words = [{*tokens(product.title, language), *tokens(product.title_en, language)} for product in products]
    search = BM25([*tokens(product.title, language), *tokens(product.title_en, language)] for product in products)
    sharing = 0
    for query in queries:
        negatives = finder.find(query, index.judge(query))
        assert len(set(negatives)) == len(negatives) <= COUNT
        assert max(Counter(products[row].type for row in negatives).values(), default=0) <= 2
        scores = search.scores(tokens(query.text, language))[negatives]
        assert (np.diff(scores) <= 1e-5).all()
        for row in negatives:
            assert grade(lexicon, query, products[row]) == 0
            near = (query.type, *substitutes(lexicon)[query.type]) if query.type else query.types
            assert products[row].type not in near
            fitting = {lexicon.types[name].category for name in near}
            assert query.type or products[row].category not in fitting
            shared = bool(words[row] & {*tokens(query.text, language)})
            departments = {lexicon.types[name].department for name in (query.type,) if name} or {
                lexicon.types[name].department for name in query.types
            }
            assert shared or products[row].department in departments
            sharing += shared
    assert sharing > 0.6 * COUNT * len(queries)


def test_only_the_first_products_are_searched_for_hard_negatives(
    lexicon: Lexicon, split: tuple[list[Product], list[Query]]
) -> None:
    products, queries = split
    index = SplitIndex(lexicon, products)
    finder = HardNegatives(lexicon, index, products[:50])
    drawn = [row for query in queries for row in finder.find(query, index.judge(query))]
    assert drawn
    assert max(drawn) < 50


def test_complements_go_with_what_is_asked_for_and_have_no_grade(
    lexicon: Lexicon, split: tuple[list[Product], list[Query]]
) -> None:
    products, queries = split
    index, smaller = SplitIndex(lexicon, products), SplitIndex(lexicon, products[:100])
    listed = 0
    for query in queries:
        rows = index.complements(query, index.judge(query)).tolist()
        assert len(rows) <= COMPLEMENTS
        assert set(smaller.complements(query, smaller.judge(query)).tolist()) <= set(rows)
        for row in rows:
            assert products[row].type in lexicon.types[query.type].complements
            assert products[row].type not in substitutes(lexicon)[query.type]
            assert grade(lexicon, query, products[row]) == 0
        listed += len(rows)
    assert listed > 0.5 * len(queries)


def product(type_name: str, *attributes: tuple[str, str], price: float = 5.0, index: int = 0) -> Product:
    """A product of some type with these attributes alone."""
    lexicon = load_lexicon(languages=())
    row = lexicon.types[type_name]
    implied = implied_values(lexicon, row, attributes, [])
    return Product(
        f"ms-p{index}", index, "ms", type_name, row.department, row.category, "", "", "", attributes, implied, price
    )


def judged(type_name: str, constraints: tuple[tuple[str, str], ...], *products: Product) -> list[int]:
    """The grades of some products for a query of a type with these wishes."""
    lexicon = load_lexicon(languages=())
    query = Query("q", "", "ms", "train", "attribute", "head", type_name, (), constraints, False)
    result = SplitIndex(lexicon, products).judge(query)
    grades = dict(zip(result.rows.tolist(), result.grades.tolist(), strict=True))
    return [grades.get(row, 0) for row in range(len(products))]


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("shampoo", "baby_shampoo"),
        ("baby_shampoo", "shampoo"),
        ("sunflower_oil", "coconut_oil"),
        ("sunflower_oil", "mustard_oil"),
        ("soy_sauce", "sweet_soy_sauce"),
        ("white_rice", "jasmine_rice"),
        ("tea_bags", "masala_tea"),
        ("blanket", "baby_blanket"),
    ],
)
def test_types_of_other_departments_stand_in(asked: str, other: str) -> None:
    assert judged(asked, (), product(other)) == [1]


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("air_fryer", "chicken_nuggets"),
        ("cap", "t_shirt"),
        ("sleeping_pillow", "bed_sheet_set"),
        ("notebook", "ballpoint_pen"),
    ],
)
def test_complements_are_not_relevant(asked: str, other: str) -> None:
    assert judged(asked, (), product(other)) == [0]


def test_a_substitute_contradicts_no_wish() -> None:
    red, blue, unknown = (product("tote_bag", *stated) for stated in ((("colour", "red"),), (("colour", "blue"),), ()))
    assert judged("handbag", (("colour", "red"),), red, blue, unknown) == [1, 0, 1]
    light, proof = (product("duffel_bag", ("feature", value)) for value in ("lightweight", "waterproof"))
    assert judged("backpack", (("feature", "waterproof"),), light, proof) == [1, 1]


def test_a_vague_query_is_fitted_well_less_well_or_not() -> None:
    lexicon = load_lexicon(languages=())
    [need] = [need for need in lexicon.needs if need.name == "new_phone"]
    query = Query("q", "", "ms", "train", "vague", "head", "", need.types, (("price_up_to", "10"),), False)
    cases = [("power_bank", 9.0, 3), ("power_bank", 14.0, 2), ("power_bank", 16.0, 0)]
    cases += [("car_phone_holder", 9.0, 2), ("car_phone_holder", 11.0, 0), ("sofa", 9.0, 0)]
    products = [product(name, price=price) for name, price, _ in cases]
    result = SplitIndex(lexicon, products).judge(query)
    grades = dict(zip(result.rows.tolist(), result.grades.tolist(), strict=True))
    assert [grades.get(row, 0) for row in range(len(cases))] == [level for *_, level in cases]


def test_for_kids_is_a_wish() -> None:
    bikes = [product("mountain_bike", *stated) for stated in ((("age", "school"),), (("gender", "men"),), ())]
    assert judged("mountain_bike", (FOR_CHILDREN,), *bikes) == [3, 2, 2]
    assert judged("road_bike", (FOR_CHILDREN,), *bikes) == [1, 0, 1]
    assert judged("toy_car", (FOR_CHILDREN,), product("toy_car")) == [3]


def test_a_price_is_a_wish() -> None:
    dear, cheap = product("handbag", price=20.0), product("handbag", price=19.99)
    assert judged("handbag", (("price_up_to", "19.99"),), dear, cheap) == [2, 3]


def test_a_brand_and_what_is_not_wanted_are_wishes() -> None:
    ours, other, unknown = (product("headphones", *stated) for stated in ((("brand", "A"),), (("brand", "B"),), ()))
    assert judged("headphones", (("brand", "A"),), ours, other, unknown) == [3, 2, 2]
    assert judged("wired_earphones", (("brand", "A"),), ours, other, unknown) == [1, 0, 0]
    linen, leather, silent = (
        product("sofa", *stated) for stated in ((("material", "linen"),), (("material", "leather"),), ())
    )
    assert judged("sofa", (("not:material", "leather"),), linen, leather, silent) == [3, 2, 2]
    assert judged("bean_bag", (("not:material", "leather"),), linen, leather, silent) == [1, 0, 1]


def test_what_every_product_of_a_type_is_need_not_be_stated() -> None:
    assert judged("blouse", (("gender", "women"),), product("blouse")) == [3]
    assert judged("smartwatch", (("feature", "smart"),), product("smartwatch")) == [3]


def test_accepted_values() -> None:
    assert accepted_values(("gender", "men")) == ("men", "unisex")
    assert accepted_values(("gender", "unisex")) == ("unisex",)
    assert accepted_values(("compatibility", "samsung")) == ("samsung", "android", "universal")
    assert accepted_values(("colour", "red")) == ("red",)


def test_similarity_follows_the_grades(lexicon: Lexicon, split: tuple[list[Product], list[Query]]) -> None:
    products, queries = split
    bounds = {3: (1.0, 1.0), 2: (0.5, 0.9), 1: (0.35, 0.35), 0: (0.0, 0.1)}
    for query in queries:
        for product in products[::5]:
            level = grade(lexicon, query, product)
            low, high = bounds[level]
            assert low <= similarity(lexicon, query, product, level) <= high
