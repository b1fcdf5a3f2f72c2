"""How translation models are told which language a text is in, and that English is wanted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import LiraError
from .prompts import LANGUAGE_NAMES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
"""A model's codes by the token that asks for English."""

MADLAD_ENGLISH = "<2en>"
"""MADLAD-400 is told what to translate into, and sees by itself from what."""

OPUS_MT = {
    "vi": ("vi", "vie", "aav"),
    "th": ("th", "tha"),
    "id": ("id", "ind", "map", "poz"),
    "ms": ("ms", "msa", "zsm", "zlm", "map", "poz"),
    "ur": ("ur", "urd", "inc", "iir", "ine"),
    "bn": ("bn", "ben", "inc", "iir", "ine"),
    "fil": ("fil", "tl", "tgl", "map", "poz", "phi"),
}
"""What Opus-MT calls each language, the families it belongs to last; "mul" is any language."""
ANY = "mul"
ENGLISH = ("en", "eng")
_PAIR = re.compile(r"[-_]([a-z_]+)-([a-z_]+)$")


@dataclass(frozen=True)
class Route:
    """A language's way to English through one model.

    Attributes
    ----------
    source : str or None
        The tokenizer's code of the language.
    before : str
        Words put before the text.
    first_token : int or None
        What an answer must begin with.
    """

    source: str | None = None
    before: str = ""
    first_token: int | None = None


def routes(tokenizer: "PreTrainedTokenizerBase", name: str) -> Mapping[str, Route]:
    """Return the route of every language that a translation model reads.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Of NLLB, M2M-100, mBART-50, MADLAD-400, Opus-MT, or one that has the same language tokens.
    name : str
        Of the model; an Opus-MT model's tells its languages where its tokenizer does not.

    Raises
    ------
    LiraError
        If the model is none of these, or does not translate into English.

    Source: the models' own documentation.
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
    found = _PAIR.search(name)
    source = getattr(tokenizer, "source_lang", None) or (found[1] if found else "")
    target = getattr(tokenizer, "target_lang", None) or (found[2] if found else "")
    codes = [f">>{code}<<" for code in ENGLISH if f">>{code}<<" in tokenizer.supported_language_codes]
    if not codes and not set(target.split("_")) & set(ENGLISH):
        raise LiraError(f"model {name!r} translates into {target or 'an unknown language'!r}, not into English")
    spoken = set(source.split("_"))
    route = Route(before=f"{codes[0]} " if codes else "")
    ways = {language: route for language, own in OPUS_MT.items() if spoken & {ANY, *own}}
    if not ways:
        raise LiraError(
            f"model {name!r} translates from {source or 'an unknown language'!r}, "
            f"none of {', '.join(LANGUAGE_NAMES)}: use another"
        )
    return ways


def _token(tokenizer: "PreTrainedTokenizerBase", token: str) -> int | None:
    index = tokenizer.convert_tokens_to_ids(token)
    return index if isinstance(index, int) and index != tokenizer.unk_token_id else None
