"""Texts of strangers are nothing but text in every file that is written: no tag, link, image or table of theirs."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from dataset_builder.layout import CARD
from dataset_builder.logs.corpus import build_log_corpus
from dataset_builder.page import Heading, Paragraph, Picture, Table, to_html, to_markdown, to_text
from dataset_builder.quality.report import write_report
from eval.report.page import table
from modeling_lira.faces.markup import html_text, markdown_code, markdown_text

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
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attributes)

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
    assert rendered(table(["n", text], [[text, 1]])).tags <= ALLOWED
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
    assert rendered(body).tags <= ALLOWED | {"ul", "li", "strong", "code", "pre"}
    write_report(tmp_path / "corpus", tmp_path / "report")
    assert rendered((tmp_path / "report" / "report.md").read_text("utf-8")).tags <= ALLOWED | {"img"}
    assert Tags((tmp_path / "report" / "report.html").read_text("utf-8")).tags <= ALLOWED | {"img"}
