"""`python -m eval gate` on a tiny corpus: what the gate's weights and the actor's shares are, and what is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import write_corpus

from eval.__main__ import app
from eval.benchmarks.gate import choice_shares, choices_of, gate_weights, scores_of
from eval.report.blocks import gate_block
from modeling_lira import LiraModel
from modeling_lira.cli import run
from modeling_lira.data.corpus import GLOSS, REFERENCE, load_split
from modeling_lira.data.qualities import CANDIDATES, MIXED, STRANGERS, good_columns, mixed_sets
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import SplitTables, cache_split
from modeling_lira.evaluation.embedded import embed_split
from modeling_lira.evaluation.names import ENCODER, LIRA, TRANSLATE


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return build_model().eval()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), ("vi", "th"))


@pytest.fixture(scope="module")
def tables(model: LiraModel, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> SplitTables:
    return cache_split(model, StreamCache(tmp_path_factory.mktemp("streams")), load_split(str(corpus), "vi", "test"))


def test_choices_are_those_of_the_model_for_queries_that_have_candidates(model: LiraModel, tables: SplitTables) -> None:
    rows = mixed_sets(tables.queries, tables.queries.others[REFERENCE])
    chosen = choices_of(model, tables, rows)
    index = np.flatnonzero((rows >= 0).any(1))
    assert chosen.weight.shape == chosen.selected.shape == (len(index),)
    queries = tables.queries
    for number, query in enumerate(index):
        one = np.array([query])
        output = model(**queries.batch(one, rows[one], np.full_like(queries.scores[one], np.nan)))
        assert output.english_weight.item() == pytest.approx(chosen.weight[number].item(), abs=1e-5)
        present = torch.from_numpy(rows[one] >= 0)
        assert output.similarities.masked_fill(~present, -2).argmax().item() == chosen.most_similar[number].item()


def test_shares_count_whole_sets_alone_and_chance_is_one_of_k(model: LiraModel, tables: SplitTables) -> None:
    assert choice_shares(model, tables) == {}  # every set of these holds a query without candidates
    rows = tables.queries.rows.copy()
    rows[rows[:, 0] < 0] = rows[1]
    tables = replace(tables, queries=replace(tables.queries, rows=rows))
    shares = choice_shares(model, tables)
    rows = mixed_sets(tables.queries, tables.queries.others[REFERENCE])
    assert (rows >= 0).all()
    found = choices_of(model, tables, rows)
    right = found.most_similar == torch.from_numpy(good_columns(tables.queries))
    assert shares[REFERENCE]["similarity"] == pytest.approx(float(right.double().mean()))
    assert shares[REFERENCE]["chance"] == 1 / rows.shape[1]


def test_no_text_at_all_gives_no_embedding(model: LiraModel, tables: SplitTables) -> None:
    nothing = tables.queries.batch(np.zeros(0, np.int64))
    assert model(**nothing).sentence_embedding.shape == (0, model.config.embedding_size)


def test_weights_and_scores_are_of_every_quality_but_none(model: LiraModel, tables: SplitTables) -> None:
    weights = gate_weights(model, tables)
    assert set(weights) == {CANDIDATES, GLOSS, REFERENCE, MIXED, STRANGERS}
    assert all(((values >= 0) & (values <= 1)).all() for values in weights.values())
    scores = scores_of(model, tables)
    embedded = embed_split(model, tables)
    expected = {
        "English titles, none": embedded.ndcg(with_candidates=False),
        f"English titles, {CANDIDATES}": embedded.ndcg(),
        f"local titles, {CANDIDATES}": embedded.ndcg(english_titles=False),
    }
    for name, values in expected.items():
        assert scores[LIRA][name] == pytest.approx(float(values.mean()))
    assert not any("none" in name or "local" in name for name in scores[TRANSLATE])
    assert all("none" in name for name in scores[ENCODER])


def test_the_command_writes_a_record_and_a_plot(
    model: LiraModel, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    options = ["--corpus", str(corpus), "--streams", str(tmp_path / "streams"), "--records", str(tmp_path)]
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", ["gate", "--model", str(tmp_path / "model"), *options])
    assert not left.value.code
    assert (tmp_path / "gate.png").stat().st_size > 10_000
    record = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    payload, shown = record["payload"], gate_block(record)
    assert shown.count("\n| ") == 3 and "| th | " in shown and "actor finds" in shown
    assert set(payload["languages"]) == {"vi", "th"}
    gate = payload["languages"]["th"]["gate"][REFERENCE]
    assert 0 <= gate["10%"] <= gate["median"] <= gate["90%"] <= 1
    assert "chance" in capsys.readouterr().out
