"""The synthetic product catalogue, its queries and their grades, written from the lexicon."""

from typing import TYPE_CHECKING

from modeling_lira.faces.lazy import lazy_face

if TYPE_CHECKING:
    from .corpus import build_corpus, known_languages, release_queries
    from .splits import release_named

__all__ = ["build_corpus", "known_languages", "release_named", "release_queries"]

lazy_face(
    __name__,
    {
        "build_corpus": "corpus",
        "known_languages": "corpus",
        "release_named": "splits",
        "release_queries": "corpus",
    },
)
