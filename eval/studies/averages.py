"""How much of what training changes is kept: validation, and text unlike the corpus, for each share of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from modeling_lira.data.corpus import RetrievalSplit
from modeling_lira.data.qualities import NONE, of_quality, qualities_of
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.comparison import encoder_alone
from modeling_lira.evaluation.names import ENCODER, LIRA
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole

from ..benchmarks.development import development_splits
from ..markdown import scaled
from ..significance import MEAN, points_of
from .conditions import LOCAL, UNSEEN
from .setting import Setting, Values
from .systems import SYSTEMS, Embedder

ALONE = 1.0
"""Share of the head's start that leaves nothing of the head: the encoder alone."""
VALIDATION = "validation"
Development = Mapping[str, Sequence[RetrievalSplit]]


def measure_averages(setting: Setting, encoder_shares: Sequence[float], start_shares: Sequence[float]) -> Path:
    """Train LiRA for each share of the encoder's change and of the head's start; write and show how well each does.

    Parameters
    ----------
    setting : Setting
        With options to tune, and the seeds of the head.
    encoder_shares : sequence of float
        How much of the encoder's change is kept, see `TuneOptions.shares`.
    start_shares : sequence of float
        How much of the head's start is, see `LasrOptions.start_share`; the encoder alone stands beside them.

    Returns
    -------
    Path
        Of the record.

    Raises
    ------
    LiraError
        Options without `tune`.
    """
    if setting.options.tune is None:
        raise LiraError("the shares are those of a tuned encoder: give a config that tunes, such as tuned-small")
    meter, rows = setting.meter("averages"), []
    settings = {share: _keeping(setting, share) for share in encoder_shares}
    development = development_splits(setting.languages)
    questions = {name: {split.language: split.questions for split in splits} for name, splits in development.items()}
    validation = settings[encoder_shares[0]].tables["validation"]
    questions[VALIDATION] = {tables.split.language: tables.split.questions for tables in validation}
    for share, kept in Progress(
        [(share, start) for share in encoder_shares for start in (ALONE, *start_shares)], desc="averages", unit="row"
    ):
        seeds = setting.seeds[:1] if kept == ALONE else setting.seeds
        runs = [
            settings[share].step(
                f"averages {kept:g} {seed}", partial(_scores, settings[share], kept, seed, development)
            )
            for seed in seeds
        ]
        rows.append(
            {"encoder_share": share, "start_share": kept, "ndcg@10": _points(setting.languages, questions, runs)}
        )
    PlainConsole(width=170).print(_table(rows))
    return meter.record({"rows": rows, "languages": setting.languages}).write(setting.records)


def _keeping(setting: Setting, share: float) -> Setting:
    tune = setting.options.tune
    assert tune is not None
    return replace(setting, options=replace(setting.options, tune=replace(tune, shares=(share,))))


def _scores(setting: Setting, start_share: float, seed: int, development: Development) -> Values:
    """Return nDCG@10 [Q] by `column/language`, on validation queries and on the development text."""
    embed: Embedder = encoder_alone
    if start_share != ALONE:
        lasr = replace(setting.lasr, start_share=start_share)
        embed, _ = SYSTEMS[LIRA].build(setting.plan(lasr=lasr), seed)
    values: Values = {}
    for tables in setting.tables["validation"]:
        for column, scores in _validation_scores(embed, tables).items():
            values[f"{column}/{tables.split.language}"] = scores
    model = setting.start()
    for name, splits in development.items():
        for split in splits:
            embedded = embed(cache_split(model, setting.cache, split))
            values[f"{name}/{split.language}"] = embedded.ndcg(with_candidates=False)
    return values


def _validation_scores(embed: Embedder, tables: SplitTables) -> dict[str, Tensor]:
    scores: dict[str, Tensor] = {}
    unseen = torch.tensor(tables.split.unseen_type)
    for quality in qualities_of(tables.queries):
        embedded = embed(replace(tables, queries=of_quality(tables.queries, quality)))
        scores[quality] = embedded.ndcg()
        scores[quality + UNSEEN] = scores[quality].masked_fill(~unseen, float("nan"))
        if quality == NONE:
            scores[LOCAL] = embedded.ndcg(english_titles=False)
    return scores


def _points(
    languages: Sequence[str], questions: Mapping[str, Mapping[str, Sequence[str]]], runs: Sequence[Values]
) -> dict[str, Any]:
    """Return each column's mean over languages and its interval; `questions` has the ids of each column's texts."""
    points = {}
    for column in dict.fromkeys(key.rpartition("/")[0] for key in runs[0]):
        values = {code: torch.stack([run[f"{column}/{code}"] for run in runs]) for code in languages}
        points[column] = points_of(values, questions.get(column, questions[VALIDATION]))[MEAN]
    return points


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as a table, a column for each quality of translation and each development text."""
    table = Table(title="nDCG@10 × 100, validation and development text, mean of languages", title_justify="left")
    for column in ("encoder's share", "head's start", *rows[0]["ndcg@10"]):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*cells_of(row))
    return table


def cells_of(row: Mapping[str, Any]) -> list[str]:
    """Return a row's cells: both shares, then the mean of each column."""
    kept = ENCODER if row["start_share"] == ALONE else f"{row['start_share']:g}"
    return [f"{row['encoder_share']:g}", kept, *(scaled(point["mean"]) for point in row["ndcg@10"].values())]
