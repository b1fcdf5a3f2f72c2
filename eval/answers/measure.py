"""Ask every system every question, once: what is finished is kept."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from modeling_lira.data.question_table import QuestionTable, cache_questions
from modeling_lira.data.questions import Example
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text
from modeling_lira.frozen_backbone import weights_sketch
from modeling_lira.modeling_lira_causal_lm import LiraForCausalLM
from modeling_lira.processing_lira_causal_lm import PROMPT
from modeling_lira.records.command_line import shown
from modeling_lira.records.saved_model import fingerprint, load_reasoner

from ..benchmarks.unseen import read_candidates
from .answering import Question, alone
from .tasks import ENGLISH, LISTED, MAPPING_ROW, Outcome, System, Task, systems_of

DTYPES = ("bfloat16", "float32")


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

    def question(self, system: System, positions: Sequence[int]) -> Question:
        """Return what LiRA is given of the questions at `positions` of the table."""
        if not system.lira:
            return alone
        table, device = self.tables[system.candidates], self.model.device

        def given(rows: Sequence[int]) -> dict[str, Tensor]:
            inputs = table.inputs([positions[row] for row in rows])
            return {name: values.to(device) for name, values in inputs.items()}

        return given


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
    positions: dict[str, list[int]] = {}
    for position, example in enumerate(examples):
        positions.setdefault(example.language, []).append(position)
    rows, baseline = systems_of(examples), [MAPPING_ROW]
    planned = [*((name, rows, False) for name in sources.models), *((name, baseline, True) for name in sources.rivals)]
    scores: Scores = {}
    described: dict[str, Any] = {}
    total = sum(len(asked) for _, asked, _ in planned) * len(positions)
    with tqdm(total=total, desc=task.name, unit="language", disable=None) as bar:
        for name, asked, rival in planned:
            model = load_reasoner(name, *sources.parts)
            _check_stream(model, name, rival)
            reader = Reader(model, streams, examples, sources.dtype)
            described = described or _described(model, sources.dtype)
            for system in asked:
                for language, there in positions.items():
                    outcome = _step(task, system, reader, examples, there, sources.dtype, output)
                    scores.setdefault(system.name, {}).setdefault(language, []).append(outcome)
                    bar.update()
            del model, reader  # before the next one is loaded
    return scores, described


def _check_stream(model: LiraForCausalLM, name: str, rival: bool) -> None:
    if rival != (model.config.stream == "multilingual"):
        option, stream = ("--rival", "multilingual") if rival else ("--model", "fused")
        raise LiraError(f"{option} {name!r} reads the {model.config.stream} stream, not the {stream} one")


def _described(model: LiraForCausalLM, dtype: str) -> dict[str, Any]:
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
    positions: Sequence[int],
    dtype: str,
    output: Path,
) -> Outcome:
    """Score the questions of one language, or read what an earlier run made of them.

    A step is found again by all that it depends on, so equal language models are asked once, whatever is before them.
    """
    asked = [reader.tables[True].examples[position] for position in positions]
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
    plain = re.sub(r"\W+", "-", f"{task.name} {examples[positions[0]].language}")
    path = output / "steps" / f"{plain}-{digest}.json"
    if not path.is_file():
        outcome = task.score(reader.model, asked, texts, reader.question(system, positions))
        atomic_write_text(path, json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
    return Outcome(**json.loads(path.read_text(encoding="utf-8")))
