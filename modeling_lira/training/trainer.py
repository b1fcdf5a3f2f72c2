"""The stages on `transformers.Trainer`: its loop, what its checkpoints hold, and stages 1 and 2 from start to end."""

import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import CommitInfo
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import (
    EarlyStoppingCallback,
    TrainingArguments,
)

from ..data.tables import SplitTables
from ..errors import LiraError
from ..files import atomic_path
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .batches import (
    LanguageSampler,
    PairCollator,
    PairRows,
    PairSampler,
    QueryRows,
    RetrievalCollator,
    fitting_batch_size,
)
from .callbacks import BestCheckpoint, EpochLine, TowardsStart, show_steps
from .checkpoints import SealedTrainer
from .options import ArcaOptions, LasrOptions
from .run_folder import process_state
from .stage import Stage, within
from .stages import ArcaStage, EncoderStage, LasrStage
from .validation import BEST, validation_scores

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
QUEUES = "queues.safetensors"


class TermTrainer(SealedTrainer):
    """Train any stage: the mean of every loss term is logged beside the loss.

    Checkpoints hold the trained parts of the stage's model as safetensors.

    Parameters
    ----------
    stage : Stage
    args : TrainingArguments
    **kwargs
        As in `Trainer`.
    """

    def __init__(self, stage: Stage[Any], args: TrainingArguments, **kwargs: Any) -> None:
        super().__init__(model=stage, args=args, **kwargs)
        self.stage = stage
        self.term_sums: dict[str, float] = {}
        self.term_steps = 0
        self.add_callback(BestCheckpoint())
        show_steps(self)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the stage's loss, remembering its terms for the log."""
        outputs = model(**inputs)
        for name, value in outputs.items():
            if name != "loss":
                self.term_sums[name] = self.term_sums.get(name, 0.0) + float(value.detach())
        self.term_steps += 1
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean of every loss term beside the loss."""
        if "loss" in logs and self.term_steps:
            logs |= {f"loss_{name}": total / self.term_steps for name, total in self.term_sums.items()}
            self.term_sums, self.term_steps = {}, 0
        super().log(logs, start_time)

    def _save_parts(self, folder: Path) -> None:
        save_trained_parts(self.stage.model, folder)

    def _load_parts(self, folder: Path) -> None:
        load_trained_parts(self.stage.model, folder)


class LiraTrainer(TermTrainer):
    """Train stage 1 or 2 of the encoder; the validation scores are those of `validate`.

    Parameters
    ----------
    stage : EncoderStage
    args : TrainingArguments
    validate : callable
        Maps the model to its validation scores.
    sampler : Sampler, optional
        Order of the training rows; by default a shuffle.
    **kwargs
        As in `Trainer`.
    """

    def __init__(
        self,
        stage: EncoderStage,
        args: TrainingArguments,
        validate: Callable[[LiraModel], dict[str, float]],
        sampler: Sampler[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(stage, args, **kwargs)
        self.lira = stage.lira
        self.validate = validate
        self.sampler = sampler

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        return self.sampler or super()._get_train_sampler(train_dataset)

    def evaluate(
        self, eval_dataset: object = None, ignore_keys: Sequence[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return the model's validation scores, whatever the dataset, and log them."""
        self.lira.eval()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.validate(self.lira).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_parts(self, folder: Path) -> None:
        super()._save_parts(folder)
        queued = {
            f"{name}.{row}": values
            for name, queue in self.stage.queues.items()
            for row, values in queue.state_dict().items()
        }
        with atomic_path(folder / QUEUES) as temporary:
            save_file(queued, temporary)

    def push_to_hub(  # type: ignore[override]
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """Push the model, with code, processor and card, to `args.hub_model_id`; processes but the first do nothing.

        Parameters are those of `Trainer.push_to_hub`, `**kwargs` those of `LiraModel.push_to_hub`. It always blocks.

        Raises
        ------
        LiraError
            There is no `hub_model_id`, or the model cannot be pushed (see `LiraModel.push_to_hub`).
        """
        if not self.is_world_process_zero():
            return None
        if not self.args.hub_model_id:
            raise LiraError("where to push? Give TrainingArguments a hub_model_id, ORGANISATION/NAME")
        return self.lira.push_to_hub(
            self.args.hub_model_id,
            commit_message=commit_message,
            token=token or self.args.hub_token,
            revision=revision or self.args.hub_revision,
            private=self.args.hub_private_repo if private is None else private,
            **kwargs,
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        queued = load_file(Path(resume_from_checkpoint) / QUEUES)
        for name, queue in self.stage.queues.items():
            prefix = f"{name}."
            queue.load_state_dict(
                {key.removeprefix(prefix): value for key, value in queued.items() if key.startswith(prefix)}
            )


def trained_parts(model: LiraModel | LiraForCausalLM) -> dict[str, Tensor]:
    """Return the weights that training may change: all but the frozen backbones', LoRA's among them."""
    frozen = model.backbone_keys()
    return {
        name: value.contiguous() for name, value in model.state_dict().items() if name not in frozen or ".lora_" in name
    }


def save_trained_parts(model: LiraModel | LiraForCausalLM, folder: Path | str) -> None:
    """Write what training may have changed into `folder`."""
    with atomic_path(Path(folder) / WEIGHTS) as temporary:
        save_file(trained_parts(model), temporary)


def load_trained_parts(model: LiraModel | LiraForCausalLM, folder: Path | str) -> None:
    """Read the trained parts of a checkpoint into `model`; raise `LiraError` where they do not fit."""
    weights, expected = load_file(Path(folder) / WEIGHTS), trained_parts(model)
    if weights.keys() != expected.keys():
        raise LiraError(f"checkpoint {folder} does not fit the model: {sorted(weights.keys() ^ expected.keys())[:3]}")
    model.load_state_dict(weights, strict=False)


def train_arca(
    model: LiraModel,
    train: Sequence[SplitTables],
    validation: Sequence[SplitTables],
    output: Path | str,
    options: ArcaOptions | None = None,
    seed: int = 0,
) -> LiraTrainer:
    """Run stage 1 in place and return the trainer; the model ends at its best validation epoch.

    Parameters
    ----------
    model : LiraModel
    train, validation : sequence of SplitTables, one a language
    output : path
        Folder of the checkpoints; an interrupted run goes on from the newest whole one.
    options : ArcaOptions, optional
    seed : int

    Raises
    ------
    LiraError
        No training text has a translation, or a learning rate names a part that the model does not have.

    Source: paper, Arca.
    """
    options = options or ArcaOptions()
    rows = PairRows(train)
    if not len(rows):
        raise LiraError("no training text has a translation: stage 1 has nothing to anchor to")
    stage = ArcaStage(model, options.learning_rates, options.weights)
    sampler = PairSampler(len(rows), fitting_batch_size(options.batch_size, len(rows), "translated texts"), seed)
    return _run(stage, output, options, seed, validation, rows, PairCollator(rows.tables, sampler), sampler)


def train_lasr(
    model: LiraModel,
    train: Sequence[SplitTables],
    validation: Sequence[SplitTables],
    output: Path | str,
    options: LasrOptions | None = None,
    seed: int = 0,
) -> LiraTrainer:
    """Run stage 2 in place and return the trainer; parameters as in `train_arca`.

    Raises
    ------
    LiraError
        No training query has a judged document, or a learning rate names a part that the model does not have.

    Source: paper, LaSR.
    """
    options = options or LasrOptions()
    rows = QueryRows(train, ranking=options.objective == "ranking")
    sampler = rows.sampler(options, seed)
    stage = LasrStage(model, options, 2 * sum(len(tables.local) for tables in train))
    return _run(stage, output, options, seed, validation, rows, RetrievalCollator(train, options, sampler), sampler)


Arguments = TypeVar("Arguments", bound=TrainingArguments)


def training_arguments(
    folder: Path | str,
    seed: int,
    batch_size: int,
    epochs: int,
    total_steps: int,
    arguments_class: type[Arguments] = TrainingArguments,  # type: ignore[assignment]
    **settings: Any,
) -> Arguments:
    """Return what all stages ask of `Trainer`: a cosine schedule after a warm-up over a twentieth of the steps.

    Parameters
    ----------
    folder : path
        Of the checkpoints.
    seed : int
    batch_size : int
        Items a step of this process.
    epochs, total_steps : int
    arguments_class : type
        `TrainingArguments`, or what another class of trainers takes.
    **settings
        Further fields of `TrainingArguments`: when to save, log and evaluate.
    """
    return arguments_class(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, total_steps // 20),
        max_grad_norm=1.0,
        logging_strategy="steps",
        remove_unused_columns=False,
        label_names=[],
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=seed,
        disable_tqdm=not sys.stderr.isatty(),
        **settings,
    )


def _arguments(
    output: Path | str, options: ArcaOptions | LasrOptions, sampler: PairSampler | LanguageSampler, seed: int
) -> TrainingArguments:
    processes = process_state().num_processes
    if sampler.batch_size % processes:
        raise LiraError(f"batch_size {sampler.batch_size} is not a multiple of the {processes} processes")
    steps = math.ceil(len(sampler) / sampler.batch_size)
    return training_arguments(
        output,
        seed,
        sampler.batch_size // processes,
        options.epochs,
        steps * options.epochs,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{BEST}",
        greater_is_better=True,
        logging_steps=max(1, steps // 4),
        bf16=options.precision == "bfloat16",
        ddp_find_unused_parameters=False,
    )


def _run(
    stage: EncoderStage,
    output: Path | str,
    options: ArcaOptions | LasrOptions,
    seed: int,
    validation: Sequence[SplitTables],
    rows: PairRows | QueryRows,
    collator: Callable[[list[Any]], dict[str, Tensor]],
    sampler: PairSampler | LanguageSampler,
) -> LiraTrainer:
    arguments = _arguments(output, options, sampler, seed)
    objective = getattr(options, "objective", "retrieval")
    share, exempt = getattr(options, "start_share", 0.0), getattr(options, "exempt", ())
    start = {name: value.clone() for name, value in trained_parts(stage.lira).items()}

    def validate(model: LiraModel) -> dict[str, float]:
        now = {name: value.clone() for name, value in trained_parts(model).items()}
        average_with_start(model, start, share, exempt)  # the model that the stage would end with
        scores = validation_scores(model, validation, objective)
        model.load_state_dict(now, strict=False)
        return scores

    trainer = LiraTrainer(
        stage,
        arguments,
        validate,
        sampler,
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=collator,
        optimizers=(torch.optim.AdamW(stage.parameter_groups(), weight_decay=0.0), None),
        callbacks=[
            TowardsStart(stage, options.decay, exempt),
            EarlyStoppingCallback(early_stopping_patience=options.patience),
            EpochLine(),
        ],
    )
    before = validate(stage.lira)
    trainer.train_on()
    trainer.state.log_history.insert(
        0, {"epoch": 0.0, "step": 0, **{f"eval_{name}": value for name, value in before.items()}}
    )
    improved = trainer.state.best_metric is not None and trainer.state.best_metric >= before[BEST]
    if not improved and getattr(options, "must_improve", True):
        logger.warning("no epoch beat the model as it was before the stage: its weights stay as they were")
        stage.lira.load_state_dict(start, strict=False)
    else:
        average_with_start(stage.lira, start, share, exempt)
    return trainer


def average_with_start(model: LiraModel, start: Mapping[str, Tensor], share: float, exempt: Sequence[str] = ()) -> None:
    """Set each trained weight to `share` of its value at the `start` plus `1 - share` of its value now, in place.

    The parts that are `exempt` keep their value.

    Source: Wortsman et al. (2022), WiSE-FT.
    """
    averaged = {
        name: value.lerp(start[name], share) for name, value in trained_parts(model).items() if not within(name, exempt)
    }
    model.load_state_dict(averaged, strict=False)
