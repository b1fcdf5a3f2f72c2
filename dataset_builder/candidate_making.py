"""Make the candidates file of a corpus: translate its queries and score the candidates; a stopped run goes on."""

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from modeling_lira import agents, backbones
from modeling_lira.agents.batching import digest
from modeling_lira.agents.calibration import Calibration
from modeling_lira.agents.candidate import Candidate, Critic, Translator
from modeling_lira.agents.store import CandidateStore, key_of

from .candidate_source import CandidateKey, read_candidates, write_candidates
from .generator.queries import Query

logger = logging.getLogger(__name__)

TRANSLATOR, CRITIC = "pypi:gemma-3-270m", "pypi:multilingual-e5-small"
GRADES = Path(__file__).parent / "candidates" / "grades.tsv"
CALIBRATION = "calibration.json"
"""Stands beside a candidates file: the quantiles by which its scores, and those of candidates to come, are made."""
ORDER = ("test", "validation", "train")
"""A run that is stopped early has what is measured on first."""
PORTION = 128
"""Texts of a language translated before the next ones of all languages: a stopped run has as many of each."""
Made = dict[CandidateKey, list[Candidate]]


def make_candidates(
    queries: Iterable[Query],
    store: CandidateStore,
    output: Path,
    translator: Translator,
    critic: Critic,
    earlier: Path,
    translate: bool = True,
) -> None:
    """Translate queries a split at a time, and write the file with all scored candidates after each split.

    Parameters
    ----------
    queries : iterable of Query
        Those whose candidates the file shall hold; of equal texts one is translated.
    store : CandidateStore
        Keeps every finished batch, so that a stopped run goes on and a text is never translated twice.
    output : Path
        The compressed file, see `read_candidates`.
    translator : Translator
    critic : Critic
        Scores every candidate, by the calibration that stands beside `earlier`, or else by one fitted to all of them;
        a score is comparable with those of the same language and calibration only.
    earlier : Path
        A candidates file whose texts keep their candidates, and are only scored.
    translate : bool
        Otherwise only what the store and `earlier` have is scored and written.
    """
    splits = _texts_of_splits(queries)
    known = read_candidates(earlier)
    made: Made = {key: _unscored(known[key]) for keys in splits.values() for key in keys if key in known}
    logger.info("%d of %d texts keep their candidates", len(made), sum(map(len, splits.values())))
    made |= finished(translator, [key for keys in splits.values() for key in keys if key not in made], store)
    calibration = _calibration_beside(earlier)
    for split, keys in splits.items():
        todo = [key for key in keys if key not in made] if translate else []
        logger.info("%s: %d texts to translate", split, len(todo))
        for keys_at_once in _portions(todo):
            languages, texts = zip(*keys_at_once, strict=True)
            made |= _filled(keys_at_once, agents.translate(translator, texts, languages, store))
        write_scored(made, store, output, critic, calibration)


def finished(translator: Translator, keys: Sequence[CandidateKey], store: CandidateStore) -> Made:
    """Return the candidates that a store has already."""
    settings = store.describe(translator.settings)
    values = [store.get(key_of(text, language, translator.name, settings)) or () for language, text in keys]
    return _filled(keys, [[Candidate(str(text), translator.name) for text in value] for value in values])


def write_scored(
    made: Mapping[CandidateKey, list[Candidate]],
    store: CandidateStore,
    output: Path,
    critic: Critic,
    calibration: Calibration | None,
) -> None:
    """Score all candidates of all texts, and write them and what they are calibrated by, for files to come."""
    texts, languages = [text for _, text in made], [language for language, _ in made]
    scored, used = agents.critique(critic, texts, list(made.values()), languages, store, calibration)
    write_candidates(dict(zip(made, scored, strict=True)), output)
    used.save(output.with_name(CALIBRATION))
    logger.info("%s: candidates of %d queries", output, len(made))


def _calibration_beside(earlier: Path) -> Calibration | None:
    """Return what an earlier file is calibrated by: more candidates then leave the scores of its own as they are."""
    path = earlier.with_name(CALIBRATION)
    return Calibration.load(path) if path.is_file() else None


def offline_agents(threads: int | None) -> tuple[Translator, Critic]:
    """Return the translator and the critic of the committed file, which run offline."""
    import torch

    from modeling_lira.backbones.text_encoder import TextEncoder

    if threads is not None:
        torch.set_num_threads(threads)
    model, tokenizer = backbones.load_translation_model(TRANSLATOR, dtype=torch.bfloat16)
    translator = agents.CausalLMTranslator(model, tokenizer, name=TRANSLATOR)
    return translator, agents.EncoderCritic(TextEncoder(CRITIC, dtype=torch.bfloat16), name=CRITIC)


def _texts_of_splits(queries: Iterable[Query]) -> dict[str, list[CandidateKey]]:
    """Return each split's different texts in order of language; one that an earlier split has is left out."""
    ordered = sorted(queries, key=lambda query: ORDER.index(query.split))
    first = {(query.language, query.text): query.split for query in reversed(ordered)}
    keys = sorted(first, key=lambda key: ORDER.index(first[key]))
    return {split: sorted(group) for split, group in groupby(keys, key=first.__getitem__)}


def _portions(keys: Sequence[CandidateKey]) -> Iterator[list[CandidateKey]]:
    """Yield portions with as many texts of every language, at random but always the same."""
    of_language: dict[str, list[CandidateKey]] = {}
    for key in sorted(keys, key=lambda key: digest(*key)):
        of_language.setdefault(key[0], []).append(key)
    for start in range(0, max(map(len, of_language.values()), default=0), PORTION):
        yield [key for several in of_language.values() for key in several[start : start + PORTION]]


def _filled(keys: Sequence[CandidateKey], several: Sequence[list[Candidate]]) -> Made:
    return {key: candidates for key, candidates in zip(keys, several, strict=True) if candidates}


def _unscored(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [Candidate(candidate.text, candidate.agent) for candidate in candidates]


def read_grades() -> list[dict[str, str]]:
    """Return the candidates graded by hand from 0 (wrong) to 3 (right), the critic's design set and its confirmation.

    A language model with good knowledge of the languages graded them without seeing any score, not native speakers.
    """
    with GRADES.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
