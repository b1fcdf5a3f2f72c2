"""Compare the authored names with independent dictionaries: a report for correctors, not a gate on the data."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modeling_lira.errors import LiraError

from .cldr import read_annotations
from .lexicon import ENGLISH, Lexicon, normalise_text

Senses = dict[str, set[str]]
"""English glosses by a word's comparable form."""


@dataclass(frozen=True)
class Comparison:
    """One product name that the dictionary has as well, with what it says there."""

    language: str
    type: str
    name: str
    english: str
    glosses: tuple[str, ...]
    agrees: bool

    @property
    def single(self) -> bool:
        """Whether the English name is a single word."""
        return len(self.english.split()) == 1


def read_dictionary(path: Path) -> dict[str, Senses]:
    """Read a table of `language<TAB>word<TAB>gloss|gloss`, by language.

    Raises
    ------
    LiraError
        A file that does not exist or is not such a table.
    """
    senses: dict[str, Senses] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        raise LiraError(f"dictionary {path} is not a file") from None
    except UnicodeDecodeError as error:
        raise LiraError(f"dictionary {path} is not UTF-8 ({error})") from error
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if len(cells) != 3:
            raise LiraError(f"{path.name} line {number}: {len(cells)} columns, expected language, word and glosses")
        glosses = senses.setdefault(cells[0], {})
        glosses.setdefault(normalise_text(cells[1]), set()).update(cells[2].split("|"))
    return senses


def cldr_dictionary(folder: Path, language: str) -> Senses:
    """Return the short names of characters as a dictionary into English."""
    english, senses = read_annotations(folder, ENGLISH), Senses()
    for character, annotation in read_annotations(folder, language).items():
        if character in english:
            senses.setdefault(normalise_text(annotation.name), set()).add(english[character].name)
    return senses


def merged(dictionaries: Iterable[Senses]) -> Senses:
    """Return one dictionary with every gloss of all."""
    senses: Senses = {}
    for dictionary in dictionaries:
        for word, glosses in dictionary.items():
            senses.setdefault(word, set()).update(glosses)
    return senses


def compare(lexicon: Lexicon, language: str, senses: Senses) -> Iterator[Comparison]:
    """Yield the product types whose usual name is a dictionary word, and whether a gloss is one of our English names.

    Singular and plural count as the same word.
    """
    vocabulary, english = lexicon.vocabularies[language], lexicon.vocabularies[ENGLISH]
    for name in lexicon.types:
        local_name, ours = vocabulary[f"type:{name}"].name, english[f"type:{name}"].forms()
        glosses = senses.get(normalise_text(local_name))
        if glosses:
            agrees = bool({singular(gloss) for gloss in glosses} & {singular(form) for form in ours})
            yield Comparison(language, name, local_name, ours[0], tuple(sorted(glosses)), agrees)


def singular(word: str) -> str:
    """Return a form that is the same for an English singular and its regular plural."""
    key = normalise_text(word).replace("-", "")
    if key.endswith("ies") and len(key) > 4:
        return f"{key[:-3]}y"
    if key.endswith(("ches", "shes", "sses", "xes")):
        return key[:-2]
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key


@dataclass(frozen=True)
class Agreement:
    """How many of a language's comparable names agree: single English words, and all."""

    single: int
    single_agree: int
    every: int
    every_agree: int

    @property
    def share(self) -> float:
        """Share of single-word names that agree."""
        return self.single_agree / max(self.single, 1)


def summarise(comparisons: Iterable[Comparison]) -> dict[str, Agreement]:
    """Count by language."""
    by_language: dict[str, list[Comparison]] = {}
    for row in comparisons:
        by_language.setdefault(row.language, []).append(row)
    return {
        language: Agreement(
            single=sum(row.single for row in rows),
            single_agree=sum(row.single and row.agrees for row in rows),
            every=len(rows),
            every_agree=sum(row.agrees for row in rows),
        )
        for language, rows in by_language.items()
    }


def dictionaries(languages: Iterable[str], dictionary: Path | None, cldr: Path | None) -> Mapping[str, Senses]:
    """Return one merged dictionary a language.

    Raises
    ------
    LiraError
        If neither source is given.
    """
    if dictionary is None and cldr is None:
        raise LiraError("nothing to compare with: give --lexicon FILE, --cldr DIR or both")
    table = read_dictionary(dictionary) if dictionary else {}
    return {
        language: merged([table.get(language, {}), cldr_dictionary(cldr, language) if cldr else {}])
        for language in languages
    }


def disagreement_lines(comparisons: Iterable[Comparison]) -> Iterator[str]:
    """Yield the lines of a table of the names that do not agree."""
    yield "language\ttype\tname\tenglish\tdictionary\tsingle"
    for row in comparisons:
        if not row.agrees:
            cells = (
                row.language,
                row.type,
                row.name,
                row.english,
                "|".join(row.glosses),
                "yes" if row.single else "no",
            )
            yield "\t".join(cells)
