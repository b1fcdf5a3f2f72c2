"""The reasoning model: a closed gate changes nothing, an open one is heard; generating, saving, bad input."""

import copy
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import MULTILINGUAL_TEXTS
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_language_models import QUESTIONS, SHAPES, opened, save_language_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    MaxLengthCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
)

from modeling_lira import LiraError, LiraForCausalLM, LiraModel
from modeling_lira.soft_prompt import IGNORED

LANGUAGES = ["vi", "en", "bn"]
CANDIDATES = [["white shirt for boys", "a shirt"], [], []]
PROMPTS = ["Question: white shirt?\nAnswer:", "How much?", "Answer: the cheap phone or the"]


@pytest.fixture(scope="module")
def language_models(tmp_path_factory) -> dict[str, Path]:
    return {name: save_language_model(name, tmp_path_factory.mktemp(name)) for name in SHAPES}


@pytest.fixture(scope="module")
def models_by_name(build_model: Callable[..., LiraModel], language_models) -> dict[str, LiraForCausalLM]:
    """Untrained reasoning models, gates closed; read-only."""
    return {
        name: LiraForCausalLM.from_lira(build_model(num_feature_bins=3), folder, projector_size=16)
        for name, folder in language_models.items()
    }


@pytest.fixture(params=list(SHAPES))
def closed(request, models_by_name) -> LiraForCausalLM:
    return models_by_name[request.param]


def inputs_of(model: LiraForCausalLM) -> dict[str, torch.Tensor]:
    return dict(model.processor(QUESTIONS, CANDIDATES, LANGUAGES, PROMPTS))


def prompt_only(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def row(batch: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """One row of a batch, its prompt without padding."""
    real = batch["attention_mask"][index].bool()
    one = {name: value[index : index + 1] for name, value in batch.items()}
    return one | {name: one[name][:, real] for name in ("input_ids", "attention_mask")}


# ---------------------------------------------------------------- the closed gate


@torch.no_grad()
def test_a_closed_gate_gives_the_bare_models_logits(closed):
    batch = inputs_of(closed)
    logits = closed(**batch).logits
    for index in range(len(QUESTIONS)):
        one = prompt_only(row(batch, index))
        bare = closed.language_model(**one).logits[0]
        torch.testing.assert_close(logits[index, -len(bare) :], bare, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_closed_gate_generates_what_the_bare_model_generates(closed):
    batch = inputs_of(closed)
    for settings in ({}, {"num_beams": 3}):
        bare = closed.language_model.generate(**prompt_only(batch), max_new_tokens=6, do_sample=False, **settings)
        assert torch.equal(closed.generate(**batch, max_new_tokens=6, do_sample=False, **settings), bare)


@torch.no_grad()
def test_without_a_question_it_is_the_bare_model_even_when_open(closed):
    model = opened(closed)
    batch = prompt_only(inputs_of(model))
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp_min(0)  # padding counts for nothing
    takes = "position_ids" in inspect.signature(model.language_model.forward).parameters
    bare = model.language_model(**batch, **({"position_ids": positions} if takes else {}))
    assert torch.equal(model(**batch).logits, bare.logits)
    assert torch.equal(
        model.generate(**batch, max_new_tokens=4, do_sample=False),
        model.language_model.generate(**batch, max_new_tokens=4, do_sample=False),
    )


# ---------------------------------------------------------------- the open gate


@torch.no_grad()
def test_soft_tokens_stand_after_bos_and_before_the_prompt(closed):
    """Against the sequence put together by hand, for one row with and one without English."""
    model = opened(closed)
    batch = inputs_of(model)
    logits = model(**batch).logits
    for index, english in ((0, True), (2, False)):
        one = row(batch, index)
        soft, _ = model.soft_tokens(**{name: value for name, value in one.items() if name not in prompt_only(one)})
        soft = soft if english else torch.cat([soft[:, :3], soft[:, -1:]], 1)  # S of the multilingual path, boundary
        embeds = model.get_input_embeddings()(one["input_ids"])
        first = int(one["input_ids"][0, 0] == model.config.text.bos_token_id)
        assert first == (model.config.text.model_type != "gpt2")
        whole = torch.cat([embeds[:, :first], soft, embeds[:, first:]], 1)
        expected = model.language_model(inputs_embeds=whole).logits[0, -(embeds.shape[1] - first) :]
        torch.testing.assert_close(logits[index, -len(expected) :], expected, atol=1e-4, rtol=1e-4)
        bare = model.language_model(**prompt_only(one)).logits[0, -1]
        assert not torch.allclose(expected[-1], bare, atol=1e-2)


@torch.no_grad()
def test_padding_on_the_right_gives_the_same_logits(closed):
    model = opened(closed)
    batch = inputs_of(model)
    left = model(**batch).logits
    lengths = batch["attention_mask"].sum(1)
    turned = {
        name: torch.stack([v.roll(int(n)) for v, n in zip(batch[name], lengths, strict=True)])
        for name in prompt_only(batch)
    }
    right = model(**{**batch, **turned}).logits
    for index, length in enumerate(lengths):
        torch.testing.assert_close(right[index, :length], left[index, -length:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_embeddings_in_place_of_ids(closed):
    model = opened(closed)
    batch = inputs_of(model)
    ids = batch.pop("input_ids")
    embedded = {**batch, "inputs_embeds": model.get_input_embeddings()(ids)}
    assert torch.equal(model(**embedded).logits, model(input_ids=ids, **batch).logits)
    new = model.generate(**embedded, max_new_tokens=5, do_sample=False)
    assert torch.equal(model.generate(ids, **batch, max_new_tokens=5, do_sample=False), torch.cat([ids, new], 1))


@torch.no_grad()
def test_cached_states_in_place_of_the_question(closed):
    model = opened(closed)
    batch = inputs_of(model)
    expected = model(**batch).logits
    fused, mask = model.fused(QUESTIONS, LANGUAGES, CANDIDATES)
    torch.testing.assert_close(
        model(**prompt_only(batch), fused_states=fused, fused_mask=mask).logits, expected, atol=1e-4, rtol=1e-4
    )
    english = [batch[f"english_{name}"] for name in ("input_ids", "attention_mask")]
    states = model.lira.streams(batch["multilingual_input_ids"], batch["multilingual_attention_mask"], *english)
    kept = {name: batch[name] for name in ("candidate_mask", "critic_scores", "language_ids")}
    logits = model(**prompt_only(batch), **kept, multilingual_states=states[0], english_states=states[1]).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_going_on_from_the_cache_gives_the_logits_of_the_whole(closed):
    model = opened(closed)
    batch = row(inputs_of(model), 0)
    whole = model(**batch).logits
    first = model(**{**batch, **{name: batch[name][:, :-2] for name in prompt_only(batch)}}, use_cache=True)
    mask = torch.cat([first.attention_mask, torch.ones(1, 2, dtype=torch.long)], 1)
    rest = model(input_ids=batch["input_ids"][:, -2:], attention_mask=mask, past_key_values=first.past_key_values)
    torch.testing.assert_close(rest.logits, whole[:, -2:], atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- precision


def test_autocast_answers_and_trains(closed):
    model = opened(closed)
    batch = inputs_of(model)
    labels = torch.full_like(batch["input_ids"], IGNORED)
    labels[:, -2:] = batch["input_ids"][:, -2:]
    expected = model(**batch, labels=labels)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**batch, labels=labels)
        assert model.generate(**batch, max_new_tokens=3).shape[1] > batch["input_ids"].shape[1]
    output.loss.backward()
    assert model.soft_prompt.linear.weight.grad.dtype == torch.float32
    close = torch.nn.functional.cosine_similarity(output.logits[:, -1].float(), expected.logits[:, -1])
    assert close.min() > 0.98  # the language model's own weights are sharp, and its precision its own affair


@torch.no_grad()
@pytest.mark.parametrize("part", ["language_model", "lira", "soft_prompt", "lira.english_encoder"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_precision_of_a_part(models_by_name, part, dtype):
    model = opened(models_by_name["llama"])
    batch = inputs_of(model)
    expected = model(**batch).logits[:, -1]
    model.get_submodule(part).to(dtype)
    logits = model(**batch).logits[:, -1].float()
    assert torch.nn.functional.cosine_similarity(logits, expected).min() > 0.98
    assert len(model.generate(**batch, max_new_tokens=2)) == len(QUESTIONS)


# ---------------------------------------------------------------- generating


@torch.no_grad()
def test_greedy_generation_is_the_argmax_step_by_step(closed):
    model = opened(closed)
    batch = row(inputs_of(model), 0)
    written = model.generate(**batch, max_new_tokens=5, do_sample=False, eos_token_id=None)
    ids = batch["input_ids"]
    for _ in range(5):
        step = {**batch, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        ids = torch.cat([ids, model(**step).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(written, ids)


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"use_cache": False}])
def test_a_batch_gets_the_answers_of_its_rows(closed, settings):
    model = opened(closed)
    batch = inputs_of(model)
    together = model.generate(**batch, max_new_tokens=5, do_sample=False, eos_token_id=None, **settings)
    width = batch["input_ids"].shape[1]
    for index in range(len(QUESTIONS)):
        alone = model.generate(**row(batch, index), max_new_tokens=5, do_sample=False, eos_token_id=None, **settings)
        assert torch.equal(together[index, width:], alone[0, -5:])


@torch.no_grad()
def test_sampling_follows_the_seed_and_gives_as_many_as_asked(closed):
    model = opened(closed)
    batch = inputs_of(model)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(model.generate(**batch, max_new_tokens=8, do_sample=True, num_return_sequences=2))
    assert drawn[0].shape[0] == 2 * len(QUESTIONS)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0][::2, : batch["input_ids"].shape[1]], batch["input_ids"])
    scored = model.generate(**batch, max_new_tokens=2, output_scores=True, return_dict_in_generate=True)
    assert scored.sequences.shape[1] == batch["input_ids"].shape[1] + 2 and len(scored.scores) == 2


@torch.no_grad()
@pytest.mark.parametrize("name", ["keywords", "given config", "own config"])
@pytest.mark.parametrize("opening", [False, True])
def test_lengths_are_those_that_the_user_sees(closed, opening, name):
    model = opened(closed) if opening else copy.copy(closed)
    batch = inputs_of(model)
    prompt = batch["input_ids"].shape[1]

    def generate(**lengths: int | None) -> torch.Tensor:
        settings = {"do_sample": False, "eos_token_id": None, **lengths}
        if name == "keywords":
            return model.generate(**batch, **settings)
        model.generation_config = GenerationConfig(**(settings if name == "own config" else {}))
        given = {} if name == "own config" else {"generation_config": GenerationConfig(**settings)}
        return model.generate(**batch, **given)

    for lengths, new in (
        ({"max_length": prompt + 1}, 1),
        ({"max_length": prompt + 7}, 7),
        ({"max_new_tokens": 4}, 4),
        ({"max_length": prompt + 9, "max_new_tokens": 3}, 3),
        ({"max_length": prompt + 6, "min_length": prompt + 2}, 6),
    ):
        written = generate(**lengths)
        assert written.shape[1] == prompt + new
        if not opening:
            bare = closed.language_model.generate(**prompt_only(batch), do_sample=False, eos_token_id=None, **lengths)
            assert torch.equal(written, bare)
    for length in (prompt, 3):
        with pytest.raises(LiraError, match=f"max_length {length} leaves no room .* prompt of {prompt} tokens"):
            generate(max_length=length)


@torch.no_grad()
@pytest.mark.parametrize("least", [{"min_length": 5}, {"min_new_tokens": 5}])
def test_an_answer_is_as_long_as_the_least_that_was_asked(closed, least):
    model = opened(closed)
    batch = row(inputs_of(model), 0)
    prompt = batch["input_ids"].shape[1]
    first = model.generate(**batch, max_new_tokens=1, do_sample=False)[0, -1].item()
    settings = {"do_sample": False, "eos_token_id": first, "max_length": prompt + 8}
    assert model.generate(**batch, **settings).shape[1] == prompt + 1
    longer = {name: value + prompt if name == "min_length" else value for name, value in least.items()}
    assert model.generate(**batch, **settings, **longer).shape[1] >= prompt + 5
    assert model.generate(**batch, **settings, min_length=prompt).shape[1] == prompt + 1


@torch.no_grad()
def test_lengths_for_a_prompt_of_embeddings(closed):
    model = opened(closed)
    batch = inputs_of(model)
    ids = batch.pop("input_ids")
    embedded = {**batch, "inputs_embeds": model.get_input_embeddings()(ids)}
    new = model.generate(**embedded, max_length=ids.shape[1] + 5, do_sample=False, eos_token_id=None)
    assert new.shape[1] == 5


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}])
def test_stopping_criteria_see_prompt_and_answer(closed, settings):
    model = opened(closed)
    batch = inputs_of(model)
    prompt = batch["input_ids"].shape[1]

    class Stop(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
            rows = batch["input_ids"].repeat_interleave(len(input_ids) // len(QUESTIONS), 0)
            assert torch.equal(input_ids[:, :prompt], rows)
            return torch.full((len(input_ids),), input_ids.shape[1] >= prompt + 3)

    for criterion in (Stop(), MaxLengthCriteria(prompt + 3)):
        criteria = StoppingCriteriaList([criterion])
        written = model.generate(
            **batch, max_new_tokens=9, eos_token_id=None, do_sample=False, stopping_criteria=criteria, **settings
        )
        assert written.shape[1] == prompt + 3
    quick = model.generate(**batch, max_new_tokens=9, eos_token_id=None, do_sample=False, max_time=0.0, **settings)
    assert quick.shape[1] == prompt + 1


@torch.no_grad()
def test_another_model_cannot_draft_an_answer_to_a_question(models_by_name):
    model = opened(models_by_name["llama"])
    batch = inputs_of(model)
    for name, value in {
        "assistant_model": model.language_model,
        "prompt_lookup_num_tokens": 3,
        "assistant_early_exit": 1,
    }.items():
        with pytest.raises(LiraError, match=f"{name} cannot be used with a question"):
            model.generate(**batch, max_new_tokens=3, **{name: value})
    one = prompt_only(row(batch, 0))
    drafted = model.generate(**one, max_new_tokens=3, do_sample=False, assistant_model=model.language_model)
    assert torch.equal(drafted, model.generate(**one, max_new_tokens=3, do_sample=False))


# ---------------------------------------------------------------- training


def test_the_loss_counts_labelled_tokens_only(closed):
    model = opened(closed)
    batch = inputs_of(model)
    labels = torch.full_like(batch["input_ids"], IGNORED)
    labels[:, -2:] = batch["input_ids"][:, -2:]
    output = model(**batch, labels=labels)
    likelihood = output.logits[:, -3:-1].log_softmax(-1).gather(2, batch["input_ids"][:, -2:, None])
    torch.testing.assert_close(output.loss, -likelihood.mean())
    torch.testing.assert_close(model(**batch, labels=labels, logits_to_keep=3).loss, output.loss)
    output.loss.backward()
    moved = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {"lira", "soft_prompt"}
    assert model.soft_prompt.gate.grad.abs() > 0 and model.soft_prompt.linear.weight.grad.abs().max() > 0


def test_frozen_parts_stay_in_evaluation_mode(closed):
    model = copy.deepcopy(closed).train()
    assert model.soft_prompt.training and model.lira.arca.training
    assert not model.language_model.training and not model.lira.multilingual_encoder.training


@torch.no_grad()
def test_the_projector_is_the_same_ridge_regression_in_one_batch_and_in_many(closed):
    model, draw = copy.deepcopy(closed), torch.Generator().manual_seed(0)
    width, words = model.soft_prompt.linear.in_features, model.soft_prompt.linear.out_features
    fused = torch.randn(9, 6, width, generator=draw) + 3
    target = torch.randn(9, 3, words, generator=draw) - 2
    mask = torch.rand(9, 6, generator=draw) < 0.7
    model.soft_prompt.fit([(fused, mask, target)])
    once = copy.deepcopy(model.soft_prompt.state_dict())
    model.soft_prompt.fit((fused[at : at + 2], mask[at : at + 2], target[at : at + 2]) for at in range(0, 9, 2))
    for name, value in model.soft_prompt.state_dict().items():
        torch.testing.assert_close(value, once[name], atol=1e-5, rtol=1e-5)
    rows, wanted = fused[mask].double(), torch.cat([target, target], 1)[mask].double()
    x, y = rows - rows.mean(0), wanted - wanted.mean(0)
    gram = x.T @ x
    weight = torch.linalg.inv(gram + 1e-3 * gram.diagonal().mean() * torch.eye(width, dtype=gram.dtype)) @ x.T @ y
    torch.testing.assert_close(once["linear.weight"].double(), weight.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        once["linear.bias"].double(), wanted.mean(0) - rows.mean(0) @ weight, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(once["boundary"].double(), wanted.mean(0), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_projector_starts_at_the_words_of_the_english_rendering(closed):
    """A ridge regression: its residuals have mean zero, and it predicts the words better than their mean does."""
    model = copy.deepcopy(closed)
    model.processor = closed.processor
    texts = list(MULTILINGUAL_TEXTS)
    model.align_projector(texts, None, english=texts)
    fused, mask = model.fused(texts)
    target = model._pooled_words(texts).repeat(1, 2, 1)[mask]
    projected = model.soft_prompt.project(fused)[mask]
    assert ((projected - target) ** 2).mean() < 0.5 * ((target - target.mean(0)) ** 2).mean()
    torch.testing.assert_close((projected - target).mean(0), torch.zeros(target.shape[1]), atol=1e-4, rtol=0)
    with pytest.raises(LiraError, match="one rendering a text"):
        model.align_projector(texts, None, english=texts[:1])


# ---------------------------------------------------------------- saving


@pytest.fixture(scope="module")
def trained(models_by_name) -> LiraForCausalLM:
    return opened(models_by_name["gemma3"])


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("saved")
    trained.save_pretrained(root / "whole")
    trained.save_pretrained(root / "adapter", save_backbones=False)
    return {"whole": root / "whole", "adapter": root / "adapter"}


def answers(model: LiraForCausalLM) -> torch.Tensor:
    return model.generate(**inputs_of(model), max_new_tokens=6, do_sample=False)


@pytest.mark.parametrize("layout", ["whole", "adapter"])
def test_round_trip(trained, folders, layout, tmp_path):
    loaded = AutoModelForCausalLM.from_pretrained(folders[layout])
    assert isinstance(loaded, LiraForCausalLM) and not loaded.training
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert torch.equal(answers(loaded), answers(trained))
    assert loaded.generation_config.eos_token_id == trained.language_model.generation_config.eos_token_id
    assert {name.split(".")[0] for name, parameter in loaded.named_parameters() if parameter.requires_grad} == {
        "lira",
        "soft_prompt",
    }
    loaded.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert any(name.startswith("language_model.") for name in weights) == (layout == "whole")
    assert weights.keys() == load_file(folders[layout] / "model.safetensors").keys()


def test_the_folders_tokenizer_is_the_language_models(trained, folders):
    ids = AutoTokenizer.from_pretrained(folders["whole"])("white shirt")["input_ids"]
    assert ids == trained.processor.tokenizer("white shirt")["input_ids"]
    assert ids != trained.processor.multilingual_tokenizer("white shirt")["input_ids"]


def test_what_is_saved_does_not_depend_on_the_last_call(trained, folders, tmp_path):
    for tokenizer in (trained.processor.tokenizer, trained.processor.multilingual_tokenizer):
        tokenizer(["white", "a white shirt"], padding=True, truncation=True, max_length=2)
    trained.save_pretrained(tmp_path)
    for path in folders["whole"].rglob("tokenizer.json"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folders["whole"])).read_bytes(), path.name


def test_a_missing_weight_is_never_made_up(folders, tmp_path):
    loaded = AutoModelForCausalLM.from_pretrained(folders["whole"])
    loaded.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for name in ("soft_prompt.gate", "language_model.model.norm.weight"):
        torn = {key: value for key, value in weights.items() if key != name}
        save_file(torn, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(LiraError, match=name):
            LiraForCausalLM.from_pretrained(tmp_path)


def test_another_language_model_of_the_wrong_shape_is_named(folders, language_models):
    with pytest.raises(LiraError, match="does not fit this checkpoint"):
        LiraForCausalLM.from_pretrained(folders["adapter"], text_model=language_models["llama"])


def test_a_changed_language_model_is_not_saved_as_an_adapter(trained, tmp_path):
    changed = opened(trained)
    with torch.no_grad():
        next(changed.language_model.parameters()).add_(1)
    with pytest.raises(LiraError, match="save_backbones=True"):
        changed.save_pretrained(tmp_path / "new", save_backbones=False)
    assert not (tmp_path / "new").exists()


def test_lora_on_the_language_model(folders, tmp_path):
    settings = LoraConfig(target_modules=r"language_model\..*\.(q_proj|v_proj)", task_type="CAUSAL_LM", r=2)
    peft = get_peft_model(LiraForCausalLM.from_pretrained(folders["whole"]), settings)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=2.0)
    peft.save_pretrained(tmp_path)
    model = peft.base_model.model
    batch = inputs_of(model)
    with torch.no_grad():
        expected = model(**batch).logits
        assert not torch.allclose(
            expected, LiraForCausalLM.from_pretrained(folders["whole"])(**batch).logits, atol=1e-2
        )
        loaded = LiraForCausalLM.from_pretrained(tmp_path)
        torch.testing.assert_close(loaded(**batch).logits, expected, atol=1e-4, rtol=1e-4)


FRESH = """
import json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"modeling_lira", "dataset_builder", "eval"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocker())
import torch
from transformers import AutoModelForCausalLM, AutoProcessor
order = json.loads(sys.argv[1])
found = {}
for name, folder in order["folders"].items():
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    batch = processor(order["questions"], order["candidates"], order["languages"], order["prompts"])
    found[name] = model.generate(**batch, max_new_tokens=6, do_sample=False).tolist()
    assert type(model).__module__.startswith("transformers_modules.")
print(json.dumps(found))
"""


def test_a_fresh_process_generates_the_same_tokens(trained, folders, forks, tmp_path):
    order = {
        "folders": {name: str(folder) for name, folder in folders.items()},
        "questions": QUESTIONS,
        "candidates": CANDIDATES,
        "languages": LANGUAGES,
        "prompts": PROMPTS,
    }
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = forks.run(FRESH, json.dumps(order), cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = answers(trained).tolist()
    assert json.loads(done.stdout.splitlines()[-1]) == {"whole": expected, "adapter": expected}


# ---------------------------------------------------------------- bad input


def test_a_prompt_longer_than_the_context(models_by_name):
    model = opened(models_by_name["gpt2"])
    with pytest.raises(LiraError, match="takes 128"):
        model(**model.processor(["x"], None, "en", ["long " * 200]))
    short = model.processor(["x"], None, "en", ["short"])
    with pytest.raises(LiraError, match="too long"):
        model.generate(**short, max_new_tokens=125)


def test_a_language_that_is_not_in_the_config(models_by_name):
    with pytest.raises(LiraError, match="'fr' is not in the model's config"):
        models_by_name["llama"].processor(["chemise"], None, "fr")


@torch.no_grad()
def test_missing_candidates_are_the_translation_free_path(models_by_name):
    model = opened(models_by_name["llama"])
    batch = model.processor(QUESTIONS[:1], None, "vi", PROMPTS[:1])
    assert "english_input_ids" not in batch
    _, mask = model.soft_tokens(**{name: value for name, value in batch.items() if name not in prompt_only(batch)})
    assert mask.tolist() == [[True] * 3 + [False] * 3 + [True]]
    assert torch.equal(
        model.generate(**batch, max_new_tokens=3, do_sample=False),
        model.generate(**model.processor(QUESTIONS[:1], [[]], "vi", PROMPTS[:1]), max_new_tokens=3, do_sample=False),
    )


def test_a_language_model_without_a_pad_token(build_model, tmp_path):
    model = LiraForCausalLM.from_lira(
        build_model(num_feature_bins=3), save_language_model("llama", tmp_path / "a", pad=False)
    )
    assert model.processor.tokenizer.pad_token == "<eos>"
    model.open_gate()
    assert len(model.generate(**inputs_of(model), max_new_tokens=3)) == len(QUESTIONS)
    with pytest.raises(LiraError, match="neither a pad nor an eos token"):
        LiraForCausalLM.from_lira(
            build_model(num_feature_bins=3), save_language_model("llama", tmp_path / "b", pad=False, eos=False)
        )


def test_prompts_that_do_not_fit_the_questions(models_by_name):
    for prompts in ("Answer:", ["one", "two"]):
        with pytest.raises(LiraError, match="prompts must be a list"):
            models_by_name["llama"].processor(["x"], None, "en", prompts)
    with pytest.raises(LiraError, match="give input_ids or inputs_embeds"):
        models_by_name["llama"](fused_states=torch.zeros(1, 6, 48))


def test_a_language_model_that_is_not_there(build_model, tmp_path):
    with pytest.raises(LiraError, match="nowhere"):
        LiraForCausalLM.from_lira(build_model(num_feature_bins=3), tmp_path / "nowhere")
