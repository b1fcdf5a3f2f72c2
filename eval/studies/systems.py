"""Every system that the ablation compares: LiRA whole, LiRA without one of its parts, and the baselines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from modeling_lira.arca import ArcaOutput
from modeling_lira.configuration_lira import PATHS
from modeling_lira.data.tables import SplitTables
from modeling_lira.evaluation.comparison import encoder_alone, translate_then_encode
from modeling_lira.evaluation.embedded import Embedded, embed_split
from modeling_lira.evaluation.names import BM25_ROW, ENCODER, LIRA, TRANSLATE, TUNED, TUNED_WHOLE
from modeling_lira.modeling_lira import LiraModel
from modeling_lira.training.options import ArcaOptions, LasrOptions
from modeling_lira.training.resumable import run_stage
from modeling_lira.training.validation import BEST, validation_scores

from . import baselines
from .baselines import Head, embedded_by, train_head

Embedder = Callable[[SplitTables], Embedded]
Details = dict[str, float]


@dataclass(frozen=True)
class TrainingPlan:
    """What every trained system is given: the same data, batches, epochs and validation.

    `start` makes an untrained LiRA model; `folder` keeps what training finished.
    """

    start: Callable[[], LiraModel]
    train: Sequence[SplitTables]
    validation: Sequence[SplitTables]
    arca: ArcaOptions
    lasr: LasrOptions
    folder: Path


Ways = Mapping[str, tuple[bool, bool]]
"""Ways to search, by name: whether titles are English, and whether queries have their translations."""
WAYS: Ways = {
    "English titles": (True, True),
    "English titles, no translations": (True, False),
    "local titles": (False, True),
    "local titles, no translations": (False, False),
}
"""How a shop may search."""
AS_IT_COMES, TUNED_AS_ASKED, WHOLE = "as it comes", "tuned", "tuned whole"
"""States of the multilingual encoder; tuned as the options say and averaged with its start, or whole, by InfoNCE."""
STUDIED_WAYS: Ways = {name: way for name, way in WAYS.items() if way != (False, False)}
"""Those that the studies compare."""


Build = Callable[[TrainingPlan, int], tuple[Embedder, Details]]


@dataclass(frozen=True)
class System:
    """One row of the table.

    `build` trains it with a seed and returns how it embeds a split and what is worth knowing of the training;
    `local_titles` says whether it can search titles that are not English; `seeds` whether it depends on a seed;
    `encoder` on which multilingual encoder it works, by default LiRA's; `by_translator` whether something of it is
    chosen on validation queries for each translator apart.
    """

    build: Build
    local_titles: bool = True
    seeds: bool = True
    encoder: str = ""
    by_translator: bool = False

    def seeds_of(self, seeds: Sequence[int]) -> Sequence[int]:
        """Return which of `seeds` to train with."""
        return seeds if self.seeds else seeds[:1]

    def scores(self, embedded: Embedded, ways: Ways) -> dict[str, Tensor]:
        """Return nDCG@10 [Q] of a split by `way/language`, NaN where the system, or anybody, cannot search so."""
        scores, split = {}, embedded.tables.split
        for way, (english_titles, with_candidates) in ways.items():
            values = embedded.ndcg(english_titles=english_titles, with_candidates=with_candidates)
            is_open = split.has_english_titles if english_titles else self.local_titles
            scores[f"{way}/{split.language}"] = values if is_open else values * float("nan")
        return scores


Tables = Callable[[SplitTables], SplitTables]


def _as_they_are(tables: SplitTables) -> SplitTables:
    return tables


@dataclass(frozen=True)
class Variant:
    """LiRA without one of its parts: what changes in its data, its model and its options.

    `frozen` names the sub-modules that stage 2 leaves as they start; `anchors` says whether stage 1 is run.
    """

    tables: Tables = _as_they_are
    model: Callable[[LiraModel], object] = lambda model: None
    arca: Mapping[str, object] | None = None
    arca_weights: Mapping[str, float] | None = None
    lasr: Mapping[str, object] | None = None
    lasr_weights: Mapping[str, float] | None = None
    frozen: tuple[str, ...] = ()
    anchors: bool = True

    def build(self, plan: TrainingPlan, seed: int) -> tuple[Embedder, Details]:
        """Train both stages and return the model's embedder."""
        torch.manual_seed(seed)
        model = plan.start()
        self.model(model)
        train, validation = ([self.tables(tables) for tables in part] for part in (plan.train, plan.validation))
        weights = replace(plan.arca.weights, **self.arca_weights or {})
        arca = replace(plan.arca, weights=weights, **self.arca or {})  # type: ignore[arg-type]
        lasr = replace(plan.lasr, weights=replace(plan.lasr.weights, **self.lasr_weights or {}))  # type: ignore[arg-type]
        rates = {**lasr.learning_rates, **dict.fromkeys(self.frozen, 0.0)}
        lasr = replace(lasr, learning_rates=rates, **self.lasr or {})  # type: ignore[arg-type]
        seconds = 0.0
        if self.anchors:
            seconds += run_stage("arca", model, train, validation, plan.folder, seed, arca)[-1]["seconds"]
        seconds += run_stage("lasr", model, train, validation, plan.folder, seed, lasr)[-1]["seconds"]
        score = validation_scores(model, validation, lasr.objective)[BEST]
        return (lambda tables: embed_split(model, self.tables(tables))), {"seconds": seconds, "validation": score}


def without_critic_scores(tables: SplitTables) -> SplitTables:
    """Return tables whose candidates no translation critic has read."""
    queries = tables.queries
    return replace(tables, queries=replace(queries, scores=np.full_like(queries.scores, np.nan)))


def first_candidate_only(tables: SplitTables) -> SplitTables:
    """Return tables of greedy translations alone: nothing is left to choose."""
    queries = tables.queries
    rows = np.where(np.arange(queries.rows.shape[1]) == 0, queries.rows, -1)
    others = {name: np.where(np.arange(kept.shape[1]) == 0, kept, -1) for name, kept in queries.others.items()}
    return replace(tables, queries=replace(queries, rows=rows, others=others))


def without_translations(tables: SplitTables) -> SplitTables:
    """Return tables in which only what is English has an English text."""
    queries, local = tables.queries, tables.local
    return replace(
        tables,
        queries=replace(queries, rows=np.full_like(queries.rows, -1), others={}),
        local=replace(local, rows=np.full_like(local.rows, -1)),
    )


class SilentCritic(nn.Module):
    """An embedding critic that says the same of every candidate."""

    def forward(self, multilingual_embedding: Tensor, candidate_embeddings: Tensor) -> Tensor:
        """Return zeros [B, K]."""
        return candidate_embeddings.new_zeros(candidate_embeddings.shape[:2])


def _silence_embedding_critic(model: LiraModel) -> None:
    model.arca.embedding_critic = SilentCritic()  # type: ignore[assignment]


def _read_english_only(model: LiraModel) -> None:
    """Let the English path stand in for the multilingual one wherever there is English."""

    def replaced(module: nn.Module, arguments: object, output: ArcaOutput) -> ArcaOutput:
        present = output.has_english[:, None]
        return replace(
            output,
            multilingual_stream=torch.where(present[..., None], output.english_stream, output.multilingual_stream),
            multilingual_embedding=output.english_embedding,
        )

    model.arca.register_forward_hook(replaced)


def _untrained(embed: Embedder, plan: TrainingPlan, seed: int) -> tuple[Embedder, Details]:
    return embed, {"seconds": 0.0}


def _weighted(plan: TrainingPlan, seed: int) -> tuple[Embedder, Details]:
    weight = baselines.best_weight(plan.validation)
    return baselines.weighted_sum(weight), {"seconds": 0.0, "weight": weight}


def _head(
    make: Callable[[LiraModel], nn.Module], loss: baselines.Loss, pulled: bool, plan: TrainingPlan, seed: int
) -> tuple[Embedder, Details]:
    model = plan.start()

    def score(head: Head) -> float:
        ways = [
            float(embedded_by(head, tables).ndcg(english_titles=english).nanmean())
            for tables in plan.validation
            for english in ((True, False) if tables.split.has_english_titles else (False,))
        ]
        return float(np.mean(ways))

    trained = train_head(partial(make, model), loss, plan.train, score, plan.lasr, seed, pulled)
    details = {"learning_rate": trained.learning_rate, "validation": trained.score}
    return partial(embedded_by, trained.head), details


LINEAR, LINEAR_PULLED = "linear head, InfoNCE", "linear head, LiRA's decay and average"
ENGLISH_MAPPING = "MSE mapping to English"
CONCATENATION, WEIGHTED, RECIPROCAL = "concatenation", "weighted sum of scores", "reciprocal rank fusion"
_SPACE = ("arca.adaptor", *(f"arca.{path}_projection" for path in PATHS))
_ANCHORED: dict[str, object] = {
    "must_improve": False,
    "learning_rates": {**ArcaOptions().learning_rates, **dict.fromkeys(_SPACE, 1e-4)},
}
"""Stage 1 trains the shared space too, and is kept even where validation scores were better before it."""
_LIRA = {
    LIRA: System(Variant().build),
    "no translation critic": System(Variant(tables=without_critic_scores).build),
    "no embedding critic": System(Variant(model=_silence_embedding_critic).build),
    "no actor (greedy candidate)": System(Variant(tables=first_candidate_only).build),
    "no translation": System(Variant(tables=without_translations, anchors=False).build),
    "no multilingual path": System(
        Variant(model=_read_english_only, lasr=baselines.NO_NOISE).build, local_titles=False
    ),
    "projections learn in stage 1": System(Variant(arca=_ANCHORED).build),
    "projections learn in stage 1, no geometry": System(Variant(arca=_ANCHORED, arca_weights={"geometry": 0.0}).build),
    "no retrieval reward": System(Variant(lasr_weights={"policy": 0.0}).build),
    "candidates of one quality": System(
        Variant(lasr={"gloss": 0.0, "reference": 0.0, "mixed": 0.0, "single": 0.0}).build
    ),
    "no gate": System(Variant(frozen=("lasr.gate",)).build),
    "with consistency": System(Variant(lasr_weights={"consistency": 0.1}).build),
    "with hinge": System(Variant(lasr_weights={"hinge": 0.5}).build),
    "with DocQueue": System(Variant(lasr={"doc_queue": 8_192}).build),
    "no decay, no average": System(Variant(lasr={"decay": 0.0, "start_share": 0.0}).build),
    "no stage 1": System(Variant(anchors=False).build),
}
_FUSIONS: dict[str, Build] = {
    CONCATENATION: partial(_untrained, baselines.concatenation),
    WEIGHTED: _weighted,
    RECIPROCAL: partial(_untrained, baselines.reciprocal_rank_fusion),
}
"""How both encoders' scores are joined without training a head."""


def whole(name: str) -> str:
    """Return the name of a fusion on the encoder that was tuned whole."""
    return f"{name}, tuned whole"


SYSTEMS: dict[str, System] = {
    **_LIRA,
    ENCODER: System(partial(_untrained, encoder_alone), seeds=False, encoder=AS_IT_COMES),
    TUNED: System(partial(_untrained, encoder_alone), seeds=False, encoder=TUNED_AS_ASKED),
    TUNED_WHOLE: System(partial(_untrained, encoder_alone), seeds=False, encoder=WHOLE),
    TRANSLATE: System(partial(_untrained, translate_then_encode), local_titles=False, seeds=False),
    BM25_ROW: System(partial(_untrained, baselines.lexical), seeds=False),
    **{name: System(build, seeds=False, by_translator=build is _weighted) for name, build in _FUSIONS.items()},
    **{
        whole(name): System(build, seeds=False, encoder=WHOLE, by_translator=build is _weighted)
        for name, build in _FUSIONS.items()
    },
    LINEAR: System(partial(_head, baselines.LinearHead, baselines.retrieval_loss, False)),
    LINEAR_PULLED: System(partial(_head, baselines.LinearHead, baselines.retrieval_loss, True)),
    ENGLISH_MAPPING: System(partial(_head, baselines.EnglishMapping, baselines.mapping_loss, False)),
}
"""By name; LiRA first, then its ablations, then the rivals, all of them on the multilingual encoder that LiRA has."""
RIVALS = tuple(name for name in SYSTEMS if name not in _LIRA)
