"""Paired tests against hand values, exact enumeration, and simulations with a known truth."""

from itertools import product

import pytest
import torch
from torch import Tensor

from eval.significance import Point, correct, deviation_over_models, holm, paired_differences, point_of
from modeling_lira import LiraError
from modeling_lira.evaluation.metrics import bootstrap_interval, bootstrap_means, bootstrap_means_of_languages


def skewed(count: int, generator: torch.Generator) -> Tensor:
    """Differences as nDCG gives them: half of them 0, the others skewed; their mean is 0.05."""
    drawn = torch.rand(count, generator=generator, dtype=torch.float64).square() * 0.9 - 0.2  # mean 0.1
    return drawn * (torch.rand(count, generator=generator) < 0.5)


def test_hand_values() -> None:
    differences = paired_differences(
        {"vi": torch.tensor([0.5, 0.8, 0.3, float("nan")]), "th": torch.tensor([0.2, 0.4])},
        {"vi": torch.tensor([0.4, 0.5, 0.3, float("nan")]), "th": torch.tensor([0.4, 0.4])},
    )
    assert list(differences) == ["vi", "th", "mean"]
    vi, th, mean = differences.values()
    assert (vi.mean, th.mean) == pytest.approx((0.4 / 3, -0.1))
    assert mean.mean == pytest.approx((0.4 / 3 - 0.1) / 2)  # of languages, not of queries
    assert (vi.count, th.count, mean.count) == (3, 2, 5)
    assert (vi.better, vi.worse) == pytest.approx((2 / 3, 0))
    by_query = torch.tensor([0.1, 0.3, 0.0])
    assert vi.effect == pytest.approx(float(by_query.mean() / by_query.std()), abs=1e-6)
    assert vi.low <= vi.mean <= vi.high


def test_randomisation_equals_exact_enumeration() -> None:
    values = torch.tensor([0.3, -0.1, 0.2, 0.25, 0.05, 0.0, 0.15, 0.4])
    means = [sum(sign * value for sign, value in zip(signs, values.tolist(), strict=True)) / 8
             for signs in product((-1, 1), repeat=8)]  # fmt: skip
    exact = sum(abs(mean) >= float(values.mean()) - 1e-6 for mean in means) / len(means)
    differences = paired_differences({"vi": values}, {"vi": values * 0}, samples=20_000)
    assert differences["vi"].p == pytest.approx(exact, abs=0.005)
    assert differences["mean"].p == differences["vi"].p


def test_one_language_has_the_interval_of_the_plain_bootstrap() -> None:
    values = torch.rand(50)
    differences = paired_differences({"vi": values}, {"vi": values * 0.5}, seed=3)
    assert (differences["vi"].low, differences["vi"].high) == pytest.approx(bootstrap_interval(values * 0.5, seed=3))


def test_intervals_cover_the_truth_and_chance_is_not_called_a_gain() -> None:
    generator = torch.Generator().manual_seed(2)
    trials, covered, covered_mean, wrong = 300, 0, 0, 0
    for trial in range(trials):
        values = {"vi": skewed(80, generator), "th": skewed(120, generator)}
        nothing = {name: row * 0 for name, row in values.items()}
        differences = paired_differences(values, nothing, samples=400, seed=trial)
        covered += differences["vi"].low <= 0.05 <= differences["vi"].high
        covered_mean += differences["mean"].low <= 0.05 <= differences["mean"].high
        noise = {name: torch.randn(60, generator=generator) for name in values}
        wrong += paired_differences(noise, {name: row * 0 for name, row in noise.items()}, 400, trial)["mean"].p < 0.05
    assert 0.91 <= covered / trials <= 0.98
    assert 0.91 <= covered_mean / trials <= 0.98
    assert 0.02 <= wrong / trials <= 0.08


def test_seeds_are_averaged_query_by_query() -> None:
    runs = torch.tensor([[0.2, 0.6], [0.4, 0.8]])
    differences = paired_differences({"vi": runs}, {"vi": torch.tensor([0.1, 0.3])})
    assert differences["vi"].mean == pytest.approx((0.2 + 0.4) / 2)
    assert differences["vi"].count == 2


SEVEN = ("vi", "th", "id", "ms", "ur", "bn", "fil")


def test_the_same_outcomes_in_seven_languages_are_worth_those_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = ((torch.rand(100, generator=generator) < share).double() for share in (0.50, 0.47))
    alone = paired_differences({"vi": first}, {"vi": second})["mean"]
    one_side, other_side = (dict.fromkeys(SEVEN, values) for values in (first, second))
    together = paired_differences(one_side, other_side, questions=dict.fromkeys(SEVEN, range(100)))["mean"]
    assert (together.low, together.high, together.p) == pytest.approx((alone.low, alone.high, alone.p))
    assert (together.count, together.questions) == (700, 100)
    apart = paired_differences(one_side, other_side)["mean"]  # as if they were 700 questions
    assert apart.high - apart.low < 0.5 * (together.high - together.low)
    assert (apart.count, apart.questions) == (700, 700)
    one, seven = point_of([first]), point_of([first] * 7, [range(100)] * 7)
    assert (seven.mean, seven.low, seven.high) == pytest.approx((one.mean, one.low, one.high))


def test_shared_questions_are_drawn_together_by_hand() -> None:
    values = [torch.tensor([0.0, 1.0]), torch.tensor([10.0, 20.0]), torch.tensor([5.0, 7.0])]
    # The second language asks the first's questions in another order, the third asks others.
    means = bootstrap_means_of_languages(values, [["a", "b"], ["b", "a"], ["c", "d"]], samples=400)
    drawn = {(first, second) for first, second, _ in means.T.tolist()}
    assert drawn == {(0.0, 20.0), (0.5, 15.0), (1.0, 10.0)}  # a twice, both once, b twice
    assert {(first, third) for first, _, third in means.T.tolist()} == set(product((0, 0.5, 1), (5, 6, 7)))


def test_languages_that_share_some_of_their_questions_by_hand() -> None:
    values = [torch.tensor([1.0, 2.0]), torch.tensor([4.0])]
    means = bootstrap_means_of_languages(values, [["a", "b"], ["b"]], samples=400)
    whole = {tuple(pair) for pair in means.T.tolist() if pair[1] == pair[1]}
    assert whole == {(1.5, 4.0), (2.0, 4.0)}
    assert float(means[0][means[1].isnan()].max()) == 1.0  # a twice: the second language has no value
    point = point_of(values, [["a", "b"], ["b"]])
    assert point == Point(2.75, 2.75, 3.0)


def test_a_question_asked_twice_in_a_language_is_drawn_whole() -> None:
    values = torch.tensor([0.0, 0.0, 1.0, 1.0])
    means = bootstrap_means_of_languages([values], [["a", "a", "b", "b"]], samples=200)
    assert set(means[0].tolist()) == {0.0, 0.5, 1.0}


def test_the_signs_of_a_shared_question_are_one_coin() -> None:
    both = {"vi": torch.tensor([1.0]), "th": torch.tensor([1.0])}
    nothing = {language: values * 0 for language, values in both.items()}
    # One coin: the mean is +1 or -1, always as far from 0. Two coins: in half of the draws.
    assert paired_differences(both, nothing, questions={"vi": ["a"], "th": ["a"]})["mean"].p == 1
    assert paired_differences(both, nothing, questions={"vi": ["a"], "th": ["b"]})["mean"].p == pytest.approx(
        0.5, abs=0.03
    )


def test_queries_without_a_score_leave_with_their_questions() -> None:
    first = {"vi": torch.tensor([0.1, float("nan"), 0.3]), "th": torch.tensor([0.2, 0.5, 0.6])}
    second = {language: values * 0 for language, values in first.items()}
    mean = paired_differences(first, second, questions={"vi": ["a", "b", "c"], "th": ["a", "b", "c"]})["mean"]
    assert (mean.count, mean.questions) == (5, 3)
    with pytest.raises(LiraError, match="3 queries of a language have 2 ids"):
        paired_differences(first, second, questions={"vi": ["a", "b", "c"], "th": ["a", "b"]})


def test_draws_are_those_of_their_seed() -> None:
    values = torch.rand(30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bootstrap_means(values, 50, seed=1), bootstrap_means(values, 50, seed=1))
    assert not torch.equal(bootstrap_means(values, 50, seed=1), bootstrap_means(values, 50, seed=2))
    assert bootstrap_interval(values, samples=50, seed=1) != bootstrap_interval(values, samples=50, seed=2)
    differences = [paired_differences({"vi": values}, {"vi": values * 0.9}, 50, seed)["vi"] for seed in (1, 1, 2)]
    assert differences[0] == differences[1]
    assert (differences[0].low, differences[0].high) != (differences[2].low, differences[2].high)
    several = [bootstrap_means_of_languages([values, values], None, 50, seed) for seed in (1, 2)]
    assert not torch.equal(several[0], several[1])
    assert not torch.equal(several[0][0], several[0][1])  # languages that share no question are drawn apart
    noise = torch.randn(30, generator=torch.Generator().manual_seed(3))
    chances = [paired_differences({"vi": noise}, {"vi": noise * 0}, 50, seed)["vi"].p for seed in range(5)]
    assert len(set(chances)) > 1


def test_what_does_not_differ_has_no_effect() -> None:
    same = torch.rand(30)
    differences = paired_differences({"vi": same}, {"vi": same})["vi"]
    assert (differences.mean, differences.low, differences.high, differences.p, differences.effect) == (0, 0, 0, 1, 0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_shared_questions_leave_the_family_of_comparisons_as_it_is() -> None:
    values = {code: torch.full((20,), 0.5) for code in ("vi", "th")}
    differences = paired_differences(
        values, {code: row * 0 for code, row in values.items()}, questions=dict.fromkeys(values, range(20))
    )
    assert list(differences) == ["vi", "th", "mean"]
    assert correct(differences)["vi"].corrected_p == pytest.approx(3 * differences["vi"].p)


def test_a_table_is_corrected_as_a_whole() -> None:
    generator = torch.Generator().manual_seed(5)
    first = {code: torch.rand(40, generator=generator) for code in ("vi", "th", "id")}
    differences = paired_differences(first, {code: row - 0.2 * (code == "vi") for code, row in first.items()})
    table = correct(differences)
    assert table["vi"].corrected_p == pytest.approx(4 * differences["vi"].p) and table["vi"].significant
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
        paired_differences(*({name: torch.tensor(row) for name, row in side.items()} for side in (first, second)))


def test_the_smallest_p_is_one_of_all_draws_and_the_sample() -> None:
    values = torch.full((40,), 0.5)
    assert paired_differences({"vi": values}, {"vi": values * 0}, samples=99)["vi"].p == pytest.approx(1 / 100)


def test_deviation_over_models_is_that_of_a_sample() -> None:
    vi, th = torch.tensor([[0.1, 0.3], [0.5, 0.7]]), torch.tensor([[0.2, float("nan")], [0.4, 0.6]])
    expected = float(torch.tensor([(0.2 + 0.2) / 2, (0.6 + 0.5) / 2]).std())
    assert deviation_over_models([vi, th]) == pytest.approx(expected)
    assert deviation_over_models([vi[:1]]) == 0.0
