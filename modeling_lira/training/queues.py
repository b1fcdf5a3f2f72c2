"""First-in-first-out memories of what a model said on earlier batches."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import LiraError


class FifoQueue:
    """Keep the newest rows of several tensors of equal length; nothing in it has a gradient.

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
        """Drop the rows where `chosen` [len] is false."""
        self.rows = {name: values[chosen] for name, values in self.rows.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what the queue holds, as tensors to save."""
        return dict(self.rows)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Hold what another queue of this kind held; raise `LiraError` where its fields are not this one's."""
        if state and set(state) != set(self.fields):
            raise LiraError(f"{type(self).__name__} holds {', '.join(self.fields)}, got {', '.join(sorted(state))}")
        self.rows = {name: values[max(0, len(values) - self.capacity) :].clone() for name, values in state.items()}


class CorrQueue(FifoQueue):
    """Earlier pairs of predicted and wanted similarity, so that a correlation is over more than a batch.

    Source: paper, LaSR (CorrQueue).
    """

    fields = ("predictions", "targets")

    def join(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's pairs [P] followed by the queue's, [P + len]."""
        if not len(self):
            return predictions, targets
        return torch.cat([predictions, self.rows["predictions"]]), torch.cat([targets, self.rows["targets"]])


class DocQueue(FifoQueue):
    """Earlier documents: their embedding, their frozen encoder's embedding, their id, and whose search they belong to.

    A document is in it once, as it was embedded last. The group says which documents are searched together: those of
    one language and of one kind of title.

    Source: paper, LaSR (DocQueue); ids and groups are ours.
    """

    fields = ("embeddings", "frozen", "ids", "groups")

    def push(self, **rows: Tensor) -> None:
        """Add documents; an older embedding of the same document leaves."""
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
    """Return one number [N] for a document in a group; ids are below 2^40."""
    return groups * 2**40 + ids
