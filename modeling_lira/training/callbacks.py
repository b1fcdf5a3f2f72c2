"""Callbacks of `transformers.Trainer`: decay towards the start, the best checkpoint's path, and what is logged."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ..faces.progress import Pace
from .checkpoints import checkpoint_name
from .stage import Stage, within
from .validation import BEST

logger = logging.getLogger(__name__)


class BestCheckpoint(TrainerCallback):
    """Look for the best epoch's weights in the run's folder as it is named now: it may have been moved since."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the path of the best checkpoint, of which the step is known."""
        if state.best_global_step:
            state.best_model_checkpoint = str(Path(str(args.output_dir)) / checkpoint_name(state.best_global_step))


class StepLines(TrainerCallback):
    """Log the number of the step now and then, where no progress bar shows it."""

    def __init__(self) -> None:
        self.pace = Pace()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log a line if one is due."""
        if state.is_world_process_zero and self.pace.is_due():
            logger.info("   step %d of %d", state.global_step, state.max_steps)


def show_steps(trainer: Trainer) -> None:
    """Let a trainer show a progress bar in a terminal and lines elsewhere, in place of what it prints by itself."""
    trainer.remove_callback(PrinterCallback if trainer.args.disable_tqdm else ProgressCallback)
    trainer.add_callback(StepLines() if trainer.args.disable_tqdm else QuietProgress())


class TowardsStart(TrainerCallback):
    """Weight decay towards the weights with which a stage begins, not towards zero (METHOD.md, LaSR 8).

    Weights that no batch changes keep what they took over from the backbones, which is what helps on texts unlike those
    of the training.

    Parameters
    ----------
    stage : Stage
        Its weights at this moment are the start.
    decay : float
        In units of the learning rate: a step at learning rate r moves each weight the part `decay * r`, at most 1, of
        the way back to its start. So the pull follows the schedule, as AdamW's decay does, and a part that learns ten
        times as fast is pulled ten times as hard.
    exempt : sequence of str
        Parts that do not decay.

    Source: Li et al. (2018), L2-SP; decoupled from the gradient as in AdamW.
    """

    def __init__(self, stage: Stage[Any], decay: float, exempt: Sequence[str] = ()) -> None:
        self.start = {
            parameter: parameter.detach().clone()
            for name, parameter in stage.model.named_parameters()
            if parameter.requires_grad and not within(name, exempt)
        }
        self.decay = decay

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move every trained weight towards its start."""
        for group in kwargs["optimizer"].param_groups:
            parameters = [parameter for parameter in group["params"] if parameter in self.start]
            start = [self.start[parameter] for parameter in parameters]
            if not parameters:
                continue
            with torch.no_grad():
                torch._foreach_lerp_(parameters, start, min(1.0, self.decay * group["lr"]))


class EpochLine(TrainerCallback):
    """Log one line an epoch, with its validation score."""

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log the epoch's validation score."""
        score = 100 * kwargs["metrics"][f"eval_{BEST}"]
        logger.info("   epoch %.0f: validation nDCG@10 %.1f", state.epoch or 0, score)


class QuietProgress(ProgressCallback):
    """Show a progress bar over the steps without printing the logged numbers."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Do nothing: `Trainer` keeps the numbers in its log."""
