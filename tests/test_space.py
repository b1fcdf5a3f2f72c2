"""The Space: what it searches and shows, texts of strangers, and the page in a real browser in all seven languages."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from helpers import free_port
from packaging.specifiers import SpecifierSet

from modeling_lira import LiraError, LiraModel
from modeling_lira.demo.browser import SPACE, load_app, showcase_for

ROOT = Path(__file__).parents[1]
LANGUAGES = ["vi", "th", "id", "ms", "ur", "bn", "fil"]
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"> ${6*7} {{value}}"
LOCAL, ENGLISH = "titles in the query's language", "English titles"


@pytest.fixture(scope="module")
def app() -> ModuleType:
    return load_app()


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return build_model(languages=[*LANGUAGES, "en"]).eval()


@pytest.fixture(scope="module")
def shop(app: ModuleType, model: LiraModel) -> Any:
    showcase = showcase_for(model)
    return app.Shop(model, showcase, app.OnFirstUse(model, showcase))


def test_the_folder_is_a_space() -> None:
    assert (ROOT / "model_cards" / "space").resolve() == SPACE
    front = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"] in SpecifierSet(">=6,<7")
    assert (SPACE / front["app_file"]).is_file() and len(front["short_description"]) <= 60


def test_every_language_has_titles_examples_and_words() -> None:
    showcase = json.loads((SPACE / "showcase.json").read_text(encoding="utf-8"))
    assert list(showcase) == LANGUAGES
    for language, part in showcase.items():
        assert len(part["titles"]) == 100 and all(local and english for local, english in part["titles"]), language
        assert len(part["examples"]) == 4 and len(part["words"]) > 1000
        for example in part["examples"]:
            assert len(example["candidates"]) == len(example["scores"]) >= 3


def test_a_model_of_other_languages_is_refused(build_model: Callable[..., LiraModel]) -> None:
    with pytest.raises(LiraError, match="knows none of them"):
        showcase_for(build_model(languages=["de", "en"]))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_query_is_searched_in_three_ways(shop: Any, language: str) -> None:
    example = shop.showcase[language]["examples"][0]
    page = shop.search(language, example["text"], "\n".join(example["candidates"]), LOCAL)
    for heading in (
        "Encoder alone",
        "LiRA without translations",
        "LiRA with translations",
        "LiRA gives the translations",
    ):
        assert heading in page
    assert page.count("preferred by LiRA") == 1 and page.count("critics, of 10: meaning") == len(example["candidates"])


def test_what_is_shown_is_what_the_model_says(app: ModuleType, shop: Any, model: LiraModel) -> None:
    text, candidates = "เสื้อสีขาว", ["white shirt", "a blue door"]
    worth = app.examine(model, text, "th", candidates, [[9.0, 5.5, 9.0], [1.0, None, 1.0]])
    scores = [[[9.0, 5.5, 9.0], [1.0, float("nan"), 1.0]]]
    expected = model.encode_query([text], "th", [candidates], scores)[0]
    assert (worth.embedding - expected).abs().max() < 1e-5
    assert abs(sum(worth.probabilities) - 1) < 1e-5 and len(worth.similarities) == 2
    page = shop.search("th", text, "\n".join(candidates), ENGLISH)
    assert page.count("no critic has scored it") == 2


@pytest.mark.parametrize("written", ["", " \n "])
def test_without_translations_the_words_are_looked_up(shop: Any, written: str) -> None:
    assert shop.candidates("id", "Kaos kaki bayi 3pcs", written) == ["socks for babies 3pcs"]
    assert shop.candidates("th", "ถุงเท้าสีขาว", written)[0].startswith("socks")
    assert shop.candidates("ur", "ژژژ", written) == []
    assert "No translation" in shop.search("ur", "ژژژ", written, LOCAL)


def test_texts_of_strangers_are_only_ever_text(shop: Any) -> None:
    page = shop.search("vi", HOSTILE, "\n".join([HOSTILE] * 3 + [str(n) for n in range(20)]), LOCAL)
    assert "<img" not in page and "&lt;img" in page
    for blank in ("", "   ", "\u200b", "\n"):
        assert "<li" not in shop.search("vi", blank, "", LOCAL)
    assert shop.search("de", "Hemd", "", LOCAL).startswith("<p>Type a query")
    assert "Encoder alone" in shop.search("vi", "a" * 10_000, "b" * 10_000, LOCAL)


# --- in a browser

needs_a_browser = pytest.mark.skipif(
    CHROMIUM is None or find_spec("gradio") is None or find_spec("playwright") is None,
    reason="needs gradio, playwright and Chromium (pip install '.[space,dev]', Debian's chromium-headless-shell)",
)
SERVE = """
import sys
from modeling_lira import LiraModel
from modeling_lira.demo.browser import serve_space
serve_space(LiraModel.from_pretrained(sys.argv[1]), server_port=int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def address(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("space")
    model.save_pretrained(folder, save_backbones=True)
    port = free_port()
    command = [sys.executable, "-u", "-c", SERVE, str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            assert any("Running on local URL" in line for line in server.stdout)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"{CHROMIUM} does not start here: {error.message.splitlines()[0]}")
        yield started


def opened(browser: Any, address: str, language: str) -> Any:
    """Open the page on a phone and choose a language."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(60_000)
    page.goto(address)
    page.locator("#language input").click()
    page.get_by_role("option").nth(LANGUAGES.index(language)).click()
    page.locator("#examples").get_by_text(example_of(language)["text"], exact=True).wait_for()
    return page


def example_of(language: str) -> dict[str, Any]:
    return json.loads((SPACE / "showcase.json").read_text(encoding="utf-8"))[language]["examples"][1]


@needs_a_browser
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_is_searched_in_a_browser(browser: Any, address: str, language: str) -> None:
    page = opened(browser, address, language)
    example = example_of(language)
    page.locator("#examples").get_by_text(example["text"], exact=True).click()
    page.get_by_text("LiRA gives the translations").wait_for()
    assert page.locator("#query textarea, #query input").first.input_value() == example["text"]
    assert page.locator("#query textarea, #query input").first.get_attribute("dir") == (
        "rtl" if language == "ur" else "ltr"
    )
    assert page.locator("#results section").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


@needs_a_browser
def test_a_hostile_query_is_shown_as_text(browser: Any, address: str) -> None:
    page = opened(browser, address, "th")
    page.locator("#query textarea, #query input").first.fill(HOSTILE)
    page.locator("#translations textarea").fill(HOSTILE)
    page.get_by_role("button", name="Search").click()
    page.get_by_text("preferred by LiRA").wait_for()
    assert page.locator("#results").get_by_text(HOSTILE).count() == 1
    assert page.locator("#results img").count() == 0 and page.title() != "hacked"
    page.close()
