"""Products: decided by seed, language and index alone, and saying what their attributes say."""

import random
import re

import pytest

from dataset_builder.generator.catalogue import (
    Catalogue,
    Popularity,
    Product,
    contradictions,
    draw_price,
    price_band,
    product_id,
    stable_hash,
)
from dataset_builder.generator.products import ProductList
from dataset_builder.generator.queries import Writer
from dataset_builder.generator.wording import Speaker, fill, says
from dataset_builder.grammar import inflections
from dataset_builder.lexicon import ENGLISH, LANGUAGES, Lexicon, load_lexicon


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon(languages=("vi", "bn", "th"))


def test_stable_hash_is_the_same_on_every_machine() -> None:
    assert stable_hash(0, "split", "vi-p0000001") == 14378197620163713104
    assert stable_hash("a", "b") != stable_hash("ab")


def test_a_product_depends_on_its_index_alone(lexicon: Lexicon) -> None:
    one, other = Catalogue(lexicon, "vi", 0), Catalogue(lexicon, "vi", 0)
    forwards = [one.product(index) for index in range(50)]
    assert [other.product(index) for index in reversed(range(50))] == forwards[::-1]
    assert Catalogue(lexicon, "vi", 1).product(7) != forwards[7]
    assert forwards[7].id == product_id("vi", 7) == "vi-p0000007"


@pytest.mark.parametrize("language", ["vi", "th", "bn"])
def test_titles_say_every_attribute(lexicon: Lexicon, language: str) -> None:
    """In English, where the words are known, each attribute is one of its entry's forms or a number with a unit."""
    english = lexicon.vocabularies[ENGLISH]
    for product in map(Catalogue(lexicon, language, 3).product, range(300)):
        for group, value in product.attributes:
            key = f"{group}:{value}"
            number = re.match(r"[\d.]+", value)
            entry = english.entry(key, lexicon.types[product.type].scopes) if key in english.entries else None
            forms = entry.forms() if entry else (number[0] if number else value,)
            assert any(form.casefold() in product.title_en.casefold() for form in forms), (product.title_en, key)


def scoped_attributes(lexicon: Lexicon, product: Product) -> list[str]:
    """The keys of a product's attributes that have words of their own for its type."""
    keys = [f"{group}:{value}" for group, value in product.attributes]
    vocabulary, scopes = lexicon.vocabularies[product.language], lexicon.types[product.type].scopes
    return [key for key in keys if set(scopes) & set(vocabulary.scoped.get(key, ()))]


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_and_queries_use_the_words_of_the_type(language: str) -> None:
    """An iron is cordless and glass of a table a pane, in titles and queries alike; few descriptions repeat them."""
    lexicon = load_lexicon(languages=(language,))
    vocabulary, seen = lexicon.vocabularies[language], 0
    for product in map(Catalogue(lexicon, language, 11).product, range(1_500)):
        scopes, keys = lexicon.types[product.type].scopes, scoped_attributes(lexicon, product)
        texts = [product.title] if keys else []
        draft = Writer(lexicon, language, random.Random(product.id)).write("attribute", product) if keys else None
        for key in keys:
            asked = draft is not None and tuple(key.split(":")) in draft.constraints
            words = vocabulary.entry(key, scopes).forms()
            forms = [form.casefold() for word in words for form in inflections(word)]
            for text in [*texts, *([draft.text] if draft is not None and asked else [])]:
                assert any(form in text.casefold() for form in forms), (key, text)
                seen += 1
    assert seen > 20


@pytest.mark.parametrize("language", ["vi", "th"])
def test_sellers_say_no_word_that_does_not_suit_the_type(lexicon: Lexicon, language: str) -> None:
    local, english = (lexicon.vocabularies[code]["word:with_warranty"].forms() for code in (language, ENGLISH))
    seen = 0
    for product in map(Catalogue(lexicon, language, 9).product, range(2_000)):
        if any(form in product.title for form in local) or any(form in product.title_en for form in english):
            assert lexicon.suits("with_warranty", product.type), product.title
            seen += 1
    assert seen > 2


def test_titles_are_clean(lexicon: Lexicon) -> None:
    for product in map(Catalogue(lexicon, "vi", 0).product, range(500)):
        for text in (product.title, product.title_en, product.text):
            assert text == " ".join(text.split())
            assert "{" not in text
            assert "()" not in text
            assert "[]" not in text


def test_attributes_come_from_the_type(lexicon: Lexicon) -> None:
    for product in map(Catalogue(lexicon, "bn", 0).product, range(300)):
        allowed = lexicon.types[product.type].attributes
        assert all(value in allowed[group] for group, value in product.attributes if group != "brand")
        groups = [group for group, _ in product.attributes]
        assert len(set(groups)) == len(groups)


def test_prices_lie_in_the_types_range_and_their_band(lexicon: Lexicon) -> None:
    for product in map(Catalogue(lexicon, "th", 0).product, range(300)):
        product_type = lexicon.types[product.type]
        assert product_type.price_low - 0.01 <= product.price <= product_type.price_high + 0.01
        if ("style", "luxury") in product.attributes:
            assert price_band(product_type, product.price + 0.01) == "high"


def test_price_bands_are_thirds_in_the_logarithm(lexicon: Lexicon) -> None:
    jeans = lexicon.types["jeans"]
    assert (jeans.price_low, jeans.price_high) == (10, 50)
    cuts = [10 * 5 ** (1 / 3), 10 * 5 ** (2 / 3)]
    bands = [price_band(jeans, price) for price in (10, cuts[0] - 0.1, cuts[0] + 0.1, cuts[1] - 0.1, cuts[1] + 0.1, 50)]
    assert bands == ["low", "low", "mid", "mid", "high", "high"]
    assert draw_price(jeans, (), random.Random(0)) == draw_price(jeans, (), random.Random(0))


@pytest.mark.parametrize(
    ("values", "dropped"),
    [
        ({"gender": "boys", "age": "adult"}, ["age"]),
        ({"gender": "boys", "age": "school"}, []),
        ({"gender": "women", "age": "toddler"}, ["age"]),
        ({"feature": "unscented", "scent": "rose"}, ["scent"]),
        ({"pattern": "plain", "colour": "multicolour"}, ["pattern"]),
        ({"material": "sterling_silver", "colour": "red"}, ["colour"]),
        ({"weight": "3kg", "volume": "10l"}, ["weight"]),
        ({"size": "small", "length": "1.8m", "pack": "2pcs"}, ["size"]),
        ({"size_bed": "single", "length": "2m"}, []),
    ],
)
def test_contradictions(values: dict[str, str], dropped: list[str]) -> None:
    assert contradictions(values) == dropped


def test_no_product_contradicts_itself(lexicon: Lexicon) -> None:
    for product in map(Catalogue(lexicon, "vi", 0).product, range(1_000)):
        values = dict(product.attributes)
        assert not set(contradictions(values)) & set(values), product.id


def test_popular_types_are_drawn_more_often(lexicon: Lexicon) -> None:
    popularity = Popularity(lexicon, 0)
    rng = random.Random(0)
    drawn = [popularity.order.index(popularity.draw(rng)) for _ in range(5_000)]
    bands = [lexicon.types[name].band for name in popularity.order]
    assert bands == sorted(bands, key=("head", "mid", "tail").index)
    assert sum(rank < len(bands) // 4 for rank in drawn) > 2 * sum(rank >= 3 * len(bands) // 4 for rank in drawn)


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{type} - {brand} ({colour})", {"type": "mug", "brand": "Voltara"}, "mug - Voltara"),
        ("[{brand}] {type} {size}", {"type": "mug"}, "mug"),
        ("{type} - {colour} - {size}", {"type": "mug", "size": "M"}, "mug - M"),
        ("{type}{colour}", {"type": "แก้ว", "colour": "แดง"}, "แก้วแดง"),
    ],
)
def test_fill_removes_what_has_no_value(template: str, values: dict[str, str], text: str) -> None:
    assert fill(template, values) == text


def test_speaker_says_quantities(lexicon: Lexicon) -> None:
    speaker = Speaker(lexicon.vocabularies[ENGLISH], random.Random(0))
    assert speaker.value(("volume", "500ml")) == "500ml"
    assert speaker.value(("size_shoe", "38")) == "size 38"
    assert says("digital thermometer", "digital")
    assert not says("digital thermometer", "mete")
    with pytest.raises(ValueError, match="quantity 'many' is not a number with a unit"):
        speaker.value(("volume", "many"))


@pytest.mark.parametrize(
    ("language", "name", "attribute", "kept"),
    [
        ("vi", "tôm khô", ("feature", "dried"), False),
        ("vi", "nhiệt kế hồng ngoại", ("colour", "pink"), True),
        ("vi", "camera hành trình", ("colour", "orange"), True),
        ("th", "กางเกงในผู้หญิง", ("gender", "women"), False),
        ("th", "โต๊ะกลาง", ("size", "medium"), True),
        ("vi", "cầu lông nhựa", ("not:material", "plastic"), False),
    ],
)
def test_only_what_the_name_says_is_left_out(
    lexicon: Lexicon, language: str, name: str, attribute: tuple[str, str], kept: bool
) -> None:
    """Whatever synonym is drawn, "tôm khô phơi khô" is not said; a colour is not taken for a part of a word."""
    for seed in range(20):
        speaker = Speaker(lexicon.vocabularies[language], random.Random(seed), 0.5)
        assert bool(speaker.values_by_slot((attribute,), name)) is kept


def test_product_list_makes_products_again(lexicon: Lexicon) -> None:
    catalogue = Catalogue(lexicon, "vi", 0)
    products = ProductList(catalogue, kept=3)
    for index in (0, 4, 5, 9, 12):
        products.append(catalogue.product(index))
    assert [product.index for product in products] == [0, 4, 5, 9, 12]
    assert products[-1] == catalogue.product(12)
    assert products[1:4] == [catalogue.product(index) for index in (4, 5, 9)]
    assert list(products.indices) == [0, 4, 5, 9, 12]
    with pytest.raises(IndexError):
        products[5]
