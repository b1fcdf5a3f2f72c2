"""Write attribute values in a language and fill sentence patterns with them."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..lexicon import QUANTITY_GROUPS, SIZE_GROUPS, SIZE_RANGES, VALUE_GROUPS, Attribute, Vocabulary

_ACCEPTED: Mapping[Attribute, tuple[str, ...]] = {
    ("gender", "men"): ("unisex",),
    ("gender", "women"): ("unisex",),
    ("compatibility", "iphone"): ("universal",),
    ("compatibility", "samsung"): ("android", "universal"),
    ("compatibility", "xiaomi"): ("android", "universal"),
    ("compatibility", "oppo"): ("android", "universal"),
    ("compatibility", "android"): ("universal",),
    ("compatibility", "car"): ("universal",),
    ("compatibility", "motorcycle"): ("universal",),
    ("compatibility", "bicycle"): ("universal",),
}
_SLOT = re.compile(r"\{(\w+)\}")
_QUANTITY = re.compile(r"([\d.]+)([^\d.]\D*)")
_SEAM = "\0"
_SAID_TWICE = re.compile(r"(?<![^\s\0])([^\W\d_][^\s\d\0]*)\0[\s\0]*\1(?![^\s\0])", re.IGNORECASE)
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]")
_COUNTED = {"pcs": "unit:pieces", "sheets": "unit:sheets", "pages": "unit:pages"}
"""Units that count things; a language says them with a space, and the things of a pack as `unit:pieces@TYPE` says."""
_BENGALI_DIGITS = str.maketrans("0123456789", "০১২৩৪৫৬৭৮৯")


def slot_of(group: str) -> str:
    """Return the pattern slot that an attribute group fills: all quantities fill `quantity`, all sizes `size`."""
    if group in QUANTITY_GROUPS:
        return "quantity"
    if group.startswith("not:"):
        return "not"
    return "size" if group in SIZE_GROUPS else group


def accepted_values(attribute: Attribute) -> tuple[str, ...]:
    """Return the values that satisfy a wanted attribute: unisex satisfies men, "S-XL" is sold in M too."""
    group, value = attribute
    ranges = (name for name, sizes in SIZE_RANGES.items() if value in sizes and group.startswith("size_"))
    return (value, *_ACCEPTED.get(attribute, ()), *ranges)


@lru_cache(maxsize=4096)
def slots(template: str) -> frozenset[str]:
    """Return the slot names of a pattern."""
    return frozenset(_SLOT.findall(template))


def says(name: str, words: str, spaced: bool = True) -> bool:
    """Return whether a type's name contains words already, as "digital thermometer" contains "digital"."""
    return f" {words} " in f" {name} " if spaced else words in name


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill a pattern; slots without a value are removed together with the brackets and dashes around them.

    A word with which one slot ends and the next begins is said once: a fast charging cable.
    """
    text = _SLOT.sub(lambda match: f"{_SEAM}{values.get(match[1], '')}{_SEAM}", template)
    text = _SAID_TWICE.sub(r"\1", text).replace(_SEAM, "")
    text = " ".join(_EMPTY_BRACKETS.sub("", text).split())
    return _without_dangling_dashes(text.split(" "))


def _without_dangling_dashes(words: Sequence[str]) -> str:
    """Join words; of several dashes in a row one is kept, and none at the beginning or the end."""
    kept = [word for word, after in zip(words, [*words[1:], "-"], strict=True) if (word, after) != ("-", "-")]
    return " ".join(kept[1:] if kept[:1] == ["-"] else kept)


@dataclass(frozen=True)
class Speaker:
    """Chooses a word of one language and script for each key of the lexicon.

    Parameters
    ----------
    vocabulary : Vocabulary
    random : random.Random
        Decides between the usual name and the synonyms.
    usual : float
        Probability of the usual name.
    romanised : bool
        Whether to write Latin script in a language that is usually written otherwise.
    scopes : sequence of str
        What the words are said of, the narrowest first, see `ProductType.scopes`.
    """

    vocabulary: Vocabulary
    random: random.Random
    usual: float = 1.0
    romanised: bool = False
    scopes: Sequence[str] = ()

    def word(self, key: str) -> str:
        """Return one form of a key."""
        return self.choose(self.vocabulary.entry(key, self.scopes).forms(self.romanised))

    def choose(self, forms: tuple[str, ...]) -> str:
        """Return the first form with probability `usual`, else one of the others."""
        if len(forms) == 1 or self.random.random() < self.usual:
            return forms[0]
        return self.random.choice(forms[1:])

    def value(self, attribute: Attribute) -> str:
        """Return an attribute in words: `("volume", "500ml")` as "500ml" or "500 มล.", `("colour", "red")` as "แดง"."""
        group, value = attribute
        if group in ("size_clothing", "size_shoe"):
            return f"{self.word('word:size')} {value}"
        if group in QUANTITY_GROUPS:
            return self.quantity(group, value)
        return self.word(f"{group}:{value}")

    def quantity(self, group: str, value: str) -> str:
        """Return a number with its unit; short Latin units follow without a space (500ml), others with one."""
        number, unit = _parse_quantity(value)
        if self.vocabulary.language == "bn" and not self.romanised and self.random.random() < 0.5:
            number = number.translate(_BENGALI_DIGITS)
        name = self.word(_COUNTED.get(unit, f"unit:{unit}"))
        if group == "pack" and self.random.random() < 0.5:
            return fill(self.word("unit:pack_of"), {"n": number, "unit": name})
        glue = "" if len(name) <= 3 and name.isascii() and unit not in _COUNTED else " "
        return f"{number}{glue}{name}"

    def values_by_slot(self, attributes: tuple[Attribute, ...], name: str = "") -> dict[str, str]:
        """Return the words of the attributes by slot; those of several quantities are joined by a space.

        What the type's name says already is left out.
        """
        spoken: dict[str, str] = {}
        for attribute in attributes:
            slot = slot_of(attribute[0])
            text = self.vocabulary.grammar.apply(self.value(attribute), name)
            if not self._said(attribute, text, name):
                spoken[slot] = f"{spoken[slot]} {text}" if slot in spoken else text
        return spoken

    def _said(self, attribute: Attribute, text: str, name: str) -> bool:
        """Return whether a name says an attribute, by the given words or its usual ones: dried shrimp is dried.

        A name never says a colour or a size: Vietnamese "nhiệt kế hồng ngoại", an infrared thermometer, is not pink.
        """
        group, value = attribute[0].removeprefix("not:"), attribute[1]
        if group not in VALUE_GROUPS or group == "colour":
            return False
        usual = self.vocabulary.entry(f"{group}:{value}", self.scopes).forms(self.romanised)[0]
        spaced = self.vocabulary.language != "th" or self.romanised
        forms = (text, self.vocabulary.grammar.apply(usual, name))
        return any(says(name.casefold(), words.casefold(), spaced) for words in forms)


@lru_cache(maxsize=4096)
def _parse_quantity(value: str) -> tuple[str, str]:
    match = _QUANTITY.fullmatch(value)
    if match is None:
        raise ValueError(f"quantity {value!r} is not a number with a unit, such as 500ml")
    return match[1], match[2]
