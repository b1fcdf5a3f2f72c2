"""The dictionary gloss: words looked up in the lexicon, some of them left out."""

import pytest

from dataset_builder.gloss import Glosser
from dataset_builder.lexicon import LANGUAGES, Lexicon, load_lexicon


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


@pytest.mark.parametrize(
    ("language", "text", "gloss"),
    [
        ("vi", "áo thun đỏ", "t-shirt red"),
        ("vi", "ao thun do", "t-shirt red"),
        ("th", "เสื้อยืดสีแดง", "t-shirt red"),
        ("th", "leggings สีขาว", "leggings white"),
        ("th", "เสื้อยืดxyz500mlสีแดง", "t-shirt xyz500ml red"),
        ("th", "power bank 10000mah", "power bank 10000mah"),
        ("th", "ฮฮผฮเสื้อยืด", "t-shirt"),
        ("th", "ผ้าปูที่นอน3.5ฟุต", "bed sheet single"),
        ("id", "kaus kaki merah untuk pria", "socks red for men"),
        ("ms", "stokin merah", "socks red"),
        ("ur", "سرخ ساڑھی", "red saree"),
        ("bn", "লাল শাড়ি", "red saree"),
        ("bn", "lal saree", "red saree"),
        ("fil", "pulang medyas 500ml", "red socks 500ml"),
        ("fil", "medyaz", "socks"),
        ("fil", "Projector", "projector"),
    ],
)
def test_whole_gloss(lexicon: Lexicon, language: str, text: str, gloss: str) -> None:
    words = Glosser(lexicon, language, leave_out=0).gloss(text, 4)
    assert {" ".join(sorted(line.split())) for line in words} == {" ".join(sorted(gloss.split()))}


def test_words_are_left_out_but_never_all(lexicon: Lexicon) -> None:
    whole = {"t-shirt", "red", "for", "men"}
    glosses = [Glosser(lexicon, "vi", 0.5, seed).gloss("áo thun nam đỏ", 1)[0] for seed in range(60)]
    assert all(set(gloss.split()) <= whole for gloss in glosses)
    assert {len(gloss.split()) for gloss in glosses} == {1, 2, 3, 4}
    assert all(Glosser(lexicon, "vi", 1.0, seed).gloss("áo thun nam đỏ") for seed in range(5))


def test_gloss_is_seeded_and_its_candidates_differ(lexicon: Lexicon) -> None:
    glosser = Glosser(lexicon, "id", 0.4)
    texts = ["kaus kaki merah untuk pria", "sepatu lari hitam wanita", "panci anti lengket"]
    first = [glosser.gloss(text, 4) for text in texts]
    assert first == [Glosser(lexicon, "id", 0.4).gloss(text, 4) for text in texts]
    assert all(len(set(glosses)) == len(glosses) <= 4 for glosses in first)
    assert first != [Glosser(lexicon, "id", 0.4, seed=1).gloss(text, 4) for text in texts]


@pytest.mark.parametrize("language", LANGUAGES)
def test_usual_names_are_glossed_as_the_english_ones(lexicon: Lexicon, language: str) -> None:
    """Ambiguous names may turn out otherwise, a few."""
    glosser = Glosser(lexicon, language, leave_out=0)
    right = 0
    for name in lexicon.types:
        text = lexicon.vocabularies[language][f"type:{name}"].name
        right += lexicon.vocabularies["en"][f"type:{name}"].name in " | ".join(glosser.gloss(text, 4))
    assert right / len(lexicon.types) > 0.95


def test_unknown_words(lexicon: Lexicon) -> None:
    assert Glosser(lexicon, "th").gloss("ฮฮฮฮฮ") == []
    assert Glosser(lexicon, "ur", 0).gloss("qwxyz 12") == ["qwxyz 12"]
