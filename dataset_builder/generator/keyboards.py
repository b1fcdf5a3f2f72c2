"""Keyboards: neighbouring keys, Thai typed on the English layout, Vietnamese keystrokes left as they were typed."""

import unicodedata
from itertools import pairwise

_ENGLISH_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# The Kedmanee keys, row by row, without and with shift; a dot where shift types something rarely met in words.
_KEYS = ("`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")
_THAI_ROWS = ("_ๅ/-ภถุึคตจขช", "ๆไำพะัีรนยบล", "ฟหกดเ้่าสวง", "ผปแอิืทมใฝ")
_SHIFTED_KEYS = ("~!@#$%^&*()_+", "QWERTYUIOP{}", 'ASDFGHJKL:"', "ZXCVBNM<>?")
_SHIFTED_THAI_ROWS = ("%+๑๒๓๔ู฿๕๖๗๘๙", '๐"ฎฑธํ๊ณฯญฐ,', "ฤฆฏโฌ็๋ษศซ.", "()ฉฮฺ์?ฒฬฦ")
_ENGLISH_KEY = {
    thai: key
    for thais, keys in zip((*_THAI_ROWS, *_SHIFTED_THAI_ROWS), (*_KEYS, *_SHIFTED_KEYS), strict=True)
    for thai, key in zip(thais, keys, strict=True)
    if "\u0e00" < thai < "\u0e7f"
}
_TELEX_TONES = {"\u0300": "f", "\u0301": "s", "\u0309": "r", "\u0303": "x", "\u0323": "j"}
_VNI_TONES = {"\u0301": "1", "\u0300": "2", "\u0309": "3", "\u0303": "4", "\u0323": "5"}
_TELEX_MARKS = {"\u0302": "", "\u0306": "w", "\u031b": "w"}
_VNI_MARKS = {"\u0302": "6", "\u031b": "7", "\u0306": "8"}


def _neighbours() -> dict[str, str]:
    beside: dict[str, str] = {}
    for row in (*_ENGLISH_ROWS, *_THAI_ROWS[1:]):
        for first, second in pairwise(row):
            beside[first] = beside.get(first, "") + second
            beside[second] = beside.get(second, "") + first
    for upper, lower in pairwise(_ENGLISH_ROWS):
        for first, second in zip(upper, lower, strict=False):
            beside[first] += second
            beside[second] += first
    return beside


NEIGHBOURS = _neighbours()
"""By letter, the letters on the keys beside it."""


def on_english_layout(word: str) -> str:
    """Return what the keys of a Thai word type when the keyboard is English: "เสื้อ" becomes "glnhv"."""
    return "".join(_ENGLISH_KEY.get(char, char) for char in word)


def telex(word: str) -> str:
    """Return the Telex keystrokes of a Vietnamese word, as they stand when the input method is off: "áo" is "aso"."""
    return _keystrokes(word, _TELEX_TONES, _TELEX_MARKS, "dd")


def vni(word: str) -> str:
    """Return the VNI keystrokes of a Vietnamese word: "đèn" is "d9en2"."""
    return _keystrokes(word, _VNI_TONES, _VNI_MARKS, "d9")


def _keystrokes(word: str, tones: dict[str, str], marks: dict[str, str], bar: str) -> str:
    """Type marks after their letter, and the tone, as most people do, after the whole word."""
    keys: list[str] = []
    tone = ""
    for char in unicodedata.normalize("NFD", word):
        if char in tones:
            tone = tones[char]
        elif char in marks:
            keys.append(marks[char] or keys[-1])
        else:
            keys.append(bar if char == "đ" else char)
    return "".join(keys) + tone
