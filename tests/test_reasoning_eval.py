"""`python -m eval questions|mgsm|mcqa`: systems, steps that are kept, numbers by hand, data in its forms, bad input."""

import json
import operator
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from tiny_language_models import opened, save_language_model

from eval.__main__ import app
from eval.answers import measure as reasoning
from eval.answers import mgsm, tasks
from eval.answers.mcqa import read_mcqa
from eval.answers.measure import Sources, chosen_examples, measure, with_candidates
from eval.answers.mgsm import EXEMPLARS, LABELS, mgsm_task, read_mgsm, read_shots, size_note
from eval.answers.numbers import extract_number
from eval.answers.summary import summarise
from eval.answers.tasks import (
    ALL_TRANSLATIONS,
    BARE,
    CORRECT,
    MAPPING,
    REFERENCE,
    TRANSLATED,
    UNMATCHED,
    Outcome,
    Task,
    choice_task,
    systems_of,
)
from eval.record import read_record
from eval.report.blocks import answers_block
from modeling_lira import LiraError, LiraForCausalLM
from modeling_lira.cli import run
from modeling_lira.data.questions import Example
from modeling_lira.evaluation.comparison import LIRA, LIRA_FREE
from modeling_lira.records.saved_model import load_reasoner

EXAMPLES = [
    Example("0", "vi", "áo sơ mi trắng?", ("white shirt?", "a shirt?"), "shirt", ("cheap phone", "shirt"), "shirt?"),
    Example("1", "vi", "điện thoại cũ?", (), "cheap phone", ("cheap phone", "shirt", "boys"), "used phone?"),
    Example("0", "bn", "সাদা শার্ট?", ("shirt?",), "shirt", ("cheap phone", "shirt"), "shirt?"),
    Example("0", "en", "white shirt?", (), "shirt", ("cheap phone", "shirt"), "white shirt?"),
]
LANGUAGES = ["vi", "th", "bn", "en"]


@pytest.fixture(scope="module")
def folders(build_model, tmp_path_factory) -> dict[str, Path]:
    """Saved models on one language model: two seeds of LiRA, a rival, and an embedding model."""
    root = tmp_path_factory.mktemp("models")
    language_model = save_language_model("llama", root / "llama", sharpness=2)
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        lira = build_model(num_feature_bins=3, languages=LANGUAGES)
        opened(LiraForCausalLM.from_lira(lira, language_model, projector_size=8)).save_pretrained(
            root / name, save_backbones=False
        )
    rival = LiraForCausalLM.from_lira(lira, language_model, projector_size=8, stream="multilingual")
    opened(rival).save_pretrained(root / "rival")
    lira.save_pretrained(root / "embedding", save_backbones=False)
    return {name: root / name for name in ("first", "second", "rival", "embedding")}


@pytest.fixture
def sources(folders) -> Sources:
    return Sources([str(folders["first"])], dtype="float32")


def write_questions(folder: Path, examples=EXAMPLES) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [{**vars(example), "answer": example.choices.index(example.answer)} for example in examples]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def called(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        run(app, "python -m eval", [str(argument) for argument in arguments])
    return int(done.value.code or 0)


# ---------------------------------------------------------------- systems and steps


def test_every_system_reads_what_its_name_says(sources, tmp_path):
    seen = {}

    def score(model, examples, texts, question):
        given = question(range(len(texts)))
        english = given["candidate_mask"].sum(1).tolist() if "candidate_mask" in given else [0] * len(texts)
        seen.setdefault(examples[0].language, []).append((list(texts), bool(given), english))
        return Outcome({CORRECT: [1] * len(texts)})

    names = [system.name for system in systems_of(EXAMPLES)]
    assert names == [BARE, TRANSLATED, ALL_TRANSLATIONS, REFERENCE, LIRA_FREE, LIRA]
    scores, details = measure(Task("t", score, CORRECT), EXAMPLES, sources, tmp_path / "streams", tmp_path)
    texts = ["áo sơ mi trắng?", "điện thoại cũ?"]
    assert seen["vi"] == [
        (texts, False, [0, 0]),
        (["white shirt?", "điện thoại cũ?"], False, [0, 0]),
        (["white shirt? / a shirt?", "điện thoại cũ?"], False, [0, 0]),
        (["shirt?", "used phone?"], False, [0, 0]),
        (texts, True, [0, 0]),
        (texts, True, [2, 0]),
    ]
    # An English question is its own translation and reference: one run of the language model serves all of them.
    assert seen["en"] == [(["white shirt?"], False, [0])] + [(["white shirt?"], True, [1])] * 2
    assert set(scores) == set(names) and set(scores[LIRA]) == {"vi", "bn", "en"}
    assert (
        details["parameters"] > 1000
        and details["dtype"] == "float32"
        and details["weights"].startswith("those of the model")
    )
    plain = [replace(example, candidates=(), english="") for example in EXAMPLES]
    assert [system.name for system in systems_of(plain)] == [BARE, LIRA_FREE]


def test_an_interrupted_run_goes_on(folders, tmp_path):
    calls = []

    def score(model, examples, texts, question):
        if len(calls) == 4:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append(examples[0].language)
        return Outcome({CORRECT: [1] * len(texts)}, ["ja"] * len(texts))

    task = Task("t", score, CORRECT)
    both = Sources([str(folders[name]) for name in ("first", "second")], [str(folders["rival"])], dtype="float32")
    vi = EXAMPLES[:2]
    with pytest.raises(KeyboardInterrupt):
        measure(task, vi, both, tmp_path / "streams", tmp_path)
    assert len(list((tmp_path / "steps").iterdir())) == 4
    scores, _ = measure(task, vi, both, tmp_path / "streams", tmp_path)
    # four systems of the language model alone, once for both models; LiRA twice for each; the rival
    assert len(calls) - 1 == 4 + 2 * 2 + 1
    assert len(scores[BARE]["vi"]) == len(scores[LIRA]["vi"]) == 2 and len(scores[MAPPING]["vi"]) == 1
    assert scores[LIRA]["vi"][1] == Outcome({CORRECT: [1, 1]}, ["ja", "ja"])
    measure(task, vi, both, tmp_path / "streams", tmp_path)
    assert len(calls) - 1 == 9
    measure(replace(task, settings={"shots": 8}), vi[:1], both, tmp_path / "streams", tmp_path)
    assert len(calls) - 1 == 18  # other settings, other questions


def test_likelihood_picks_the_likeliest_choice(sources, tmp_path):
    """Against the model's own loss on prompt and choice, for LiRA with translations and for the model alone."""
    scores, _ = measure(choice_task("own"), EXAMPLES, sources, tmp_path / "streams", tmp_path)
    model = load_reasoner(sources.models[0])
    for name in (BARE, LIRA):
        for position, example in enumerate(EXAMPLES[:2]):
            prompt = model.processor.tokenizer(f"Question: {example.question}\nAnswer:")["input_ids"]
            encoded = model.processor([example.question], [example.candidates], ["vi"])
            question = {key: item for key, item in encoded.items() if key not in ("input_ids", "attention_mask")}
            values = {"mean": [], "sum": []}
            for choice in example.choices:
                end = model.processor.tokenizer(f" {choice}", add_special_tokens=False)["input_ids"]
                labels = torch.tensor([[-100] * len(prompt) + end])
                with torch.no_grad():
                    loss = model(torch.tensor([prompt + end]), labels=labels, **(question if name == LIRA else {})).loss
                values["mean"].append(-float(loss))
                values["sum"].append(-float(loss) * len(end))
            for rule, ranks in values.items():
                expected = example.choices[ranks.index(max(ranks))] == example.answer
                assert scores[name]["vi"][0].measures[rule][position] == expected


def test_generated_answers_are_matched_with_the_choices(sources, tmp_path, monkeypatch):
    prompts = []

    def generated(model, ids, *rest, **named):
        prompts.extend(model.processor.tokenizer.decode(row, skip_special_tokens=True) for row in ids)
        return ["Shirt.", "(A)"][: len(ids)]

    monkeypatch.setattr(tasks, "generated", generated)
    for listed, second in ((False, (0, 1)), (True, (1, 0))):
        task = choice_task("own", "generation", listed=listed)
        scores, _ = measure(task, EXAMPLES[:2], sources, tmp_path / "streams", tmp_path / str(listed))
        outcomes = scores[BARE]["vi"][0]
        assert outcomes.measures == {CORRECT: [1, second[0]], UNMATCHED: [0, second[1]]}
        assert outcomes.answers == ["Shirt.", "(A)"]
    assert prompts[1] == "Question: điện thoại cũ?\nAnswer:"
    assert "Question: điện thoại cũ?\nA. cheap phone\nB. shirt\nC. boys\nAnswer:" in prompts


# ---------------------------------------------------------------- numbers


def test_numbers_by_hand():
    def outcomes(*runs):
        return [Outcome({"mean": list(run), "sum": [0] * len(run)}) for run in runs]

    scores = {
        BARE: {"vi": outcomes((0, 1, 0, 0)), "th": outcomes((0, 0)), "en": outcomes((1, 1))},
        MAPPING: {"vi": outcomes((1, 1, 0, 0)), "th": outcomes((1, 0)), "en": outcomes((1, 0))},
        LIRA_FREE: {
            "vi": outcomes((1, 1, 0, 0), (1, 1, 1, 0)),
            "th": outcomes((1, 1), (1, 0)),
            "en": outcomes((1, 1), (0, 1)),
        },
        LIRA: {
            "vi": outcomes((1, 1, 1, 0), (1, 1, 1, 1)),
            "th": outcomes((1, 1), (1, 1)),
            "en": outcomes((1, 1), (0, 1)),
        },
    }
    kinds = {"vi": ["size", "total", "size", "total"], "th": ["size", "size"], "en": ["total", "size"]}
    summary = summarise(scores, "mean", kinds)
    assert summary["languages"] == ["vi", "th"] and summary["questions"] == {"vi": 4, "th": 2, "en": 2}
    lira = summary["measures"]["mean"][LIRA]
    assert lira == pytest.approx({"vi": 0.875, "th": 1.0, "en": 0.75, "mean": 0.9375})
    assert summary["measures"]["sum"][LIRA]["mean"] == 0
    assert summary["deviation_over_models"][LIRA] == pytest.approx(0.125 / 2**0.5)  # 0.875 and 1
    assert summary["deviation_over_models"][BARE] == 0
    gain = summary["differences"][f"{LIRA} against {BARE}"]
    assert {code: difference["mean"] for code, difference in gain.items()} == pytest.approx(
        {"vi": 0.625, "th": 1.0, "mean": 0.8125}
    )
    assert gain["vi"]["low"] <= 0.625 <= gain["vi"]["high"] and gain["vi"]["count"] == 4
    assert summary["by_other_rule"]["sum"][f"{LIRA} against {BARE}"]["mean"]["mean"] == 0
    shown = answers_block({"payload": summary, "command": "python -m eval own"})
    assert "With `--rule sum` instead, LiRA's mean is 0.0; against language model alone +0.0 (+0.0 … +0.0)" in shown
    assert {f"{LIRA} against {MAPPING}", f"{LIRA_FREE} against {BARE}", f"{LIRA_FREE} against {MAPPING}"} < set(
        summary["differences"]
    )
    drop = summary["english"][f"{LIRA} against {BARE}"]
    assert set(drop) == {"en"} and drop["en"]["mean"] == pytest.approx(-0.25)
    assert summary["kinds"][BARE] == pytest.approx({"size": 0.0, "total": 0.5})
    only = summarise({name: {"en": by_language["en"]} for name, by_language in scores.items()}, "mean")
    assert only["languages"] == [] and only["differences"] == {} and only["english"]


def test_the_same_question_in_two_languages_counts_once():
    def outcomes(*values):
        return [Outcome({"mean": list(values), "sum": list(values)})]

    languages = ("vi", "th", "bn")
    right, wrong = [1, 1, 0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0, 1, 0]
    scores = {
        BARE: {code: outcomes(*wrong) for code in languages},
        LIRA: {code: outcomes(*right) for code in languages},
        LIRA_FREE: {code: outcomes(*right) for code in languages},
    }
    summary = summarise(scores, "mean", ids={key: [str(row) for row in range(8)] for key in languages})
    for pairs in (summary["differences"], summary["by_other_rule"]["sum"]):
        gain = pairs[f"{LIRA} against {BARE}"]
        assert (gain["mean"]["low"], gain["mean"]["high"]) == pytest.approx((gain["vi"]["low"], gain["vi"]["high"]))
        assert (gain["mean"]["count"], gain["mean"]["questions"]) == (24, 8)


def test_an_older_record_is_shown_with_a_warning():
    gain = {"mean": 0.1, "low": 0.05, "high": 0.15, "corrected_p": 0.01}
    payload = {
        "main": "mean", "measures": {"mean": {LIRA: {"vi": 0.5, "mean": 0.5}}}, "questions": {"vi": 100},
        "languages": ["vi"], "deviation_over_models": {}, "english": {},
        "differences": {f"{LIRA} against {BARE}": {"mean": gain}},
    }  # fmt: skip
    assert "too narrow" in answers_block({"payload": payload, "command": "c"})
    gain["questions"] = 100
    assert "too narrow" not in answers_block({"payload": payload, "command": "c"})


def test_own_questions_to_the_record(folders, tmp_path, capsys):
    data = write_questions(tmp_path / "questions")
    arguments = [
        "questions", "--data", data, "--model", folders["first"], "--model", folders["second"],
        "--rival", folders["rival"],
        "--languages", "bn", "vi", "en", "--limit", 1, "--dtype", "float32", "--streams", tmp_path / "streams",
        "--output", tmp_path / "own", "--records", tmp_path / "records",
    ]  # fmt: skip
    assert called(*arguments) == 0
    payload = read_record(tmp_path / "records" / "questions.json", "questions").payload
    assert payload["differences"][f"{LIRA} against {BARE}"]["mean"]["questions"] == 1  # "0", in both languages
    assert payload["questions"] == {"bn": 1, "vi": 1, "en": 1} and payload["languages"] == ["bn", "vi"]
    assert set(payload["measures"]) == {"mean", "sum"} and payload["main"] == "sum" and len(payload["weights"]) == 2
    assert set(payload["measures"]["mean"]) == {
        BARE, TRANSLATED, ALL_TRANSLATIONS, REFERENCE, LIRA, LIRA_FREE, MAPPING,
    }  # fmt: skip
    shown = capsys.readouterr().out
    assert "LiRA against language model alone" in shown and "numbers:" in shown
    files = set((tmp_path / "own" / "steps").iterdir())
    assert called(*arguments, "--rule", "mean") == 0  # scored already
    assert set((tmp_path / "own" / "steps").iterdir()) == files


# ---------------------------------------------------------------- MGSM


@pytest.fixture
def problems(tmp_path) -> Path:
    folder = tmp_path / "mgsm"
    folder.mkdir()
    (folder / "mgsm_th.tsv").write_text("เสื้อ 2 ตัว ราคา 3 บาท?\t6\nกี่ตัว?\t1,200\n", encoding="utf-8")
    (folder / "mgsm_en.tsv").write_text("Two shirts for 3 each?\t6\n", encoding="utf-8")
    return folder


def test_word_problems_are_read(problems):
    problems_read = read_mgsm(str(problems), ["th"])
    assert [(problem.language, problem.question, problem.answer) for problem in problems_read] == [
        ("th", "เสื้อ 2 ตัว ราคา 3 บาท?", "6"),
        ("th", "กี่ตัว?", "1,200"),
    ]
    assert {problem.language for problem in read_mgsm(str(problems))} == {"en", "th"}
    with pytest.raises(LiraError, match=r"has no mgsm_bn.tsv, only en, th"):
        read_mgsm(str(problems), ["bn"])
    (problems / "mgsm_bn.tsv").write_text("no tab here\n")
    with pytest.raises(LiraError, match=r"mgsm_bn.tsv line 1: expected a question, a tab and an answer"):
        read_mgsm(str(problems))
    (problems / "mgsm_bn.tsv").write_text("How many?\tnone\n")
    with pytest.raises(LiraError, match="bn row 1: expected a question and a number, got 'none'"):
        read_mgsm(str(problems))
    with pytest.raises(LiraError, match="is no folder; of a Hub dataset name the --languages"):
        read_mgsm("someone/mgsm")


def test_word_problems_of_the_hub(monkeypatch):
    worked = [{"question": f"โจทย์: {n}?", "answer": f"คำตอบทีละขั้นตอน: {n}: คำตอบคือ {n}"} for n in range(8)]
    rows = {"test": [{"question": "กี่ตัว?", "answer_number": 1200, "answer": None}], "train": worked}
    monkeypatch.setattr(mgsm, "load_rows", lambda name, config, split: rows[split])
    assert read_mgsm("someone/mgsm", ["th"]) == [Example("1", "th", "กี่ตัว?", (), "1200")]
    shots = read_shots("someone/mgsm", "th", 2)
    assert shots.labels == ("โจทย์", "คำตอบทีละขั้นตอน") and shots.source == "someone/mgsm, train"
    assert shots.text.startswith("โจทย์: 0?\nคำตอบทีละขั้นตอน: 0: คำตอบคือ 0\n\nโจทย์: 1?")
    with pytest.raises(LiraError, match="8 worked examples, 9 are needed"):
        read_shots("someone/mgsm", "th", 9)


def test_worked_examples(problems):
    ours = read_shots(str(problems), "th", 8)
    assert ours.labels == LABELS and ours.source == "ours, in English"
    assert ours.text.count("Question: ") == ours.text.count("The answer is") == 8
    (problems / "mgsm_th_exemplars.tsv").write_text("a: b?\t1\nc?\tit is: 2\n", encoding="utf-8")
    shots = read_shots(str(problems), "th", 2)
    assert shots.source == "mgsm_th_exemplars.tsv" and shots.labels == LABELS  # not all have labels: none is one
    assert shots.text == "Question: a: b?\nStep-by-Step Answer: 1\n\nQuestion: c?\nStep-by-Step Answer: it is: 2\n\n"
    assert {problem.language for problem in read_mgsm(str(problems))} == {"en", "th"}


def test_our_worked_examples_are_right():
    """Every sum comes to what is said, and the last is the answer."""
    operators = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
    for line in EXEMPLARS.read_text(encoding="utf-8").splitlines():
        answer = line.split("\t")[1]
        sums = re.findall(r"(\d[\d.]*(?: [-+*/] \d[\d.]*)+) = (\d+(?:\.\d+)?)", answer)
        assert sums and len(sums) == answer.count("=")
        for left, right in sums:
            total, *rest = left.split()
            total = Fraction(total)
            for sign, number in zip(rest[::2], rest[1::2], strict=True):
                total = operators[sign](total, Fraction(number))
            assert total == Fraction(right)
        assert extract_number(answer) == Fraction(sums[-1][1])


@pytest.mark.parametrize("shots", [0, 8])
def test_word_problems_to_the_record(folders, problems, tmp_path, capsys, shots, monkeypatch):
    calls = []

    def generated(model, ids, question, max_new_tokens, stops, prefix, batch_size):
        calls.append((len(ids), bool(question([0])), stops, len(prefix)))
        return ["The answer is 6.", "๑,๒๐๐"][: len(ids)]

    monkeypatch.setattr(mgsm, "generated", generated)
    assert called(
        "mgsm", "--data", problems, "--languages", "th", "en", "--model", folders["first"], "--shots", shots,
        "--dtype", "float32", "--streams", tmp_path / "s", "--output", tmp_path / "o", "--records", tmp_path / "r",
    ) == 0  # fmt: skip
    name = "mgsm-8-shot" if shots else "mgsm"
    payload = read_record(tmp_path / "r" / f"{name}.json", name).payload
    assert payload["measures"][CORRECT] == {BARE: dict.fromkeys(("th", "en", "mean"), 1.0),
                                          LIRA_FREE: dict.fromkeys(("th", "en", "mean"), 1.0)}  # fmt: skip
    assert payload["settings"]["exemplars"] == ({"th": "ours, in English", "en": "ours, in English"} if shots else {})
    assert [(count, given) for count, given, _, _ in calls] == [(2, False), (1, False), (2, True), (1, True)]
    assert all((prefix > 0) == bool(shots) and stops[0].startswith("\n") for *_, stops, prefix in calls)
    assert "score near zero" in capsys.readouterr().out and "score near zero" in payload["remark"]
    assert size_note(7_000_000_000) == ""


def test_word_problems_are_answered(folders, problems, tmp_path):
    """Nothing replaced, on a language model of so few positions that two worked examples fill half of them."""
    (problems / "mgsm_en_exemplars.tsv").write_text("1?\t1\n2?\t2\n", encoding="utf-8")
    sources = Sources([str(folders["first"])], dtype="bfloat16")
    task = mgsm_task(str(problems), ["en"], 2, max_new_tokens=4)
    scores, _ = measure(task, read_mgsm(str(problems), ["en"]), sources, tmp_path / "streams", tmp_path)
    assert all(len(by_language["en"][0].answers) == 1 for by_language in scores.values())


# ---------------------------------------------------------------- X-CSQA


ROW = {
    "id": "q1",
    "lang": "vi",
    "question": {"stem": "áo?", "choices": [{"label": "A", "text": "trắng"}, {"label": "B", "text": "cũ"}]},
    "answerKey": "B",
}


def test_multiple_choice_is_read(tmp_path):
    path = tmp_path / "X-CSQA" / "vi" / "dev.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    expected = [Example("q1", "vi", "áo?", (), "cũ", ("trắng", "cũ"))]
    assert read_mcqa(str(path)) == read_mcqa(str(tmp_path)) == expected
    columns = {"label": ["A", "B"], "text": ["trắng", "cũ"]}  # as `datasets` gives a list of dictionaries
    path.write_text(json.dumps({**ROW, "question": {"stem": "áo?", "choices": columns}}) + "\n", encoding="utf-8")
    assert read_mcqa(str(path)) == expected
    for broken in ({"answerKey": ""}, {"question": "áo?"}, {"question": {"stem": "áo?", "choices": 3}}):
        path.write_text(json.dumps({**ROW, **broken}) + "\n", encoding="utf-8")
        with pytest.raises(LiraError, match=r"dev.jsonl line 1: expected id, lang, question"):
            read_mcqa(str(path))
    path.write_text("{\n")
    with pytest.raises(LiraError, match="not JSON"):
        read_mcqa(str(path))
    (tmp_path / "empty").mkdir()
    for missing in (tmp_path / "none.jsonl", tmp_path / "empty"):
        with pytest.raises(LiraError, match="no such JSONL file"):
            read_mcqa(str(missing))


def test_multiple_choice_of_the_hub(monkeypatch):
    asked = []

    def load_dataset(name, config, split, revision=None):
        asked.append((name, config, split, revision))
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found x.py")
        if config == "X-CSQA-th":
            raise ValueError("BuilderConfig 'X-CSQA-th' not found.\nAvailable: …")
        return [ROW]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("eval.answers.mcqa.check_source", lambda *_: None)  # no Hub is asked
    assert [question.answer for question in read_mcqa("someone/xcsr", ["vi"])] == ["cũ"]
    assert asked[-1] == ("someone/xcsr", "X-CSQA-vi", "validation", "refs/convert/parquet")
    with pytest.raises(
        LiraError, match=r"no dataset with 'X-CSQA-th' validation: BuilderConfig 'X-CSQA-th' not found.$"
    ):
        read_mcqa("someone/xcsr", ["th"])
    with pytest.raises(LiraError, match="of a Hub dataset name the --languages"):
        read_mcqa("someone/xcsr")


@pytest.mark.parametrize("by", ["likelihood", "generation"])
def test_multiple_choice_with_translations_to_the_record(folders, tmp_path, by):
    data, scored = tmp_path / "dev.jsonl", tmp_path / "scored.jsonl"
    data.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    candidate = {"text": "shirt?", "agent": "x", "semantic": 5.0, "emotional": 5.0, "pragmatic": 5.0}
    scored.write_text(json.dumps({"text": "áo?", "language": "vi", "candidates": [candidate]}) + "\n", encoding="utf-8")
    assert called(
        "mcqa", "--data", data, "--model", folders["first"], "--by", by, "--candidates", scored, "--max-new-tokens", 4,
        "--dtype", "float32", "--streams", tmp_path / "s", "--output", tmp_path / "o", "--records", tmp_path / "r",
    ) == 0  # fmt: skip
    name = "mcqa-generation" if by == "generation" else "mcqa"
    payload = read_record(tmp_path / "r" / f"{name}.json", name).payload
    main = payload["measures"][payload["main"]]
    assert set(main) == {BARE, TRANSLATED, ALL_TRANSLATIONS, LIRA_FREE, LIRA}
    if by == "generation":
        assert payload["settings"]["listed"] is True
    with pytest.raises(LiraError, match="has translations of none"):
        with_candidates([Example("1", "vi", "khác?", (), "1")], scored)


# ---------------------------------------------------------------- bad input


def test_a_model_that_is_none_or_another(folders, tmp_path):
    with pytest.raises(LiraError, match="is of type 'lira', no reasoning model"):
        load_reasoner(str(folders["embedding"]))
    with pytest.raises(LiraError, match="nothing-there"):
        load_reasoner(str(folders["first"]), str(tmp_path / "nothing-there"))
    rival, first = str(folders["rival"]), str(folders["first"])
    task = choice_task("own")
    for sources, message in (
        (Sources([rival]), "--model .* reads the multilingual stream, not the fused one"),
        (Sources([first], [first]), "--rival .* reads the fused stream, not the multilingual one"),
    ):
        with pytest.raises(LiraError, match=message):
            measure(task, EXAMPLES[:1], sources, tmp_path / "streams", tmp_path)
    foreign = [replace(EXAMPLES[0], language="sw")]
    with pytest.raises(LiraError, match=r"'sw' is not in the model's config; it knows vi, th, bn, en"):
        measure(task, foreign, Sources([first]), tmp_path / "streams", tmp_path)


def test_options_that_mean_nothing():
    for by, rule in (("guess", "mean"), ("likelihood", "median")):
        with pytest.raises(LiraError, match=r"--(by|rule) must be"):
            choice_task("own", by, rule)
    with pytest.raises(LiraError, match="--dtype must be one of bfloat16, float32, got 'int8'"):
        Sources(["x"], dtype="int8")
    with pytest.raises(LiraError, match="--shots must be between 0 and 8, got 9"):
        mgsm_task("x", ["en"], 9)
    with pytest.raises(LiraError, match="no question in language 'sw', only in vi, bn, en"):
        chosen_examples(EXAMPLES, ["sw"])


def test_bad_input_is_one_line_in_a_fresh_process(folders, forks, tmp_path):
    data = write_questions(tmp_path / "questions")
    cases = [
        (["questions", "--data", "nowhere", "--model", str(tmp_path)], ""),
        (["questions", "--data", str(data), "--model", "m", "--limit", "0"], "limit"),
        (["own", "--data", str(data), "--model", "m", "--languages", "vi", "sw"], "'sw', only in vi, bn, en"),
        (["own", "--data", str(data), "--model", str(folders["embedding"])], "no reasoning model"),
        (["mcqa", "--data", str(tmp_path / "no.jsonl"), "--model", "m"], "no such JSONL file"),
        (["mgsm", "--data", str(data), "--languages", "th", "bn", "--model", "m"], "no mgsm_th.tsv"),
    ]
    script = "import json, sys\nfrom eval.__main__ import app\nfrom modeling_lira.cli import run\n" + (
        "for case in json.loads(sys.argv[1]):\n"
        "    try:\n        run(app, 'python -m eval', case)\n"
        "    except SystemExit as end:\n        print(end.code)\n"
    )
    script = f"import sys\nsys.path.insert(0, {str(Path(reasoning.__file__).parents[2])!r})\n{script}"
    order = json.dumps([case for case, _ in cases])
    done = forks.run(script, order, cwd=tmp_path, environment={"HF_HUB_OFFLINE": "1"})
    lines = done.stderr.strip().splitlines()
    assert done.stdout.split() == ["2"] * len(cases)
    assert len(lines) == len(cases), done.stderr
    for line, (_, message) in zip(lines, cases, strict=True):
        assert line.startswith("python -m eval: ") and message in line
