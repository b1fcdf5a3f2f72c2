"""The same protocol on other pairs of encoders: one table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from modeling_lira.backbones import resolve
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import ENCODER, LIRA, TRANSLATE
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole

from ..drawing import COLOURS, figure_of
from ..significance import Point, point_of
from .setting import Setting, Values
from .systems import LINEAR, STUDIED_WAYS, SYSTEMS

E5, MINILM, MPNET = "pypi:multilingual-e5-small", "pypi:all-minilm-l6-v2", "pypi:all-mpnet-base-v2"
PAIRS = (f"{E5}+{MINILM}", f"{E5}+{MPNET}", f"{E5}+{E5}", f"{MINILM}+{MINILM}")
"""Multilingual and English encoder; the last is MiniLM as a weak multilingual encoder."""
QUICK_PAIRS = (f"{E5}+{MINILM}", f"{MINILM}+{MINILM}")
COMPARED = (LIRA, LINEAR, TRANSLATE, ENCODER)
QUICK_COMPARED = (LIRA, LINEAR, ENCODER)


def measure_backbones(setting: Setting, pairs: Sequence[str], systems: Sequence[str]) -> Path:
    """Train and score the systems on every pair of backbones; draw and write one table.

    Parameters
    ----------
    setting : Setting
        Its own backbones are not used.
    pairs : sequence of str
        "multilingual+english", each a `pypi:` name, a folder or a Hub id.
    systems : sequence of str

    Returns
    -------
    Path
        Of the record; `backbones.png` is in the setting's folder.

    Raises
    ------
    LiraError
        What is no pair, a backbone that is not there, an unknown system.
    """
    names = setting.systems([LIRA, *systems])
    chosen, meter = {pair: _pair(pair) for pair in pairs}, setting.meter("backbones")
    for name in sorted({name for both in chosen.values() for name in both}):
        resolve(name)  # what is missing is told before hours of training
    payload: dict[str, Any] = {"languages": setting.languages, "pairs": {}}
    for pair, (multilingual, english) in Progress(chosen.items(), desc="pairs", unit="pair"):
        folder = setting.output / pair.replace("pypi:", "").replace("/", "-")
        options = replace(setting.options, multilingual=multilingual, english=english)
        payload["pairs"][pair] = _measured(replace(setting, options=options, output=folder), names)
    _draw(setting.output / "backbones.png", payload)
    PlainConsole(width=170).print(_table(payload))
    return meter.record(payload).write(setting.records)


def _pair(text: str) -> tuple[str, str]:
    first, plus, second = text.partition("+")
    if not (first and plus and second):
        raise LiraError(f"pair {text!r}: expected MULTILINGUAL+ENGLISH, such as {PAIRS[0]}")
    return first, second


def _measured(setting: Setting, names: Sequence[str]) -> dict[str, Any]:
    """Return each system's points by way, and LiRA's gain over the encoder alone and over the linear head."""
    runs = {
        name: [
            setting.step(f"{name} {seed}", partial(_scores, setting, name, seed))
            for seed in SYSTEMS[name].seeds_of(setting.seeds)
        ]
        for name in Progress(names, desc="systems", unit="system")
    }
    values = {
        way: {
            name: [torch.stack([run[f"{way}/{code}"] for run in several]).mean(0) for code in setting.languages]
            for name, several in runs.items()
        }
        for way in STUDIED_WAYS
    }
    asked = [setting.questions[code] for code in setting.languages]
    return {
        "systems": {
            way: {name: asdict(point_of(scores, asked)) for name, scores in systems.items()}
            for way, systems in values.items()
        },
        "gains": {
            way: {
                rival: _gain(systems[LIRA], scores, asked)
                for rival, scores in systems.items()
                if rival != LIRA and not torch.cat(scores).isnan().all()
            }
            for way, systems in values.items()
        },
    }


def _gain(
    lira: Sequence[torch.Tensor], rival: Sequence[torch.Tensor], questions: Sequence[Sequence[str]]
) -> dict[str, float]:
    return asdict(point_of([first - second for first, second in zip(lira, rival, strict=True)], questions))


def _scores(setting: Setting, name: str, seed: int) -> Values:
    """Train a system; return nDCG@10 [Q] on test by `way/language`."""
    system, values = SYSTEMS[name], Values()
    embed, _ = system.build(setting.plan_of(name), seed)
    for tables in setting.tables_of(system.encoder)["test"]:
        values |= system.scores(embed(tables), STUDIED_WAYS)
    return values


def shown_pair(pair: str) -> str:
    """Return a pair's name as tables show it."""
    return " + ".join(name.removeprefix("pypi:").rpartition("/")[2] for name in pair.split("+"))


def _draw(path: Path, payload: Mapping[str, Any]) -> None:
    pairs = payload["pairs"]
    with figure_of(path, 1, len(STUDIED_WAYS), width=max(4.6, 1.4 * len(pairs)), height=4.4, sharey=True) as (_, axes):
        for axis, way in zip(axes[0], STUDIED_WAYS, strict=True):
            names = list(next(iter(pairs.values()))["systems"][way])
            width = 0.8 / len(names)
            for number, name in enumerate(names):
                points = [Point(**figures["systems"][way][name]) for figures in pairs.values()]
                places = [position + (number - (len(names) - 1) / 2) * width for position in range(len(pairs))]
                axis.bar(
                    places,
                    [100 * point.mean for point in points],
                    width,
                    yerr=[
                        [100 * (point.mean - point.low) for point in points],
                        [100 * (point.high - point.mean) for point in points],
                    ],
                    color=COLOURS[number],
                    label=name,
                    error_kw={"elinewidth": 0.8},
                )
            labels = [shown_pair(pair).replace(" + ", "\n+ ") for pair in pairs]
            axis.set_xticks(range(len(pairs)), labels, fontsize=7)
            axis.set_title(way, loc="left", fontsize=10)
            axis.set_xlabel("multilingual + English encoder")
        axes[0, 0].set_ylabel("nDCG@10 × 100 on test, 95% interval")


def _table(payload: Mapping[str, Any]) -> Table:
    table = Table(title="nDCG@10 × 100 on test; LiRA's paired gain over each, 95% interval", title_justify="left")
    table.add_column("backbones", no_wrap=True)
    table.add_column("system", no_wrap=True)
    for way in STUDIED_WAYS:
        table.add_column(way, justify="right")
    for pair, figures in payload["pairs"].items():
        for name in next(iter(figures["systems"].values())):
            cells = []
            for way in STUDIED_WAYS:
                cell, gain = f"{100 * figures['systems'][way][name]['mean']:.1f}", figures["gains"][way].get(name)
                if gain:
                    cell += f" ({100 * gain['mean']:+.1f}, {100 * gain['low']:+.1f} … {100 * gain['high']:+.1f})"
                cells.append("–" if cell == "nan" else cell)
            table.add_row(shown_pair(pair) if name == LIRA else "", name, *cells)
    return table
