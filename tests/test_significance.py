"""Paired tests against hand values, exact enumeration, and simulations with a known truth."""

from itertools import product

import pytest
import torch
from torch import Tensor

from eval.significance import correct, holm, paired_differences
from modeling_lira import LiraError
from modeling_lira.evaluation.metrics import bootstrap_interval


def skewed(count: int, generator: torch.Generator) -> Tensor:
    """Differences as nDCG gives them: half of them 0, the others skewed; their mean is 0.05."""
    drawn = torch.rand(count, generator=generator, dtype=torch.float64).square() * 0.9 - 0.2  # mean 0.1
    return drawn * (torch.rand(count, generator=generator) < 0.5)


def test_hand_values() -> None:
    found = paired_differences(
        {"vi": torch.tensor([0.5, 0.8, 0.3, float("nan")]), "th": torch.tensor([0.2, 0.4])},
        {"vi": torch.tensor([0.4, 0.5, 0.3, float("nan")]), "th": torch.tensor([0.4, 0.4])},
    )
    assert list(found) == ["vi", "th", "mean"]
    vi, th, mean = found.values()
    assert (vi.mean, th.mean) == pytest.approx((0.4 / 3, -0.1))
    assert mean.mean == pytest.approx((0.4 / 3 - 0.1) / 2)  # of languages, not of queries
    assert (vi.count, th.count, mean.count) == (3, 2, 5)
    assert (vi.better, vi.worse) == pytest.approx((2 / 3, 0))
    differences = torch.tensor([0.1, 0.3, 0.0])
    assert vi.effect == pytest.approx(float(differences.mean() / differences.std()), abs=1e-6)
    assert vi.low <= vi.mean <= vi.high


def test_randomisation_equals_exact_enumeration() -> None:
    values = torch.tensor([0.3, -0.1, 0.2, 0.25, 0.05, 0.0, 0.15, 0.4])
    means = [sum(sign * value for sign, value in zip(signs, values.tolist(), strict=True)) / 8
             for signs in product((-1, 1), repeat=8)]  # fmt: skip
    exact = sum(abs(mean) >= float(values.mean()) - 1e-6 for mean in means) / len(means)
    found = paired_differences({"vi": values}, {"vi": values * 0}, samples=20_000)
    assert found["vi"].p == pytest.approx(exact, abs=0.005)
    assert found["mean"].p == found["vi"].p


def test_one_language_has_the_interval_of_the_plain_bootstrap() -> None:
    values = torch.rand(50)
    found = paired_differences({"vi": values}, {"vi": values * 0.5}, seed=3)
    assert (found["vi"].low, found["vi"].high) == pytest.approx(bootstrap_interval(values * 0.5, seed=3))


def test_intervals_cover_the_truth_and_chance_is_not_called_a_gain() -> None:
    generator = torch.Generator().manual_seed(2)
    trials, covered, covered_mean, wrong = 300, 0, 0, 0
    for trial in range(trials):
        values = {"vi": skewed(80, generator), "th": skewed(120, generator)}
        nothing = {name: own * 0 for name, own in values.items()}
        found = paired_differences(values, nothing, samples=400, seed=trial)
        covered += found["vi"].low <= 0.05 <= found["vi"].high
        covered_mean += found["mean"].low <= 0.05 <= found["mean"].high
        noise = {name: torch.randn(60, generator=generator) for name in values}
        wrong += paired_differences(noise, {name: own * 0 for name, own in noise.items()}, 400, trial)["mean"].p < 0.05
    assert 0.91 <= covered / trials <= 0.98
    assert 0.91 <= covered_mean / trials <= 0.98
    assert 0.02 <= wrong / trials <= 0.08


def test_seeds_are_averaged_query_by_query() -> None:
    runs = torch.tensor([[0.2, 0.6], [0.4, 0.8]])
    found = paired_differences({"vi": runs}, {"vi": torch.tensor([0.1, 0.3])})
    assert found["vi"].mean == pytest.approx((0.2 + 0.4) / 2)
    assert found["vi"].count == 2


def test_what_does_not_differ_has_no_effect() -> None:
    same = torch.rand(30)
    found = paired_differences({"vi": same}, {"vi": same})["vi"]
    assert (found.mean, found.low, found.high, found.p, found.effect) == (0, 0, 0, 1, 0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_table_is_corrected_as_a_whole() -> None:
    generator = torch.Generator().manual_seed(5)
    first = {code: torch.rand(40, generator=generator) for code in ("vi", "th", "id")}
    found = paired_differences(first, {code: own - 0.2 * (code == "vi") for code, own in first.items()})
    table = correct(found)
    assert table["vi"].corrected_p == pytest.approx(4 * found["vi"].p) and table["vi"].significant
    assert table["th"].corrected_p == 1.0 and not table["th"].significant


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"vi": [0.1]}, {"th": [0.1]}, "different languages"),
        ({}, {}, "different languages"),
        ({"vi": [0.1, 0.2]}, {"vi": [0.1]}, "different vi queries: 2 and 1"),
        ({"vi": [0.1, float("nan")]}, {"vi": [0.1, 0.2]}, "a vi query has a score of one system only"),
        ({"vi": [float("nan")]}, {"vi": [float("nan")]}, "no vi query has a score"),
    ],
)
def test_wrong_scores_are_named(first: dict, second: dict, message: str) -> None:
    with pytest.raises(LiraError, match=message):
        paired_differences(*({name: torch.tensor(own) for name, own in side.items()} for side in (first, second)))
