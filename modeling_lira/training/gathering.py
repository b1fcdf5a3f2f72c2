"""Show every process the whole batch: a loss over all pairs of its rows is not the mean of the losses of its parts."""

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(values: Tensor) -> Tensor:
    """Return the rows [N, ...] of all processes one after the other; gradients reach this process's own rows.

    Processes may hold different numbers of rows, which are padded to the longest on the way. A loss of gathered rows is
    the same number in every process, and each process has the gradient of its own rows alone: see `summed_gradient`.
    """
    if processes() == 1:
        return values
    counts = [torch.zeros(1, dtype=torch.long, device=values.device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor([len(values)], device=values.device))
    longest = int(max(counts))
    padded = values.new_zeros(longest, *values.shape[1:])
    padded[: len(values)] = values.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    rows = [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
    rows[dist.get_rank()] = values
    return torch.cat(rows)


def summed_gradient(loss: Tensor) -> Tensor:
    """Return the loss with its gradient times the number of processes.

    Data-parallel training averages gradients; the parts of a gathered batch's gradient must be added.
    """
    return loss + (processes() - 1) * (loss - loss.detach())
