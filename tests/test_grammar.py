"""Grammar: Urdu words agree with the name they describe; Filipino linkers and Bengali genitives are in place."""

import random
import re
from collections.abc import Iterator
from itertools import product as pairs
from pathlib import Path
from shutil import copytree

import pytest

from dataset_builder.generator.catalogue import Catalogue
from dataset_builder.generator.queries import KINDS, Writer
from dataset_builder.generator.wording import Speaker, fill
from dataset_builder.grammar import AGREEMENTS, inflect, inflections, link
from dataset_builder.lexicon import LEXICON_FOLDER, VALUE_GROUPS, Lexicon, Vocabulary, load_lexicon
from modeling_lira.errors import LiraError

TRIPLE = re.compile(r"[^\s/]+/[^\s/]+/[^\s/]+")
PATTERNS = ("query", "title", "codemix", "brandquery", "pricequery", "shortened")


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon(languages=("ur", "bn", "fil"))


@pytest.fixture(scope="module")
def urdu(lexicon: Lexicon) -> Vocabulary:
    return lexicon.vocabularies["ur"]


def test_words_take_the_form_of_the_noun() -> None:
    assert inflect("چمڑے کا/کی/کے", "f") == "چمڑے کی"
    assert [inflect("kala/kali/kalay", agreement) for agreement in AGREEMENTS] == ["kala", "kali", "kalay", "kali"]
    assert inflect("8/10", "f") == "8/10"
    assert inflections("hath ka/ki/ke bana/bani/banay") == ("hath ka bana", "hath ki bani", "hath ke banay")


def test_the_longest_known_ending_decides(urdu: Vocabulary) -> None:
    assert urdu.grammar.agreement("ٹی شرٹ") == "f"
    assert urdu.grammar.agreement("موزے") == "mp"
    assert urdu.grammar.agreement("چوڑیاں") == "fp"
    assert urdu.grammar.agreement("ڈور بیل") == "f"
    assert urdu.grammar.agreement("کیٹل بیل") == "m"
    assert urdu.grammar.agreement("zzz") == ""


def test_names_agree_with_the_table_of_nouns(lexicon: Lexicon, urdu: Vocabulary) -> None:
    """The word before a name's last noun shows its gender: "گاڑی کی لائٹ", "gari ka cover"."""
    shown = {"m": "کا والا ka wala", "f": "کی والی ki wali", "fp": "کی والی ki wali", "mp": "کے والے ke wale"}
    joining = {word for words in shown.values() for word in words.split()}
    english = re.compile("کی بورڈ|کی پیڈ|پی کے|کے این")
    for name in lexicon.types:
        for form in (*urdu[f"type:{name}"].forms(), *urdu[f"type:{name}"].romanised):
            last = [word for word in english.sub("", form).split()[:-1] if word in joining][-1:]
            assert not last or last[0] in shown[urdu.grammar.agreement(form)].split(), form


def inflected_words(vocabulary: Vocabulary) -> dict[str, set[tuple[str, ...]]]:
    """The forms of each inflected word of a vocabulary, by each form."""
    forms: dict[str, set[tuple[str, ...]]] = {}
    for _, entry in vocabulary.rows():
        for text in (*entry.forms(), *entry.romanised):
            for triple in TRIPLE.findall(text):
                for form in triple.split("/"):
                    forms.setdefault(form, set()).add(tuple(triple.split("/")))
    return forms


def values_of(lexicon: Lexicon, name: str) -> Iterator[str]:
    """The keys of a type's values, and of the words that sellers and shoppers add."""
    for group, values in lexicon.types[name].attributes.items():
        if group in VALUE_GROUPS or group in ("size", "size_bed"):
            yield from (f"{group}:{value}" for value in values)
    yield from (key for key in lexicon.vocabularies["ur"].entries if key.startswith("word:"))


@pytest.mark.parametrize("romanised", [False, True])
def test_no_value_of_any_type_has_the_wrong_gender_or_number(
    lexicon: Lexicon, urdu: Vocabulary, romanised: bool
) -> None:
    column = AGREEMENTS.index
    seen = 0
    for name in lexicon.types:
        keys = list(values_of(lexicon, name))
        heads = {urdu.grammar.agreement(form): form for form in urdu[f"type:{name}"].forms(romanised)}
        for head, key in pairs(heads.values(), keys):
            agreement = urdu.grammar.agreement(head)
            right = {column("m"): 0, column("f"): 1, column("fp"): 1, column("mp"): 2}[column(agreement)]
            for form in urdu.entry(key, lexicon.types[name].scopes).forms(romanised):
                made = urdu.grammar.apply(f"{form} {head}", head)
                assert "/" not in made
                for triple in TRIPLE.findall(form):
                    assert triple.split("/")[right] in made.removesuffix(head).split(), (made, triple)
                    seen += 1
    assert seen > 10_000


def test_what_inflects_somewhere_inflects_everywhere(urdu: Vocabulary) -> None:
    """No value ends in one form of an adjective where the row could hold all: "کالا" alone."""
    inflected = inflected_words(urdu)
    for key, entry in urdu.rows():
        if not key.startswith(("type:", "desc:", "department:", "abbrev", "need:")):
            for text in (*entry.forms(), *entry.romanised):
                assert text.split(" ")[-1] not in inflected, (key, text)


@pytest.mark.parametrize("romanised", [False, True])
def test_patterns_agree_too(lexicon: Lexicon, urdu: Vocabulary, romanised: bool) -> None:
    speaker = Speaker(urdu, random.Random(0), 0.0, romanised)
    for name in lexicon.types:
        head = speaker.word(f"type:{name}")
        attributes = tuple(
            (group, speaker.random.choice(values)) for group, values in lexicon.types[name].attributes.items()
        )
        for kind in PATTERNS:
            for template in urdu.templates(kind, romanised):
                text = fill(template, {"type": head, "en_type": head, **speaker.values_by_slot(attributes, head)})
                assert not TRIPLE.search(urdu.grammar.apply(text, head))


def test_built_titles_and_queries_have_one_form_of_each_word(lexicon: Lexicon) -> None:
    catalogue = Catalogue(lexicon, "ur", 5)
    for product in map(catalogue.product, range(400)):
        texts = [product.title, product.text]
        for kind in KINDS:
            draft = Writer(lexicon, "ur", random.Random(product.id)).write(kind, product)
            texts.append(draft.text if draft else "")
        assert not [text for text in texts if TRIPLE.search(text)]


def test_a_name_without_a_known_noun_is_refused(tmp_path: Path) -> None:
    folder = Path(copytree(LEXICON_FOLDER, tmp_path / "lexicon"))
    path = folder / "ur.tsv"
    path.write_text(
        path.read_text(encoding="utf-8").replace("type:jeans\tجینز\t", "type:jeans\tقفقف\t"), encoding="utf-8"
    )
    with pytest.raises(LiraError, match=r"nouns\.tsv: 'قفقف' ends in no known noun: add its gender and number"):
        load_lexicon(folder, ("ur",))


@pytest.mark.parametrize(
    ("line", "message"),
    [("ur\tn\tقفقف", "agreement 'n' is unknown"), ("ur\tm\tقمیض", "'قمیض' is both f and m")],
)
def test_a_broken_table_of_nouns_is_refused(tmp_path: Path, line: str, message: str) -> None:
    folder = Path(copytree(LEXICON_FOLDER, tmp_path / "lexicon"))
    with (folder / "nouns.tsv").open("a", encoding="utf-8") as handle:
        handle.write(line + "\n")
    with pytest.raises(LiraError, match=message):
        load_lexicon(folder, ("ur",))


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("palda na pula", "paldang pula"),
        ("salamin na itim", "salaming itim"),
        ("damit na itim", "damit na itim"),
        ("blouse na itim", "blouse na itim"),
        ("t-shirt na cotton na itim", "t-shirt na cotton na itim"),
        ("murang t-shirt na", "murang t-shirt"),
        ("sabon na para sa sensitive skin", "sabon para sa sensitive skin"),
        ("mura na mura na pitaka", "murang murang pitaka"),
        ("na itim", "na itim"),
        ("pitaka mura na lang", "pitaka mura na lang"),
    ],
)
def test_filipino_linkers(text: str, linked: str) -> None:
    assert link(text, {"blouse", "cotton"}) == linked


@pytest.mark.parametrize(
    ("text", "name", "linked"),
    [
        ("murang toyo na halal", "toyo", "murang toyo na halal"),
        ("mura na toyo na pula", "toyo", "murang toyong pula"),
        ("kurtina sa pinto na puti", "kurtina sa pinto", "kurtina sa pinto na puti"),
    ],
)
def test_a_name_is_not_bent_before_a_foreign_word(text: str, name: str, linked: str) -> None:
    assert link(text, {"halal"}, name) == linked


def test_filipino_names_and_values_have_their_linkers(lexicon: Lexicon) -> None:
    filipino = lexicon.vocabularies["fil"]
    for key, entry in filipino.rows():
        if not key.startswith(("abbrev", "desc:")):
            for form in entry.forms():
                assert filipino.grammar.apply(form, "") == form, key


def test_bengali_speaks_of_whom_a_thing_is_for_in_the_genitive(lexicon: Lexicon) -> None:
    """Nobody says "নবজাতক জন্য": the word before জন্য ends in র, and what may fill a slot before it does too."""
    bengali = lexicon.vocabularies["bn"]
    for _, entry in bengali.rows():
        for texts, word, ending in ((entry.forms(), "জন্য", "র"), (entry.romanised, "jonno", "r")):
            for text in texts:
                before = [
                    first for first, second in zip(text.split(), text.split()[1:], strict=False) if second == word
                ]
                for first in before:
                    if first.startswith("{"):
                        keys = [key for key in bengali.entries if key.startswith(f"{first.strip('{}')}:")]
                        assert all(form.endswith(ending) for key in keys for form in bengali[key].forms(ending == "r"))
                    else:
                        assert first.endswith(ending), text
