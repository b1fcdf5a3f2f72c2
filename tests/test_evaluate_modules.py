"""The metrics as modules of `evaluate`: loaded by path, equal to trec_eval, served as a Space."""

import json
import re
import runpy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from eval.benchmarks.library_metrics import MRR, NDCG, RECALL, retrieval_metrics

METRICS = Path(__file__).parents[1] / "eval" / "metrics"
NAMES = {"ndcg": NDCG, "recall": RECALL, "mrr": MRR}


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    import evaluate

    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("modules"))
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder)
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", folder)
        patch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
        yield evaluate


@pytest.mark.parametrize("name", NAMES)
def test_values_are_trec_evals_with_ties(name: str, evaluate: ModuleType) -> None:
    metric = evaluate.load(str(METRICS / name))
    scores = torch.randint(0, 4, (40, 130)).double() / 3
    gains = torch.randint(0, 4, (40, 130)) * (torch.rand(40, 130) < 0.05)
    gains[0] = 0
    expected = retrieval_metrics(scores, gains)[NAMES[name]]
    result = metric.compute(predictions=scores.tolist(), references=gains.tolist(), per_query=True)
    torch.testing.assert_close(
        torch.tensor(result["per_query"], dtype=torch.float64), expected, atol=1e-7, rtol=0, equal_nan=True
    )
    assert result[NAMES[name]] == pytest.approx(float(expected.nanmean()), abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_the_cards_example_says_what_comes_out(name: str, evaluate: ModuleType) -> None:
    shown = re.search(r"compute\((.*?)\)  # (\{.*?\})", (METRICS / name / "README.md").read_text(encoding="utf-8"))
    assert shown is not None
    metric = evaluate.load(str(METRICS / name / f"{name}.py"))
    result = metric.compute(predictions=[[0.9, 0.8, 0.1]], references=[[0, 3, 1]])
    assert shown[1] == "predictions=[[0.9, 0.8, 0.1]], references=[[0, 3, 1]]"
    assert shown[2] == str(result)


def test_lengths_may_differ_and_nothing_relevant_has_no_value(evaluate: ModuleType) -> None:
    metric = evaluate.load(str(METRICS / "mrr"))
    result = metric.compute(predictions=[[0.1, 0.9], [0.3, 0.2, 0.1]], references=[[1, 0], [0, 0, 2]], k=2)
    assert result == {"mrr@2": 0.25}
    assert metric.compute(predictions=[[0.1]], references=[[0]])["mrr@10"] != 0


@pytest.mark.parametrize(
    ("predictions", "references", "k", "message"),
    [
        ([[0.1, 0.2]], [[1]], 10, "query 0 has 2 scores and 1 grades"),
        ([[0.1], [float("nan")]], [[1], [1]], 10, "query 1 has a score that is not finite"),
        ([[0.1]], [[-1]], 10, "query 0 has a grade below 0"),
        ([[0.1]], [[1]], 0, "k must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_ranked_is_named(
    predictions: list, references: list, k: int, message: str, evaluate: ModuleType
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.load(str(METRICS / "ndcg")).compute(predictions=predictions, references=references, k=k)


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs gradio (pip install '.[space]')")
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_a_space_that_starts(name: str, evaluate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    assert {path.name for path in (METRICS / name).iterdir() if path.is_file()} == {
        f"{name}.py", "app.py", "README.md", "requirements.txt"
    }  # fmt: skip
    started: list[gradio.Interface] = []
    launch = gradio.Interface.launch

    def launch_in_a_thread(page: gradio.Interface) -> None:
        started.append(page)
        launch(page, prevent_thread_lock=True, quiet=True)

    monkeypatch.setattr(gradio.Interface, "launch", launch_in_a_thread)
    runpy.run_path(str(METRICS / name / "app.py"), run_name="__main__")
    (page,) = started
    try:
        client = Client(page.local_url, verbose=False)
        metric = evaluate.load(str(METRICS / name))
        examples: Any = page.examples
        for predictions, references, k in examples:
            lists = {"predictions": json.loads(predictions), "references": json.loads(references)}
            expected = metric.compute(**lists, k=k, per_query=True)
            assert client.predict(predictions, references, k, api_name="/compute") == expected
        assert client.predict("[[0.1]]", "[[0]]", 10, api_name="/compute")["per_query"] == [None]
        for predictions, message in (("[[0.1, ", "Expecting value"), ("[[0.1]]", "query 0 has 1 scores and 3 grades")):
            with pytest.raises(AppError, match=message):
                client.predict(predictions, "[[0, 3, 1]]", 10, api_name="/compute")
    finally:
        page.close(verbose=False)
