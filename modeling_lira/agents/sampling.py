"""Random numbers that belong to a text and not to its batch."""

import torch
from torch import Tensor

from .batching import digest


def gumbel_noise(text: str, language: str, seed: int, draws: int, steps: int, width: int) -> Tensor:
    """Return Gumbel noise for the draws of one text, zero for the first, which is the greedy one.

    The arg max of logits / temperature + Gumbel noise is a sample from their softmax, so that the noise alone, and not
    the batch, decides it.

    Parameters
    ----------
    text, language : str
    seed : int
    draws : int
        Candidates to draw, the greedy one included.
    steps, width : int
        Tokens of an answer, and tokens to choose from at each.

    Returns
    -------
    Tensor, float32 `[draws, steps, width]`.
    """
    noise = torch.zeros(draws, steps, width)
    for draw in range(1, draws):
        number = int(digest(text, language, seed, draw)[:15], 16)
        uniform = torch.rand(steps, width, generator=torch.Generator().manual_seed(number))
        noise[draw] = -torch.log(-torch.log(uniform))
    return noise
