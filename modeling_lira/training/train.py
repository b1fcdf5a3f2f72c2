"""A whole training run in one call: `train(read_options("config.yaml"), "runs/mine")`."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..configuration_lira import PATHS
from ..data.corpus import ENGLISH, RetrievalSplit, languages_with, load_split
from ..data.stream_cache import StreamCache
from ..data.tables import SplitTables, cache_split
from ..modeling_lira import LiraModel
from .digests import code_version, digest_of
from .options import TrainingOptions
from .resumable import Log, run_stage
from .run_folder import RunClock, check_model_fields, process_state, run_folder, save_run

PARTS = ("train", "validation")


def train(options: TrainingOptions, output: Path | str) -> LiraModel:
    """Train a model from its backbones on a corpus, and save it.

    Run it again after an interruption and it goes on; under `torchrun` the processes share each batch.

    Parameters
    ----------
    options : TrainingOptions
    output : path
        Gets `streams/`, the stages' checkpoints and logs, `model/` (adapter-only: of a tuned encoder it holds what has
        changed), `run.json`, which says whose model that is, and `training.json`: command, options, logs, seconds,
        versions.

    Returns
    -------
    LiraModel, at its best validation epoch

    Raises
    ------
    LiraError
        There is no such corpus, language or backbone; the options do not fit the data; or `output` holds another run's
        model, or another run is training in it.
    """
    output, clock, state = Path(output), RunClock(), process_state()
    check_model_fields(options.model)
    languages = options.languages or languages_with(options.corpus, PARTS)
    data = {part: [load_split(options.corpus, language, part) for language in languages] for part in PARTS}
    with run_folder(output, _identity(options, data)) as claim:
        torch.manual_seed(options.seed)
        model = LiraModel.from_backbones(
            options.multilingual,
            options.english,
            languages=[*languages, ENGLISH],
            **options.model,  # type: ignore[arg-type]
        )
        with clock.training():
            logs = _tune(model, data, output, options)
        with state.main_process_first():  # it computes the streams, the others read them
            tables = _cached(model, data, StreamCache(output / "streams"))
        with clock.training():
            logs |= _train_stages(model, tables, output, options)
        claim()
        if state.is_main_process:
            record = {"options": asdict(options), "seconds": clock.total(logs), "training": logs}
            save_run(output, model, False, record)
        state.wait_for_everyone()
    return model


def _identity(options: TrainingOptions, data: dict[str, list[RetrievalSplit]]) -> dict[str, object]:
    """Return everything that decides the model: the corpus by its content, not by its path."""
    settings = asdict(replace(options, corpus="", languages=tuple(split.language for split in data[PARTS[0]])))
    return {**settings, "corpus": digest_of([*data["train"], *data["validation"]])[:16], "code": code_version()}


Tables = tuple[Sequence[SplitTables], Sequence[SplitTables]]
"""Training and validation tables, one a language."""


def _cached(model: LiraModel, data: dict[str, list[RetrievalSplit]], cache: StreamCache) -> Tables:
    train_part, validation = ([cache_split(model, cache, split) for split in data[part]] for part in PARTS)
    return train_part, validation


def _tune(
    model: LiraModel, data: dict[str, list[RetrievalSplit]], output: Path, options: TrainingOptions
) -> dict[str, Log]:
    if options.tune is None:
        return {}
    from .tuning import tune_encoders  # sentence-transformers takes seconds to import

    names = {path: getattr(options, path) for path in PATHS}
    return tune_encoders(model, names, data["train"], data["validation"], output, options.tune, options.seed)


def _train_stages(model: LiraModel, tables: Tables, output: Path, options: TrainingOptions) -> dict[str, Log]:
    logs = {}
    if options.arca is not None:
        logs["arca"] = run_stage("arca", model, *tables, output, options.seed, options.arca)
    if options.lasr is not None:
        logs["lasr"] = run_stage("lasr", model, *tables, output, options.seed, options.lasr)
    return logs
