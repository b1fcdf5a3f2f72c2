"""The commands of `python -m eval` that ask a reasoning model questions."""

from pathlib import Path
from typing import Annotated

import typer

from ..options import RECORDS

Models = Annotated[
    list[str], typer.Option("--model", help="Folder or Hub id of a reasoning model; repeat for other seeds of it.")
]
Rivals = Annotated[
    list[str] | None,
    typer.Option("--rival", help="A model trained on the multilingual stream alone (MindMerger); repeat for seeds."),
]
Languages = Annotated[str, typer.Option(help="Language codes; all of the data when left out.")]
More = Annotated[list[str] | None, typer.Argument(metavar="[LANGUAGE]...", help="More codes after --languages.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many questions a language.")]
TextModel = Annotated[str | None, typer.Option(help="Language model, in place of the one that the models name.")]
Multilingual = Annotated[str | None, typer.Option(help="Multilingual encoder, in place of the models' own.")]
English = Annotated[str | None, typer.Option(help="English encoder, in place of the models' own.")]
DType = Annotated[str, typer.Option("--dtype", help="bfloat16 or float32, of the language model.")]
By = Annotated[str, typer.Option("--by", help="likelihood of the choices, or generation.")]
Rule = Annotated[str, typer.Option(help="mean or sum of a choice's token log-probabilities.")]
Candidates = Annotated[Path | None, typer.Option(help="Translations of the questions, as `lira critique` writes them.")]
Streams = Annotated[Path, typer.Option(help="Keeps the encoders' streams of every text; shared by all commands.")]
Batch = Annotated[int, typer.Option(min=1, help="Prompts at a time: changes the speed, results by rounding alone.")]
NewTokens = Annotated[int, typer.Option(min=1, help="Longest generated answer, in tokens.")]
Output = Annotated[Path, typer.Option(help="Keeps finished steps: interrupted, the command goes on.")]
Records = Annotated[Path, typer.Option(help="Gets the record.")]
STREAMS = Path("runs/streams")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: python -m eval own --data runs/questions --model runs/reasoning/model")(own)
    app.command(epilog="Example: python -m eval mgsm --data DIR --languages th bn en --limit 100 --model DIR_OR_REPO")(
        mgsm
    )
    app.command(epilog="Example: python -m eval mcqa --data xcsqa/vi/dev.jsonl --model DIR_OR_REPO")(mcqa)


def _codes(languages: str, more: list[str] | None) -> list[str] | None:
    return [code for text in (languages, *(more or ())) for code in text.replace(",", " ").split()] or None


def own(
    model: Models,
    more: More = None,
    data: Annotated[str, typer.Option(help="Folder of questions, or a dataset.")] = "runs/questions",
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "test",
    rival: Rivals = None,
    languages: Languages = "",
    limit: Limit = None,
    by: By = "likelihood",
    rule: Rule = "sum",
    text_model: TextModel = None,
    multilingual: Multilingual = None,
    english: English = None,
    dtype: DType = "bfloat16",
    max_new_tokens: NewTokens = 24,
    batch_size: Batch = 16,
    streams: Streams = STREAMS,
    output: Output = Path("runs/own"),
    records: Records = RECORDS,
) -> None:
    """Ask our own multiple-choice questions: LiRA, with and without translations, against the language model alone."""
    from modeling_lira.data.questions import read_questions
    from modeling_lira.records.command_line import shown

    from .measure import Sources, check_choices, choice_task, chosen_examples, run_reasoning

    task = choice_task("own", by, rule, max_new_tokens=max_new_tokens, batch_size=batch_size)
    sources = Sources(model, rival or (), (text_model, multilingual, english), dtype)
    examples = chosen_examples(read_questions(data, split), _codes(languages, more), limit)
    check_choices(examples)
    run_reasoning(task, examples, sources, streams, output, records, {"dataset": shown(data), "split": split})


def mcqa(
    model: Models,
    data: Annotated[str, typer.Option(help="JSONL file in X-CSQA's form, a folder of them, or a Hub dataset.")],
    more: More = None,
    rival: Rivals = None,
    languages: Languages = "",
    limit: Limit = None,
    candidates: Candidates = None,
    by: By = "likelihood",
    rule: Rule = "sum",
    listed: Annotated[bool, typer.Option(help="Show the choices before a generated answer.")] = True,
    text_model: TextModel = None,
    multilingual: Multilingual = None,
    english: English = None,
    dtype: DType = "bfloat16",
    max_new_tokens: NewTokens = 24,
    batch_size: Batch = 16,
    streams: Streams = STREAMS,
    output: Output = Path("runs/mcqa"),
    records: Records = RECORDS,
) -> None:
    """Ask multiple-choice questions in X-CSQA's form, by likelihood of the choices or by generation."""
    from modeling_lira.records.command_line import shown

    from .mcqa import read_mcqa
    from .measure import Sources, check_choices, choice_task, chosen_examples, run_reasoning, with_candidates

    task = choice_task("mcqa", by, rule, listed, max_new_tokens, batch_size)
    sources = Sources(model, rival or (), (text_model, multilingual, english), dtype)
    codes = _codes(languages, more)
    examples = with_candidates(chosen_examples(read_mcqa(data, codes), codes, limit), candidates)
    check_choices(examples)
    run_reasoning(task, examples, sources, streams, output, records, {"dataset": shown(data)})


def mgsm(
    model: Models,
    data: Annotated[str, typer.Option(help="Folder with mgsm_th.tsv, mgsm_bn.tsv, …, or a Hub dataset.")],
    more: More = None,
    rival: Rivals = None,
    languages: Languages = "",
    limit: Limit = None,
    candidates: Candidates = None,
    shots: Annotated[int, typer.Option(help="Worked examples in the prompt, 0 to 8.")] = 0,
    text_model: TextModel = None,
    multilingual: Multilingual = None,
    english: English = None,
    dtype: DType = "bfloat16",
    max_new_tokens: NewTokens = 128,
    batch_size: Batch = 16,
    streams: Streams = STREAMS,
    output: Output = Path("runs/mgsm"),
    records: Records = RECORDS,
) -> None:
    """Ask MGSM's word problems, zero-shot or with worked examples, and match the number of the answer."""
    from modeling_lira.records.command_line import shown

    from .measure import Sources, chosen_examples, run_reasoning, with_candidates
    from .mgsm import mgsm_task, read_mgsm, size_note

    sources = Sources(model, rival or (), (text_model, multilingual, english), dtype)
    codes = _codes(languages, more)
    examples = with_candidates(chosen_examples(read_mgsm(data, codes), codes, limit), candidates)
    there = list(dict.fromkeys(example.language for example in examples))
    task = mgsm_task(data, there, shots, max_new_tokens, batch_size)
    run_reasoning(task, examples, sources, streams, output, records, {"dataset": shown(data)}, size_note)
