"""Both stages on `transformers.Trainer`, over cached streams."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from modeling_lira.errors import LiraError
from modeling_lira.modeling_lira import LiraModel

from .data import LanguageSampler, PairRows, QueryRows, RetrievalCollator, StreamSplit
from .stages import ArcaStage, ArcaWeights, LasrStage, LasrWeights, Stage
from .validation import validation_scores

logger = logging.getLogger(__name__)

BEST_METRIC = "eval_ndcg@10"


@dataclass(frozen=True)
class ArcaOptions:
    """How to run stage 1.

    `epochs` over all pairs of a text and its translations, `batch_size` texts, peak `learning_rates` by sub-module,
    `patience` in epochs without a better validation nDCG@10.

    Source: ours.
    """

    epochs: int = 2
    batch_size: int = 64
    learning_rates: dict[str, float] = field(default_factory=lambda: {"arca": 5e-5})
    patience: int = 2
    weights: ArcaWeights = field(default_factory=ArcaWeights)


@dataclass(frozen=True)
class LasrOptions:
    """How to run stage 2.

    As `ArcaOptions`, with `batch_size` queries of one language, `positives` relevant documents and `negatives` hard
    negatives drawn for each, and the shares that lose their English path or search English titles.

    Source: ours.
    """

    epochs: int = 6
    batch_size: int = 24
    learning_rates: dict[str, float] = field(
        default_factory=lambda: {"arca.adaptor": 3e-4, "lasr.gate": 3e-4, "lasr": 1e-4}
    )
    patience: int = 2
    positives: int = 3
    negatives: int = 2
    english_path_dropout: float = 0.3
    english_titles: float = 0.5
    weights: LasrWeights = field(default_factory=LasrWeights)


class LiraTrainer(Trainer):
    """Train one stage: every loss term is logged, validation is retrieval, checkpoints are adapter-only.

    Parameters
    ----------
    stage : Stage
    args : TrainingArguments
    validate : callable
        Maps the model to its validation scores.
    sampler : Sampler, optional
        Order of the training rows; by default a shuffle.
    **kwargs
        As in `Trainer`.

    Source: ours.
    """

    def __init__(
        self,
        stage: Stage,
        args: TrainingArguments,
        validate: Callable[[LiraModel], dict[str, float]],
        sampler: Sampler[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=stage, args=args, **kwargs)
        self.lira = stage.lira
        self.validate = validate
        self.sampler = sampler
        self.term_sums: dict[str, float] = {}
        self.term_steps = 0

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        return self.sampler or super()._get_train_sampler(train_dataset)

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
                self.term_sums[name] = self.term_sums.get(name, 0.0) + float(value)
        self.term_steps += 1
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean of every loss term beside the loss."""
        if "loss" in logs and self.term_steps:
            logs |= {f"loss_{name}": total / self.term_steps for name, total in self.term_sums.items()}
            self.term_sums, self.term_steps = {}, 0
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: object = None, ignore_keys: Sequence[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score retrieval on validation data."""
        self.lira.eval()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.validate(self.lira).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        self.lira.save_pretrained(str(output_dir or self.args.output_dir), save_backbones=False)

    def _load_best_model(self) -> None:
        load_trained_parts(self.lira, str(self.state.best_model_checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_trained_parts(self.lira, resume_from_checkpoint)


class EpochLine(TrainerCallback):
    """Say in one line what each epoch gave."""

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log the epoch's validation score."""
        score = 100 * kwargs["metrics"][BEST_METRIC]
        logger.info("   epoch %.0f: validation nDCG@10 %.1f", state.epoch or 0, score)


class QuietProgress(ProgressCallback):
    """Show a bar over the steps, and none of the numbers that the log holds."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Leave the numbers to the log."""


def load_trained_parts(model: LiraModel, folder: Path | str) -> None:
    """Read the trained parts of an adapter-only checkpoint into `model`; raise `LiraError` where they do not fit."""
    result = model.load_state_dict(load_file(Path(folder) / "model.safetensors"), strict=False)
    missing = set(result.missing_keys) - model.backbone_keys()
    if missing or result.unexpected_keys:
        raise LiraError(f"checkpoint {folder} does not fit the model: {sorted(missing) + result.unexpected_keys}")


def train_arca(
    model: LiraModel,
    train: Sequence[StreamSplit],
    validation: Sequence[StreamSplit],
    output: Path | str,
    options: ArcaOptions | None = None,
    seed: int = 0,
) -> LiraTrainer:
    """Run stage 1 in place and return the trainer; the model ends at its best validation epoch.

    Parameters
    ----------
    model : LiraModel
    train, validation : sequence of StreamSplit, one a language
    output : path
        Checkpoints; an interrupted run goes on from the last.
    options : ArcaOptions, optional
    seed : int

    Source: paper, Arca.
    """
    options = options or ArcaOptions()
    dataset = PairRows(train)
    if not len(dataset):
        raise LiraError("no training text has a translation: stage 1 has nothing to anchor to")
    arguments = _arguments(output, options, len(dataset), seed)
    stage = ArcaStage(model, options.learning_rates, options.weights)
    return _run(stage, arguments, validation, options.patience, dataset, dataset.collate)


def train_lasr(
    model: LiraModel,
    train: Sequence[StreamSplit],
    validation: Sequence[StreamSplit],
    output: Path | str,
    options: LasrOptions | None = None,
    seed: int = 0,
) -> LiraTrainer:
    """Run stage 2 (retrieval) in place and return the trainer; parameters as in `train_arca`.

    Source: paper, LaSR.
    """
    options = options or LasrOptions()
    dataset = QueryRows(train)
    sampler = LanguageSampler(dataset.groups(), options.batch_size, seed)
    if not len(sampler):
        raise LiraError(
            f"no language has {options.batch_size} training queries with a relevant document: lower batch_size"
        )
    collator = RetrievalCollator(
        train, options.positives, options.negatives, options.english_path_dropout, options.english_titles, sampler
    )
    arguments = _arguments(output, options, len(sampler), seed)
    return _run(
        LasrStage(model, options.learning_rates, options.weights),
        arguments,
        validation,
        options.patience,
        dataset,
        collator,
        sampler,
    )


def _arguments(output: Path | str, options: ArcaOptions | LasrOptions, rows: int, seed: int) -> TrainingArguments:
    steps = math.ceil(rows / options.batch_size)
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps * options.epochs // 20),
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=BEST_METRIC,
        greater_is_better=True,
        logging_steps=max(1, steps // 4),
        logging_strategy="steps",
        remove_unused_columns=False,
        label_names=[],
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=seed,
        disable_tqdm=not sys.stderr.isatty(),
    )


def _run(
    stage: Stage,
    arguments: TrainingArguments,
    validation: Sequence[StreamSplit],
    patience: int,
    dataset: PairRows | QueryRows,
    collator: Callable[[list[Any]], dict[str, Tensor]],
    sampler: Sampler[int] | None = None,
) -> LiraTrainer:
    trainer = LiraTrainer(
        stage,
        arguments,
        lambda model: validation_scores(model, validation),
        sampler,
        train_dataset=dataset,
        eval_dataset=dataset,
        data_collator=collator,
        optimizers=(torch.optim.AdamW(stage.parameter_groups(), weight_decay=0.01), None),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=patience), EpochLine()],
    )
    trainer.remove_callback(PrinterCallback if arguments.disable_tqdm else ProgressCallback)
    if not arguments.disable_tqdm:
        trainer.add_callback(QuietProgress())
    start = {
        name: value.clone() for name, value in stage.lira.state_dict().items() if name not in stage.lira.backbone_keys()
    }
    before = trainer.validate(stage.lira)
    trainer.train(resume_from_checkpoint=_last_checkpoint(Path(str(arguments.output_dir))))
    trainer.state.log_history.insert(
        0, {"epoch": 0.0, "step": 0, **{f"eval_{name}": value for name, value in before.items()}}
    )
    if trainer.state.best_metric is None or trainer.state.best_metric < before["ndcg@10"]:
        logger.warning("no epoch beat the model as it was before the stage: its weights stay as they were")
        stage.lira.load_state_dict(start, strict=False)
    return trainer


def _last_checkpoint(folder: Path) -> str | None:
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None
