"""Do many slow things at once and hand over what is finished."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def as_finished(work: Callable[[int], T], count: int, workers: int) -> Iterator[list[tuple[int, T]]]:
    """Yield the results of `work(0)` to `work(count - 1)` as they are finished, all that have gathered at once.

    Threads are daemons: Ctrl-C ends the process without waiting for a server that may take minutes. An error in `work`
    is raised here, after what was finished before it. Of what is begun, no more than twice `workers` is ever not yet
    taken: a caller that is killed loses no more.

    Parameters
    ----------
    work : callable
        Called from several threads.
    count : int
    workers : int
        The most calls at a time.

    Yields
    ------
    list of (int, result)
        Each number with its result; taken when the next list is asked for.
    """
    places = iter(range(count))
    lock, stopped, free = threading.Lock(), threading.Event(), threading.Semaphore(2 * workers)
    finished: SimpleQueue[tuple[int, T] | BaseException] = SimpleQueue()

    def run() -> None:
        while True:
            free.acquire()
            if stopped.is_set():
                return
            with lock:
                place = next(places, None)
            if place is None:
                return
            try:
                finished.put((place, work(place)))
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
