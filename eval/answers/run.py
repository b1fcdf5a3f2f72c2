"""Measure saved reasoning models on a task: the table that is printed and the record that is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from modeling_lira.data.questions import Example
from modeling_lira.faces.terminal import PlainConsole
from modeling_lira.records.command_line import shown, shown_all
from modeling_lira.records.provenance import digest_of, identities

from ..options import RECORDS
from ..record import Meter, weights_of
from ..significance import MEAN, difference_cell
from .measure import Sources, measure
from .summary import card_rows, summarise
from .tasks import ENGLISH, Task

console = PlainConsole(width=170)


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
    result = {
        "models": [shown(name) for name in sources.models],
        "weights": [weights_of(name) for name in sources.models],
        "rivals": [shown(name) for name in sources.rivals],
        "language_model": described,
        "settings": dict(task.settings),
        **(notes or {}),
        "remark": remark(described["parameters"]),
        **summarise(scores, task.main, _by_language(examples, "task"), _by_language(examples, "id")),
    }
    if len(sources.models) == 1:
        result["results"] = card_rows(scores, task)
    subject = {name: result[name] for name in ("settings", "language_model")}
    asked = digest_of([[asdict(example) for example in examples], task.main])
    models, rivals = identities(sources.models), identities(sources.rivals)
    parts = shown_all(sources.parts)
    path = meter.record(result, **subject, weights=models, questions=asked, rivals=rivals, parts=parts).write(records)
    console.print(table_of(result, f"{task.name}: accuracy x 100, by {task.main}"))
    for line in (*_other_measures(result), f"numbers: {path}"):
        console.print(line, highlight=False)
    return result


def _by_language(examples: Sequence[Example], name: str) -> dict[str, list[str]]:
    """Return a field of every question by language."""
    values: dict[str, list[str]] = {}
    for example in examples:
        values.setdefault(example.language, []).append(getattr(example, name))
    return values


def _other_measures(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the means of the measures that systems are not compared by, then the remark, if there is one."""
    for name, systems in result["measures"].items():
        if name != result["main"]:
            means = (f"{system} {100 * of.get(MEAN, of.get(ENGLISH)):.1f}" for system, of in systems.items())
            yield f"{name} x 100: {', '.join(means)}"
    if result["remark"]:
        yield result["remark"]


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
