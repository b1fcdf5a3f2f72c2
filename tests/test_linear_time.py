"""No text of any table makes a pattern slow: time grows with the text, never with its square."""

import importlib
import pkgutil
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import ModuleType

import pytest

import dataset_builder
import modeling_lira
from dataset_builder.logs.cleaning import clean_text
from dataset_builder.logs.language_id import tell_languages
from dataset_builder.logs.personal_data import scrub
from dataset_builder.page import Paragraph, Table, to_html, to_markdown, to_text

CHARACTERS = "a1A0 .-_@<>&#;:/+([{`\u200c\t\n*|é०"
FRAGMENTS = (
    "a.", "a@", "@a.", "1-", "1 ", "0 ", "a-", "<a", "&#1", "&#x1", "www.", "(at)", "a(at)a.", "order ", "order id:",
    "line id ", "ig:", "1.1111,", "0812 ", "+1 (", "```", "``` ", "\u200ca", "\u00c3\u0080", "{a}", "- ", "[A", "](",
    "1/",
)  # fmt: skip
LONG, SHORT = 1_000_000, 20_000
ENDS = ("", "!", "é1-@ x", "a.1")


def texts(length: int) -> Iterator[str]:
    """Texts that repeat what patterns repeat, with an end that lets them fail."""
    for unit in (*CHARACTERS, *FRAGMENTS):
        for end in ENDS:
            yield unit * (length // len(unit)) + end


def pairs(length: int) -> Iterator[str]:
    """Texts of one character many times and another many times, and of the two in turn."""
    for first in CHARACTERS:
        for second in CHARACTERS:
            yield first * (length // 2) + second * (length // 2) + "\u0b95"
            yield (first + second) * (length // 2) + "\u0b95"


def modules() -> Iterator[ModuleType]:
    for package in (dataset_builder, modeling_lira):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def patterns_in(value: object) -> Iterator["re.Pattern[str]"]:
    if isinstance(value, re.Pattern):
        yield value
    elif type(value) is dict:
        for inner in value.values():
            yield from patterns_in(inner)
    elif type(value) is list or type(value) is tuple:
        for inner in value:
            yield from patterns_in(inner)


ANCHORED = {
    "_PUBLIC",
    "_TEMPORARY",
    "_METRIC",
    "_HUB_ID",
    "_QUANTITY",
    "_PHONE_GROUP",
    "_FENCED",
    "_PLAIN_ID",
    "_HARMLESS",
    "_OWNED_NUMBER",
    "_FILIPINO",
}
"""Used with `match` and `fullmatch` alone: they begin nowhere but where they are asked to."""
MODEL_NAMES = {"_PAIR"}
"""Read the names of models, which are short."""


def patterns() -> dict[str, "re.Pattern[str]"]:
    return {
        f"{module.__name__}.{name}-{number}": pattern
        for module in modules()
        for name, value in vars(module).items()
        if name not in MODEL_NAMES
        for number, pattern in enumerate(patterns_in(value))
        if isinstance(pattern.pattern, str)
    }


PATTERNS = patterns()


def seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def matches(name: str, pattern: "re.Pattern[str]", text: str) -> None:
    pattern.fullmatch(text)
    if name.rpartition(".")[2].partition("-")[0] not in ANCHORED:
        for _ in pattern.finditer(text):
            pass


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_takes_time_in_proportion_to_the_text(name: str) -> None:
    def slow(examples: Iterable[str], limit: float) -> list[str]:
        return [text[:8] for text in examples if seconds(partial(matches, name, PATTERNS[name], text)) > limit]

    assert slow(texts(SHORT), 0.5) == []
    assert slow(pairs(2_000), 0.2) == []
    assert slow((unit * (LONG // len(unit)) + "!" for unit in ("a", "1", " ", "a.", "- ", "`")), 4) == []


def cleaned(text: str) -> None:
    scrub(clean_text(text), Counter())


def identified(text: str) -> None:
    tell_languages([(text, ())])


def written(text: str) -> None:
    blocks = [Paragraph(text), Table(["a"], [[text]])]
    to_markdown(blocks), to_html("page", blocks), to_text(Table(["a"], [[text]]))


@pytest.mark.parametrize("work", [cleaned, clean_text, identified, written], ids=lambda work: work.__name__)
def test_what_is_done_with_a_cell_takes_time_in_proportion_to_it(work: Callable[[str], object]) -> None:
    work("mug")  # reads what is read but once, such as a lexicon
    slow = [text[:8] for text in texts(SHORT) if seconds(partial(work, text)) > 1]
    assert slow == []
    for unit in ("a", "1", "a.", "\u200c", "&#1", "order ", "@a.", "<"):
        assert seconds(partial(work, unit * (LONG // len(unit)) + "!")) < 20, unit


def test_numbers_of_any_length_are_no_error() -> None:
    assert clean_text("mug &#" + "9" * 5_000 + "; cup") == "mug cup"
    assert clean_text("mug &#x" + "F" * 5_000 + "; cup") == "mug cup"
