"""How near the paper's bound is to what happens: its quantities, estimated, before, during and after training.

Estimators, and how they are biased
-----------------------------------
- g and h are the unit embeddings of Arca's two paths; T(x) is the first candidate, y* the English reference.
- eps1 = ||g(x) - h(T(x))||: exact for each text. The paper's is the largest; mean and 95th percentile are reported, and
  the inequality is tested with each text's own value, which is harder to satisfy than with the largest.
- eps2 = KL(p(s|x) || p(s|T(x))), p a softmax over a bank of English anchors. A finite bank sees only differences in the
  directions that it spans: the estimate is too low for content that it lacks, and falls with the temperature.
- C = max ||phi(s)|| over the bank. With unit embeddings it is 1 whatever the model: an upper bound, and no finding.
- L = ||f(z) - f(z')|| / ||z - z'|| over texts whose translation has one word changed. Few edits of each text are drawn,
  so the 95th percentile of what is drawn is below the true local constant. f is LaSR, which reads the streams that z is
  the mean of: two texts of one z may differ in f, which the theory does not have.
- The paper's constant is one C; the triangle inequality alone gives ||z - z*|| <= eps1 + 2 ||h(T(x)) - h(y*)||, that
  is two. Both shares are reported.
- Nothing is further from anything than 2 sqrt(2): where the right side is larger, the bound holds whatever happens. The
  share of texts for which it says something stands beside the share for which it holds.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from modeling_lira.arca import critic_features, translation_quality
from modeling_lira.backbones.anchors import english_anchors
from modeling_lira.data.corpus import REFERENCE
from modeling_lira.data.tables import SplitTables
from modeling_lira.errors import LiraError
from modeling_lira.faces.progress import Progress
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.resumable import run_stage

from ..drawing import COLOURS, curves, figure_of
from ..significance import Point, point_of
from .setting import Setting, Values

UNTRAINED, ARCA = "untrained", "after Arca"
EDITS = 4
"""Edited translations of each text."""
PERCENTILE = 0.95
_BATCH = 512
_NEAR = 1e-6
SHARES = {
    "holds": "||z - z*|| ≤ ε₁ + C√(2ε₂)",
    "holds_twice": "||z - z*|| ≤ ε₁ + 2C√(2ε₂)",
    "holds_downstream": "||f(z) - f(z*)|| ≤ L (ε₁ + C√(2ε₂))",
    "says_something": "ε₁ + C√(2ε₂) < 2√2",
}
FARTHEST = 2 * 2**0.5
"""The largest distance of two pairs of unit vectors."""


def anchor_log_probabilities(embeddings: Tensor, bank: Tensor, temperature: float) -> Tensor:
    """Return log p(s | t) [N, M]: a softmax over the cosines of texts [N, d] to anchors [M, d]."""
    cosines = F.normalize(embeddings.double(), dim=-1) @ F.normalize(bank.double(), dim=-1).T
    return (cosines / temperature).log_softmax(-1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) [N] of distributions [N, M] given by their logarithms."""
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0.0)


def right_side(eps1: Tensor, eps2: Tensor, kernel: float, times: float = 1.0) -> Tensor:
    """Return eps1 + times C sqrt(2 eps2), [N].

    Source: paper, Theory; `times` is 1 there.
    """
    return eps1 + times * kernel * (2.0 * eps2).sqrt()


def lipschitz_ratios(outputs: Tensor, inputs: Tensor, near_outputs: Tensor, near_inputs: Tensor) -> Tensor:
    """Return ||f(z) - f(z')|| / ||z - z'|| [N] of texts and one neighbour each; NaN where z' is z.

    Source: paper, Theory (local Lipschitz constant).
    """
    moved = (inputs - near_inputs).double().norm(dim=-1)
    ratios = (outputs - near_outputs).double().norm(dim=-1) / moved
    return ratios.masked_fill(moved < _NEAR, float("nan"))


def edited(text: str, vocabulary: Sequence[str], rng: random.Random) -> str:
    """Change one word of a text: leave it out, exchange it for a word of the vocabulary, or add one."""
    words = text.split()
    position = rng.randrange(len(words))
    way = rng.randrange(3) if len(words) > 1 else 1 + rng.randrange(2)
    word = rng.choice(vocabulary)
    return " ".join([*words[:position], *([], [word], [words[position], word])[way], *words[position + 1 :]])


def measure_bound(setting: Setting, temperature: float) -> Path:
    """Estimate the bound's quantities on test queries, untrained, after Arca and after LaSR; draw and write them.

    Parameters
    ----------
    setting : Setting
    temperature : float
        Of p(s | t).

    Returns
    -------
    Path
        Of the record; `bound.png` is in the setting's folder.

    Raises
    ------
    LiraError
        A temperature that is not positive, a corpus whose queries have no English reference.

    Source: paper, Theory; estimators are ours.
    """
    if temperature <= 0:
        raise LiraError(f"temperature must be positive, got {temperature}")
    meter = setting.meter("bound")
    states = [UNTRAINED, ARCA, *(f"LaSR, epoch {count}" for count in sorted({1, setting.lasr.epochs}))]
    runs = {
        state: [
            setting.step(
                f"{state} {seed}",
                partial(_quantities, setting, state, seed, temperature),
                temperature=temperature,
            )
            for seed in setting.seeds
        ]
        for state in Progress(states, desc="states", unit="state")
    }
    payload = _payload(setting, runs) | {"temperature": temperature, "edits": EDITS, "anchors": len(english_anchors())}
    _draw(setting, payload, runs[states[-1]][0])
    PlainConsole(width=150).print(_table(payload))
    return meter.record(payload).write(setting.records)


def _model(setting: Setting, state: str, seed: int) -> LiraModel:
    """Return the model in a state of its training."""
    torch.manual_seed(seed)
    model, plan = setting.start(), setting.plan()
    if state != UNTRAINED:
        run_stage("arca", model, plan.train, plan.validation, plan.folder, seed, plan.arca)
    if state not in (UNTRAINED, ARCA):
        options = replace(plan.lasr, epochs=int(state.split()[-1]))
        run_stage("lasr", model, plan.train, plan.validation, plan.folder, seed, options)
    return model.eval()


def _quantities(setting: Setting, state: str, seed: int, temperature: float) -> Values:
    """Return every text's quantities by `quantity/language`."""
    model = _model(setting, state, seed)
    values: Values = {}
    bank = _english(model, setting.english_streams(english_anchors()))[1]
    for tables in setting.tables["test"]:
        quantities = _of_language(setting, model, tables, bank, temperature)
        values |= {f"{name}/{tables.split.language}": measured for name, measured in quantities.items()}
    return values | {"C": bank.norm(dim=-1).max()[None]}


@torch.inference_mode()
def _english(model: LiraModel, states: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the English path's streams [N, S, d] and embeddings [N, d]."""
    parts = [
        model.arca.english(torch.from_numpy(states[start : start + _BATCH].astype(np.float32)))
        for start in range(0, len(states), _BATCH)
    ]
    return torch.cat([stream for stream, _ in parts]), torch.cat([embedding for _, embedding in parts])


@torch.inference_mode()
def _fused(model: LiraModel, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], language: Tensor) -> Tensor:
    """Return f(z) [N, D] of two paths' streams and embeddings; no critic has spoken."""
    silent = first[1].new_full((len(first[1]), 1, 3), float("nan"))
    present = torch.ones(len(silent), 1, dtype=torch.bool)
    similarity, alone = (first[1] * second[1]).sum(-1, keepdim=True), second[1][:, None]
    features = critic_features(silent, similarity, alone, present)
    quality = translation_quality(features, present.to(features.dtype), alone, present)
    rows = torch.arange(len(quality)).split(_BATCH)
    parts = [
        model.lasr(
            first[0][part],
            second[0][part],
            first[1][part],
            second[1][part],
            quality[part],
            present[part, 0],
            language[part],
        ).sentence_embedding
        for part in rows
    ]
    return torch.cat(parts)


def _of_language(
    setting: Setting, model: LiraModel, tables: SplitTables, bank: Tensor, temperature: float
) -> dict[str, Tensor]:
    queries, split = tables.queries, tables.split
    rows = _translated_rows(tables)
    translations = [split.queries.candidates[row][0] for row in rows]
    references = [split.queries.others[REFERENCE][row][0] for row in rows]
    language = torch.from_numpy(queries.language_ids[rows])
    with torch.inference_mode():
        source = model.arca.multilingual(torch.from_numpy(queries.multilingual[rows].astype(np.float32)))
    target = _english(model, queries.english[queries.rows[rows, 0]])
    distinct = sorted(set(references))
    position = {text: number for number, text in enumerate(distinct)}
    ideal = _english(model, setting.english_streams(distinct)[[position[text] for text in references]])
    log_p, log_q = (anchor_log_probabilities(texts_of[1], bank, temperature) for texts_of in (source, target))
    outputs = _fused(model, source, target, language)
    z, z_ideal = torch.cat([source[1], target[1]], -1), torch.cat([ideal[1], ideal[1]], -1)
    ratios = []
    for near in _neighbours(setting, model, translations):
        moved = torch.cat([source[1], near[1]], -1)
        ratios.append(lipschitz_ratios(outputs, z, _fused(model, source, near, language), moved))
    return {
        "eps1": (source[1] - target[1]).norm(dim=-1).double(),
        "eps2": divergence(log_p, log_q),
        "distance": (z - z_ideal).norm(dim=-1).double(),
        "downstream": (outputs - _fused(model, ideal, ideal, language)).norm(dim=-1).double(),
        "lipschitz": torch.cat(ratios),
    }


def _neighbours(setting: Setting, model: LiraModel, translations: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
    """Return the English path's view of every translation with one word changed, `EDITS` times."""
    vocabulary = sorted({word for sentence in english_anchors() for word in sentence.split()})
    changed = [
        [edited(text, vocabulary, random.Random(f"{number}:{text}")) for text in translations]
        for number in range(EDITS)
    ]
    states = setting.english_streams([text for texts in changed for text in texts])
    return [_english(model, edit) for edit in states.reshape(EDITS, len(translations), *states.shape[1:])]


def shares_of(values: Mapping[str, Tensor], kernel: float, lipschitz: float) -> dict[str, Tensor]:
    """Return for each text and each of `SHARES` whether it holds, [N] of 0 and 1."""
    once, twice = (right_side(values["eps1"], values["eps2"], kernel, times) for times in (1.0, 2.0))
    held = {
        "holds": values["distance"] <= once,
        "holds_twice": values["distance"] <= twice,
        "holds_downstream": values["downstream"] <= lipschitz * once,
        "says_something": once < FARTHEST,
    }
    return {name: true.double() for name, true in held.items()}


def _language_values(run: Values, language: str) -> dict[str, Tensor]:
    return {name.partition("/")[0]: values for name, values in run.items() if name.endswith(f"/{language}")}


def _upper(values: Tensor) -> float:
    return float(values[~values.isnan()].quantile(PERCENTILE))


def _payload(setting: Setting, runs: Mapping[str, Sequence[Values]]) -> dict[str, Any]:
    questions = {tables.split.language: _asked(tables) for tables in setting.tables["test"]}
    return {
        "languages": setting.languages,
        "states": {
            state: {
                **{code: _summary(states, {code: ids}) for code, ids in questions.items()},
                "mean": _summary(states, questions),
            }
            for state, states in runs.items()
        },
    }


def _translated_rows(tables: SplitTables) -> np.ndarray:
    """Return the rows of the queries that have a translation: those that are measured."""
    return np.flatnonzero(tables.queries.rows[:, 0] >= 0)


def _asked(tables: SplitTables) -> list[str]:
    return [tables.split.questions[row] for row in _translated_rows(tables)]


def _summary(runs: Sequence[Values], questions: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the mean, its interval and the 95th percentile of each quantity, over texts of all seeds.

    `questions` are the ids of each language's texts: a question of several languages is drawn in all of them.
    """
    parts = {code: [_language_values(run, code) for run in runs] for code in questions}
    asked = list(questions.values())
    kernel = max(float(run["C"]) for run in runs)
    lipschitz = _upper(torch.cat([run["lipschitz"] for values in parts.values() for run in values]))
    for values in parts.values():
        for run in values:
            run["bound"] = right_side(run["eps1"], run["eps2"], kernel)
    quantities = {
        name: asdict(point_of([torch.stack([run[name] for run in values]) for values in parts.values()], asked))
        | {"p95": _upper(torch.cat([run[name] for values in parts.values() for run in values]))}
        for name in ("eps1", "eps2", "distance", "bound", "downstream")
    }
    held = {code: [shares_of(run, kernel, lipschitz) for run in values] for code, values in parts.items()}
    shares = {
        name: asdict(point_of([torch.stack([run[name] for run in values]) for values in held.values()], asked))
        for name in SHARES
    }
    return {**quantities, "C": kernel, "L_p95": lipschitz, "shares": shares}


def _draw(setting: Setting, payload: Mapping[str, Any], last: Values) -> None:
    states = payload["states"]
    places = range(len(states))
    with figure_of(setting.output / "bound.png", 1, 3, width=4.8, height=4.6, legend_each=True) as (_, axes):
        left, middle, right = axes[0]
        names = {"distance": "||z - z*||", "eps1": "ε₁", "bound": "ε₁ + C√(2ε₂)", "downstream": "||f(z) - f(z*)||"}
        series = {
            label: [_point(figures["mean"][name]) for figures in states.values()] for name, label in names.items()
        }
        curves(left, places, series, scale=1.0)
        left.set_ylabel("mean over test queries, 95% interval")
        shares = {
            label: [_point(figures["mean"]["shares"][name]) for figures in states.values()]
            for name, label in SHARES.items()
        }
        curves(middle, places, shares)
        middle.set_ylabel("share of test queries in %, 95% interval")
        middle.set_ylim(0, 103)
        for axis in (left, middle):
            axis.set_xticks(places, [state.replace(", ", ",\n") for state in states], fontsize=8)
            axis.set_xlabel("state of training")
        kernel = float(last["C"])
        for number, code in enumerate(setting.languages):
            figures = _language_values(last, code)
            bounds = right_side(figures["eps1"], figures["eps2"], kernel)
            right.scatter(bounds, figures["distance"], s=5, alpha=0.5, color=COLOURS[number % len(COLOURS)], label=code)
        limit = right.get_xlim()[1]
        right.plot([0, limit], [0, limit], color="black", linewidth=0.8)
        right.axvline(
            FARTHEST, color="black", linewidth=0.8, linestyle=":", label="2√2, the largest ||z - z*|| there is"
        )
        right.set_xlabel("ε₁ + C√(2ε₂), end of training")
        right.set_ylabel("||z - z*||; below the line the bound holds")


def _point(plain: Mapping[str, float]) -> Point:
    return Point(plain["mean"], plain["low"], plain["high"])


def _table(payload: Mapping[str, Any]) -> Table:
    table = Table(title="mean (95th percentile) over test queries", title_justify="left")
    for column in ("state", "language", "ε₁", "ε₂", "C", "L", "||z - z*||", "bound", "holds %", "f holds %", "< 2√2 %"):
        table.add_column(column, justify="left" if column in ("state", "language") else "right")
    for state, languages in payload["states"].items():
        for code, figures in languages.items():
            cells = (f"{figures[name]['mean']:.3f} ({figures[name]['p95']:.3f})" for name in ("eps1", "eps2"))
            held = (
                f"{100 * figures['shares'][name]['mean']:.1f}"
                for name in ("holds", "holds_downstream", "says_something")
            )
            ends = (f"{figures[name]['mean']:.3f}" for name in ("distance", "bound"))
            table.add_row(state, code, *cells, f"{figures['C']:.3f}", f"{figures['L_p95']:.3f}", *ends, *held)
    return table
