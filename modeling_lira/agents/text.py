"""Checks and cleaning of texts that go into a prompt and of candidates that come out of a model."""

from collections.abc import Iterable, Sequence

from ..data.languages import known_language
from ..errors import LiraError, is_blank
from ..faces.terminal import one_line

MAX_CANDIDATE_CHARACTERS = 400
"""Longer candidates are cut."""
MAX_TEXT_CHARACTERS = 2000
"""Longer texts are cut before a server or a dictionary translates them."""
CHARACTERS_PER_TOKEN = 64
"""More than any tokenizer puts into a token, so a text of more than this times `max_tokens` is cut anyway."""
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})


def harmless(text: str, special_tokens: Iterable[str] = (), max_tokens: int | None = None) -> str:
    """Return an untrusted text that can neither end its part of a prompt nor contain a control token.

    A text's part of a few-shot prompt ends with the line, that of a chat prompt with a tag or a control token of the
    model. So the text is put on one line, its angle brackets are replaced by similar characters, and its control tokens
    are broken up by spaces.

    Parameters
    ----------
    text : str
    special_tokens : iterable of str
        The model's control tokens.
    max_tokens : int, optional
        To how many tokens the caller will cut the text. Characters that are certainly beyond them are removed here,
        since tokenizing a text of many megabytes takes minutes.
    """
    text = one_line(text)
    if max_tokens is not None:
        text = text[: CHARACTERS_PER_TOKEN * max_tokens]
    for token in special_tokens:
        if len(token) > 1:
            text = text.replace(token, " ".join(token))
    return text.translate(_BRACKETS)


def clean_candidate(text: str) -> str:
    """Return the first line of a model's answer that is not blank, cut to `MAX_CANDIDATE_CHARACTERS`; may be empty."""
    lines = (one_line(line) for line in text.splitlines())
    first = next((line for line in lines if line), "")
    return first[:MAX_CANDIDATE_CHARACTERS].rstrip()


def distinct(candidates: Iterable[str]) -> list[str]:
    """Return the candidates in their order without empty and repeated ones."""
    return list(dict.fromkeys(candidate for candidate in candidates if candidate))


def check_texts(texts: Sequence[str], languages: Sequence[str]) -> None:
    """Check that every text has a language, and that it is not English.

    Raises
    ------
    LiraError
        If the lists differ in length, or at the first text that is blank or has no such language.
    """
    if len(texts) != len(languages):
        raise LiraError(f"{len(texts)} texts but {len(languages)} languages: give one language a text")
    for index, (text, language) in enumerate(zip(texts, languages, strict=True)):
        check_language(language, f"text {index}")
        if is_blank(text):
            raise LiraError(f"text {index} is empty: remove it or fill it in")


def check_language(language: str, name: str) -> str:
    """Return a language in the form of `language_code`; raise `LiraError` with the text's name for another one."""
    try:
        code = known_language(language)
    except LiraError as error:
        raise LiraError(f"{name}: {error}") from error
    if code == "en":
        raise LiraError(f"{name}: language {language!r} is English, which needs no translation: leave such texts out")
    return code
