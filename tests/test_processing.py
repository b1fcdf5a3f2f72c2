"""Texts, candidates, languages and scores into tensors; bad input into one clear error."""

import json
import unicodedata

import numpy as np
import pytest
import torch
from conftest import MULTILINGUAL_TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lira import LiraError, LiraProcessor
from modeling_lira.configuration_lira import LANGUAGES
from modeling_lira.errors import is_blank
from modeling_lira.processing_lira import normalise

TEXTS = list(MULTILINGUAL_TEXTS[:3])


@pytest.fixture(scope="module")
def processor(tiny_model) -> LiraProcessor:
    return tiny_model.processor


def with_prefixes(processor: LiraProcessor) -> LiraProcessor:
    return LiraProcessor(
        processor.tokenizer,
        processor.english_tokenizer,
        query_prefix="query: ",
        document_prefix="passage: ",
        english_query_prefix="ask: ",
        english_document_prefix="say: ",
    )


# ---------------------------------------------------------------- tensors


def test_names_and_shapes(processor):
    batch = processor(TEXTS, candidates=[["white shirt"], [], ["a", "b"]], languages=["vi", "th", None])
    length = batch["input_ids"].shape[1]
    assert set(batch) == set(processor.model_input_names)
    assert batch["attention_mask"].shape == (3, length)
    assert batch["english_input_ids"].shape == batch["english_attention_mask"].shape
    assert batch["english_input_ids"].shape[:2] == (3, 2)
    assert batch["candidate_mask"].tolist() == [[True, False], [False, False], [True, True]]
    assert batch["critic_scores"].shape == (3, 2, 3) and batch["critic_scores"].isnan().all()
    assert batch["language_ids"].tolist() == [1, 2, 0]


def test_without_candidates_there_is_no_english_tensor(processor):
    for candidates in (None, [[], [], []]):
        batch = processor(TEXTS, candidates=candidates)
        assert set(batch) == {"input_ids", "attention_mask", "language_ids"}
        assert batch["language_ids"].tolist() == [0, 0, 0]


def test_one_text_is_a_batch_of_one(processor):
    assert processor("white shirt", languages="en")["input_ids"].shape[0] == 1


def test_each_candidate_lands_in_its_own_place(processor):
    rows = [["red shirt"], ["cheap phone", "old phone"], []]
    batch = processor(TEXTS, candidates=rows)
    for row, texts in enumerate(rows):
        for column in range(2):
            tokens = batch["english_input_ids"][row, column][batch["english_attention_mask"][row, column].bool()]
            expected = processor.english_tokenizer(texts[column])["input_ids"] if column < len(texts) else []
            assert tokens.tolist() == expected
    assert (batch["english_input_ids"][2] == processor.english_tokenizer.pad_token_id).all()


def test_prefixes_by_kind_and_path(processor):
    prefixed = with_prefixes(processor)
    for kind, prefix, english in (("query", "query: ", "ask: "), ("document", "passage: ", "say: ")):
        batch = prefixed("áo", candidates=[["shirt"]], kind=kind)
        assert batch["input_ids"].tolist() == [processor.tokenizer(prefix + "áo")["input_ids"]]
        assert batch["english_input_ids"].tolist() == [[processor.english_tokenizer(english + "shirt")["input_ids"]]]


def test_language_ids_follow_the_order_of_the_config(processor):
    assert processor.language_ids(LANGUAGES).tolist() == list(range(1, len(LANGUAGES) + 1))
    other = LiraProcessor(processor.tokenizer, processor.english_tokenizer, languages=["bn", "vi"])
    assert other.language_ids(["vi", None, "bn"]).tolist() == [2, 0, 1]


def test_one_language_counts_for_every_text(processor):
    assert processor(TEXTS, languages="ur")["language_ids"].tolist() == [5, 5, 5]


def test_an_english_text_without_candidates_is_its_own_translation(processor):
    for candidates in (None, [[], []]):
        batch = processor(["white shirt", "áo"], candidates=candidates, languages=["en", "vi"])
        assert batch["candidate_mask"].tolist() == [[True], [False]]
        tokens = batch["english_input_ids"][0, 0][batch["english_attention_mask"][0, 0].bool()]
        assert tokens.tolist() == processor.english_tokenizer("white shirt")["input_ids"]
    given = processor(["white shirt"], candidates=[["blouse"]], languages="en")
    assert given["english_input_ids"][0, 0].tolist() == processor.english_tokenizer("blouse")["input_ids"]
    blank = processor(["", "white shirt"], languages="en", allow_blank=True)
    assert blank["candidate_mask"].tolist() == [[False], [True]]  # nothing is no translation of nothing


def test_scores_are_padded_with_nan(processor):
    scores = [[[1, 2, 3]], [], [[4, 5, 6], [float("nan"), 8, 10]]]
    batch = processor(TEXTS, candidates=[["a"], [], ["b", "c"]], critic_scores=scores)
    scores = batch["critic_scores"].nan_to_num(nan=-1).tolist()
    assert scores == [[[1, 2, 3], [-1] * 3], [[-1] * 3] * 2, [[4, 5, 6], [-1, 8, 10]]]


def test_a_text_for_which_no_critic_spoke_has_an_empty_row_of_scores(processor):
    batch = processor(TEXTS[:2], candidates=[["a"], ["b"]], critic_scores=[[], [[1, 1, 1]]])
    assert batch["critic_scores"].isnan()[:, 0, 0].tolist() == [True, False]


def test_long_texts_are_cut_to_the_shorter_of_both_limits(processor):
    text = "white shirt " * 300
    batch = processor([text], candidates=[[text]])
    assert batch["input_ids"].shape[1] == 64  # xlm-roberta: 66 positions, two of them taken
    assert batch["english_input_ids"].shape[2] == 64
    short = LiraProcessor(processor.tokenizer, processor.english_tokenizer, max_length=7)
    assert short([text], candidates=[[text]])["english_input_ids"].shape[2] == 7


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.lists(st.sampled_from(["shirt", "phone", "a b c d e"]), max_size=4), min_size=1, max_size=5))
def test_mask_counts_the_candidates_that_were_given(tiny_model, rows):
    batch = tiny_model.processor(["áo"] * len(rows), candidates=rows)
    if any(rows):
        assert batch["candidate_mask"].sum(1).tolist() == [len(row) for row in rows]
        assert torch.equal(batch["english_attention_mask"].any(-1), batch["candidate_mask"])
    else:
        assert "candidate_mask" not in batch


# ---------------------------------------------------------------- bad input

ONE = ["áo"]
BAD_INPUT = {
    "no text": ({"texts": []}, "texts is empty"),
    "not a text": ({"texts": 7}, "got 7"),
    "number among texts": ({"texts": ["áo", 7]}, "text 1 must be str, got 7"),
    "bytes": ({"texts": [b"shirt"]}, "b'shirt'"),
    "empty text": ({"texts": ["áo", ""]}, "text 1 is empty"),
    "blank text": ({"texts": [" \n"]}, r"' \n'"),
    "unknown language": ({"texts": ONE, "languages": "tl"}, "'tl' is not in the model's config; it knows vi, th"),
    "unknown language of one text": ({"texts": ["áo"] * 2, "languages": ["vi", "xx"]}, "(text 1)"),
    "language that is no code": ({"texts": ["áo"] * 2, "languages": ["vi", 3]}, "language 3 is not in the model's"),
    "a number in place of languages": ({"texts": ONE, "languages": 3}, "got 3"),
    "no text at all": ({"texts": ["áo", None]}, "text 1 must be str, got None"),
    "an array without dimensions": ({"texts": np.array("áo")}, "texts must be str or a sequence"),
    "a mapping in place of texts": ({"texts": {"áo": 1}}, "texts must be str or a sequence"),
    "invisible text": ({"texts": ["áo", "phone", "\u200b\ufeff"]}, "text 2 is empty"),
    "invisible candidate": ({"texts": ["áo"] * 2, "candidates": [["a"], ["\xad"]]}, "text 1 has an empty candidate"),
    "a number in place of scores": ({"texts": ONE, "candidates": [["a"]], "critic_scores": 5}, "got 5"),
    "too few languages": ({"texts": ["áo"] * 3, "languages": ["vi"]}, "1 languages for 3 texts"),
    "unknown kind": ({"texts": ONE, "kind": "title"}, "'title'"),
    "candidates of the wrong length": ({"texts": ONE, "candidates": [["a"], ["b"]]}, "got 2 lists for 1 texts"),
    "a string in place of all candidates": ({"texts": ONE, "candidates": "shirt"}, "'shirt'"),
    "a string in place of a list": ({"texts": ONE, "candidates": ["shirt"]}, "candidates of text 0 must be a list"),
    "a number in place of all candidates": ({"texts": ONE, "candidates": 3}, "got 3"),
    "too many candidates": ({"texts": ONE, "candidates": [list("abcde")]}, "has 5 candidates; the model takes up to 4"),
    "empty candidate": ({"texts": ONE, "candidates": [["a", " "]]}, "empty candidate (' ')"),
    "candidate that is no text": ({"texts": ONE, "candidates": [[None]]}, "(None)"),
    "score too low": ({"texts": ONE, "candidates": [["a"]], "critic_scores": [[[1, 0.5, 3]]]}, "got 0.5"),
    "score too high": ({"texts": ONE, "candidates": [["a"]], "critic_scores": [[[1, 11, 3]]]}, "got 11"),
    "two scores": ({"texts": ONE, "candidates": [["a"]], "critic_scores": [[[1, 2]]]}, "(1, 2), not (1, 3)"),
    "flat scores": ({"texts": ONE, "candidates": [["a"]], "critic_scores": [[1, 2, 3]]}, "(3,), not (1, 3)"),
    "six flat scores": ({"texts": ONE, "candidates": [["a", "b"]], "critic_scores": [[1] * 6]}, "(6,), not (2, 3)"),
    "scores of another candidate": (
        {"texts": ONE, "candidates": [["a"]], "critic_scores": [[[1, 2, 3], [1, 2, 3]]]},
        "(2, 3), not (1, 3)",
    ),
    "scores without candidates": ({"texts": ONE, "critic_scores": [[[1, 2, 3]]]}, "(1, 3), not (0, 3)"),
    "ragged scores": ({"texts": ONE, "candidates": [["a", "b"]], "critic_scores": [[[1, 2, 3], [1]]]}, "three numbers"),
    "scores that are no numbers": ({"texts": ONE, "candidates": [["a"]], "critic_scores": [[["x", 2, 3]]]}, "'x'"),
    "scores of the wrong length": ({"texts": ONE, "candidates": [["a"]], "critic_scores": []}, "0 rows for 1 texts"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_clear_error_with_the_value(processor, arguments, message):
    with pytest.raises(LiraError) as caught:
        processor(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- nothing, in its many forms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "\xa0\u3000",
        "\u200b",
        "\u200c\u200d",
        "\ufeff",
        "\xad",
        "\0\x1b",
        "\ufe0f",
        "\u0301",
        "\u202e",
        "\u3164",
    ],
    ids=ascii,
)
def test_a_text_without_a_visible_character_is_blank(text):
    assert is_blank(text) and not is_blank(text + "a") and not is_blank("ก" + text)


@pytest.mark.parametrize("text", ["0", "?", "ó", "é", "া", "า", "😀", "\ue000", "\U0010ffff", "\u0600"], ids=ascii)
def test_a_text_with_a_visible_character_is_not_blank(text):
    assert not is_blank(text)


NOTHING = (None, float("nan"), np.float64("nan"))


@pytest.mark.parametrize("nothing", [*NOTHING, [], np.array([])], ids=repr)
def test_candidates_and_scores_that_are_missing_in_one_row(processor, nothing):
    arguments = {
        "texts": TEXTS,
        "candidates": [["a"], nothing, ["b"]],
        "critic_scores": [[[1, 2, 3]], nothing, nothing],
    }
    empty = {**arguments, "candidates": [["a"], [], ["b"]], "critic_scores": [[[1, 2, 3]], [], []]}
    expected = processor(**empty)
    for name, tensor in processor(**arguments).items():
        assert torch.equal(tensor.nan_to_num(nan=-1), expected[name].nan_to_num(nan=-1)), name


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_a_language_that_is_missing_is_not_told(processor, nothing):
    assert processor(TEXTS, languages=["vi", nothing, "th"])["language_ids"].tolist() == [1, 0, 2]
    assert processor(TEXTS, languages=nothing)["language_ids"].tolist() == [0, 0, 0]


def test_arrays_in_place_of_lists(processor):
    scores = np.full((2, 2, 3), np.nan)
    scores[0] = 7
    scores[1, 0] = 3  # the second text has one candidate: what lies beyond is padding
    given = processor(
        np.array(["áo", "phone"]),
        np.array([["a", "b"], ["c"]], dtype=object),
        np.array(["vi", "en"]),
        critic_scores=scores,
    )
    expected = processor(["áo", "phone"], [["a", "b"], ["c"]], ["vi", "en"], critic_scores=[[[7] * 3] * 2, [[3] * 3]])
    for name, tensor in expected.items():
        assert torch.equal(given[name].nan_to_num(nan=-1), tensor.nan_to_num(nan=-1)), name


# ---------------------------------------------------------------- one spelling

SPELLINGS = {
    "Vietnamese, decomposed": ("điện thoại cũ", unicodedata.normalize("NFD", "điện thoại cũ")),
    "Vietnamese, as Windows-1258 has it": ("ề", "\xea\u0300"),
    "Thai sara am, in two pieces": ("น้ำ", "น\u0e49\u0e4d\u0e32"),
    "Thai sara am, nikhahit before the tone mark": ("น้ำ", "น\u0e4d\u0e49\u0e32"),
    "Thai sara am, the tone mark last": ("น้ำ", "น\u0e33\u0e49"),
    "Thai tone mark before the vowel above": ("ที่", "ท\u0e48\u0e35"),
    "Thai tone mark after the vowel that follows": ("ก่า", "ก\u0e32\u0e48"),
    "Thai sara ae as two sara e": ("แม่", "\u0e40\u0e40ม\u0e48"),
    "Bengali vowel of two parts": ("বোতল", "ব\u09c7\u09beতল"),
    "Bengali letter with its dot": ("ড়", "\u09dc"),
    "Bengali dot after the vowel": ("শাড়ি", "শা\u09a1\u09bf\u09bc"),
    "Bengali chandrabindu before the vowel": ("চাঁদ", "চ\u0981\u09beদ"),
    "Urdu presentation forms": ("سلام", "\ufeb3\ufefc\ufee1"),
    "Urdu hamza on bari yeh": ("ۓ", "\u06d2\u0654"),
    "marks of direction": ("سلام", "\u200fس\u202aلام\u202c"),
    "soft hyphen": ("shirt", "sh\xadirt"),
    "byte order mark": ("áo", "\ufeffáo"),
    "ligature": ("office fluffy", "oﬃce ﬂuﬀy"),
    "full width": ("ABC 12%", "ＡＢＣ　１２％"),
    "zero-width space": ("white shirt", "white\u200bshirt"),
    "no-break space": ("white shirt", "white\xa0shirt"),
}


@pytest.mark.parametrize(("usual", "other"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings_that_look_alike_are_one_text_on_both_paths(processor, usual, other):
    assert normalise(other) == normalise(usual) and normalise(normalise(other)) == normalise(other)
    for path in ("multilingual", "english"):
        for kind in ("query", "document"):
            rows = [processor.tokenize([text], kind, path)["input_ids"].tolist() for text in (usual, other)]
            assert rows[0] == rows[1]


def test_a_usual_spelling_stays_as_it_is():
    joiners = ("ক্‌ষ", "র‍্যাব", "خوب‌صورت")  # which carry meaning
    for text in (*MULTILINGUAL_TEXTS, *joiners, "น้ำตาล เครื่องสำอาง ก๋วยเตี๋ยว สิทธิ์", "চাঁদ কাঁচা বোতল", "ế ợ ẵ", "😀👍🏽❤️"):
        assert normalise(text) == text


@pytest.mark.parametrize("path", ["multilingual", "english"])
@pytest.mark.parametrize("text", ["kemeja putih", "shirt " * 600, "áo </s> <mask>"], ids=["short", "cut", "special"])
def test_a_text_alone_has_the_tokens_that_the_tokenizers_own_call_gives(processor, path, text):
    tokenizer = processor.english_tokenizer if path == "english" else processor.tokenizer
    tokenizer.backend_tokenizer.enable_padding(length=700)  # as some published files say
    tokens = processor.tokenize([text], "query", path)
    expected = tokenizer([text], truncation=True, max_length=processor.longest(path), padding=True)
    for name, values in tokens.items():
        assert values.dtype == torch.int64 and values.tolist() == expected[name]
    pairs = processor.tokenize([text, text], "query", path)
    assert all(pairs[name].tolist() == [*values.tolist()] * 2 for name, values in tokens.items())


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    "fields",
    [
        {"max_length": 0},
        {"max_length": 2},
        {"max_length": -5},
        {"max_length": "64"},
        {"max_length": None},
        {"max_length": True},
        {"num_candidates": 0},
        {"num_candidates": "4"},
        {"languages": "vi"},
        {"languages": [1]},
        {"query_prefix": None},
        {"english_document_prefix": 3},
        {"english_model_type": None},
    ],
    ids=str,
)
def test_a_field_that_cannot_be(processor, fields, tmp_path):
    (name,) = fields
    with pytest.raises(LiraError, match=name):
        LiraProcessor(processor.tokenizer, processor.english_tokenizer, **fields)
    processor.save_pretrained(tmp_path)
    with pytest.raises(LiraError, match=name):
        LiraProcessor.from_pretrained(tmp_path, **fields)


# ---------------------------------------------------------------- saving


def test_round_trip(processor, tmp_path):
    first = LiraProcessor(
        processor.tokenizer,
        processor.english_tokenizer,
        max_length=33,
        num_candidates=2,
        languages=["bn", "en"],
        query_prefix="query: ",
        document_prefix="passage: ",
        english_query_prefix="q ",
        english_document_prefix="d ",
        english_model_type="bert",
    )
    first.save_pretrained(tmp_path)
    second = LiraProcessor.from_pretrained(tmp_path)
    fields = {name: value for name, value in vars(first).items() if isinstance(value, int | str | list)}
    assert len(fields) >= 8
    assert {name: getattr(second, name) for name in fields} == fields
    arguments = {"texts": "áo sơ mi", "candidates": [["white shirt"]], "languages": "bn"}
    for name, tensor in first(**arguments).items():
        assert torch.equal(second(**arguments)[name].nan_to_num(), tensor.nan_to_num())


def test_the_second_tokenizer_lies_in_its_own_folder_with_its_model_type(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "english_tokenizer" / "config.json").read_text())["model_type"] == "bert"
    loaded = LiraProcessor.from_pretrained(tmp_path)
    assert loaded.english_tokenizer.get_vocab() == processor.english_tokenizer.get_vocab()
    assert loaded.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    assert loaded.english_tokenizer.get_vocab() != loaded.tokenizer.get_vocab()


def test_tokenizers_are_the_only_attributes(processor):
    assert processor.get_attributes() == ["tokenizer", "english_tokenizer"]


def test_a_blank_english_text_is_no_candidate_of_itself(processor):
    batch = processor(["", "shirt"], None, "en", allow_blank=True)
    assert batch["candidate_mask"].tolist() == [[False], [True]]
    assert "candidate_mask" not in processor([" \u200b"], None, "en", allow_blank=True)
