"""The one family of errors that a command turns into one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager


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
