"""Grammar that a pattern cannot know before it is filled: agreement with a noun, and Filipino linkers."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from modeling_lira.errors import LiraError

AGREEMENTS = ("m", "f", "mp", "fp")
"""Masculine and feminine, singular and plural."""
_FORM_OF = {"m": 0, "f": 1, "fp": 1, "mp": 2}
# From the start of a word, so that a long one is read once.
_INFLECTED = re.compile(r"(?<![^\s/])[^\s/]+(?:/[^\s/]+){2}")
_FILIPINO = re.compile(r"(?!.*(?:ph|th|sh|oo|ee|ea|ou|([^aeiou])\1))[abdeghiklmnoprstuwyñ'-]+")


def inflect(text: str, agreement: str) -> str:
    """Return the text with one form of each inflected word.

    Parameters
    ----------
    text : str
        Inflected words are written masculine/feminine/plural, as in "چمڑے کا/کی/کے"; the feminine has no plural.
    agreement : str
        One of `AGREEMENTS`: that of the noun that the words describe.
    """
    return _INFLECTED.sub(lambda match: match[0].split("/")[_FORM_OF[agreement]], text) if "/" in text else text


def inflections(text: str) -> tuple[str, ...]:
    """Return every form of a text, once."""
    return tuple(dict.fromkeys(inflect(text, agreement) for agreement in AGREEMENTS))


def link(text: str, foreign: Collection[str], name: str = "") -> str:
    """Return a Filipino text with each linker in the form that the word before it asks for.

    "palda na pula" becomes "paldang pula", "salamin na itim" "salaming itim"; "damit na itim" stays, and so does
    "blouse na itim": people do not bend foreign words, nor a product's `name` before one, or a name with "sa" or "ng".
    A linker that joins nothing, or that stands before "para sa", is left out; "na lang" has none.
    """
    words, last = text.split(" "), name.split(" ")[-1]
    unbent = {"sa", "ng"} & set(name.split(" "))
    linked: list[str] = []
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word != "na" or not linked:
            linked.append(word)
        elif after not in ("", "na", "para"):
            kept = after == "lang" or (linked[-1] == last and (unbent or not _is_filipino(after, foreign)))
            linked[-1] += " na" if kept else _linker(linked[-1], foreign)
    return " ".join(linked)


def _linker(word: str, foreign: Collection[str]) -> str:
    if not re.search("[aeioun]$", word) or not _is_filipino(word, foreign):
        return " na"
    return "g" if word.endswith("n") else "ng"


def _is_filipino(word: str, foreign: Collection[str]) -> bool:
    return word not in foreign and _FILIPINO.fullmatch(word) is not None


@dataclass(frozen=True, eq=False)
class Grammar:
    """What a language's filled patterns are corrected by.

    `nouns` tells the gender and number of the last words of product names, where other words agree with them.
    `foreign` are the words that take no Filipino linker.
    """

    nouns: Mapping[str, str] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()

    def apply(self, text: str, name: str = "") -> str:
        """Return a text about the product `name` in which words agree with the name and linkers have their form."""
        if self.nouns and "/" in text:
            text = inflect(text, self.agreement(name) or AGREEMENTS[0])
        return link(text, self.foreign, name) if self.foreign and " na" in text else text

    def agreement(self, name: str) -> str:
        """Return the gender and number of a name: those of its longest ending that is a noun; empty if none is."""
        words = name.split(" ")
        endings = (" ".join(words[start:]) for start in range(len(words)))
        return next((self.nouns[ending] for ending in endings if ending in self.nouns), "")


def read_grammars(rows: Iterable[Mapping[str, str]], english: Iterable[str]) -> dict[str, Grammar]:
    """Return the grammar of each language that needs one.

    Parameters
    ----------
    rows : iterable of mapping
        Of nouns.tsv: `language`, `agreement`, and `words` with that gender and number, separated by `|`.
    english : iterable of str
        The English names; their words take no Filipino linker.
    """
    nouns: dict[str, dict[str, str]] = {}
    for row in rows:
        agreement, known = row["agreement"], nouns.setdefault(row["language"], {})
        if agreement not in AGREEMENTS:
            raise LiraError(f"nouns.tsv: agreement {agreement!r} is unknown: use {' '.join(AGREEMENTS)}")
        for word in row["words"].split("|"):
            if known.setdefault(word, agreement) != agreement:
                raise LiraError(f"nouns.tsv: {word!r} is both {known[word]} and {agreement}")
    foreign = frozenset(word for name in english for word in name.casefold().split())
    return {"fil": Grammar(foreign=foreign)} | {language: Grammar(words) for language, words in nouns.items()}
