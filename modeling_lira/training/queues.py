"""First-in-first-out memories of a model's outputs on earlier batches."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import LiraError


class FifoQueue:
    """Keep the newest rows of several tensors of equal length, one tensor a field.

    The rows are detached: they stand for earlier batches, whose graphs are freed and whose weights have since changed,
    so that a gradient through them would be neither affordable nor that of the present weights.

    Parameters
    ----------
    capacity : int
        Most rows held; 0 holds none.

    Source: paper, LaSR (FIFO queues).
    """

    fields: tuple[str, ...] = ()

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise LiraError(f"a queue's capacity must not be negative, got {capacity}")
        self.capacity = capacity
        self.rows: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(next(iter(self.rows.values()), ()))

    def push(self, **rows: Tensor) -> None:
        """Add rows [N, ...] of every field; the oldest leave when there are more than `capacity`."""
        if set(rows) != set(self.fields):
            raise LiraError(f"{type(self).__name__} holds {', '.join(self.fields)}, got {', '.join(sorted(rows))}")
        for name, values in rows.items():
            new = values.detach()
            both = torch.cat([self.rows[name], new]) if name in self.rows else new
            self.rows[name] = both[max(0, len(both) - self.capacity) :].clone()

    def keep(self, chosen: Tensor) -> None:
        """Keep the rows where `chosen` [len], bool, is true; drop the others."""
        self.rows = {name: values[chosen] for name, values in self.rows.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the rows of every field, as tensors to save."""
        return dict(self.rows)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the rows by those of a saved queue; raise `LiraError` if its fields are not this queue's."""
        if state and set(state) != set(self.fields):
            raise LiraError(f"{type(self).__name__} holds {', '.join(self.fields)}, got {', '.join(sorted(state))}")
        self.rows = {name: values[max(0, len(values) - self.capacity) :].clone() for name, values in state.items()}


class CorrQueue(FifoQueue):
    """Earlier graded pairs, `predictions` and `targets` [len], so that a correlation is over more than a batch.

    Source: paper, LaSR (CorrQueue).
    """

    fields = ("predictions", "targets")

    def join(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's pairs [P] followed by the queue's, [P + len]."""
        if not len(self):
            return predictions, targets
        return torch.cat([predictions, self.rows["predictions"]]), torch.cat([targets, self.rows["targets"]])


class DocQueue(FifoQueue):
    """Earlier documents, so that a query is compared with more of them than a batch holds.

    Its fields are `embeddings` [len, D], `frozen` [len, H], the frozen encoder's embedding, `ids` [len] and `groups`
    [len], which says what is searched together: documents of one language and one kind of title. A document is in the
    queue once, as it was embedded last.

    Source: paper, LaSR (DocQueue).
    """

    fields = ("embeddings", "frozen", "ids", "groups")

    def push(self, **rows: Tensor) -> None:
        """Add documents; an older embedding of the same document in the same group is dropped."""
        if len(self):
            held = self.rows["ids"], self.rows["groups"]
            again = torch.isin(_joint(*held), _joint(rows["ids"], rows["groups"]))
            self.keep(~again)
        super().push(**rows)

    def others(self, ids: Tensor, group: int) -> dict[str, Tensor]:
        """Return the rows of a group that are not among the documents `ids` [N]."""
        if not len(self):
            return {}
        chosen = (self.rows["groups"] == group) & ~torch.isin(self.rows["ids"], ids)
        return {name: values[chosen] for name, values in self.rows.items()}


def _joint(ids: Tensor, groups: Tensor) -> Tensor:
    """Return one number [N] for each pair of a document and its group; ids are below 2^40."""
    return groups * 2**40 + ids
