"""Clean texts and their languages."""

import unicodedata

import pytest

from dataset_builder.logs.cleaning import clean_text
from dataset_builder.logs.language_id import identify, language_code
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
def test_identify(text: str, language: str) -> None:
    assert identify(text) == language


def test_identify_refuses_what_is_none_of_the_languages() -> None:
    assert identify("кроссовки для бега") is None
    assert identify("12 345") is None
    assert identify("ল'ৰাৰ বাবে বগা চাৰ্ট") is None
    assert identify("قمصان بيضاء للأولاد بأسعار رخيصة") is None
    assert identify("เสื้อยืด", ("vi", "en")) is None


def test_fewer_languages_make_it_surer() -> None:
    text = "kasut sukan lelaki murah"
    assert identify(text, ("ms", "en")) == "ms"


@pytest.mark.parametrize(
    ("given", "code"), [("vi-VN", "vi"), ("TL", "fil"), ("fil_PH", "fil"), ("in", "id"), ("sw", "sw")]
)
def test_language_code(given: str, code: str) -> None:
    assert language_code(given) == code


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from dataset_builder.logs.language_id import _identifier

    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(LiraError, match=r"telling languages needs py3langid: .*pip install '\.\[data\]'"):
        identify("cheap shoes")
