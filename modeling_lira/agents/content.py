"""What a file of texts is read into, whatever its format."""

from collections.abc import Sequence
from typing import Protocol

Row = dict[str, object]


class Content(Protocol):
    """The rows of a file, whatever its format."""

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        ...

    @property
    def numbers(self) -> Sequence[int]:
        """Return the rows' numbers in the file, from 1."""
        ...

    def column(self, name: str) -> list[object]:
        """Return a column's values, None where a row has none."""
        ...

    def rows(self) -> list[Row]:
        """Return all rows as dictionaries."""
        ...
