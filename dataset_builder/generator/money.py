"""Prices as shoppers name them: round amounts of their currency, "dưới 200k", "งบ 500"."""

import math
import random
from collections.abc import Sequence

RATES = {"vi": 25_000, "th": 35, "id": 16_000, "ms": 4.5, "ur": 280, "bn": 120, "fil": 57}
"""Local currency for one US dollar, about as in 2025."""
_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15)


def round_amount(price: float, language: str, above: bool, rng: random.Random) -> int:
    """Return a round amount of local currency somewhat above or below a price in US dollars."""
    near = price * RATES[language] * (rng.uniform(1.02, 1.6) if above else rng.uniform(0.5, 0.9))
    power = 10 ** math.floor(math.log10(near))
    amounts = [step * power for step in _STEPS]
    chosen = min(one for one in amounts if one >= near) if above else max(one for one in amounts if one <= near)
    return math.ceil(chosen) if above else math.floor(chosen)


def in_dollars(amount: int, language: str) -> str:
    """Return an amount of local currency in US dollars, with four decimals."""
    return f"{amount / RATES[language]:.4f}"


def say_amount(amount: int, formats: Sequence[str], number: int) -> str:
    """Write an amount in one of a language's formats: `{n}` 500, `{k}` thousands, `{m}` millions, whichever suits it.

    The same `number` chooses the same format for amounts of one size.
    """
    sized = {"{n}": 1, "{k}": 1_000, "{m}": 1_000_000}
    slot = next((one for one in ("{m}", "{k}") if amount >= sized[one] and any(one in text for text in formats)), "{n}")
    fitting = [text for text in formats if slot in text] or list(formats)
    return fitting[number % len(fitting)].replace(slot, f"{amount / sized[slot]:g}" if slot != "{n}" else str(amount))
