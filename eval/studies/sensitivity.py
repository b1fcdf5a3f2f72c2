"""How much LiRA depends on its settings: a small search by Optuna on validation data."""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.table import Table as ShownTable

from modeling_lira.backbones.building import copy_start
from modeling_lira.data.tables import SplitTables, Table
from modeling_lira.errors import LiraError
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.digests import code_version
from modeling_lira.training.resumable import run_stage
from modeling_lira.training.validation import BEST, validation_scores

from ..drawing import COLOURS, figure_of
from .setting import Setting, Values, few_queries

QUICK_TRIALS, QUICK_QUERIES = 3, 96
MOST_BINS = 8
"""Bins that the streams are made with, at least: fewer are means of these."""
DEVIATIONS = 2.0
"""Deviations over seeds by which a found setting must beat the default to be chosen."""


@dataclass(frozen=True)
class Choice:
    """What a trial sets.

    `alpha`, `beta`, `gamma`, `delta`, `eta` are Arca's weights; `candidates` is K, `bins` S; `english_weight` what the
    gate starts at and `gate` whether it learns; `temperature` the contrastive term's, `rank_temperature` soft nDCG's.
    """

    alpha: float
    beta: float
    gamma: float
    delta: float
    eta: float
    candidates: int
    bins: int
    english_weight: float
    gate: bool
    temperature: float
    rank_temperature: float


LABELS = {
    "alpha": "α (semantic score)", "beta": "β (emotional score)", "gamma": "γ (pragmatic score)",
    "delta": "δ (similarity)", "eta": "η (anchoring)", "candidates": "K (candidates)", "bins": "S (bins)",
    "english_weight": "gate's start w", "gate": "gate learns", "temperature": "temperature, contrastive",
    "rank_temperature": "temperature, soft nDCG",
}  # fmt: skip
LOGARITHMIC = {"temperature": (0.01, 0.03, 0.1, 0.2), "rank_temperature": (0.005, 0.02, 0.07, 0.2)}
"""Ticks of what is searched on a logarithmic scale; the ends are the search's."""


def measure_sensitivity(setting: Setting, trials: int, queries: int) -> Path:
    """Search settings on validation data, confirm the best with every seed, draw and write what was found.

    Parameters
    ----------
    setting : Setting
        Its first seed trains every trial; all of them the default and the best.
    trials : int
        In all, earlier runs included.
    queries : int
        Training queries of each language: a part, so that many settings can be tried.

    Returns
    -------
    Path
        Of the record; `sensitivity.png` and the study, `study-….jsonl`, are in the setting's folder.

    Raises
    ------
    LiraError
        Fewer than two trials.
    """
    if trials < 2:
        raise LiraError(f"a search needs two trials at least, got {trials}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    meter, start = setting.meter("sensitivity"), default_choice(setting)
    finest = start.bins * -(-MOST_BINS // start.bins)
    if finest != start.bins:
        model = {**setting.options.model, "num_feature_bins": finest}
        setting = replace(setting, options=replace(setting.options, model=model))
    study = _study(setting, start, queries, finest)

    def score(trial: Trial) -> float:
        return _score(setting, suggested(trial, start, finest), setting.seeds[0], queries)

    for _ in Progress(range(len(_finished(study)), trials), desc="trials", unit="trial"):
        # Seeded by the trial's number, so that a resumed search goes on as an unbroken one.
        study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
        study.optimize(score, n_trials=1)
    best = Choice(**study.best_trial.user_attrs["choice"])
    repeated = {name: _repeated(setting, choice, queries) for name, choice in (("default", start), ("best", best))}
    payload = _payload(study, start, best, repeated) | {"languages": setting.languages, "training_queries": queries}
    _draw(setting.output / "sensitivity.png", payload)
    PlainConsole(width=150).print(_table(payload))
    return meter.record(payload).write(setting.records)


def default_choice(setting: Setting) -> Choice:
    """Return what the setting's options say."""
    weights, config = setting.arca.weights, setting.start().config
    return Choice(
        alpha=weights.alpha,
        beta=weights.beta,
        gamma=weights.gamma,
        delta=weights.delta,
        eta=weights.eta,
        candidates=config.num_candidates,
        bins=config.num_feature_bins,
        english_weight=float(config.english_weight_init),
        gate=True,
        temperature=setting.lasr.weights.contrastive_temperature,
        rank_temperature=setting.lasr.weights.temperature,
    )


def suggested(trial: Trial, start: Choice, finest: int) -> Choice:
    """Return the trial's settings, of at most `finest` bins."""
    choice = Choice(
        alpha=trial.suggest_float("alpha", 0.0, 1.0),
        beta=trial.suggest_float("beta", 0.0, 0.5),
        gamma=trial.suggest_float("gamma", 0.0, 0.5),
        delta=trial.suggest_float("delta", 0.0, 2.0),
        eta=trial.suggest_float("eta", 0.0, 1.0),
        candidates=trial.suggest_categorical("candidates", halvings(start.candidates)),
        bins=trial.suggest_categorical("bins", halvings(finest)),
        english_weight=trial.suggest_float("english_weight", 0.05, 0.8),
        gate=trial.suggest_categorical("gate", [True, False]),
        temperature=trial.suggest_float("temperature", *_ends("temperature"), log=True),
        rank_temperature=trial.suggest_float("rank_temperature", *_ends("rank_temperature"), log=True),
    )
    trial.set_user_attr("choice", asdict(choice))
    return choice


def _ends(name: str) -> tuple[float, float]:
    return LOGARITHMIC[name][0], LOGARITHMIC[name][-1]


def halvings(count: int) -> list[int]:
    """Return a number and its halves, as long as they are whole: 8, 4, 2, 1."""
    counts = [count]
    while counts[-1] % 2 == 0:
        counts.append(counts[-1] // 2)
    return counts


def first_choices(start: Choice, finest: int) -> list[Choice]:
    """Return the default, then each other number of bins and of candidates and the frozen gate, by itself.

    A search of tens of trials would not meet every one of them.
    """
    bins = [replace(start, bins=count) for count in halvings(finest)]
    candidates = [replace(start, candidates=count) for count in halvings(start.candidates)]
    return list(dict.fromkeys([start, *bins, *candidates, replace(start, gate=not start.gate)]))


def _study(setting: Setting, start: Choice, queries: int, finest: int) -> optuna.Study:
    """Open the study of these data and options, or begin it with `first_choices`."""
    options = asdict(replace(setting.options, corpus=""))
    decides = [setting.corpus, setting.quick, setting.languages, queries, options, code_version()]
    name = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:12]
    setting.output.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(setting.output / f"study-{name}.jsonl")))
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    states = (TrialState.COMPLETE, TrialState.WAITING)  # what was interrupted is tried again
    known = [trial.system_attrs.get("fixed_params") for trial in study.get_trials(deepcopy=False, states=states)]
    for choice in first_choices(start, finest):
        if asdict(choice) not in known:
            study.enqueue_trial(asdict(choice))
    return study


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _score(setting: Setting, choice: Choice, seed: int, queries: int) -> float:
    """Train both stages on a part of the training queries; return the validation score."""
    torch.manual_seed(seed)
    model = _start(setting, choice)
    train = [changed_tables(few_queries(tables, queries, 0), choice) for tables in setting.tables["train"]]
    validation = [changed_tables(tables, choice) for tables in setting.tables["validation"]]
    arca_weights = {name: getattr(choice, name) for name in ("alpha", "beta", "gamma", "delta", "eta")}
    arca = replace(setting.arca, weights=replace(setting.arca.weights, **arca_weights))
    rates = setting.lasr.learning_rates | ({} if choice.gate else {"lasr.gate": 0.0})
    lasr_weights = replace(
        setting.lasr.weights, contrastive_temperature=choice.temperature, temperature=choice.rank_temperature
    )
    batch = min(setting.lasr.batch_size, queries, *(len(tables.queries) for tables in train))
    lasr = replace(setting.lasr, learning_rates=rates, weights=lasr_weights, batch_size=batch)
    run_stage("arca", model, train, validation, setting.output / "stages", seed, arca)
    run_stage("lasr", model, train, validation, setting.output / "stages", seed, lasr)
    return validation_scores(model, validation, lasr.objective)[BEST]


def _start(setting: Setting, choice: Choice) -> LiraModel:
    usual = setting.start()
    config = copy.deepcopy(usual.config)
    config.english_weight_init = choice.english_weight
    model = LiraModel(config, usual.multilingual_encoder, usual.english_encoder)
    copy_start(usual, model)
    model.processor = usual.processor
    return model.eval()


def changed_tables(tables: SplitTables, choice: Choice) -> SplitTables:
    """Return tables with the choice's number of candidates and of bins.

    The mean of two neighbouring bins is the bin of half as many: no text is encoded again.
    """

    def change(table: Table) -> Table:
        rows = np.where(np.arange(table.rows.shape[1]) < choice.candidates, table.rows, -1)
        return replace(
            table,
            rows=rows,
            multilingual=_fewer_bins(table.multilingual, choice.bins),
            english=_fewer_bins(table.english, choice.bins),
        )

    return replace(
        tables,
        queries=change(tables.queries),
        local=change(tables.local),
        english=change(tables.english),
    )


def _fewer_bins(streams: np.ndarray, bins: int) -> np.ndarray:
    """Average streams [N, S, H] to `bins`, which divides S."""
    count, old, width = streams.shape
    if bins == old:
        return streams
    fewer = np.empty((count, bins, width), np.float16)
    for first in range(0, count, 4096):
        part = streams[first : first + 4096].astype(np.float32)
        fewer[first : first + 4096] = part.reshape(len(part), bins, old // bins, width).mean(2)
    return fewer


def _repeated(setting: Setting, choice: Choice, queries: int) -> list[float]:
    """Return the choice's validation score with every seed."""

    def compute(seed: int) -> Values:
        return {"score": torch.tensor(_score(setting, choice, seed, queries), dtype=torch.float64)[None]}

    trials = [
        setting.step(f"seed {seed}", partial(compute, seed), choice=asdict(choice), queries=queries)
        for seed in setting.seeds
    ]
    return [float(trial["score"]) for trial in trials]


def decision(default: Sequence[float], best: Sequence[float]) -> tuple[str, str]:
    """Say which setting to take, and why, from both scores with every seed.

    The best of many trials is partly luck, so it must win again.
    """
    gain = float(np.mean(best) - np.mean(default))
    if len(default) < 2:
        return "default", f"one seed shows no deviation to hold the gain of {100 * gain:+.2f} against"
    spread = float(np.std(default, ddof=1))
    words = f"the best trial gains {100 * gain:+.2f} over the default in the mean of {len(default)} seeds, "
    if gain > DEVIATIONS * spread:
        return "best", words + f"more than {DEVIATIONS:g} deviations over seeds ({100 * spread:.2f} each)"
    return "default", words + f"not more than {DEVIATIONS:g} deviations over seeds ({100 * spread:.2f} each)"


def _payload(
    study: optuna.Study, start: Choice, best: Choice, repeated: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    trials = _finished(study)
    chosen, why = decision(repeated["default"], repeated["best"])
    return {
        "measure": "validation score: nDCG@10 of four ways to search, and Spearman's correlation",
        "trials": [{"score": trial.value, **trial.user_attrs["choice"]} for trial in trials],
        "importances": get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()) if len(trials) > 9 else {},
        "default": asdict(start),
        "best": asdict(best),
        "scores_over_seeds": dict(repeated),
        "chosen": chosen,
        "values": asdict(best if chosen == "best" else start),
        "why": why,
    }


def _draw(path: Path, payload: Mapping[str, Any]) -> None:
    trials = payload["trials"]
    default = [trial for trial in trials if trial == {**trial, **payload["default"]}]
    names = [trial.name for trial in fields(Choice)]
    columns = 4
    rows = -(-len(names) // columns)
    with figure_of(path, rows, columns, width=3.4, height=2.7, sharey=True) as (_, axes):
        for axis, name in zip(axes.flat, names, strict=False):
            for number, (label, shown) in enumerate(
                (("trial", trials), ("default", default), ("best", [max(trials, key=lambda trial: trial["score"])]))
            ):
                axis.scatter(
                    [float(trial[name]) for trial in shown], [100 * trial["score"] for trial in shown],
                    s=(14, 55, 70)[number], marker=("o", "s", "*")[number], color=COLOURS[(0, 1, 5)[number]],
                    alpha=0.8, label=label,
                )  # fmt: skip
            axis.set_xlabel(LABELS[name], fontsize=9)
            importance = payload["importances"].get(name)
            if importance is not None:
                axis.set_title(f"importance {100 * importance:.0f}%", loc="left", fontsize=8)
            if name in LOGARITHMIC:
                axis.set_xscale("log")
                axis.set_xticks(LOGARITHMIC[name], [f"{tick:g}" for tick in LOGARITHMIC[name]])
                axis.minorticks_off()
            elif name in ("candidates", "bins"):
                axis.set_xscale("log", base=2)
                ticks = sorted({trial[name] for trial in trials})
                axis.set_xticks(ticks, [str(tick) for tick in ticks])
            elif name == "gate":
                axis.set_xticks([0, 1], ["no", "yes"])
                axis.set_xlim(-0.5, 1.5)
        for axis in axes[:, 0]:
            axis.set_ylabel("validation score × 100", fontsize=9)
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)


def _table(payload: Mapping[str, Any]) -> ShownTable:
    table = ShownTable(title=f"chosen: {payload['chosen']}; {payload['why']}", title_justify="left")
    for column in ("setting", "default", "best trial", "importance"):
        table.add_column(column, justify="left" if column == "setting" else "right")
    for name, label in LABELS.items():
        importance = payload["importances"].get(name)
        values = (f"{payload[which][name]:.3g}" for which in ("default", "best"))
        table.add_row(label, *values, "–" if importance is None else f"{100 * importance:.0f}%")
    for name, scores in payload["scores_over_seeds"].items():
        table.add_row(f"score × 100, {name}", f"{100 * np.mean(scores):.2f}", "over seeds", str(len(scores)))
    return table
