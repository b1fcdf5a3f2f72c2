"""Read the cells of tables: the rules for ids, texts and candidates, the same in every command."""

from collections.abc import Mapping

from ..errors import is_blank
from .table_file import parse_json

CANDIDATES = "candidates"
LANGUAGES = ("language", "lang")
"""Columns in which the language code is looked for, the corpus's own name first."""
SCORES = ("semantic", "emotional", "pragmatic")
_EXACT = 2**53
"""From this number on, a float cannot represent every whole number."""
_EXAMPLE = '["white shirt", "white blouse"]'
_SHOWN = 100
"""The most characters of a wrong value that a message shows."""


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, and not all of it if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_missing(value: object) -> bool:
    """Say whether a cell says nothing: null, not a number, or a text with nothing visible."""
    return value is None or value != value or (isinstance(value, str) and is_blank(value))


def identifier(value: object) -> str:
    """Return an id as a text; a whole number that a table keeps as a float, as pandas does, is that number.

    Raises
    ------
    ValueError
        For a value that cannot identify a row: an empty one, true or false, a list, bytes, or a number so large that
        it may be rounded.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and abs(value) < _EXACT:
        return str(int(value)) if value.is_integer() else repr(value)
    raise ValueError(f"must hold an id, not {shown(value)}")


def cell_text(value: object) -> str:
    """Return a single value as a text, empty if it is missing; numbers as `identifier` writes them."""
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return str(value)


def candidate_fields(value: object) -> list[Mapping[str, object]]:
    """Return candidates as objects with `text` and, where known, `agent` and scores; a plain text becomes one.

    In a CSV file the cell is a JSON list.

    Raises
    ------
    ValueError
        If the value is not a list, or a candidate has no text.
    """
    if is_missing(value):
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value)
    if not isinstance(value, list):
        raise ValueError(f"{CANDIDATES} must be a list, not {shown(value)}: in CSV a JSON list, as {_EXAMPLE}")
    return [_fields(item) for item in value]


def _fields(item: object) -> Mapping[str, object]:
    fields = item if isinstance(item, dict) else {"text": item}
    text = fields.get("text")
    if not isinstance(text, str) or is_blank(text):
        raise ValueError(f"a candidate needs a text, but there is {shown(item)}")
    return fields


def critic_scores(fields: Mapping[str, object]) -> tuple[float | None, ...]:
    """Return a candidate's three scores, None where there is none.

    Raises
    ------
    ValueError
        If a score is not a number from 1 to 10.
    """
    return tuple(_score(fields.get(name)) for name in SCORES)


def _score(value: object) -> float | None:
    if value is None or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 10:
        raise ValueError(f"a candidate's score must be from 1 to 10, not {shown(value)}")
    return float(value)
