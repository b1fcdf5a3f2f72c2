"""Grades equal a brute-force reading of the rules; hard negatives are irrelevant and look relevant."""

import pytest
from wishes import satisfies

from dataset_builder.generator.catalogue import Catalogue, Product
from dataset_builder.generator.queries import Query, generate_queries
from dataset_builder.generator.relevance import HardNegatives, SplitIndex, accepted_values, name_parts
from dataset_builder.generator.rows import similarity
from dataset_builder.generator.splits import Quota, Release, split_products, unseen_types
from dataset_builder.layout import SPLITS
from dataset_builder.lexicon import CHILD_VALUES, Lexicon, load_lexicon

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


def grade(lexicon: Lexicon, query: Query, product: Product) -> int:
    matched = sum(satisfies(product, wish) for wish in query.constraints)
    for_child = any(value in CHILD_VALUES.get(group, ()) for group, value in query.constraints)
    if for_child and lexicon.types[product.type].audience == "adult":
        return 0
    if query.type:
        wanted, product_type = lexicon.types[query.type], lexicon.types[product.type]
        if product.type == query.type:
            return 3 if matched == len(query.constraints) else 2
        sibling = (product_type.department, product_type.category) == (wanted.department, wanted.category)
        return 1 if sibling or product.type in wanted.complements else 0
    unpriced = [wish for wish in query.constraints if not wish[0].startswith("price")]
    if product.type not in query.types or not all(satisfies(product, wish) for wish in unpriced):
        return 0
    return 3 if matched == len(query.constraints) else 1


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


def test_hard_negatives_are_irrelevant_but_share_words_or_wishes(
    lexicon: Lexicon, split: tuple[list[Product], list[Query]]
) -> None:
    products, queries = split
    index = SplitIndex(lexicon, products)
    language = products[0].language
    finder = HardNegatives(lexicon, language, index, 0)
    with_negatives = 0
    for query in queries:
        judged = index.judge(query)
        negatives = finder.find(query, judged)
        assert negatives == sorted(set(negatives))
        assert len(negatives) <= 8
        for row in negatives:
            product = products[row]
            assert grade(lexicon, query, product) == 0
            wishes = any(satisfies(product, wish) for wish in query.constraints)
            words = query.type and name_parts(lexicon, language, query.type) & name_parts(
                lexicon, language, product.type
            )
            department = lexicon.types[query.type or query.types[0]].department
            assert wishes or words or product.department == department
        with_negatives += bool(negatives)
    assert with_negatives > 0.9 * len(queries)


def test_accepted_values() -> None:
    assert accepted_values(("gender", "men")) == ("men", "unisex")
    assert accepted_values(("gender", "unisex")) == ("unisex",)
    assert accepted_values(("compatibility", "samsung")) == ("samsung", "android", "universal")
    assert accepted_values(("colour", "red")) == ("red",)


def test_similarity_follows_the_grades(lexicon: Lexicon, split: tuple[list[Product], list[Query]]) -> None:
    products, queries = split
    bounds = {3: (1.0, 1.0), 2: (0.6, 0.9), 1: (0.25, 0.5), 0: (0.0, 0.1)}
    for query in queries:
        for product in products[::5]:
            level = grade(lexicon, query, product)
            low, high = bounds[level]
            assert low <= similarity(lexicon, query, product, level) <= high


def test_the_seed_decides_which_hard_negatives_are_drawn(
    lexicon: Lexicon, split: tuple[list[Product], list[Query]]
) -> None:
    products, queries = split
    index = SplitIndex(lexicon, products)
    language = products[0].language
    judged = [index.judge(query) for query in queries[:40]]
    drawn = [
        [HardNegatives(lexicon, language, index, seed).find(*pair) for pair in zip(queries, judged, strict=False)]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_lookalikes_are_other_types_that_share_a_rare_part(lexicon: Lexicon) -> None:
    finder = HardNegatives(lexicon, "ms", SplitIndex(lexicon, []), 0)
    assert not any(name in finder.lookalike_types(name) for name in lexicon.types)
    assert {len(part) for name in lexicon.types for part in name_parts(lexicon, "th", name)} == {5}
