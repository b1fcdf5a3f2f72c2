"""Regret: how far LiRA is below the best rival that a user would pick, given the same translator, whatever it is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from dataset_builder.noise import KINDS
from modeling_lira.evaluation.names import LIRA
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole

from ..drawing import COLOURS, figure_of
from ..markdown import interval, negated, scaled
from ..significance import MEAN, Point, point_of, points_of
from .conditions import CRITIC, GLOSS, LOCAL, NONE, REFERENCE, UNSEEN, condition_scores, noise_name
from .setting import Setting, Values
from .systems import RIVALS, SYSTEMS

LEVELS = (0.25, 0.5, 1.0)
QUICK_KINDS, QUICK_LEVELS = ("swap",), (1.0,)
Runs = Mapping[str, Sequence[Values]]


def conditions(kinds: Sequence[str] = tuple(KINDS), levels: Sequence[float] = LEVELS) -> list[str]:
    """Return the names of the conditions that count, in the table's order."""
    clean = [NONE, NONE + UNSEEN, LOCAL, CRITIC, CRITIC + UNSEEN, GLOSS, REFERENCE]
    return clean + [noise_name(kind, level) for kind in kinds for level in levels]


def measure_regret(setting: Setting, systems: Sequence[str] = ()) -> Path:
    """Score LiRA and its rivals under every condition of the translations; draw and write who is best by how much.

    Parameters
    ----------
    setting : Setting
        With options to tune, LiRA and its rivals work on the tuned encoder, and one rival is tuned whole.
    systems : sequence of str
        Rivals; all of them if none is named.

    Returns
    -------
    Path
        Of the record, "regret", or with options to tune "regret-tuned"; its plot is in the setting's folder.

    Raises
    ------
    LiraError
        An unknown system.
    """
    record = "regret" if setting.options.tune is None else "regret-tuned"
    names, meter = setting.systems([LIRA, *(systems or RIVALS)]), setting.meter(record)
    kinds, levels = (QUICK_KINDS, QUICK_LEVELS) if setting.quick else (tuple(KINDS), LEVELS)
    runs = {
        name: [
            setting.step(
                f"{name} {seed}",
                partial(condition_scores, setting, name, seed, kinds, levels),
                kinds=kinds,
                levels=levels,
            )
            for seed in SYSTEMS[name].seeds_of(setting.seeds)
        ]
        for name in Progress(names, desc="systems", unit="system")
    }
    payload = payload_of(setting, runs, conditions(kinds, levels))
    _draw(setting.output / f"{record}.png", payload)
    PlainConsole(width=170).print(_table(payload))
    return meter.record(payload).write(setting.records)


def payload_of(setting: Setting, runs: Runs, names: Sequence[str]) -> dict[str, Any]:
    """Return every system's points, and how far the best rival is ahead of LiRA, by condition."""
    rows = {name: row for name in names if (row := _row(setting, runs, name))}
    worst = max(rows, key=lambda name: rows[name]["behind"][MEAN]["mean"])
    return {
        "measure": "nDCG@10 on test",
        "languages": setting.languages,
        "tuned": setting.options.tune is not None,
        "conditions": rows,
        "regret": {"condition": worst, **rows[worst]["behind"][MEAN]},
    }


def _row(setting: Setting, runs: Runs, condition: str) -> dict[str, Any]:
    """Return a condition's points of every system, its best rival, and how far LiRA is behind that (below 0: ahead).

    Nothing if no query is of this condition, such as those of unseen types where every type was seen.
    """
    values = {name: _values(setting, several, condition) for name, several in runs.items()}
    points = {name: points_of(of_system, setting.questions) for name, of_system in values.items()}
    able = [name for name in runs if not math.isnan(points[name][MEAN]["mean"])]
    if LIRA not in able:
        return {}
    best = max((name for name in able if name != LIRA), key=lambda name: points[name][MEAN]["mean"])
    behind = {code: values[best][code].mean(0) - values[LIRA][code].mean(0) for code in setting.languages}
    by_seed = [
        asdict(point_of([values[LIRA][code][seed] for code in setting.languages]))["mean"]
        for seed in range(len(runs[LIRA]))
    ]
    return {
        "systems": points,
        "best rival": best,
        "behind": points_of(behind, setting.questions),
        "LiRA by seed": by_seed,
    }


def _values(setting: Setting, several: Sequence[Values], condition: str) -> dict[str, Tensor]:
    """Return a system's nDCG@10 [R, Q] under a condition, by language."""
    return {code: torch.stack([run[f"{condition}/{code}"] for run in several]) for code in setting.languages}


def _table(payload: Mapping[str, Any]) -> Table:
    table = Table(title="nDCG@10 × 100 on test, mean of languages, 95% intervals", title_justify="left")
    table.add_column("translations", no_wrap=True)
    for column in ("LiRA", "best rival", "", "LiRA's lead"):
        table.add_column(column, justify="left" if column == "best rival" else "right")
    for condition, row in payload["conditions"].items():
        best, lead = row["best rival"], interval(negated(row["behind"][MEAN]))
        first, second = (scaled(row["systems"][name][MEAN]["mean"]) for name in (LIRA, best))
        table.add_row(condition, first, best, second, lead)
    return table


def _draw(path: Path, payload: Mapping[str, Any]) -> None:
    """Draw a line a condition, with LiRA and its best rival on it."""
    rows = payload["conditions"]
    with figure_of(path, 1, 1, width=7.5, height=0.26 * len(rows) + 1.4) as (_, axes):
        axis = axes[0, 0]
        for number, (label, marker) in enumerate(((LIRA, "o"), ("best rival", "s"))):
            points = [Point(**row["systems"][row["best rival"] if number else LIRA][MEAN]) for row in rows.values()]
            means = [100 * point.mean for point in points]
            spans = [[100 * (p.mean - p.low) for p in points], [100 * (p.high - p.mean) for p in points]]
            axis.errorbar(
                means, [y + 0.16 * (2 * number - 1) for y in range(len(rows))], xerr=spans, fmt=marker, label=label,
                color=COLOURS[number], markersize=4.5, elinewidth=1.0,
            )  # fmt: skip
        axis.set_yticks(range(len(rows)), list(rows), fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel("nDCG@10 × 100 on test, 95% interval")
