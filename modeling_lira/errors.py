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
    except Exception as error:
        if _names_nothing(error):
            reason = "there is no such folder, and no repository can be called so"
            raise LiraError(f"{what} cannot be loaded: {reason}") from error
        is_missing = isinstance(error, OSError) and not isinstance(error.__context__, ValueError)  # not JSON, say
        raise LiraError(f"{what} {'cannot be loaded' if is_missing else 'is damaged'}: {one_line(error)}") from error


def _names_nothing(error: BaseException | None) -> bool:
    """Return whether a name that is neither a folder's nor a possible repository's is behind an error."""
    from huggingface_hub.errors import HFValidationError  # only now: importing it takes time that --help has not

    while error is not None and not isinstance(error, HFValidationError):
        error = error.__cause__ or error.__context__
    return error is not None


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
