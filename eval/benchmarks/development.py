"""Text unlike the corpus by which settings are chosen, so that they are not chosen on the text that is reported.

The names are Unicode's of countries, languages and currencies (CLDR's locale data; what is reported searches CLDR's
annotations), the questions those of the reasoning corpus that are never tested.
"""

from collections.abc import Sequence

from babel import Locale

from dataset_builder.shopping_questions import SPLITS, Question, questions
from modeling_lira.data.corpus import ENGLISH, RetrievalSplit

from .unseen import parallel_split, query_texts

NAMES, QUESTIONS = "names", "questions"
LISTS = ("territories", "languages", "currencies")


def development_splits(languages: Sequence[str], most: int = 300) -> dict[str, list[RetrievalSplit]]:
    """Return both sets as retrieval: a text in each language, and all English ones to find its own among.

    Parameters
    ----------
    languages : sequence of str
        Of the corpus.
    most : int
        Queries of a set and language, at most.
    """
    asked = list(questions(seed=0, counts={"validation": SPLITS["validation"]}))
    return {
        NAMES: [_names(language, most) for language in languages],
        QUESTIONS: [_questions(asked, language, most) for language in languages],
    }


def _names(language: str, most: int) -> RetrievalSplit:
    """Return names that are written differently in English, evenly drawn."""
    local, english = _names_of(language), _names_of(ENGLISH)
    keys = [key for key, name in local.items() if key in english and name.casefold() != english[key].casefold()]
    return _split(language, {key: local[key] for key in keys[:: -(-len(keys) // most)]}, english, "name")


def _names_of(language: str) -> dict[tuple[str, str], str]:
    locale = Locale.parse(language)
    return {(kind, code): str(name) for kind in LISTS for code, name in getattr(locale, kind).items()}


def _questions(asked: Sequence[Question], language: str, most: int) -> RetrievalSplit:
    local = {row.id: row.question for row in asked if row.language == language}
    english = {row.id: row.english for row in asked if row.language == ENGLISH}
    return _split(language, dict(list(local.items())[:most]), english, "question")


def _split(language: str, local: dict, english: dict, kind: str) -> RetrievalSplit:
    documents = list(dict.fromkeys(english.values()))
    rows = {text: row for row, text in enumerate(documents)}
    answers = [rows[english[key]] for key in local]
    return parallel_split(
        language, query_texts(language, list(local.values()), {}), documents, answers, kind, [str(key) for key in local]
    )
