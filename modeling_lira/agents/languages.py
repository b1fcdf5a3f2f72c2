"""How each family of translation models is told the language of a text, and to translate into English."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import LiraError
from .prompts import LANGUAGE_NAMES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Codes that each family has for the languages of this package; a language that is missing is one it does not know.
NLLB = {
    "vi": "vie_Latn",
    "th": "tha_Thai",
    "id": "ind_Latn",
    "ms": "zsm_Latn",
    "ur": "urd_Arab",
    "bn": "ben_Beng",
    "fil": "tgl_Latn",
}
M2M_100 = {"vi": "vi", "th": "th", "id": "id", "ms": "ms", "ur": "ur", "bn": "bn", "fil": "tl"}
MBART_50 = {"vi": "vi_VN", "th": "th_TH", "id": "id_ID", "ur": "ur_PK", "bn": "bn_IN", "fil": "tl_XX"}
CODES = {"eng_Latn": NLLB, "__en__": M2M_100, "en_XX": MBART_50}
"""The codes of a family by the token for English, which tells the families apart."""

MADLAD_ENGLISH = "<2en>"
"""Put before a text, this tells MADLAD-400 to translate into English; it recognises the source language by itself."""

OPUS_MT = {
    "vi": ("vi", "vie", "aav"),
    "th": ("th", "tha"),
    "id": ("id", "ind", "map", "poz"),
    "ms": ("ms", "msa", "zsm", "zlm", "map", "poz"),
    "ur": ("ur", "urd", "inc", "iir", "ine"),
    "bn": ("bn", "ben", "inc", "iir", "ine"),
    "fil": ("fil", "tl", "tgl", "map", "poz", "phi"),
}
"""The codes by which Opus-MT's model names mean each language: its own, then those of families that it belongs to."""
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


def routes(tokenizer: "PreTrainedTokenizerBase", name: str) -> Mapping[str, Route]:
    """Return the route of every language that a translation model reads.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Of NLLB, M2M-100, mBART-50, MADLAD-400 or Opus-MT, or one that has the same language tokens.
    name : str
        The model's name, from which the languages of an Opus-MT model are read if its tokenizer has none.

    Returns
    -------
    mapping of language code to Route

    Raises
    ------
    LiraError
        If the model is of none of these families, does not translate into English, or translates from none of the
        seven languages.

    Source: the documentation of each model.
    """
    for english, codes in CODES.items():
        first = _token(tokenizer, english)
        if first is not None:
            return {language: Route(source=code, first_token=first) for language, code in codes.items()}
    if _token(tokenizer, MADLAD_ENGLISH) is not None:
        return dict.fromkeys(LANGUAGE_NAMES, Route(before=f"{MADLAD_ENGLISH} "))
    if hasattr(tokenizer, "supported_language_codes"):
        return _opus_mt(tokenizer, name)
    raise LiraError(
        f"model {name!r} has no language codes that are known here: use NLLB, M2M-100, mBART-50, MADLAD-400 or Opus-MT"
    )


def _opus_mt(tokenizer: "PreTrainedTokenizerBase", name: str) -> dict[str, Route]:
    """Return the routes of an Opus-MT model; a multilingual one is told its target by a token such as `>>eng<<`."""
    pair = _PAIR.search(name)
    source = getattr(tokenizer, "source_lang", None) or (pair[1] if pair else "")
    target = getattr(tokenizer, "target_lang", None) or (pair[2] if pair else "")
    codes = [f">>{code}<<" for code in ENGLISH if f">>{code}<<" in tokenizer.supported_language_codes]
    if not codes and not set(target.split("_")) & set(ENGLISH):
        raise LiraError(f"model {name!r} translates into {target or 'an unknown language'!r}, not into English")
    spoken = set(source.split("_"))
    route = Route(before=f"{codes[0]} " if codes else "")
    ways = {language: route for language, codes in OPUS_MT.items() if spoken & {ANY, *codes}}
    if not ways:
        raise LiraError(
            f"model {name!r} translates from {source or 'an unknown language'!r}, "
            f"none of {', '.join(LANGUAGE_NAMES)}: use another"
        )
    return ways


def _token(tokenizer: "PreTrainedTokenizerBase", token: str) -> int | None:
    """Return the id of a token, None if it is not in the vocabulary."""
    index = tokenizer.convert_tokens_to_ids(token)
    return index if isinstance(index, int) and index != tokenizer.unk_token_id else None
