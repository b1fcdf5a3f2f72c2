"""Languages by their BCP 47 codes: one form of each code, names, scripts. The tables are Unicode's (CLDR, by Babel)."""

from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Any

from babel import Locale
from babel.core import get_global

from ..errors import LiraError
from .cells import shown

_UNKNOWN = ("", "null", "none", "nan", "n/a", "und", "unknown", "auto")
_FURTHER_NAMES = {"bengali": "bn", "burmese": "my", "cambodian": "km", "farsi": "fa", "myanmar": "my"}
"""English names beside the one that CLDR prefers."""
_FURTHER_ALIASES = {"ekk": "et", "nb": "no", "pbt": "ps", "quy": "qu"}
_UNSPACED_SCRIPTS = frozenset(
    {"Bali", "Hans", "Hant", "Hira", "Java", "Jpan", "Kana", "Khmr", "Lana", "Laoo", "Mymr", "Tale", "Talu", "Tavt"}
    | {"Thai", "Tibt"}
)
_LETTERS = {
    "Aran": "arabic", "Beng": "bengali", "Cans": "canadian", "Hans": "cjk", "Hant": "cjk", "Hani": "cjk",
    "Jpan": "hiragana katakana cjk", "Kore": "hangul cjk", "Lana": "tai", "Lisu": "lisu", "Mand": "mandaic",
    "Mtei": "meetei", "Nkoo": "nko", "Orya": "oriya", "Plrd": "miao", "Saur": "saurashtra", "Xsux": "cuneiform",
}  # fmt: skip
"""How the Unicode names of a script's letters begin, where that is not the script's English name."""


@lru_cache(maxsize=65_536)
def language_code(given: str) -> str:
    """Return the one form of a language tag or English name, empty where it says that the language is not known.

    The form is the shortest code of the language (`vi` for `vie`, `fil` for `tl`), without its country, and with its
    script only where that is not the usual one: `vi-VN` and `Vietnamese` are `vi`, `zh-TW` is `zh-Hant`. What is no
    language comes back as its first part, in lower case.
    """
    name = given.strip().casefold()
    if name in _UNKNOWN:
        return ""
    first, *rest = (_codes_by_name().get(name) or name).replace("-", "_").split("_")
    alias = get_global("language_aliases").get(first, first)
    language, *implied = _FURTHER_ALIASES.get(alias, alias).split("_")
    script = next((part.title() for part in (*rest, *implied) if len(part) == 4 and part.isalpha()), "")
    country = next((part.upper() for part in (*rest, *implied) if len(part) == 2), "")
    script = script or _likely_script(f"{language}_{country}") or _likely_script(language)
    return f"{language}-{script}" if script and script != _likely_script(language) else language


def is_language(code: str) -> bool:
    """Return whether a code, in the form of `language_code`, is that of a language."""
    language, _, script = code.partition("-")
    known = language in get_global("likely_subtags") or language in _names()
    return known and language != "und" and (not script or script in Locale("en").scripts)


def known_language(given: str) -> str:
    """Return a language in the form of `language_code`; raise `LiraError` for what is no language."""
    code = language_code(given)
    if not is_language(code):
        country = get_global("likely_subtags").get(f"und_{code.upper()}", "").partition("_")[0]
        guess = f": {code} is a country, its language is {country}" if country else ""
        raise LiraError(f"unknown language {shown(given)}: give a BCP 47 code such as vi, km or zh-Hant{guess}")
    return code


def match_language(given: str, known: Container[str]) -> str | None:
    """Return which of the known codes a tag means: itself, its form by `language_code`, or that without the script."""
    code = language_code(given)
    return next((form for form in (given, code, code.partition("-")[0]) if form in known), None)


def languages_on_hub(codes: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a card that name its languages; the Hub has one of its own for tags with a script."""
    tags = [code for code in codes if "-" in code]
    plain = list(dict.fromkeys(code.partition("-")[0] for code in codes))
    return {"language": plain, **({"language_bcp47": tags} if tags else {})}


def language_name(code: str) -> str:
    """Return a language's English name, or its code where CLDR has no name for it."""
    language, _, script = language_code(code).partition("-")
    name = _names().get(f"{language}_{script}") if script else ""
    plain = _names().get(language, language)
    return name or (f"{plain} in {Locale('en').scripts[script]} script" if script else plain)


@lru_cache(maxsize=1024)
def letters_of(language: str) -> frozenset[str]:
    """Return how the Unicode names of the letters begin that a language is usually written with: {"latin"}, say."""
    code, _, script = language_code(language).partition("-")
    script = script or _likely_script(code) or "Latn"
    return frozenset((_LETTERS.get(script) or Locale("en").scripts.get(script, script).split()[0].casefold()).split())


@lru_cache(maxsize=1024)
def is_unspaced(language: str) -> bool:
    """Return whether a language is written without spaces between words."""
    code, _, script = language_code(language).partition("-")
    return (script or _likely_script(code)) in _UNSPACED_SCRIPTS


def code_with_script(language: str) -> str:
    """Return a language as data sets of many languages name it, by ISO 639-3 and its script: `khm-Khmr`."""
    code, _, script = language_code(language).partition("-")
    aliases = get_global("language_aliases").items()
    long = next((alias for alias, short in aliases if short == code and len(alias) == 3), code)
    return f"{long}-{script or _likely_script(code) or 'Latn'}"


def _likely_script(tag: str) -> str:
    """Return the script that a language, or a language of a country, is usually written in; "" if it is not known."""
    parts = get_global("likely_subtags").get(tag, "").split("_")
    return parts[1] if len(parts) > 1 else ""


def _names() -> Mapping[str, str]:
    return Locale("en").languages


@lru_cache(maxsize=1)
def _codes_by_name() -> dict[str, str]:
    return {name.casefold(): code for code, name in _names().items()} | _FURTHER_NAMES
