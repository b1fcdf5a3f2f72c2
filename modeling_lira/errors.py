"""What counts as bad input, and the one family of errors that a command turns into one clear line."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST_NAME = 80
"""Characters of a text that an error message shows."""
_INVISIBLE = frozenset(("Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"))
_VISIBLE_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2")
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class LiraError(ValueError):
    """Bad input: the message names the offending value and what to do."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a damaged or missing file makes its reader raise into a `LiraError` that names `what`.

    The libraries that read configs, tokenizers and weights raise errors of a dozen types for the same damage. A package
    that is not installed is no damage: an `ImportError` passes.
    """
    try:
        yield
    except (LiraError, ImportError):
        raise
    except OSError as error:
        problem = "is damaged" if isinstance(error.__context__, ValueError) else "cannot be loaded"  # not JSON, say
        raise LiraError(f"{what} {problem}: {one_line(error)}") from error
    except Exception as error:
        raise LiraError(f"{what} is damaged: {one_line(error)}") from error


def one_line(error: BaseException | None) -> str:
    """Return what an error says in one line, its type where it says nothing."""
    return " ".join(str(error).split())[:500] or type(error).__name__


def is_blank(text: str) -> bool:
    """Return whether no character of a text shows: space, control and format characters, marks without a letter."""
    return not any(
        (unicodedata.category(char) not in _INVISIBLE or char in _VISIBLE_FORMAT) and char not in _INVISIBLE_LETTERS
        for char in text
    )


def shortened(value: object) -> str:
    """Return how an error message shows a value that may be long."""
    shown = repr(value if not isinstance(value, str) else value[:_LONGEST_NAME])
    return shown if len(shown) <= _LONGEST_NAME + 2 else f"{shown[:_LONGEST_NAME]}..."


def is_missing(value: object) -> bool:
    """Return whether a value says nothing: None, or the NaN of a table's empty cell."""
    return value is None or (isinstance(value, float) and value != value)
