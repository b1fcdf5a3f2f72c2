"""The soft prompt: what a language model reads of LiRA's fused stream."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from .arca import ZeroLinear


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

    def project(self, states: Tensor) -> Tensor:
        """Map fused states [B, T, d] to the language model's width [B, T, W]."""
        return self.linear(states) + self.up(F.gelu(self.down(self.norm(states))))

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return soft tokens [B, T + 1, W], the boundary last, and their mask, for states [B, T, d], mask [B, T]."""
        boundary = self.boundary.expand(states.shape[0], 1, -1)
        soft = self.gate * torch.cat([self.project(states), boundary], 1)
        present = F.pad(mask, (0, 1), value=True)
        return soft, present & (self.gate != 0)
