"""From raw measurements to scores in [1, 10]: where a value stands among its language's values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LiraError
from ..files import atomic_write_text
from .batching import digest
from .candidate import Scores

LOWEST, HIGHEST = 1.0, 10.0
NEUTRAL = 5.5
"""The middle of [1, 10]: nothing is known."""

ASPECTS = ("semantic", "emotional", "pragmatic")
LEVELS = np.linspace(0.0, 1.0, 41)
Table = tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Quantiles of each aspect's measurements in each language.

    Attributes
    ----------
    tables : mapping of language to three tuples of float
        Values at evenly spaced levels from 0 to 1.

    Source: quantiles over a calibration set, method "Arca" 4; ours.
    """

    tables: Mapping[str, tuple[Table, ...]]

    @classmethod
    def fit(cls, measurements: Sequence[Scores], languages: Sequence[str]) -> "Calibration":
        """Read the quantiles off a set of measurements.

        Parameters
        ----------
        measurements : sequence of (float, float, float)
        languages : sequence of str
            Each measurement's language.
        """
        values: dict[str, list[Scores]] = {}
        for language, measured in zip(languages, measurements, strict=True):
            values.setdefault(language, []).append(measured)
        return cls({language: _tables(found) for language, found in sorted(values.items())})

    def rate(self, measured: Scores, language: str) -> Scores:
        """Map one pair's measurements to [1, 10]; an aspect that does not vary says nothing and gets 5.5.

        Raises
        ------
        LiraError
            If the language was not calibrated.
        """
        if language not in self.tables:
            raise LiraError(
                f"the critic is not calibrated for {language!r}, only for {', '.join(self.tables) or 'nothing'}: "
                "calibrate it on texts of that language"
            )
        first, second, third = (_rate(v, table) for v, table in zip(measured, self.tables[language], strict=True))
        return first, second, third

    @property
    def digest(self) -> str:
        """Name these tables."""
        return digest({language: list(map(list, tables)) for language, tables in self.tables.items()})

    def save(self, path: Path | str) -> None:
        """Write the tables as JSON."""
        atomic_write_text(path, json.dumps({"tables": self.tables}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> "Calibration":
        """Read tables that `save` wrote.

        Raises
        ------
        LiraError
            If the file is not such a file.
        """
        try:
            tables = json.loads(Path(path).read_text(encoding="utf-8"))["tables"]
            found = {str(language): tuple(tuple(map(float, t)) for t in three) for language, three in tables.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LiraError(f"{str(path)!r} is not a calibration file: {error}") from error
        if any(len(three) != len(ASPECTS) or any(len(t) != len(LEVELS) for t in three) for three in found.values()):
            raise LiraError(f"{str(path)!r}: a language needs {len(ASPECTS)} tables of {len(LEVELS)} quantiles")
        return cls(found)


def _tables(found: list[Scores]) -> tuple[Table, ...]:
    quantiles = np.quantile(np.asarray(found, dtype=np.float64), LEVELS, axis=0)  # [levels, aspects]
    return tuple(tuple(map(float, column)) for column in quantiles.T)


def _rate(value: float, table: Table) -> float:
    """Return 1 + 9 F(value), F the share of calibration values below, between quantiles by a straight line."""
    if table[0] == table[-1]:
        return NEUTRAL
    # The mean of both ends of a run of equal quantiles: a value shared by many is in the middle of its run.
    low = np.interp(value, table, LEVELS)
    high = 1.0 - np.interp(-value, -np.asarray(table)[::-1], LEVELS)
    return float(LOWEST + (HIGHEST - LOWEST) * (low + high) / 2)
