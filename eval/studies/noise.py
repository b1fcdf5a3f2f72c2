"""What happens when the translator is bad: quality against noise in the candidates, and from poor to perfect ones."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from dataset_builder.noise import KINDS
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import ENCODER, LIRA, TRANSLATE
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole

from ..drawing import curves, figure_of
from ..significance import Point, points_of
from .conditions import TRANSLATORS, condition_scores, noise_name
from .setting import Setting, Values
from .systems import CONCATENATION, LINEAR, SYSTEMS

COMPARED = (LIRA, TRANSLATE, CONCATENATION, LINEAR, ENCODER)
QUICK_KINDS = ("swap", "drop")
QUICK_LEVELS = (0.0, 0.5, 1.0)


def measure_noise(setting: Setting, systems: Sequence[str], kinds: Sequence[str], levels: Sequence[float]) -> Path:
    """Score systems, trained on clean candidates, on test queries whose candidates are spoiled; draw and write it.

    No candidate has critics' scores in the noise curves, spoiled or not: a score that no critic gave would tell on it.

    Parameters
    ----------
    setting : Setting
    systems : sequence of str
    kinds : sequence of str
        Of noise.
    levels : sequence of float
        In [0, 1].

    Returns
    -------
    Path
        Of the record; `noise.png` and `translators.png` are in the setting's folder.

    Raises
    ------
    LiraError
        An unknown system or kind, a level outside [0, 1].
    """
    names, meter = setting.systems(systems), setting.meter("noise")
    _check(kinds, levels)
    runs: dict[str, list[Values]] = {name: [] for name in names}
    planned = [(name, seed) for name in names for seed in SYSTEMS[name].seeds_of(setting.seeds)]
    for name, seed in Progress(planned, desc="systems", unit="run"):
        run = setting.step(
            f"{name} {seed}",
            partial(condition_scores, setting, name, seed, kinds, levels),
            kinds=kinds,
            levels=levels,
        )
        runs[name].append(run)
    payload = _payload(setting, runs, kinds, levels)
    _draw(setting.output, payload)
    PlainConsole(width=150).print(_table(payload))
    return meter.record(payload).write(setting.records)


def _check(kinds: Sequence[str], levels: Sequence[float]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise LiraError(f"noise {kind!r} is unknown: choose from {', '.join(KINDS)}")
    if not kinds or not levels or not all(0 <= level <= 1 for level in levels):
        raise LiraError(f"noise needs a kind and levels in [0, 1], got {', '.join(map(str, levels)) or 'none'}")


def _points(setting: Setting, runs: Sequence[Values], condition: str) -> dict[str, dict[str, float]]:
    """Return the point of the mean over languages and of each language that has the condition."""
    values: dict[str, Tensor] = {}
    for language in setting.languages:
        key = f"{condition}/{language}"
        if key in runs[0]:
            values[language] = torch.stack([run[key] for run in runs])
    return points_of(values, setting.questions)


def _payload(
    setting: Setting, runs: Mapping[str, Sequence[Values]], kinds: Sequence[str], levels: Sequence[float]
) -> dict[str, Any]:
    def plain(name: str, condition: str) -> dict[str, Any]:
        return _points(setting, runs[name], condition)

    return {
        "measure": "nDCG@10 on test, English titles",
        "languages": setting.languages,
        "levels": levels,
        "noise": {
            kind: {name: [plain(name, noise_name(kind, level)) for level in levels] for name in runs} for kind in kinds
        },
        "translators": {name: {translator: plain(name, translator) for translator in TRANSLATORS} for name in runs},
    }


def _mean(plain: Mapping[str, Any]) -> Point:
    return Point(**plain["mean"])


def _draw(folder: Path, payload: Mapping[str, Any]) -> None:
    kinds = payload["noise"]
    columns = min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    with figure_of(folder / "noise.png", rows, columns, sharey=True) as (_, axes):
        for axis, (kind, systems) in zip(axes.flat, kinds.items(), strict=False):
            curves(
                axis, payload["levels"], {name: [_mean(point) for point in points] for name, points in systems.items()}
            )
            axis.set_title(kind.replace("_", " "), loc="left", fontsize=10)
            axis.set_xlabel("noise level (share of candidates spoiled)")
            axis.set_xticks(payload["levels"])
        for axis in axes[:, 0]:
            axis.set_ylabel("nDCG@10 × 100, 95% interval")
        for axis in axes.flat[len(kinds) :]:
            axis.set_visible(False)
    with figure_of(folder / "translators.png", 1, 1, width=8.0, height=4.2) as (_, axes):
        axis = axes[0, 0]
        series = {
            name: [_mean(points[translator]) for translator in TRANSLATORS]
            for name, points in payload["translators"].items()
        }
        curves(axis, range(len(TRANSLATORS)), series)
        axis.set_xticks(range(len(TRANSLATORS)), [name.replace(", ", ",\n") for name in TRANSLATORS], fontsize=8)
        axis.set_xlabel("translator of the queries")
        axis.set_ylabel("nDCG@10 × 100, 95% interval")


def _table(payload: Mapping[str, Any]) -> Table:
    table = Table(title="nDCG@10 × 100 on English titles, by translator", title_justify="left")
    table.add_column("system", no_wrap=True)
    for name in TRANSLATORS:
        table.add_column(name, justify="right")
    for system, by_translator in payload["translators"].items():
        points = [_mean(by_translator[name]) for name in TRANSLATORS]
        table.add_row(system, *(f"{100 * p.mean:.1f} ({100 * p.low:.1f} … {100 * p.high:.1f})" for p in points))
    return table
