"""How much labelled data is needed: quality against the number of training queries in each language."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from modeling_lira.errors import LiraError
from modeling_lira.evaluation.embedded import embed_split
from modeling_lira.evaluation.names import ENCODER, LIRA, TRANSLATE
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.training.options import LasrOptions

from ..drawing import curves, figure_of
from ..significance import Point, points_of
from .baselines import LinearHead, embedded_by
from .setting import Setting, Values, few_queries
from .systems import ENGLISH_MAPPING, LINEAR, STUDIED_WAYS, SYSTEMS

COMPARED = (LIRA, LINEAR, ENGLISH_MAPPING, TRANSLATE, ENCODER)
ALL = "all"
SIZES: tuple[str, ...] = ("0", "16", "64", "256", "1024", ALL)
QUICK_SIZES = ("0", "16", ALL)
QUICK_COMPARED = (LIRA, LINEAR, ENCODER)
UNTRAINED = (LIRA, LINEAR)
"""Systems that search before any training; another head is noise until it has learned something."""
MOST_EPOCHS = 4
"""How many times the usual epochs the smallest training sets are read."""
ENOUGH = 1_024
"""Queries of a language from which on the usual epochs suffice."""


def measure_few_shot(setting: Setting, systems: Sequence[str], sizes: Sequence[str]) -> Path:
    """Train systems on few queries of each language, and on more; draw and write nDCG@10 on test.

    What a query is not counted as, it is not seen as either: neither its judgements nor its translations. The titles
    and their English ones are a shop's own and are always there. Small sets are read more often, by all systems alike.

    Parameters
    ----------
    setting : Setting
    systems : sequence of str
    sizes : sequence of str
        Training queries a language: whole numbers, or "all".

    Returns
    -------
    Path
        Of the record; `few-shot.png` is in the setting's folder.

    Raises
    ------
    LiraError
        An unknown system; a size that is no such number, or below 4 and not 0; options to tune.
    """
    if setting.options.tune is not None:
        raise LiraError("few-shot trains the head alone, and a tuned encoder has seen every label: use --config frozen")
    names, counts, meter = setting.systems(systems), [_count(size) for size in sizes], setting.meter("few-shot")
    planned = [
        (name, size, seed)
        for size in counts
        for name in names
        for seed in SYSTEMS[name].seeds_of(setting.seeds)
        if SYSTEMS[name].seeds or size == counts[0]  # what is not trained is the same for every size
    ]
    runs: dict[tuple[str, int | None], list[Values]] = {}
    for name, size, seed in Progress(planned, desc="systems", unit="run"):
        key = (name, size if SYSTEMS[name].seeds else counts[0])
        if size == 0 and SYSTEMS[name].seeds and name not in UNTRAINED:
            continue
        label = f"{name} {ALL if size is None else size} {seed}"
        run = setting.step(label, partial(_scores, setting, name, size, seed))
        runs.setdefault(key, []).append(run)
    payload = _payload(setting, names, counts, runs)
    _draw(setting.output / "few-shot.png", payload)
    PlainConsole(width=150).print(_table(payload))
    return meter.record(payload).write(setting.records)


def _count(size: str) -> int | None:
    """Return a size as a number, None for all."""
    if size.strip() == ALL:
        return None
    if not size.strip().isdecimal() or 0 < int(size) < 4:
        raise LiraError(f"size {size!r}: expected 0, a whole number from 4, or {ALL}")
    return int(size)


def options_for(options: LasrOptions, count: int) -> LasrOptions:
    """Return options for a training set of `count` queries a language: smaller batches, and more epochs."""
    times = max(1, min(MOST_EPOCHS, round(ENOUGH / (4 * max(count, 1)))))
    return replace(options, batch_size=min(options.batch_size, count), epochs=options.epochs * times)


def _scores(setting: Setting, name: str, size: int | None, seed: int) -> Values:
    """Train a system on `size` queries a language; return nDCG@10 [Q] on test by `way/language`."""
    if size == 0 and name in UNTRAINED:
        torch.manual_seed(seed)
        model = setting.start()
        head = LinearHead(model)
        embed = (
            (lambda tables: embed_split(model, tables)) if name == LIRA else (lambda split: embedded_by(head, split))
        )
    else:
        train, lasr = setting.tables["train"], setting.lasr
        if size is not None:
            smallest = min(len(tables.queries) for tables in train)
            train = [few_queries(tables, size, seed) for tables in train]
            lasr = options_for(lasr, min(size, smallest)) if SYSTEMS[name].seeds else lasr
        embed, _ = SYSTEMS[name].build(setting.plan(train, lasr), seed)
    values: Values = {}
    for tables in setting.tables["test"]:
        values |= SYSTEMS[name].scores(embed(tables), STUDIED_WAYS)
    return values


def _payload(
    setting: Setting,
    names: Sequence[str],
    counts: Sequence[int | None],
    runs: Mapping[tuple[str, int | None], Sequence[Values]],
) -> dict[str, Any]:
    def plain(name: str, count: int | None, way: str) -> dict[str, Any] | None:
        several = runs.get((name, count if SYSTEMS[name].seeds else counts[0]))
        if several is None:
            return None
        values = {code: torch.stack([run[f"{way}/{code}"] for run in several]) for code in setting.languages}
        return points_of(values, setting.questions)

    whole = min(len(tables.queries) for tables in setting.tables["train"])
    return {
        "measure": "nDCG@10 on test",
        "languages": setting.languages,
        "training_queries_per_language": [whole if count is None else min(count, whole) for count in counts],
        "ways": {way: {name: [plain(name, count, way) for count in counts] for name in names} for way in STUDIED_WAYS},
    }


def _point(plain: Mapping[str, Any] | None) -> Point:
    return Point(*(float("nan"),) * 3) if plain is None else Point(**plain["mean"])


def _draw(path: Path, payload: Mapping[str, Any]) -> None:
    sizes = payload["training_queries_per_language"]
    with figure_of(path, 1, len(STUDIED_WAYS), sharey=True) as (_, axes):
        for axis, (way, systems) in zip(axes[0], payload["ways"].items(), strict=True):
            curves(axis, sizes, {name: [_point(point) for point in points] for name, points in systems.items()})
            axis.set_xscale("symlog", linthresh=16, base=4)
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axis.minorticks_off()
            axis.set_title(way, loc="left", fontsize=10)
            axis.set_xlabel("labelled training queries a language")
        axes[0, 0].set_ylabel("nDCG@10 × 100, 95% interval")


def _table(payload: Mapping[str, Any]) -> Table:
    way = next(iter(STUDIED_WAYS))
    table = Table(title=f"nDCG@10 × 100, {way}, by training queries a language", title_justify="left")
    table.add_column("system", no_wrap=True)
    for size in payload["training_queries_per_language"]:
        table.add_column(f"{size:,}", justify="right")
    for name, points in payload["ways"][way].items():
        cells = [_point(point) for point in points]
        table.add_row(name, *(f"{100 * p.mean:.1f} ({100 * p.low:.1f} … {100 * p.high:.1f})" for p in cells))
    return table
