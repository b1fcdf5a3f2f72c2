"""Multiple-choice questions in the form of X-CSQA, from files or from the Hub."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_lira.data.questions import Example
from modeling_lira.data.table_file import read_rows
from modeling_lira.errors import LiraError, is_blank
from modeling_lira.files.sources import check_source

HUB_CONFIG = "X-CSQA-{language}"
"""Name of a language's part in the Hub dataset."""
SPLIT = "validation"
"""The Hub's test part has no answers."""
_CONVERTED = "refs/convert/parquet"


def read_mcqa(data: str, languages: Sequence[str] | None = None) -> list[Example]:
    """Read multiple-choice questions.

    Parameters
    ----------
    data : str
        A JSONL file, a folder of them at any depth, or a Hub dataset with a part X-CSQA-<language> for each language.
        A row has `id`, `lang`, `question` with `stem` and `choices` (each `label` and `text`), and `answerKey`.
    languages : sequence of str, optional
        Needed for a Hub dataset.

    Raises
    ------
    LiraError
        Data that is not there, or a row of another form or without an answer.

    Source: Lin et al. (2021), X-CSR.
    """
    path = Path(data)
    files = [path] if path.is_file() else sorted(path.rglob("*.jsonl")) if path.is_dir() else []
    if files:
        rows = [row for file in files for row in _read_rows(file)]
    elif path.is_dir() or path.suffix == ".jsonl":
        raise LiraError(f"{data}: no such JSONL file, and no folder of them")
    else:
        rows = list(_from_hub(data, languages))
    if not rows:
        raise LiraError(f"{data} has no question")
    return [_example(row, where) for where, row in rows]


def _read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    return ((f"{path.name} line {number}", row) for number, row in read_rows(path))


def _from_hub(name: str, languages: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    if not languages:
        raise LiraError(f"{name!r} is no file or folder; of a Hub dataset name the --languages")
    for language in languages:
        config = HUB_CONFIG.format(language=language)
        for number, row in enumerate(load_rows(name, config, SPLIT)):
            yield f"{name} {config} row {number}", row


def load_rows(name: str, config: str, split: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a part of a Hub dataset; raise `LiraError` where there is none."""
    from datasets import load_dataset

    check_source("questions", name, "dataset")
    try:
        try:
            return load_dataset(name, config, split=split)
        except RuntimeError:  # it is a script, which nobody should run; the Hub keeps what scripts once gave
            return load_dataset(name, config, split=split, revision=_CONVERTED)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LiraError(
            f"{name!r}: no such file or folder, and no dataset with {config!r} {split}: {reason}"
        ) from error


def _example(row: Any, where: str) -> Example:  # noqa: ANN401  # whatever JSON holds
    try:
        question, key = row["question"], row["answerKey"]
        given = question["choices"]
        if isinstance(given, Mapping):  # as `datasets` keeps a list of dictionaries
            labels, texts = given["label"], given["text"]
        else:
            labels, texts = [choice["label"] for choice in given], [choice["text"] for choice in given]
        answer = texts[labels.index(key)]
        example = Example(str(row["id"]), row["lang"], question["stem"], (), answer, tuple(texts))
    except (KeyError, TypeError, ValueError) as error:
        raise LiraError(
            f"{where}: expected id, lang, question (stem, choices with label and text) and the answerKey of one of "
            f"them, got {str(row)[:120]}"
        ) from error
    if not all(
        isinstance(text, str) and not is_blank(text) for text in (example.language, example.question, *example.choices)
    ):
        raise LiraError(f"{where}: lang, stem and the choices must be texts that are not empty")
    return example
