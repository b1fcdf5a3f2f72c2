"""FIFO queues: what stays, in which order, and what is saved."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lira import LiraError
from modeling_lira.training.queues import CorrQueue, DocQueue, FifoQueue


def documents(ids: list[int], group: int = 0, value: float = 0.0) -> dict[str, torch.Tensor]:
    rows = torch.tensor(ids)
    return {
        "embeddings": rows[:, None].float() + value,
        "frozen": rows[:, None].float(),
        "ids": rows,
        "groups": torch.full_like(rows, group),
    }


@settings(max_examples=50, deadline=None)
@given(capacity=st.integers(0, 6), sizes=st.lists(st.integers(0, 5), max_size=6))
def test_a_queue_holds_the_newest_rows_in_order(capacity: int, sizes: list[int]) -> None:
    queue = CorrQueue(capacity)
    pushed: list[float] = []
    for size in sizes:
        values = [float(len(pushed) + row) for row in range(size)]
        pushed += values
        queue.push(predictions=torch.tensor(values), targets=torch.tensor(values) / 2)
    kept = pushed[max(0, len(pushed) - capacity) :]
    assert len(queue) == len(kept)
    predictions, targets = queue.join(torch.tensor([9.5]), torch.tensor([1.0]))
    assert predictions.tolist() == [9.5, *kept]
    assert targets.tolist() == [1.0, *(value / 2 for value in kept)]


def test_what_is_queued_has_no_gradient_and_the_batch_keeps_its_own() -> None:
    queue = CorrQueue(4)
    first = torch.tensor([1.0, 2.0], requires_grad=True)
    queue.push(predictions=first * 2, targets=torch.zeros(2))
    second = torch.tensor([3.0], requires_grad=True)
    joined, _ = queue.join(second, torch.zeros(1))
    joined.sum().backward()
    assert first.grad is None
    assert second.grad is not None


def test_a_document_is_queued_once_as_it_was_last() -> None:
    queue = DocQueue(10)
    queue.push(**documents([1, 2, 3]))
    queue.push(**documents([2], value=0.5))
    queue.push(**documents([1], group=1))
    assert queue.rows["ids"].tolist() == [1, 3, 2, 1]
    assert queue.rows["embeddings"].flatten().tolist() == [1, 3, 2.5, 1]


def test_others_are_of_the_group_and_not_of_the_batch() -> None:
    queue = DocQueue(10)
    assert queue.others(torch.tensor([1]), 0) == {}
    queue.push(**documents([1, 2, 3]))
    queue.push(**documents([4], group=1))
    assert queue.others(torch.tensor([2, 9]), 0)["ids"].tolist() == [1, 3]
    assert queue.others(torch.tensor([2]), 1)["ids"].tolist() == [4]
    assert len(queue.others(torch.tensor([2]), 7)["ids"]) == 0


@pytest.mark.parametrize("filled", [True, False])
def test_a_restored_queue_is_the_saved_one(filled: bool) -> None:
    queue, restored = DocQueue(3), DocQueue(3)
    if filled:
        queue.push(**documents([1, 2, 3, 4]))
    restored.load_state_dict(queue.state_dict())
    assert len(restored) == len(queue) == (3 if filled else 0)
    restored.push(**documents([5]))
    queue.push(**documents([5]))
    for name, values in queue.rows.items():
        assert torch.equal(values, restored.rows[name])


def test_wrong_fields_and_capacities_are_named() -> None:
    with pytest.raises(LiraError, match="capacity must not be negative"):
        FifoQueue(-1)
    with pytest.raises(LiraError, match="CorrQueue holds predictions, targets, got predictions"):
        CorrQueue(2).push(predictions=torch.zeros(1))
    with pytest.raises(LiraError, match="DocQueue holds"):
        DocQueue(2).load_state_dict({"ids": torch.zeros(1)})
