"""Every figure of the README comes from a results file, and every command it names exists."""

import json
import re
from pathlib import Path

import pytest

from eval.readme import BLOCKS, RESULTS, render
from modeling_lira import LiraError

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_says_what_its_results_say(name: str) -> None:
    text = README.read_text(encoding="utf-8")
    block = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert block is not None
    results = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert block[1].strip() == BLOCKS[name](results).strip()


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


def test_every_relative_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (README.parent / link).is_file(), link
