"""Does each part earn its place? Train every system with several seeds, score it on test, compare query by query."""

import json
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from modeling_lira.evaluation.embedded import Embedded
from modeling_lira.evaluation.metrics import bootstrap_means_of_languages, interval_of
from modeling_lira.evaluation.names import ENCODER, LIRA
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.files import atomic_write_text
from modeling_lira.records.provenance import Clock
from modeling_lira.training.options import TrainingOptions

from .setting import Setting
from .systems import SYSTEMS, WAYS, System

console = PlainConsole(width=150)
DETAIL = "detail/"
Run = dict[str, Tensor]
"""Per-query nDCG@10 by `way/language`, and correlations by `pearson/language`."""


@dataclass(frozen=True)
class Results:
    """What all runs gave: `runs[system]` holds one run a seed; `details[system]` what is worth knowing of each.

    `questions` are the ids of each language's queries: the same id in two languages is the same question.
    """

    languages: tuple[str, ...]
    unseen: Mapping[str, Tensor]
    runs: dict[str, list[Run]]
    details: dict[str, list[dict[str, float]]]
    questions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def values(self, system: str, way: str, language: str | None = None, unseen: bool = False) -> Tensor:
        """Return per-query nDCG@10, the mean over seeds, of one language or of all, [Q]."""
        codes = self.languages if language is None else (language,)
        parts = []
        for code in codes:
            scores = torch.stack([run[f"{way}/{code}"] for run in self.runs[system]]).mean(0)
            parts.append(scores[self.unseen[code]] if unseen else scores)
        return torch.cat(parts)

    def mean(self, system: str, way: str, unseen: bool = False) -> float:
        """Return the mean over languages."""
        return _mean([float(self.values(system, way, code, unseen).nanmean()) for code in self.languages])

    def spread(self, system: str, way: str) -> float:
        """Return the standard deviation over seeds of the mean over languages; 0 for one run."""
        means = [_mean([float(run[f"{way}/{code}"].nanmean()) for code in self.languages]) for run in self.runs[system]]
        return float(np.std(means, ddof=1)) if len(means) > 1 else 0.0

    def gain(
        self, way: str, rival: str, rival_way: str, language: str | None = None, unseen: bool = False
    ) -> tuple[float, float, float]:
        """Return LiRA's mean gain over a rival with its paired 95% bootstrap interval over questions."""
        difference = self.values(LIRA, way, language, unseen) - self.values(rival, rival_way, language, unseen)
        known = ~difference.isnan()
        if not known.any():  # a language that cannot be searched so
            return float("nan"), float("nan"), float("nan")
        asked = list(compress(self._asked(language, unseen), known.tolist()))
        means = bootstrap_means_of_languages([difference[known]], [asked])[0]
        return float(difference[known].mean()), *interval_of(means)

    def _asked(self, language: str | None, unseen: bool) -> list[Hashable]:
        """Return what each of the `values` answers: an id, or without ids the row itself."""
        asked: list[Hashable] = []
        for code in self.languages if language is None else (language,):
            ids: Sequence[Hashable] = self.questions.get(code) or [(code, row) for row in range(len(self.unseen[code]))]
            asked += compress(ids, self.unseen[code].tolist()) if unseen else ids
        return asked

    def correlation(self, system: str, name: str) -> float:
        """Return the mean over seeds and languages of Pearson's or Spearman's correlation on the ranking pairs."""
        return float(np.mean([float(run[f"{name}/{code}"]) for run in self.runs[system] for code in self.languages]))


def _mean(values: Sequence[float]) -> float:
    """Return the mean over the languages that have a value; NaN where none has."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def run_systems(setting: Setting, names: Sequence[str]) -> Results:
    """Train and score what is not finished yet of the systems, each with its seeds, and return all results."""
    planned = [(name, seed) for name in names for seed in SYSTEMS[name].seeds_of(setting.seeds)]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    details: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name, seed in Progress(planned, desc="systems", unit="run"):
        values = setting.step(f"{name} {seed}", partial(_trained_scores, setting, name, seed))
        runs[name].append({key: value for key, value in values.items() if not key.startswith(DETAIL)})
        details[name].append(
            {key.removeprefix(DETAIL): float(value) for key, value in values.items() if key.startswith(DETAIL)}
        )
    unseen = {tables.split.language: torch.tensor(tables.split.unseen_type) for tables in setting.tables["test"]}
    return Results(setting.languages, unseen, runs, details, setting.questions)


def _trained_scores(setting: Setting, name: str, seed: int) -> Run:
    """Train a system; return its scores on test and, as `detail/name`, what is worth knowing of the training."""
    start = time.perf_counter()
    system, scores = SYSTEMS[name], Run()
    embed, details = system.build(setting.plan_of(name), seed)
    for tables in setting.tables_of(system.encoder)["test"]:
        scores |= score(system, embed(tables))
    details = {**details, "all_seconds": round(time.perf_counter() - start, 1)}
    return scores | {f"{DETAIL}{key}": torch.tensor(value, dtype=torch.float64) for key, value in details.items()}


def score(system: System, embedded: Embedded) -> Run:
    """Return a split's per-query nDCG@10 in every way of searching, and its correlations; NaN where a way is closed."""
    scores = system.scores(embedded, WAYS)
    for name, value in zip(("pearson", "spearman"), embedded.correlations(), strict=True):
        known = value if system.local_titles else float("nan")
        scores[f"{name}/{embedded.tables.split.language}"] = torch.tensor(known)
    return scores


def run_ablations(
    options: TrainingOptions, output: Path, streams: Path, seeds: Sequence[int], names: Sequence[str]
) -> None:
    """Run the study, print its tables, and write `ablations.json`.

    Parameters
    ----------
    options : TrainingOptions
        Of LiRA; every rival sees the same data, batches and epochs.
    output : Path
        Keeps stages and scores; an interrupted study goes on.
    streams : Path
        Keeps the backbones' streams of every text.
    seeds : sequence of int
    names : sequence of str
        Systems, of `SYSTEMS`; none for all.

    Raises
    ------
    LiraError
        An unknown system, no seed, options without one of the stages.
    """
    clock, setting = Clock(), Setting(options, output, streams, tuple(seeds))
    results = run_systems(setting, setting.systems([LIRA, ENCODER, *(names or SYSTEMS)]))
    record = clock.provenance() | summary(results, options, seeds)
    plain = json.loads(json.dumps(record), parse_constant=lambda _: None)  # JSON has no NaN: what is closed is null
    atomic_write_text(output / "ablations.json", json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    for table in tables_of(record):
        console.print(table)
    console.print(f"numbers: {output / 'ablations.json'}", highlight=False)


def summary(results: Results, options: TrainingOptions, seeds: Sequence[int]) -> dict[str, Any]:
    """Return everything the tables show, as plain numbers."""
    systems = {
        name: {
            "ndcg@10": {way: results.mean(name, way) for way in WAYS},
            "ndcg@10_unseen_types": {way: results.mean(name, way, unseen=True) for way in WAYS},
            "deviation_over_seeds": {way: results.spread(name, way) for way in WAYS},
            "correlation": {kind: results.correlation(name, kind) for kind in ("pearson", "spearman")},
            "details": results.details[name],
        }
        for name in results.runs
    }
    gains = {
        f"{way} against {rival}": {
            "all": dict(_gains(results, way, rival, unseen=False)),
            "unseen types": dict(_gains(results, way, rival, unseen=True)),
        }
        for rival in results.runs
        if rival != LIRA
        for way in WAYS
        if not np.isnan(results.mean(rival, way))
    }
    return {
        "corpus": {"name": Path(options.corpus).name, "languages": list(results.languages)},
        "options": asdict(replace(options, corpus="")),
        "seeds": list(seeds),
        "threads": torch.get_num_threads(),
        "systems": systems,
        "gains": gains,
    }


def _gains(results: Results, way: str, rival: str, unseen: bool) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield LiRA's gain in one way over a rival in the same way, over all languages and in each."""
    for language in (None, *results.languages):
        yield language or "mean", results.gain(way, rival, way, language, unseen)


def tables_of(record: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables that the command prints."""
    means = Table(title="nDCG@10 x 100 on test, mean of languages ± deviation over seeds", title_justify="left")
    means.add_column("system", no_wrap=True)
    for column in (*WAYS, "unseen types", "Pearson", "Spearman"):
        means.add_column(column, justify="right")
    for name, figures in record["systems"].items():
        deviations = figures["deviation_over_seeds"]
        cells = [f"{100 * figures['ndcg@10'][way]:.1f} ± {100 * deviations[way]:.1f}" for way in WAYS]
        unseen = figures["ndcg@10_unseen_types"]["English titles"]
        linear, ranked = figures["correlation"].values()
        means.add_row(name, *cells, f"{100 * unseen:.1f}", f"{linear:.3f}", f"{ranked:.3f}")
    yield means
    gains = Table(title="LiRA's gain, x 100, with paired 95% intervals over queries", title_justify="left")
    gains.add_column("against", no_wrap=True)
    for column in ("English titles", "English, no translations", "local titles", "unseen types, English titles"):
        gains.add_column(column, justify="right")
    for name in record["systems"]:
        if name != LIRA:
            gains.add_row(name, *_gain_cells(record["gains"], name))
    yield gains


def _gain_cells(gains: Mapping[str, Any], rival: str) -> Iterator[str]:
    for way, part in (
        ("English titles", "all"), ("English titles, no translations", "all"), ("local titles", "all"),
        ("English titles", "unseen types"),
    ):  # fmt: skip
        gain = gains.get(f"{way} against {rival}")
        if gain is None:
            yield "–"
        else:
            mean, low, high = gain[part]["mean"]
            yield f"{100 * mean:+.1f} ({100 * low:+.1f} … {100 * high:+.1f})"
