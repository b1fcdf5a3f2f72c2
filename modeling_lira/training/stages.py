"""The two stages of the encoder's training as modules that map a batch to a loss and its terms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.tables import ENGLISH_INPUTS
from ..modeling_lira import LiraModel, LiraModelOutput
from .gathering import gather_rows, summed_gradient
from .losses import (
    anchor_loss,
    candidate_rewards,
    consistency_loss,
    contrastive_loss,
    correlation_loss,
    geometry_loss,
    hinge_loss,
    matching_loss,
    mean_variance_loss,
    policy_entropy,
    policy_loss,
    retrieval_margins,
    sampled_actions,
    soft_ndcg_loss,
)
from .negatives import gains_of, safe_negatives
from .options import ArcaWeights, LasrOptions
from .queues import CorrQueue, DocQueue, FifoQueue
from .stage import Stage

CRITIC = 0.05
"""Temperature of the softmax over a batch's translations by which the embedding critic learns."""
Side = Mapping[str, Tensor]


class EncoderStage(Stage[LiraModel]):
    """A stage of the encoder; parameters and errors as in `Stage`."""

    @property
    def lira(self) -> LiraModel:
        """The model under training."""
        return self.model


class ArcaStage(EncoderStage):
    """Stage 1: L_arca = L_RL + eta L_anchor + geometry L_geo + critic L_critic - entropy H.

    Source: paper, Arca; L_critic, L_geo and the entropy bonus: METHOD.md, Arca 3, 6 and 7.
    """

    def __init__(self, lira: LiraModel, learning_rates: Mapping[str, float], weights: ArcaWeights) -> None:
        super().__init__(lira, learning_rates)
        self.weights = weights

    def forward(self, uniform: Tensor, **batch: Tensor) -> dict[str, Tensor]:
        """Return `loss` and its terms for a batch [B, ...] in which every text has a candidate.

        `uniform` [B] in [0, 1) decides which candidate each row's policy draws.
        """
        weights, arca = self.weights, self.lira.arca
        multilingual_states, english_states = batch["multilingual_states"], batch["english_states"]
        scores, mask = batch["critic_scores"], batch["candidate_mask"]
        output = arca(multilingual_states, english_states, mask, scores)
        rewards = candidate_rewards(
            scores, output.similarities, weights.alpha, weights.beta, weights.gamma, weights.delta
        )
        actions = sampled_actions(output.policy_logits.float(), uniform)
        rows = torch.arange(len(actions), device=actions.device)
        english = gather_rows(output.candidate_embeddings[rows, actions])  # [B, d]
        multilingual = gather_rows(output.multilingual_embedding)
        frozen_english = gather_rows(frozen_embedding(arca.english_projection.centre, english_states[rows, actions]))
        frozen = gather_rows(frozen_embedding(arca.multilingual_projection.centre, multilingual_states))
        views = arca.critic_views(multilingual_states, english_states[rows, actions])
        text_view, english_view = map(gather_rows, views)
        terms = {
            "policy": _mean_over_processes(policy_loss(output.policy_logits, actions, rewards, mask)),
            "anchor": anchor_loss(multilingual, english),
            "geometry": geometry_loss(english, frozen_english) + geometry_loss(multilingual, frozen),
            "critic": matching_loss(text_view, english_view, CRITIC),
            "entropy": _mean_over_processes(policy_entropy(output.policy_logits)),
        }
        loss = (
            terms["policy"]
            + weights.eta * terms["anchor"]
            + weights.geometry * terms["geometry"]
            + weights.critic * terms["critic"]
            - weights.entropy * terms["entropy"]
        )
        return {"loss": summed_gradient(loss), **_detached(terms)}


def frozen_embedding(centre: Tensor, states: Tensor) -> Tensor:
    """Return the frozen backbone's sentence embeddings [B, H], centred and of unit norm, from streams [B, S, H]."""
    return F.normalize(states.mean(1) - centre, dim=-1)


@dataclass(frozen=True)
class Documents:
    """Documents that queries are scored against: `embeddings` [N, D], `frozen` [N, H], `ids` [N], none twice.

    The first `fresh` of them are the batch's, the others the queue's, which have no gradient.
    """

    embeddings: Tensor
    frozen: Tensor
    ids: Tensor
    fresh: int


class LasrStage(EncoderStage):
    """Stage 2: L_lasr = L_retr, L_corr or both, plus consistency L_consistency.

    L_retr = L_ndcg + contrastive L_InfoNCE + hinge L_hinge + mean_variance L_mv, over a batch's documents and those in
    the DocQueue. L_corr is over a batch's graded pairs and those in the CorrQueue.

    Parameters
    ----------
    lira : LiraModel
    options : LasrOptions
    num_documents : int
        Training documents; the DocQueue never holds more than half of them.

    Source: paper, LaSR; L_mv, InfoNCE and L_consistency: METHOD.md, LaSR 5 and 6.
    """

    def __init__(self, lira: LiraModel, options: LasrOptions, num_documents: int) -> None:
        super().__init__(lira, options.learning_rates)
        self.options = options
        self.weights = options.weights
        self.doc_queue = DocQueue(min(options.doc_queue, num_documents // 2))
        self.corr_queue = CorrQueue(options.corr_queue)
        self.widths = (lira.config.embedding_size, *options.matryoshka)

    @property
    def queues(self) -> dict[str, FifoQueue]:
        """The DocQueue and the CorrQueue."""
        return {"documents": self.doc_queue, "pairs": self.corr_queue}

    def forward(
        self,
        relevant: Tensor,
        grades: Tensor,
        document_ids: Tensor,
        group: Tensor,
        other_candidate: Tensor,
        uniform: Tensor,
        pair_documents: Tensor,
        pair_targets: Tensor,
        **batch: Tensor,
    ) -> dict[str, Tensor]:
        """Return `loss` and its terms.

        Parameters
        ----------
        relevant, grades : Tensor, [B, R]
            Ids and grades of each query's relevant documents, -1 where there are no more.
        document_ids : Tensor, [N]
        group : Tensor, [1]
            Which documents are searched together: a language and a kind of title.
        other_candidate : Tensor, [B, K], bool
            One candidate of each query, for the consistency term.
        uniform : Tensor, [B], in [0, 1)
            Decides which candidate each query's policy draws.
        pair_documents, pair_targets : Tensor, [B, P]
            Ids and wanted similarities of graded pairs, NaN where there are no more.
        **batch : Tensor
            Streams, `query_*` [B, ...] and `document_*` [N, ...].
        """
        queries = _side(batch, "query_")
        output = self.lira.fuse(**queries)
        documents = self._documents(_side(batch, "document_"), document_ids, int(group))
        relevant, grades = _gather_padded(relevant, -1), _gather_padded(grades, 0)
        gains = gains_of(relevant, grades, documents.ids)
        mask = safe_negatives(documents.frozen, gains, self.options.safe_negatives)
        embedding = gather_rows(_embedding(output))
        terms: dict[str, Tensor] = {}
        for width in self.widths:
            self._add(terms, self._task_terms(embedding, documents, gains, mask, width))
        if self.weights.policy and self.options.objective != "ranking" and output.policy_logits is not None:
            present = queries["candidate_mask"]
            self._add(terms, {"policy": self._policy(output, present, uniform, documents, gains, mask)})
        if self.options.objective != "retrieval":
            pairs = _gather_padded(pair_documents, -1), _gather_padded(pair_targets, float("nan"))
            self._add(terms, {"correlation": self._correlation(embedding, documents, *pairs)})
        if self.weights.consistency:
            views = self._views(output, queries, other_candidate)
            self._add(terms, {"consistency": self._consistency(embedding, views, documents, mask)})
        self._remember(documents, int(group))
        return {"loss": summed_gradient(self._total(terms)), **_detached(terms)}

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self._weight(name) * value for name, value in terms.items()]).sum()

    def _weight(self, name: str) -> float:
        return 1.0 if name == "ndcg" else getattr(self.weights, name)

    @staticmethod
    def _add(terms: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
        for name, value in more.items():
            terms[name] = terms[name] + value if name in terms else value

    def _documents(self, side: Side, ids: Tensor, group: int) -> Documents:
        """Embed the batch's documents, one of each over all processes, and join the queue's of the same group."""
        embeddings = gather_rows(_embedding(self.lira.fuse(**side)))
        centre = self.lira.arca.multilingual_projection.centre
        frozen = gather_rows(frozen_embedding(centre, side["multilingual_states"]))
        every = gather_rows(ids)
        first = _first_of_each(every)
        ids, embeddings, frozen = every[first], embeddings[first], frozen[first]
        queued = self.doc_queue.others(ids, group)
        if not queued:
            return Documents(embeddings, frozen, ids, len(ids))
        return Documents(
            torch.cat([embeddings, queued["embeddings"]]),
            torch.cat([frozen, queued["frozen"]]),
            torch.cat([ids, queued["ids"]]),
            len(ids),
        )

    def _task_terms(
        self, queries: Tensor, documents: Documents, gains: Tensor, mask: Tensor, width: int
    ) -> dict[str, Tensor]:
        queries, embeddings = _truncated(queries, width), _truncated(documents.embeddings, width)
        share = 1 / len(self.widths)
        fresh = embeddings[: documents.fresh]
        terms = {"mean_variance": share * (mean_variance_loss(queries) + mean_variance_loss(fresh))}
        if self.options.objective != "ranking":
            scores = queries @ embeddings.T  # [B, N]
            weights = self.weights
            terms["ndcg"] = share * soft_ndcg_loss(scores, gains, weights.k, weights.temperature, mask)
            if weights.contrastive:
                terms["contrastive"] = share * contrastive_loss(scores, gains, weights.contrastive_temperature, mask)
            if weights.hinge:
                terms["hinge"] = share * hinge_loss(scores, gains, weights.margin, mask)
        return terms

    def _policy(
        self,
        output: LiraModelOutput,
        present: Tensor,
        uniform: Tensor,
        documents: Documents,
        gains: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """Return the loss of a policy whose reward is the retrieval margin of the query with each candidate alone.

        A query with a candidate alone stands at 45 degrees here, as a document does: behind a gate that has closed, all
        candidates would be worth the same.
        """
        assert output.candidate_embeddings is not None and output.multilingual_embedding is not None
        assert output.policy_logits is not None
        multilingual = output.multilingual_embedding[:, None].expand_as(output.candidate_embeddings)
        alone = torch.cat([multilingual, output.candidate_embeddings], -1).detach() * 0.5**0.5  # [B, K, 2d]
        alone = gather_rows(alone[..., : self.widths[0]].float())
        present, logits = gather_rows(present.long()).bool(), gather_rows(output.policy_logits)
        scores = alone @ documents.embeddings.detach().T  # [B, K, N]
        rewards = retrieval_margins(scores, gains, self.weights.contrastive_temperature, mask)
        actions = sampled_actions(logits.detach().float(), gather_rows(uniform))
        return policy_loss(logits, actions, rewards, present)

    def _correlation(self, queries: Tensor, documents: Documents, pairs: Tensor, targets: Tensor) -> Tensor:
        """Compare the cosines of the graded pairs [B, P] with their targets, joined with the queue's."""
        present = ~targets.isnan()
        ordered, order = documents.ids[: documents.fresh].sort()
        position = torch.searchsorted(ordered, pairs[present])
        rows = torch.arange(len(pairs), device=pairs.device)[:, None].expand_as(pairs)[present]
        predictions = (queries[rows] * documents.embeddings[order[position]]).sum(-1)
        wanted = targets[present].to(predictions.dtype)
        weights = self.weights
        loss = correlation_loss(
            *self.corr_queue.join(predictions, wanted), weights.pearson_share, weights.correlation_temperature
        )
        # Validation must leave no trace in the queue.
        if self.training:
            self.corr_queue.push(predictions=predictions, targets=wanted)
        return loss

    def _views(self, output: LiraModelOutput, queries: Side, other_candidate: Tensor) -> Iterator[Tensor]:
        """Yield other embeddings of the queries, [B, D] each: by one path alone, and with another candidate."""
        without = {name: value for name, value in queries.items() if name not in ENGLISH_INPUTS}
        yield _embedding(self.lira.fuse(**without))
        english, weight = output.english_embedding, output.english_weight
        assert english is not None and weight is not None
        alone = torch.cat([english, weight[:, None] * english], -1).float()
        yield F.normalize(alone[:, : self.widths[0]], dim=-1)
        if "english_states" in queries:
            yield _embedding(self.lira.fuse(**{**queries, "candidate_mask": other_candidate}))

    def _consistency(self, queries: Tensor, views: Iterator[Tensor], documents: Documents, mask: Tensor) -> Tensor:
        scores = queries @ documents.embeddings.T
        losses = [
            consistency_loss(
                scores, gather_rows(view) @ documents.embeddings.T, self.weights.consistency_temperature, mask
            )
            for view in views
        ]
        return torch.stack(losses).mean()

    def _remember(self, documents: Documents, group: int) -> None:
        if self.training and self.doc_queue.capacity:
            fresh = slice(0, documents.fresh)
            ids = documents.ids[fresh]
            self.doc_queue.push(
                embeddings=documents.embeddings[fresh],
                frozen=documents.frozen[fresh],
                ids=ids,
                groups=torch.full_like(ids, group),
            )


def _embedding(output: LiraModelOutput) -> Tensor:
    assert output.sentence_embedding is not None
    return output.sentence_embedding


def _truncated(embeddings: Tensor, width: int) -> Tensor:
    return embeddings if width >= embeddings.shape[1] else F.normalize(embeddings[:, :width], dim=-1)


def _mean_over_processes(value: Tensor) -> Tensor:
    return gather_rows(value.reshape(1)).mean()


def _first_of_each(ids: Tensor) -> Tensor:
    """Return where each different id [N] stands first, in the order of the ids."""
    ordered, order = ids.sort(stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return order[new]


def _gather_padded(values: Tensor, filler: float) -> Tensor:
    """Gather rows [B, R] whose number of columns may differ between processes."""
    columns = int(gather_rows(values.new_tensor([values.shape[1]]).nan_to_num()).max())
    return gather_rows(F.pad(values, (0, columns - values.shape[1]), value=filler))


def _side(batch: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)}


def _detached(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}
