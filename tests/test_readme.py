"""Every figure of the README comes from a results file, and every command it names exists."""

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from eval.report import readme
from eval.report.blocks import BLOCKS
from eval.report.modes import COMMANDS, MODES, modes_block
from eval.report.readme import (
    RESULTS,
    WITH_GEMMA,
    WITHOUT_ENCODERS,
    card_of,
    joined,
    keep_found,
    pages_of,
    render,
    rendered,
    update_all,
)
from modeling_lira import LiraError

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "model_cards"
TEXTS = {page: page.read_text(encoding="utf-8") for page in pages_of(ROOT)}
SHOWN = {name: text for text in TEXTS.values() for name in BLOCKS if f"<!-- {name} -->" in text}


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 180


@pytest.mark.parametrize("name", SHOWN)
def test_a_block_says_what_its_results_say(name: str) -> None:
    text = SHOWN[name]
    block = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert block is not None
    results = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert block[1].strip() == rendered(name, results).strip()  # with the note on the weights


def test_every_result_that_is_kept_is_shown() -> None:
    kept = {path.stem for path in RESULTS.glob("*.json")}
    assert kept <= SHOWN.keys()
    assert sum(f"<!-- {name} -->" in text for text in TEXTS.values() for name in BLOCKS) == len(SHOWN)  # each once


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in CARDS.glob("*/config.json")), ids=lambda path: path.name
)
def test_a_card_says_what_its_records_say(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == card_of(folder)
    assert len(text.splitlines()) <= 120


def test_the_table_of_modes_is_of_the_records_that_there_are(tmp_path: Path) -> None:
    for name, page in (("modes", "README.md"), ("documents", "modeling_lira/search/README.md")):
        assert f"<!-- {name} -->\n{joined(name)}\n<!-- /{name} -->" in TEXTS[ROOT / page]
    bare = modes_block({})
    assert bare.count("| not measured yet |") >= len(MODES) and all(f"`{name}`" in bare for name in COMMANDS.values())
    points = {"mean": {"mean": 0.25, "low": 0.2, "high": 0.3}}
    row = {
        "systems": {"LiRA": {"mean": {"mean": 0.5}}, "multilingual encoder alone": points},
        "best rival": "<b>fusion",
        "behind": {"mean": {"mean": 0.02, "low": -0.01, "high": 0.05}},
    }
    record = {"corpus": "abc", "payload": {"conditions": {mode.condition: row for mode in MODES}}}
    text = modes_block({"regret-tuned": record})
    assert "| +25.0 | -2.0 (-5.0 … +1.0), &lt;b&gt;fusion |" in text and "Corpora of these records: abc." in text
    for name in COMMANDS.keys() & {path.stem for path in RESULTS.glob("*.json")}:
        (tmp_path / f"{name}.json").write_bytes((RESULTS / f"{name}.json").read_bytes())
    assert joined("modes", tmp_path) == joined("modes")
    assert render("<!-- modes -->\nold\n<!-- /modes -->\n", tmp_path).splitlines()[1] == joined("modes").splitlines()[0]


def test_a_figure_that_was_typed_by_hand_does_not_stay() -> None:
    text = SHOWN["demo"]
    start = text.index("<!-- demo -->")
    number = re.compile(r"\d\.\d").search(text, start)
    assert number is not None
    forged = text[: number.start()] + "99.99" + text[number.end() :]
    assert forged != text
    assert render(forged) == text


def test_a_changed_figure_is_written_anew(tmp_path: Path) -> None:
    shown = {
        "texts": 10,
        "threads": 2,
        "batch_size": 64,
        "ratio": {"a": 1.0, "b": 0.5},
        "texts_per_second": {"a": 80.0, "b": 40.0},
    }
    (tmp_path / "throughput.json").write_text(json.dumps(shown))
    document = "before\n<!-- throughput -->\nold\n<!-- /throughput -->\nafter\n"
    written = render(document, tmp_path)
    assert "| b | 40 | 0.50 |" in written
    assert "old" not in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert render(written, tmp_path) == written


def test_a_block_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LiraError, match=r"throughput\.json is not there"):
        render("<!-- throughput -->\n<!-- /throughput -->\n", tmp_path)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)", TEXTS[page]):
        target = page.parent / link if link else page
        assert target.is_file(), link
        if anchor:
            assert anchor in {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", TEXTS[target.resolve()], re.M)}


def anchor_of(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_a_card_is_of_its_own_weights(tmp_path: Path) -> None:
    source = next(iter(sorted(path.parent for path in CARDS.glob("*/config.json"))))
    card = tmp_path / "model_cards" / source.name
    card.mkdir(parents=True)
    prompts = "config_sentence_transformers.json"
    for name in ("README.md", "config.json", "training.json", "evaluation.json", "model.safetensors", prompts):
        (card / name).write_bytes((source / name).read_bytes())
    (tmp_path / "README.md").write_text("no block")
    assert update_all(tmp_path) == []
    text = (card / "README.md").read_text(encoding="utf-8")
    (card / "README.md").write_text(text.replace("**LiRA** |", "**LiRA** (best) |"), encoding="utf-8")
    assert update_all(tmp_path) == [card / "README.md"]
    assert (card / "README.md").read_text(encoding="utf-8") == text
    weights = load_file(card / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, card / "model.safetensors")
    with pytest.raises(LiraError, match="the evaluation is of other weights"):
        update_all(tmp_path)


def test_results_are_kept_by_the_name_of_their_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "RESULTS", tmp_path / "results")
    throughput = json.loads((RESULTS / "throughput.json").read_text(encoding="utf-8"))
    (tmp_path / "throughput.json").write_text(json.dumps(throughput))
    assert keep_found(tmp_path) == ["throughput"]
    assert json.loads((tmp_path / "results" / "throughput.json").read_text(encoding="utf-8")) == throughput
    (tmp_path / "throughput.json").write_text('{"texts": 1}')
    with pytest.raises(LiraError, match=r"throughput\.json does not hold what the block shows: 'ratio' is missing"):
        keep_found(tmp_path)


def test_notes_on_weights_are_of_blocks_that_exist() -> None:
    assert {*WITHOUT_ENCODERS, *WITH_GEMMA} <= BLOCKS.keys()


def test_the_block_of_workers_compares_each_number_with_the_first() -> None:
    figures = {"1": {"texts_per_second": 50.0, "cpu_ms": 17.94}, "2": {"texts_per_second": 90.0, "cpu_ms": 18.0}}
    block = BLOCKS["workers"]({"payload": {"texts": 2000, "workers": figures}, "command": "python -m eval workers"})
    assert "| 1 | 50 | 1.00 | 17.9 |\n| 2 | 90 | 1.80 | 18.0 |" in block
    assert "2,000 titles" in block and block.endswith("`python -m eval workers`")
