"""Embeddings on disk and the index that searches them."""

from .index import Hit, SearchIndex

__all__ = ["Hit", "SearchIndex"]
