"""Misspell texts as shoppers do: slips of each language's keyboard, letters of one sound, spaces, abbreviations."""

import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..scripts import strip_diacritics
from .keyboards import NEIGHBOURS, on_english_layout, telex, vni

Slip = Callable[[str, random.Random], str]
"""Makes one error; returns the text unchanged where it finds no place for it."""
# What a letter is often typed as; the easier of two letters of one sound, not every letter of the class.
_LETTERS = {
    "th": {
        "ใ": "ไ", "ไ": "ใ", "ร": "ล", "ศ": "ส", "ษ": "ส", "ณ": "น", "ญ": "ย", "ฎ": "ด", "ฏ": "ต", "ฐ": "ถ", "ภ": "พ",
        "ธ": "ท", "็": "", "่": "้", "้": "่", "๊": "้", "๋": "้", "์": "", "ซ": "ส", "ฑ": "ท", "ฬ": "ล", "ฟ": "พ",
    },
    "ur": {
        "آ": "ا", "ھ": "ہ", "ئ": "ی", "ں": "ن", "ؤ": "و", "ذ": "ز", "ظ": "ز", "ض": "ز", "ص": "س", "ث": "س", "ط": "ت",
        "ح": "ہ", "ق": "ک", "ے": "ی", "ڑ": "ر", "ٹ": "ت", "ع": "ا", "غ": "گ", "ژ": "ز",
    },
    "bn": {
        "ী": "ি", "ি": "ী", "ূ": "ু", "ু": "ূ", "ণ": "ন", "ষ": "শ", "স": "শ", "শ": "স", "য": "জ", "ঁ": "", "ঃ": "",
        "ড়": "র", "ঢ়": "র", "ঙ": "ং", "ৎ": "ত", "ৈ": "ই", "ৌ": "উ", "ঘ": "গ", "ছ": "চ", "ঠ": "ট", "ভ": "ব", "ধ": "দ",
    },
}  # fmt: skip
_NUKTA, _VIRAMA = "\u09bc", "\u09cd"
# Spellings of one sound; each pair is tried both ways, with regular expressions on the left.
_SOUNDS: Mapping[str, Sequence[tuple[str, str]]] = {
    "vi": (
        (r"\bs", "x"), (r"\bx", "s"), (r"\bch", "tr"), (r"\btr", "ch"), (r"\bd", "gi"),
        (r"\bgi(?=[aăâeêoôơuư])", "d"), (r"\br", "d"), (r"\bl(?=\w)", "n"), (r"\bn(?=[aăâeêioôơuưáàảãạ])", "l"),
        (r"(?<=[aăâơôuưáàảãạấầẩẫậốồổỗộ])n\b", "ng"), (r"ng\b", "n"), (r"(?<=\w)c\b", "t"), (r"(?<=\w)t\b", "c"),
        (r"(?<=[hklmqst])i\b", "y"), (r"(?<=[hklmqst])y\b", "i"), (r"\bngh", "ng"), (r"\bgh", "g"),
        (r"\bk(?=[iey])", "c"), (r"\bqu", "w"),
    ),
    "id": (
        (r"k\b", "q"), (r"\bf", "p"), (r"f\b", "p"), ("v", "f"), (r"\bsy", "s"), ("kh", "h"), ("dh", "d"),
        ("ai(?=\\b)", "e"), ("au(?=\\b)", "o"), (r"(?<=[bcdfgkmprst])e(?=[lr])", ""), ("ny", "n"),
        ("z", "s"), ("x", "ks"), ("ng(?=\\b)", "n"), (r"(?<=\w)h\b", ""),
    ),
    "ms": (
        (r"k\b", "q"), ("v", "b"), ("f", "p"), ("kh", "k"), ("sy", "s"), ("ai(?=\\b)", "ei"), ("au(?=\\b)", "o"),
        (r"a\b", "e"), ("dh", "d"), ("z", "j"), (r"\bh(?=\w)", ""), ("u(?=[kng]\\b)", "o"), ("i(?=[kh]\\b)", "e"),
        (r"(?<=[bcdfgkmprst])e(?=[lr])", ""), ("ny", "n"),
    ),
    "fil": (
        ("f", "p"), ("p", "f"), ("v", "b"), ("b", "v"), ("i", "e"), ("e", "i"), ("o", "u"), ("u", "o"), ("ts", "ch"),
        ("ch", "ts"), ("c(?=[aou])", "k"), ("z", "s"), ("y(?=[aeo])", "iy"), ("w(?=[ae])", "uw"), ("-", ""), ("-", " "),
        (r"ng\b", "n"), ("ll", "l"), ("sh", "s"), ("x", "ks"),
    ),
    "latin": (
        ("v", "b"), ("v", "bh"), ("bh", "v"), ("f", "ph"), ("ph", "f"), ("j", "z"), ("z", "j"), ("ee", "i"),
        ("oo", "u"), ("sh", "s"), ("s(?=[aeiou])", "sh"), ("aa", "a"), ("kh", "k"), ("ch", "c"), ("th", "t"),
        ("dh", "d"), ("o", "a"), ("q", "k"), ("w", "v"), ("y(?=\\b)", "i"), ("ai", "ay"),
        ("e(?=\\b)", "ay"), ("cch", "ch"),
    ),
    "ur": (
        ("لیے", "لئے"), ("یے", "ئے"), ("ہ\\b", "ا"), ("ا\\b", "ہ"), ("ؤں", "وں"), ("اسک", "سک"), ("اسٹ", "سٹ"),
        ("سک", "اسک"), ("ائ", "ای"), ("وو", "و"), ("یو", "و"),
    ),
    "bn": (
        ("চ্চ", "চ"), ("্য", ""), ("ো", ""), ("ঙ্গ", "ঙ"), ("্র", "র"), ("়া", "া"), ("ক্ষ", "খ"), ("ওয়া", "োয়া"),
        ("িয়", "ি"), ("ত্ত", "ত"), ("দ্ধ", "দ্দ"),
    ),
    "th": (("รร", "ร"), ("ทร", "ซ"), ("ัน", "รร"), ("ำ", "ัม"), ("เเ", "แ"), ("แ", "เเ"), ("กระ", "กะ"), ("ๆ", "")),
}  # fmt: skip
_TONES = {"\u0309": "\u0303", "\u0303": "\u0309"}
"""Hook and tilde, which sound alike in the south."""


def abbreviate(text: str, pairs: Iterable[tuple[str, str]], spaced: bool) -> str:
    """Replace full forms by their short forms; whole words only in scripts with spaces."""
    for full, short in pairs:
        text = re.sub(rf"(?<!\w){re.escape(full)}(?!\w)", short, text) if spaced else text.replace(full, short)
    return text


def misspell(text: str, language: str, rng: random.Random, romanised: bool = False) -> str:
    """Make a typing error that is usual in the language, in longer texts at times two; `text` itself if none fits.

    Parameters
    ----------
    text : str
    language : str
    rng : random.Random
    romanised : bool
        Whether the text is Urdu or Bengali in Latin letters.
    """
    slips = _SLIPS["latin" if romanised else language]
    for _ in range(2 if len(text) > 10 and rng.random() < 0.15 else 1):
        for _attempt in range(6):
            slip = rng.choices([slip for slip, _ in slips], [weight for _, weight in slips])[0]
            changed = slip(text, rng)
            if changed != text:
                text = changed
                break
    return text


def _one_word(change: Callable[[str], str]) -> Slip:
    """Return a slip that changes one of the words that can be changed."""

    def slip(text: str, rng: random.Random) -> str:
        words = text.split(" ")
        positions = [position for position, word in enumerate(words) if change(word) != word]
        if positions:
            position = rng.choice(positions)
            words[position] = change(words[position])
        return " ".join(words)

    return slip


def _every_word(change: Callable[[str], str]) -> Slip:
    return lambda text, rng: " ".join(change(word) for word in text.split(" "))


def _other_tone(word: str) -> str:
    return unicodedata.normalize("NFC", "".join(_TONES.get(char, char) for char in unicodedata.normalize("NFD", word)))


def _letter(language: str) -> Slip:
    """Return a slip that replaces a letter by one of its sound, or leaves out a mark; Bengali conjuncts stay whole."""
    letters = _LETTERS[language]

    def slip(text: str, rng: random.Random) -> str:
        positions = [
            position
            for position, char in enumerate(text)
            if char in letters
            and text[position + 1 : position + 2] not in (_NUKTA, _VIRAMA)
            and text[position - 1 : position] != _VIRAMA
        ]
        if not positions:
            return text
        position = rng.choice(positions)
        return text[:position] + letters[text[position]] + text[position + 1 :]

    return slip


def _sound(language: str) -> Slip:
    """Return a slip that writes one sound in another way."""
    patterns = [(re.compile(pattern), other) for pattern, other in _SOUNDS[language]]

    def slip(text: str, rng: random.Random) -> str:
        spots = [(match.span(), other) for pattern, other in patterns for match in pattern.finditer(text)]
        if not spots:
            return text
        (start, end), other = rng.choice(spots)
        return text[:start] + other + text[end:]

    return slip


def _key(text: str, rng: random.Random) -> str:
    """Swap, drop, double or mistype one letter inside a word of four letters or more."""
    positions = [
        position
        for word in re.finditer(r"[^\W\d_]{4,}", text)
        for position in range(word.start() + 1, word.end() - 1)
        if text[position].isalpha() and text[position + 1].isalpha()
    ]
    if not positions:
        return text
    position = rng.choice(positions)
    char, after = text[position], text[position + 1]
    slips = [
        after + char,
        after,
        *([char + char + after, rng.choice(NEIGHBOURS[char]) + after] if char in NEIGHBOURS else []),
    ]
    return text[:position] + rng.choice(slips) + text[position + 2 :]


def _join(text: str, rng: random.Random) -> str:
    """Leave out one space, but not one beside a number."""
    spots = [match.start() for match in re.finditer(r"(?<=[^\W\d]) (?=[^\W\d])", text)]
    spot = rng.choice(spots) if spots else -1
    return text[:spot] + text[spot + 1 :] if spots else text


def _split(text: str, rng: random.Random) -> str:
    """Set a space inside a long word."""
    spots = [spot for word in re.finditer(r"[^\W\d_]{7,}", text) for spot in range(word.start() + 3, word.end() - 2)]
    spot = rng.choice(spots) if spots else len(text)
    return f"{text[:spot]} {text[spot:]}".strip()


def _thai_space(text: str, rng: random.Random) -> str:
    """Set a space before a vowel that begins a syllable, or leave the spaces out."""
    if " " in text and rng.random() < 0.5:
        return text.replace(" ", "")
    spots = [match.start() for match in re.finditer(r"(?<=[ก-๎]{3})[เแโใไ](?=[ก-๎]{2})", text)]
    spot = rng.choice(spots) if spots else len(text)
    return f"{text[:spot]} {text[spot:]}".strip()


def _mistype(text: str, rng: random.Random) -> str:
    """Type the key beside that of one Thai letter."""
    positions = [position for position, char in enumerate(text) if position and char in NEIGHBOURS]
    position = rng.choice(positions) if positions else len(text)
    other = rng.choice(NEIGHBOURS[text[position]]) if positions else ""
    return text[:position] + other + text[position + 1 :]


_SLIPS: Mapping[str, Sequence[tuple[Slip, int]]] = {
    "vi": (
        (_one_word(strip_diacritics), 26), (_one_word(telex), 20), (_every_word(telex), 5), (_one_word(vni), 6),
        (_one_word(_other_tone), 10), (_sound("vi"), 20), (_join, 5), (_key, 8),
    ),
    "th": (
        (_letter("th"), 45), (_sound("th"), 12), (_thai_space, 18), (_every_word(on_english_layout), 12),
        (_mistype, 13),
    ),
    "id": ((_sound("id"), 40), (_key, 40), (_join, 14), (_split, 6)),
    "ms": ((_sound("ms"), 38), (_key, 42), (_join, 14), (_split, 6)),
    "fil": ((_sound("fil"), 45), (_key, 35), (_join, 14), (_split, 6)),
    "ur": ((_letter("ur"), 50), (_sound("ur"), 25), (_join, 17), (_key, 8)),
    "bn": ((_letter("bn"), 50), (_sound("bn"), 25), (_join, 13), (_key, 12)),
    "latin": ((_sound("latin"), 55), (_key, 30), (_join, 15)),
}  # fmt: skip
"""Slips of each language with their weights."""
