"""What each system costs: to train, to serve with its translator counted and not counted, and to index."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from modeling_lira.evaluation.names import ENCODER, LIRA, LIRA_FREE, TRANSLATE
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.stage import Stage

from ..drawing import COLOURS, MARKERS, figure_of
from ..significance import Point, point_of
from . import baselines
from .serving import (
    COUNTED,
    CRITIC_COUNTED,
    DIMENSIONS,
    TRANSLATED_COUNTED,
    WAYS,
    Job,
    probe,
)
from .setting import Setting, Values
from .systems import ENGLISH_MAPPING, LINEAR, SYSTEMS

TRAINED = (LIRA, LINEAR, ENGLISH_MAPPING)
HEADS: Mapping[str, Callable[[LiraModel], nn.Module]] = {
    LINEAR: baselines.LinearHead,
    ENGLISH_MAPPING: baselines.EnglishMapping,
}
QUICK_SINGLES, QUICK_TEXTS = 10, 32
QUICK_WAYS = (ENCODER, LIRA_FREE, LIRA, COUNTED)
RATE_TEXTS = 256
"""Texts on which a backbone's speed is measured."""
POINTS: tuple[tuple[str, str, str], ...] = (
    (ENCODER, ENCODER, "free"),
    (LINEAR, ENCODER, "free"),
    (TRANSLATE, TRANSLATE, "given"),
    (TRANSLATE, TRANSLATED_COUNTED, "counted"),
    (LIRA_FREE, LIRA_FREE, "free"),
    (LIRA, LIRA, "given"),
    (LIRA, COUNTED, "counted"),
    (LIRA, CRITIC_COUNTED, "critic counted"),
)
"""Quality of the first at the serving cost of the second; a linear head serves as its encoder does."""


def measure_cost(setting: Setting, systems: Sequence[str], singles: int, texts: int, translator: str) -> Path:
    """Train systems anew and serve queries in every way; draw and write what it all costs.

    Parameters
    ----------
    setting : Setting
        Its first seed is used: costs hardly depend on it.
    systems : sequence of str
        To train.
    singles, texts : int
        Queries timed one by one, and in batches.
    translator : str
        A causal language model, by `pypi:` name, folder or Hub id.

    Returns
    -------
    Path
        Of the record; `cost.png` is in the setting's folder.

    Raises
    ------
    LiraError
        An unknown system, a model that is not there.
    """
    names, meter = setting.systems(systems), setting.meter("cost")
    training = {
        name: setting.step(f"train {name}", partial(_train, setting, name))
        for name in Progress([*names, ENCODER, TRANSLATE], desc="training", unit="system")
    }
    streams = setting.step("streams", partial(_stream_rates, setting))
    job = _job(setting, singles, texts, translator)
    serving = {
        way: setting.step(
            f"serve {way}", partial(_served, job, way), singles=singles, texts=texts, translator=translator,
            threads=torch.get_num_threads(),
        )
        for way in Progress(QUICK_WAYS if setting.quick else WAYS, desc="serving", unit="way")
    }  # fmt: skip
    payload = _payload(setting, training, streams, serving)
    payload |= {"translator": translator, "candidates": setting.start().config.num_candidates, "queries": singles}
    _draw(setting.output / "cost.png", payload)
    for table in _tables(payload):
        PlainConsole(width=150).print(table)
    return meter.record(payload).write(setting.records)


def _train(setting: Setting, name: str) -> Values:
    """Train a system in a fresh folder; return seconds, CPU-seconds, parameters, and nDCG@10 on test."""
    stages = setting.output / "timed"
    shutil.rmtree(stages, ignore_errors=True)  # what an interrupted run had finished would not be timed
    encoder = SYSTEMS[name].encoder
    plan = setting.plan(stages=stages, encoder=encoder)  # encodes what is not cached yet, which is timed apart
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    embed, _ = SYSTEMS[name].build(plan, setting.seeds[0])
    spent = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
    shutil.rmtree(stages, ignore_errors=True)
    values: Values = {"seconds": torch.tensor(spent, dtype=torch.float64)}
    values["parameters"] = torch.tensor(_parameters(setting, name))
    for tables in setting.tables_of(encoder)["test"]:
        embedded = embed(tables)
        for key, wanted in (("with", True), ("without", False)):
            values[f"{key}/{tables.split.language}"] = embedded.ndcg(english_titles=True, with_candidates=wanted)
    return values


def _parameters(setting: Setting, name: str) -> tuple[int, int]:
    """Return how many parameters a system trains, and how many it has, frozen backbones included."""
    model = setting.start()
    encoders = [
        sum(weights.numel() for weights in encoder.parameters())
        for encoder in (model.multilingual_encoder, model.english_encoder)
    ]
    if name in HEADS:
        trained = sum(weights.numel() for weights in HEADS[name](model).parameters())
        return trained, trained + encoders[0] + (0 if name == LINEAR else encoders[1])
    if name == ENCODER:
        return 0, encoders[0]
    if name == TRANSLATE:
        return 0, encoders[1]
    rates = [Stage(model, options.learning_rates).rates for options in (setting.arca, setting.lasr)]
    sizes = {key: weights.numel() for key, weights in model.named_parameters()}
    return sum(size for key, size in sizes.items() if any(weights[key] for weights in rates)), sum(sizes.values())


def _stream_rates(setting: Setting) -> Values:
    """Return texts/second of each frozen backbone, and how many texts of training and validation each reads once."""
    model, tables = setting.start(), setting.tables["train"][0]
    texts = {"multilingual": tables.split.titles, "english": tables.split.searched_titles(True)}
    counts = dict.fromkeys(texts, 0)
    for part in ("train", "validation"):
        for one in setting.tables[part]:
            counts["multilingual"] += len(one.queries) + len(one.local) + len(one.english)
            used = {text for row in one.split.queries.candidates for text in row}
            counts["english"] += len(used) + len(one.english)
    values: Values = {}
    for path, sample in texts.items():
        start = time.perf_counter()
        model.encode_streams(sample[:RATE_TEXTS], path, "document")
        values[path] = torch.tensor([len(sample[:RATE_TEXTS]) / (time.perf_counter() - start), counts[path]])
    return values


def _job(setting: Setting, singles: int, texts: int, translator: str) -> Callable[[str], Job]:
    """Return a maker of jobs that all serve the same test queries, spread over languages."""
    splits = [tables.split for tables in setting.tables["test"]]
    longest = max(len(split.queries) for split in splits)
    rows = [(split, row) for row in range(longest) for split in splits]
    chosen = [(split, row) for split, row in rows if row < len(split.queries)][: max(texts, singles)]
    return lambda way: Job(
        way=way,
        multilingual=setting.options.multilingual,
        english=setting.options.english,
        translator=translator,
        languages=list(setting.languages),
        texts=[split.queries.texts[row] for split, row in chosen],
        codes=[split.language for split, _ in chosen],
        candidates=[split.queries.candidates[row] for split, row in chosen],
        num_candidates=setting.start().config.num_candidates,
        singles=singles,
        threads=torch.get_num_threads(),
    )


def _served(job: Callable[[str], Job], way: str) -> Values:
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in probe(job(way)).items()}


def _payload(
    setting: Setting, training: Mapping[str, Values], streams: Values, serving: Mapping[str, Values]
) -> dict[str, Any]:
    width, questions = setting.start().config.width, [setting.questions[code] for code in setting.languages]
    return {
        "quality_measure": "nDCG@10 on test, English titles",
        "quality": {
            name: asdict(point_of([_quality(training, name)[code] for code in setting.languages], questions))
            for name in (*training, *((LIRA_FREE,) if LIRA in training else ()))
        },
        "training": {
            name: {
                "seconds": round(float(figures["seconds"][0]), 1),
                "cpu_seconds": round(float(figures["seconds"][1]), 1),
                "parameters_trained": int(figures["parameters"][0]),
                "parameters": int(figures["parameters"][1]),
            }
            for name, figures in training.items()
        },
        "streams": {
            path: {
                "texts_per_second": float(figures[0]),
                "texts": int(figures[1]),
                "seconds": round(float(figures[1] / figures[0]), 1),
            }
            for path, figures in streams.items()
        },
        "serving": {
            way: {
                "p50_ms": 1000 * float(figures["latencies"].quantile(0.5)),
                "p95_ms": 1000 * float(figures["latencies"].quantile(0.95)),
                "texts_per_second": float(figures["rate"]),
                "peak_memory_gib": float(figures["memory"]),
                "index_bytes_per_document": 4 * width * DIMENSIONS.get(way, 1 if way == TRANSLATED_COUNTED else 2),
            }
            for way, figures in serving.items()
        },
    }


def _quality(training: Mapping[str, Values], name: str) -> dict[str, Tensor]:
    way, source = ("without", LIRA) if name == LIRA_FREE else ("with", name)
    return {key.partition("/")[2]: values for key, values in training[source].items() if key.startswith(f"{way}/")}


def _draw(path: Path, payload: Mapping[str, Any]) -> None:
    """Draw quality against the time of one query."""
    shapes = {"free": "no translator", "given": "translator not counted", "counted": "translator counted"}
    shapes["critic counted"] = "translator and critic counted"
    with figure_of(path, 1, 1, width=8.4, height=4.6) as (_, axes):
        axis = axes[0, 0]
        shown = [pair for pair in POINTS if pair[0] in payload["quality"] and pair[1] in payload["serving"]]
        names = list(dict.fromkeys(name for name, _, _ in shown))
        for name, way, kind in shown:
            cost, point = payload["serving"][way], Point(**payload["quality"][name])
            heights = 100 * np.asarray([[point.mean - point.low], [point.high - point.mean]])
            axis.errorbar(
                cost["p50_ms"], 100 * point.mean, yerr=heights, xerr=[[0], [max(0.0, cost["p95_ms"] - cost["p50_ms"])]],
                color=COLOURS[names.index(name)], marker=MARKERS[list(shapes).index(kind)], markersize=7,
                linestyle="none", elinewidth=1, capsize=2,
            )  # fmt: skip
        for number, name in enumerate(names):
            axis.plot([], [], color=COLOURS[number], linewidth=5, label=name)
        for number, label in enumerate(shapes.values()):
            axis.plot([], [], MARKERS[number], color="#555555", label=label)
        axis.set_xscale("log")
        axis.set_xlabel("time of one query in ms, log scale: p50, whisker to p95")
        axis.set_ylabel("nDCG@10 × 100, English titles, 95% interval")


def _tables(payload: Mapping[str, Any]) -> list[Table]:
    trained = Table(title="training, cached streams", title_justify="left")
    for column in ("system", "parameters trained", "of", "seconds", "CPU-seconds", "nDCG@10 × 100"):
        trained.add_column(column, justify="left" if column == "system" else "right", no_wrap=column == "system")
    for name, figures in payload["training"].items():
        quality = Point(**payload["quality"][name])
        trained.add_row(
            name, f"{figures['parameters_trained']:,}", f"{figures['parameters']:,}", f"{figures['seconds']:.0f}",
            f"{figures['cpu_seconds']:.0f}", f"{100 * quality.mean:.1f}",
        )  # fmt: skip
    served = Table(title="serving", title_justify="left")
    for column in ("way", "p50 ms", "p95 ms", "texts/s", "peak GiB", "index bytes/document"):
        served.add_column(column, justify="left" if column == "way" else "right", no_wrap=column == "way")
    for way, figures in payload["serving"].items():
        served.add_row(
            way, f"{figures['p50_ms']:.1f}", f"{figures['p95_ms']:.1f}", f"{figures['texts_per_second']:.1f}",
            f"{figures['peak_memory_gib']:.2f}", str(figures["index_bytes_per_document"]),
        )  # fmt: skip
    return [trained, served]
