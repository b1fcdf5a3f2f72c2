"""Calls in several threads, whose results come as they are finished."""

import threading
import time

import pytest

from modeling_lira.agents.concurrency import as_finished
from modeling_lira.errors import LiraError


def test_no_more_is_begun_than_the_caller_takes() -> None:
    begun: list[int] = []
    batches = as_finished(begun.append, 100, 3)
    taken = len(next(batches))
    time.sleep(0.1)
    assert len(begun) <= 6
    taken += sum(map(len, batches))
    assert taken == len(begun) == 100


def test_an_error_comes_after_what_was_finished_before_it_and_ends_the_threads() -> None:
    def work(number: int) -> int:
        if number == 5:
            raise LiraError("five")
        return number

    before, finished = threading.active_count(), []
    with pytest.raises(LiraError, match="five"):
        for batch in as_finished(work, 1000, 1):
            finished += batch
    assert finished == [(number, number) for number in range(5)]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
