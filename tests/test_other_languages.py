"""Languages beside the corpus' seven: from a shop's log to a trained, evaluated and served model."""

import csv
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
import regex
import yaml
from babel.core import get_global
from helpers import lira
from test_serving import serving

from dataset_builder.__main__ import main as build
from dataset_builder.layout import SPLITS, read_part
from dataset_builder.logs.language_id import tell_languages
from modeling_lira import LiraError, LiraModel
from modeling_lira.agents.encoder_critic import misworded
from modeling_lira.agents.prompts import few_shot, language_name
from modeling_lira.data.corpus import corpus_languages
from modeling_lira.data.languages import (
    code_with_script,
    is_language,
    is_unspaced,
    known_language,
    letters_of,
    match_language,
)
from modeling_lira.evaluation.bm25 import tokens

SOLD = {
    "km": ("អាវយឺតពណ៌ខ្មៅ", "ស្បែកជើងកីឡា", "ទូរស័ព្ទដៃ", "ឆ្នាំងបាយអគ្គិសនី", "កាបូបស្ពាយ", "នាឡិកាដៃ"),
    "lo": ("ເສື້ອຢືດສີດຳ", "ເກີບກິລາ", "ໂທລະສັບມືຖື", "ໝໍ້ຫຸງເຂົ້າ", "ກະເປົາເປ້", "ໂມງໃສ່ມື"),
    "my": ("အနက်ရောင်တီရှပ်", "အားကစားဖိနပ်", "လက်ကိုင်ဖုန်း", "ထမင်းပေါင်းအိုး", "ကျောပိုးအိတ်", "လက်ပတ်နာရီ"),
    "ta": ("கருப்பு சட்டை", "விளையாட்டு காலணி", "கைபேசி", "மின்சார அடுப்பு", "முதுகுப்பை", "கைக்கடிகாரம்"),
}
ENGLISH = ("black shirt", "sports shoes", "mobile phone", "rice cooker", "backpack", "wrist watch")
DECLARED = {"km": "km-KH", "lo": "", "my": "Burmese", "ta": "tam"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of a log in which every query was asked in three sessions, some of them without a language."""
    folder = tmp_path_factory.mktemp("log")
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["query", "product", "title_en", "action", "language", "session"])
        for language, names in SOLD.items():
            for row, name in enumerate(names):
                for session in range(3):
                    shown = [(name, ENGLISH[row], "click"), (names[row - 1], ENGLISH[row - 1], "impression")]
                    for title, english, action in shown:
                        order = [name, f"{title} A1", english, action, DECLARED[language], f"{language}{row}{session}"]
                        table.writerow(order)
    command = ["build", "--source", "logs", "--input", folder / "log.csv", "--output", folder / "corpus"]
    assert lira(*command, "--languages", "km,lo,my,ta-IN", run=build) == 0
    return folder / "corpus"


def test_a_log_in_four_languages_becomes_a_corpus(corpus: Path) -> None:
    assert corpus_languages(str(corpus)) == ("km", "lo", "my", "ta")
    for language, names in SOLD.items():
        tables = [read_part(corpus, language, "queries", split, ["text"]) for split in SPLITS]
        assert {text for table in tables for text in table["text"].to_pylist()} == set(names)


def test_a_model_of_four_languages_is_trained_evaluated_and_served(
    corpus: Path, backbones: dict[str, Path], tmp_path: Path
) -> None:
    words = "".join(
        f"{code}\t{name}\t{english}\n"
        for code, names in SOLD.items()
        for name, english in zip(names, ENGLISH, strict=True)
    )
    (tmp_path / "words.tsv").write_text(f"language\tterm\tglosses\n{words}", encoding="utf-8")
    rows = [{"text": name, "lang": DECLARED[code] or code} for code, names in SOLD.items() for name in names]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = ("--input", tmp_path / "texts.jsonl", "--output", tmp_path / "translated.jsonl")
    assert lira("translate", *given, "--dictionary", tmp_path / "words.tsv") == 0
    translated = [json.loads(line) for line in (tmp_path / "translated.jsonl").read_text("utf-8").splitlines()]
    assert [row["candidates"][0]["text"] for row in translated] == [*ENGLISH] * 4

    options = {
        "corpus": str(corpus),
        "multilingual": str(backbones["modernbert"]),
        "english": str(backbones["bert"]),
        "arca": {"epochs": 1, "batch_size": 4},
        "lasr": {"epochs": 1, "batch_size": 4},
    }
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(options))
    assert lira("train", "--config", tmp_path / "options.yaml", "--output", tmp_path / "run") == 0
    model = tmp_path / "run" / "model"
    assert lira("evaluate", model, "--corpus", corpus, "--output", tmp_path / "figures.json") == 0
    assert set(SOLD) <= set(str((tmp_path / "figures.json").read_text()).replace('"', " ").split())
    loaded = LiraModel.from_pretrained(model)
    assert list(loaded.config.languages or ()) == [*SOLD, "en"]
    with serving(loaded) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        asked = {"language": ["km-KH", "lo", "my", "ta"], "candidates": [[ENGLISH[0]]] * 4}
        answer = client.embeddings.create(model="", input=[names[0] for names in SOLD.values()], extra_body=asked)
    assert len({tuple(item.embedding) for item in answer.data}) == 4


def test_prompts_of_a_language_without_examples_show_those_of_the_others() -> None:
    assert language_name("km") == "Khmer" and language_name("zh-TW") == "Traditional Chinese"
    prompt = few_shot("km", to_english=True)
    assert prompt.endswith("\n\nKhmer:") and prompt.count("Khmer") == 1 and prompt.startswith("Vietnamese: ")
    assert few_shot("tl", to_english=False) == few_shot("fil", to_english=False)
    assert misworded("km", "ស្បែកជើង", "shoes") < misworded("km", "ស្បែកជើង", "xqz 9 wvu " * 5)


def test_letters_tell_languages_and_the_rest_is_left_to_what_the_identifier_knows() -> None:
    texts = [(names[1], ()) for names in SOLD.values()]
    assert tell_languages(texts, [*SOLD, "en"]) == list(SOLD)
    assert tell_languages([("chaussures pour femme pas cher", ()), ("cheap shoes", ())], ("fr", "en")) == ["fr", "en"]
    assert tell_languages([("লাল শাড়ি", ())], ("bn", "as")) == ["bn"]


def test_words_are_runs_of_letters_where_no_spaces_are_written() -> None:
    assert tokens(SOLD["ta"][0], "ta") == SOLD["ta"][0].split()
    assert all(max(map(len, tokens(SOLD[code][0], code))) == 3 for code in ("km", "lo", "my"))
    assert [code for code in ("zh", "ja", "bo", "km", "ko", "hi", "vi") if is_unspaced(code)] == [
        "zh",
        "ja",
        "bo",
        "km",
    ]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("vi-VN", "vi"), ("tgl", "fil"), ("khm_Khmr", "km"), ("zh-TW", "zh-Hant"), ("zh_Hans_CN", "zh"),
        ("sr-Latn-RS", "sr-Latn"), ("MY", "my"), ("Khmer", "km"), ("Bengali", "bn"), ("nb", "no"), ("ceb", "ceb"),
    ],
)  # fmt: skip
def test_every_tag_of_a_language_has_one_code(given: str, code: str) -> None:
    assert known_language(given) == code and is_language(code)


@pytest.mark.parametrize("given", ["", "xx", "und", "en-Qqqq", "vn"])
def test_what_is_no_language_is_refused(given: str) -> None:
    with pytest.raises(LiraError, match=r"unknown language .* give a BCP 47 code"):
        known_language(given)


def test_a_tag_means_the_known_code_that_is_closest() -> None:
    assert match_language("zh-TW", {"zh", "zh-Hant"}) == "zh-Hant" and match_language("zh-TW", {"zh"}) == "zh"
    assert match_language("tl", ("fil",)) == "fil" and match_language("km", ("lo",)) is None
    assert code_with_script("my") == "mya-Mymr" and code_with_script("ms") == "zsm-Latn"


def test_letters_have_the_names_that_unicode_gives_them() -> None:
    """Against Unicode's own property, of every script that some language is usually written in."""
    letters: dict[str, str] = {}  # one for each way in which letters' names begin
    for char in map(chr, range(0x30000)):
        if unicodedata.category(char)[0] == "L":
            letters.setdefault(unicodedata.name(char, "?").split()[0].casefold(), char)
    usual = {tag.split("_")[1]: code for code, tag in get_global("likely_subtags").items() if code.isalpha()}
    joined = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hira", "Kore": "Hang", "Aran": "Arab"}
    unlike = []
    for script, language in usual.items():
        try:
            of_script = regex.compile(rf"\p{{Script={joined.get(script, script)}}}")
        except regex.error:
            continue  # newer than the library's Unicode
        names = {name for name, letter in letters.items() if of_script.match(letter)}
        if names and not names & letters_of(language):
            unlike.append((script, language, sorted(names)[:3]))
    assert not unlike


def test_a_config_takes_any_code_and_a_tag_finds_it(build_model: Callable[..., LiraModel]) -> None:
    model = build_model(languages=["km", "zh-Hant", "en"])
    assert model.processor.check_languages(["km-KH", "zh-Hant-TW", None], 3) == ["km", "zh-Hant", None]
    with pytest.raises(LiraError, match="language 'zh-TW' is not in the model's config"):
        model.processor.check_languages("zh-TW", 1)
