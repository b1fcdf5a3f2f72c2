"""Search in folders of other people's texts: what is read, what is scored, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from eval.__main__ import app
from eval.benchmarks.unseen import CLDR, XQUAD, cldr_splits, measure_unseen, run_unseen, unseen_tables, xquad_splits
from eval.record import read_record, weights_of
from modeling_lira import LiraError, LiraModel
from modeling_lira.cli import run
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.evaluation.comparison import ENCODER, LIRA, LIRA_FREE, TRANSLATE
from modeling_lira.evaluation.metrics import ndcg

ENGLISH = ["white shirt", "used phone", "red rice", "small bottle", "warm blanket", "new camera"]
QUESTIONS = {
    "en": [f"where is the {name}?" for name in ENGLISH],
    "vi": ["áo trắng ở đâu?", "điện thoại cũ?", "gạo đỏ?", "chai nhỏ?", "chăn ấm?", "máy ảnh mới?"],
    "th": ["เสื้อสีขาว", "โทรศัพท์เก่า", "ข้าวแดง", "ขวดเล็ก", "ผ้าห่ม", "กล้องใหม่"],
}
KEYWORDS = {"vi": ["áo", "điện thoại", "gạo", "chai"], "bn": ["শার্ট", "ফোন", "চাল", "বোতল"]}


@pytest.fixture(scope="module")
def xquad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six questions on three paragraphs, two a paragraph."""
    folder = tmp_path_factory.mktemp("xquad")
    for code, questions in QUESTIONS.items():
        paragraphs = [
            {
                "context": f"{code}: {ENGLISH[2 * number]} and {ENGLISH[2 * number + 1]}",
                "qas": [{"id": f"q{row}", "question": questions[row]} for row in (2 * number, 2 * number + 1)],
            }
            for number in range(3)
        ]
        articles = [{"paragraphs": paragraphs[:2]}, {"paragraphs": paragraphs[2:]}]
        (folder / f"xquad.{code}.json").write_text(json.dumps({"data": articles}))
    return folder


@pytest.fixture(scope="module")
def cldr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four things with names in English; the last has no keywords in Bengali, a fifth no English name."""
    folder = tmp_path_factory.mktemp("cldr")
    tables = {"en": {f"c{number}": {"tts": [name]} for number, name in enumerate(ENGLISH[:4])}}
    for code, words in KEYWORDS.items():
        tables[code] = {f"c{number}": {"tts": [word], "default": [word, "x"]} for number, word in enumerate(words)}
    del tables["bn"]["c3"]["default"]
    tables["vi"]["c9"] = {"tts": ["lạ"], "default": ["lạ"]}
    for code, rows in tables.items():
        path = folder / "annotations" / code / "annotations.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"annotations": {"annotations": rows}}))
    return folder


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Translations of five Thai questions of six; the second of each is wrong."""
    path = tmp_path_factory.mktemp("candidates") / "scored.jsonl"
    rows = [
        {
            "text": text,
            "language": "th",
            "candidates": [
                {"text": ENGLISH[row], "agent": "a", "semantic": 8.0, "emotional": 5.5, "pragmatic": None},
                {"text": "fresh fish", "agent": "a", "semantic": 2.0, "emotional": 5.5, "pragmatic": 1.0},
            ],
        }
        for row, text in enumerate(QUESTIONS["th"][:5])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def model(build_model: Callable[..., LiraModel]) -> LiraModel:
    torch.manual_seed(0)  # whatever ran before
    return build_model(num_feature_bins=2)


def test_xquad_asks_in_every_language_for_english_paragraphs(xquad: Path) -> None:
    splits = xquad_splits(xquad, ["th", "vi", "id", "en"])
    assert [split.language for split in splits] == ["th", "vi", "en"]
    for split in splits:
        assert split.titles == split.english_titles == [f"en: {ENGLISH[p]} and {ENGLISH[p + 1]}" for p in (0, 2, 4)]
        assert split.queries.texts == QUESTIONS[split.language]
        assert split.gains == [{0: 1}, {0: 1}, {1: 1}, {1: 1}, {2: 1}, {2: 1}]
    assert splits[2].queries.candidates == [[text] for text in QUESTIONS["en"]]
    assert splits[0].queries.candidates == [[]] * 6


def test_cldr_leaves_out_what_has_no_keywords_or_no_english_name(cldr: Path) -> None:
    for folder in (cldr, cldr / "annotations"):
        vi, bn = cldr_splits(folder, ["vi", "th", "bn", "en"])
        assert vi.queries.texts == ["áo x", "điện thoại x", "gạo x", "chai x"]
        assert bn.queries.texts == ["শার্ট x", "ফোন x", "চাল x"]
        assert bn.titles == ENGLISH[:4] and bn.gains == [{0: 1}, {1: 1}, {2: 1}]


def test_scores_are_those_of_the_models_own_encoding(
    model: LiraModel, xquad: Path, cldr: Path, candidates: Path, tmp_path: Path
) -> None:
    sets = unseen_tables(model, StreamCache(tmp_path), xquad, cldr, candidates)
    measured = measure_unseen(model, sets, samples=200)
    paragraphs = sets[XQUAD][0].split.english_titles
    documents, gains = model.encode_document(paragraphs, "en"), torch.eye(3).repeat_interleave(2, 0)
    texts, given = QUESTIONS["th"], sets[XQUAD][1].split.queries
    assert given.languages[0] == "th" and given.candidates[5] == []
    expected = {
        LIRA: model.encode_query(texts, "th", given.candidates, given.scores),
        LIRA_FREE: model.encode_query(texts, "th"),
    }
    scores = measured[XQUAD]["ndcg@10"]
    for name, queries in expected.items():
        assert scores[name]["th"] == pytest.approx(float(ndcg(queries @ documents.T, gains).mean()), abs=1e-6)
    alone = [F.normalize(model.encode_streams(part, "multilingual", kind).mean(1), dim=-1)
             for part, kind in ((texts, "query"), (paragraphs, "document"))]  # fmt: skip
    assert scores[ENCODER]["th"] == pytest.approx(float(ndcg(alone[0] @ alone[1].T, gains).mean()), abs=1e-6)
    assert scores[LIRA]["en"] == scores[LIRA_FREE]["en"]  # an English text is its own translation
    assert scores[ENCODER]["mean"] == pytest.approx((scores[ENCODER]["vi"] + scores[ENCODER]["th"]) / 2)
    assert measured[XQUAD]["gap_to_english"][LIRA] == pytest.approx(scores[LIRA]["en"] - scores[LIRA]["th"])
    assert measured[XQUAD]["with_candidates"] == {"vi": 0, "th": 5, "en": 6}
    assert "vi" not in scores[LIRA] and "vi" in scores[LIRA_FREE]  # no question in it has a translation
    assert set(measured[CLDR]["ndcg@10"]) == {ENCODER, LIRA_FREE}


def test_differences_are_paired_and_corrected_for_all_of_them(
    model: LiraModel, xquad: Path, cldr: Path, candidates: Path, tmp_path: Path
) -> None:
    sets = unseen_tables(model, StreamCache(tmp_path), xquad, cldr, candidates)
    measured = measure_unseen(model, sets, samples=200)
    differences = measured[XQUAD]["differences"]
    assert set(differences) == {
        f"{LIRA} against {ENCODER}", f"{LIRA} against {TRANSLATE}", f"{LIRA} against {LIRA_FREE}",
        f"{LIRA_FREE} against {ENCODER}",
    }  # fmt: skip
    differences_of, means = differences[f"{LIRA} against {ENCODER}"], measured[XQUAD]["ndcg@10"]
    assert list(differences_of) == ["th", "mean"] and differences_of["th"]["count"] == 6
    assert differences_of["th"]["mean"] == pytest.approx(means[LIRA]["th"] - means[ENCODER]["th"])
    assert differences_of["th"]["corrected_p"] >= differences_of["th"]["p"]
    assert set(measured[CLDR]["differences"]) == {f"{LIRA_FREE} against {ENCODER}"}


def test_the_same_question_in_two_languages_counts_once(
    model: LiraModel, xquad: Path, cldr: Path, tmp_path: Path
) -> None:
    sets = unseen_tables(model, StreamCache(tmp_path), xquad, cldr)
    assert [tables.split.questions for tables in sets[XQUAD]] == [[f"q{row}" for row in range(6)]] * 3
    assert [tables.split.questions for tables in sets[CLDR]] == [["c0", "c1", "c2", "c3"], ["c0", "c1", "c2"]]
    measured = measure_unseen(model, sets, samples=200)
    for name, rows, questions in ((XQUAD, 12, 6), (CLDR, 7, 4)):
        mean = measured[name]["differences"][f"{LIRA_FREE} against {ENCODER}"]["mean"]
        assert (mean["count"], mean["questions"]) == (rows, questions)


@pytest.fixture(scope="module")
def saved(model: LiraModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


def test_the_command_writes_a_record_and_runs_again_without_encoding(
    saved: Path, xquad: Path, cldr: Path, candidates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = (str(saved), tmp_path / "streams", xquad, cldr, candidates, ["th", "vi"], tmp_path)
    first = run_unseen(*order)
    record = read_record(tmp_path / "generalisation.json", "generalisation")
    assert record.payload == {"model": saved.name, "weights": [weights_of(str(saved))], "sets": first}
    monkeypatch.setattr(LiraModel, "encode_streams", lambda *_: pytest.fail("a text was encoded again"))
    assert run_unseen(*order) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--xquad", "XQUAD", "--languages", "th,fr"], "the model does not know language 'fr'"),
        ([], "nothing to search"),
        (["--cldr", "nowhere"], "annotations.json does not exist"),
        (["--xquad", "nowhere"], "xquad.en.json does not exist"),
        (["--xquad", "XQUAD", "--candidates", "none.jsonl"], "no input file 'none.jsonl'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    options: list[str], message: str, saved: Path, xquad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(xquad) if option == "XQUAD" else option for option in options]
    with pytest.raises(SystemExit) as left:
        run(app, "python -m eval", ["generalisation", "--model", str(saved), *given])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_other_peoples_translations_and_damaged_files_are_named(xquad: Path, tmp_path: Path) -> None:
    with pytest.raises(LiraError, match="candidates are not of XQuAD's questions"):
        xquad_splits(xquad, ["th"], {("th", "something else"): []})
    with pytest.raises(LiraError, match=r"no xquad\.<language>\.json of a language"):
        xquad_splits(xquad, ["id"])
    for content in ("{}", "[", '{"data": [{"paragraphs": [{"context": "a"}]}]}'):
        (tmp_path / "xquad.en.json").write_text(content)
        with pytest.raises(LiraError, match="is not in SQuAD's form"):
            xquad_splits(tmp_path, ["th"])
    rows = [{"context": "a", "qas": [{"id": "other", "question": "b"}]}]
    (tmp_path / "xquad.en.json").write_text(json.dumps({"data": [{"paragraphs": rows}]}))
    (tmp_path / "xquad.th.json").write_bytes((xquad / "xquad.th.json").read_bytes())
    with pytest.raises(LiraError, match="question 'q0' is not in the English file"):
        xquad_splits(tmp_path, ["th"])


def test_weights_that_are_not_finite_are_named(
    build_model: Callable[..., LiraModel], xquad: Path, tmp_path: Path
) -> None:
    broken = build_model(num_feature_bins=2)
    sets = unseen_tables(broken, StreamCache(tmp_path), xquad)
    with torch.no_grad():
        broken.arca.multilingual_projection.centre.fill_(float("nan"))
    with pytest.raises(LiraError, match="LiRA without translations gives a th query embedding that is not finite"):
        measure_unseen(broken, {XQUAD: [task for task in sets[XQUAD] if task.split.language == "th"]})
