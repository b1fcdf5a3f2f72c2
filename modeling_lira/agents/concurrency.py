"""Run slow calls in several threads and yield their results as they finish."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def as_finished(work: Callable[[int], T], count: int, workers: int) -> Iterator[list[tuple[int, T]]]:
    """Yield the results of `work(0)` to `work(count - 1)` as they finish, those that are ready in one list.

    The threads are daemons, so Ctrl-C ends the process without waiting for a server that may take minutes. An error in
    `work` is raised here, after the results that were ready before it. At most twice `workers` calls are running or
    have results that the caller has not taken yet: a caller that is killed loses no more than those.

    Parameters
    ----------
    work : callable
        Called with a number, from several threads at a time.
    count : int
    workers : int
        The most calls at a time.

    Yields
    ------
    list of (int, result)
        Each number with its result. Asking for the next list says that the caller has kept this one.
    """
    numbers = iter(range(count))
    lock, stopped, free = threading.Lock(), threading.Event(), threading.Semaphore(2 * workers)
    finished: SimpleQueue[tuple[int, T] | BaseException] = SimpleQueue()

    def run() -> None:
        while True:
            free.acquire()
            if stopped.is_set():
                return
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                finished.put((number, work(number)))
            except BaseException as error:
                finished.put(error)
                return

    for _ in range(min(workers, count)):
        threading.Thread(target=run, daemon=True).start()
    left = count
    try:
        while left:
            batch = [finished.get()]
            while not finished.empty():
                batch.append(finished.get())
            done = [item for item in batch if not isinstance(item, BaseException)]
            if done:
                yield done
            for item in batch:
                if isinstance(item, BaseException):
                    raise item
            left -= len(done)
            free.release(len(done))
    finally:
        stopped.set()
        free.release(workers)
