"""Progress of long steps: a bar on a terminal, otherwise a line of the log every half minute."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm.auto import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Pace:
    """Decides when a line of the log is due: `SECONDS_BETWEEN_LINES` after the last one, or after the start."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether a line is due; if so, the time to the next one starts now."""
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES:
            return False
        self.last = now
        return True


class Progress(tqdm):
    """A bar of tqdm on a terminal; without one, lines such as "multilingual encoder: 3072 of 20000 texts".

    Parameters are those of tqdm; `desc` and `unit` are given.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        desc: str,
        unit: str,
        total: int | None = None,
        initial: int = 0,
    ) -> None:
        super().__init__(iterable, desc=desc, unit=unit, total=total, initial=initial, disable=None)
        self.what, self.of_what, self.count, self.pace = desc, unit, initial, Pace()

    def __iter__(self) -> Iterator[Any]:
        """Yield the items, each counted when the next one is asked for."""
        for item in super().__iter__():
            yield item
            if self.disable:
                self._count(1)

    def update(self, n: float | None = 1) -> bool | None:
        """Count `n` more items."""
        if self.disable:
            self._count(int(n or 0))
        return super().update(n)

    def _count(self, more: int) -> None:
        self.count += more
        if self.pace.is_due():
            logger.info("%s: %d of %s %ss", self.what, self.count, self.total or "?", self.of_what)
