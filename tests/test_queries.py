"""Queries: no text twice, each answerable, each written as its kind says."""

import random
import unicodedata
from collections import Counter

import pytest
from wishes import satisfies

from dataset_builder.generator.catalogue import Catalogue
from dataset_builder.generator.keyboards import on_english_layout, telex, vni
from dataset_builder.generator.misspelling import abbreviate, misspell
from dataset_builder.generator.queries import KINDS, Query, Writer, generate_queries
from dataset_builder.generator.reference import english_reference
from dataset_builder.generator.splits import Quota, Release, split_products, unseen_types
from dataset_builder.generator.wording import fill
from dataset_builder.layout import SPLITS
from dataset_builder.lexicon import Lexicon, load_lexicon, normalise_text
from dataset_builder.scripts import strip_diacritics

SMALL = Release("small", Quota(300, 80, 180), Quota(120, 30, 60))
LARGER = Release("larger", Quota(500, 120, 300), Quota(240, 50, 100))


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


def generate(lexicon: Lexicon, language: str, releases: tuple[Release, ...]) -> tuple[list[Query], dict[str, list]]:
    unseen = unseen_types(lexicon, 0)
    products: dict[str, list] = {split: [] for split in SPLITS}
    for split, product in split_products(Catalogue(lexicon, language, 0), releases[-1].products, unseen, 0):
        products[split].append(product)
    return list(generate_queries(lexicon, language, 0, releases, products, unseen)), products


@pytest.fixture(scope="module", params=["vi", "th", "ur", "fil"])
def generated(lexicon: Lexicon, request: pytest.FixtureRequest) -> tuple[list[Query], dict[str, list]]:
    return generate(lexicon, request.param, (SMALL, LARGER))


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{feature} {type}", {"feature": "fast charging", "type": "charging cable"}, "fast charging cable"),
        ("{type} {colour} {material}", {"type": "tã Vải", "material": "vải cotton"}, "tã Vải cotton"),
        ("{type} ({material})", {"type": "kraft paper", "material": "paper"}, "kraft paper (paper)"),
        ("{type} {age}", {"type": "mainan anak laki laki", "age": "lakilaki"}, "mainan anak laki laki lakilaki"),
        ("{size} {quantity}", {"size": "size 42", "quantity": "42 g"}, "size 42 42 g"),
    ],
)
def test_a_word_at_the_seam_of_two_slots_is_said_once(template: str, values: dict[str, str], text: str) -> None:
    assert fill(template, values) == text


def test_counts_ids_and_texts(generated: tuple[list[Query], dict[str, list]]) -> None:
    queries, _ = generated
    assert Counter(query.split for query in queries) == {"train": 240, "validation": 50, "test": 100}
    assert len({query.id for query in queries}) == len({normalise_text(query.text) for query in queries}) == 390
    assert all(unicodedata.is_normalized("NFC", query.text) for query in queries)
    assert all(1 <= len(query.text.split()) <= 8 for query in queries)


def test_a_smaller_release_has_the_same_first_queries(
    lexicon: Lexicon, generated: tuple[list[Query], dict[str, list]]
) -> None:
    queries, _ = generated
    small, _ = generate(lexicon, queries[0].language, (SMALL,))
    assert {query.id: query for query in queries}.items() >= {query.id: query for query in small}.items()


def test_every_query_has_a_product_with_all_it_asks_for(generated: tuple[list[Query], dict[str, list]]) -> None:
    queries, products = generated
    for query in queries:
        assert any(
            all(satisfies(product, wish) for wish in query.constraints)
            and product.type in (query.types or (query.type,))
            for product in products[query.split]
        ), query


def test_unseen_types_are_flagged_and_never_in_training(
    lexicon: Lexicon, generated: tuple[list[Query], dict[str, list]]
) -> None:
    queries, _ = generated
    unseen = unseen_types(lexicon, 0)
    assert all(query.unseen_type == (query.type in unseen) for query in queries)
    assert not [query for query in queries if query.split == "train" and query.unseen_type]
    assert [query for query in queries if query.split == "test" and query.unseen_type]


def test_kinds_are_all_there_and_as_they_say(lexicon: Lexicon, generated: tuple[list[Query], dict[str, list]]) -> None:
    queries, _ = generated
    vocabulary = lexicon.vocabularies[queries[0].language]
    romanises = queries[0].language in ("vi", "th", "ur")
    assert {query.kind for query in queries} == set(KINDS) - (set() if romanises else {"romanised"})
    for query in queries:
        forms = vocabulary[f"type:{query.type}"].forms() if query.type else ()
        if query.kind == "bare":
            assert query.text == forms[0]
        elif query.kind == "synonym":
            assert any(form in query.text for form in forms[1:])
        elif query.kind == "romanised":
            assert query.text.isascii()
        elif query.kind == "vague":
            assert not query.type and len(query.types) > 1
        elif query.kind == "brand":
            assert "brand" in dict(query.constraints)
        elif query.kind == "price":
            assert "price_up_to" in dict(query.constraints)
        elif query.kind == "negation":
            assert any(group.startswith("not:") for group, _ in query.constraints)
        assert bool(query.type) == (query.kind != "vague")


def test_another_seed_asks_other_things(lexicon: Lexicon) -> None:
    catalogue, unseen = Catalogue(lexicon, "id", 0), unseen_types(lexicon, 0)
    products: dict[str, list] = {split: [] for split in SPLITS}
    for split, product in split_products(catalogue, SMALL.products, unseen, 0):
        products[split].append(product)
    texts = [
        {query.text for query in generate_queries(lexicon, "id", seed, (SMALL,), products, unseen)} for seed in (0, 1)
    ]
    assert len(texts[0] & texts[1]) < len(texts[0]) / 2


def test_writer_gives_up_on_a_kind_that_the_product_cannot_fill(lexicon: Lexicon) -> None:
    catalogue = Catalogue(lexicon, "vi", 0)
    bare = next(product for product in catalogue if not product.attributes or product.type == "t_shirt")
    draft = Writer(lexicon, "vi", random.Random(0)).write("bare", bare)
    assert draft is not None and draft.text == "áo thun"


def test_strip_diacritics_types_plain_vietnamese() -> None:
    assert strip_diacritics("nồi cơm điện Đỏ") == "noi com dien Do"


def test_abbreviate_whole_words_only_where_words_have_spaces() -> None:
    pairs = (("para sa", "pra sa"), ("mura", "mra"))
    assert abbreviate("damit para sa babae mura", pairs, spaced=True) == "damit pra sa babae mra"
    assert abbreviate("muraling", pairs, spaced=True) == "muraling"
    assert abbreviate("ของแท้ราคา", (("ราคา", "รค"),), spaced=False) == "ของแท้รค"


SLIPS = {
    ("vi", "áo"): {"ao", "aos", "ao1"},
    ("vi", "sữa"): {"xữa", "sửa", "suwax", "su7a4"},
    ("vi", "quần trẻ em"): {"quần chẻ em", "quaanf trẻ em", "quần trẽ em", "quầng trẻ em", "quầntrẻ em"},
    ("th", "เสื้อ"): {"glnhv", "เสื่อ"},
    ("th", "กระเป๋า สีดำ"): {"กระเป๋าสีดำ", "กะเป๋า สีดำ", "กระเป้า สีดำ", "กระ เป๋า สีดำ"},
    ("id", "rak buku"): {"raq buku", "rakbuku", "rak buu", "rak bulu"},
    ("id", "ramadhan"): {"ramadan", "rmadhan"},
    ("ms", "pakai hitam"): {"pakei hitam", "pakai itam", "pakaihitam"},
    ("ur", "بچوں کے لیے"): {"بچوں کےلیے", "بچوں کے لئے", "بچون کے لیے"},
    ("bn", "শাড়ি"): {"সাড়ি", "শাড়ী"},
    ("fil", "pang-bata"): {"pangbata", "pang bata", "fang-bata", "pang-vata"},
}


@pytest.mark.parametrize(("language", "text"), SLIPS)
def test_slips_are_those_of_the_language_s_keyboard_and_sounds(language: str, text: str) -> None:
    """The keys that were typed, letters of one sound, spaces; not only one letter, as in the first release."""
    slips = {misspell(text, language, random.Random(seed)) for seed in range(600)}
    assert slips >= SLIPS[language, text], slips


def test_romanised_bengali_confuses_v_and_b_f_and_ph() -> None:
    slips = {misspell("valo fan", "bn", random.Random(seed), romanised=True) for seed in range(200)}
    assert {"balo fan", "bhalo fan", "valo phan"} <= slips


def edits(first: str, second: str) -> int:
    """Levenshtein distance; two swapped letters count as two."""
    row = list(range(len(second) + 1))
    for number, char in enumerate(first, 1):
        previous, row[0] = row[0], number
        for column, other in enumerate(second, 1):
            previous, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, previous + (char != other))
    return row[-1]


@pytest.mark.parametrize(
    ("language", "text"), [("th", "เครื่องซักผ้า"), ("id", "sepatu lari"), ("bn", "শাড়ি"), ("vi", "áo")]
)
def test_most_slips_change_one_or_two_letters(language: str, text: str) -> None:
    slips = [misspell(text, language, random.Random(seed)) for seed in range(200)]
    assert sum(edits(text, slip) in (1, 2) for slip in slips) > 0.75 * len(slips)


def test_two_slips_at_times() -> None:
    text = "kemeja wanita lengan panjang"
    counts = [edits(text, misspell(text, "id", random.Random(seed))) for seed in range(200)]
    assert 0.03 < sum(count > 2 for count in counts) / len(counts) < 0.3


@pytest.mark.parametrize(
    ("written", "typed"),
    [(on_english_layout("เสื้อ"), "glnhv"), (telex("điện"), "ddieenj"), (telex("áo"), "aos"), (vni("đèn"), "d9en2")],
)
def test_keystrokes(written: str, typed: str) -> None:
    assert written == typed


def test_misspelling_leaves_bengali_conjuncts_whole() -> None:
    for seed in range(60):
        slip = misspell("রান্নাঘর ব্লেন্ডার", "bn", random.Random(seed))
        assert "\u09cd " not in slip
        assert not slip.endswith("\u09cd")


def test_neighbouring_letters_are_swapped_dropped_doubled_and_mistyped() -> None:
    slips = {misspell("abcdef", "id", random.Random(seed)) for seed in range(300)}
    assert {"acbdef", "acdef", "abbcdef", "avcdef"} <= slips
    assert all(slip[0] == "a" for slip in slips)  # first letters are seldom wrong


def test_a_confused_letter_is_never_half_of_a_bengali_conjunct() -> None:
    assert {misspell("স্নান", "bn", random.Random(seed)) for seed in range(60)} == {"স্নান"}
    assert "শাবান" in {misspell("সাবান", "bn", random.Random(seed)) for seed in range(60)}


def test_a_bundle_is_answered_by_either_of_its_products(lexicon: Lexicon, generated: tuple[list[Query], dict]) -> None:
    queries, _ = generated
    vocabulary, needs = lexicon.vocabularies[queries[0].language], {need.types for need in lexicon.needs}
    bundles = [query for query in queries if query.types and query.types not in needs]
    assert 0 < len(bundles) < len(queries) / 40
    for bundle in bundles:
        assert len(bundle.types) == 2 and bundle.kind == "vague"
        assert all(vocabulary[f"type:{name}"].name in bundle.text for name in bundle.types)
        english = [lexicon.vocabularies["en"][f"type:{name}"].name for name in bundle.types]
        assert english_reference(lexicon, bundle) == " and ".join(english)
