"""The authored lexicon: complete, unambiguous, and refused with a clear line when it is not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_builder.lexicon import (
    ADULT,
    CHILD_VALUES,
    ENGLISH,
    LANGUAGES,
    LEXICON_FOLDER,
    ROMANISED_LANGUAGES,
    Lexicon,
    load_lexicon,
    normalise_text,
)
from dataset_builder.name_values import name_values
from dataset_builder.substitutes import substitutes
from modeling_lira.errors import LiraError


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the lexicon that a test may spoil."""
    return Path(shutil.copytree(LEXICON_FOLDER, tmp_path / "lexicon"))


def change(folder: Path, file: str, change_lines: Callable[[list[str]], list[str]]) -> None:
    path = folder / file
    path.write_text("\n".join(change_lines(path.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")


def test_size_of_the_lexicon(lexicon: Lexicon) -> None:
    departments = {product_type.department for product_type in lexicon.types.values()}
    assert len(lexicon.types) >= 500
    assert len(departments) >= 15
    assert set(lexicon.vocabularies) == {ENGLISH, *LANGUAGES}


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_every_type_has_a_name_that_no_other_type_has(lexicon: Lexicon, language: str) -> None:
    vocabulary = lexicon.vocabularies[language]
    owners: dict[str, str] = {}
    for name in lexicon.types:
        forms = vocabulary[f"type:{name}"].forms()
        assert forms[0].strip()
        for form in forms:
            assert owners.setdefault(normalise_text(form), name) == name


@pytest.mark.parametrize(("language", "first", "last"), [("th", "\u0e00", "\u0e7f"), ("bn", "\u0980", "\u09ff")])
def test_native_names_are_in_the_native_script(lexicon: Lexicon, language: str, first: str, last: str) -> None:
    names = [lexicon.vocabularies[language][f"type:{name}"].name for name in lexicon.types]
    assert sum(any(first <= char <= last for char in name) for name in names) / len(names) > 0.97


@pytest.mark.parametrize("language", ROMANISED_LANGUAGES)
def test_romanised_names_are_ascii(lexicon: Lexicon, language: str) -> None:
    for name in lexicon.types:
        romanised = lexicon.vocabularies[language][f"type:{name}"].forms(romanised=True)
        assert romanised
        assert all(form.isascii() for form in romanised)


def test_indonesian_and_malay_differ_where_they_differ(lexicon: Lexicon) -> None:
    indonesian, malay = lexicon.vocabularies["id"], lexicon.vocabularies["ms"]
    same = sum(indonesian[f"type:{name}"].name == malay[f"type:{name}"].name for name in lexicon.types)
    assert 0.02 < same / len(lexicon.types) < 0.6
    assert malay["type:socks"].name == "stokin"
    assert indonesian["type:socks"].name == "kaus kaki"


def test_substitutes_stand_in_both_ways_or_one(lexicon: Lexicon) -> None:
    others = substitutes(lexicon)
    assert others["shampoo"] == ("baby_shampoo",)
    assert "shampoo" in others["baby_shampoo"]
    assert "baby_blanket" in others["blanket"]
    assert "blanket" not in others["baby_blanket"]
    assert others["wallpaper"] == ()


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("substitutes.tsv", "jeans jean\t", r"substitutes\.tsv: type 'jean' is unknown"),
        ("substitutes.tsv", "jeans\tjean", r"substitutes\.tsv: type 'jean' is unknown"),
        ("names.tsv", "vi\tjean\t*\t-colour", r"names\.tsv: type 'jean' is unknown"),
    ],
)
def test_a_row_about_an_unknown_type_is_refused(folder: Path, file: str, line: str, message: str) -> None:
    change(folder, file, lambda lines: [*lines, line])
    lexicon = load_lexicon(folder, ("vi",))
    with pytest.raises(LiraError, match=message):
        (substitutes if file == "substitutes.tsv" else name_values)(lexicon)


def test_brands_are_limited_to_their_departments(lexicon: Lexicon) -> None:
    names = {brand.name for brand in lexicon.brands_for("vi", "electronics")}
    assert "Voltara" in names
    assert "Lunaveli" not in names


def test_a_row_for_some_types_replaces_the_usual_one_with_them(lexicon: Lexicon) -> None:
    english = lexicon.vocabularies[ENGLISH]
    assert english.entry("feature:wireless", lexicon.types["steam_iron"].scopes).forms() == ("cordless",)
    assert "bluetooth" in english.entry("feature:wireless", lexicon.types["headphones"].scopes).forms()
    assert "bluetooth" not in english["feature:wireless"].forms()
    assert english.entry("colour:red", lexicon.types["steam_iron"].scopes) == english["colour:red"]


def test_the_narrowest_row_wins(folder: Path) -> None:
    rows = ["colour:red@kitchen\twide\t", "colour:red@stoves,drinkware\tmiddle\t", "colour:red@gas_stove\tnarrow\t"]
    change(folder, "vi.tsv", lambda lines: [*lines, *rows])
    lexicon = load_lexicon(folder, ("vi",))
    vocabulary = lexicon.vocabularies["vi"]
    words = [
        vocabulary.entry("colour:red", lexicon.types[name].scopes).name
        for name in ("gas_stove", "coffee_mug", "frying_pan")
    ]
    assert words == ["narrow", "middle", "wide"]


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("vi", "colour:red@cars\tđỏ\t", "'colour:red' is limited to 'cars', which is no type, category or department"),
        ("vi", "colour:red@pets\tđỏ\t\ncolour:red@baby,pets\tđỏ\t", "key 'colour:red@baby,pets' is there twice"),
        ("vi", "colour:glowing@pets\tsáng\t", r"lexicon/vi\.tsv has no entry 'colour:glowing'"),
        ("ur", "colour:red@pets\tلال\t\t", "key 'colour:red' has no romanised form"),
    ],
)
def test_a_wrong_row_for_some_types_is_refused(folder: Path, file: str, line: str, message: str) -> None:
    change(folder, f"{file}.tsv", lambda lines: [*lines, line])
    with pytest.raises(LiraError, match=message):
        load_lexicon(folder, (file,))


def test_words_suit_the_types_that_they_can_be_said_of(lexicon: Lexicon) -> None:
    fits = {
        "with_warranty": ("rice_cooker", "laptop", "wheelchair"),
        "durable": ("backpack", "hammer_drill"),
        "birthday": ("greeting_card",),
        "cheap": ("lipstick", "rice_cooker"),
    }
    unfit = {
        "with_warranty": ("lipstick", "bentonite_litter", "t_shirt", "phone_case"),
        "durable": ("lipstick", "cooking_oil", "laundry_powder"),
        "for_kids": ("bra", "cooking_oil", "dumbbell"),
    }
    for word, names in fits.items():
        assert [name for name in names if not lexicon.suits(word, name)] == []
    for word, names in unfit.items():
        assert [name for name in names if lexicon.suits(word, name)] == []


HOUSE_WORDS = ("nhà", "bếp", "ครัว", "โฮม", "rumah", "griya", "گھر", "ঘর", "হোম", "bahay", "home")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_brand_whose_name_says_kitchen_or_colour_does_not_sell_everything(lexicon: Lexicon, language: str) -> None:
    vocabulary = lexicon.vocabularies[language]
    colours = {form for key, entry in vocabulary.rows() if key.startswith("colour:") for form in entry.forms()}
    for brand in lexicon.brands:
        if brand.language == language:
            assert brand.name not in colours
            says = [word for word in HOUSE_WORDS if word in brand.name.casefold()]
            assert brand.departments or not says, brand


def test_a_word_that_suits_what_there_is_not_is_refused(folder: Path) -> None:
    change(folder, "words.tsv", lambda lines: [*lines, "shiny\tcars\t*"])
    with pytest.raises(LiraError, match=r"words\.tsv: word 'shiny' is limited to 'cars', which is no type"):
        load_lexicon(folder, ("vi",))


def test_abbreviations_come_longest_first(lexicon: Lexicon) -> None:
    lengths = [len(full) for full, _ in lexicon.vocabularies["fil"].abbreviations()]
    assert lengths == sorted(lengths, reverse=True)
    assert ("magkano", "hm") in lexicon.vocabularies["fil"].abbreviations()


def test_normalise_text_ignores_case_spaces_and_composition() -> None:
    assert normalise_text("A\u0301o  Thun ") == normalise_text("áothun")
    assert normalise_text("ao thun") != normalise_text("áo thun")


def test_missing_name_says_which_line_to_add(folder: Path) -> None:
    change(folder, "th.tsv", lambda lines: [line for line in lines if not line.startswith("type:jeans\t")])
    with pytest.raises(LiraError, match=r"lexicon/th\.tsv has no entry 'type:jeans': add a line"):
        load_lexicon(folder, ("th",))


def test_one_name_for_two_types_is_refused(folder: Path) -> None:
    change(folder, "ms.tsv", lambda lines: [line.replace("stokin", "seluar jean") for line in lines])
    change(folder, "ms.tsv", lambda lines: [_named(line, "type:jeans", "seluar jean") for line in lines])
    with pytest.raises(LiraError, match="'seluar jean' names both 'jeans' and 'socks'"):
        load_lexicon(folder, ("ms",))


def _named(line: str, key: str, name: str) -> str:
    return f"{key}\t{name}\t" if line.startswith(f"{key}\t") else line


def test_missing_romanised_form_is_refused(folder: Path) -> None:
    change(folder, "ur.tsv", lambda lines: [_without_last(line) if "type:jeans\t" in line else line for line in lines])
    with pytest.raises(LiraError, match="'type:jeans' has no romanised form"):
        load_lexicon(folder, ("ur",))


def _without_last(line: str) -> str:
    return line.rpartition("\t")[0] + "\t"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("jeans\tfashion\tbottoms\thead\tall\t10\t50\tcolour\t", "type 'jeans' is there twice"),
        ("new\tfashion\tbottoms\tfront\tall\t10\t50\tcolour\t", "band 'front', expected one of head mid tail"),
        ("new\tfashion\tbottoms\thead\tall\t50\t10\tcolour\t", "expected 0 < low < high"),
        ("new\tfashion\tbottoms\thead\tall\t10\t50\tshine\t", "attribute 'shine', which has no list of values"),
        ("new\tfashion\tbottoms\thead\tall\t10\t50\tcolour\tmoon", "unknown complement 'moon'"),
        ("new\tfashion\tbottoms\thead\tsome\t10\t50\tcolour\t", "audience 'some', expected one of all adult"),
        ("new\tfashion\tunderwear\thead\tall\t10\t50\tcolour\t", "'underwear' must have the audience adult"),
        ("new\tfashion\tsleepwear\thead\tadult\t10\t50\tgender=women,girls\t", "must not have gender=girls"),
        ("new\tfashion\thosiery\thead\tadult\t10\t50\tgender\t", "must not have gender=boys, gender=girls"),
        ("new\tkitchen\tcutting_tools\thead\tadult\t10\t50\tage=school\t", "must not have age=school"),
        ("new\tfashion\tdresses\thead\tall\t10\t50\tgender=girls material=lace\t", "must not have .*material=lace"),
        ("new\tfashion\tbottoms", r"structure\.tsv line \d+: 3 columns, expected 9"),
    ],
)
def test_broken_structure_is_refused(folder: Path, line: str, message: str) -> None:
    change(folder, "structure.tsv", lambda lines: [*lines, line])
    with pytest.raises(LiraError, match=message):
        load_lexicon(folder, ("vi",))


def test_wrong_header_and_missing_file(folder: Path) -> None:
    change(folder, "vi.tsv", lambda lines: ["key\twort", *lines[1:]])
    with pytest.raises(LiraError, match="the first line must be the columns key name synonyms"):
        load_lexicon(folder, ("vi",))
    (folder / "brands.tsv").unlink()
    with pytest.raises(LiraError, match=r"brands\.tsv does not exist"):
        load_lexicon(folder, ("th",))


def test_no_adult_type_has_a_child_s_value(lexicon: Lexicon) -> None:
    intimate = {"underwear", "sleepwear", "hosiery", "feminine_care", "hair_removal"}
    for product_type in lexicon.types.values():
        if product_type.category in intimate:
            assert product_type.audience == ADULT
        stated = {(group, value) for group, values in product_type.attributes.items() for value in values}
        children = {(group, value) for group, values in CHILD_VALUES.items() for value in values}
        if product_type.audience == ADULT:
            assert not stated & children, product_type.name
        elif stated & children and product_type.department == "fashion":
            assert not stated & {("material", "lace"), ("style", "luxury")}, product_type.name


@pytest.mark.parametrize(("language", "things"), [("vi", {"cái", "chiếc"}), ("th", {"ชิ้น", "pcs"})])
def test_what_is_no_single_thing_is_counted_by_a_word_of_its_own(language: str, things: set[str]) -> None:
    """Bottles, packets, tablets, pairs and volumes are not said to be "6 cái" or "6 ชิ้น"."""
    lexicon = load_lexicon(languages=(language,))
    vocabulary = lexicon.vocabularies[language]
    assert set(vocabulary["unit:pieces"].forms()) == things
    counted = [row for row in lexicon.types.values() if "pack" in row.attributes]
    frozen_breads = [row.name for row in counted if row.category == "frozen_breads"]
    for row in counted:
        held = {"volume", "weight", "pages"} & set(row.attributes) and row.department != "kitchen"
        eaten = row.department in ("groceries", "local_food") or row.category in ("vitamins", "herbal_supplements")
        if (held or eaten) and row.name not in frozen_breads:
            assert not things & set(vocabulary.entry("unit:pieces", row.scopes).forms()), row.name
    for name in ("socks", "chopsticks", "earrings"):
        assert {"đôi", "คู่"} & set(vocabulary.entry("unit:pieces", lexicon.types[name].scopes).forms())


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_sheets_are_not_pages(lexicon: Lexicon, language: str) -> None:
    sheets, pages = (lexicon.vocabularies[language][f"unit:{unit}"] for unit in ("sheets", "pages"))
    assert not {*sheets.forms(), *sheets.romanised} & {*pages.forms(), *pages.romanised}
    paged = {row.category for row in lexicon.types.values() if "pages" in str(row.attributes.get("pages", ""))}
    assert paged == {"reading_books", "study_books", "activity_books"}


def test_no_flavour_is_the_thing_itself(lexicon: Lexicon) -> None:
    """Dried mango is not sold with the flavour mango."""
    for row in lexicon.types.values():
        assert not set(row.attributes.get("flavour", ())) & set(row.name.split("_")), row.name


MAKERS = frozenset({
    "maggi", "milo", "barbie", "panadol", "stabilo", "scotch", "vaseline", "tupperware", "pampers", "nescafe",
    "indomie", "lego", "gopro", "dettol", "betadine", "hansaplast", "salonpas", "rinso", "baygon", "velcro",
    "moltyfoam", "colgate", "nutella", "pepsi", "nokia", "sony", "philips", "dyson", "ariel", "drifit", "dryfit",
})  # fmt: skip
"""Makers whose names people use for the thing itself: the lexicon names real makers for what fits their phones only."""


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_no_word_is_a_maker_s_name(lexicon: Lexicon, language: str) -> None:
    for key, entry in lexicon.vocabularies[language].rows():
        if not key.startswith(("compatibility:", "title:")):
            words = {word for form in (*entry.forms(), *entry.romanised) for word in form.casefold().split()}
            assert not words & MAKERS, key


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("outing\t\tjeans moon\t", "need 'outing' does not go with the type 'moon'"),
        ("gift\tgender=girls\tteddy_bear perfume\t", "need 'gift' does not go with the type 'perfume'"),
        ("outing\t\tjeans\t", "has no entry 'need:outing'"),
    ],
)
def test_a_need_that_does_not_fit_is_refused(folder: Path, line: str, message: str) -> None:
    change(folder, "needs.tsv", lambda lines: [*lines, line])
    with pytest.raises(LiraError, match=message):
        load_lexicon(folder, ("vi",))


def test_a_need_is_not_called_as_a_type(folder: Path) -> None:
    change(folder, "vi-queries.tsv", lambda lines: [*lines, "need:outing\tÁo  thun\t"])
    change(folder, "en-queries.tsv", lambda lines: [*lines, "need:outing\touting\t"])
    change(folder, "needs.tsv", lambda lines: [*lines, "outing\t\tjeans\t"])
    with pytest.raises(LiraError, match="need 'Áo  thun' is a product type's name"):
        load_lexicon(folder, ("vi",))


@pytest.mark.parametrize(
    ("language", "name", "latin"),
    [("vi", "rice_cooker", "noi com dien"), ("th", "mattress", "thi non"), ("ur", "cap", "cap"), ("id", "cap", None)],
)
def test_names_in_plain_latin_letters(lexicon: Lexicon, language: str, name: str, latin: str | None) -> None:
    names = lexicon.vocabularies[language].latin_names(name)
    assert latin in names if latin else names == ()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_short_form_has_a_place_where_it_is_used(lexicon: Lexicon, language: str) -> None:
    """In the first release a third of the abbreviations stood for words that no pattern or name has."""
    vocabulary = lexicon.vocabularies[language]
    for romanised in (False, True):
        rows = [entry for key, entry in vocabulary.rows() if not key.startswith(("abbrev", "title:", "desc:", "need:"))]
        texts = [form.casefold() for entry in rows for form in entry.forms(romanised)]
        texts += [text.casefold() for text in vocabulary.templates("shortened", romanised)]
        unused = [
            full for full, _ in vocabulary.abbreviations(romanised) if not any(full.casefold() in t for t in texts)
        ]
        assert not unused
