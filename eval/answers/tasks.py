"""What is compared and how: the systems that answer questions, and the tasks that score their answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from modeling_lira.data.questions import Example
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.names import LIRA, LIRA_FREE
from modeling_lira.modeling_lira_causal_lm import LiraForCausalLM
from modeling_lira.processing_lira_causal_lm import PROMPT

from .answering import BATCH_SIZE, Question, choice_likelihoods, generated, matched_choice

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
ANSWER_TOKENS = 24
LISTED = "Question: {question}\n{choices}\nAnswer:"
"""The prompt that shows the choices."""


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


MAPPING_ROW = System(MAPPING, _question, lira=True)


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
