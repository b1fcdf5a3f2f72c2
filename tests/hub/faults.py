"""What can go wrong between a client and the Hub, to be planned by a test for the requests it names."""

import re
from dataclasses import dataclass, field
from threading import Lock


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong; made by the functions below.

    `status`: this answer instead of the right one, and nothing is done. `lost`: what was asked for is done or not done,
    and the connection closes without an answer. `cut`: the answer announces its whole length and stops after so many
    bytes. `flipped`: a byte of the answer's body is another one; of an upload, a byte of what arrived.
    """

    status: int = 0
    retry_after: int | None = None
    lost: bool = False
    done: bool = False
    cut: int | None = None
    flipped: bool = False


def refused(status: int, retry_after: int | None = None) -> Fault:
    """Answer with an error status such as 429 or 500."""
    return Fault(status=status, retry_after=retry_after)


def dropped(done: bool = False) -> Fault:
    """Close the connection without an answer; with `done` after doing what was asked for."""
    return Fault(lost=True, done=done)


def truncated(after: int = 100) -> Fault:
    """Close the connection in the middle of the answer's body."""
    return Fault(cut=after)


def corrupted() -> Fault:
    """Change one byte on the way, up or down."""
    return Fault(flipped=True)


@dataclass
class Plan:
    """A fault for the next requests of a method whose path a pattern is found in; `hits` counts those it met."""

    fault: Fault
    method: str
    path: str
    times: int
    hits: int = 0

    def meets(self, method: str, path: str) -> bool:
        """Tell whether a request is one of those."""
        return self.hits < self.times and method == self.method and re.search(self.path, path) is not None


@dataclass
class Faults:
    """The plans of a Hub, the first that fits being used."""

    plans: list[Plan] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def add(self, plan: Plan) -> Plan:
        """Plan a fault."""
        with self._lock:
            self.plans.append(plan)
        return plan

    def for_request(self, method: str, path: str) -> Fault | None:
        """Return the fault that a request meets, and count it."""
        with self._lock:
            for plan in self.plans:
                if plan.meets(method, path):
                    plan.hits += 1
                    return plan.fault
        return None
