"""The loss of tuning: what each document of a batch deserves, and the loss, by hand."""

import math
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from modeling_lira.training.graded_loss import Judgements, ranking_loss


class Given(nn.Module):
    """Stands for an encoder: its embeddings are what it is given."""

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return features


def loss_of(judgements: Judgements | None, columns: list[list[list[float]]], labels: list[int]) -> torch.Tensor:
    loss = ranking_loss(cast(Any, Given()), judgements, 0, {"scale": 2.0})
    features = [{"sentence_embedding": torch.tensor(column)} for column in columns]
    return loss(features, torch.tensor(labels))


def test_targets_are_shares_of_the_grades_whichever_row_brought_the_document() -> None:
    judgements = Judgements()
    first = judgements.add({7: 3, 9: 1}, [7, 4])
    second = judgements.add({9: 2, 4: 2}, [9, 5])
    expected = torch.tensor([[3 / 4, 1 / 4, 0, 0], [0, 2 / 4, 2 / 4, 0]])  # of 7, 9, 4, 5
    assert_close(judgements.targets([first, second], [first, second]), expected)
    assert_close(judgements.targets([second], [second, first]), expected[1:, [1, 0, 3, 2]])


def test_the_loss_is_the_cross_entropy_with_the_shares() -> None:
    judgements = Judgements()
    judgements.add({0: 3, 1: 1}, [0])
    judgements.add({1: 2}, [1])
    queries, documents = [[1.0, 0.0], [0.6, 0.8]], [[2.0, 0.0], [0.0, 5.0]]  # cosines 1, 0 and 0.6, 0.8
    first = math.log(math.exp(2) + 1) - (0.75 * 2 + 0.25 * 0)
    second = math.log(math.exp(1.2) + math.exp(1.6)) - 1.6
    value = loss_of(judgements, [queries, documents], [0, 1])
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_documents_that_fit_nobody_else_make_it_the_usual_loss() -> None:
    generator = torch.Generator().manual_seed(3)
    columns = [torch.randn(4, 6, generator=generator).tolist() for _ in range(3)]
    judgements = Judgements()
    labels = [judgements.add({10 + row: 2}, [10 + row, 20 + row]) for row in range(4)]
    assert_close(loss_of(judgements, columns, labels), loss_of(None, columns, labels))


def test_a_document_of_another_row_that_fits_too_is_not_pushed_away() -> None:
    judgements = Judgements()
    labels = [judgements.add({0: 3, 1: 3}, [row]) for row in range(2)]
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    documents = torch.tensor([[1.0, 0.1], [1.0, -0.1]], requires_grad=True)
    loss = ranking_loss(cast(Any, Given()), judgements, 0, {"scale": 2.0})
    loss([{"sentence_embedding": queries}, {"sentence_embedding": documents}], torch.tensor(labels)).backward()
    assert documents.grad is not None and documents.grad.abs().max() < 1e-6


def test_a_single_row_with_one_document_has_no_loss() -> None:
    judgements = Judgements()
    label = judgements.add({0: 1}, [0])
    assert loss_of(judgements, [[[1.0, 0.0]], [[0.5, 0.5]]], [label]).item() == pytest.approx(0, abs=1e-7)
