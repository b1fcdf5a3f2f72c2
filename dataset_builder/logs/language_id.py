"""Identify the languages of a log's queries, offline, from their words, their products' titles and the whole log."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from modeling_lira.data.languages import language_code, letters_of
from modeling_lira.evaluation.bm25 import tokens
from modeling_lira.faces.extras import MissingPackageError

from ..lexicon import LANGUAGES, QUERY_LANGUAGES, load_lexicon
from ..scripts import script_counts

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_VIETNAMESE_LETTERS = frozenset(map(chr, range(0x1EA0, 0x1EFA))) | frozenset("ơưƠƯ")
"""Letters that no other language of the lexicon uses."""
_ASSAMESE_LETTERS = frozenset("ৰৱ")
"""Letters of Assamese; Bengali writes র and ব in their place."""
_FLOOR = -6.0
"""Lower bound of the identifier's log probability: it is overconfident on short texts."""
_UNSEEN = 0.05
"""Count that a word gets in a language whose lexicon lacks it."""
_TITLE_WEIGHT = 0.5
_ROUNDS = 30
_RAREST = 1e-4
Text = tuple[str, Sequence[str]]
"""A query and the titles of products that it was shown."""


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> "LanguageIdentifier":
    """Return the identifier of some of the languages that it knows, or of all of them for none."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError:
        raise MissingPackageError("telling languages", ["py3langid"]) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if languages:
        theirs = {language_code(label): label for label in reversed(identifier.labels)}
        identifier.set_languages([theirs[code] for code in languages])
    return identifier


@lru_cache(maxsize=8)
def _word_scores(languages: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return how likely each word of the lexicon is in each language, as logarithms: [L] each.

    In a language that has no lexicon every word is as likely as one that a lexicon of usual size lacks.
    """
    lexicon = load_lexicon(languages=LANGUAGES)
    counts = []
    for language in languages:
        rows = lexicon.vocabularies[language].rows() if language in lexicon.vocabularies else ()
        forms = (form for _, entry in rows for form in (*entry.forms(), *entry.forms(romanised=True)))
        counts.append(Counter(word for form in forms for word in tokens(form, "")))
    sizes = np.array([count.total() for count in counts])
    totals = np.where(sizes, sizes, np.mean(sizes[sizes > 0]) if sizes.any() else 1.0)
    words = set().union(*counts)
    return {word: np.log((np.array([count[word] for count in counts]) + _UNSEEN) / totals) for word in words}


def tell_languages(
    texts: Sequence[Text], languages: Sequence[str] = QUERY_LANGUAGES, declared: Mapping[str, int] | None = None
) -> list[str | None]:
    """Return the language of each query among those given.

    A script or a letter that only one of the languages has decides. Otherwise each language gets a score from an
    identifier and from the words of the lexicon, both on the query and its titles, plus the logarithm of its share of
    the whole log, so that a language that hardly any other query is in is seldom chosen. Any language may be
    written in Latin letters.

    Parameters
    ----------
    texts : sequence of (query, titles)
    languages : sequence of str
        Possible languages; the fewer, the more reliable is the result.
    declared : mapping of str to int, optional
        Number of other queries of the log by declared language; they count in the shares.

    Returns
    -------
    list of str or None
        None if the query's script or letters belong to none of the languages.

    Source: the shares are estimated by expectation maximisation, as those of a mixture.
    """
    languages = tuple(languages)
    scores = np.array([_scores(query, titles, languages) for query, titles in texts]).reshape(-1, len(languages))
    known = np.array([(declared or {}).get(language, 0) for language in languages], np.float64)
    possible = np.isfinite(scores).any(1)
    shares = np.full(len(languages), 1 / len(languages))
    for _ in range(_ROUNDS):
        votes = np.exp(scores[possible] + np.log(shares) - np.max(scores[possible] + np.log(shares), 1, keepdims=True))
        shares = (votes / votes.sum(1, keepdims=True)).sum(0) + known + _RAREST
        shares /= shares.sum()
    best = np.argmax(np.where(np.isfinite(scores), scores, -np.inf) + np.log(shares), 1)
    return [languages[row] if sure else None for row, sure in zip(best, possible, strict=True)]


def _scores(query: str, titles: Sequence[str], languages: tuple[str, ...]) -> np.ndarray:
    """Return how well each language explains a query with its titles, as logarithms: [L], -inf where it cannot."""
    every = " ".join([query, *titles])
    writing = _writing(query, every, languages)
    scores = np.full(len(languages), -np.inf)
    if not writing:
        return scores
    rows = [languages.index(language) for language in writing]
    scores[rows] = 0.0
    if len(writing) > 1 and any(map(str.isalpha, every)):
        scores[rows] += _identified(every, tuple(writing))
        scores += _lexical(query, languages) + _TITLE_WEIGHT * _lexical(" ".join(titles), languages)
    return scores


def _writing(query: str, every: str, languages: tuple[str, ...]) -> list[str]:
    """Return the languages whose script and letters a query has; for a Latin query those of its titles decide."""
    script = next(iter(dict(script_counts([query]).most_common(1))), "")
    if script in ("", "latin"):
        script = next(iter(dict(script_counts([every]).most_common(1))), "latin")
    if "vi" in languages and _VIETNAMESE_LETTERS & set(query):
        return ["vi"]
    if script == "latin":
        return list(languages)
    if script == "bengali" and _ASSAMESE_LETTERS & set(query):
        return [language for language in languages if language == "as"]
    return [language for language in languages if script in letters_of(language)]


def _identified(text: str, languages: tuple[str, ...]) -> np.ndarray:
    """Return the identifier's log probability of each language.

    One that is seldom written in the text's letters, or that the identifier does not know, gets `_FLOOR`.
    """
    script = next(iter(dict(script_counts([text]).most_common(1))), "latin")
    usual = tuple(language for language in languages if script in letters_of(language))
    scores = np.full(len(languages), _FLOOR)
    if known := known_to_identifier(usual):
        for label, chance in _identifier(known).rank(text):
            scores[languages.index(language_code(label))] = max(_FLOOR, math.log(max(chance, 1e-9)))
    return scores


def known_to_identifier(languages: Sequence[str]) -> tuple[str, ...]:
    """Return those of the languages that the identifier can tell from others in the same letters."""
    known = set(map(language_code, _identifier(()).labels)) if languages else set()
    return tuple(language for language in languages if language in known)


def _lexical(text: str, languages: tuple[str, ...]) -> np.ndarray:
    """Return the sum of the words' log probabilities in each language, [L]; words that no lexicon has are left out."""
    words = _word_scores(languages)
    return np.sum([words[word] for word in tokens(text, "") if word in words], axis=0) + np.zeros(len(languages))
