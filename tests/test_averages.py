"""Shares of what training changes, and the text unlike the corpus by which they are chosen."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_studies import tuned_setting

from dataset_builder.shopping_questions import SPLITS
from eval.benchmarks import development
from eval.benchmarks.development import NAMES, QUESTIONS, development_splits
from eval.report.blocks import averages_block
from eval.studies import averages
from eval.studies.averages import ALONE, measure_averages
from eval.studies.conditions import NONE, UNSEEN
from eval.studies.setting import Setting
from modeling_lira import LiraError


def test_a_name_finds_its_own_in_english() -> None:
    sets = development_splits(["id", "ur"], most=40)
    for split in (*sets[NAMES], *sets[QUESTIONS]):
        assert 30 <= len(split.queries) <= 40 and len(set(split.titles)) == len(split.titles)
        assert all(len(gains) == 1 for gains in split.gains)
    names = sets[NAMES][0]
    pairs = {
        text: names.titles[next(iter(gains))] for text, gains in zip(names.queries.texts, names.gains, strict=True)
    }
    assert all(local.casefold() != english.casefold() for local, english in pairs.items())
    every = development_splits(["id"], most=1_000)[NAMES][0]
    row = every.queries.texts.index("Jerman")
    assert [every.titles[document] for document in every.gains[row]] in (["Germany"], ["German"])


def test_questions_of_the_test_part_are_no_development_text() -> None:
    asked = {row.question for row in development.questions(seed=0, counts={"test": SPLITS["test"]})}
    assert len(asked) > 500
    assert asked.isdisjoint(development_splits(["th"])[QUESTIONS][0].queries.texts)


@pytest.fixture
def setting(backbones: dict[str, Path], tmp_path: Path) -> Setting:
    return tuned_setting(backbones, tmp_path, (0,))


def test_each_share_is_measured_and_the_encoder_is_tuned_once(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = development_splits(["vi", "th"], most=4)
    monkeypatch.setattr(averages, "development_splits", lambda languages: few)
    path = measure_averages(setting, (0.0, 1.0), (0.5,))
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = record["payload"]["rows"]
    assert [(row["encoder_share"], row["start_share"]) for row in rows] == [(0, ALONE), (0, 0.5), (1, ALONE), (1, 0.5)]
    assert {NONE, NONE + UNSEEN, NAMES, QUESTIONS} <= set(rows[0]["ndcg@10"])
    assert len(list((setting.output / "tuned").glob("tune-*"))) == 1
    of_start = averages._keeping(setting, 0.0).tables["validation"][0].queries.multilingual
    untuned = replace(setting, options=replace(setting.options, tune=None)).tables["validation"][0].queries.multilingual
    assert np.array_equal(of_start, untuned)
    shown = averages_block({"payload": record["payload"], "seeds": [0], "command": "python -m eval averages"})
    assert f"{100 * rows[0]['ndcg@10'][NAMES]['mean']:.1f}" in shown and shown.count("encoder alone") == 2
    with pytest.raises(LiraError, match="give a config that tunes"):
        measure_averages(replace(setting, options=replace(setting.options, tune=None)), (1.0,), (0.5,))
