"""Run MTEB's own evaluation of a saved model: the corpus, folders of unseen text, public tasks by name."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from mteb.abstasks.abstask import AbsTask
from mteb.cache import ResultCache
from mteb.results import TaskResult
from rich.table import Table

from modeling_lira.agents.candidate import Candidate
from modeling_lira.configuration_lira import LANGUAGES
from modeling_lira.data.corpus import RetrievalSplit, corpus_languages, load_split
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.errors import LiraError
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.records.command_line import shown, shown_all
from modeling_lira.records.provenance import digest_of, identities
from modeling_lira.records.saved_model import load_model

from ..options import RECORDS
from ..record import Meter, corpus_version, weights_of
from .mteb_model import LiraEncoder, subsets_spoken
from .mteb_tasks import PUBLIC, corpus_task, splits_task
from .other_models import is_lira, load_sentence_transformer
from .unseen import CLDR, XQUAD, Translations, cldr_splits, read_candidates, xquad_splits

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PRODUCTS, ENGLISH_PRODUCTS = "products", "english-products"
OWN = (PRODUCTS, ENGLISH_PRODUCTS, XQUAD.lower(), CLDR.lower())
SCORES = (
    "main_score",
    "ndcg_at_10",
    "recall_at_100",
    "mrr_at_10",
    "f1",
    "accuracy",
    "cosine_pearson",
    "cosine_spearman",
)
"""What is kept of a task's many scores, where it has them."""
console = PlainConsole(width=150)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Where tasks and translations come from."""

    corpus: str = "runs/corpus"
    xquad: Path | None = None
    cldr: Path | None = None
    candidates: Path | None = None
    translations: bool = True


def run_mteb(
    model: str,
    tasks: Sequence[str],
    sources: Sources,
    streams: Path,
    languages: Sequence[str] | None = None,
    records: Path = RECORDS,
    backbones: tuple[str | None, str | None] = (None, None),
    baselines: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate a saved model on tasks, print a table and write one record a task, `mteb-<task>`.

    Beside the records, in `mteb`, MTEB's own results of the model are kept in the layout of its results repository.

    Parameters
    ----------
    model : str
        Folder or Hub id of a LiRA model, or of any model of sentence-transformers.
    tasks : sequence of str
        Of `OWN`, or any of MTEB, such as `PUBLIC`.
    sources : Sources
    streams : Path
        Cache of the backbones' streams.
    languages : sequence of str, optional
        By default all that the model knows; a public task is run on its subsets of these languages and English.
    records : Path
    backbones : pair of str, optional
        In place of those that the model names.
    baselines : sequence of str
        Folders or Hub ids of models of sentence-transformers, PEFT's too, that run the same tasks.

    Returns
    -------
    dict of scores by task, subset and name

    Raises
    ------
    LiraError
        An unknown task, one whose data cannot be had, a language that the model does not know.
    """
    encoder, known = _encoder(model, backbones, streams)
    rivals = {shown(rival): load_sentence_transformer(rival) for rival in baselines}
    missing = [code for code in languages or () if code not in known]
    if missing:
        raise LiraError(f"the model does not know language {missing[0]!r}, only {', '.join(known)}")
    codes, scores, weights = list(languages or known), {}, [weights_of(model)]
    for name in tasks:
        version = corpus_version(sources.corpus) if name in (PRODUCTS, ENGLISH_PRODUCTS) else None
        subject = {"weights": identities([model, *baselines]), "languages": codes, "backbones": shown_all(backbones)}
        meter = Meter(f"mteb-{name}", corpus=version, subject=subject)
        task, given = _task(name, sources, codes)
        given = given if isinstance(encoder, LiraEncoder) else {}
        scores[name] = _kept_scores(name, task, encoder, given, records)
        payload: dict[str, Any] = {"model": shown(model), "weights": weights, "translations": bool(given), "task": name}
        payload["scores"] = scores[name]
        payload["baselines"] = {rival: _scores(_evaluated(name, task, loaded)) for rival, loaded in rivals.items()}
        texts = digest_of(sorted([*key, *(candidate.text for candidate in row)] for key, row in given.items()))
        path = meter.record(payload, translations=texts).write(records)
        _show({name: scores[name]} | {f"{name}, {rival}": row for rival, row in payload["baselines"].items()}, path)
    return scores


def _show(scores: Mapping[str, dict[str, dict[str, dict[str, float]]]], path: Path) -> None:
    """Print a table for each model, and where the numbers are."""
    for title, reached in scores.items():
        console.print(_table(title, reached))
    console.print(f"numbers: {path}", highlight=False)


def _encoder(
    model: str, backbones: tuple[str | None, str | None], streams: Path
) -> tuple["LiraEncoder | SentenceTransformer", list[str]]:
    """Return a model as MTEB takes it, and the languages that it knows: any model but LiRA is taken to know all."""
    if not is_lira(model):
        if any(backbone is not None for backbone in backbones):
            raise LiraError(f"model {model!r} is no LiRA model: it takes neither --multilingual nor --english")
        return load_sentence_transformer(model), list(LANGUAGES)
    loaded = load_model(model, *backbones)
    encoder = LiraEncoder(loaded, StreamCache(streams), {}, Path(model).name, weights_of(model))
    return encoder, list(loaded.processor.languages)


def _task(name: str, sources: Sources, codes: Sequence[str]) -> tuple[AbsTask, dict[tuple[str, str], list[Candidate]]]:
    """Return a task and the translations of its queries."""
    given = read_candidates(sources.candidates) if sources.candidates and sources.translations else {}
    if name in (PRODUCTS, ENGLISH_PRODUCTS):
        shared = [code for code in codes if code in corpus_languages(sources.corpus)]
        if not shared:
            raise LiraError(f"corpus {sources.corpus!r} has none of the languages {', '.join(codes)}")
        splits = [load_split(sources.corpus, code, "test") for code in shared]
        if sources.translations:
            given |= {key: row for split in splits for key, row in _own_candidates(split).items()}
        if name == PRODUCTS:
            return corpus_task(sources.corpus, shared), given
        return splits_task("EnglishProductRetrieval", "Queries of product search, English titles.", splits), given
    if name == XQUAD.lower():
        if sources.xquad is None:
            raise LiraError("task 'xquad' needs --xquad, the folder with its files")
        return splits_task(
            "XQuADEnglishParagraphs", "Questions, English paragraphs.", xquad_splits(sources.xquad, codes)
        ), given
    if name == CLDR.lower():
        if sources.cldr is None:
            raise LiraError("task 'cldr' needs --cldr, the folder with its annotations")
        return splits_task("CLDRNames", "Keywords of things, English names.", cldr_splits(sources.cldr, codes)), given
    return _public_task(name, codes), given


def _public_task(name: str, codes: Sequence[str]) -> AbsTask:
    try:
        whole = mteb.get_task(name)
    except KeyError as error:
        raise LiraError(
            f"task {name!r} is unknown: use {', '.join((*OWN, *PUBLIC))} or another name of MTEB"
        ) from error
    subsets = subsets_spoken(whole.metadata, codes)
    if not subsets:
        logger.info("%s has nothing in %s: all of it is run, its languages untold", name, ", ".join(codes))
    return mteb.get_task(name, hf_subsets=subsets) if subsets else whole


def _own_candidates(split: RetrievalSplit) -> dict[tuple[str, str], list[Candidate]]:
    texts = split.queries
    return {
        (split.language, text): [
            Candidate(candidate, "corpus", *(None if score != score else score for score in scores))
            for candidate, scores in zip(row, three, strict=True)
        ]
        for text, row, three in zip(texts.texts, texts.candidates, texts.scores, strict=True)
    }


def _kept_scores(
    name: str, task: AbsTask, encoder: "LiraEncoder | SentenceTransformer", given: Translations, records: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Return a model's scores; LiRA gets the translations, and its result is kept in MTEB's own layout."""
    if isinstance(encoder, LiraEncoder):
        encoder.translations = given
    result = _evaluated(name, task, encoder)
    if isinstance(encoder, LiraEncoder):
        ResultCache(records / "mteb").save_to_cache(result, encoder.mteb_model_meta)
    return _scores(result)


def _evaluated(name: str, task: AbsTask, encoder: "LiraEncoder | SentenceTransformer") -> TaskResult:
    """Return MTEB's own result of a task."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        result = mteb.evaluate(
            encoder,
            task,
            cache=None,
            co2_tracker=False,
            show_progress_bar=False,
        )
    except (OSError, DatasetNotFoundError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise LiraError(f"the data of task {name!r} cannot be had: {str(error).splitlines()[0]}") from error
    return result.task_results[0]


def _scores(result: TaskResult) -> dict[str, dict[str, dict[str, float]]]:
    """Return what is kept of the scores, by split and subset."""
    return {
        split: {row["hf_subset"]: {key: float(row[key]) for key in SCORES if key in row} for row in rows}
        for split, rows in result.scores.items()
    }


def _table(name: str, scores: dict[str, dict[str, dict[str, float]]]) -> Table:
    table = Table("split", "subset", title=f"MTEB, {name}, x 100", title_justify="left")
    columns = list(dict.fromkeys(key for rows in scores.values() for values in rows.values() for key in values))
    for column in columns:
        table.add_column(column, justify="right")
    for split, rows in scores.items():
        for subset, values in rows.items():
            table.add_row(split, subset, *(f"{100 * values[key]:.1f}" if key in values else "" for key in columns))
    return table
