"""No progress bars of `datasets` in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

import datasets


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Switch off the progress bars of `datasets`, which draws one for every language, part and split."""
    were_off = datasets.utils.are_progress_bars_disabled()
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            datasets.utils.enable_progress_bars()
