"""Questions with their answers, read from JSON lines or from a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import LiraError, is_blank
from ..files.sources import check_source
from .cells import shown
from .table_file import read_rows


@dataclass(frozen=True)
class Example:
    """A question in one language and its answer in English.

    `id` is shared by the same question in other languages; `choices` are empty where the answer is free;
    `english` is what the question says in English, where that is known.
    """

    id: str
    language: str
    question: str
    candidates: tuple[str, ...]
    answer: str
    choices: tuple[str, ...] = ()
    english: str = ""
    task: str = ""


def read_questions(source: Path | str, split: str) -> list[Example]:
    """Read a split of questions.

    Parameters
    ----------
    source : path or str
        A folder with `<split>.jsonl`, or a dataset that `datasets` loads. Each row has `question`, `language` and
        `answer`: the text, or the position of the right one in `choices`. `candidates` (English translations), `id`,
        `english` and `task` are optional.
    split : str

    Raises
    ------
    LiraError
        A source without that split, or a row that is no such question.
    """
    path = Path(source) / f"{split}.jsonl"
    if path.is_file():
        examples = [_example(row, f"{path} line {number}") for number, row in read_rows(path)]
    elif Path(source).is_dir():
        raise LiraError(f"{path} is not there: `python -m dataset_builder reasoning --output {source}` writes it")
    else:
        examples = _from_dataset(str(source), split)
    if not examples:
        raise LiraError(f"{source} has no question in split {split!r}")
    return examples


def _from_dataset(name: str, split: str) -> list[Example]:
    from datasets import load_dataset

    from .progress import quiet_datasets

    check_source("questions", name, "dataset")
    try:
        with quiet_datasets():
            rows = load_dataset(name, split=split)
    except (OSError, ValueError, ConnectionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LiraError(f"questions {name!r}: no such folder, and no dataset with split {split!r}: {reason}") from error
    return [_example(row, f"{name} {split} row {number}") for number, row in enumerate(rows)]


def _example(row: Mapping[str, object], where: str) -> Example:
    choices = _texts(row.get("choices"), f"{where}: choices")
    answer = row.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(choices):
            raise LiraError(f"{where}: answer {answer} is not the position of one of {len(choices)} choices")
        answer = choices[answer]
    texts = {"question": row.get("question"), "language": row.get("language"), "answer": answer}
    for name, value in texts.items():
        if not isinstance(value, str) or is_blank(value):
            raise LiraError(f"{where}: {name} must be a text, got {shown(value)}")
    return Example(
        id=str(row.get("id", where)),
        language=str(texts["language"]),
        question=str(texts["question"]),
        candidates=_texts(row.get("candidates"), f"{where}: candidates"),
        answer=str(texts["answer"]),
        choices=choices,
        english=str(row.get("english") or ""),
        task=str(row.get("task") or ""),
    )


def _texts(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise LiraError(f"{where} must be a list of str, got {shown(value)}")
    return tuple(text for text in value if not is_blank(text))
