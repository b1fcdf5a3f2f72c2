"""The values that settings of agents may have, checked by the classes that take them and by the commands."""

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
"""The largest value of each setting. Larger ones make no sense: at a temperature of 1000 all tokens are as likely."""
LARGEST_SEED = 2**63 - 1


def check_limits(spelled: Callable[[str], str] = str, **values: float | None) -> None:
    """Raise LiraError for a setting that is not positive or too large, or a seed that is negative or too large.

    Parameters
    ----------
    spelled : callable
        Turns a setting's name into the name that the user knows, such as that of an option.
    **values : float or None
        Settings by name; None if not given.

    Raises
    ------
    LiraError
        Naming the first wrong setting, its value and what it may be.
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
