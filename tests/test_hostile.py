"""Texts of any kind and repositories made to harm: an error or a right answer, never a crash or a hang."""

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS, disturb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close
from transformers import AutoModel

from modeling_lira import LiraError, LiraModel, processing_lira

TEXTS = list(MULTILINGUAL_TEXTS)
LONG = 1_000_000


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    return disturb(build_model(anchor_texts=TEXTS, query_prefix="query: ", document_prefix="passage: "))


@pytest.fixture(scope="module")
def folders(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model in both layouts."""
    root = tmp_path_factory.mktemp("hostile")
    model.save_pretrained(root / "whole")
    model.save_pretrained(root / "adapter", save_backbones=False)
    return {path.name: path for path in root.iterdir()}


# ---------------------------------------------------------------- texts

SCRIPTS = {
    "latin": "aáàảãạăằắẵâêôơưđzñ",
    "thai": "กขคงจฉชซญดตนบปผพมยรลวสหอะาิีึืุูเแโใไ่้๊๋็์",
    "bengali": "অআইউএওকখগঘচছজটডতদনপবভমযরলশষসহািীুূেৈোৌ্ংঁ",
    "arabic": "ابپتٹثجچحخدڈذرڑزژسشصضطظعغفقکگلمنںوہھءیے",
    "devanagari": "अआइईउऊकखगघचछजझटठडढतथदधनपफबभमयरलवशषसहािीुू्ं",
    "han": "电话手机衣服白色黑色大小",
    "kana": "かなカナー",
    "hangul": "전화옷검정",
    "cyrillic": "абвгдежзийклмн",
    "greek": "αβγδεζηθ",
    "hebrew": "אבגדהוזח",
    "tamil": "அஆஇகஙசடதநபமயரலவ",
    "khmer": "កខគឃងចឆជឈញ្ាិី",
    "emoji": "😀👩‍👩‍👧‍👦🇻🇳👍🏽❤️",
    "controls": "\0\x01\x1b\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\ufffd",
    "halves": "\ud83d\ude00\udc00\udfff\ud800",
    "spaces": " \t\n\u3000\xa0\u2028",
}
"""Characters of the project's scripts, of others, and of none."""

WORDS = st.one_of([st.text(alphabet, min_size=1, max_size=12) for alphabet in SCRIPTS.values()])
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=30)  # surrogates and unassigned included
A_TEXT = st.one_of(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), ANYTHING).filter(
    lambda text: not processing_lira.is_blank(text)
)


@st.composite
def batches(draw: st.DrawFn) -> dict[str, list]:
    """Texts with languages and candidates."""
    texts = draw(st.lists(A_TEXT, min_size=2, max_size=6))
    codes = st.one_of(st.none(), st.sampled_from(["vi", "th", "id", "ms", "ur", "bn", "fil", "en"]))
    return {
        "texts": texts,
        "languages": draw(st.lists(codes, min_size=len(texts), max_size=len(texts))),
        "candidates": draw(st.lists(st.lists(A_TEXT, max_size=2), min_size=len(texts), max_size=len(texts))),
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=batches(), batch_size=st.integers(1, 4), data=st.data())
def test_texts_of_all_scripts(model, batch, batch_size, data):
    """Finite, of unit length, in the order of the texts, whatever the batch."""
    embeddings = model.encode_query(**batch)
    assert embeddings.shape == (len(batch["texts"]), model.config.embedding_size)
    assert embeddings.isfinite().all()
    assert_close(embeddings.norm(dim=-1), torch.ones(len(embeddings)), atol=1e-5, rtol=0)
    assert_close(model.encode_query(**batch, batch_size=batch_size), embeddings, atol=1e-5, rtol=0)
    order = data.draw(st.permutations(range(len(embeddings))))
    shuffled = {name: [values[row] for row in order] for name, values in batch.items()}
    assert_close(model.encode_query(**shuffled), embeddings[list(order)], atol=1e-5, rtol=0)
    forward = model(**model.processor(**batch)).sentence_embedding
    assert_close(forward.detach(), embeddings, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "text",
    [
        "áo\0thun",
        "\ud83d áo",
        "\udc00",
        "\u202eabc",
        "😀",
        "👩‍👩‍👧‍👦" * 50,
        "\u200báo\ufeff",
        "\uffff",
        "\ue000",
        "\U0010ffff",
        "a" + "\u0301" * 1_000,
        "[CLS] [SEP] [MASK] <s> </s> <pad> [PAD]",
        "{{7*7}} ${HOME} `id` $(id) %s%n {0}",
    ],
    ids=ascii,
)
def test_a_strange_text(model, text):
    alone = model.encode_document([text], "vi", [[text]])
    assert alone.isfinite().all()
    assert_close(alone.norm(dim=-1), torch.ones(1))
    among = model.encode_document(["áo", text, "điện thoại"], "vi", [["shirt"], [text], []])
    assert_close(among[1:2], alone, atol=1e-5, rtol=0)


def test_half_a_character_is_a_replacement_character_and_two_halves_are_the_character(model):
    assert_close(model.encode_query("áo \ud83d"), model.encode_query("áo \ufffd"))
    assert_close(model.encode_query("áo \ud83d\ude00"), model.encode_query("áo 😀"))


@pytest.mark.parametrize("word", ["áo thun ", "a", "เสื้อ", "\0x", "😀", "x\u0301", " \n x"], ids=ascii)
def test_a_megabyte(model, word):
    """It counts as far as its first tokens, and the rest is not even tokenized."""
    text = (word * (LONG // len(word)))[:LONG]
    beginning = text[: processing_lira._CHARACTERS_PER_TOKEN * 64]
    long = model.encode_query([text], candidates=[[text]])
    assert long.isfinite().all()
    assert_close(long, model.encode_query([beginning], candidates=[[beginning]]), atol=1e-5, rtol=0)


def test_a_megabyte_of_space_before_a_text(model):
    padded = " " * LONG + "áo thun"
    assert_close(model.encode_query(padded), model.encode_query("áo thun"), atol=1e-5, rtol=0)
    for nothing in (" ", "\0", "\u0301", "\u200b"):
        with pytest.raises(LiraError, match="text 0 is empty") as caught:
            model.encode_query(nothing * LONG)
        assert len(str(caught.value)) < 1_000


# ---------------------------------------------------------------- repositories


@pytest.fixture
def changed(folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Copy a folder with other values in its config; a dictionary changes a part of one."""

    def change(layout: str = "whole", **fields: object) -> Path:
        folder = shutil.copytree(folders[layout], tmp_path / layout)
        config = json.loads((folder / "config.json").read_text())
        for name, value in fields.items():
            config[name] = {**config[name], **value} if name.endswith("_config") and isinstance(value, dict) else value
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return change


SIZES = [
    ("hidden_size", 10**9),
    ("hidden_size", -48),
    ("num_hidden_layers", 10**7),
    ("num_hidden_layers", -1),
    ("num_hidden_layers", 0),
    ("num_attention_heads", 0),
    ("num_attention_heads", 10**9),
    ("vocab_size", 10**12),
    ("vocab_size", -5),
    ("intermediate_size", 10**12),
    ("intermediate_size", -3),
]


@pytest.mark.parametrize("layout", ["whole", "adapter"])
@pytest.mark.parametrize(("field", "value"), SIZES)
def test_a_backbone_of_absurd_size(changed, layout, field, value):
    folder = changed(layout, multilingual_config={field: value})
    with pytest.raises(LiraError, match=rf"{field} must be between 1 and \d+, got {value}"):
        LiraModel.from_pretrained(folder)


@pytest.mark.parametrize("path", ["multilingual", "english"])
@pytest.mark.parametrize(("field", "value"), [("num_hidden_layers", 10**7), ("vocab_size", -5)])
def test_an_absurd_backbone_elsewhere(backbones, folders, tmp_path, path, field, value):
    name = {"multilingual": "xlm-roberta", "english": "bert"}[path]
    other = shutil.copytree(backbones[name], tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(LiraError, match=f"{field} must be between 1 and"):
        LiraModel.from_pretrained(folders["adapter"], **{f"{path}_backbone": other})


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 10**9},
        {"num_feature_bins": -1},
        {"num_candidates": 10**9},
        {"num_fusion_layers": 10**9},
        {"languages": []},
        {"languages": "vi"},
        {"languages": {"vi": 1}},
        {"english_config": None},
        {"english_config": "bert"},
        {"english_config": {"model_type": "nonsense"}},
        {"english_config": {"model_type": "../bert"}},
        {"english_config": {"hidden_size": "wide"}},
        {"english_config": {"max_position_embeddings": 10**11}},
        {"hidden_size": 24},
        {"__class__": "os"},
    ],
    ids=str,
)
@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_a_config_that_makes_no_sense_is_an_error(changed, layout, fields):
    folder = changed(layout, **fields)
    with pytest.raises((ValueError, TypeError, RuntimeError, OSError, KeyError, AttributeError)):
        LiraModel.from_pretrained(folder)


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_unknown_fields_do_no_harm(changed, model, layout):
    folder = changed(layout, from_the_future=3, save_pretrained="x", encode_query=None)
    assert_close(LiraModel.from_pretrained(folder).encode_query(TEXTS), model.encode_query(TEXTS))


@pytest.mark.parametrize("path", ["multilingual", "english"])
@pytest.mark.parametrize("name", ["../{}", "./../{}", "someone/../../{}"])
def test_a_backbone_path_that_climbs_is_refused(changed, backbones, tmp_path, monkeypatch, path, name):
    """Even where it leads to a backbone that would fit."""
    shutil.copytree(backbones["xlm-roberta" if path == "multilingual" else "bert"], tmp_path / "outside")
    (tmp_path / "here" / "someone").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    folder = changed("adapter", **{f"{path}_backbone": name.format("outside")})
    with pytest.raises(LiraError, match=rf"{path}_backbone in the config must be a Hub id or a full path"):
        LiraModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["~/x", "file:///etc", "https://example.org/x", "a/b/c", "", "\0", "x" * 5_000])
def test_a_backbone_name_that_is_none(changed, name):
    with pytest.raises(LiraError):
        LiraModel.from_pretrained(changed("adapter", english_backbone=name))


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.mark, "opened")


PICKLES = ["pytorch_model.bin", "model.pt", "model.pkl", "adapter_model.bin", "training_args.bin", "tokenizer.pkl"]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Put pickles into a folder; whoever opens one fails the test."""
    mark = tmp_path / "mark"

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a pickle was opened")

    for owner, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(owner, name, refuse)

    def put(folder: Path) -> None:
        for name in PICKLES:
            (folder / name).write_bytes(pickle.dumps(Trap(mark)))

    yield put
    assert not mark.exists()


@pytest.mark.parametrize("layout", ["whole", "adapter"])
@pytest.mark.parametrize("load", [LiraModel.from_pretrained, AutoModel.from_pretrained])
def test_no_pickle_of_a_repository_is_opened(changed, model, trap, layout, load):
    folder = changed(layout)
    trap(folder)
    assert_close(load(folder).encode_query(TEXTS), model.encode_query(TEXTS))
    (folder / "model.safetensors").unlink()
    for arguments in ({}, {"use_safetensors": False}):
        with pytest.raises((OSError, LiraError), match=r"safetensors"):
            load(folder, **arguments)


def test_no_pickle_of_a_backbone_is_opened(folders, backbones, tmp_path, trap):
    other = shutil.copytree(backbones["bert"], tmp_path / "other")
    trap(other)
    LiraModel.from_pretrained(folders["adapter"], english_backbone=other)
    (other / "model.safetensors").unlink()
    for call in (
        lambda: LiraModel.from_pretrained(folders["adapter"], english_backbone=other),
        lambda: LiraModel.from_backbones(backbones["xlm-roberta"], other, anchor_texts=TEXTS),
    ):
        with pytest.raises(LiraError, match="other"):
            call()


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_no_pickle_of_lora_weights_is_opened(folders, tmp_path, trap, layout):
    settings = LoraConfig(target_modules=r".*_encoder\..*\.query", task_type="FEATURE_EXTRACTION", r=2)
    get_peft_model(LiraModel.from_pretrained(folders[layout]), settings).save_pretrained(tmp_path / "lora")
    trap(tmp_path / "lora")
    LiraModel.from_pretrained(tmp_path / "lora")
    (tmp_path / "lora" / "adapter_model.safetensors").unlink()
    with pytest.raises(LiraError, match=r"has no adapter_model\.safetensors"):
        LiraModel.from_pretrained(tmp_path / "lora")


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x04N.", b"\xff" * 100, (10**18).to_bytes(8, "little") + b"{}"])
@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_weights_that_are_none(changed, layout, content):
    folder = changed(layout)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(LiraError, match=r"checkpoint .* is damaged"):
        LiraModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"'])
def test_files_that_are_not_what_their_name_says(changed, name, content):
    folder = changed()
    (folder / name).write_text(content)
    with pytest.raises(Exception) as caught:  # noqa: PT011, RUF100  # of whichever library reads it
        LiraModel.from_pretrained(folder).encode_query("áo")
    assert not isinstance(caught.value, MemoryError | RecursionError)
