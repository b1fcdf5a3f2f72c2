"""How each family of translation models is told the language of a text, and to translate into English."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..data.languages import is_language, language_code, match_language
from ..errors import LiraError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FAMILIES = {"eng_Latn": r"[a-z]{3}_[A-Z][a-z]{3}", "__en__": r"__[a-z]{2,3}__", "en_XX": r"[a-z]{2}_[A-Z]{2}"}
"""The form of the language tokens of NLLB, M2M-100 and mBART-50, by their token for English, which tells them apart.

Which languages a model reads is read from its tokens, so no table of them is needed here.
"""

MADLAD_ENGLISH = "<2en>"
"""Put before a text, this tells MADLAD-400 to translate into English; it recognises the source language by itself."""

GROUPS = {
    "vi": ("aav", "mkh"),
    "km": ("aav", "mkh"),
    "th": ("tai",),
    "lo": ("tai",),
    "my": ("sit", "tbq"),
    "ta": ("dra",),
    "id": ("map", "poz"),
    "ms": ("zlm", "map", "poz"),
    "ur": ("inc", "iir", "ine"),
    "bn": ("inc", "iir", "ine"),
    "fil": ("map", "poz", "phi"),
}
"""The codes of families of languages, in the names of Opus-MT's models, that a language belongs to."""
ANY = "mul"
"""Opus-MT's code of models for many languages."""
ENGLISH = ("en", "eng")
_PAIR = re.compile(r"[-_]([a-z_]+)-([a-z_]+)$")


@dataclass(frozen=True)
class Route:
    """How a model is asked to translate a text of one language into English.

    Attributes
    ----------
    source : str or None
        The tokenizer's code of the language; None if it has no such codes.
    before : str
        Put before the text.
    first_token : int or None
        Token id that the decoder must generate first; None if any may come first.
    """

    source: str | None = None
    before: str = ""
    first_token: int | None = None


@dataclass(frozen=True)
class Routes:
    """The routes of the languages that a model names, and one for every other language if it reads any."""

    named: Mapping[str, Route]
    others: Route | None = None

    def of(self, language: str) -> Route | None:
        """Return the route of a language, None if the model does not read it."""
        code = match_language(language, self.named)
        return self.named[code] if code else self.others


def routes(tokenizer: "PreTrainedTokenizerBase", name: str) -> Routes:
    """Return how a translation model is asked to translate each language that it reads.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Of NLLB, M2M-100, mBART-50, MADLAD-400 or Opus-MT, or one that has the same language tokens.
    name : str
        The model's name, from which the languages of an Opus-MT model are read if its tokenizer has none.

    Raises
    ------
    LiraError
        If the model is of none of these families or does not translate into English.

    Source: the documentation of each model.
    """
    for english, form in FAMILIES.items():
        first = _token(tokenizer, english)
        if first is not None:
            # M2M-100's tokens are not in its vocabulary.
            tokens = {*tokenizer.get_vocab(), *getattr(tokenizer, "lang_token_to_id", ())} - {english}
            sources = sorted(token.strip("_") for token in tokens if re.fullmatch(form, token))
            # The first of several codes of one language is the commoner: Western Persian before Dari.
            return Routes({language_code(code): Route(code, first_token=first) for code in reversed(sources)})
    if _token(tokenizer, MADLAD_ENGLISH) is not None:
        return Routes({}, Route(before=f"{MADLAD_ENGLISH} "))
    if hasattr(tokenizer, "supported_language_codes"):
        return _opus_mt(tokenizer, name)
    raise LiraError(
        f"model {name!r} has no language codes that are known here: use NLLB, M2M-100, mBART-50, MADLAD-400 or Opus-MT"
    )


def _opus_mt(tokenizer: "PreTrainedTokenizerBase", name: str) -> Routes:
    """Return the routes of an Opus-MT model; a multilingual one is told its target by a token such as `>>eng<<`."""
    pair = _PAIR.search(name)
    source = getattr(tokenizer, "source_lang", None) or (pair[1] if pair else "")
    target = getattr(tokenizer, "target_lang", None) or (pair[2] if pair else "")
    codes = [f">>{code}<<" for code in ENGLISH if f">>{code}<<" in tokenizer.supported_language_codes]
    if not codes and not set(target.split("_")) & set(ENGLISH):
        raise LiraError(f"model {name!r} translates into {target or 'an unknown language'!r}, not into English")
    spoken = set(filter(None, source.split("_")))
    if not spoken:
        raise LiraError(f"model {name!r} does not say what it translates from: use one whose name or tokenizer does")
    route = Route(before=f"{codes[0]} " if codes else "")
    languages = [code for code in map(language_code, sorted(spoken)) if is_language(code)]
    languages += [code for code, groups in GROUPS.items() if spoken & set(groups)]
    return Routes(dict.fromkeys(languages, route), route if ANY in spoken else None)


def _token(tokenizer: "PreTrainedTokenizerBase", token: str) -> int | None:
    """Return the id of a token, None if it is not in the vocabulary."""
    index = tokenizer.convert_tokens_to_ids(token)
    return index if isinstance(index, int) and index != tokenizer.unk_token_id else None
