"""What the settings of agents may be, said by the class that takes them and by the command that passes them on."""

import math
from collections.abc import Callable

from ..errors import LiraError

LARGEST = {
    "num_candidates": 100_000,
    "top_k": 1_000_000,
    "temperature": 1000.0,
    "concurrency": 1024,
    "timeout": 86_400.0,
    "batch_size": 1_000_000,
    "threads": 4096,
    "max_tokens": 1_000_000,
    "max_new_tokens": 1_000_000,
    "max_source_tokens": 1_000_000,
}
"""The most that makes sense; a temperature of 1000 draws from all tokens alike, a timeout of a day is none."""
LARGEST_SEED = 2**63 - 1


def check_limits(spelled: Callable[[str], str] = str, **values: float | None) -> None:
    """Raise unless every value is a number that its setting may be; None is what was not given.

    Parameters
    ----------
    spelled : callable
        From a setting's name to what the user calls it.
    **values : float or None

    Raises
    ------
    LiraError
        Naming the setting, its value and what it may be.
    """
    for name, value in values.items():
        if value is None:
            continue
        if name == "seed":
            if not 0 <= value <= LARGEST_SEED:
                raise LiraError(f"{spelled(name)} is {value}: it must be from 0 to {LARGEST_SEED}")
        elif math.isnan(value) or value <= 0:
            raise LiraError(f"{spelled(name)} is {value}: it must be positive")
        elif value > LARGEST[name]:
            raise LiraError(f"{spelled(name)} is {value}: it must be positive, and at most {LARGEST[name]}")
