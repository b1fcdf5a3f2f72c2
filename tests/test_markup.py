"""Texts of strangers are nothing but text in every file that is written: no tag, link, image or table of theirs."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from dataset_builder.layout import CARD
from dataset_builder.logs.corpus import build_log_corpus
from dataset_builder.page import Heading, Paragraph, Picture, Table, to_html, to_markdown, to_text
from dataset_builder.quality.report import write_report
from eval.report.blocks import BLOCKS
from eval.report.page import write_report as write_evaluation_report
from eval.report.readme import RESULTS
from modeling_lira.faces.markup import html_text, markdown_code, markdown_table, markdown_text

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[mug](javascript:alert(1))",
    "![x](https://a.b/c.png)",
    "a | b", "a \\| b", "a\n\n# head", "# head", "- item", "1. item", "```", "`code`", "**bold**", "_it_ __it__",
    "~~x~~",
    "<https://a.b>", "https://a.b/c", "www.a.b", "[x]: https://a.b", "&lt;b&gt;", "&#60;b&#62;", "\\<b>", "---", "===",
    "> quote", "<!-- c -->", "a\x1b[31mred", "\u202egum", "'\" onload='x", "${x}", "$seed", "[^1]", "|---|---|",
]  # fmt: skip
ALLOWED = {
    "html",
    "head",
    "body",
    "meta",
    "title",
    "style",
    "h1",
    "h2",
    "p",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}


class Tags(HTMLParser):
    """Collects the tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.sources: set[str | None] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        self.sources |= {value for name, value in attributes if name == "src"}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rendered(markdown: str) -> Tags:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Tags(parser.render(markdown))


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    blocks = [Heading(text), Paragraph(text), Table(["n", text], [[text, 1], ["x", text]])]
    page = rendered(to_markdown(blocks))
    assert page.tags <= ALLOWED
    shown = " ".join(text.replace("\x1b", " ").replace("\u202e", " ").split())
    assert "".join(page.texts).count(shown) == 5
    assert rendered(markdown_table(["n", text], [[text, 1]])).tags <= ALLOWED
    code = rendered(f"a {markdown_code(text)} b")
    assert code.tags == {"p", "code"}
    assert "".join(code.texts).strip() == f"a {shown} b"


@pytest.mark.parametrize("text", HOSTILE)
def test_html_and_terminal_show_the_text_and_nothing_else(text: str) -> None:
    cells = Table(["n", text], [[text, 1]])
    page = Tags(to_html(text, [Heading(text), Paragraph(text), cells, Picture("p.png", text)]))
    assert page.tags <= ALLOWED | {"img"}
    assert "<" not in html_text(text)
    assert len(to_text(cells).splitlines()) == 2
    assert "\x1b" not in to_text(cells)
    assert "\n" not in markdown_text(text)
    assert "://" not in markdown_text(text)  # which viewers turn into links by themselves
    assert "www." not in markdown_text(text)


def test_a_log_of_hostile_cells_becomes_a_card_and_a_report_of_text(tmp_path: Path) -> None:
    lines = ["query\tproduct\taction\tsession\tlanguage"]
    for number, text in enumerate(text for text in HOSTILE if "\n" not in text):
        for session in range(3):
            lines.append(f"mug {text}\tred mug {text} {number}\tclick\t{session}\ten")
            lines.append(f"cup\tblue cup {number}\t{text}\t{session}\t{text}")
            lines.append(f"cup {number}\tblue cup {number}\tclick\t{session}\t{text}")
    (tmp_path / "log.tsv").write_text("\n".join(lines), "utf-8")
    build_log_corpus(tmp_path / "corpus", tmp_path / "log.tsv", candidates=Path("none"))
    _, head, body = (tmp_path / "corpus" / CARD).read_text("utf-8").split("---\n", 2)
    assert yaml.safe_load(head)["language"] == ["en"]
    assert rendered(body).tags <= ALLOWED | {"h3", "ul", "li", "strong", "code", "pre"}
    write_report(tmp_path / "corpus", tmp_path / "report")
    assert rendered((tmp_path / "report" / "report.md").read_text("utf-8")).tags <= ALLOWED | {"img"}
    assert Tags((tmp_path / "report" / "report.html").read_text("utf-8")).tags <= ALLOWED | {"img"}


def hostile_results(name: str, text: str) -> dict:
    """Return a block's committed results in which systems, the command and more are a stranger's text."""
    results = (RESULTS / f"{name}.json").read_text("utf-8")
    for word in ("translate, then encode", "BM25", "language model on all translations", "English titles"):
        results = results.replace(json.dumps(word)[1:-1], json.dumps(f"{word}{text}")[1:-1])
    changed = json.loads(results)
    for key in ("command", "why", "threads", "revision", "created"):
        for part in (changed, changed.get("payload", {})):
            if key in part:
                part[key] = text
    return changed


SHOWN_WITH_KEYS = ("ablations", "noise")
"""Blocks that name a way to search themselves."""


@pytest.mark.parametrize("name", [name for name in BLOCKS if (RESULTS / f"{name}.json").is_file()])
@pytest.mark.parametrize(
    "text", [" <img src=x onerror=alert(1)> | a", " `[x](http://a.b)` ![y](http://a.b) https://c.d"]
)
def test_blocks_show_texts_of_results_and_nothing_else(name: str, text: str) -> None:
    if name in SHOWN_WITH_KEYS:
        pytest.skip("its results are looked up by the names that the test changes")
    block = rendered(BLOCKS[name](hostile_results(name, text)))
    assert block.tags <= ALLOWED | {"strong", "code"}


def test_the_report_shows_texts_of_records_and_nothing_else(tmp_path: Path) -> None:
    text = " <img src=x onerror=alert(1)> ![y](http://a.b) `z`"
    folder = tmp_path / "records"
    folder.mkdir()
    for name in ("retrieval", "generalisation", "noise"):
        record = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        record["payload"][text] = {"rows": [{text: text}], "deep": {text: {text: {text: [{"a": [[1, [2]]]}]}}}}
        record |= {"command": text, "revision": text, "created": text, "corpus": text}
        record["hardware"]["cpu"] = text
        for sets in (record["payload"].get("sets"), record["payload"].get("search"), record["payload"].get("models")):
            if isinstance(sets, dict):
                sets[f"set{text}"] = next(iter(sets.values()))
            elif sets is not None:
                sets.append(text)
        (folder / f"{name}.json").write_text(json.dumps(record), "utf-8")
    write_evaluation_report(tmp_path, tmp_path / "report")
    page = rendered((tmp_path / "report" / "evaluation.md").read_text("utf-8"))
    assert page.tags <= ALLOWED | {"h3", "h4", "h5", "h6", "img", "code", "strong"}
    assert page.sources == {"retrieval-gains.png", "generalisation-gains.png"}
