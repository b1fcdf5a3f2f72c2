"""Texts as they may enter a prompt and candidates as they may leave a model."""

from collections.abc import Iterable, Sequence

from ..errors import LiraError
from ..faces.terminal import is_blank, one_line
from .prompts import LANGUAGE_NAMES

MAX_CANDIDATE_CHARACTERS = 400
MAX_TEXT_CHARACTERS = 2000
"""Of a text that a server or a dictionary translates; the rest is cut."""
CHARACTERS_PER_TOKEN = 64
"""More than any tokenizer puts into a token: what lies beyond so many times the most tokens would be cut anyway."""
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})


def harmless(text: str, special_tokens: Iterable[str] = (), max_tokens: int | None = None) -> str:
    """Make an untrusted text unable to end its own delimiters or to name a control token.

    A few-shot prompt is delimited by line ends, a chat prompt by tags and by the model's control tokens: the text is
    put on one line, its angle brackets are replaced by look-alikes and its control tokens are broken up. With
    `max_tokens`, what a cut to so many tokens leaves out for sure is left out now: tokenizing it would take minutes.
    """
    text = one_line(text)
    if max_tokens is not None:
        text = text[: CHARACTERS_PER_TOKEN * max_tokens]
    for token in special_tokens:
        if len(token) > 1:
            text = text.replace(token, " ".join(token))
    return text.translate(_BRACKETS)


def clean_candidate(text: str) -> str:
    """Keep a model's first line of text, on one line, of bounded length; may be empty."""
    lines = (one_line(line) for line in text.splitlines())
    first = next((line for line in lines if line), "")
    return first[:MAX_CANDIDATE_CHARACTERS].rstrip()


def distinct(candidates: Iterable[str]) -> list[str]:
    """Drop empty and repeated candidates, keeping the order: missing candidates are masked, not invented."""
    return list(dict.fromkeys(candidate for candidate in candidates if candidate))


def check_texts(texts: Sequence[str], languages: Sequence[str]) -> None:
    """Refuse lists of different lengths, empty texts and unknown languages, naming the place.

    Raises
    ------
    LiraError
        With the index and the value.
    """
    if len(texts) != len(languages):
        raise LiraError(f"{len(texts)} texts but {len(languages)} languages: give one language a text")
    for index, (text, language) in enumerate(zip(texts, languages, strict=True)):
        if language not in LANGUAGE_NAMES:
            raise LiraError(f"text {index}: unknown language {language!r}; use one of {', '.join(LANGUAGE_NAMES)}")
        if is_blank(text):
            raise LiraError(f"text {index} is empty: remove it or fill it in")
