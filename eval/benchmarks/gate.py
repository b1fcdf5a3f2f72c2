"""How a model bears translations of every quality: what it finds, how far its gate opens, what its actor chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table as ShownTable
from torch import Tensor

from modeling_lira.data.corpus import GLOSS, REFERENCE, load_split
from modeling_lira.data.qualities import (
    CANDIDATES,
    MIXED,
    NONE,
    STRANGERS,
    good_columns,
    mixed_sets,
    of_quality,
    qualities_of,
)
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation.comparison import encoder_alone, translate_then_encode
from modeling_lira.evaluation.embedded import Embedded, embed_table
from modeling_lira.evaluation.names import ENCODER, LIRA, TRANSLATE
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.records.provenance import identities
from modeling_lira.records.saved_model import load_model

from ..drawing import COLOURS, figure_of
from ..record import Meter, corpus_version, weights_of
from .retrieval import languages_of

SHOWN = {
    REFERENCE: "references",
    CANDIDATES: "own candidates",
    GLOSS: "glosses",
    MIXED: "mixed",
    STRANGERS: "strangers'",
}
"""Names of the qualities whose gate is shown."""
ENGLISH_TITLES, UNSEEN_TYPES, LOCAL_TITLES = "English titles", "unseen types", "local titles"
Values = dict[str, Any]


@dataclass(frozen=True)
class Choices:
    """What the gate and the actor make of the translations of one quality.

    `weight` [Q] is the share of a right angle; `selected`, `most_similar` [Q] the candidate that the actor and the
    similarity choose.
    """

    weight: Tensor
    selected: Tensor
    most_similar: Tensor


@torch.inference_mode()
def choices_of(model: LiraModel, tables: SplitTables, rows: np.ndarray, scored: bool = False) -> Choices:
    """Return what a model chooses for the queries that have candidates `rows` [N, K]."""
    queries = tables.queries
    index = np.flatnonzero((rows >= 0).any(1))
    output = model(**queries.batch(index, rows[index], None if scored else np.full_like(queries.scores[index], np.nan)))
    similarities = output.similarities.masked_fill(torch.from_numpy(rows[index] < 0), -2.0)
    return Choices(output.english_weight, output.selected, similarities.argmax(1))


def gate_weights(model: LiraModel, tables: SplitTables) -> dict[str, Tensor]:
    """Return the gate's weight of each query [Q] by quality of translation."""
    weights = {}
    for quality in qualities_of(tables.queries)[1:]:
        rows = of_quality(tables.queries, quality).rows
        weights[quality] = choices_of(model, tables, rows, scored=quality == CANDIDATES).weight
    return weights


def choice_shares(model: LiraModel, tables: SplitTables) -> dict[str, dict[str, float]]:
    """Return the shares of mixed sets in which the good one is found: by the actor, by similarity, by chance.

    The good one is a reference or the query's own first candidate; only sets of K candidates count, and a source that
    makes none is left out.
    """
    shares = {}
    for source, good in {REFERENCE: tables.queries.others[REFERENCE], CANDIDATES: tables.queries.rows}.items():
        rows = mixed_sets(tables.queries, good)
        rows[~(rows >= 0).all(1)] = -1
        if (rows < 0).all():
            continue
        chosen = choices_of(model, tables, rows)
        wanted = torch.from_numpy(good_columns(tables.queries)[(rows >= 0).any(1)])
        shares[source] = {
            "actor": float((chosen.selected == wanted).double().mean()),
            "similarity": float((chosen.most_similar == wanted).double().mean()),
            "chance": 1 / rows.shape[1],
        }
    return shares


def scores_of(model: LiraModel, tables: SplitTables) -> dict[str, dict[str, float]]:
    """Return nDCG@10 of LiRA and of its simple rivals, by quality and documents."""
    documents = {english: embed_table(model, tables.documents(english), english) for english in (True, False)}
    scores: dict[str, dict[str, float]] = {LIRA: {}, ENCODER: _scores(encoder_alone(tables), NONE), TRANSLATE: {}}
    for quality in qualities_of(tables.queries):
        of_this = replace(tables, queries=of_quality(tables.queries, quality))
        queries = embed_table(model, of_this.queries)
        scores[LIRA] |= _scores(Embedded(tables, {True: queries}, documents), quality)
        if quality != NONE:
            scores[TRANSLATE] |= _scores(translate_then_encode(of_this), quality, local=False)
    return scores


def _scores(embedded: Embedded, quality: str, local: bool = True) -> dict[str, float]:
    split, values = embedded.tables.split, {}
    if split.has_english_titles:
        scores = embedded.ndcg()
        unseen = torch.tensor(split.unseen_type)
        values = {ENGLISH_TITLES: float(scores.nanmean())}
        if unseen.any():
            values[UNSEEN_TYPES] = float(scores[unseen].nanmean())
    if local:
        values[LOCAL_TITLES] = float(embedded.ndcg(english_titles=False).nanmean())
    return {f"{name}, {quality}": value for name, value in values.items()}


def measure_gate(
    name: str, corpus: str, streams: Path, languages: Sequence[str] | None, split: str, records: Path,
    backbones: tuple[str | None, str | None],
) -> Path:  # fmt: skip
    """Measure a model's gate and actor by language; print two tables, draw `gate.png`, and write the record.

    Parameters
    ----------
    name : str
        Folder or Hub id of the model.
    corpus : str
    streams : path
        Cache of the backbones' streams.
    languages : sequence of str, optional
        By default all of the corpus that the model knows.
    split : str
    records : path
        Gets the record and the plot.
    backbones : tuple of str or None
        In place of those that the model names.

    Raises
    ------
    LiraError
        A model, corpus or language that is not there.
    """
    meter = Meter("gate", (), corpus_version(corpus), {"split": split})
    model = load_model(name, *backbones)
    cache = StreamCache(streams)
    payload: Values = {"languages": {}, "weights": [weights_of(name)], "split": split}
    weights: dict[str, dict[str, Tensor]] = {}
    for language in Progress(languages_of([model], corpus, languages), desc="gate", unit="language"):
        tables = cache_split(model, cache, load_split(corpus, language, split))
        weights[language] = gate_weights(model, tables)
        payload["languages"][language] = {
            "ndcg@10": scores_of(model, tables),
            "gate": {quality: _quantiles(values) for quality, values in weights[language].items()},
            "found": choice_shares(model, tables),
        }
    _draw(records / "gate.png", weights)
    console = PlainConsole(width=150)
    for table in tables_of(payload["languages"]):
        console.print(table)
    return meter.record(payload, weights=identities([name])).write(records)


def _quantiles(values: Tensor) -> dict[str, float]:
    low, middle, high = values.double().quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
    return {"10%": low, "median": middle, "90%": high}


def tables_of(languages: Mapping[str, Values]) -> list[ShownTable]:
    """Return the tables that the command prints: scores, and the gate and the actor by language."""
    scores = ShownTable(title="nDCG@10 x 100, mean of languages", title_justify="left")
    scores.add_column("searched, translations")
    names = (LIRA, ENCODER, TRANSLATE)
    for name in names:
        scores.add_column(name, justify="right")
    for row in next(iter(languages.values()))["ndcg@10"][LIRA]:
        cells = [[values["ndcg@10"][name].get(row) for values in languages.values()] for name in names]
        scores.add_row(row, *("–" if None in several else f"{100 * np.nanmean(several):.1f}" for several in cells))
    gate = ShownTable(
        title="Gate's share of a right angle, median (10% … 90%); good candidates found among three strangers",
        title_justify="left",
    )
    for column in ("language", *SHOWN.values(), "actor", "similarity", "chance"):
        gate.add_column(column, justify="left" if column == "language" else "right")
    for language, values in languages.items():
        gate.add_row(language, *cells_of(values))
    return [scores, gate]


def cells_of(values: Values) -> list[str]:
    """Return a language's cells: the gate's weight by quality, then what actor, similarity and chance find."""
    choices = values["found"].get(REFERENCE, {})
    shares = [f"{100 * choices[name]:.0f}%" if choices else "–" for name in ("actor", "similarity", "chance")]
    return [*(_range(values["gate"].get(name)) for name in SHOWN), *shares]


def _range(values: Mapping[str, float] | None) -> str:
    if values is None:
        return "–"
    return f"{values['median']:.2f} ({values['10%']:.2f} … {values['90%']:.2f})"


def _draw(path: Path, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Draw each language's distributions of the gate's weight, from references to strangers' translations."""
    qualities = (REFERENCE, CANDIDATES, STRANGERS)
    with figure_of(path, 1, 1, width=9.0, height=3.8) as (_, axes):
        axis = axes[0, 0]
        for number, quality in enumerate(qualities):
            places = [position + 0.26 * (number - 1) for position in range(len(weights))]
            values = [weights[language][quality].numpy() for language in weights]
            boxes = axis.boxplot(values, positions=places, widths=0.22, showfliers=False, patch_artist=True)
            for box in boxes["boxes"]:
                box.set_facecolor(COLOURS[number])
            axis.plot([], [], "s", color=COLOURS[number], label=SHOWN[quality])
        axis.set_xticks(range(len(weights)), list(weights))
        axis.set_ylabel("gate: share of a right angle")
        axis.set_ylim(0, 1)
