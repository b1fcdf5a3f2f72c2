"""Run an agent on many texts and keep every finished batch in a store, so that an interrupted run can be continued."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import NoReturn, TypeVar

from tqdm import tqdm

from ..faces.progress import Progress
from .calibration import Calibration
from .candidate import Candidate, Critic, NoAnswerError, Scores, Translator
from .store import CandidateStore, Record, Value
from .text import check_texts

logger = logging.getLogger(__name__)

ENOUGH_PAIRS = 100
"""Pairs of one language below which a calibration is warned of as too coarse."""
T = TypeVar("T")


def translate(
    translator: Translator,
    texts: Sequence[str],
    languages: Sequence[str],
    store: CandidateStore | None = None,
    progress: bool = True,
) -> list[list[Candidate]]:
    """Translate the texts that are not in the store yet, and return the candidates of all texts.

    Parameters
    ----------
    translator : Translator
    texts, languages : sequences of str
        Repeated texts are translated once.
    store : CandidateStore, optional
        Keeps finished work; without one nothing is kept.
    progress : bool
        Show a bar if stderr is a terminal.

    Returns
    -------
    list of lists of Candidate, in the order of `texts`
        Empty for a text without a valid answer; another run asks for it again.

    Raises
    ------
    LiraError
        If a text is empty or a language unknown, before any work; or as `translator.translate`.
    """
    if store is None:
        with _passing_store() as passing:
            return translate(translator, texts, languages, passing, progress)
    check_texts(texts, languages)
    settings = store.describe(translator.settings)
    records = [
        Record(text, language, translator.name, settings, ()) for text, language in zip(texts, languages, strict=True)
    ]
    todo = store.missing([record.key for record in records])
    work = translator.translate([texts[index] for index in todo], [languages[index] for index in todo])
    with _bar(len(records), len(records) - len(todo), "translate", progress) as bar:
        for batch in _unless_all_are_missing(work, any_done=any(record.key in store for record in records)):
            store.put(replace(records[todo[position]], value=tuple(several)) for position, several in batch)
            bar.update(len(batch))
    stored = [store.get(record.key) or () for record in records]
    return [[Candidate(str(text), translator.name) for text in value] for value in stored]


def measure_all(
    critic: Critic,
    texts: Sequence[str],
    candidates: Sequence[str],
    languages: Sequence[str],
    store: CandidateStore,
    progress: bool = True,
) -> list[Scores | None]:
    """Measure the pairs that are not in the store yet, and return the measurements of all pairs.

    Parameters
    ----------
    critic : Critic
    texts, candidates, languages : sequences of str
        The pairs; repeated ones are measured once.
    store : CandidateStore
    progress : bool
        Show a bar if stderr is a terminal.

    Returns
    -------
    list of (float, float, float) or None, in the order of the pairs
        None for a pair without a valid answer; another run asks for it again.

    Raises
    ------
    LiraError
        If a text is empty or a language unknown, before any work; or as `critic.measure`.
    """
    check_texts(texts, languages)
    settings = store.describe(critic.settings)
    records = [
        Record(text, language, critic.name, settings, (), candidate)
        for text, language, candidate in zip(texts, languages, candidates, strict=True)
    ]
    todo = store.missing([record.key for record in records])
    work = critic.measure(_take(texts, todo), _take(candidates, todo), _take(languages, todo))
    with _bar(len(records), len(records) - len(todo), "critique", progress) as bar:
        for batch in _unless_all_are_missing(work, any_done=any(record.key in store for record in records)):
            store.put(replace(records[todo[position]], value=measured) for position, measured in batch)
            bar.update(len(batch))
    return [_three(store.get(record.key)) for record in records]


def critique(
    critic: Critic,
    texts: Sequence[str],
    candidates: Sequence[Sequence[Candidate]],
    languages: Sequence[str],
    store: CandidateStore | None = None,
    calibration: Calibration | None = None,
    progress: bool = True,
) -> tuple[list[list[Candidate]], Calibration]:
    """Score every candidate of every text in [1, 10].

    The store keeps measurements, from which scores are computed by calibration. Scores of two runs are comparable only
    if both use one calibration.

    Parameters
    ----------
    critic : Critic
    texts, languages : sequences of str
    candidates : sequence of sequences of Candidate
        The candidates of each text.
    store : CandidateStore, optional
        Keeps measurements; without one nothing is kept.
    calibration : Calibration, optional
        Of a critic that needs one; by default it is fitted to the measurements of these pairs.
    progress : bool
        Show a bar if stderr is a terminal.

    Returns
    -------
    tuple of list of lists of Candidate, and Calibration
        The candidates with their scores, None where a pair has no valid answer; and the calibration that was used.

    Raises
    ------
    LiraError
        If a text or a candidate is empty, or a language is unknown or not in the calibration; or as `critic.measure`.
    """
    if store is None:
        with _passing_store() as passing:
            return critique(critic, texts, candidates, languages, passing, calibration, progress)
    flat = [(row, candidate) for row, several in enumerate(candidates) for candidate in several]
    owners = [row for row, _ in flat]
    spoken = _take(languages, owners)
    measured = measure_all(critic, _take(texts, owners), [c.text for _, c in flat], spoken, store, progress)
    known = [pair for pair, three in enumerate(measured) if three is not None]
    used = calibration
    if used is None:
        used = Calibration.fit([three for three in measured if three is not None], _take(spoken, known))
    if calibration is None and critic.needs_calibration:
        _warn_of_few(Counter(spoken))
    scored: list[list[Candidate]] = [[] for _ in texts]
    for (row, candidate), three, language in zip(flat, measured, spoken, strict=True):
        if three is not None and critic.needs_calibration:
            three = used.rate(three, language)
        semantic, emotional, pragmatic = three or (None, None, None)
        scored[row].append(replace(candidate, semantic=semantic, emotional=emotional, pragmatic=pragmatic))
    return scored, used


@contextmanager
def _passing_store() -> Iterator[CandidateStore]:
    """Yield a store that is deleted afterwards."""
    with TemporaryDirectory() as folder, CandidateStore(folder) as store:
        yield store


def _unless_all_are_missing(work: Iterator[T], *, any_done: bool) -> Iterator[T]:
    """Yield the batches of `work`; that none has a valid answer is only a warning if earlier runs had some."""
    try:
        yield from work
    except NoAnswerError as error:
        if not any_done:
            raise
        logger.warning("%s", error)


def _warn_of_few(pairs: Counter[str]) -> None:
    few = [f"{count} of {language}" for language, count in pairs.items() if count < ENOUGH_PAIRS]
    if few:
        logger.warning(
            "calibrated on few pairs (%s): their scores are little more than their order; "
            "use a calibration made on at least %d a language",
            ", ".join(few),
            ENOUGH_PAIRS,
        )


def _bar(total: int, done: int, what: str, progress: bool) -> "tqdm[NoReturn]":
    if done:
        logger.info("%s: %d of %d are in the store already", what, done, total)
    if not progress:
        return tqdm(disable=True)
    return Progress(total=total, initial=done, desc=what, unit="text")


def _take(items: Sequence[T], positions: Sequence[int]) -> list[T]:
    return [items[position] for position in positions]


def _three(value: Value | None) -> Scores | None:
    if value is None:
        return None
    assert len(value) == 3
    semantic, emotional, pragmatic = (None if score is None else float(score) for score in value)
    return semantic, emotional, pragmatic
