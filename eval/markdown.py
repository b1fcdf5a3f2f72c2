"""Figures as the cells of tables."""

from collections.abc import Mapping

KEYS = ("mean", "low", "high")


def interval(difference: Mapping[str, float | None] | None, factor: float = 100, digits: int = 1) -> str:
    """Return a difference with its interval."""
    if difference is None or any(difference[key] is None for key in KEYS):
        return "–"
    mean, low, high = (factor * float(difference[key] or 0) for key in KEYS)
    return f"{mean:+.{digits}f} ({low:+.{digits}f} … {high:+.{digits}f})"


def negated(difference: Mapping[str, float]) -> dict[str, float]:
    """Return how far the first is ahead, with its interval, from how far the second is."""
    return {"mean": -difference["mean"], "low": -difference["high"], "high": -difference["low"]}


def scaled(value: float | None, factor: int = 100, digits: int = 1) -> str:
    """Return a value times a factor, a dash where there is none."""
    return "–" if value is None or value != value else f"{factor * value:.{digits}f}"  # NaN equals nothing
