"""Likelihoods against one choice at a time, generation against the whole prompt, and what an answer names."""

import pytest
import torch
from tiny_language_models import SHAPES, opened, save_language_model

from eval.answers.answering import alone, choice_likelihoods, cut, generated, matched_choice
from modeling_lira import LiraError, LiraForCausalLM

QUESTIONS = ["áo sơ mi trắng cho bé trai?", "white shirt", "সাদা শার্ট", "điện thoại cũ giá rẻ ở Hà Nội là gì?", "a"]
LANGUAGES = ["vi", "en", "bn", "vi", "en"]
CANDIDATES = [["white shirt for boys?", "a shirt"], [], ["shirt"], [], []]
CHOICES = [["shirt", "a cheap used phone", "x"], ["12", "13"], ["white shirt", "phone"], ["a", "b", "c", "d"], ["yes"]]
PROMPTS = [f"Question: {question}\nAnswer:" for question in QUESTIONS]


@pytest.fixture(scope="module", params=list(SHAPES))
def model(request, build_model, tmp_path_factory) -> LiraForCausalLM:
    """Gate open, every weight off its start; one with a window shorter than the prompts, one with learnt positions."""
    folder = save_language_model(request.param, tmp_path_factory.mktemp(request.param))
    return opened(LiraForCausalLM.from_lira(build_model(num_feature_bins=3), folder, projector_size=16))


def asked(model):
    """The question of some rows, as the evaluation gives it."""

    def given(places):
        rows = [[column[position] for position in places] for column in (QUESTIONS, CANDIDATES, LANGUAGES)]
        encoded = model.processor(*rows)
        return {name: item for name, item in encoded.items() if name not in ("input_ids", "attention_mask")}

    return given


@torch.no_grad()
def brute_force(model, row, answer, question):
    """Log-probability of an answer after one prompt: the whole sequence at once, no padding, no cache."""
    tokenizer = model.processor.tokenizer
    start = tokenizer(PROMPTS[row])["input_ids"]
    end = tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([start + end])
    logits = model(ids, torch.ones_like(ids), **question([row])).logits[0].float()
    scores = logits.log_softmax(-1)[range(len(start) - 1, ids.shape[1] - 1), torch.tensor(end)]
    return float(scores.sum()), len(end)


@pytest.mark.parametrize("with_question", [False, True])
def test_likelihoods_are_those_of_one_choice_at_a_time(model, with_question):
    question = asked(model) if with_question else alone
    for batch_size in (1, 3, 16):
        likelihoods = choice_likelihoods(model, PROMPTS, CHOICES, question, batch_size)
        for row, choices in enumerate(CHOICES):
            assert len(likelihoods[row]) == len(choices)
            for answer, choice in zip(likelihoods[row], choices, strict=True):
                total, tokens = brute_force(model, row, choice, question)
                assert answer.tokens == tokens
                assert answer.total == pytest.approx(total, abs=2e-4)
                assert answer.mean == pytest.approx(total / tokens, abs=2e-4)


def test_the_question_is_heard(model):
    sides = [choice_likelihoods(model, PROMPTS, CHOICES, question) for question in (asked(model), alone)]
    totals = [torch.tensor([answer.total for row in side for answer in row]) for side in sides]
    assert (totals[0] - totals[1]).abs().max() > 0.05


@pytest.mark.parametrize("with_question", [False, True])
def test_answers_are_those_of_the_whole_prompt_alone(model, with_question):
    """The prefix in the cache, moved for every row's padding, against generating each row by itself from its text."""
    question = asked(model) if with_question else alone
    tokenizer = model.processor.tokenizer
    prefix = tokenizer("Question: cheap used phone for boys?\nAnswer: 7\n\n")["input_ids"]
    prompts = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in PROMPTS]
    for batch_size in (2, 16):
        texts = generated(model, prompts, question, 6, prefix=prefix, batch_size=batch_size)
        for row, prompt in enumerate(prompts):
            ids = torch.tensor([prefix + prompt])
            written = model.generate(ids, torch.ones_like(ids), do_sample=False, max_new_tokens=6, **question([row]))
            assert texts[row] == tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_generation_ends_at_a_stop(model):
    tokenizer = model.processor.tokenizer
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    for question in (alone, asked(model)):
        whole = generated(model, prompts, question, 8)
        stop = next(text for text in whole if len(text) > 2)[1]
        assert generated(model, prompts, question, 8, [stop]) == [cut(text, [stop]) for text in whole]


def test_prompts_that_do_not_fit(model):
    longest = "shirt " * 200
    with pytest.raises(LiraError, match=r"too long: .* the language model takes 128"):
        choice_likelihoods(model, [longest], [["a"]])
    with pytest.raises(LiraError, match="too long"):
        generated(model, [model.processor.tokenizer(PROMPTS[0])["input_ids"]], alone, 128)


def test_texts_are_cut_at_the_first_stop_after_some_text():
    assert cut("\n 18 dollars.\nQuestion: next", ["\nQuestion", "\n\n"]) == "18 dollars."
    assert cut("\n\nall of it ", ["\n"]) == "all of it"
    assert cut("one\n\ntwo Q: x", ["Q:", "\n"]) == "one"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Baby powder.", 0),
        (" baby  POWDER, of course", 0),
        ("baby powders", None),
        ("10", 1),
        ("100 pieces", 2),
        ("10.5", None),
        ("$10", 1),
        ("แป้งเด็กครับ", 3),
        ("B", 1),
        ("(c) nothing else", 2),
        ("b: yes", 1),
        ("a thing", None),
        ("", None),
        ("nothing", None),
    ],
)
def test_which_choice_an_answer_names(answer, expected):
    assert matched_choice(answer, ["baby powder", "10", "100", "แป้งเด็ก"], "ABCD") == expected
