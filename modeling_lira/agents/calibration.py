"""Map raw measurements to scores in [1, 10] by their rank among the measurements of the same language."""

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
"""The middle of [1, 10], the score of what was not measured."""

ASPECTS = ("semantic", "emotional", "pragmatic")
LEVELS = np.linspace(0.0, 1.0, 41)
"""Levels of the quantiles that are kept, 2.5 % apart: between two of them a score moves by 0.225 of its 9."""
Table = tuple[float, ...]
"""The quantiles of one aspect in one language, a value for each of `LEVELS`; empty if it was not measured."""


@dataclass(frozen=True)
class Calibration:
    """Quantiles of each aspect's measurements in each language.

    Attributes
    ----------
    tables : mapping of language to three tuples of float
        The quantiles of each of `ASPECTS` at `LEVELS`.

    Source: METHOD.md, Arca 4.
    """

    tables: Mapping[str, tuple[Table, ...]]

    @classmethod
    def fit(cls, measurements: Sequence[Scores], languages: Sequence[str]) -> "Calibration":
        """Compute the quantiles of a set of measurements.

        Parameters
        ----------
        measurements : sequence of (float, float, float)
            Semantic, emotional and pragmatic, of one pair of text and candidate each.
        languages : sequence of str
            The language of each measurement.

        Returns
        -------
        Calibration, of the languages that were given
        """
        values: dict[str, list[Scores]] = {}
        for language, measured in zip(languages, measurements, strict=True):
            values.setdefault(language, []).append(measured)
        return cls({language: _tables(measured) for language, measured in sorted(values.items())})

    def rate(self, measured: Scores, language: str) -> Scores:
        """Map one pair's measurements to [1, 10]; an aspect that is the same for all calibration pairs gets 5.5.

        What was not measured, of the pair or in the calibration, stays without a score.

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
        """Digest of these tables: equal for equal calibrations."""
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
            If the file is not JSON of that form.
        """
        try:
            tables = json.loads(Path(path).read_text(encoding="utf-8"))["tables"]
            loaded = {str(language): tuple(tuple(map(float, t)) for t in three) for language, three in tables.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LiraError(f"{str(path)!r} is not a calibration file: {error}") from error
        sizes = [[len(table) for table in three] for three in loaded.values()]
        if any(len(three) != len(ASPECTS) or not {0, len(LEVELS)}.issuperset(three) for three in sizes):
            raise LiraError(f"{str(path)!r}: a language needs {len(ASPECTS)} tables of {len(LEVELS)} quantiles")
        return cls(loaded)


def _tables(measured: list[Scores]) -> tuple[Table, ...]:
    """Return the quantiles of each aspect of one language's measurements."""
    return tuple(_quantiles([value for value in values if value is not None]) for values in zip(*measured, strict=True))


def _quantiles(values: list[float]) -> Table:
    return tuple(map(float, np.quantile(np.asarray(values, dtype=np.float64), LEVELS))) if values else ()


def _rate(value: float | None, table: Table) -> float | None:
    """Return 1 + 9 F(value), where F is the share of calibration values below, interpolated between the quantiles."""
    if value is None or not table:
        return None
    if table[0] == table[-1]:
        return NEUTRAL
    # Where many calibration values are equal, several quantiles are: `low` and `high` are the first and the last level
    # of such a run, and a value in it gets their mean.
    low = np.interp(value, table, LEVELS)
    high = 1.0 - np.interp(-value, -np.asarray(table)[::-1], LEVELS)
    return float(LOWEST + (HIGHEST - LOWEST) * (low + high) / 2)
