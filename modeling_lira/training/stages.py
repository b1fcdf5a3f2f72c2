"""The two stages of training as modules that map a batch of cached streams to a loss and its terms."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modeling_lira.modeling_lira import LiraModel

from .losses import (
    anchor_loss,
    candidate_rewards,
    geometry_loss,
    hinge_loss,
    mean_variance_loss,
    policy_entropy,
    policy_loss,
    soft_ndcg_loss,
)


@dataclass(frozen=True)
class ArcaWeights:
    """Weights of stage 1: alpha, beta, gamma, delta of the reward; eta of the anchor; geometry; entropy bonus.

    Source: paper, Arca (names); values are ours.
    """

    alpha: float = 0.4
    beta: float = 0.05
    gamma: float = 0.05
    delta: float = 1.0
    eta: float = 0.3
    geometry: float = 20.0
    entropy: float = 0.01


@dataclass(frozen=True)
class LasrWeights:
    """Weights of stage 2: hinge, mean-variance, the hinge's margin, the soft ranks' temperature and cut-off.

    Source: paper, LaSR (terms); values are ours.
    """

    hinge: float = 0.5
    mean_variance: float = 0.1
    margin: float = 0.1
    temperature: float = 0.03
    k: int = 10


class Stage(nn.Module):
    """A LiRA model under training.

    Parameters
    ----------
    lira : LiraModel
    learning_rates : mapping of str to float
        Peak learning rate by sub-module, the longest name that fits deciding; what no name fits, or 0, stays frozen.

    Source: ours.
    """

    def __init__(self, lira: LiraModel, learning_rates: Mapping[str, float]) -> None:
        super().__init__()
        self.lira = lira
        self.rates = {name: _rate(name, learning_rates) for name, _ in lira.named_parameters()}
        for name, parameter in lira.named_parameters():
            parameter.requires_grad_(self.rates[name] > 0)

    def parameter_groups(self) -> list[dict[str, float | list[nn.Parameter]]]:
        """Return the learning parameters by learning rate, as optimizers take them."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.lira.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.rates[name], []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _rate(name: str, learning_rates: Mapping[str, float]) -> float:
    fitting = [part for part in learning_rates if name.startswith(f"{part}.")]
    return learning_rates[max(fitting, key=len)] if fitting else 0.0


class ArcaStage(Stage):
    """Stage 1: L_arca = L_RL + eta L_anchor + geometry L_geo - entropy H.

    Source: paper, Arca; L_geo and the entropy bonus are ours.
    """

    def __init__(self, lira: LiraModel, learning_rates: Mapping[str, float], weights: ArcaWeights) -> None:
        super().__init__(lira, learning_rates)
        self.weights = weights

    def forward(
        self,
        multilingual_states: Tensor,
        english_states: Tensor,
        candidate_mask: Tensor,
        critic_scores: Tensor,
        language_ids: Tensor,
    ) -> dict[str, Tensor]:
        """Return `loss` and its terms for a batch [B, ...] in which every text has a candidate."""
        weights, arca = self.weights, self.lira.arca
        output = arca(multilingual_states, english_states, candidate_mask, critic_scores)
        rewards = candidate_rewards(
            critic_scores, output.similarities, weights.alpha, weights.beta, weights.gamma, weights.delta
        )
        actions = torch.distributions.Categorical(logits=output.policy_logits.float()).sample()
        rows = torch.arange(len(actions), device=actions.device)
        english = output.candidate_embeddings[rows, actions]  # [B, d]
        chosen = english_states[rows, actions]  # [B, S, dh]
        geometry = geometry_loss(english, frozen_embedding(arca.english_projection.centre, chosen)) + geometry_loss(
            output.multilingual_embedding, frozen_embedding(arca.multilingual_projection.centre, multilingual_states)
        )
        terms = {
            "policy": policy_loss(output.policy_logits, actions, rewards, candidate_mask),
            "anchor": anchor_loss(output.multilingual_embedding, english),
            "geometry": geometry,
            "entropy": policy_entropy(output.policy_logits),
        }
        loss = (
            terms["policy"]
            + weights.eta * terms["anchor"]
            + weights.geometry * terms["geometry"]
            - weights.entropy * terms["entropy"]
        )
        return {"loss": loss, **_detached(terms)}


def frozen_embedding(centre: Tensor, states: Tensor) -> Tensor:
    """Return the frozen backbone's own centred unit sentence vectors [B, H] from streams [B, S, H]."""
    return F.normalize(states.mean(1) - centre, dim=-1)


class LasrStage(Stage):
    """Stage 2, retrieval: L_retr = L_ndcg + hinge L_hinge + mean_variance L_mv over a batch's documents.

    Source: paper, LaSR (L_retr); L_mv is ours.
    """

    def __init__(self, lira: LiraModel, learning_rates: Mapping[str, float], weights: LasrWeights) -> None:
        super().__init__(lira, learning_rates)
        self.weights = weights

    def forward(self, gains: Tensor, **batch: Tensor) -> dict[str, Tensor]:
        """Return `loss` and its terms for `query_*` [B, ...] and `document_*` [N, ...] streams and gains [B, N]."""
        weights = self.weights
        queries = self.lira.fuse(**_side(batch, "query_"))["sentence_embedding"]
        documents = self.lira.fuse(**_side(batch, "document_"))["sentence_embedding"]
        scores = queries @ documents.T  # [B, N]
        terms = {
            "ndcg": soft_ndcg_loss(scores, gains, weights.k, weights.temperature),
            "hinge": hinge_loss(scores, gains, weights.margin),
            "mean_variance": mean_variance_loss(queries) + mean_variance_loss(documents),
        }
        loss = terms["ndcg"] + weights.hinge * terms["hinge"] + weights.mean_variance * terms["mean_variance"]
        return {"loss": loss, **_detached(terms)}


def _side(batch: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)}


def _detached(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}
