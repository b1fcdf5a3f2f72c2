"""Dynamic batching: requests that arrive while a batch runs form the next batch."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..errors import LiraError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFullError(LiraError):
    """More items wait than the queue may hold."""


@dataclass
class _Job(Generic[Item, Result]):
    items: Sequence[Item]
    results: "asyncio.Future[list[Result]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher(Generic[Item, Result]):
    """Runs one function on the items of many requests, a batch at a time, in a thread of its own.

    Parameters
    ----------
    run : callable of a list of items to a list of as many results
        If it raises `LiraError` for a batch of several requests, each of them is run alone, so that one bad request
        fails alone.
    batch_size : int
        Items of a batch at most; one request with more makes a batch of its own.
    capacity : int
        Items that may wait or run at a time.
    """

    def __init__(self, run: Callable[[list[Item]], list[Result]], batch_size: int, capacity: int) -> None:
        self._run = run
        self.batch_size, self.capacity = batch_size, capacity
        self.waiting = 0
        self._jobs: asyncio.Queue[_Job[Item, Result]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        self._next: _Job[Item, Result] | None = None
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take requests; needs a running event loop."""
        self._loop = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish what waits, then end."""
        while self.waiting:
            await asyncio.sleep(0.01)
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        self._thread.shutdown()

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Return the results of these items, once their batch has run.

        Raises
        ------
        QueueFullError
            If too many items wait already.
        LiraError
            If `run` refuses these items.
        """
        if self.waiting + len(items) > self.capacity:
            raise QueueFullError(f"{self.waiting} texts are waiting, the most that this server takes: try again later")
        job = _Job[Item, Result](items)
        self.waiting += len(items)
        try:
            self._jobs.put_nowait(job)
            return await asyncio.shield(job.results)
        finally:
            job.results.add_done_callback(lambda done: self._leave(len(items), done))

    def _leave(self, count: int, done: "asyncio.Future[list[Result]]") -> None:
        self.waiting -= count
        if not done.cancelled():
            done.exception()  # looked at: whoever asked may be gone

    async def _work(self) -> None:
        while True:
            await self._run_jobs(await self._next_jobs())

    async def _next_jobs(self) -> list[_Job[Item, Result]]:
        """Wait for a request, then take those that wait beside it, as many as fit into a batch."""
        jobs = [self._next or await self._jobs.get()]
        self._next = None
        size = len(jobs[0].items)
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if size + len(job.items) > self.batch_size:
                self._next = job
                break
            jobs.append(job)
            size += len(job.items)
        return jobs

    async def _run_jobs(self, jobs: list[_Job[Item, Result]]) -> None:
        items = [item for job in jobs for item in job.items]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, items)
        except LiraError as error:
            if len(jobs) == 1:
                jobs[0].results.set_exception(error)
            for job in jobs if len(jobs) > 1 else []:
                await self._run_jobs([job])
        except Exception as error:
            logger.exception("a batch of %d texts failed", len(items))
            for job in jobs:
                job.results.set_exception(error)
        else:
            for job in jobs:
                job.results.set_result(results[: len(job.items)])
                results = results[len(job.items) :]
