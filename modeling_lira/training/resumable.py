"""Run a stage once: finished work is kept under a name that follows from everything it depends on."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..data.tables import SplitTables
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from .options import ArcaOptions, LasrOptions
from .trainer import LiraTrainer, load_trained_parts, save_trained_parts, train_arca, train_lasr

TRAIN: dict[str, Callable[..., LiraTrainer]] = {"arca": train_arca, "lasr": train_lasr}
Log = list[dict[str, float]]
OPTIONS: dict[str, type[ArcaOptions] | type[LasrOptions]] = {"arca": ArcaOptions, "lasr": LasrOptions}


def run_stage(
    name: str,
    model: LiraModel,
    train: Sequence[SplitTables],
    validation: Sequence[SplitTables],
    folder: Path | str,
    seed: int = 0,
    options: ArcaOptions | LasrOptions | None = None,
) -> Log:
    """Train `model` in place through stage "arca" or "lasr", or read what an earlier run ended with.

    Parameters
    ----------
    name : "arca" or "lasr"
    model : LiraModel
    train, validation : sequence of SplitTables, one a language
    folder : path
        Gets a sub-folder for this stage with these options, seed, data and starting weights. An interrupted run goes
        on from its last epoch.
    seed : int
    options : ArcaOptions or LasrOptions, optional

    Returns
    -------
    list of dict
        The training log: loss terms, learning rate, validation scores.

    Source: ours.
    """
    options = options or OPTIONS[name]()
    target = Path(folder) / f"{name}-{_fingerprint(model, train, validation, options, seed)}"
    log = target / "log.json"
    if not log.is_file():
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        trainer = TRAIN[name](model, train, validation, target / "checkpoints", options, seed)
        cost = {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(sum(os.times()[:4]) - cpu, 1)}
        history = [*trainer.state.log_history, cost]
        if trainer.is_world_process_zero():
            save_trained_parts(model, target / "best")
            atomic_write_text(log, json.dumps(history, indent=1))
            shutil.rmtree(target / "checkpoints", ignore_errors=True)
        trainer.accelerator.wait_for_everyone()
    load_trained_parts(model, target / "best")
    return json.loads(log.read_text(encoding="utf-8"))


def _fingerprint(
    model: LiraModel,
    train: Sequence[SplitTables],
    validation: Sequence[SplitTables],
    options: ArcaOptions | LasrOptions,
    seed: int,
) -> str:
    digest = hashlib.sha256(
        json.dumps([asdict(options), seed, model.config.to_dict()], sort_keys=True, default=str).encode()
    )
    for key, value in sorted(model.state_dict().items()):
        if key.startswith(("arca.", "lasr.")):
            digest.update(value.float().numpy().tobytes())
    for split in [*train, *validation]:
        data = split.split
        judged = [sorted(row.items()) for row in data.gains]
        texts = [data.queries.texts, data.queries.candidates, data.queries.scores, data.titles, data.english_titles]
        digest.update(json.dumps([*texts, judged, data.hard_negatives, data.pairs]).encode())
    return digest.hexdigest()[:12]
