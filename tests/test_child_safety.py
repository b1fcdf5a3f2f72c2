"""No built text puts a child together with what is for adults, in any language."""

import random
from collections.abc import Iterator

import pytest

from dataset_builder.audience import ADULT, CHILD_VALUES, CHILD_WORDS
from dataset_builder.generator.catalogue import Catalogue, Product
from dataset_builder.generator.queries import KINDS, Query, Writer
from dataset_builder.generator.relevance import SplitIndex
from dataset_builder.grammar import inflections
from dataset_builder.lexicon import (
    ENGLISH,
    LANGUAGES,
    ROMANISED_LANGUAGES,
    Lexicon,
    load_lexicon,
)

PRODUCTS = 3_000
"""About 240 of them of adult types."""


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


def adult_products(lexicon: Lexicon, language: str) -> Iterator[Product]:
    catalogue = Catalogue(lexicon, language, seed=3)
    for index in range(PRODUCTS):
        product = catalogue.product(index)
        if lexicon.types[product.type].audience == ADULT:
            yield product


def child_forms(lexicon: Lexicon, language: str) -> list[str]:
    """Every way in which a language says that something is for a child, but what also names an adult type."""
    vocabulary = lexicon.vocabularies[language]
    keys = [f"{group}:{value}" for group, values in CHILD_VALUES.items() for value in values]
    keys += [f"word:{word}" for word in CHILD_WORDS]
    written = (form for key in keys for romanised in (False, True) for form in vocabulary[key].forms(romanised))
    forms = {form for text in written for form in inflections(text)}
    names = [
        form.casefold()
        for name, row in lexicon.types.items()
        if row.audience == ADULT
        for romanised in (False, True)
        for form in vocabulary[f"type:{name}"].forms(romanised)
    ]
    return sorted(form.casefold() for form in forms if not any(form.casefold() in name for name in names))


def says_child(text: str, forms: list[str], language: str) -> str:
    """Return the first child's form that stands in a text as words, or as characters where Thai sets no spaces."""
    padded = text.casefold() if language == "th" else f" {text.casefold()} "
    return next((form for form in forms if (form if language == "th" else f" {form} ") in padded), "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_title_or_query_of_an_adult_type_speaks_of_children(lexicon: Lexicon, language: str) -> None:
    local, english = child_forms(lexicon, language), child_forms(lexicon, ENGLISH)
    assert len(local) > 10
    rng, seen = random.Random(5), 0
    for product in adult_products(lexicon, language):
        texts = [(product.title, local), (product.text, local), (product.title_en, english)]
        for kind in KINDS if language in ("vi", "th", *ROMANISED_LANGUAGES) else KINDS[:-1]:
            draft = Writer(lexicon, language, rng).write(kind, product)
            if draft is not None and draft.type and kind not in ("misspelt", "code_mixed"):
                texts.append((draft.text, local))
        for text, forms in texts:
            assert not says_child(text, forms, language), (product.type, text)
        seen += len(texts)
    assert seen > 500


@pytest.mark.parametrize("language", ["vi", "ur"])
def test_a_child_s_query_never_gets_a_product_for_adults(lexicon: Lexicon, language: str) -> None:
    catalogue = Catalogue(lexicon, language, seed=4)
    products = [catalogue.product(index) for index in range(PRODUCTS)]
    index, rng, asked = SplitIndex(lexicon, products), random.Random(6), 0
    for product in products:
        if not any(value in CHILD_VALUES.get(group, ()) for group, value in product.attributes):
            continue
        for kind in ("attribute", "vague"):
            draft = Writer(lexicon, language, rng).write(kind, product)
            if draft is None or not any(value in CHILD_VALUES.get(group, ()) for group, value in draft.constraints):
                continue
            asked += 1
            query = Query(
                "q", draft.text, language, "train", kind, "head", draft.type, draft.types, draft.constraints, False
            )
            judged = index.judge(query)
            assert all(lexicon.types[products[row].type].audience != ADULT for row in judged.rows), draft
    assert asked > 50
