"""Run a stage once: its result is kept in a folder whose name is a digest of everything that decides it."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..data.tables import SplitTables
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .checkpoints import SealedTrainer, read_seal, remove_partial_checkpoints, seal
from .digests import code_version, digest_of, modules_of, plain, weights_of
from .options import ArcaOptions, LasrOptions
from .run_folder import locked, process_state, remove_temporaries
from .trainer import LiraTrainer, load_trained_parts, save_trained_parts, train_arca, train_lasr

logger = logging.getLogger(__name__)

TRAIN: dict[str, Callable[..., LiraTrainer]] = {"arca": train_arca, "lasr": train_lasr}
Log = list[dict[str, float]]
OPTIONS: dict[str, type[ArcaOptions] | type[LasrOptions]] = {"arca": ArcaOptions, "lasr": LasrOptions}
BEST, LOG, CHECKPOINTS = "best", "log.json", "checkpoints"


def run_stage(
    name: str,
    model: LiraModel,
    train: Sequence[SplitTables],
    validation: Sequence[SplitTables],
    folder: Path | str,
    seed: int = 0,
    options: ArcaOptions | LasrOptions | None = None,
) -> Log:
    """Train `model` in place through stage "arca" or "lasr", or read the result of an earlier run.

    Parameters
    ----------
    name : "arca" or "lasr"
    model : LiraModel
    train, validation : sequence of SplitTables, one a language
    folder : path
        Gets a sub-folder for this stage of these inputs (see `stage_inputs`). An interrupted run goes on from its
        last whole checkpoint.
    seed : int
    options : ArcaOptions or LasrOptions, optional

    Returns
    -------
    list of dict
        The training log: loss terms, learning rate, validation scores; the cost in seconds last.

    Raises
    ------
    LiraError
        Another run is training the same stage in that folder, or the options do not fit the data.
    """
    options = options or OPTIONS[name]()
    inputs = stage_inputs(model, train, validation, options, seed)

    def run(checkpoints: Path) -> LiraTrainer:
        return TRAIN[name](model, train, validation, checkpoints, options, seed)

    return run_once(name, Path(folder), inputs, run, *parts_of(model))


def stage_inputs(
    model: LiraModel,
    train: Sequence[SplitTables],
    validation: Sequence[SplitTables],
    options: ArcaOptions | LasrOptions,
    seed: int,
) -> dict[str, str]:
    """Return digests, by name, of everything that decides a stage's result.

    The number of processes is not among them: they share each batch, so that their result is that of one process.
    """
    return {
        **model_inputs(model),
        "options": digest_of(plain(options)),
        "seed": str(seed),
        "training data": digest_of(list(train)),
        "validation data": digest_of(list(validation)),
    }


def model_inputs(model: LiraModel | LiraForCausalLM) -> dict[str, str]:
    """Return digests, by name, of what a model brings to its training: config, modules, weights and code."""
    config = {name: value for name, value in model.config.to_dict().items() if name != "transformers_version"}
    return {
        "config": digest_of(json.dumps(config, sort_keys=True, default=str)),
        "modules": digest_of(modules_of(model)),
        "weights": digest_of(weights_of(model)),
        "code": code_version(),
    }


def parts_of(model: LiraModel | LiraForCausalLM) -> tuple[Callable[[Path], None], Callable[[Path], None]]:
    """Return how the trained parts of a model are written into a folder, and read from one."""
    return partial(save_trained_parts, model), partial(load_trained_parts, model)


def run_once(
    name: str,
    folder: Path,
    inputs: Mapping[str, str],
    train: Callable[[Path], SealedTrainer],
    save: Callable[[Path], None],
    load: Callable[[Path], None],
) -> Log:
    """Train, or read the result of an earlier run with the same inputs.

    Parameters
    ----------
    name : str
        The stage.
    folder : Path
        Gets a sub-folder named for `name` and `inputs`.
    inputs : mapping of str to str
        Digests of everything that decides the result.
    train : callable
        Trains the model, given the folder of its checkpoints, and returns the trainer.
    save, load : callable
        Write the result into a folder, and take it from there; the result is always taken from there.

    Returns
    -------
    list of dict
        The training log; the cost in seconds last.
    """
    target = folder / f"{name}-{digest_of(dict(inputs))[:12]}"
    if not _is_finished(target) or (target / CHECKPOINTS).exists():
        with locked(target):
            if process_state().is_main_process:
                _sweep(target)
            if not _is_finished(target):
                _train(target, train, save)
    load(target / BEST)
    return json.loads((target / LOG).read_text(encoding="utf-8"))


def _is_finished(target: Path) -> bool:
    return (target / LOG).is_file() and read_seal(target / BEST) is not None


def _sweep(target: Path) -> None:
    """Remove half-written files of killed runs, and the checkpoints if the stage is finished."""
    if _is_finished(target):
        shutil.rmtree(target / CHECKPOINTS, ignore_errors=True)
    elif (target / LOG).is_file():
        logger.warning("%s is damaged: the stage is trained again", target)
        (target / LOG).unlink()
    remove_partial_checkpoints(target / CHECKPOINTS)
    for part in (target, target / BEST):
        remove_temporaries(part)


def _train(target: Path, train: Callable[[Path], SealedTrainer], save: Callable[[Path], None]) -> None:
    trainer = train(target / CHECKPOINTS)
    cost = {name: round(seconds, 1) for name, seconds in trainer.cost().items()}
    if trainer.is_world_process_zero():
        save(target / BEST)
        seal(target / BEST, cost)
        atomic_write_text(target / LOG, json.dumps([*trainer.state.log_history, cost], indent=1) + "\n")
        shutil.rmtree(target / CHECKPOINTS, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
