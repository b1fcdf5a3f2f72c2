"""Titles as sellers write them, and prices as shoppers name them."""

import random

import pytest

from dataset_builder.generator.catalogue import Catalogue
from dataset_builder.generator.money import RATES, in_dollars, round_amount, say_amount
from dataset_builder.generator.selling import MAX_TITLE, Style, capitalise, draw_style
from dataset_builder.generator.wording import Speaker
from dataset_builder.lexicon import ENGLISH, LANGUAGES, Lexicon, load_lexicon


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_third_of_the_titles_has_60_to_120_characters(lexicon: Lexicon, language: str) -> None:
    catalogue = Catalogue(lexicon, language, 5)
    titles = [catalogue.product(index).title for index in range(400)]
    assert 0.25 < sum(60 <= len(title) <= 120 for title in titles) / len(titles) < 0.6
    assert sum(len(title) > 120 for title in titles) < 0.02 * len(titles)
    assert sum("[" in title or "【" in title or "🔥" in title for title in titles) > 0.05 * len(titles)


@pytest.mark.parametrize("language", ["vi", "ur"])
def test_a_brand_stands_in_both_titles_or_in_neither(lexicon: Lexicon, language: str) -> None:
    catalogue, brands = Catalogue(lexicon, language, 6), {brand.latin: brand for brand in lexicon.brands}
    branded = 0
    for product in (catalogue.product(index) for index in range(300)):
        stated = dict(product.attributes).get("brand")
        if stated is not None:
            forms = lexicon.vocabularies[language][f"brand:{stated}"].forms()
            assert any(form.casefold() in product.title.casefold() for form in forms)
            assert stated.casefold() in product.title_en.casefold()
        elif product.department == "electronics":
            assert not any(name.casefold() in product.title.casefold().split() for name in brands)
        branded += stated is not None
    assert 150 < branded < 280


def test_a_seller_does_not_call_one_thing_imported_and_local() -> None:
    words = ("imported", "local_made", "promo")
    for seed in range(300):
        style = draw_style(words, ("need:camping",), random.Random(seed))
        keys = {style.word, *style.front, *style.back}
        assert not {"word:imported", "word:local_made"} <= keys


def test_a_dressed_title_has_its_parts_and_an_end(lexicon: Lexicon) -> None:
    speaker = Speaker(lexicon.vocabularies[ENGLISH], random.Random(0))
    style = Style(
        front=("word:promo",), bracket="【{}】", code="KX-20", back=("word:cod",), need="need:camping", case="capitals"
    )
    assert style.dress("red tent", speaker, "tent", ["tent"]) == "【SALE】 Red Tent KX-20 COD Camping Gear"
    assert len(style.dress("red tent " * 12, speaker, "tent", ["house " * 9])) <= MAX_TITLE + 12
    assert Style(case="upper").dress("lều", Speaker(lexicon.vocabularies["vi"], random.Random(0)), "lều", []) == "LỀU"
    assert Style(case="upper").dress("usb", Speaker(lexicon.vocabularies["th"], random.Random(0)), "usb", []) == "usb"
    assert capitalise("men's iPhone case") == "Men's IPhone Case"
    assert capitalise("[bảo hành] khoan (mới)") == "[Bảo Hành] Khoan (Mới)"


@pytest.mark.parametrize("language", LANGUAGES)
def test_amounts_are_round_and_on_their_side_of_the_price(language: str) -> None:
    rng = random.Random(1)
    for price in (0.53, 1.2, 7.99, 33.3, 149.0, 800.0):
        above, below = (round_amount(price, language, side, rng) for side in (True, False))
        assert below / RATES[language] < price <= above / RATES[language] + 1e-9
        assert float(in_dollars(above, language)) >= price - 1e-3
        assert len(str(above).rstrip("0")) <= 2


@pytest.mark.parametrize(
    ("amount", "formats", "text"),
    [
        (200_000, ("{k}k", "{m} triệu"), "200k"),
        (1_500_000, ("{k}k", "{m} triệu"), "1.5 triệu"),
        (500, ("{n} บาท",), "500 บาท"),
        (50, ("rm{n}", "{n} ringgit"), "50 ringgit"),
    ],
)
def test_an_amount_has_the_format_of_its_size(amount: int, formats: tuple[str, ...], text: str) -> None:
    assert say_amount(amount, formats, 1) == text
