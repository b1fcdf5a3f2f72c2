"""A whole training run in one call: `train(read_options("config.yaml"), "runs/mine")`."""

import json
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import PartialState

from ..data.corpus import ENGLISH, RetrievalSplit, corpus_languages, load_split
from ..data.stream_cache import StreamCache
from ..data.tables import SplitTables, cache_split, token_split
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..records.command_line import command_line
from .lora import add_lora, lora_rates, merge_lora
from .options import TrainingOptions
from .resumable import Log, run_stage

logger = logging.getLogger(__name__)
PARTS = ("train", "validation")


def train(options: TrainingOptions, output: Path | str) -> LiraModel:
    """Train a model from its backbones on a corpus, and save it.

    Run it again after an interruption and it goes on; under `torchrun` the processes share each batch.

    Parameters
    ----------
    options : TrainingOptions
    output : path
        Gets `streams/`, the stages' checkpoints and logs, `model/` (adapter-only, or self-contained after LoRA) and
        `training.json`: command, options, logs, seconds, versions.

    Returns
    -------
    LiraModel, at its best validation epoch

    Raises
    ------
    LiraError
        A corpus, language or backbone that is not there; options that do not fit the data.

    Source: ours.
    """
    output, start = Path(output), time.perf_counter()
    state = PartialState(cpu=not torch.cuda.is_available())
    torch.manual_seed(options.seed)
    languages = options.languages or corpus_languages(options.corpus)
    model = LiraModel.from_backbones(
        options.multilingual,
        options.english,
        languages=[*languages, ENGLISH],
        **options.model,  # type: ignore[arg-type]
    )
    data = {part: [load_split(options.corpus, language, part) for language in languages] for part in PARTS}
    with state.main_process_first():  # the others find the streams there
        tables = _cached(model, data, StreamCache(output / "streams"))
    logs = {}
    if options.arca is not None:
        logs["arca"] = run_stage("arca", model, *tables, output, options.seed, options.arca)
    if options.lasr is not None:
        logs["lasr"] = _train_lasr(model, data, tables, output, options)
    if state.is_main_process:
        model.save_pretrained(output / "model", save_backbones=options.lora is not None)
        _write_record(output / "training.json", options, logs, time.perf_counter() - start)
    state.wait_for_everyone()
    return model


Tables = tuple[Sequence[SplitTables], Sequence[SplitTables]]
"""Training and validation tables, one a language."""


def _cached(model: LiraModel, data: dict[str, list[RetrievalSplit]], cache: StreamCache) -> Tables:
    train_part, validation = ([cache_split(model, cache, split) for split in data[part]] for part in PARTS)
    return train_part, validation


def _train_lasr(
    model: LiraModel, data: dict[str, list[RetrievalSplit]], tables: Tables, output: Path, options: TrainingOptions
) -> Log:
    assert options.lasr is not None
    run = partial(run_stage, "lasr", model, folder=output, seed=options.seed)
    if options.lora is None:
        return run(*tables, options=options.lasr)
    add_lora(model, options.lora)
    rates = {**options.lasr.learning_rates, **lora_rates(options.lora)}
    log = run(
        *([token_split(model, split) for split in data[part]] for part in PARTS),
        options=replace(options.lasr, learning_rates=rates),
    )
    merge_lora(model)
    return log


def _write_record(path: Path, options: TrainingOptions, logs: dict[str, Log], seconds: float) -> None:
    record = {
        "command": command_line(),
        "options": asdict(options),
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "processes": PartialState().num_processes,
        "versions": {name: version(name) for name in ("torch", "transformers", "datasets", "peft")}
        | {"python": platform.python_version()},
        "training": logs,
    }
    atomic_write_text(path, json.dumps(record, indent=1) + "\n")
    logger.info("%s: trained in %.0f s", path.parent / "model", seconds)
