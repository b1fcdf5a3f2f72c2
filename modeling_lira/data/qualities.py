"""The qualities of translation that a model must bear: from none, and another text's, to as good as perfect."""

from collections.abc import Callable, Mapping

import numpy as np

from .corpus import GLOSS, REFERENCE
from .tables import Table

NONE, CANDIDATES, STRANGERS, MIXED = "none", "candidates", "strangers", "mixed"


def strangers(table: Table) -> np.ndarray:
    """Return rows [N, K] in which every text has the candidates of another one."""
    return np.roll(table.rows, max(1, len(table) // 2), 0)


def good_columns(table: Table) -> np.ndarray:
    """Return where the good candidate stands in each set that `mixed_sets` makes, [N]."""
    return np.arange(len(table)) % table.rows.shape[1]


def mixed_sets(table: Table, good: np.ndarray) -> np.ndarray:
    """Return rows [N, K] of the first good translation, from `good` [N, K], among the first candidates of other texts.

    A text without a good translation has none.
    """
    count, width = table.rows.shape
    step = max(1, count // (width + 1))
    rows = np.stack([np.roll(table.rows[:, 0], (column + 1) * step) for column in range(width)], 1)
    rows[np.arange(count), good_columns(table)] = good[:, 0]
    rows[good[:, 0] < 0] = -1
    return rows


_ROWS: Mapping[str, Callable[[Table], np.ndarray]] = {
    NONE: lambda table: np.full_like(table.rows, -1),
    GLOSS: lambda table: table.others[GLOSS],
    REFERENCE: lambda table: table.others[REFERENCE],
    STRANGERS: strangers,
    MIXED: lambda table: mixed_sets(table, table.others[REFERENCE]),
}
QUALITIES = (NONE, CANDIDATES, GLOSS, REFERENCE, MIXED, STRANGERS)
"""By name, none first: the candidates as they come, poor and perfect ones, a perfect one among strangers, strangers."""


def of_quality(table: Table, quality: str) -> Table:
    """Return a table of the same texts with translations of another quality; only the own candidates have scores."""
    return table if quality == CANDIDATES else table.translated(_ROWS[quality](table))


def qualities_of(table: Table) -> list[str]:
    """Return the qualities that a table has translations of."""
    known = (NONE, CANDIDATES, *((STRANGERS,) if table.has_english.any() else ()))
    return [quality for quality in QUALITIES if quality in known or {GLOSS, REFERENCE} <= table.others.keys()]
