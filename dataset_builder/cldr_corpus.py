"""Build a corpus from Unicode CLDR: the names of characters are documents, their keywords queries."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modeling_lira.errors import LiraError
from modeling_lira.faces.progress import Progress

from .candidate_source import CANDIDATES_FILE, CandidateSource
from .card import write_card
from .cldr import Annotation, annotations_path, read_annotations
from .judged import CatalogueItem, JudgedQuery, split_of_text, without_empty_splits, write_judged
from .layout import SPLITS
from .lexicon import ENGLISH, LANGUAGES, load_lexicon, normalise_text
from .staging import staged

SHARED_KEYWORDS = 2
MOST_OWNERS = 25
"""A keyword of more characters than this is a category, not a name."""


def build_cldr_corpus(
    folder: Path,
    annotations: Path,
    languages: Sequence[str] = LANGUAGES,
    seed: int = 0,
    candidates: Path = CANDIDATES_FILE,
) -> None:
    """Build a corpus folder from CLDR annotations.

    Parameters
    ----------
    folder : Path
        New, empty, or an earlier corpus, which is replaced in the end.
    annotations : Path
        Holds a folder for English and for each language; see `read_annotations`.
    languages : sequence of str
    seed : int
    candidates : Path
        Compressed candidates to join to the queries; other queries get the gloss.

    Raises
    ------
    LiraError
        If a language's file is missing, is not a CLDR annotations file, or has no keywords.
    """
    english = read_annotations(annotations, ENGLISH)
    tables = {language: read_annotations(annotations, language) for language in languages}
    empty = [language for language, table in tables.items() if not keyword_owners(table)]
    if empty:
        raise LiraError(f"{annotations_path(annotations, empty[0])} has no keyword to ask for")
    source = CandidateSource(load_lexicon(languages=tuple(languages)), candidates)
    with staged(folder, {"annotations": str(annotations), "seed": seed}) as stage:
        for language, table in Progress(tables.items(), desc="corpus", unit="language"):
            items = [
                CatalogueItem(item_id(language, character), row.name, english[character].name)
                for character, row in table.items()
                if character in english
            ]
            queries = judge(language, {key: row for key, row in table.items() if key in english}, seed)
            write_judged(stage.folder, language, items, without_empty_splits(queries), source, seed)
        write_card(stage.folder, "cldr", {"seed": seed}, (ENGLISH,))


def item_id(language: str, character: str) -> str:
    """Return a character's id: its code points in hexadecimal."""
    return f"{language}-{'-'.join(f'{ord(char):x}' for char in character)}"


def keyword_owners(table: Mapping[str, Annotation]) -> dict[str, tuple[str, list[str]]]:
    """Return each keyword's first spelling and characters, by normalised text; a keyword that is a name is left out."""
    names = {normalise_text(row.name) for row in table.values()}
    owners: dict[str, tuple[str, list[str]]] = {}
    for character, row in table.items():
        for keyword in dict.fromkeys(row.keywords):
            key = normalise_text(keyword)
            if key and key not in names:
                characters = owners.setdefault(key, (keyword, []))[1]
                if character not in characters:
                    characters.append(character)
    return {key: characters for key, characters in owners.items() if len(characters[1]) <= MOST_OWNERS}


def judge(language: str, table: Mapping[str, Annotation], seed: int) -> dict[str, list[JudgedQuery]]:
    """Return the keywords by split; their characters have grade 3, those sharing other keywords with these 1."""
    owners = keyword_owners(table)
    keywords = {character: {normalise_text(word) for word in row.keywords} for character, row in table.items()}
    judged: dict[str, list[JudgedQuery]] = {split: [] for split in SPLITS}
    for key, (keyword, characters) in owners.items():
        grades = {item_id(language, character): 3 for character in characters}
        for character in characters:
            for other in _related(character, key, owners, keywords):
                grades.setdefault(item_id(language, other), 1)
        judged[split_of_text(key, language, seed)].append(JudgedQuery(keyword, "keyword", "mid", grades))
    return judged


def _related(
    character: str, key: str, owners: Mapping[str, tuple[str, list[str]]], keywords: Mapping[str, set[str]]
) -> list[str]:
    """Return the characters that share at least two keywords other than `key`."""
    its_keywords = keywords[character] - {key}
    others = {other for word in its_keywords if word in owners for other in owners[word][1]} - {character}
    return sorted(other for other in others if len(its_keywords & keywords[other]) >= SHARED_KEYWORDS)
