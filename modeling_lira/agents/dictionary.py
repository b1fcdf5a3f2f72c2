"""A translator that glosses word for word with a user's dictionary: of low quality, but quick and without a model."""

import csv
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path

from ..data.languages import is_language, is_unspaced, language_code
from ..data.table_file import text_lines
from ..errors import LiraError
from .batching import digest
from .candidate import Settings
from .limits import check_limits
from .text import MAX_TEXT_CHARACTERS, check_texts, clean_candidate, distinct, one_line

COLUMNS = ("language", "term", "glosses")
SEPARATOR = "|"
PUNCTUATION = string.punctuation + "،؛؟۔।“”‘’«»…"
"""Characters that are removed at both ends of a word."""
_ASCII = re.compile(r"[!-~]+")
BATCH = 1000
"""Texts that are yielded, and so stored, together."""
Glosses = tuple[str, ...]
"""The English translations of one term."""
Dictionary = Mapping[str, Mapping[str, Glosses]]


class DictionaryTranslator:
    """Replace the terms of a dictionary in a text by their English glosses, from left to right, the longest term first.

    A word that is in no term is kept if it is ASCII, as brands and sizes are, and left out otherwise. Terms with
    several glosses give several candidates; the first candidate has the first gloss of every term. A text without any
    known word gets no candidate.

    Parameters
    ----------
    terms : mapping of language to mapping of term to glosses
        See `read_dictionary`.
    name : str
        Written beside each candidate.
    num_candidates : int
    """

    def __init__(self, terms: Dictionary, *, name: str, num_candidates: int = 4) -> None:
        check_limits(num_candidates=num_candidates)
        self.name, self.num_candidates = name, num_candidates
        self._terms: dict[str, dict[str, Glosses]] = {}
        self._longest: dict[str, int] = {}  # in words, or in characters where words are not set apart
        for language, entries in terms.items():
            pieces = [(_pieces(term, language), glosses) for term, glosses in entries.items()]
            self._terms[language] = {_join(term, language): glosses for term, glosses in pieces if term}
            self._longest[language] = max((len(term) for term, _ in pieces), default=0)

    @property
    def settings(self) -> Settings:
        """Return every setting that changes a candidate; the dictionary is given by its digest."""
        return {
            "name": self.name,
            "num_candidates": self.num_candidates,
            "terms": digest({language: dict(entries) for language, entries in self._terms.items()}),
        }

    def translate(self, texts: Sequence[str], languages: Sequence[str]) -> Iterator[list[tuple[int, list[str]]]]:
        """Yield finished batches, as `Translator.translate` says."""
        check_texts(texts, languages)
        if unread := sorted(set(languages) - set(self._terms)):
            raise LiraError(
                f"the dictionary {self.name!r} has no terms of {', '.join(unread)}, only of {', '.join(self._terms)}"
            )
        for start in range(0, len(texts), BATCH):
            batch = range(start, min(start + BATCH, len(texts)))
            yield [(index, self.gloss(texts[index], languages[index])) for index in batch]

    def gloss(self, text: str, language: str) -> list[str]:
        """Return one text's candidates; of a long text, those of its first 2000 characters."""
        glosses = list(self._look_up(_pieces(one_line(text)[:MAX_TEXT_CHARACTERS], language), language))
        joined = (clean_candidate(" ".join(words)) for words in product(*glosses) if words)
        # Different choices of glosses may read the same; so many are looked at, and no more.
        return distinct(islice(joined, 8 * self.num_candidates))[: self.num_candidates]

    def _look_up(self, pieces: Sequence[str], language: str) -> Iterator[Glosses]:
        """Yield the glosses of each term in a text, and each word between terms that is kept."""
        terms = self._terms[language]
        position = unknown = 0
        while position < len(pieces):
            for length in range(min(self._longest[language], len(pieces) - position), 0, -1):
                glosses = terms.get(_join(pieces[position : position + length], language))
                if glosses is not None:
                    yield from _staying(pieces[unknown:position], language)
                    yield glosses
                    position += length
                    unknown = position
                    break
            else:
                position += 1
        yield from _staying(pieces[unknown:], language)


def read_dictionary(path: Path) -> dict[str, dict[str, Glosses]]:
    """Read a tab-separated file with the columns `language`, `term` and `glosses`; `|` separates several glosses.

    Parameters
    ----------
    path : Path

    Returns
    -------
    mapping of language to mapping of term to glosses
        Terms are casefolded; a term that is in several lines has the glosses of all of them.

    Raises
    ------
    LiraError
        If there is no such file, if it has no terms, or at the first line that is wrong.
    """
    if not path.is_file():
        raise LiraError(f"no dictionary {str(path)!r}")
    rows = csv.DictReader(text_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise LiraError(
            f"{str(path)!r}: the first line must name the columns {', '.join(COLUMNS)}, set apart by tabs; "
            f"there is no {', '.join(missing)}"
        )
    terms: dict[str, dict[str, Glosses]] = {}
    for row in rows:
        language, term, glosses = (one_line(row[name] or "") for name in COLUMNS)
        several = tuple(part for gloss in glosses.split(SEPARATOR) if (part := gloss.strip()))
        code = language_code(language)
        if not is_language(code) or not term or not several:
            raise LiraError(
                f"{str(path)!r} line {rows.line_num}: needs a language's code, "
                f"a term and its glosses, but there is {language!r}, {term!r}, {glosses!r}"
            )
        entries, term = terms.setdefault(code, {}), term.casefold()
        entries[term] = tuple(dict.fromkeys((*entries.get(term, ()), *several)))
    if not terms:
        raise LiraError(f"the dictionary {str(path)!r} has no terms")
    return terms


def _pieces(text: str, language: str) -> list[str]:
    """Split a casefolded text into words without the punctuation around them; an unspaced one into characters."""
    key = unicodedata.normalize("NFC", one_line(text)).casefold()
    if is_unspaced(language):
        return list(key)
    return [word for piece in key.split() if (word := piece.strip(PUNCTUATION))]


def _join(pieces: Sequence[str], language: str) -> str:
    return ("" if is_unspaced(language) else " ").join(pieces)


def _staying(pieces: Sequence[str], language: str) -> Iterator[Glosses]:
    """Yield those of the pieces between two terms that are kept: ASCII words, each as its only gloss."""
    words = _ASCII.findall("".join(pieces)) if is_unspaced(language) else [word for word in pieces if word.isascii()]
    yield from ((word,) for word in words)
