"""Embeddings on disk and the index that searches them."""

from typing import TYPE_CHECKING

from ..faces.lazy import lazy_face

if TYPE_CHECKING:
    from .index import Hit, SearchIndex

__all__ = ["Hit", "SearchIndex"]

lazy_face(__name__, {"Hit": "index", "SearchIndex": "index"})
