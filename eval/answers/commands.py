"""The commands of `python -m eval` that ask a reasoning model questions."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import RECORDS, STREAMS, English, Multilingual, Records, Streams, codes_of, shares

if TYPE_CHECKING:
    from modeling_lira.data.questions import Example

    from .measure import Sources

logger = logging.getLogger(__name__)

By = Annotated[str, typer.Option("--by", help="likelihood of the choices, or generation.")]
Rule = Annotated[str, typer.Option(help="mean or sum of a choice's token log-probabilities.")]
Candidates = Annotated[Path | None, typer.Option(help="Translations of the questions, as `lira critique` writes them.")]
NewTokens = Annotated[int, typer.Option(min=1, help="Longest generated answer, in tokens.")]
Output = Annotated[Path, typer.Option(help="Keeps finished steps: interrupted, the command goes on.")]


@dataclass(frozen=True)
class Asked:
    """The options of every command that asks questions."""

    model: Annotated[
        list[str], typer.Option("--model", help="Folder or Hub id of a reasoning model; repeat for other seeds of it.")
    ]
    more: Annotated[list[str] | None, typer.Argument(metavar="[LANGUAGE]...", help="More codes after --languages.")] = (
        None
    )
    rival: Annotated[
        list[str] | None,
        typer.Option(
            "--rival", help="A model trained on the multilingual stream alone (MindMerger); repeat for seeds."
        ),
    ] = None
    languages: Annotated[str, typer.Option(help="Language codes; all of the data when left out.")] = ""
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions a language.")] = None
    text_model: Annotated[
        str | None, typer.Option(help="Language model, in place of the one that the models name.")
    ] = None
    multilingual: Multilingual = None
    english: English = None
    dtype: Annotated[str, typer.Option("--dtype", help="bfloat16 or float32, of the language model.")] = "bfloat16"
    batch_size: Annotated[
        int, typer.Option(min=1, help="Prompts at a time: changes the speed, results by rounding alone.")
    ] = 16
    streams: Streams = STREAMS
    records: Records = RECORDS

    @property
    def codes(self) -> list[str] | None:
        """The languages asked for, or None for all."""
        return codes_of(" ".join((self.languages, *(self.more or ()))))

    @property
    def sources(self) -> "Sources":
        """The models to measure."""
        from .measure import Sources

        parts = (self.text_model, self.multilingual, self.english)
        return Sources(self.model, self.rival or (), parts, self.dtype)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: python -m eval questions --data runs/questions --model runs/reasoning/model")(
        questions
    )
    app.command(epilog="Example: python -m eval mgsm --data DIR --languages th bn en --limit 100 --model DIR_OR_REPO")(
        mgsm
    )
    app.command(epilog="Example: python -m eval mcqa --data xcsqa/vi/dev.jsonl --model DIR_OR_REPO")(mcqa)
    app.command("own", hidden=True)(own)


Data = Annotated[str, typer.Option(help="Folder of questions, or a dataset.")]
Split = Annotated[str, typer.Option(help="Which of its splits.")]


@shares(Asked)
def questions(
    asked: Asked,
    data: Data = "runs/questions",
    split: Split = "test",
    by: By = "likelihood",
    rule: Rule = "sum",
    max_new_tokens: NewTokens = 24,
    output: Output = Path("runs/answers"),
) -> None:
    """Ask our own multiple-choice questions: LiRA, with and without translations, against the language model alone."""
    _ask_shopping("questions", asked, data, split, by, rule, max_new_tokens, output)


@shares(Asked)
def own(
    asked: Asked,
    data: Data = "runs/questions",
    split: Split = "test",
    by: By = "likelihood",
    rule: Rule = "sum",
    max_new_tokens: NewTokens = 24,
    output: Output = Path("runs/own"),
) -> None:
    """Do what `questions` does, under the name that it had; its record is still called "own"."""
    _ask_shopping("own", asked, data, split, by, rule, max_new_tokens, output)
    logger.warning("`python -m eval own` is now `python -m eval questions`; the old name goes with the next release")


def _ask_shopping(
    name: str, asked: Asked, data: str, split: str, by: str, rule: str, max_new_tokens: int, output: Path
) -> None:
    from modeling_lira.data.questions import read_questions
    from modeling_lira.records.command_line import shown

    from .measure import check_choices, chosen_examples
    from .run import run_reasoning
    from .tasks import choice_task

    task = choice_task(name, by, rule, max_new_tokens=max_new_tokens, batch_size=asked.batch_size)
    sources = asked.sources
    examples = chosen_examples(read_questions(data, split), asked.codes, asked.limit)
    check_choices(examples)
    notes = {"dataset": shown(data), "split": split}
    run_reasoning(task, examples, sources, asked.streams, output, asked.records, notes)


@shares(Asked)
def mcqa(
    asked: Asked,
    data: Annotated[str, typer.Option(help="JSONL file in X-CSQA's form, a folder of them, or a Hub dataset.")],
    candidates: Candidates = None,
    by: By = "likelihood",
    rule: Rule = "sum",
    listed: Annotated[bool, typer.Option(help="Show the choices before a generated answer.")] = True,
    max_new_tokens: NewTokens = 24,
    output: Output = Path("runs/mcqa"),
) -> None:
    """Ask multiple-choice questions in X-CSQA's form, by likelihood of the choices or by generation."""
    from modeling_lira.records.command_line import shown

    from .mcqa import read_mcqa
    from .measure import check_choices
    from .run import run_reasoning
    from .tasks import choice_task

    task = choice_task("mcqa", by, rule, listed, max_new_tokens, asked.batch_size)
    sources = asked.sources
    examples = _chosen(asked, read_mcqa(data, asked.codes), candidates)
    check_choices(examples)
    run_reasoning(task, examples, sources, asked.streams, output, asked.records, {"dataset": shown(data)})


@shares(Asked)
def mgsm(
    asked: Asked,
    data: Annotated[str, typer.Option(help="Folder with mgsm_th.tsv, mgsm_bn.tsv, …, or a Hub dataset.")],
    candidates: Candidates = None,
    shots: Annotated[int, typer.Option(help="Worked examples in the prompt, 0 to 8.")] = 0,
    max_new_tokens: NewTokens = 128,
    output: Output = Path("runs/mgsm"),
) -> None:
    """Ask MGSM's word problems, zero-shot or with worked examples, and match the number of the answer."""
    from modeling_lira.records.command_line import shown

    from .mgsm import mgsm_task, read_mgsm, size_note
    from .run import run_reasoning

    sources = asked.sources
    examples = _chosen(asked, read_mgsm(data, asked.codes), candidates)
    there = list(dict.fromkeys(example.language for example in examples))
    task = mgsm_task(data, there, shots, max_new_tokens, asked.batch_size)
    notes = {"dataset": shown(data)}
    run_reasoning(task, examples, sources, asked.streams, output, asked.records, notes, size_note)


def _chosen(asked: Asked, examples: "list[Example]", candidates: Path | None) -> "list[Example]":
    """Return the questions of the languages asked for, up to the limit, with their translations."""
    from .measure import chosen_examples, with_candidates

    return with_candidates(chosen_examples(examples, asked.codes, asked.limit), candidates)
