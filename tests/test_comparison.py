"""The rows of the demo's table against brute force."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_corpus import make_split

from modeling_lira import LiraModel
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.demo.chart import STYLES, bar_chart
from modeling_lira.evaluation.comparison import (
    ENCODER,
    LIRA,
    LIRA_FREE,
    Comparison,
    compare,
    encoder_alone,
    searching,
    trained,
    translate_then_encode,
)
from modeling_lira.evaluation.metrics import bootstrap_interval


@pytest.fixture
def split(build_model: Callable[..., LiraModel], tmp_path: Path) -> SplitTables:
    return cache_split(build_model(), StreamCache(tmp_path), make_split("vi", 0))


def brute_force_ndcg(queries: np.ndarray, documents: np.ndarray, gains: list[dict[int, int]]) -> list[float]:
    values = []
    for query, grades in zip(queries, gains, strict=True):
        cosines = documents @ query / np.linalg.norm(documents, axis=1)
        order = sorted(range(len(documents)), key=lambda row: (-cosines[row], row))[:10]
        gain = sum(grades.get(row, 0) / np.log2(rank + 2) for rank, row in enumerate(order))
        ideal = sum(grade / np.log2(rank + 2) for rank, grade in enumerate(sorted(grades.values(), reverse=True)[:10]))
        values.append(gain / ideal)
    return values


def test_encoder_alone_is_mean_pooling_and_cosine(split: SplitTables) -> None:
    for in_english, table in ((True, split.english), (False, split.local)):
        expected = brute_force_ndcg(
            np.asarray(split.queries.multilingual, np.float32).mean(1),
            np.asarray(table.multilingual, np.float32).mean(1),
            split.split.gains,
        )
        assert encoder_alone(split).ndcg(english_titles=in_english).tolist() == pytest.approx(expected)


def test_translate_then_encode_uses_the_first_candidate(split: SplitTables) -> None:
    first = [row for row in range(8) if split.split.queries.candidates[row]]
    queries = np.asarray(split.queries.english, np.float32)[split.queries.rows[first, 0]].mean(1)
    titles = np.asarray(split.english.english, np.float32)[split.english.rows[:, 0]].mean(1)
    expected = brute_force_ndcg(queries, titles, [split.split.gains[row] for row in first])
    assert translate_then_encode(split).ndcg()[first].tolist() == pytest.approx(expected)


def test_gain_is_the_paired_difference_with_its_interval() -> None:
    better, worse = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0.5, 0.5, 0.5, 0.5])
    comparison = Comparison({LIRA: {"vi": better, "th": better}, ENCODER: {"vi": worse, "th": better}})
    mean, low, high = comparison.gain(LIRA, ENCODER)
    assert mean == pytest.approx(0.125)
    assert low < mean < high
    assert comparison.gain(LIRA, ENCODER, "th") == (0.0, 0.0, 0.0)
    assert comparison.best_rival(LIRA) == ENCODER
    assert comparison.mean(LIRA) == pytest.approx(0.75)


def test_a_comparison_draws_shared_questions_together() -> None:
    generator = torch.Generator().manual_seed(0)
    better, worse = torch.rand(30, generator=generator), torch.rand(30, generator=generator)
    scores = {LIRA: dict.fromkeys(("vi", "th"), better), ENCODER: dict.fromkeys(("vi", "th"), worse)}
    shared = Comparison(scores, {key: [str(row) for row in range(30)] for key in ("vi", "th")})
    assert shared.gain(LIRA, ENCODER) == pytest.approx(shared.gain(LIRA, ENCODER, "vi"))
    assert shared.interval(LIRA) == pytest.approx(shared.interval(LIRA, "vi"))
    low, high = Comparison(scores).interval(LIRA)
    assert high - low < 0.9 * (shared.interval(LIRA)[1] - shared.interval(LIRA)[0])


def test_the_bootstrap_covers_the_truth_at_its_nominal_rate() -> None:
    generator = torch.Generator().manual_seed(1)
    covered = 0
    for trial in range(300):
        low, high = bootstrap_interval(torch.rand(60, generator=generator), samples=400, seed=trial)
        covered += low <= 0.5 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_the_chart_is_a_picture(split: SplitTables, build_model: Callable[..., LiraModel], tmp_path: Path) -> None:
    model = build_model()
    systems = {ENCODER: searching(encoder_alone), LIRA: trained(model, True, True)}
    comparison = compare([split], systems | {LIRA_FREE: trained(model, True, False)})
    bar_chart({"English titles": comparison}, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_charts_legend_is_in_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("matplotlib.pyplot.close", drawn.append)
    scores = {system: {"vi": torch.rand(4)} for system in STYLES}
    bar_chart({"English titles": Comparison(scores, {"vi": list("abcd")})}, tmp_path / "chart.png")
    legend = drawn[0].legends[0].get_window_extent()
    assert drawn[0].bbox.x0 <= legend.x0 and legend.x1 <= drawn[0].bbox.x1
    assert legend.y0 >= max(axis.title.get_window_extent().y1 for axis in drawn[0].axes)
