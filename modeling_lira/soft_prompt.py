"""The soft prompt: what a language model reads of LiRA's fused stream."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from .arca import ZeroLinear

IGNORED = -100
"""Label of a token that the loss does not count."""
_RIDGE = 1e-3
"""Ridge of the regression, in units of the mean variance of a stream's dimension.

The projector starts from few texts (720 anchors, say), which leave some directions of the stream without any variance:
without a ridge the solution along them would be huge and arbitrary. A thousandth changes nothing along the others.
"""


class SoftPrompt(nn.Module):
    """Project the fused stream to the language model's width, close it with a boundary, and scale it by a gate.

    The gate starts at zero, which masks every soft token: the language model then sees its prompt and nothing else.
    Scaling alone would not do that, for language models normalise what they attend to. Training opens the gate (sets it
    to one) and learns it from there.

    Source: METHOD.md, Reasoning.
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


@dataclass
class MergedPrompt:
    """Soft tokens and prompt as one sequence, padding on the left.

    `embeds` [B, T, W]; `mask` [B, T], 0 or 1; `prompt_positions` [B, L], where each token of the prompt went;
    `labels` [B, T].
    """

    embeds: Tensor
    mask: Tensor
    prompt_positions: Tensor
    labels: Tensor | None


def merge(
    soft: tuple[Tensor, Tensor], embeds: Tensor, real: Tensor, is_bos: Tensor, labels: Tensor | None
) -> MergedPrompt:
    """Put soft tokens after the prompt's first token if that is bos, else before it, and padding to the left.

    Parameters
    ----------
    soft : pair of Tensor, [B, n, W] and [B, n]
        The tokens, and which of them count.
    embeds : Tensor, [B, L, W]
        Of the prompt.
    real, is_bos : Tensor, [B, L]
        True where a token of the prompt is no padding, and where it begins a sequence.
    labels : Tensor, [B, L], optional
    """
    tokens, soft_mask = soft
    count = tokens.shape[1]
    prompt_keys = real.cumsum(1) + count  # [B, L], after the soft tokens' keys 1 ... count
    prompt_keys = torch.where(is_bos & (prompt_keys == count + 1), 0, prompt_keys)
    soft_keys = torch.arange(1, count + 1, device=embeds.device).expand(len(embeds), -1)
    mask = torch.cat([soft_mask, real], 1)  # [B, T]
    # Every masked token has the same key, the lowest: a stable sort leaves them in order, on the left.
    order = torch.where(mask, torch.cat([soft_keys, prompt_keys], 1), -1).argsort(dim=1, stable=True)
    if labels is not None:
        labels = F.pad(labels, (count, 0), value=IGNORED).gather(1, order)
    return MergedPrompt(
        embeds=rows_of(torch.cat([tokens.to(embeds.dtype), embeds], 1), order),
        mask=mask.gather(1, order).long(),
        prompt_positions=order.argsort(1)[:, count:],
        labels=labels,
    )


def rows_of(values: Tensor, index: Tensor) -> Tensor:
    """Take `values[b, index[b, t]]`: [B, T, W] and [B, t] to [B, t, W]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each next token; `logits` [B, t, V] are those of the last t `labels` [B, T]."""
    kept = labels[:, -logits.shape[1] :]
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), kept[:, 1:].flatten(), ignore_index=IGNORED)
