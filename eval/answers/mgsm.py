"""Word problems in the form of MGSM: zero-shot and few-shot prompts, exact match on the number."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modeling_lira.data.questions import Example
from modeling_lira.data.table_file import text_lines
from modeling_lira.errors import LiraError, is_blank
from modeling_lira.modeling_lira_causal_lm import LiraForCausalLM
from modeling_lira.processing_lira_causal_lm import PROMPT

from .answering import BATCH_SIZE, Question, generated
from .mcqa import load_rows
from .numbers import extract_number
from .tasks import CORRECT, Outcome, Task

EXEMPLARS = Path(__file__).with_name("exemplars.tsv")
"""Ours, in English: for where those of MGSM are not at hand."""
LABELS = ("Question", "Step-by-Step Answer")
SHOTS = 8
UNNUMBERED = "without a number"
MAX_NEW_TOKENS = 128
SMALL = 1_000_000_000
"""Parameters below which a language model solves next to nothing of MGSM."""
_LINE = ("\n", "Q:")
_NEXT = ("\nQuestion:",)
"""Where an answer ends with worked examples before it, and without."""
_LABEL = re.compile(r"\s*([^:：]{1,40}?)\s*[:：]\s*(.+)", re.DOTALL)


@dataclass(frozen=True)
class Shots:
    """Worked examples as a prompt shows them: their text, the labels of a question and of its answer, their origin."""

    text: str
    labels: tuple[str, str]
    source: str


def read_mgsm(data: str, languages: Sequence[str] | None = None) -> list[Example]:
    """Read word problems whose answer is a number.

    Parameters
    ----------
    data : str
        A folder with mgsm_<language>.tsv (question, tab, answer; no header), or a Hub dataset with a part for each
        language, its columns `question` and `answer_number`.
    languages : sequence of str, optional
        By default all of the folder; needed for a Hub dataset.

    Raises
    ------
    LiraError
        A folder or dataset without a language, or a row without a question and a number.

    Source: Shi et al. (2023), MGSM.
    """
    folder = Path(data)
    if not folder.is_dir():
        if not languages:
            raise LiraError(f"{data!r} is no folder; of a Hub dataset name the --languages")
        rows = {code: _hub_rows(data, code) for code in languages}
    else:
        there = sorted(path.stem.removeprefix("mgsm_") for path in folder.glob("mgsm_*.tsv"))
        there = [code for code in there if not code.endswith("_exemplars")]
        for code in languages or there:
            if code not in there:
                raise LiraError(f"{folder} has no mgsm_{code}.tsv, only {', '.join(there) or 'nothing of that form'}")
        rows = {code: _pairs(folder / f"mgsm_{code}.tsv") for code in languages or there}
    examples = []
    for code, pairs in rows.items():
        for number, (question, answer) in enumerate(pairs, 1):
            if is_blank(question) or extract_number(answer) is None:
                raise LiraError(f"{data} {code} row {number}: expected a question and a number, got {answer!r}")
            examples.append(Example(str(number), code, question, (), answer))
    if not examples:
        raise LiraError(f"{data} has no word problem")
    return examples


def _pairs(path: Path) -> list[tuple[str, str]]:
    lines = [line.rstrip("\r\n").split("\t") for line in text_lines(path) if line.strip()]
    for number, cells in enumerate(lines, 1):
        if len(cells) != 2:
            raise LiraError(f"{path.name} line {number}: expected a question, a tab and an answer, got {cells}")
    return [(first, second) for first, second in lines]


def _hub_rows(name: str, language: str) -> list[tuple[str, str]]:
    rows = load_rows(name, language, "test")
    try:
        return [(str(row["question"]), str(row["answer_number"])) for row in rows]
    except KeyError as error:
        raise LiraError(f"{name} {language}: there is no column {error}") from error


# ---------------------------------------------------------------- worked examples


def read_shots(data: str, language: str, count: int) -> Shots:
    """Return worked examples in a language: the data's own, or else ours in English.

    Parameters
    ----------
    data : str
        A folder, which may have mgsm_<language>_exemplars.tsv (question, tab, answer in steps), or a Hub dataset,
        whose training part has them.
    language : str
    count : int

    Raises
    ------
    LiraError
        Fewer of them than asked for.

    Source: Shi et al. (2023), native chain of thought: questions, steps and their labels in the question's language.
    """
    if not Path(data).is_dir():
        pairs = [(str(row["question"]), str(row["answer"])) for row in load_rows(data, language, "train")]
        source = f"{data}, train"
    else:
        native = Path(data) / f"mgsm_{language}_exemplars.tsv"
        pairs = _pairs(native if native.is_file() else EXEMPLARS)
        source = native.name if native.is_file() else "ours, in English"
    if len(pairs) < count:
        raise LiraError(f"{source}: {len(pairs)} worked examples, {count} are needed")
    labels, bodies = _without_labels(pairs[:count])
    text = "".join(f"{labels[0]}: {question}\n{labels[1]}: {answer}\n\n" for question, answer in bodies)
    return Shots(text, labels, source)


def _without_labels(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Take off what stands before the colon of every question and of every answer; without that, English labels."""
    matches = [(_LABEL.match(question), _LABEL.match(answer)) for question, answer in pairs]
    parts = [(first.groups(), second.groups()) for first, second in matches if first and second]
    labels = {(first[0], second[0]) for first, second in parts}
    if len(parts) < len(pairs) or len(labels) != 1:
        return LABELS, list(pairs)
    return labels.pop(), [(first[1], second[1]) for first, second in parts]


# ---------------------------------------------------------------- asking


def mgsm_task(
    data: str,
    languages: Sequence[str],
    shots: int = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch_size: int = BATCH_SIZE,
) -> Task:
    """Return word problems by exact match on the number of a greedy answer.

    Without shots the prompt is the one that LiRA was trained with, and the answer may take all of `max_new_tokens`;
    with shots it is MGSM's native chain of thought, and the answer ends with its line.

    Raises
    ------
    LiraError
        Another number of shots than 0 to 8, or fewer worked examples.

    Source: Shi et al. (2023).
    """
    if not 0 <= shots <= SHOTS:
        raise LiraError(f"--shots must be between 0 and {SHOTS}, got {shots}")
    given = {code: read_shots(data, code, shots) for code in languages} if shots else {}
    settings = {
        "shots": shots,
        "max_new_tokens": max_new_tokens,
        "exemplars": {code: worked.source for code, worked in given.items()},
        "exemplars_digest": hashlib.sha256("".join(worked.text for worked in given.values()).encode()).hexdigest()[:12],
    }
    score = partial(_score, shots=given, max_new_tokens=max_new_tokens, batch_size=batch_size)
    return Task(f"mgsm-{shots}-shot" if shots else "mgsm", score, CORRECT, settings)


def _score(
    model: LiraForCausalLM,
    examples: Sequence[Example],
    texts: Sequence[str],
    question: Question,
    shots: Mapping[str, Shots],
    max_new_tokens: int,
    batch_size: int,
) -> Outcome:
    tokenizer, language = model.processor.tokenizer, examples[0].language
    if language in shots:
        worked = shots[language]
        prefix = tokenizer(worked.text)["input_ids"]
        prompts = [f"{worked.labels[0]}: {text}\n{worked.labels[1]}:" for text in texts]
        ids = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        stops: tuple[str, ...] = _LINE
    else:
        prefix, ids = [], [tokenizer(PROMPT.format(question=text))["input_ids"] for text in texts]
        stops = _NEXT
    answers = generated(model, ids, question, max_new_tokens, stops, prefix, batch_size)
    numbers = [extract_number(answer, language) for answer in answers]
    right = [extract_number(example.answer) for example in examples]
    correct = [int(number == wanted) for number, wanted in zip(numbers, right, strict=True)]
    return Outcome({CORRECT: correct, UNNUMBERED: [int(number is None) for number in numbers]}, answers)


def size_note(parameters: int) -> str:
    """Say what a score of a small language model on MGSM is worth."""
    if parameters >= SMALL:
        return ""
    return (
        f"The language model has {parameters / 1e6:.0f} million parameters: models of this size score near zero on "
        "MGSM, with or without LiRA, so this shows that the evaluation runs, not which system is better."
    )
