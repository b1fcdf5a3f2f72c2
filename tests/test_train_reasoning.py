"""Stage R: questions, pairs of languages, labels, consistency, both phases, interruption and bad input."""

import json
import math
from dataclasses import replace

import pytest
import torch
from tiny_language_models import save_language_model

from modeling_lira import LiraError, LiraForCausalLM
from modeling_lira.cli import main
from modeling_lira.data.question_table import cache_questions
from modeling_lira.data.questions import read_questions
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.soft_prompt import IGNORED
from modeling_lira.training import checkpoints as checkpoints_module
from modeling_lira.training import reasoning
from modeling_lira.training.losses import language_consistency
from modeling_lira.training.options import read_reasoning_options
from modeling_lira.training.reasoning import phase_inputs, train_reasoning
from modeling_lira.training.reasoning_stage import LanguagePairs, QuestionCollator
from modeling_lira.training.trainer import trained_parts

ROWS = [
    {
        "id": "0",
        "language": "vi",
        "question": "áo sơ mi trắng?",
        "candidates": ["white shirt?", "a shirt?"],
        "answer": 1,
    },
    {"id": "0", "language": "en", "question": "white shirt?", "candidates": [], "answer": 1},
    {"id": "0", "language": "bn", "question": "সাদা শার্ট?", "candidates": ["shirt?"], "answer": 1},
    {"id": "1", "language": "vi", "question": "điện thoại cũ?", "candidates": [], "answer": 0},
    {"id": "1", "language": "en", "question": "used phone?", "candidates": [], "answer": 0},
    {"id": "1", "language": "bn", "question": "পুরানো ফোন?", "candidates": ["phone?"], "answer": 0},
]
ENGLISH = {"0": "white shirt?", "1": "used phone?"}


def write_questions(folder, rows=None):
    folder.mkdir(exist_ok=True)
    full = [{**row, "choices": ["cheap phone", "shirt"], "english": ENGLISH[row["id"]]} for row in rows or ROWS]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in full), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def options(backbones, tmp_path_factory):
    root = tmp_path_factory.mktemp("reasoning")
    config = root / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "questions": str(write_questions(root / "questions")),
                "language_model": str(save_language_model("llama", root / "llama", sharpness=2)),
                "multilingual": str(backbones["xlm-roberta"]),
                "english": str(backbones["bert"]),
                "model": {"num_feature_bins": 3, "adaptor_size": 16, "actor_size": 8, "fusion_size": 32},
                "projector_size": 16,
                "dtype": "float32",
                "batch_size": 4,
                "mapping": 8,
                "augmentation": 8,
                "learning_rates": {"soft_prompt": 0.01, "lira.lasr": 0.003, "lira.arca.adaptor": 0.003},
            }
        )
    )
    return lambda **changes: read_reasoning_options(config, **changes)


@pytest.fixture(scope="module")
def trained(options, tmp_path_factory):
    """The folder of one finished run."""
    folder = tmp_path_factory.mktemp("run")
    train_reasoning(options(), folder)
    return folder


def test_questions_are_read_with_the_answers_text(tmp_path):
    examples = read_questions(write_questions(tmp_path / "q"), "train")
    assert [(example.answer, example.candidates) for example in examples[:2]] == [
        ("shirt", ("white shirt?", "a shirt?")),
        ("shirt", ()),
    ]
    assert examples[3].answer == "cheap phone" and examples[3].english == "used phone?"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
        ('{"question": "x", "language": "vi"}', "answer must be a text"),
        ('{"question": " ", "language": "vi", "answer": "y"}', "question must be a text"),
        ('{"question": "\\u3164\\u0301", "language": "vi", "answer": "y"}', "question must be a text"),
        (
            '{"question": "x", "language": "vi", "answer": 2, "choices": ["a", "b"]}',
            "not the position of one of 2 choices",
        ),
        ('{"question": "x", "language": "vi", "answer": "y", "candidates": "z"}', "candidates must be a list"),
    ],
)
def test_rows_that_are_no_questions(tmp_path, line, message):
    (tmp_path / "train.jsonl").write_text(line)
    with pytest.raises(LiraError, match=message):
        read_questions(tmp_path, "train")


def test_sources_that_hold_no_questions(tmp_path):
    with pytest.raises(LiraError, match="dataset_builder reasoning"):
        read_questions(tmp_path, "train")
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(LiraError, match="no question in split"):
        read_questions(tmp_path, "train")


def test_every_row_is_in_one_pair_an_epoch_with_its_own_question(tmp_path):
    examples = read_questions(write_questions(tmp_path / "q"), "train")
    pairs = LanguagePairs(examples, 2, 0.5, seed=0)
    assert len(pairs) == 8
    for epoch in (range(4), range(4, 8)):
        drawn = [(one, other) for (one, _), (other, _) in (pairs[row] for row in epoch)]
        assert all(examples[one].id == examples[other].id for one, other in drawn)
        assert {row for pair in drawn for row in pair} == set(range(6))
        assert sum(one != other for one, other in drawn) == 2  # three languages: one pair and one left over
    assert LanguagePairs(examples, 2, 0.5, seed=0).pairs == pairs.pairs
    assert LanguagePairs(examples, 2, 0.5, seed=1).pairs != pairs.pairs
    assert len(LanguagePairs(examples, 0.5, 0.5, seed=0)) == 2


@pytest.mark.parametrize(("dropout", "low", "high"), [(0.0, 1.0, 1.0), (0.25, 0.7, 0.8), (1.0, 0.0, 0.0)])
def test_a_share_of_the_questions_loses_its_translations(tmp_path, dropout, low, high):
    examples = read_questions(write_questions(tmp_path / "q"), "train")
    drawn = [row for pair in LanguagePairs(examples, 500, dropout, seed=0).pairs for row in pair]
    assert low <= sum(translated for _, translated in drawn) / len(drawn) <= high
    seen = {row: {translated for other, translated in drawn if other == row} for row in range(6)}
    assert all(len(views) == (2 if 0 < dropout < 1 else 1) for views in seen.values())


@pytest.mark.parametrize("phase", ["mapping", "augmentation"])
def test_labels_are_the_answer_and_its_end(options, build_model, tmp_path, phase):
    given = options()
    model = LiraForCausalLM.from_lira(build_model(num_feature_bins=3), given.language_model, projector_size=16)
    examples = read_questions(given.questions, "train")
    table = cache_questions(model.lira, StreamCache(tmp_path), examples)
    batch = QuestionCollator(model, table, phase)([((0, False), (1, True)), ((3, True), (4, True))])
    tokenizer = model.processor.tokenizer
    for row, number in enumerate((0, 1, 3, 4)):
        kept = batch["labels"][row] != IGNORED
        assert tokenizer.decode(batch["labels"][row][kept]) == f" {examples[number].answer}<eos>"
        assert torch.equal(batch["input_ids"][row][kept], batch["labels"][row][kept])
        prompt = tokenizer.decode(batch["input_ids"][row][batch["attention_mask"][row].bool() & ~kept])
        asked = f"Question: {examples[number].question}" if phase == "augmentation" else ""
        assert prompt == f"<bos>{asked}\nAnswer:"
    answers = (batch["labels"] != IGNORED).sum(1)
    assert batch["logits_to_keep"] == answers.max() + 1
    assert batch["candidate_mask"].tolist() == [[False, False], [True, False], [False, False], [True, False]]
    bare = QuestionCollator(model, table, phase)([((0, False), (1, False))])
    assert "english_states" not in bare and "candidate_mask" not in bare


@torch.no_grad()
def test_cached_streams_give_what_the_texts_give(options, build_model, tmp_path):
    given = options()
    model = LiraForCausalLM.from_lira(build_model(num_feature_bins=3), given.language_model, projector_size=16)
    examples = read_questions(given.questions, "train")
    table = cache_questions(model.lira, StreamCache(tmp_path), examples)
    cached, mask = model.fuse(**table.inputs(range(len(examples))))
    fresh, fresh_mask = model.fused(
        [example.question for example in examples],
        [example.language for example in examples],
        [example.candidates for example in examples],
    )
    assert torch.equal(mask, fresh_mask)
    torch.testing.assert_close(cached, fresh, atol=0.02, rtol=0.02)  # float16 between


def test_consistency_by_hand():
    """One pair, an answer of one token: symmetric KL of (0.5, 0.5) and (0.9, 0.1)."""
    first, second = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]).log()
    filler = torch.zeros(2)
    logits = torch.stack([torch.stack([first, filler]), torch.stack([second, filler])])
    labels = torch.tensor([[IGNORED, IGNORED, 1], [IGNORED, IGNORED, 1]])
    expected = (-0.4 * math.log(0.5 / 0.9) + 0.4 * math.log(0.5 / 0.1)) / 2
    assert float(language_consistency(logits, labels)) == pytest.approx(expected)
    assert float(language_consistency(logits[[0, 0]], labels)) == 0


def test_both_phases_learn_and_leave_the_frozen_parts_alone(options, trained):
    record = json.loads((trained / "training.json").read_text())
    for phase in ("mapping", "augmentation"):
        losses = [entry["loss_answer"] for entry in record["logs"][phase] if "loss_answer" in entry]
        assert losses[-1] < losses[0] - 0.05
    loaded = LiraForCausalLM.from_pretrained(trained / "model")
    assert not loaded.config.backbones_included  # so its weights are those of the pinned language model
    assert float(loaded.soft_prompt.gate) not in (0.0, 1.0)
    assert loaded.soft_prompt.up.weight.any() and loaded.lira.arca.adaptor.up.weight.any()  # which begin at zero


def test_an_interrupted_run_ends_as_an_uninterrupted_one(options, trained, tmp_path, monkeypatch):
    given = options()
    real, steps = reasoning.ReasoningTrainer.compute_loss, []

    def counted(self, *arguments, **named):
        if len(steps) == 5:
            raise KeyboardInterrupt
        steps.append(1)
        return real(self, *arguments, **named)

    monkeypatch.setattr(reasoning.ReasoningTrainer, "compute_loss", counted)
    with pytest.raises(KeyboardInterrupt):
        train_reasoning(given, tmp_path)
    monkeypatch.undo()
    model = train_reasoning(given, tmp_path)
    expected = trained_parts(LiraForCausalLM.from_pretrained(trained / "model"))
    for name, value in trained_parts(model).items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4)


def test_another_seed_does_not_take_a_run_over_and_the_same_one_goes_on(options, trained, monkeypatch):
    files = {path: path.read_bytes() for path in (trained / "model").iterdir() if path.is_file()}
    files |= {path: path.read_bytes() for path in trained.glob("*.json")}
    for changes, named in (({"seed": 7}, r"seed \(0 there, 7 here\)"), ({"consistency": 0.2}, "consistency")):
        with pytest.raises(LiraError, match=f"holds another run's model, which differs in {named}"):
            train_reasoning(options(**changes), trained)
    monkeypatch.setattr(reasoning.ReasoningTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    train_reasoning(options(), trained)
    assert {path: path.read_bytes() for path in files} == files


def test_other_questions_are_another_run(options, trained, tmp_path):
    changed = write_questions(tmp_path / "questions", [{**ROWS[0], "candidates": ["shirts?"]}, *ROWS[1:]])
    with pytest.raises(LiraError, match="differs in questions"):
        train_reasoning(options(questions=str(changed)), trained)


def test_everything_that_decides_a_phase_is_in_its_key(options, build_model, tmp_path):
    given = options()
    model = LiraForCausalLM.from_lira(build_model(num_feature_bins=3), given.language_model, projector_size=16)
    examples = read_questions(given.questions, "train")

    def inputs(changed=given, seen=examples):
        return phase_inputs(model, cache_questions(model.lira, StreamCache(tmp_path), seen), changed)

    def different(other):
        return {name for name in before if before[name] != other[name]}

    before = inputs()
    assert not different(inputs())
    for changes in ({"seed": 7}, {"consistency": 0.2}, {"english_path_dropout": 0.5}, {"mapping": 4}):
        assert different(inputs(options(**changes))) == {"options"}
    assert different(inputs(seen=[replace(examples[0], candidates=("shirts?",)), *examples[1:]])) == {"questions"}
    assert different(inputs(seen=[replace(examples[0], answer="phone"), *examples[1:]])) == {"questions"}
    with torch.no_grad():
        model.language_model.get_input_embeddings().weight[-1, -1] += 1
    assert different(inputs()) == {"weights"}


@pytest.mark.parametrize("name", ["model.safetensors", "trainer_state.json", "optimizer.pt", "complete.json"])
def test_a_run_killed_while_a_checkpoint_is_written_goes_on_from_the_one_before(
    options, trained, tmp_path, monkeypatch, name
):
    class Killed(BaseException):
        pass

    real, saved = checkpoints_module.remove_checkpoints, []

    def kill(folder, kept):
        saved.extend([1] * bool(kept))  # nothing is kept by the sweep before a run
        if len(saved) == 2:
            raise Killed
        real(folder, kept)

    monkeypatch.setattr(checkpoints_module, "remove_checkpoints", kill)
    with pytest.raises(Killed):
        train_reasoning(options(), tmp_path)
    monkeypatch.undo()
    first, second = sorted(tmp_path.glob("mapping-*/checkpoints/*"), key=lambda path: int(path.name.split("-")[1]))
    (second / name).write_bytes((second / name).read_bytes()[:20])
    assert first.is_dir()
    model = train_reasoning(options(), tmp_path)
    expected = trained_parts(LiraForCausalLM.from_pretrained(trained / "model"))
    for part, value in trained_parts(model).items():
        torch.testing.assert_close(value, expected[part], atol=1e-5, rtol=1e-4)
    kinds = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert kinds == {"streams", "mapping", "augmentation", "model", "run.json", "training.json", ".lock"}
    assert not list(tmp_path.rglob("checkpoints"))


def test_lora_is_merged_and_saved_whole(options, tmp_path):
    given = options(mapping=1, augmentation=0, lora={"rank": 2, "learning_rate": 0.05})
    model = train_reasoning(given, tmp_path)
    loaded = LiraForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.config.backbones_included and not any(".lora_" in name for name in loaded.state_dict())
    bare = LiraForCausalLM.from_lira(model.lira, given.language_model, projector_size=16).language_model.state_dict()
    moved = {
        name for name, value in loaded.language_model.state_dict().items() if not torch.allclose(value, bare[name])
    }
    assert moved and all("q_proj" in name or "v_proj" in name for name in moved)


def test_the_baseline_reads_the_multilingual_stream_alone(options, tmp_path):
    model = train_reasoning(options(mapping=1, augmentation=0, stream="multilingual"), tmp_path)
    before = model.lira.arca.adaptor.up.weight
    assert not before.any()  # untouched: it begins at zero
    batch = model.processor(["áo sơ mi trắng?"], [["white shirt?"]], "vi")
    without = model.processor(["áo sơ mi trắng?"], None, "vi")
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, model(**without).logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 3}, "batch_size must be even"),
        ({"english_path_dropout": 1.5}, "english_path_dropout must be between 0 and 1, got 1.5"),
        ({"dtype": "int8"}, "dtype 'int8' is unknown: choose one of float32, bfloat16"),
        ({"stream": "english"}, "stream must be one of fused, multilingual"),
        ({"lora": {"target_modules": "nothing"}}, "no layer named nothing"),
        ({"model": {"languages": ["vi"]}}, "'en' is not in the model's config"),
    ],
)
def test_options_that_mean_nothing(options, tmp_path, changes, message):
    with pytest.raises(LiraError, match=message):
        train_reasoning(options(**changes), tmp_path)


def test_configs_that_cannot_be_read(tmp_path):
    with pytest.raises(LiraError, match="cannot be read"):
        read_reasoning_options(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(LiraError, match="must be a mapping"):
        read_reasoning_options(tmp_path / "list.yaml")


def test_the_command_reads_the_packages_config(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(reasoning, "train_reasoning", lambda given, output: seen.append((given, output)))
    with pytest.raises(SystemExit) as done:
        main(["train-reasoning", "--output", str(tmp_path), "--seed", "3", "--stream", "multilingual"])
    assert done.value.code == 0
    ((given, output),) = seen
    assert (given.seed, given.stream, given.language_model, output) == (
        3,
        "multilingual",
        "pypi:gemma-3-270m",
        tmp_path,
    )
    with pytest.raises(SystemExit) as done:
        main(["train-reasoning", "--output", str(tmp_path), "--config", str(tmp_path / "none.yaml")])
    assert done.value.code == 2 and len(capsys.readouterr().err.strip().splitlines()) == 1
