"""Which script a letter belongs to."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=65_536)
def script_of(char: str) -> str:
    """Return the script of a letter as its Unicode name begins, "latin" say; empty for anything but letters."""
    return unicodedata.name(char, "").split(" ")[0].casefold() if unicodedata.category(char)[0] == "L" else ""


def script_counts(texts: Iterable[str]) -> Counter[str]:
    """Count the letters by script."""
    counts: Counter[str] = Counter()
    for text in texts:
        for char, count in Counter(text).items():
            counts[script_of(char)] += count
    counts.pop("", None)
    return counts


def script_shares(texts: Iterable[str]) -> dict[str, float]:
    """Return each script's share of the letters, largest first."""
    counts = script_counts(texts)
    return {script: count / counts.total() for script, count in counts.most_common()}


@lru_cache(maxsize=65_536)
def strip_diacritics(text: str) -> str:
    """Return Vietnamese without diacritics: "nồi cơm điện" becomes "noi com dien"."""
    plain = text.replace("đ", "d").replace("Đ", "D")
    return "".join(char for char in unicodedata.normalize("NFD", plain) if not unicodedata.combining(char))


def bag_of_words(text: str) -> str:
    """Return the form by which two texts have the same words, in whatever order."""
    return " ".join(sorted(unicodedata.normalize("NFC", text).casefold().split()))
