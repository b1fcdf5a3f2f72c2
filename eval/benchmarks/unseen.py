"""Text that no model here was trained on: XQuAD's questions and Unicode's names, from folders that the user has."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as ShownTable
from torch import Tensor

from dataset_builder.cldr import annotations_path, read_annotations
from modeling_lira.agents.candidate import Candidate
from modeling_lira.agents.tables import Table as CandidateTable
from modeling_lira.data.corpus import ENGLISH, NO_SCORES, RetrievalSplit, Texts
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.comparison import (
    LIRA,
    LIRA_FREE,
    TRANSLATE,
    Embedder,
    check_finite,
    encoder_alone,
    translate_then_encode,
)
from modeling_lira.evaluation.embedded import embed_split
from modeling_lira.evaluation.scoring import encoder_name
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.command_line import shown, shown_all
from modeling_lira.records.provenance import digest_of, identities
from modeling_lira.records.saved_model import load_model

from ..markdown import scaled
from ..options import RECORDS
from ..record import Meter, weights_of
from ..significance import MEAN, Difference, correct, difference_cell, paired_differences
from .other_models import embedder

XQUAD, CLDR = "XQuAD", "CLDR"
SAMPLES = 2_000
"""Draws of the bootstrap and the randomisation: thousands of queries a language, and runs that should cost seconds."""
Translations = Mapping[tuple[str, str], Sequence[Candidate]]
"""Candidates by (language, text)."""
console = PlainConsole(width=150)


@dataclass(frozen=True)
class Row:
    """One row of the table: how it embeds a split, and whether it is given the queries' translations."""

    name: str
    embed: Embedder
    with_candidates: bool


# ---------------------------------------------------------------- what the folders hold


def read_candidates(path: Path) -> dict[tuple[str, str], list[Candidate]]:
    """Read candidates as `lira critique` writes them, by language and text.

    Raises
    ------
    LiraError
        No such file, or one of another form.
    """
    table = CandidateTable.read(path)
    keys = zip(table.languages(None, "another file"), table.strings("text", "another file"), strict=True)
    return dict(zip(keys, table.candidates(), strict=True))


def xquad_splits(
    folder: Path, languages: Iterable[str], translations: Translations | None = None
) -> list[RetrievalSplit]:
    """Return XQuAD as retrieval: a question in each language, and in English, against all English paragraphs.

    Parameters
    ----------
    folder : Path
        Holds `xquad.en.json` and `xquad.<language>.json`, as the authors publish them.
    languages : iterable of str
        Those without a file are left out.
    translations : mapping, optional
        English candidates of the questions.

    Raises
    ------
    LiraError
        A file that is missing or of another form; translations of other texts only.

    Source: Artetxe et al. (2020).
    """
    paragraphs, answers = _english_paragraphs(folder)
    codes = [code for code in languages if code != ENGLISH and _xquad_file(folder, code).is_file()]
    if not codes:
        raise LiraError(f"{folder} has no xquad.<language>.json of a language that the model knows")
    splits = []
    for code in [*codes, ENGLISH]:
        asked = _questions(_xquad_file(folder, code))
        unknown = next((name for name, _ in asked if name not in answers), None)
        if unknown is not None:
            raise LiraError(f"{_xquad_file(folder, code)}: question {unknown!r} is not in the English file")
        names = [name for name, _ in asked]
        queries = query_texts(code, [text for _, text in asked], translations or {})
        splits.append(parallel_split(code, queries, paragraphs, [answers[name] for name in names], "question", names))
    if translations and not any(any(split.queries.candidates) for split in splits[:-1]):
        raise LiraError("the candidates are not of XQuAD's questions: translate these very texts")
    return splits


def cldr_splits(folder: Path, languages: Iterable[str]) -> list[RetrievalSplit]:
    """Return CLDR's annotations as retrieval: the keywords of a thing in each language against all English names.

    Parameters
    ----------
    folder : Path
        The `annotations` folder of cldr-annotations-full, or the one around it.
    languages : iterable of str
        Those without a file are left out.

    Raises
    ------
    LiraError
        A file that is missing or of another form.
    """
    names = {character: annotation.name for character, annotation in read_annotations(folder, ENGLISH).items()}
    rows = {character: row for row, character in enumerate(names)}
    splits = []
    for code in languages:
        if code == ENGLISH or not annotations_path(folder, code).is_file():
            continue
        keywords = {
            character: " ".join(annotation.keywords)
            for character, annotation in read_annotations(folder, code).items()
            if annotation.keywords and character in rows
        }
        queries = query_texts(code, list(keywords.values()), {})
        answers = [rows[character] for character in keywords]
        splits.append(parallel_split(code, queries, list(names.values()), answers, "keywords", list(keywords)))
    if not splits:
        raise LiraError(f"{folder} has no annotations of a language that the model knows")
    return splits


def parallel_split(
    language: str, queries: Texts, documents: list[str], answers: Sequence[int], kind: str, ids: list[str]
) -> RetrievalSplit:
    """Return a split of English documents, each query with one answer and an id that it has in every language."""
    count = len(queries)
    return RetrievalSplit(
        language=language,
        queries=queries,
        kinds=[kind] * count,
        unseen_type=[True] * count,
        document_ids=[str(row) for row in range(len(documents))],
        titles=documents,
        english_titles=documents,
        gains=[{row: 1} for row in answers],
        hard_negatives=[[] for _ in range(count)],
        query_ids=ids,
    )


def query_texts(language: str, texts: list[str], translations: Translations) -> Texts:
    """Return queries with their candidates; an English text is its own translation."""
    if language == ENGLISH:
        return Texts(texts, [language] * len(texts), [[text] for text in texts], [[NO_SCORES]] * len(texts))
    rows = [translations.get((language, text), ()) for text in texts]
    return Texts(
        texts,
        [language] * len(texts),
        [[candidate.text for candidate in row] for row in rows],
        [[_scores(candidate) for candidate in row] for row in rows],
    )


def _scores(candidate: Candidate) -> tuple[float, float, float]:
    three = candidate.semantic, candidate.emotional, candidate.pragmatic
    semantic, emotional, pragmatic = (float("nan") if score is None else float(score) for score in three)
    return semantic, emotional, pragmatic


def _xquad_file(folder: Path, language: str) -> Path:
    return folder / f"xquad.{language}.json"


def _english_paragraphs(folder: Path) -> tuple[list[str], dict[str, int]]:
    """Return the paragraphs, and the place of each question's among them."""
    paragraphs: list[str] = []
    answers: dict[str, int] = {}
    for text, questions in _paragraphs(_xquad_file(folder, ENGLISH)):
        answers |= dict.fromkeys((name for name, _ in questions), len(paragraphs))
        paragraphs.append(text)
    return paragraphs, answers


def _questions(path: Path) -> list[tuple[str, str]]:
    return [question for _, questions in _paragraphs(path) for question in questions]


def _paragraphs(path: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each paragraph with its questions, (id, text), of a file in SQuAD's form."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        return [
            (str(paragraph["context"]), [(str(row["id"]), str(row["question"])) for row in paragraph["qas"]])
            for article in articles
            for paragraph in article["paragraphs"]
        ]
    except FileNotFoundError:
        raise LiraError(f"{path} does not exist: give the folder with XQuAD's files") from None
    except (ValueError, KeyError, TypeError) as error:
        raise LiraError(f"{path} is not in SQuAD's form ({type(error).__name__}: {error})") from error


# ---------------------------------------------------------------- measuring


def unseen_tables(
    model: LiraModel,
    cache: StreamCache,
    xquad: Path | None = None,
    cldr: Path | None = None,
    candidates: Path | None = None,
    languages: Sequence[str] | None = None,
) -> dict[str, list[SplitTables]]:
    """Read the folders that are given and cache every text's streams; a model on the same backbones finds them there.

    Parameters
    ----------
    model : LiraModel
    cache : StreamCache
    xquad, cldr : Path, optional
    candidates : Path, optional
        Of XQuAD's questions, as `lira critique` writes them.
    languages : sequence of str, optional
        By default all that the model knows and the folders have.

    Returns
    -------
    dict of lists of SplitTables, by the set's name

    Raises
    ------
    LiraError
        No folder, one that cannot be read, a language that the model does not know.
    """
    known = model.processor.languages
    missing = [code for code in languages or () if code not in known]
    if missing:
        raise LiraError(f"the model does not know language {missing[0]!r}, only {', '.join(known)}")
    if xquad is None and cldr is None:
        raise LiraError("nothing to search: give the folder of XQuAD, of CLDR or both")
    codes, sets = languages or known, {}
    if xquad is not None:
        sets[XQUAD] = xquad_splits(xquad, codes, None if candidates is None else read_candidates(candidates))
    if cldr is not None:
        sets[CLDR] = cldr_splits(cldr, codes)
    return {name: [cache_split(model, cache, split) for split in splits] for name, splits in sets.items()}


def measure_unseen(
    model: LiraModel, sets: Mapping[str, Sequence[SplitTables]], rivals: Sequence[Row] = (), samples: int = SAMPLES
) -> dict[str, Any]:
    """Score a model and its rivals on every set.

    Parameters
    ----------
    model : LiraModel
    sets : mapping of sequences of SplitTables
        Of `unseen_tables`.
    rivals : sequence of Row
        Beside the multilingual encoder alone and translate-then-encode.
    samples : int
        Draws of the bootstrap and the randomisation.

    Returns
    -------
    dict by set: `documents`, `queries` and `with_candidates` by language, `ndcg@10` by system and language,
    `gap_to_english` by system, and `differences` by comparison and language, corrected for the number of them all.
    "mean" is that of the languages without English.

    Raises
    ------
    LiraError
        A system whose embeddings are not finite.
    """
    embed = partial(embed_split, model)
    rows = [
        Row(encoder_name([model]), encoder_alone, False),
        Row(TRANSLATE, translate_then_encode, True),
        *rivals,
        Row(LIRA, embed, True),
        Row(LIRA_FREE, embed, False),
    ]
    scores = {name: _scores_of(rows, splits) for name, splits in sets.items()}
    questions = {name: {tables.split.language: tables.split.questions for tables in sets[name]} for name in sets}
    differences = correct(
        {
            (name, f"{first} against {second}", language): difference
            for name, systems in scores.items()
            for first, second in _pairs(rows, systems)
            for language, difference in _compared(systems[first], systems[second], questions[name], samples).items()
        }
    )
    return {name: _summary(splits, scores[name], name, differences) for name, splits in sets.items()}


Scores = dict[str, dict[str, Tensor]]
"""Per-query nDCG@10 [Q] by system and language."""


def _scores_of(rows: Sequence[Row], splits: Sequence[SplitTables]) -> Scores:
    scores: Scores = {}
    for tables in splits:
        language, embedded = tables.split.language, {}
        for row in rows:
            if row.with_candidates and not tables.queries.has_english.any():
                continue
            if row.embed not in embedded:
                embedded[row.embed] = check_finite(row.embed(tables), row.name)
            given = row.with_candidates or language == ENGLISH  # an English text is always its own translation
            scores.setdefault(row.name, {})[language] = embedded[row.embed].ndcg(with_candidates=given)
    return scores


def _pairs(rows: Sequence[Row], scores: Scores) -> list[tuple[str, str]]:
    """Return what is compared: LiRA with every other row, and without translations with those that have none either."""
    given = {row.name: row.with_candidates for row in rows}
    others = [row.name for row in rows if row.name not in (LIRA, LIRA_FREE)]
    pairs = [(LIRA, other) for other in [*others, LIRA_FREE]]
    pairs += [(LIRA_FREE, other) for other in others if not given[other]]
    return [pair for pair in pairs if all(set(scores.get(name, ())) - {ENGLISH} for name in pair)]


def _compared(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], questions: Mapping[str, Sequence[str]], samples: int
) -> dict[str, Difference]:
    shared = [language for language in first if language in second and language != ENGLISH]
    left, right = ({language: side[language] for language in shared} for side in (first, second))
    return paired_differences(left, right, samples, questions=questions)


def _summary(
    splits: Sequence[SplitTables],
    scores: Scores,
    name: str,
    differences: Mapping[tuple[str, str, str], Difference],
) -> dict[str, Any]:
    means = {
        system: {language: float(values.mean()) for language, values in languages.items()}
        for system, languages in scores.items()
    }
    for values in means.values():
        if others := [value for language, value in values.items() if language != ENGLISH]:
            values[MEAN] = float(np.mean(others))
    compared: dict[str, dict[str, Any]] = {}
    for (measured, pair, language), difference in differences.items():
        if measured == name:
            compared.setdefault(pair, {})[language] = asdict(difference)
    return {
        "documents": len(splits[0].split.titles),
        "queries": {tables.split.language: len(tables.split.queries) for tables in splits},
        "with_candidates": {tables.split.language: int(tables.queries.has_english.sum()) for tables in splits},
        "ndcg@10": means,
        "gap_to_english": {
            system: values[ENGLISH] - values[MEAN] for system, values in means.items() if {ENGLISH, MEAN} <= set(values)
        },
        "differences": compared,
    }


# ---------------------------------------------------------------- the command


def run_unseen(
    model: str,
    streams: Path,
    xquad: Path | None = None,
    cldr: Path | None = None,
    candidates: Path | None = None,
    languages: Sequence[str] | None = None,
    records: Path = RECORDS,
    backbones: tuple[str | None, str | None] = (None, None),
    baselines: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a saved model, print the tables and write the record "generalisation"; errors as in `unseen_tables`."""
    meter = Meter("generalisation")
    loaded = load_model(model, *backbones)
    rivals = [Row(shown(name), embedder(name), False) for name in baselines]
    sets = unseen_tables(loaded, StreamCache(streams), xquad, cldr, candidates, languages)
    results = measure_unseen(loaded, sets, rivals)
    payload = {"model": shown(model), "weights": [weights_of(model)], "sets": results}
    weights = identities([model, *baselines])
    subject = {"weights": weights, "backbones": shown_all(backbones), "texts": _texts_digest(sets)}
    path = meter.record(payload, **subject).write(records)
    for name, result in results.items():
        for table in tables_of(name, result):
            console.print(table)
    console.print(f"numbers: {path}", highlight=False)
    return results


def _texts_digest(sets: Mapping[str, Sequence[SplitTables]]) -> str:
    """Return a digest of what is searched and asked, translations included."""
    parts = [tables.split for splits in sets.values() for tables in splits]
    return digest_of([[split.language, split.titles, split.queries.texts, split.queries.candidates] for split in parts])


def tables_of(name: str, result: Mapping[str, Any]) -> list[ShownTable]:
    """Return the printed tables of one set: scores, and differences with intervals."""
    languages = [*result["queries"], MEAN]
    scores = ShownTable("system", title=f"{name}: nDCG@10 x 100, {result['documents']:,} English documents")
    gains = ShownTable("difference", title="with paired 95% intervals; * at 5% after Holm's correction")
    for table in (scores, gains):
        table.title_justify = "left"
        for language in languages:
            table.add_column(language, justify="right")
    for system, values in result["ndcg@10"].items():
        scores.add_row(system, *(scaled(values.get(language)) for language in languages))
    for pair, values in result["differences"].items():
        gains.add_row(pair, *(difference_cell(values.get(language)) for language in languages))
    return [scores, gains]
