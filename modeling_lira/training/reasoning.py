"""Stage R: LiRA's fused stream is trained to be read by a frozen language model, before its prompt or in its place."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from torch.utils.data import Dataset, SequentialSampler
from transformers import TrainingArguments

from ..data.question_table import QuestionTable, cache_questions
from ..data.questions import Example, read_questions
from ..data.stream_cache import StreamCache
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .digests import code_version, digest_of, plain
from .lora import add_language_lora
from .options import ReasoningOptions
from .reasoning_stage import LanguagePairs, QuestionCollator, ReasoningStage
from .resumable import Log, model_inputs, parts_of, run_once
from .run_folder import RunClock, check_model_fields, run_folder, save_run
from .trainer import TermTrainer, training_arguments

logger = logging.getLogger(__name__)

PHASES = ("mapping", "augmentation")


class ReasoningTrainer(TermTrainer):
    """Train one phase of stage R."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> SequentialSampler:
        return SequentialSampler(cast(LanguagePairs, self.train_dataset))  # the pairs are shuffled already

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the gate beside the loss and its terms."""
        if "loss" in logs:
            logs["gate"] = float(self.stage.model.soft_prompt.gate.detach())
        super().log(logs, start_time)


def train_reasoning(options: ReasoningOptions, output: Path | str) -> LiraForCausalLM:
    """Train a reasoning model from its backbones and save it. Run it again after an interruption and it goes on.

    Parameters
    ----------
    options : ReasoningOptions
    output : path
        Gets `streams/`, the phases' checkpoints and logs, `model/` (adapter-only, or self-contained after LoRA),
        `run.json`, which says whose model that is, and `training.json`: command, options, logs, seconds.

    Raises
    ------
    LiraError
        There are no such questions or backbones; the options do not fit the data; or `output` holds another run's
        model, or another run is training in it.
    """
    output, clock = Path(output), RunClock()
    check_model_fields(options.model)
    examples = read_questions(options.questions, "train")
    with run_folder(output, _identity(options, examples)) as claim:
        torch.manual_seed(options.seed)
        model = untrained(options, examples)
        table = cache_questions(model.lira, StreamCache(output / "streams"), examples)
        start_projector(model, table)
        model.open_gate()
        phases = [phase for phase in PHASES if getattr(options, phase) > 0]
        with clock.training():
            logs = {phase: run_phase(phase, model, table, output, options) for phase in phases}
        claim()
        _finish(model)
        record = {"options": asdict(options), "questions": len(examples), "seconds": clock.total(logs), "logs": logs}
        save_run(output, model, options.lora is not None, record)
    return model


def _identity(options: ReasoningOptions, examples: Sequence[Example]) -> dict[str, object]:
    """Return everything that decides the model: the questions by their content, not by their path."""
    return {**asdict(options), "questions": digest_of(list(examples))[:16], "code": code_version()}


def untrained(options: ReasoningOptions, examples: Sequence[Example]) -> LiraForCausalLM:
    """Return the model that stage R starts with, for the languages and candidates of the questions."""
    languages = list(dict.fromkeys(example.language for example in examples))
    widest = max(len(example.candidates) for example in examples)
    settings = {"languages": languages, "num_candidates": max(4, widest), **options.model}
    lira = LiraModel.from_backbones(options.multilingual, options.english, **settings)  # type: ignore[arg-type]
    model = LiraForCausalLM.from_lira(
        lira,
        options.language_model,
        dtype=getattr(torch, options.dtype),
        projector_size=options.projector_size,
        stream=options.stream,
    )
    if options.lora is not None:
        add_language_lora(model, options.lora)
    return model


def _finish(model: LiraForCausalLM) -> None:
    """Merge the low-rank layers, make all weights float32, and freeze the model."""
    if isinstance(model.language_model, PeftModel):
        model.language_model = cast(PeftModel, model.language_model).merge_and_unload()
    model.language_model.float()  # the same values: float32 holds every bfloat16
    model.requires_grad_(False)
    model.eval()


@torch.no_grad()
def start_projector(model: LiraForCausalLM, table: QuestionTable, batch_size: int = 256) -> None:
    """Start the projector from the questions whose English rendering is known; without any it stays as it is.

    As `LiraForCausalLM.align_projector` does, but from streams that are cached already.
    """
    known = [row for row, example in enumerate(table.examples) if example.english]
    if not known:
        return
    parts = [known[start : start + batch_size] for start in range(0, len(known), batch_size)]
    model.soft_prompt.fit(
        (*model.fuse(**table.inputs(part)), model._pooled_words([table.examples[row].english for row in part]))
        for part in parts
    )


def run_phase(phase: str, model: LiraForCausalLM, table: QuestionTable, output: Path, options: ReasoningOptions) -> Log:
    """Train phase "mapping" or "augmentation" in place, or read the result of an earlier run with the same inputs.

    Source: Huang et al. (2024, MindMerger).
    """

    def train(checkpoints: Path) -> TermTrainer:
        stage = ReasoningStage(model, options)
        seed = options.seed + PHASES.index(phase)  # or both phases would deal the same pairs in the same order
        pairs = LanguagePairs(table.examples, getattr(options, phase), options.english_path_dropout, seed)
        trainer = ReasoningTrainer(
            stage,
            _arguments(checkpoints, options, len(pairs)),
            train_dataset=pairs,
            data_collator=QuestionCollator(model, table, phase),
            optimizers=(torch.optim.AdamW(stage.parameter_groups(), weight_decay=0.01), None),
        )
        trainer.train_on()
        return trainer

    history = run_once(phase, output, phase_inputs(model, table, options), train, *parts_of(model))
    losses = [entry["loss_answer"] for entry in history if "loss_answer" in entry]
    if losses:
        logger.info("%s: loss %.2f to %.2f in %.0f s", phase, losses[0], losses[-1], history[-1]["seconds"])
    return history


def phase_inputs(model: LiraForCausalLM, table: QuestionTable, options: ReasoningOptions) -> dict[str, str]:
    """Return digests, by name, of everything that decides a phase's result."""
    return {
        **model_inputs(model),
        "options": digest_of(plain(replace(options, questions=""))),
        "questions": digest_of(table),
        "vocabulary": digest_of(sorted(model.processor.tokenizer.get_vocab().items())),
    }


def _arguments(folder: Path, options: ReasoningOptions, pairs: int) -> TrainingArguments:
    steps = math.ceil(2 * pairs / options.batch_size)
    return training_arguments(
        folder,
        options.seed,
        options.batch_size // 2,  # an item is a pair of questions
        1,  # `LanguagePairs` lays out all epochs as one
        steps,
        save_strategy="steps",
        save_steps=max(1, steps // 4),
        logging_steps=max(1, steps // 10),
    )
