"""Clean texts and their languages."""

import unicodedata

import pytest

from dataset_builder.logs.cleaning import clean_text
from dataset_builder.logs.language_id import tell_languages
from modeling_lira.data.languages import language_code
from modeling_lira.errors import LiraError


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  áo \t thun\n ", "áo thun"),
        (unicodedata.normalize("NFD", "áo thun đỏ"), "áo thun đỏ"),
        ("áo thun 😍🔥👍🏽", "áo thun"),
        ("❤️ เสื้อยืด ❤️", "เสื้อยืด"),
        ("<b>mug</b> &amp; cup", "mug & cup"),
        ("Ã¡o thun", "áo thun"),
        ("à¸\xadà¸²", "อา"),
        ("mug\u200b\ufeff\x00 cup\u202e", "mug cup"),
        ("می\u200cخواہم", "می\u200cخواہم"),
        ("kopi 100% arabika 30°", "kopi 100% arabika 30°"),
        ("mug 👨\u200d👩\u200d👧 cup", "mug cup"),
        ("🎁", ""),
    ],
)
def test_clean_text(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("áo thun nam màu đỏ tay ngắn", "vi"),
        ("เสื้อยืดสีแดง", "th"),
        ("sepatu lari wanita warna hitam yang nyaman dan murah untuk olahraga", "id"),
        ("لڑکوں کے لیے سفید قمیض", "ur"),
        ("ছেলেদের জন্য সাদা শার্ট", "bn"),
        ("মগ", "bn"),
        ("جوتے", "ur"),
        ("laptop mỏng", "vi"),
        ("murang sapatos na pambabae para sa trabaho at eskwela", "fil"),
        ("cheap running shoes for women with free delivery", "en"),
    ],
)
def test_languages_by_words_script_and_letters(text: str, language: str) -> None:
    assert tell_languages([(text, ())]) == [language]


def test_what_no_language_writes_is_told_as_none() -> None:
    texts = ["кроссовки для бега", "ল'ৰাৰ বাবে বগা চাৰ্ট"]
    assert tell_languages([(text, ()) for text in texts]) == [None, None]
    assert tell_languages([("เสื้อยืด", ())], ("vi", "en")) == [None]
    assert tell_languages([]) == []


def test_only_the_corpus_languages_compete() -> None:
    """Words without a letter that Urdu alone has were lost to Arabic and Persian, which no shop had asked for."""
    words = ["بیگ", "موبائل", "کرتا", "mobile cover"]
    assert tell_languages([(text, ()) for text in words], ("ur",)) == ["ur"] * 4
    assert tell_languages([("kasut sukan lelaki murah", ())], ("ms", "en")) == ["ms"]


def test_a_query_without_letters_goes_with_the_log() -> None:
    texts = [("12 345", ()), ("sepatu lari wanita", ()), ("celana panjang pria", ()), ("baju tidur anak", ())]
    assert tell_languages(texts)[0] == "id"
    assert tell_languages(texts[:1], declared={"ms": 9}) == ["ms"]


@pytest.mark.parametrize(
    ("given", "code"),
    [("vi-VN", "vi"), ("TL", "fil"), ("fil_PH", "fil"), ("in", "id"), ("sw", "sw"), ("Thai", "th"), ("unknown", "")],
)
def test_language_code(given: str, code: str) -> None:
    assert language_code(given) == code


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from dataset_builder.logs.language_id import _identifier

    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(LiraError, match=r"telling languages needs py3langid: .*pip install '\.\[data\]'"):
        tell_languages([("cheap shoes", ())])
