"""A split's products: the first ones are in memory, the others are made again from their index on access."""

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from .catalogue import Catalogue, Product

KEPT = 20_000


class ProductList(Sequence[Product]):
    """The products of one split in stream order; a million of them take a few megabytes.

    Parameters
    ----------
    catalogue : Catalogue
        Makes a product again from its index.
    kept : int
        How many products stay in memory.
    """

    def __init__(self, catalogue: Catalogue, kept: int = KEPT) -> None:
        self._catalogue = catalogue
        self._kept_limit = kept
        self._kept: list[Product] = []
        self._indices = array("q")

    def append(self, product: Product) -> None:
        """Add a product."""
        self._indices.append(product.index)
        if len(self._kept) < self._kept_limit:
            self._kept.append(product)

    @overload
    def __getitem__(self, row: int) -> Product: ...
    @overload
    def __getitem__(self, row: slice) -> list[Product]: ...
    def __getitem__(self, row: int | slice) -> Product | list[Product]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        position = range(len(self))[row]
        return self._kept[position] if position < len(self._kept) else self._catalogue.product(self._indices[position])

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Product]:
        return (self[row] for row in range(len(self)))

    @property
    def indices(self) -> Sequence[int]:
        """Catalogue indices, row by row."""
        return self._indices
