"""Cells, heads and rows of Markdown tables."""

from collections.abc import Mapping, Sequence

KEYS = ("mean", "low", "high")


def row_of(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head_of(columns: Sequence[str]) -> list[str]:
    """Return the two lines that a Markdown table begins with."""
    return [row_of(columns), row_of(["---"] * len(columns))]


def interval(difference: Mapping[str, float | None] | None, factor: float = 100, digits: int = 1) -> str:
    """Return a difference with its interval."""
    if difference is None or any(difference[key] is None for key in KEYS):
        return "–"
    mean, low, high = (factor * float(difference[key] or 0) for key in KEYS)
    return f"{mean:+.{digits}f} ({low:+.{digits}f} … {high:+.{digits}f})"


def scaled(value: float | None, factor: int = 100, digits: int = 1) -> str:
    """Return a value times a factor, a dash where there is none."""
    return "–" if value is None or value != value else f"{factor * value:.{digits}f}"  # NaN equals nothing
