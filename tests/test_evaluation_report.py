"""The page of everything measured, and the command that measures everything."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from html_text import cells_of

from eval.__main__ import app
from eval.benchmarks.library_metrics import METRICS
from eval.benchmarks.retrieval import ENGLISH_TITLES, Scores, summarise
from eval.record import Meter, weights_of
from eval.report import everything as everything_module
from eval.report.everything import Plan, run_all, steps_of, studies
from eval.report.page import found_results, generic, write_report
from modeling_lira import LiraError, LiraModel
from modeling_lira.cli import run
from modeling_lira.evaluation.comparison import ENCODER, LIRA, LIRA_FREE

PNG = bytes.fromhex("89504e470d0a1a0a") + b"picture"


def retrieval_payload() -> dict:
    def values(*scores: float) -> dict[str, dict[str, torch.Tensor]]:
        return {"vi": dict.fromkeys(METRICS, torch.tensor([scores], dtype=torch.float64))}

    scores = Scores(
        kinds={"vi": ["bare", "vague"]},
        unseen={"vi": torch.tensor([False, True])},
        documents={"vi": 9},
        values={ENGLISH_TITLES: {ENCODER: values(0.1, 0.3), LIRA: values(0.3, 0.5), LIRA_FREE: values(0.2, 0.4)}},
    )
    return {"models": ["runs/mine"], "weights": ["w"], "corpus": "runs/corpus", "split": "test", **summarise(scores)}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs: a retrieval record, one of no known form with a plot, and a plain result."""
    records = tmp_path / "runs" / "records"
    Meter("retrieval", corpus="c1").record(retrieval_payload()).write(records)
    curve = {
        "measure": "nDCG@10",
        "levels": [0.0],
        "noise": {"swap": {"LiRA": [{"mean": {"mean": 0.5, "low": 0.4, "high": 0.6}}]}},
        "translators": {"LiRA": {"none": {"mean": {"mean": 0.3, "low": 0.2, "high": 0.4}}}},
        "systems": {"a": {"seconds": 2.0, "parameters": 1200000}, "b": {"seconds": 3.0, "parameters": None}},
    }
    Meter("noise-quick", seeds=(0,), corpus="c1").record(curve).write(records)
    plots = tmp_path / "runs" / "noise" / "quick"
    plots.mkdir(parents=True)
    (plots / "noise.png").write_bytes(PNG)
    shown = {"texts": 10, "threads": 2, "batch_size": 64, "ratio": {"a": 1.0}, "texts_per_second": {"a": 80.0}}
    (tmp_path / "runs" / "throughput.json").write_text(json.dumps(shown))
    return tmp_path / "runs"


def test_the_page_shows_figures_their_origin_and_their_plots(runs: Path, tmp_path: Path) -> None:
    page = write_report(runs, tmp_path / "page")
    text = (tmp_path / "page" / "evaluation.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Search and ranking on the corpus",
        "Noise (quick: it shows that everything runs, not what is true)",
        "Throughput",
    ]
    assert "| LiRA | 40.0 | 40.0 | 40.0 | 40.0 |" in text  # vi, mean, recall, MRR
    assert re.search(r"\| LiRA against multilingual encoder alone \| \+20\.0 \(\+20\.0 … \+20\.0\), d \d", text)
    assert "corpus version c1" in text and "seeds 0" in text and "CPU-seconds" in text
    assert "| 0 | 0.5 (0.4 … 0.6) |" in text
    assert "| swap, LiRA | 50.0 (40.0 … 60.0) |" in text and "| LiRA | 30.0 (20.0 … 40.0) |" in text
    assert "| a | 2 | 1,200,000 |" in text and "| b | 3 | – |" in text
    assert "| a | 80 | 1.00 |" in text
    html = page.read_text(encoding="utf-8")
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert f'src="{name}"' in html
        assert (page.parent / name).read_bytes().startswith(PNG[:8])
    assert (page.parent / "noise-quick-noise.png").read_bytes() == PNG
    assert ["LiRA", "40.0", "40.0", "40.0", "40.0"] in cells_of(html)


def test_texts_of_a_result_are_only_text(runs: Path, tmp_path: Path) -> None:
    Meter("odd").record({"note": "<script>alert(1)</script> | x"}).write(runs / "records")
    page = write_report(runs, tmp_path / "page").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert ["note", "<script>alert(1)</script> | x"] in cells_of(page)


def test_what_cannot_be_reported_is_named(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(LiraError, match=r"no results below .*: run `python -m eval all --quick` first"):
        found_results(tmp_path / "nothing")
    with pytest.raises(LiraError, match="'noise-quick' was measured on corpus version c1, not c2: run it again"):
        found_results(runs, "c2")
    Meter("cost", corpus="c0").record({}).write(runs / "records")
    with pytest.raises(LiraError, match="corpus version c1, not c0"):
        found_results(runs)
    (runs / "records" / "cost.json").write_text("{")
    with pytest.raises(LiraError, match=r"cost\.json is not a record"):
        found_results(runs)
    (runs / "records" / "cost.json").unlink()
    (runs / "throughput.json").write_text("[1]")
    with pytest.raises(LiraError, match=r"throughput\.json is no result"):
        found_results(runs)


def test_every_model_has_its_part_of_the_page_and_other_corpora_are_left_out(runs: Path, tmp_path: Path) -> None:
    for model, corpus in (("b", "c1"), ("b", "c0"), ("a", "c1")):
        payload = {**retrieval_payload(), "models": [model]}
        Meter("retrieval", corpus=corpus, subject={"weights": model}).record(payload).write(runs / "records")
    models = [result.payload["models"] for result in found_results(runs, "c1") if result.name == "retrieval"]
    assert sorted(models) == [["a"], ["b"], ["runs/mine"]]
    text = write_report(runs, tmp_path / "page", "c1").with_name("evaluation.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## Search and ranking", text, re.MULTILINE)) == 3
    assert len(set(re.findall(r"!\[Gains[^]]*\]\((.*?)\)", text))) == 3


def test_the_command_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", ["report", "--runs", str(tmp_path), "--output", str(tmp_path)])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "there are no results" in line


def test_every_payload_has_a_form(runs: Path) -> None:
    (study,) = (result for result in found_results(runs) if result.name == "noise-quick")
    lines = list(generic(study))
    assert [line for line in lines if line.startswith("#")] == [
        "### noise",
        "#### swap",
        "##### LiRA",
        "### translators",
        "#### LiRA",
        "### systems",
    ]


# ---------------------------------------------------------------- everything


@pytest.fixture
def plan(build_model: Callable[..., LiraModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    build_model().save_pretrained(tmp_path / "model")
    monkeypatch.setattr(everything_module, "corpus_version", lambda _: "c1")
    monkeypatch.setattr(everything_module, "RECORDS", tmp_path / "runs" / "records")
    return Plan(str(tmp_path / "model"), "corpus", tmp_path / "streams", quick=True, cldr=tmp_path)


def test_the_saved_model_comes_first_then_every_study(plan: Plan) -> None:
    steps = list(steps_of(plan))
    assert [step.name for step in steps] == ["retrieval", "generalisation", "mteb", *studies()]
    assert "noise" in studies() and all("--quick" in step.arguments for step in steps[3:])
    assert ("--cldr", str(plan.cldr)) == steps[1].arguments[-2:]


def test_every_step_is_a_command_with_these_options(plan: Plan) -> None:
    import typer.main

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for quick in (True, False):
        for step in steps_of(Plan(**{**vars(plan), "quick": quick, "backbones": ("a", "b"), "xquad": plan.cldr})):
            name, *arguments = step.arguments
            options = {option for parameter in commands[name].params for option in parameter.opts}
            assert {part for part in arguments if part.startswith("--")} <= options, step


def test_what_is_done_is_not_done_again(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(everything_module, "_run", lambda arguments: ran.append(arguments[0]))
    records, weights = everything_module.RECORDS, [weights_of(plan.model)]
    Meter("retrieval", corpus="c1").record({"weights": weights}).write(records)
    Meter("generalisation").record({"weights": ["of another model"]}).write(records)
    Meter("noise-quick", corpus="c1").record({}).write(records)
    Meter("cost-quick", corpus="another").record({}).write(records)
    Meter("retrieval", corpus="c1", subject={"weights": "b"}).record({"weights": ["b"]}).write(records)  # another
    run_all(plan)
    assert ran == [name for name in ("generalisation", "mteb", *studies()) if name != "noise"]
    ran.clear()
    run_all(plan, again=True)
    assert ran == ["retrieval", "generalisation", "mteb", *studies()]


def test_a_step_that_fails_stops_the_rest(plan: Plan) -> None:
    with pytest.raises(LiraError, match="step 'nonsense' failed; what was done before it is kept"):
        everything_module._run(["nonsense"])
