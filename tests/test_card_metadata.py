"""The Hub would accept the cards of the repository, and its rules as the tests know them refuse what it refuses."""

from pathlib import Path

import pytest
from hub.card_rules import faults

ROOT = Path(__file__).parents[1]
CARDS = {
    **dict.fromkeys(ROOT.glob("model_cards/lira-*/README.md"), "model"),
    **dict.fromkeys([*ROOT.glob("model_cards/space/README.md"), *ROOT.glob("eval/metrics/*/README.md")], "space"),
}
MODEL = """
license: mit
language: [vi]
base_model: [a/b]
model-index: [{name: m, results: [{task: {type: text-retrieval}, dataset: {type: d, name: d},
  metrics: [{type: ndcg_at_10, value: 0.5}]}]}]
"""
DATASET = """
task_categories: [text-retrieval]
task_ids: [document-retrieval]
size_categories: [n<1K]
source_datasets: [original]
annotations_creators: [found]
"""
SPACE = """
title: A
sdk: gradio
app_file: app.py
colorFrom: blue
emoji: 🔎
python_version: "3.12"
short_description: Short
"""


@pytest.mark.parametrize("card", CARDS, ids=lambda card: str(card.relative_to(ROOT)))
def test_the_hub_would_accept_a_card(card: Path) -> None:
    assert len(CARDS) >= 6
    assert list(faults(card.read_text(encoding="utf-8"), CARDS[card])) == []


@pytest.mark.parametrize(
    ("kind", "good", "old", "new"),
    [
        ("model", MODEL, "license: mit", "license: MIT License"),
        ("model", MODEL, "[vi]", "[zh-Hant]"),
        ("model", MODEL, "[vi]", "[vietnamese]"),
        ("model", MODEL, "[a/b]", "[a/b/c]"),
        ("model", MODEL, "[a/b]", "[/home/me/model]"),
        ("model", MODEL, "value: 0.5", "value: high"),
        ("model", MODEL, "value: 0.5", "value: .nan"),
        ("model", MODEL, "type: text-retrieval", "type: searching"),
        ("model", MODEL, "name: d}", "nam: d}"),
        ("model", MODEL, "base_model:", "base_models:"),
        ("dataset", DATASET, "text-retrieval", "retrieval"),
        ("dataset", DATASET, "document-retrieval", "product-search"),
        ("dataset", DATASET, "n<1K", "<1K"),
        ("dataset", DATASET, "original", "mine"),
        ("dataset", DATASET, "found", "crowd"),
        ("space", SPACE, "sdk: gradio", "sdk: flask"),
        ("space", SPACE, "blue", "teal"),
        ("space", SPACE, "🔎", "search"),
        ("space", SPACE, '"3.12"', "3.12"),
        ("space", SPACE, "Short", "long " * 13),
        ("space", SPACE, "app_file: app.py", ""),
        ("model", MODEL, MODEL, "[]"),
        ("model", MODEL, "license: mit", "license: [mit"),
    ],
)
def test_what_the_hub_refuses_is_refused(kind: str, good: str, old: str, new: str) -> None:
    assert list(faults(f"---\n{good.strip()}\n---\n\ntext", kind)) == []
    assert len(list(faults(f"---\n{good.replace(old, new).strip()}\n---\n\ntext", kind))) == 1
