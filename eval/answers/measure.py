"""Answers to questions in low-resource languages: LiRA before a language model's prompt, and the model alone."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from tqdm.auto import tqdm

from modeling_lira.data.question_table import QuestionTable, cache_questions
from modeling_lira.data.questions import Example
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.comparison import LIRA, LIRA_FREE
from modeling_lira.evaluation.metrics import bootstrap_interval
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.files import atomic_write_text
from modeling_lira.frozen_backbone import weights_sketch
from modeling_lira.modeling_lira_causal_lm import LiraForCausalLM
from modeling_lira.processing_lira_causal_lm import PROMPT
from modeling_lira.records.command_line import shown, shown_all
from modeling_lira.records.provenance import digest_of, identities
from modeling_lira.records.saved_model import fingerprint, load_reasoner

from ..benchmarks.unseen import read_candidates
from ..options import RECORDS
from ..record import Meter, weights_of
from ..significance import MEAN, correct, deviation_over_models, difference_cell, paired_differences
from .answering import BATCH_SIZE, Question, alone, choice_likelihoods, generated, matched_choice

ENGLISH = "en"
BARE = "language model alone"
TRANSLATED = "language model on the translation"
ALL_TRANSLATIONS = "language model on all translations"
REFERENCE = "language model on the English reference"
MAPPING = "multilingual encoder alone before it (MindMerger)"
RULES = ("mean", "sum")
"""How a choice's likelihood is counted: a token, or whole."""
LIKELIHOOD, GENERATION = "likelihood", "generation"
CORRECT, UNMATCHED = "correct", "unmatched"
DTYPES = ("bfloat16", "float32")
ANSWER_TOKENS = 24
LISTED = "Question: {question}\n{choices}\nAnswer:"
"""The prompt that shows the choices."""
console = PlainConsole(width=170)


# ---------------------------------------------------------------- what is compared


@dataclass(frozen=True)
class System:
    """One row: whose text stands in the prompt, and what LiRA is given, if it is there at all."""

    name: str
    text: Callable[[Example], str]
    lira: bool = False
    candidates: bool = False


def _question(example: Example) -> str:
    return example.question


def _translation(example: Example) -> str:
    return example.candidates[0] if example.candidates else example.question


def _translations(example: Example) -> str:
    return " / ".join(example.candidates) or example.question


def _reference(example: Example) -> str:
    return example.english


def systems_of(examples: Sequence[Example]) -> list[System]:
    """Return the rows of a table: those that need translations or English references only where there are any.

    The translation is the first; a language model that reads all of them is told as much as LiRA is.
    """
    rows = [System(BARE, _question)]
    translated = any(example.candidates for example in examples)
    if translated:
        rows += [System(TRANSLATED, _translation), System(ALL_TRANSLATIONS, _translations)]
    if all(example.english for example in examples):
        rows.append(System(REFERENCE, _reference))
    rows.append(System(LIRA_FREE, _question, lira=True))
    return [*rows, System(LIRA, _question, lira=True, candidates=True)] if translated else rows


@dataclass(frozen=True)
class Outcome:
    """What came of the questions of one language: 0 or 1 for each by measure, and the texts that were generated."""

    measures: dict[str, list[int]]
    answers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """How questions are asked and answers scored.

    `name` is the record's; `score` gets a model, the questions, the texts that the prompts ask, and the questions for
    LiRA; `main` is the measure that systems are compared by; `settings` are whatever else an outcome depends on.
    """

    name: str
    score: Callable[[LiraForCausalLM, Sequence[Example], Sequence[str], Question], Outcome]
    main: str
    settings: Mapping[str, object] = field(default_factory=dict)


def choice_task(
    name: str,
    by: str = LIKELIHOOD,
    rule: str = "sum",
    listed: bool = False,
    max_new_tokens: int = ANSWER_TOKENS,
    batch_size: int = BATCH_SIZE,
) -> Task:
    """Return multiple choice by the likelihood of the choices, or by matching a greedy answer with them.

    Parameters
    ----------
    name : str
    by : "likelihood" or "generation"
    rule : "mean" or "sum"
        Of the log-probabilities of a choice's tokens. The default was decided on our validation questions by what no
        training changes, gemma-3-270m alone: sum 53.0 in English and 38.6 over the seven languages, mean 47.0 and 34.7.
    listed : bool
        Show the choices in the prompt of a generated answer.
    max_new_tokens, batch_size : int

    Raises
    ------
    LiraError
        Another way or rule.
    """
    if by not in (LIKELIHOOD, GENERATION):
        raise LiraError(f"--by must be {LIKELIHOOD} or {GENERATION}, got {by!r}")
    if rule not in RULES:
        raise LiraError(f"--rule must be one of {', '.join(RULES)}, got {rule!r}")
    if by == LIKELIHOOD:
        return Task(name, partial(_by_likelihood, batch_size=batch_size), rule, {"by": by})
    score = partial(_by_generation, listed=listed, max_new_tokens=max_new_tokens, batch_size=batch_size)
    settings = {"by": by, "listed": listed, "max_new_tokens": max_new_tokens}
    return Task(f"{name}-generation", score, CORRECT, settings)


def _by_likelihood(
    model: LiraForCausalLM, examples: Sequence[Example], texts: Sequence[str], question: Question, batch_size: int
) -> Outcome:
    prompts = [PROMPT.format(question=text) for text in texts]
    choices = [example.choices for example in examples]
    scored = choice_likelihoods(model, prompts, choices, question, batch_size)
    right = [example.choices.index(example.answer) for example in examples]
    measures = {}
    for rule in RULES:
        values = [[likelihood.mean if rule == "mean" else likelihood.total for likelihood in row] for row in scored]
        measures[rule] = [int(row.index(max(row)) == answer) for row, answer in zip(values, right, strict=True)]
    return Outcome(measures)


def _by_generation(
    model: LiraForCausalLM,
    examples: Sequence[Example],
    texts: Sequence[str],
    question: Question,
    listed: bool,
    max_new_tokens: int,
    batch_size: int,
) -> Outcome:
    prompts = [
        _listing(text, example.choices) if listed else PROMPT.format(question=text)
        for text, example in zip(texts, examples, strict=True)
    ]
    ids = [model.processor.tokenizer(prompt)["input_ids"] for prompt in prompts]
    answers = generated(model, ids, question, max_new_tokens, ("\n",), batch_size=batch_size)
    chosen = [
        matched_choice(answer, example.choices, _labels(example.choices) if listed else ())
        for answer, example in zip(answers, examples, strict=True)
    ]
    right = [example.choices.index(example.answer) for example in examples]
    correct = [int(choice == answer) for choice, answer in zip(chosen, right, strict=True)]
    return Outcome({CORRECT: correct, UNMATCHED: [int(choice is None) for choice in chosen]}, answers)


def _labels(choices: Sequence[str]) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]


def _listing(text: str, choices: Sequence[str]) -> str:
    lines = [f"{label}. {choice}" for label, choice in zip(_labels(choices), choices, strict=True)]
    return LISTED.format(question=text, choices="\n".join(lines))


# ---------------------------------------------------------------- models


class Reader:
    """A loaded model and the questions in the form that it reads, with translations and without."""

    def __init__(self, model: LiraForCausalLM, streams: Path, examples: Sequence[Example], dtype: str) -> None:
        limit = model.config.encoder.num_candidates
        known = [replace(example, candidates=example.candidates[:limit]) for example in examples]
        plain = [replace(example, candidates=()) for example in examples]
        cache = StreamCache(streams)
        self.tables: dict[bool, QuestionTable] = {
            given: cache_questions(model.lira, cache, rows) for given, rows in ((True, known), (False, plain))
        }
        self.model = model
        self.whole = fingerprint(model)
        sample = weights_sketch(model.language_model).encode()
        self.language_model = hashlib.sha256(sample + str(model.config.text_model).encode()).hexdigest()[:16]
        model.language_model.to(getattr(torch, dtype))

    def question(self, system: System, places: Sequence[int]) -> Question:
        """Return what LiRA is given of the questions at `places` of the table."""
        if not system.lira:
            return alone
        table, device = self.tables[system.candidates], self.model.device

        def given(rows: Sequence[int]) -> dict[str, Tensor]:
            inputs = table.inputs([places[row] for row in rows])
            return {name: values.to(device) for name, values in inputs.items()}

        return given


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Sources:
    """Saved models: those to measure, several seeds of one kind, and rivals of the multilingual stream alone.

    `parts` take the place of the language model and the two encoders that they name, where not None; `dtype` is the
    language model's.
    """

    models: Sequence[str]
    rivals: Sequence[str] = ()
    parts: Sequence[str | None] = (None, None, None)
    dtype: str = DTYPES[0]

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.models:
            raise LiraError("give at least one --model")
        if self.dtype not in DTYPES:
            raise LiraError(f"--dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")


Scores = dict[str, dict[str, list[Outcome]]]
"""Outcomes by system and language, one a model."""


def chosen_examples(
    examples: Sequence[Example], languages: Sequence[str] | None = None, limit: int | None = None
) -> list[Example]:
    """Return the first `limit` questions of each of the languages, English last.

    Raises
    ------
    LiraError
        A language without questions.
    """
    there = list(dict.fromkeys(example.language for example in examples))
    for code in languages or ():
        if code not in there:
            raise LiraError(f"there is no question in language {code!r}, only in {', '.join(there)}")
    wanted = list(dict.fromkeys(languages or there))
    wanted.sort(key=lambda code: code == ENGLISH)
    return [example for code in wanted for example in [one for one in examples if one.language == code][:limit]]


def check_choices(examples: Sequence[Example]) -> None:
    """Raise `LiraError` for a question without two choices, the answer among them."""
    for example in examples:
        if len(example.choices) < 2 or example.answer not in example.choices:
            raise LiraError(f"question {example.id} ({example.language}) has no choices with the answer among them")


def with_candidates(examples: Sequence[Example], path: Path | None) -> list[Example]:
    """Give questions the translations in a file that `lira translate` or `lira critique` wrote.

    Raises
    ------
    LiraError
        No such file, one of another form, or one without any of the questions.
    """
    if path is None:
        return list(examples)
    known = read_candidates(path)
    translated = [
        replace(example, candidates=tuple(one.text for one in known.get((example.language, example.question), ())))
        for example in examples
    ]
    if not any(example.candidates for example in translated):
        raise LiraError(f"{path} has translations of none of these questions")
    return translated


def measure(
    task: Task, examples: Sequence[Example], sources: Sources, streams: Path, output: Path
) -> tuple[Scores, dict[str, Any]]:
    """Ask every system every question; what is finished is kept in `output` and not asked again.

    Returns
    -------
    Scores, and what is to be told of the models

    Raises
    ------
    LiraError
        A model or language that is not there, a model in the place of a rival, prompts that are too long.
    """
    places: dict[str, list[int]] = {}
    for position, example in enumerate(examples):
        places.setdefault(example.language, []).append(position)
    rows = systems_of(examples)
    baseline = [System(MAPPING, _question, lira=True)]
    planned = [*((name, rows, False) for name in sources.models), *((name, baseline, True) for name in sources.rivals)]
    scores: Scores = {}
    described: dict[str, Any] = {}
    total = sum(len(asked) for _, asked, _ in planned) * len(places)
    with tqdm(total=total, desc=task.name, unit="language", disable=None) as bar:
        for name, asked, rival in planned:
            model = load_reasoner(name, *sources.parts)
            _check_stream(model, name, rival)
            reader = Reader(model, streams, examples, sources.dtype)
            described = described or _told(model, sources.dtype)
            for system in asked:
                for language, there in places.items():
                    outcome = _step(task, system, reader, examples, there, sources.dtype, output)
                    scores.setdefault(system.name, {}).setdefault(language, []).append(outcome)
                    bar.update()
            del model, reader  # before the next one is loaded
    return scores, described


def _check_stream(model: LiraForCausalLM, name: str, rival: bool) -> None:
    if rival != (model.config.stream == "multilingual"):
        option, stream = ("--rival", "multilingual") if rival else ("--model", "fused")
        raise LiraError(f"{option} {name!r} reads the {model.config.stream} stream, not the {stream} one")


def _told(model: LiraForCausalLM, dtype: str) -> dict[str, Any]:
    return {
        "name": shown(model.config.text_model),
        "parameters": sum(weights.numel() for weights in model.language_model.parameters()),
        "dtype": dtype,
        "weights": "the checkpoint's own" if model.config.backbones_included else "those of the model that it names",
    }


def _step(
    task: Task,
    system: System,
    reader: Reader,
    examples: Sequence[Example],
    places: Sequence[int],
    dtype: str,
    output: Path,
) -> Outcome:
    """Score the questions of one language, or read what an earlier run made of them.

    A step is found again by all that it depends on, so equal language models are asked once, whatever is before them.
    """
    asked = [reader.tables[True].examples[position] for position in places]
    texts = [system.text(example) for example in asked]
    depends = {
        "task": [task.name, task.settings, PROMPT, LISTED],
        "model": [reader.whole, system.candidates] if system.lira else reader.language_model,
        "dtype": dtype,
        "texts": texts,
        "examples": [
            asdict(example if system.candidates else replace(example, candidates=(), english="")) for example in asked
        ],
    }
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
    plain = re.sub(r"\W+", "-", f"{task.name} {examples[places[0]].language}")
    path = output / "steps" / f"{plain}-{digest}.json"
    if not path.is_file():
        outcome = task.score(reader.model, asked, texts, reader.question(system, places))
        atomic_write_text(path, json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
    return Outcome(**json.loads(path.read_text(encoding="utf-8")))


# ---------------------------------------------------------------- numbers


Values = dict[str, dict[str, Tensor]]
"""0 or 1 by system and language, [R, Q] of R models."""


def summarise(
    scores: Scores,
    main: str,
    tasks: Mapping[str, Sequence[str]] | None = None,
    ids: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return everything that the record holds, as plain numbers; "mean" is the mean over languages without English.

    Parameters
    ----------
    scores : Scores
    main : str
        Measure that systems are compared by.
    tasks : mapping of language to sequence of str, optional
        Kind of every question.
    ids : mapping of language to sequence of str, optional
        Id of every question; the same id in two languages is the same question, and intervals draw both together.
    """
    names = list(next(iter(next(iter(scores.values())).values()))[0].measures)
    by_measure = {name: _values(scores, name) for name in names}
    compared = by_measure[main]
    languages = list(next(iter(compared.values())))
    low = [code for code in languages if code != ENGLISH]
    summary: dict[str, Any] = {
        "languages": low,
        "questions": {code: values.shape[1] for code, values in next(iter(compared.values())).items()},
        "main": main,
        "measures": {
            name: {system: _means(scored) for system, scored in values.items()} for name, values in by_measure.items()
        },
        "deviation_over_models": {
            system: deviation_over_models([scored[code] for code in low or languages])
            for system, scored in compared.items()
        },
        "differences": _differences(compared, low, ids),
        "english": _differences(compared, [ENGLISH], ids) if ENGLISH in languages else {},
        "by_other_rule": {
            name: _differences(by_measure[name], low, ids) for name in names if name in RULES and name != main
        },
    }
    if tasks is not None and any(any(kinds) for kinds in tasks.values()):
        summary["kinds"] = {system: dict(_by_kind(scored, tasks, low)) for system, scored in compared.items()}
    return summary


def _values(scores: Scores, measure: str) -> Values:
    return {
        system: {
            code: torch.tensor([outcome.measures[measure] for outcome in runs], dtype=torch.float64)
            for code, runs in by_language.items()
        }
        for system, by_language in scores.items()
    }


def card_rows(scores: Scores, task: Task) -> list[dict[str, Any]]:
    """Return accuracies with 95% bootstrap intervals as the rows of a model's card."""
    rows = []
    for system, languages in _values(scores, task.main).items():
        for code, runs in languages.items():
            values = runs.mean(0)
            row = {"system": system, "task": task.name, "language": code, "metric": "accuracy"}
            figures = {"value": float(values.mean()), "interval": bootstrap_interval(values)}
            rows.append(row | figures | {"baseline": system not in (LIRA, LIRA_FREE)})
    return rows


def _means(values_of: Mapping[str, Tensor]) -> dict[str, float]:
    means = {code: float(values.mean()) for code, values in values_of.items()}
    low = [value for code, value in means.items() if code != ENGLISH]
    return {**means, **({MEAN: sum(low) / len(low)} if low else {})}


def _differences(values: Values, languages: Sequence[str], ids: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    """Return paired differences of LiRA and every baseline, all of them corrected together."""
    if not languages:
        return {}
    differences = {}
    for first, second in _pairs(values):
        sides = [{code: values[name][code] for code in languages} for name in (first, second)]
        for language, difference in paired_differences(sides[0], sides[1], questions=ids).items():
            if language != MEAN or ENGLISH not in languages:  # English stands by itself
                differences[f"{first} against {second}", language] = difference
    nested: dict[str, Any] = {}
    for (pair, language), difference in correct(differences).items():
        nested.setdefault(pair, {})[language] = asdict(difference)
    return nested


def _pairs(values: Values) -> Iterator[tuple[str, str]]:
    """Yield LiRA with every other row, and LiRA without translations with those that have none either."""
    for rival in (BARE, TRANSLATED, ALL_TRANSLATIONS, REFERENCE, MAPPING, LIRA_FREE):
        if LIRA in values and rival in values:
            yield LIRA, rival
    for rival in (BARE, MAPPING):
        if rival in values:
            yield LIRA_FREE, rival


def _by_kind(
    values: Mapping[str, Tensor], tasks: Mapping[str, Sequence[str]], languages: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield the mean over languages of the questions of each kind."""
    for kind in dict.fromkeys(kind for code in languages for kind in tasks[code]):
        parts = [values[code][:, [one == kind for one in tasks[code]]] for code in languages]
        means = [float(part.mean()) for part in parts if part.shape[1]]
        yield kind, sum(means) / len(means)


# ---------------------------------------------------------------- the command


def run_reasoning(
    task: Task,
    examples: Sequence[Example],
    sources: Sources,
    streams: Path,
    output: Path,
    records: Path = RECORDS,
    notes: Mapping[str, Any] | None = None,
    remark: Callable[[int], str] = lambda parameters: "",
) -> dict[str, Any]:
    """Measure saved reasoning models, print the table and write the task's record.

    Parameters
    ----------
    task : Task
    examples : sequence of Example
    sources : Sources
    streams : Path
        Cache of the encoders' streams.
    output : Path
        Keeps finished steps: interrupted, the command goes on.
    records : Path
    notes : mapping, optional
        What else the record is to say.
    remark : callable
        What is to be said of a language model of so many parameters.

    Raises
    ------
    LiraError
        As `measure`.
    """
    meter = Meter(task.name)
    scores, described = measure(task, examples, sources, streams, output)
    tasks: dict[str, list[str]] = {}
    ids: dict[str, list[str]] = {}
    for example in examples:
        tasks.setdefault(example.language, []).append(example.task)
        ids.setdefault(example.language, []).append(example.id)
    result = {
        "models": [shown(name) for name in sources.models],
        "weights": [weights_of(name) for name in sources.models],
        "rivals": [shown(name) for name in sources.rivals],
        "language_model": described,
        "settings": dict(task.settings),
        **(notes or {}),
        "remark": remark(described["parameters"]),
        **summarise(scores, task.main, tasks, ids),
    }
    if len(sources.models) == 1:
        result["results"] = card_rows(scores, task)
    subject = {name: result[name] for name in ("settings", "language_model")}
    asked = digest_of([[asdict(example) for example in examples], task.main])
    models, rivals = identities(sources.models), identities(sources.rivals)
    parts = shown_all(sources.parts)
    path = meter.record(result, **subject, weights=models, questions=asked, rivals=rivals, parts=parts).write(records)
    console.print(table_of(result, f"{task.name}: accuracy x 100, by {task.main}"))
    for measure_name, systems in result["measures"].items():
        if measure_name != task.main:
            means = ", ".join(
                f"{name} {100 * means_of.get(MEAN, means_of.get(ENGLISH)):.1f}" for name, means_of in systems.items()
            )
            console.print(f"{measure_name} x 100: {means}", highlight=False)
    if result["remark"]:
        console.print(result["remark"], highlight=False)
    console.print(f"numbers: {path}", highlight=False)
    return result


def table_of(result: Mapping[str, Any], title: str) -> Table:
    """Return the printed table: accuracy by language, then what LiRA gains on every baseline."""
    languages = [code for code in result["questions"] if code != ENGLISH]
    columns = [*languages, *([MEAN] if languages else []), *([ENGLISH] if ENGLISH in result["questions"] else [])]
    table = Table(title=f"{title}; * differs at 5% after Holm's correction", title_justify="left")
    table.add_column("system", overflow="fold", min_width=30)
    for column in columns:
        table.add_column(column, justify="right")
    for system, values in result["measures"][result["main"]].items():
        spread = result["deviation_over_models"][system]
        cells = [f"{100 * values[column]:.1f}" for column in columns]
        if spread and MEAN in columns:
            cells[columns.index(MEAN)] += f" ± {100 * spread:.1f}"
        table.add_row(system, *cells)
    table.add_section()
    for pair in result["differences"] or result["english"]:
        values = {**result["differences"].get(pair, {}), **result["english"].get(pair, {})}
        table.add_row(pair, *(difference_cell(values[column]) for column in columns))
    return table
