"""Tell the language of short shop texts with py3langid, offline."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from modeling_lira.faces.extras import MissingPackageError

from ..lexicon import ENGLISH, LANGUAGES
from ..scripts import script_counts

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SUPPORTED = (*LANGUAGES, ENGLISH)
LEAST_CERTAIN = 0.5
_SCRIPTS = {"th": "thai", "ur": "arabic", "bn": "bengali"}
_THEIRS = {"fil": "tl"}
_OURS = {
    "tl": "fil",
    "in": "id",
    "may": "ms",
    "msa": "ms",
    "ind": "id",
    "vie": "vi",
    "tha": "th",
    "urd": "ur",
    "ben": "bn",
}
_SAME_SCRIPT = ("ar", "fa", "ps")
"""Languages that we do not have but that write as Urdu does."""
_URDU_LETTERS = frozenset("ٹڈڑںےھہ")
"""Not in Arabic, Persian and Pashto."""
_VIETNAMESE_LETTERS = frozenset(map(chr, range(0x1EA0, 0x1EFA))) | frozenset("ơưƠƯ")
"""Not in the other languages of ours that write Latin."""
_ASSAMESE_LETTERS = frozenset("ৰৱ")
"""Not in Bengali, which writes র and ব in their place."""


def language_code(given: str) -> str:
    """Return our code of a language tag such as `vi-VN`, `tl` or `IND`.

    Source: ours.
    """
    code = given.strip().casefold().replace("_", "-").split("-")[0]
    return _OURS.get(code, code)


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> "LanguageIdentifier":
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError:
        raise MissingPackageError("telling languages", ["py3langid"]) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*(_THEIRS.get(code, code) for code in languages), *_SAME_SCRIPT])
    return identifier


def identify(text: str, languages: Sequence[str] = SUPPORTED) -> str | None:
    """Return the language of a text among those given, None when it is none of them or not certain.

    A script or a letter that only one of the languages has decides; the identifier decides the rest.

    Source: ours (the identifier is py3langid's).
    """
    letters = script_counts([text])
    if not letters:
        return None
    script = letters.most_common(1)[0][0]
    writing = [code for code in languages if _SCRIPTS.get(code, "latin") == script]
    if not writing:
        return None
    if writing == ["th"] or (writing == ["ur"] and _URDU_LETTERS & set(text)):
        return writing[0]
    if "vi" in writing and _VIETNAMESE_LETTERS & set(text):
        return "vi"
    if writing == ["bn"]:
        return None if _ASSAMESE_LETTERS & set(text) else "bn"
    found, certainty = _identifier(tuple(languages)).classify(text)
    code = _OURS.get(found, found)
    return code if code in languages and certainty >= LEAST_CERTAIN else None
