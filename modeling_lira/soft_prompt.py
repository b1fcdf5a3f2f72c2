"""The soft prompt: what a language model reads of LiRA's fused stream."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from .arca import ZeroLinear

_RIDGE = 1e-3
"""Ridge in units of the mean variance: the projector starts from few texts, whose streams leave directions untried."""


class SoftPrompt(nn.Module):
    """Project the fused stream to the language model's width, close it with a boundary, and scale it by a gate.

    The gate starts at zero, which masks every soft token: the language model then sees its prompt and nothing else.
    Scaling alone would not do that, for language models normalise what they attend to. Training opens the gate (sets it
    to one) and learns it from there.

    Source: method, Reasoning; the gate's form and the residual branch are ours.
    """

    def __init__(self, in_features: int, inner_size: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.norm = nn.LayerNorm(in_features)
        self.down = nn.Linear(in_features, inner_size)
        self.up = ZeroLinear(inner_size, out_features)
        self.boundary = nn.Parameter(torch.zeros(out_features))
        self.gate = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        """Start with a closed gate and a silent boundary; the linear layers start as any."""
        init.zeros_(self.boundary)
        init.zeros_(self.gate)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Solve for the linear layer by ridge regression; the boundary becomes the mean target.

        Batches are summed up, so that memory does not grow with their number.

        Parameters
        ----------
        batches : iterable of fused states [N, 2S, d], their mask [N, 2S] and targets [N, S, W]
        """
        count, sums, products = 0, torch.zeros(()), torch.zeros(())
        width = self.linear.in_features
        for states, mask, target in batches:
            rows = states[mask].double()  # [M, d]
            words = target.repeat(1, states.shape[1] // target.shape[1], 1)[mask].double()  # [M, W], of each path
            both = torch.cat([rows, words], 1)  # [M, d + W]
            count, sums, products = count + len(rows), sums + both.sum(0), products + rows.T @ both
        centre, mean = (sums / count).split([width, len(sums) - width])
        gram, cross = (products - count * torch.outer(centre, sums / count)).split([width, len(sums) - width], 1)
        ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-12) * torch.eye(width, dtype=gram.dtype)
        weight = torch.linalg.solve(gram + ridge, cross).T  # [W, d]
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(mean - weight @ centre)
        self.boundary.copy_(mean)

    def project(self, states: Tensor) -> Tensor:
        """Map fused states [B, T, d] to the language model's width [B, T, W]."""
        return self.linear(states) + self.up(F.gelu(self.down(self.norm(states))))

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return soft tokens [B, T + 1, W], the boundary last, and their mask, for states [B, T, d], mask [B, T]."""
        boundary = self.boundary.expand(states.shape[0], 1, -1)
        soft = self.gate * torch.cat([self.project(states), boundary], 1)
        present = F.pad(mask, (0, 1), value=True)
        return soft, present & (self.gate != 0)
