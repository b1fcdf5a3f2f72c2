"""Stage R: a frozen language model learns to read LiRA's fused stream, before its prompt or in its place."""

import json
import logging
import math
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import TrainingArguments

from ..data.question_table import QuestionTable, cache_questions
from ..data.questions import read_questions
from ..data.stream_cache import StreamCache
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from ..records.command_line import command_line
from .lora import add_language_lora
from .options import ReasoningOptions
from .reasoning_stage import LanguagePairs, QuestionCollator, ReasoningStage
from .trainer import TermTrainer, last_checkpoint, load_trained_parts, save_trained_parts

logger = logging.getLogger(__name__)

PHASES = ("mapping", "augmentation")


# ------------------------------------------------------------------ data


# ------------------------------------------------------------------ the stage


class ReasoningTrainer(TermTrainer):
    """Train one phase; checkpoints hold what is trained and nothing else."""

    def __init__(self, stage: ReasoningStage, args: TrainingArguments, **kwargs: Any) -> None:
        super().__init__(model=stage, args=args, **kwargs)
        self.stage = stage

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> SequentialSampler:
        return SequentialSampler(cast(LanguagePairs, self.train_dataset))  # the pairs are shuffled already

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the gate beside the loss and its terms."""
        if "loss" in logs:
            logs["gate"] = float(self.stage.model.soft_prompt.gate.detach())
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        save_trained_parts(self.stage.model, Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_trained_parts(self.stage.model, resume_from_checkpoint)


# ------------------------------------------------------------------ a run


def train_reasoning(options: ReasoningOptions, output: Path | str) -> LiraForCausalLM:
    """Train a reasoning model from its backbones and save it. Run it again after an interruption and it goes on.

    Parameters
    ----------
    options : ReasoningOptions
    output : path
        Gets `streams/`, the phases' checkpoints, `model/` (adapter-only, or self-contained after LoRA) and
        `training.json`: command, options, logs, seconds.

    Raises
    ------
    LiraError
        Questions, a language or a backbone that is not there; options that do not fit the data.

    Source: method, Reasoning.
    """
    output, start = Path(output), time.perf_counter()
    examples = read_questions(options.questions, "train")
    torch.manual_seed(options.seed)
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
    table = cache_questions(model.lira, StreamCache(output / "streams"), examples)
    start_projector(model, table)
    model.open_gate()
    logs = {phase: run_phase(phase, model, table, output, options) for phase in PHASES if getattr(options, phase) > 0}
    if options.lora is not None:
        model.language_model = cast(PeftModel, model.language_model).merge_and_unload()
    model.language_model.float()  # exactly what it was, in the one precision that a checkpoint has
    model.requires_grad_(False)
    model.eval()
    model.save_pretrained(output / "model", save_backbones=options.lora is not None)
    record = {
        "command": command_line(),
        "options": asdict(options),
        "questions": len(examples),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "logs": logs,
    }
    atomic_write_text(output / "training.json", json.dumps(record, indent=1) + "\n")
    return model


@torch.no_grad()
def start_projector(model: LiraForCausalLM, table: QuestionTable, batch_size: int = 256) -> None:
    """Start the projector from every question whose English rendering is known; without any it stays as it is.

    Source: ours (see `LiraForCausalLM.align_projector`).
    """
    known = [place for place, example in enumerate(table.examples) if example.english]
    if not known:
        return
    parts = [known[at : at + batch_size] for at in range(0, len(known), batch_size)]
    words = ([table.examples[place].english for place in part] for part in parts)
    model.soft_prompt.fit(
        (*model.fuse(**table.inputs(part)), model._pooled_words(own)) for part, own in zip(parts, words, strict=True)
    )


def run_phase(
    phase: str, model: LiraForCausalLM, table: QuestionTable, output: Path, options: ReasoningOptions
) -> list[dict[str, float]]:
    """Train "mapping" or "augmentation" in place, or read what an earlier run ended with; return the log.

    Source: method, Reasoning; after Huang et al. (2024, MindMerger).
    """
    folder = output / phase
    log = folder / "log.json"
    if not log.is_file():
        stage = ReasoningStage(model, options)
        seed = options.seed + PHASES.index(phase)
        pairs = LanguagePairs(table.examples, getattr(options, phase), options.english_path_dropout, seed)
        arguments = _arguments(folder / "checkpoints", options, len(pairs))
        trainer = ReasoningTrainer(
            stage,
            arguments,
            train_dataset=pairs,
            data_collator=QuestionCollator(model, table, phase),
            optimizers=(torch.optim.AdamW(stage.parameter_groups(), weight_decay=0.01), None),
        )
        begun = time.perf_counter()
        trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
        save_trained_parts(model, folder)
        seconds = {"seconds": round(time.perf_counter() - begun, 1)}
        atomic_write_text(log, json.dumps([*trainer.state.log_history, seconds], indent=1) + "\n")
    load_trained_parts(model, folder)
    history = json.loads(log.read_text(encoding="utf-8"))
    losses = [entry["loss_answer"] for entry in history if "loss_answer" in entry]
    if losses:
        logger.info("%s: loss %.2f to %.2f in %.0f s", phase, losses[0], losses[-1], history[-1]["seconds"])
    return history


def _arguments(folder: Path, options: ReasoningOptions, pairs: int) -> TrainingArguments:
    steps = math.ceil(2 * pairs / options.batch_size)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=options.batch_size // 2,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        max_grad_norm=1.0,
        save_strategy="steps",
        save_steps=max(1, steps // 4),
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=max(1, steps // 10),
        remove_unused_columns=False,
        label_names=[],
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=options.seed,
        disable_tqdm=not sys.stderr.isatty(),
    )
