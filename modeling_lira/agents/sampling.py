"""Random numbers that depend on a text and a seed, and not on the batch that the text is in."""

import torch
from torch import Tensor

from .batching import digest


def gumbel_noise(text: str, language: str, seed: int, draws: int, steps: int, width: int) -> Tensor:
    """Return Gumbel noise for the draws of one text; the first draw, the greedy one, has none.

    The arg max of logits / temperature + Gumbel noise is a sample from the softmax of logits / temperature (the
    Gumbel-max trick), so a sample depends on this noise only, and not on the other texts of a batch.

    Parameters
    ----------
    text, language : str
    seed : int
    draws : int
        Candidates to draw, the greedy one included.
    steps : int
        The most tokens of an answer.
    width : int
        How many tokens there are to choose from at each step.

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
